//! What the failures of registries mean to a tier.

use shiplap_cache::tier::TierError;

use crate::{Error, Trouble};

pub(super) fn of(error: Error) -> TierError {
    match error {
        Error::Remote(remote) => {
            let why = remote.to_string();
            if is_full(&remote.trouble) {
                return TierError::Full(why);
            }
            match remote.trouble {
                Trouble::NotFound => TierError::Missing(format!("what is needed to {}", remote.what)),
                Trouble::Refused { .. } => TierError::Denied(why),
                Trouble::Corrupt { expected, actual } | Trouble::ReadBack { expected, actual } => {
                    TierError::Corrupt { digest: expected, why: actual }
                }
                _ => TierError::Unreachable(why),
            }
        }
        Error::Store(error) => TierError::Here(error),
        Error::Io { what, path, source } => TierError::Here(shiplap_cache::Error::Io { what, path, source }),
        other => TierError::Unreachable(other.to_string()),
    }
}

/// RFC 4918, 11.5 has 507. Registries with quotas refuse in words: Harbor's are *will exceed the configured upper limit*.
fn is_full(trouble: &Trouble) -> bool {
    let text = match trouble {
        Trouble::Status { status: 507, .. } => return true,
        Trouble::Status { message, .. } => message,
        Trouble::Refused { why, .. } => why,
        _ => return false,
    };
    let text = text.to_ascii_lowercase();
    ["quota", "no space left", "configured upper limit"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RemoteError;

    fn of_trouble(trouble: Trouble) -> TierError {
        let repository = Box::new("r.example/x".parse().unwrap());
        of(RemoteError { repository, what: "push".to_owned(), trouble }.into())
    }

    #[test]
    fn a_full_registry_says_so_in_several_ways() {
        let status = |status, message: &str| Trouble::Status { status, message: message.to_owned() };
        let refused = |why: &str| Trouble::Refused { registry: "r".into(), who: "us".into(), why: why.to_owned() };
        for full in [
            status(507, ""),
            status(500, "write /data: no space left on device"),
            refused(
                "403: denied: adding 5 MiB of storage resource ... will exceed the configured upper limit of 1 GiB",
            ),
            refused("403: Quota exceeded"),
        ] {
            assert!(matches!(of_trouble(full), TierError::Full(_)));
        }
        assert!(matches!(of_trouble(status(503, "busy")), TierError::Unreachable(_)));
        assert!(matches!(of_trouble(refused("403: denied")), TierError::Denied(_)));
        assert!(matches!(of_trouble(Trouble::NotFound), TierError::Missing(_)));
    }
}
