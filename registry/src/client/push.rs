//! Pushing an image.

use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use shiplap_cache::{Digest, Store};

use super::fault::Fault;
use super::session::digest_of;
use super::{Access, Client, Session};
use crate::media::Document;
use crate::remote::Remote;
use crate::tag::is_made_once;
use crate::{Descriptor, Error, Images, Reference, Repository, Result, Trouble};

/// The repository that a blob was last seen in, to be mounted from.
pub(crate) const SOURCES: &str = "blob-source";

/// A blob of no more bytes than this costs about as much as asking whether it is there.
const SMALL: u64 = 256 << 10;

/// Bytes of a blob that were sent, and its size.
type Sent = (u64, u64);

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest, read back from the registry.
    pub digest: Digest,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Bytes of blobs that were there.
    pub present: u64,
    /// The tag stood for this manifest already; nothing was sent.
    pub unchanged: bool,
}

/// A manifest on its way.
pub(super) struct Outgoing {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub document: Document,
}

impl Client {
    /// Pushes a manifest or index and everything that it names under a tag, and reads the tag back. A name that is the manifest's digest, and
    /// no tag, makes none.
    ///
    /// A release's tag, and that of a page of a history, is made if it is absent. When it is there for the same digest that is fine; for another it is an error; and when the
    /// look-up fails nothing is pushed. A registry that lets tags move has no way to make one only if it is absent. There the tag is looked
    /// up once more right before it is written, and read back after a while that is longer than the time between these two: of several that
    /// push at the same time the last writer succeeds, and the others are told. What that cannot prevent is in `docs/pushing.md`.
    ///
    /// # Errors
    /// [`Error::TagExists`], [`Error::NotWhole`], or the registry cannot be reached or refuses.
    pub async fn push(&self, images: &Images, manifest: &Digest, reference: &Reference) -> Result<Pushed> {
        self.push_from(images, None, manifest, reference).await
    }

    /// As [`Client::push`]; blobs that are not in the store but in a tier are mounted from there, or fetched when the registry has them nowhere.
    ///
    /// # Errors
    /// As [`Client::push`].
    pub async fn push_from(
        &self,
        images: &Images,
        remote: Option<&Remote>,
        manifest: &Digest,
        reference: &Reference,
    ) -> Result<Pushed> {
        let repository = reference.repository();
        let bad = |tag: &str| Error::BadTag { repository: Box::new(repository.clone()), tag: tag.to_owned() };
        let target = match reference.tag() {
            Some(tag) => repository.tagged(tag).map_err(|_| bad(tag))?,
            None if reference.digest() == Some(*manifest) => reference.clone(),
            None => return Err(bad("")),
        };
        check(images, remote, manifest)?;
        let is_made_once = target.tag().is_some_and(is_made_once);
        if is_made_once && let Some(existing) = self.resolve(&target).await? {
            return match existing == *manifest {
                true => Ok(Pushed { digest: existing, sent: 0, present: 0, unchanged: true }),
                false => Err(Error::TagExists { reference: Box::new(target), existing, wanted: *manifest }),
            };
        }
        let session = self.session(repository, Access::Push).await?;
        let mut pushed = Pushed { digest: *manifest, sent: 0, present: 0, unchanged: false };
        let top = match remote {
            // What has the manifest has its blobs. Who has these himself makes sure.
            Some(_) if images.check_whole(manifest, false).is_err() && session.has_manifest(manifest).await => {
                session.outgoing(images, manifest)?
            }
            remote => session.parts_of(images, remote, manifest, &mut pushed).await?,
        };
        if is_made_once {
            session.claim(&target, &top).await?;
            return Ok(pushed);
        }
        session.place(&target, &top).await?;
        let actual = session.digest(&target).await?;
        if actual != *manifest {
            let trouble = Trouble::ReadBack { expected: *manifest, actual: actual.to_string() };
            return Err(session.error(&format!("push {}", target.familiar()), trouble).into());
        }
        Ok(pushed)
    }

    /// Sends what a repository lacks of a manifest that it should have, and the manifest by its digest; no tag is looked at. So a registry that
    /// lost something is whole again.
    ///
    /// # Errors
    /// As [`Client::push`].
    pub async fn complete(
        &self,
        images: &Images,
        remote: Option<&Remote>,
        manifest: &Digest,
        repository: &Repository,
    ) -> Result<Pushed> {
        check(images, remote, manifest)?;
        let session = self.session(repository, Access::Push).await?;
        let mut pushed = Pushed { digest: *manifest, sent: 0, present: 0, unchanged: false };
        let top = session.parts_of(images, remote, manifest, &mut pushed).await?;
        session.place(&repository.with_digest(*manifest), &top).await?;
        Ok(pushed)
    }
}

/// Whether all that is to be pushed can be had.
fn check(images: &Images, remote: Option<&Remote>, manifest: &Digest) -> Result<u64> {
    match remote {
        Some(_) => crate::whole::check_anywhere(images.store(), manifest),
        None => images.check_whole(manifest, false),
    }
}

impl Session {
    /// Whether the repository has a manifest by its digest. One that does not answer has not.
    async fn has_manifest(&self, manifest: &Digest) -> bool {
        self.digest(&self.repository.with_digest(*manifest)).await.is_ok_and(|there| there == *manifest)
    }

    fn outgoing(&self, images: &Images, manifest: &Digest) -> Result<Outgoing> {
        let bytes = images.store().blobs().read(manifest)?;
        Ok(Outgoing { digest: *manifest, document: Document::parse(&bytes, *manifest)?, bytes })
    }

    /// Sends everything that a manifest names: blobs, and of an index all its manifests, by digest. The manifest itself is not sent.
    pub(super) async fn parts_of(
        &self,
        images: &Images,
        remote: Option<&Remote>,
        manifest: &Digest,
        pushed: &mut Pushed,
    ) -> Result<Outgoing> {
        let read = |digest: &Digest| self.outgoing(images, digest);
        let top = read(manifest)?;
        // Parents before children, then back to front: a registry may refuse an index whose manifests it does not have.
        let mut children: Vec<Outgoing> = Vec::new();
        let mut at = 0;
        let mut next = Some(&top.document);
        while let Some(document) = next {
            let inner = match document {
                Document::Index(index) => index.manifests.iter().map(|d| read(&d.digest)).collect::<Result<_>>()?,
                Document::Manifest(_) => Vec::new(),
            };
            children.extend(inner);
            next = children.get(at).map(|child| &child.document);
            at += 1;
        }
        for child in children.iter().rev() {
            self.blobs(images, remote, &child.document, pushed).await?;
            self.place(&self.repository.with_digest(child.digest), child).await?;
        }
        self.blobs(images, remote, &top.document, pushed).await?;
        Ok(top)
    }

    async fn blobs(
        &self,
        images: &Images,
        remote: Option<&Remote>,
        document: &Document,
        pushed: &mut Pushed,
    ) -> Result<()> {
        let Document::Manifest(manifest) = document else { return Ok(()) };
        let mut all: Vec<Descriptor> = manifest.layers.iter().chain([&manifest.config]).cloned().collect();
        all.sort_by_key(|d| d.digest);
        all.dedup_by_key(|d| d.digest);
        // The largest first: the last one to end is then a short one.
        all.sort_by_key(|d| std::cmp::Reverse(d.size));
        let store = images.store();
        let send = async |blob: Descriptor| {
            if let Some(remote) = remote
                && store.blobs().size(&blob.digest)?.is_none()
            {
                let source = self.source_of(store, &blob.digest)?;
                if self.has_or_mounts(&blob, source.as_ref().map(Repository::path)).await? {
                    return Ok((0, blob.size));
                }
                remote.blob(&blob.digest, blob.size).await?;
            }
            let sent = self.upload_noted(store, &blob).await?;
            Ok::<_, Error>((sent, blob.size))
        };
        // Small ones wait for answers and for nothing else, so more of them are on their way at once.
        let side_by_side = self.options.parallel > 1;
        let (small, large): (Vec<_>, Vec<_>) = all.into_iter().partition(|blob| side_by_side && blob.size <= SMALL);
        let large = futures::stream::iter(large).map(&send).buffer_unordered(self.options.parallel).try_collect();
        let small = futures::stream::iter(small).map(&send).buffer_unordered(4 * self.options.parallel).try_collect();
        let (large, small): (Vec<Sent>, Vec<Sent>) = tokio::try_join!(large, small)?;
        for (sent, size) in large.into_iter().chain(small) {
            pushed.sent += sent;
            pushed.present += size - sent;
        }
        Ok(())
    }

    /// Another repository of the same registry that has a blob: where it was last seen, or a cache.
    fn source_of(&self, store: &Store, blob: &Digest) -> Result<Option<Repository>> {
        let seen = store.name(SOURCES, &blob.hex())?;
        let caches = store.blob_places(blob)?.into_iter().map(|(tier, _)| tier);
        let mut known = seen.into_iter().chain(caches).filter_map(|name| name.parse::<Repository>().ok());
        Ok(known.find(|known| known.registry() == self.repository.registry() && *known != self.repository))
    }

    /// Sends a blob unless it is there, or mounts it from where it was last seen, and notes that it is here.
    pub(super) async fn upload_noted(&self, store: &Store, blob: &Descriptor) -> Result<u64> {
        let source = self.source_of(store, &blob.digest)?;
        let sent = self.upload(store, blob, source.as_ref().map(Repository::path)).await?;
        store.set_name(SOURCES, &blob.digest.hex(), &self.repository.to_string())?;
        Ok(sent)
    }

    /// Puts a manifest in its place, by tag or digest. Returns what the registry says to it.
    pub(super) async fn place(&self, target: &Reference, manifest: &Outgoing) -> Result<HeaderMap> {
        let what = format!("push the manifest of {}", target.familiar());
        Ok(self.attempt(&what, || self.put_manifest(target, manifest)).await?)
    }

    /// One attempt.
    pub(super) async fn put_manifest(&self, target: &Reference, manifest: &Outgoing) -> Result<HeaderMap, Fault> {
        let media_type = manifest.document.media_type();
        let Ok(media_type) = media_type.parse::<HeaderValue>() else {
            return Err(Fault::Final(Trouble::Other(format!("`{media_type}` is no media type"))));
        };
        let bytes = bytes::Bytes::copy_from_slice(&manifest.bytes);
        let url = self.manifest_url(target)?;
        let dress =
            |request: reqwest::RequestBuilder| Ok(request.header(CONTENT_TYPE, media_type.clone()).body(bytes.clone()));
        let answer = self.send(Method::PUT, &url, dress).await?;
        match answer.status().as_u16() {
            200..=202 => {}
            _ => return Err(Fault::of(answer).await),
        }
        match digest_of(answer.headers()) {
            Some(actual) if actual != manifest.digest => {
                Err(Fault::Final(Trouble::Corrupt { expected: manifest.digest, actual: format!("it kept {actual}") }))
            }
            _ => Ok(answer.headers().clone()),
        }
    }
}
