//! Why one attempt failed, and whether another may help.

use std::error::Error as _;
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::retry::retry_after;
use crate::{Repository, Trouble};

/// Who explains an error at length is cut short.
const MAX_ERROR: usize = 16 << 10;

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The registry, or who stands before it, answered with an error.
    Answer(Refusal),
    /// No answer, or half of one.
    Network(reqwest::Error),
    /// Nothing moved for too long, or the connection ended in the middle.
    Stalled(String),
    /// Another attempt cannot help.
    Final(Trouble),
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// The codes of the distribution-spec (*Error Codes*), if it sent any.
    pub codes: Vec<String>,
    pub message: String,
}

impl From<reqwest::Error> for Fault {
    fn from(e: reqwest::Error) -> Self {
        Self::Network(e)
    }
}

impl Fault {
    /// The answer as an error, with what its body says.
    pub async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let wait = wait_of(response.headers());
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        // What it says is nice to have; how long it takes to say it must not matter.
        let read = async {
            while let Some(Ok(chunk)) = stream.next().await {
                body.extend_from_slice(&chunk[..chunk.len().min(MAX_ERROR - body.len())]);
                if body.len() >= MAX_ERROR {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
        let (codes, message) = said(&String::from_utf8_lossy(&body));
        Self::Answer(Refusal { status, retry_after: wait, codes, message })
    }

    /// Whether another attempt may help.
    pub fn is_transient(&self) -> bool {
        match self {
            // 501 and 505 say that it can never be done.
            // While somebody else uploads a blob too, distribution's registry, which writes its links in place, says for an instant that it does not know it.
            Self::Answer(r) => {
                matches!(r.status, 408 | 429 | 500 | 502..=504 | 506..)
                    || r.has(&["TOOMANYREQUESTS", "MANIFEST_BLOB_UNKNOWN"])
            }
            // Who refuses the connection is not there; anything else on the way may pass.
            Self::Network(e) => !refused(e) && !is_certificate(&chain(e)) && !e.is_builder() && !e.is_redirect(),
            Self::Stalled(_) => true,
            Self::Final(_) => false,
        }
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(r) => r.retry_after,
            _ => None,
        }
    }

    /// Whether it answered with one of these.
    pub fn is_status(&self, statuses: &[u16]) -> bool {
        matches!(self, Self::Answer(r) if statuses.contains(&r.status))
    }

    /// In few words, for the note about another attempt.
    pub fn brief(&self) -> String {
        match self {
            Self::Answer(r) => format!("{}: {}", r.status, short(&r.message)),
            Self::Network(e) => chain(e),
            Self::Stalled(why) => why.clone(),
            Self::Final(trouble) => trouble.to_string(),
        }
    }

    /// What it means to people. `who` is as whom we came.
    pub fn explain(self, repository: &Repository, who: &str) -> Trouble {
        let registry = repository.registry().to_owned();
        match self {
            Self::Answer(r) => r.explain(registry, who),
            Self::Network(e) => {
                let why = chain(&e);
                if is_certificate(&why) {
                    Trouble::Certificate { registry, why: short(&why) }
                } else {
                    Trouble::Unreachable { registry, why: short(&why) }
                }
            }
            Self::Stalled(why) => Trouble::Unreachable { registry, why: short(&why) },
            Self::Final(trouble) => trouble,
        }
    }
}

impl Refusal {
    pub fn has(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    fn explain(self, registry: String, who: &str) -> Trouble {
        let why = short(&self.message);
        if matches!(self.status, 401 | 403) || self.has(&["UNAUTHORIZED", "DENIED"]) {
            let why = format!("{}: {why}", self.status);
            return Trouble::Refused { registry, who: who.to_owned(), why };
        }
        if self.status == 404 {
            return Trouble::NotFound;
        }
        Trouble::Status { status: self.status, message: why }
    }
}

fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, jiff::Timestamp::now())
}

fn refused(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = inner.source();
    }
    let text = chain(error);
    text.contains("dns error") || text.contains("failed to lookup address")
}

fn is_certificate(text: &str) -> bool {
    ["certificate", "UnknownIssuer", "CertNotValid", "InvalidCertificate"].iter().any(|word| text.contains(word))
}

/// All causes in a row, for the last one is the one that says something.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        source = inner.source();
    }
    parts.join(": ")
}

pub(super) fn short(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    if short.is_empty() { "no reason given".to_owned() } else { short }
}

/// The codes and the words of a body, if it is the errors document of the distribution-spec or something like it.
fn said(body: &str) -> (Vec<String>, String) {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(body) else { return (Vec::new(), body.to_owned()) };
    let errors = value.get("errors").and_then(|e| e.as_array()).cloned().unwrap_or_default();
    let text = |error: &serde_json::Value, key: &str| error.get(key).and_then(|t| t.as_str()).map(str::to_owned);
    let codes = errors.iter().filter_map(|e| text(e, "code")).collect();
    let mut messages: Vec<String> = errors.iter().filter_map(|e| text(e, "message")).collect();
    if messages.is_empty() {
        messages.extend(text(&value, "message").or_else(|| text(&value, "details")));
    }
    (codes, if messages.is_empty() { body.to_owned() } else { messages.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Fault {
        let (codes, message) = said(body);
        Fault::Answer(Refusal { status, retry_after: None, codes, message })
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_was_refused_is_not() {
        for status in [408, 429, 500, 502, 503, 504, 520] {
            assert!(refusal(status, "").is_transient(), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 405, 409, 413, 416, 501, 505] {
            assert!(!refusal(status, "").is_transient(), "{status}");
        }
        assert!(refusal(403, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#).is_transient());
    }

    #[test]
    fn the_words_of_a_registry_are_passed_on_and_cut_short() {
        let two = r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X","message":"never"}]}"#;
        assert_eq!(said(two), (vec!["DENIED".to_owned(), "X".to_owned()], "no; never".to_owned()));
        assert_eq!(said(r#"{"details":"wrong password"}"#).1, "wrong password");
        assert_eq!(said("<html>").1, "<html>");
        assert_eq!(short(&"x".repeat(1000)).chars().count(), 301);
        assert_eq!(short(" "), "no reason given");
    }
}
