//! Identity tokens: what `docker login` keeps for Azure and others is no password but a refresh token, to be exchanged for an access
//! token for each repository (distribution, docs/spec/auth/oauth.md). `oci-client` does not know that exchange.

use std::collections::HashMap;

/// Exchanges an identity token for an access token with this scope, `repository:<path>:pull,push`.
pub(crate) async fn exchange(base: &str, scope: &str, token: &str) -> Result<String, String> {
    let http = reqwest::Client::builder().connect_timeout(std::time::Duration::from_secs(15)).build();
    let http = http.map_err(|e| e.to_string())?;
    let asked = http.get(format!("{base}/v2/")).send().await.map_err(|e| e.to_string())?;
    let header = asked.headers().get("www-authenticate").and_then(|h| h.to_str().ok());
    let challenge =
        parse(header.ok_or("the registry asks for no token")?).ok_or("the registry asks for no bearer token")?;
    let realm = challenge.get("realm").ok_or("the registry does not say where tokens are to be had")?;
    // A form is written like the query of a URL.
    let mut form = reqwest::Url::parse("http://form.invalid").map_err(|e| e.to_string())?;
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "shiplap")
        .append_pair("service", challenge.get("service").map_or("", String::as_str))
        .append_pair("scope", scope)
        .append_pair("refresh_token", token);
    let sent = http
        .post(realm)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned())
        .send()
        .await
        .map_err(|e| e.to_string())?;
    let status = sent.status();
    let body = sent.bytes().await.map_err(|e| e.to_string())?;
    if !status.is_success() {
        return Err(format!("the token server answers with {status}"));
    }
    let answer: serde_json::Value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
    let access = answer.get("access_token").or_else(|| answer.get("token")).and_then(|t| t.as_str());
    access.map(str::to_owned).ok_or_else(|| "the token server sent no token".to_owned())
}

/// The parameters of a `Bearer` challenge (RFC 6750, 3).
fn parse(header: &str) -> Option<HashMap<String, String>> {
    let (scheme, mut rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = HashMap::new();
    while let Some((key, value)) = rest.split_once('=') {
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        parameters.insert(key.trim_matches([' ', ',']).to_ascii_lowercase(), value.to_owned());
        rest = behind;
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_taken_apart() {
        let parsed =
            parse(r#"Bearer realm="https://a.example/token?x=1,2",service=reg, scope="repository:a:pull,push""#);
        let parsed = parsed.unwrap();
        assert_eq!(parsed["realm"], "https://a.example/token?x=1,2");
        assert_eq!(parsed["service"], "reg");
        assert_eq!(parsed["scope"], "repository:a:pull,push");
        assert!(parse("Basic realm=\"x\"").is_none());
    }
}
