//! What names, tags and served repositories need of the store.
//!
//! From a name the way goes to an image's record and its layers; from a tag to a manifest or index, and from there to all that it names (image-spec,
//! manifest.md and image-index.md). A manifest with a `subject` stays as long as its subject does, signatures of signatures too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shiplap_cache::collect::{Need, Needs, OnDisk, ServedEntry, Stale};
use shiplap_cache::{Digest, ImageId, LayerId};

use crate::images::{MANIFESTS, NAMES, RECORDS, TAGS};
use crate::kept::{self, KEPT};
use crate::referrers::{self, REFERRERS};
use crate::{Error, Images, Result, media, origin, whole};

/// What may go of the repositories that are served.
#[derive(Debug, Clone, Copy)]
pub struct ServedPolicy {
    /// For how long a blob without a manifest stays that was pushed or asked for: a push must not take longer.
    pub grace: Duration,
    /// For how long a manifest stays that has no tag, is in no index and has no subject. None: for ever, for it may run somewhere by its digest.
    pub untagged: Option<Duration>,
}

/// Reads references. What it has read of a manifest it remembers: the bytes of a digest never change.
#[derive(Debug)]
pub struct Collector {
    images: Images,
    policy: ServedPolicy,
    /// Go on without what a damaged or missing manifest may need.
    ignore_damaged: bool,
    documents: Mutex<HashMap<Digest, Arc<Named>>>,
}

impl Collector {
    /// A collector for these images. A manifest that is missing or damaged is an error, unless `ignore_damaged`.
    pub fn new(images: Images, policy: ServedPolicy, ignore_damaged: bool) -> Self {
        Self { images, policy, ignore_damaged, documents: Mutex::default() }
    }

    /// What the store's names and tags, the served repositories and these `roots` need. A root is a manifest, or a blob that is none.
    ///
    /// # Errors
    /// [`Error::Unreadable`], or the store fails.
    pub fn needs(&self, roots: &[Root]) -> Result<Needs> {
        let mut needs = Needs::default();
        let packed = self.names(&mut needs)?;
        let store = self.images.store();
        let mut live = Live { collector: self, needs: &mut needs, referrers: self.local_referrers()? };
        // What is attached to an image stays with it, whether it has a tag or only a name.
        for manifest in packed {
            for referrer in live.referrers.get(&manifest).cloned().unwrap_or_default() {
                live.mark(referrer, Need::Name, &referrer.to_string())?;
            }
        }
        for (name, digest) in self.images.store().names(TAGS)? {
            if let Ok(digest) = digest.parse() {
                live.mark(digest, Need::Tag, &name)?;
            }
        }
        for root in roots {
            match root.is_manifest {
                true => live.mark(root.digest, root.need, &root.name)?,
                false => live.needs.blob(root.digest, root.need),
            }
        }
        for (layer, blob) in store.names(origin::LAYERS)? {
            if let (Ok(layer), Some(blob)) = (layer.parse::<LayerId>(), origin::blob_of(&blob)) {
                needs.attached.entry(layer).or_default().push(blob);
            }
        }
        self.served(&mut needs)?;
        Ok(needs)
    }

    /// Names for people keep layers, and the manifest and config that the image came with or was packed as. These manifests are given.
    fn names(&self, needs: &mut Needs) -> Result<Vec<Digest>> {
        let store = self.images.store();
        let named: HashSet<ImageId> = store.names(NAMES)?.iter().filter_map(|(_, id)| id.parse().ok()).collect();
        for id in &named {
            // A name whose image has no record stands for nothing.
            let image = match self.images.load(id) {
                Ok(image) => image,
                Err(Error::NoImage(_)) => continue,
                Err(_) if self.ignore_damaged => continue,
                Err(error) => return Err(error),
            };
            image.layers.iter().for_each(|layer| needs.layer(*layer, Need::Name));
            if let Some(config) = origin::config(store, id)? {
                needs.blob(config, Need::Name);
            }
        }
        // What it came as and what it was packed as. That need not be here: an image can be packed anew.
        let mut packed = Vec::new();
        for (manifest, id) in store.names(MANIFESTS)? {
            let (Ok(digest), Ok(id)) = (format!("sha256:{manifest}").parse(), id.parse()) else { continue };
            if named.contains(&id) && store.blobs().size(&digest)?.is_some() {
                packed.push(digest);
                needs.blob(digest, Need::Name);
                let named = self.document(&digest, &manifest)?;
                named.blobs.iter().chain(&named.elsewhere).for_each(|blob| needs.blob(*blob, Need::Name));
            }
        }
        Ok(packed)
    }

    /// Each repository for itself: what a tag of one needs, another may not have.
    fn served(&self, needs: &mut Needs) -> Result<()> {
        let store = self.images.store();
        let served = store.all_served()?;
        let mut repositories: BTreeMap<&str, Vec<&ServedEntry>> = BTreeMap::new();
        served.manifests.iter().for_each(|row| repositories.entry(&row.repository).or_default().push(row));
        let mut marked: HashMap<&str, HashSet<Digest>> = HashMap::new();
        for (repository, rows) in &repositories {
            let mut referrers: HashMap<Digest, Vec<Digest>> = HashMap::new();
            rows.iter().filter_map(|row| Some((row.subject?, row.digest))).for_each(|(subject, digest)| {
                referrers.entry(subject).or_default().push(digest);
            });
            let mut of_repository = Needs::default();
            let mut live = Live { collector: self, needs: &mut of_repository, referrers };
            for tag in served.tags.iter().filter(|tag| tag.repository == *repository) {
                live.mark(tag.digest, Need::Served, &format!("{repository}:{}", tag.tag))?;
            }
            let old = self.policy.untagged.map(|time| now() - seconds(time));
            for row in rows {
                // Without an age for the untagged, each is a root. A referrer whose subject is not there (yet) is one too, for the same age.
                if old.is_none_or(|old| row.pushed > old) {
                    live.mark(row.digest, Need::Served, &format!("{repository}@{}", row.digest))?;
                }
            }
            for row in rows.iter().filter(|row| !of_repository.blobs.contains_key(&row.digest)) {
                let repository = (*repository).to_owned();
                needs.stale.push(Stale::Manifest { repository, digest: row.digest });
            }
            marked.insert(repository, of_repository.blobs.keys().copied().collect());
            needs.extend(of_repository);
        }
        // A link is not renewed each time that it is asked for.
        let young = now() - seconds(self.policy.grace) - shiplap_cache::LINK_REST;
        for link in served.links {
            let used = marked.get(link.repository.as_str()).is_some_and(|blobs| blobs.contains(&link.digest));
            if used || link.linked > young {
                needs.blob(link.digest, Need::Upload);
            } else {
                needs.stale.push(Stale::Link { repository: link.repository, digest: link.digest });
            }
        }
        Ok(())
    }

    /// Tags, manifests that are served, and `roots` that are not here whole. Layers of which was noted that a registry has them need not be here for a tag or a root.
    ///
    /// # Errors
    /// The store fails.
    pub fn broken(&self, roots: &[Root]) -> Result<Vec<Broken>> {
        let store = self.images.store();
        let mut all = roots.to_vec();
        for (name, digest) in store.names(TAGS)? {
            all.extend(digest.parse().map(|digest| Root { digest, is_manifest: true, need: Need::Tag, name }));
        }
        let served = store.all_served()?;
        let root = |digest, name| Root { digest, is_manifest: true, need: Need::Served, name };
        all.extend(served.tags.iter().map(|tag| root(tag.digest, format!("{}:{}", tag.repository, tag.tag))));
        let is_tagged = |row: &ServedEntry| {
            served.tags.iter().any(|tag| tag.repository == row.repository && tag.digest == row.digest)
        };
        let untagged = served.manifests.iter().filter(|row| !is_tagged(row));
        all.extend(untagged.map(|row| root(row.digest, format!("{}@{}", row.repository, row.digest))));
        let mut broken = Vec::new();
        for Root { digest, is_manifest, need, name } in all {
            let mut missing = self.missing(&digest, is_manifest)?;
            // What others pull from here must be here.
            if is_manifest && need != Need::Served && !missing.is_empty() {
                let elsewhere = self.images.elsewhere(&digest)?;
                missing.retain(|blob| !elsewhere.contains(blob));
            }
            if !missing.is_empty() {
                broken.push(Broken { name, need, missing });
            }
        }
        Ok(broken)
    }

    fn missing(&self, root: &Digest, is_manifest: bool) -> Result<Vec<Digest>> {
        let blobs = self.images.store().blobs();
        let (mut missing, mut open) = (Vec::new(), vec![*root]);
        let mut seen = HashSet::new();
        while let Some(digest) = open.pop() {
            if !seen.insert(digest) {
                continue;
            }
            if blobs.size(&digest)?.is_none() {
                missing.push(digest);
            } else if is_manifest {
                let named = self.document(&digest, "")?;
                open.extend(&named.manifests);
                for blob in &named.blobs {
                    if seen.insert(*blob) && blobs.size(blob)?.is_none() {
                        missing.push(*blob);
                    }
                }
            }
        }
        Ok(missing)
    }

    fn local_referrers(&self) -> Result<HashMap<Digest, Vec<Digest>>> {
        let mut referrers: HashMap<Digest, Vec<Digest>> = HashMap::new();
        for (name, _) in self.images.store().names(REFERRERS)? {
            if let Some((subject, digest)) = referrers::parse(&name) {
                referrers.entry(subject).or_default().push(digest);
            }
        }
        Ok(referrers)
    }

    /// What a manifest or index names.
    fn document(&self, digest: &Digest, name: &str) -> Result<Arc<Named>> {
        let documents = || self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = documents().get(digest) {
            return Ok(known.clone());
        }
        let named =
            match self.images.store().blobs().read(digest).map(|bytes| serde_json::from_slice::<Document>(&bytes)) {
                Ok(Ok(document)) => document.named(),
                _ if self.ignore_damaged => Named::default(),
                Ok(Err(why)) => {
                    return Err(Error::Unreadable { name: name.to_owned(), digest: *digest, why: why.to_string() });
                }
                Err(why) => {
                    return Err(Error::Unreadable { name: name.to_owned(), digest: *digest, why: why.to_string() });
                }
            };
        let named = Arc::new(named);
        documents().insert(*digest, named.clone());
        Ok(named)
    }

    /// Names that stand for what is gone.
    ///
    /// # Errors
    /// The store fails.
    pub fn stale(&self, there: &OnDisk) -> Result<Vec<Stale>> {
        let store = self.images.store();
        let mut stale = Vec::new();
        let mut drop_from = |space: &'static str, is_stale: &dyn Fn(&str, &str) -> bool| -> Result<HashSet<String>> {
            let gone: HashSet<String> =
                store.names(space)?.into_iter().filter(|(name, value)| is_stale(name, value)).map(|(n, _)| n).collect();
            stale.extend(gone.iter().map(|name| Stale::Name { space, name: name.clone() }));
            Ok(gone)
        };
        let blob = |hex: &str| format!("sha256:{hex}").parse().is_ok_and(|digest| there.blob(&digest));
        // An image whose layers are gone can be unpacked again from its manifest.
        let mut wanted: HashSet<String> = store.names(NAMES)?.into_iter().map(|(_, id)| id).collect();
        wanted.extend(store.names(MANIFESTS)?.into_iter().filter(|(hex, _)| blob(hex)).map(|(_, id)| id));
        let images = drop_from(RECORDS, &|id, record| {
            // A record that cannot be read is none.
            let image = serde_json::from_str::<crate::Image>(record);
            !wanted.contains(id) && image.is_ok_and(|image| image.layers.iter().any(|layer| !there.layer(layer)))
        })?;
        for space in [origin::IMAGES, origin::CONFIGS] {
            drop_from(space, &|id, _| images.contains(id))?;
        }
        drop_from(MANIFESTS, &|_, id| images.contains(id))?;
        drop_from(origin::LAYERS, &|layer, record| {
            let gone = layer.parse().is_ok_and(|layer| !there.layer(&layer));
            gone && origin::blob_of(record).is_none_or(|digest| !there.blob(&digest))
        })?;
        drop_from(origin::UNPACKED, &|_, layer| layer.parse().is_ok_and(|layer| !there.layer(&layer)))?;
        drop_from(whole::VERIFIED, &|hex, _| !blob(hex))?;
        drop_from(crate::client::SOURCES, &|hex, _| !blob(hex))?;
        drop_from(REFERRERS, &|name, _| referrers::parse(name).is_none_or(|(_, digest)| !there.blob(&digest)))?;
        let of_image = |id: &ImageId| !images.contains(&id.hex()) && self.images.load(id).is_ok();
        for name in store.names_alone(KEPT)? {
            let stays = match kept::Of::of_name(&name) {
                Some(kept::Of::Image(id)) => of_image(&id),
                Some(kept::Of::Manifest(digest)) => there.blob(&digest),
                None => false,
            };
            if !stays {
                stale.push(Stale::Name { space: KEPT, name });
            }
        }
        Ok(stale)
    }
}

/// Something that must stay, and all that it names.
#[derive(Debug, Clone)]
pub struct Root {
    /// What.
    pub digest: Digest,
    /// Whether it is a manifest or index, which names others.
    pub is_manifest: bool,
    /// Why.
    pub need: Need,
    /// What to call it.
    pub name: String,
}

/// Something that is not here whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The tag, manifest or release.
    pub name: String,
    /// What it is.
    pub need: Need,
    /// What it lacks.
    pub missing: Vec<Digest>,
}

/// What is marked so far.
struct Live<'a> {
    collector: &'a Collector,
    needs: &'a mut Needs,
    referrers: HashMap<Digest, Vec<Digest>>,
}

impl Live<'_> {
    /// Marks a manifest, all that it names, and all that refers to it.
    fn mark(&mut self, manifest: Digest, need: Need, name: &str) -> Result<()> {
        let mut open = vec![manifest];
        let mut seen = HashSet::new();
        while let Some(digest) = open.pop() {
            if !seen.insert(digest) {
                continue;
            }
            self.needs.blob(digest, need);
            let named = self.collector.document(&digest, name)?;
            named.blobs.iter().chain(&named.elsewhere).for_each(|blob| self.needs.blob(*blob, need));
            open.extend(&named.manifests);
            open.extend(self.referrers.get(&digest).into_iter().flatten());
        }
        Ok(())
    }
}

/// What a document names, as far as it must be in the same place. Documents of all kinds are read alike: images, indices, charts, signatures.
#[derive(Debug, Default, Deserialize)]
struct Document {
    config: Option<Part>,
    layers: Option<Vec<Part>>,
    /// Of an artifact manifest, which OCI gave up before 1.1.
    blobs: Option<Vec<Part>>,
    manifests: Option<Vec<Part>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    digest: String,
    #[serde(default)]
    media_type: String,
}

impl Part {
    /// Whether an entry of an index is a manifest or index. BuildKit's caches are indices of layers, which cannot be read as such.
    fn is_manifest(&self) -> bool {
        self.media_type.is_empty() || media::is_manifest(&self.media_type)
    }
}

#[derive(Debug, Default)]
struct Named {
    blobs: Vec<Digest>,
    /// Blobs that need not be here. Who pushed them all the same relies on them.
    elsewhere: Vec<Digest>,
    manifests: Vec<Digest>,
}

impl Document {
    fn named(self) -> Named {
        // What has another digest than SHA-256 is not in this store.
        let digests = |parts: Vec<Part>| parts.into_iter().filter_map(|part| part.digest.parse().ok()).collect();
        let (manifests, others): (Vec<_>, Vec<_>) = self.manifests.into_iter().flatten().partition(Part::is_manifest);
        let (layers, blobs) = (self.layers.into_iter().flatten(), self.blobs.into_iter().flatten());
        let blobs = self.config.into_iter().chain(layers).chain(blobs).chain(others);
        let (elsewhere, blobs) = blobs.partition(|part| media::is_foreign(&part.media_type));
        Named { blobs: digests(blobs), elsewhere: digests(elsewhere), manifests: digests(manifests) }
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_layers_names_blobs_and_no_manifests() {
        let [layer, image, untold] = ["layer", "image", "untold"].map(|text| Digest::of(text.as_bytes()));
        let index = serde_json::json!({ "manifests": [
            { "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer },
            { "mediaType": media::OCI_MANIFEST, "digest": image }, { "digest": untold } ] });
        let named = serde_json::from_value::<Document>(index).unwrap().named();
        assert_eq!((named.blobs, named.manifests), (vec![layer], vec![image, untold]));
    }
}
