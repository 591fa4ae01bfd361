//! Where a request came from, and how the server is called from there.

use std::net::{IpAddr, SocketAddr};

use axum::http::{Extensions, HeaderMap, Method, Uri, header};

/// The other end of a connection, which the listener knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub address: SocketAddr,
    pub tls: bool,
}

/// How far the headers of a request are believed.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    /// Whether a proxy stands before us and says whom it speaks for.
    pub proxy: bool,
    /// How the server is called, where that is known: `https://registry.example.org`.
    pub url: Option<String>,
}

impl Trust {
    /// Who asks. Behind a proxy that is the last address of `X-Forwarded-For`: the one that the proxy itself wrote.
    pub fn remote(&self, headers: &HeaderMap, extensions: &Extensions) -> IpAddr {
        let peer = extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.address.ip().to_canonical());
        if !self.proxy {
            return peer;
        }
        let last = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
        last.and_then(|list| list.rsplit(',').next()?.trim().parse().ok()).unwrap_or(peer)
    }

    /// How the client calls the server, without a slash at the end.
    pub fn url(&self, uri: &Uri, headers: &HeaderMap, extensions: &Extensions) -> String {
        if let Some(url) = &self.url {
            return url.clone();
        }
        let tls = extensions.get::<Peer>().is_some_and(|peer| peer.tls);
        let forwarded = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        let scheme = if tls || (self.proxy && forwarded) { "https" } else { "http" };
        let host = host(uri, headers);
        // It goes into a quoted string, and back to who sent it.
        let plain =
            |host: &&str| !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
        format!("{scheme}://{}", host.filter(plain).unwrap_or("localhost"))
    }
}

impl Trust {
    /// Whether the server is asked by a name of this machine, or by its own. Without login nothing else says that a browser was not led here by a page
    /// of the web, whose name may lead to 127.0.0.1 all of a sudden (DNS rebinding).
    pub fn is_asked_here(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(host) = host(uri, headers) else { return true };
        if self.url.as_ref().is_some_and(|url| url.split_once("://").is_some_and(|(_, own)| own == host)) {
            return true;
        }
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Trust {
    /// Whether a page of another site makes a browser send this request, to change something with what the browser may: that it must not read the
    /// answer does not keep it from asking (Fetch, *CORS protocol*). Clients of registries send no `Origin`.
    pub fn is_forged(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        if matches!(*method, Method::GET | Method::HEAD) {
            return false;
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return false };
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let own = self.url.as_ref().and_then(|url| url.split_once("://"));
        // Behind a proxy the scheme is not ours to know.
        site.is_none_or(|(_, site)| host(uri, headers) != Some(site) && own.is_none_or(|(_, own)| own != site))
    }
}

/// The host that a request is for. HTTP/2 has it in the request's target.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    host.or(uri.authority().map(|authority| authority.as_str()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(headers: &[(&'static str, &'static str)]) -> (HeaderMap, Extensions) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let mut extensions = Extensions::new();
        extensions.insert(Peer { address: "10.0.0.9:1".parse().unwrap(), tls: false });
        (map, extensions)
    }

    #[test]
    fn only_a_proxy_that_was_announced_is_believed_and_only_what_it_wrote_itself() {
        let (headers, extensions) =
            asked(&[("x-forwarded-for", "6.6.6.6, 1.2.3.4"), ("x-forwarded-proto", "https"), ("host", "r:5000")]);
        let remote = |proxy| Trust { proxy, url: None }.remote(&headers, &extensions).to_string();
        assert_eq!((remote(false), remote(true)), ("10.0.0.9".to_owned(), "1.2.3.4".to_owned()));
        let url = |proxy| Trust { proxy, url: None }.url(&Uri::from_static("/v2/"), &headers, &extensions);
        assert_eq!((url(false), url(true)), ("http://r:5000".to_owned(), "https://r:5000".to_owned()));
    }

    #[test]
    fn a_host_that_would_break_out_of_the_header_is_not_repeated() {
        let (headers, extensions) = asked(&[("host", "evil\",scope=\"x")]);
        assert_eq!(Trust::default().url(&Uri::from_static("/v2/"), &headers, &extensions), "http://localhost");
        let trust = Trust { proxy: false, url: Some("https://registry.example.org".to_owned()) };
        assert_eq!(trust.url(&Uri::from_static("/v2/"), &headers, &extensions), "https://registry.example.org");
    }
}
