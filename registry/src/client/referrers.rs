//! What says something about an image: signatures, SBOMs, provenance (distribution-spec, *Listing Referrers* and *Referrers Tag Schema*).

use std::time::Instant;

use serde::Deserialize;
use shiplap_cache::Digest;

use super::push::Outgoing;
use super::{Access, Client, Session};
use crate::media::{Document, Index};
use crate::{Descriptor, Reference, Repository, Result, Trouble};

/// How often a list is written again because somebody else wrote it too.
const ROUNDS: u32 = 8;

/// Of an answer to the question for referrers, what is asked for.
#[derive(Deserialize)]
struct Page {
    manifests: Option<Vec<Descriptor>>,
}

impl Client {
    /// The manifests in a repository that have `subject` as theirs, those of one type if one is given. No such manifest is no error.
    ///
    /// # Errors
    /// The registry cannot be reached, or refuses.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        let session = self.session(repository, Access::Pull).await?;
        let mut all = match session.referrers_by_api(subject, artifact_type).await? {
            Some(all) => all,
            None => session.noted_referrers(subject).await?.manifests,
        };
        // A registry need not filter.
        all.retain(|one| artifact_type.is_none_or(|wanted| one.artifact_type.as_deref() == Some(wanted)));
        Ok(all)
    }
}

impl Session {
    /// What the registry itself says; none when it does not keep referrers.
    async fn referrers_by_api(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Option<Vec<Descriptor>>> {
        let what = format!("list the referrers of {}", self.repository.with_digest(*subject).familiar());
        let mut next = self.url(&format!("referrers/{subject}")).map_err(|e| self.explain(&what, e))?;
        if let Some(artifact_type) = artifact_type {
            next.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut all = Vec::new();
        loop {
            let (page, more) = match self.page::<Page>(&what, &next).await {
                Ok(page) => page,
                Err(e) if all.is_empty() && is_unknown(&e.trouble) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            all.extend(page.manifests.unwrap_or_default());
            match more {
                Some(more) if all.len() < 100_000 => next = more,
                _ => return Ok(Some(all)),
            }
        }
    }

    /// What clients have noted under the fallback tag.
    async fn noted_referrers(&self, subject: &Digest) -> Result<Index> {
        match self.manifest(&self.fallback(subject)?).await {
            Ok((bytes, digest)) => match Document::parse(&bytes, digest)? {
                Document::Index(index) => Ok(index),
                // Not ours, and no list: as good as none, says the spec.
                Document::Manifest(_) => Ok(Index::new(Vec::new())),
            },
            Err(e) if matches!(e.trouble, Trouble::NotFound) => Ok(Index::new(Vec::new())),
            Err(e) => Err(e.into()),
        }
    }

    /// Adds a manifest to the list under the fallback tag. Two clients that do so at once may lose the entry of one, so the list is read
    /// back when everybody must have written who read it before we did ([`Session::patience`]), and written again as long as ours is not in it.
    pub(super) async fn note_referrer(&self, subject: &Digest, referrer: &Descriptor) -> Result<()> {
        let tag = self.fallback(subject)?;
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            let mut index = self.noted_referrers(subject).await?;
            if index.manifests.iter().any(|one| one.digest == referrer.digest) {
                return Ok(());
            }
            index.manifests.push(referrer.clone());
            let bytes = serde_json::to_vec(&index).map_err(shiplap_cache::Error::from)?;
            let outgoing = Outgoing { digest: Digest::of(&bytes), bytes, document: Document::Index(index) };
            self.place(&tag, &outgoing).await?;
            tokio::time::sleep(self.patience(begin)).await;
            if self.noted_referrers(subject).await?.manifests.iter().any(|one| one.digest == referrer.digest) {
                return Ok(());
            }
            // Not all at once again.
            tokio::time::sleep(self.options.backoff.mul_f64(fastrand::f64())).await;
        }
        let why = format!("others write the list {} at the same time", tag.familiar());
        Err(self.error(&format!("note that {} refers to {subject}", referrer.digest), Trouble::Other(why)).into())
    }

    /// `sha256-<hex>`.
    fn fallback(&self, subject: &Digest) -> Result<Reference> {
        let tag = format!("sha256-{}", subject.hex());
        let reference = self.repository.tagged(&tag);
        reference.map_err(|_| crate::Error::BadTag { repository: Box::new(self.repository.clone()), tag })
    }
}

/// Registries that do not keep referrers say so in several ways: the spec has 404.
fn is_unknown(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::NotFound | Trouble::Status { status: 400 | 405 | 406 | 501, .. })
}
