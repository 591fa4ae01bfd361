//! Tokens of registries: what a challenge asks for, and how it is got (distribution, docs/spec/auth/token.md and oauth.md).

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::Login;

/// A token's life when its server does not say (token.md, *expires_in*).
const LIFE: u64 = 60;

/// An answer of a token server is some kilobytes.
const MAX_ANSWER: usize = 1 << 20;

/// What a registry wants of who comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with each request (RFC 7617).
    Basic,
    /// A token (RFC 6750).
    Bearer {
        /// Where it is to be had.
        realm: String,
        /// For which service.
        service: Option<String>,
    },
}

impl Challenge {
    /// The best one that an answer has: a token goes before a password.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut best = None;
        for header in headers.get_all(WWW_AUTHENTICATE) {
            for challenge in http_auth::parse_challenges(header.to_str().unwrap_or_default()).unwrap_or_default() {
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = parameter("realm")
                {
                    return Some(Self::Bearer { realm, service: parameter("service") });
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    best = Some(Self::Basic);
                }
            }
        }
        best
    }
}

/// A token, ready to be sent. Shows itself to nobody.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub header: HeaderValue,
    /// From when on it is not used any more.
    pub until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// The server answered with this status.
    Status(reqwest::Response),
    /// There was no answer.
    Network(reqwest::Error),
    /// The answer or the challenge makes no sense.
    Odd(String),
}

impl From<reqwest::Error> for NoToken {
    fn from(e: reqwest::Error) -> Self {
        Self::Network(e)
    }
}

/// Gets a token that opens these scopes, `repository:<path>:pull,push`.
///
/// `is_open` says that the registry itself is spoken to without TLS; only then may a secret go to a token server in the clear.
pub(crate) async fn fetch(
    http: &reqwest::Client,
    (realm, service): (&str, Option<&str>),
    scopes: &[String],
    login: &Login,
    is_open: bool,
) -> Result<Token, NoToken> {
    let mut url: reqwest::Url =
        realm.parse().map_err(|_| NoToken::Odd(format!("the token server's address `{realm}` is none")))?;
    if url.scheme() != "https" && !is_open && *login != Login::Anonymous {
        return Err(NoToken::Odd(format!("credentials would go to {realm} without TLS")));
    }
    let request = match login {
        Login::IdentityToken(identity) => {
            // A form is written like the query of a URL.
            let mut form = url.clone();
            form.set_query(None);
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("client_id", "shiplap")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("scope", &scopes.join(" "))
                .append_pair("refresh_token", identity);
            let request = http.post(url).header("content-type", "application/x-www-form-urlencoded");
            request.body(form.query().unwrap_or_default().to_owned())
        }
        Login::Anonymous | Login::Password { .. } => {
            {
                let mut query = url.query_pairs_mut();
                query.extend_pairs(service.map(|service| ("service", service)));
                query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
            }
            match login {
                Login::Password { user, password } => http.get(url).basic_auth(user, Some(password)),
                _ => http.get(url),
            }
        }
    };
    let asked = Instant::now();
    let mut response = request.timeout(Duration::from_secs(60)).send().await?;
    if !response.status().is_success() {
        return Err(NoToken::Status(response));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(NoToken::Odd("the token server's answer is too long".to_owned()));
        }
        body.extend_from_slice(&piece);
    }
    let odd = |_| NoToken::Odd("the token server's answer is not what it should be".to_owned());
    let answer: Answer = serde_json::from_slice(&body).map_err(|e| odd(e.to_string()))?;
    let token = answer.token.filter(|t| !t.is_empty()).or(answer.access_token);
    let token = token.ok_or_else(|| NoToken::Odd("the token server sent no token".to_owned()))?;
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|e| odd(e.to_string()))?;
    header.set_sensitive(true);
    // Some time before its end, for the clocks and the way.
    let life = answer.expires_in.unwrap_or(LIFE).clamp(LIFE, 24 * 3600);
    Ok(Token { header, until: asked + Duration::from_secs(life * 9 / 10) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(headers: &[&'static str]) -> Option<Challenge> {
        Challenge::of(&headers.iter().map(|h| (WWW_AUTHENTICATE, HeaderValue::from_static(h))).collect())
    }

    #[test]
    fn challenges_are_taken_apart() {
        let asked =
            challenge(&[r#"Bearer realm="https://a.example/token?x=1,2",service=reg, scope="repository:a:pull,push""#]);
        let bearer = Challenge::Bearer { realm: "https://a.example/token?x=1,2".into(), service: Some("reg".into()) };
        assert_eq!(asked, Some(bearer.clone()));
        assert_eq!(challenge(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        let both = [
            "Basic realm=x",
            r#"Bearer realm="https://a.example/token?x=1,2",service="reg",scope="repository:a:pull,push""#,
        ];
        assert_eq!(challenge(&both), Some(bearer), "the better one");
        for odd in [&[][..], &["Negotiate"], &["Bearer"], &["Bearer realm=\"\""], &["=,=\""]] {
            assert_eq!(challenge(odd), None, "{odd:?}");
        }
    }

    /// A server that sends without an end, and does not say how much.
    #[tokio::test]
    async fn an_answer_without_an_end_is_not_read_to_it() {
        crate::install_tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let endless = || async {
            let pieces = std::iter::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 1 << 16])));
            axum::body::Body::from_stream(futures::stream::iter(pieces))
        };
        let server = tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().route("/token", axum::routing::get(endless))).await
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let error = fetch(&http, (&realm, None), &[], &Login::Anonymous, true).await.unwrap_err();
        server.abort();
        assert!(matches!(&error, NoToken::Odd(why) if why.contains("too long")), "{error:?}");
    }

    #[tokio::test]
    async fn a_password_goes_nowhere_without_tls() {
        crate::install_tls();
        let login = Login::Password { user: "u".into(), password: "s3cret".into() };
        let asked = ("http://192.0.2.1/token", None);
        let error = fetch(&reqwest::Client::new(), asked, &[], &login, false).await.unwrap_err();
        let NoToken::Odd(why) = error else { panic!("{error:?}") };
        assert!(why.contains("without TLS") && !why.contains("s3cret"), "{why}");
    }
}
