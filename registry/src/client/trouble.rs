//! What the errors of the network mean.

use std::error::Error as _;

use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use crate::{Repository, Trouble};

/// Whether another attempt may help.
pub(super) fn is_transient(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ServerError { code, .. } => *code == 429 || *code >= 500,
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|e| e.code == OciErrorCode::Toomanyrequests)
        }
        // Who refuses the connection is not there; anything else on the way may pass.
        OciDistributionError::RequestError(e) if e.status().is_some() => {
            e.status().is_some_and(|s| s.as_u16() == 429 || s.is_server_error())
        }
        OciDistributionError::RequestError(e) => !refused(e) && !is_certificate(&chain(e)) && !e.is_builder(),
        OciDistributionError::IoError(_) => true,
        _ => false,
    }
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

fn short(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    if short.is_empty() { "no reason given".to_owned() } else { short }
}

/// Says what an error means to people. `who` is as whom we came.
pub(super) fn explain(error: OciDistributionError, repository: &Repository, who: &str) -> Trouble {
    let registry = repository.registry().to_owned();
    let refused = |why: String| Trouble::Refused { registry: registry.clone(), who: who.to_owned(), why: short(&why) };
    match error {
        // The look-up of a blob keeps the status in another place than all other calls.
        OciDistributionError::RequestError(e) if e.status().is_some() => {
            let code = e.status().map_or(0, |s| s.as_u16());
            let url = e.url().map(ToString::to_string).unwrap_or_default();
            explain(OciDistributionError::ServerError { code, url, message: String::new() }, repository, who)
        }
        OciDistributionError::UnauthorizedError { .. } => refused("401 Unauthorized".into()),
        OciDistributionError::AuthenticationFailure(why) => refused(said(&why)),
        OciDistributionError::ServerError { code: code @ (401 | 403), message, .. } => {
            refused(format!("{code}: {}", said(&message)))
        }
        OciDistributionError::ServerError { code: 404, .. } | OciDistributionError::ImageManifestNotFoundError(_) => {
            Trouble::NotFound
        }
        OciDistributionError::ServerError { code, message, .. } => {
            Trouble::Status { status: code, message: short(&said(&message)) }
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            let why = envelope.errors.iter().map(|e| e.message.clone()).collect::<Vec<_>>().join("; ");
            let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|e| codes.contains(&e.code));
            if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                refused(why)
            } else if has(&[
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::BlobUnknown,
                OciErrorCode::NotFound,
            ]) {
                Trouble::NotFound
            } else {
                Trouble::Other(short(&why))
            }
        }
        OciDistributionError::DigestError(DigestError::VerificationError { expected, actual }) => {
            match expected.parse() {
                Ok(expected) => Trouble::Corrupt { expected, actual },
                Err(_) => Trouble::Other(format!("the registry sent {actual} for {expected}")),
            }
        }
        OciDistributionError::RequestError(e) => {
            let why = chain(&e);
            if is_certificate(&why) {
                Trouble::Certificate { registry, why: short(&why) }
            } else {
                Trouble::Unreachable { registry, why: short(&why) }
            }
        }
        OciDistributionError::IoError(e) => Trouble::Unreachable { registry, why: short(&chain(&e)) },
        other => Trouble::Other(short(&other.to_string())),
    }
}

/// What a body says, if it is the errors document of the distribution-spec.
fn said(body: &str) -> String {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(body) else { return body.to_owned() };
    let first = value.pointer("/errors/0/message").or_else(|| value.get("message")).or_else(|| value.get("details"));
    first.and_then(|m| m.as_str()).map_or_else(|| body.to_owned(), str::to_owned)
}
