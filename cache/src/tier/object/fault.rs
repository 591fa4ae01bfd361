//! What the failures of object stores mean.

use std::error::Error as StdError;
use std::io::ErrorKind;

use object_store::Error;
use object_store::client::HttpError;

use super::super::TierError;
use super::http::Refusal;

/// Longer words of a store are cut.
const MOST_WORDS: usize = 300;

pub(super) fn of(error: Error) -> TierError {
    let why = words(&error);
    match find::<Refusal>(&error) {
        Some(Refusal::Full(_)) => return TierError::Full(why),
        Some(Refusal::Denied(_)) => return TierError::Denied(why),
        Some(Refusal::Nowhere(_)) => return TierError::Missing(format!("the bucket or container ({why})")),
        None => {}
    }
    // Of a folder; what the network says of itself in these words means that nobody answers.
    if find::<HttpError>(&error).is_none()
        && let Some(io) = find::<std::io::Error>(&error)
    {
        match io.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => return TierError::Full(why),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => return TierError::Denied(why),
            _ => {}
        }
    }
    match error {
        Error::NotFound { path, .. } => TierError::Missing(format!("{path} ({why})")),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => TierError::Denied(why),
        Error::NotSupported { .. } | Error::NotImplemented { .. } => TierError::Unsupported(why),
        _ => TierError::Unreachable(why),
    }
}

/// Of a request for a part of an object. What the crate says of a store that sends all of it instead is private to it (`client/get.rs`, `GetResultError`), but
/// for the words.
pub(super) fn of_range(error: Error) -> TierError {
    let is_whole = causes(&error).any(|e| e.to_string().starts_with("Received non-partial response"));
    if is_whole { TierError::Unsupported(words(&error)) } else { of(error) }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The first error of a kind among the causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|e| e.downcast_ref())
}

/// The last cause, for it is the one that says something, and has no address with a signature in it.
pub(super) fn words(error: &(dyn StdError + 'static)) -> String {
    let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
    short(&last)
}

/// Of an answer in XML, as S3 and Azure have it, the code and the message: what else is in it is for programs.
fn short(text: &str) -> String {
    let text = match (text.find('<'), inside(text, "Code"), inside(text, "Message")) {
        (Some(begin), Some(code), message) => format!("{}{code} {}", &text[..begin], message.unwrap_or_default()),
        (Some(begin), None, _) if begin > 0 => text[..begin].to_owned(),
        _ => text.to_owned(),
    };
    let text = text.trim().trim_end_matches(':');
    let mut short: String = text.chars().take(MOST_WORDS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn inside<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let begin = text.find(&format!("<{tag}>"))? + tag.len() + 2;
    text[begin..].split('<').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_xml_the_words_for_people_are_left() {
        let xml = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>SignatureDoesNotMatch</Code>\
                   <Message>It does not match.</Message><StringToSign>AWS4</StringToSign></Error>";
        assert_eq!(
            short(xml),
            "Server returned non-2xx status code: 403 Forbidden: SignatureDoesNotMatch It does not match."
        );
        assert_eq!(short("502 Bad Gateway: <html><body>x</body></html>"), "502 Bad Gateway");
        assert_eq!(short("connection refused"), "connection refused");
        assert_eq!(short(&"x".repeat(1000)).chars().count(), MOST_WORDS + 1);
    }

    #[test]
    fn a_full_disk_and_a_forbidden_folder_are_told_apart() {
        let error = |errno| Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(std::io::Error::from_raw_os_error(errno)),
        };
        assert!(matches!(of(error(28)), TierError::Full(_)), "ENOSPC");
        assert!(matches!(of(error(122)), TierError::Full(_)), "EDQUOT");
        assert!(matches!(of(error(13)), TierError::Denied(_)), "EACCES");
        assert!(matches!(of(error(30)), TierError::Denied(_)), "EROFS");
        assert!(matches!(of(error(5)), TierError::Unreachable(_)), "EIO");
    }
}
