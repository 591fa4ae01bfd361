//! A release's tag in a registry, which may let tags move.

use std::time::{Duration, Instant};

use shiplap_cache::Digest;

use super::Session;
use super::fault::{Fault, Refusal};
use super::push::Outgoing;
use super::retry::Pauses;
use crate::{Error, Reference, Result, Trouble};

/// A registry that makes a release's tag only if it is absent says so with its answer, and need not be watched. `shiplap serve` does.
pub(crate) const TAG_IS_KEPT: &str = "shiplap-tag-immutable";

/// The longest wait before a tag is read back, unless more was asked for.
const MAX_WAIT: Duration = Duration::from_secs(10);

impl Session {
    /// Makes a release's tag if it is absent.
    ///
    /// In a registry that lets tags move this is Fischer's algorithm (L. Lamport, *A Fast Mutual Exclusion Algorithm*, 1987, section 2): look,
    /// write, wait longer than anybody needs between look and write, look again. Whoever looked before we wrote has written when we look
    /// again; whoever looks later sees our tag and refuses. So of several only the last writer finds its own.
    pub(super) async fn claim(&self, target: &Reference, manifest: &Outgoing) -> Result<()> {
        let what = format!("push {}", target.familiar());
        let taken =
            |existing| Error::TagExists { reference: Box::new(target.clone()), existing, wanted: manifest.digest };
        let mut pauses = Pauses::new(&self.options);
        let wait = loop {
            let begin = Instant::now();
            match self.digest(target).await {
                Ok(existing) if existing != manifest.digest => return Err(taken(existing)),
                // Ours: an attempt that looked as if it had failed, or somebody with the same image.
                Ok(_) => break self.options.settle,
                Err(e) if matches!(e.trouble, Trouble::NotFound) => {}
                Err(e) => return Err(e.into()),
            }
            match self.put_manifest(target, manifest).await {
                Ok(headers) if headers.contains_key(TAG_IS_KEPT) => break Duration::ZERO,
                Ok(_) => break self.patience(begin),
                Err(fault) => match self.taken_by(target, &fault).await {
                    Some(existing) if existing != manifest.digest => return Err(taken(existing)),
                    Some(_) => break Duration::ZERO,
                    None => self.pause(&what, fault, &mut pauses).await?,
                },
            }
        };
        tokio::time::sleep(wait).await;
        match self.digest(target).await? {
            actual if actual == manifest.digest => Ok(()),
            actual => Err(taken(actual)),
        }
    }

    /// How long to wait before something is read back that we looked at first at `begin` and have written now: longer than others need between the two.
    pub(super) fn patience(&self, begin: Instant) -> Duration {
        self.options.settle.max((begin.elapsed() * 3).min(MAX_WAIT))
    }

    /// What a tag stands for, when a registry has refused to move it.
    async fn taken_by(&self, target: &Reference, fault: &Fault) -> Option<Digest> {
        match fault {
            Fault::Answer(refusal) if is_immutable(refusal) => self.look_up(target).await.ok(),
            _ => None,
        }
    }
}

/// Whether a registry refuses to move a tag. Each has words of its own: 409 is ours and angos', 412 Harbor's (*configured as immutable*), 400 with
/// `TAG_INVALID` ECR's (*already exists ... cannot be overwritten because the repository is immutable*), 403 GitLab's and others'.
fn is_immutable(refusal: &Refusal) -> bool {
    let text = refusal.message.to_ascii_lowercase();
    let says = ["immutable", "already exists", "overwrit", "never moves"].iter().any(|word| text.contains(word));
    let code = refusal.codes.iter().any(|code| code.contains("TAG") || code.contains("ImageTagAlreadyExists"));
    matches!(refusal.status, 409 | 412) || ((400..500).contains(&refusal.status) && (says || code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_registry_refuses_in_its_own_words() {
        let refusal = |status, code: &str, message: &str| {
            let codes = [code].iter().filter(|c| !c.is_empty()).map(|c| (*c).to_owned()).collect();
            is_immutable(&Refusal { status, retry_after: None, codes, message: message.to_owned() })
        };
        assert!(refusal(409, "", ""));
        assert!(refusal(412, "PRECONDITION", "Failed to process request due to 'x:1' configured as immutable."));
        assert!(refusal(
            400,
            "TAG_INVALID",
            "The image tag '1' already exists in the 'x' repository and cannot be overwritten"
        ));
        assert!(refusal(400, "ImageTagAlreadyExistsException", ""));
        assert!(refusal(403, "DENIED", "tag is immutable"));
        assert!(!refusal(403, "DENIED", "requested access to the resource is denied"));
        assert!(!refusal(400, "MANIFEST_INVALID", "manifest invalid"));
        assert!(!refusal(503, "", "already exists"));
    }
}
