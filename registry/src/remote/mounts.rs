//! Contents of `RUN --mount=type=cache`: caches of pip, npm and the like, that a fresh runner would have to fill anew.
//!
//! They are packed in a fixed number of parts. Which one a file is in depends on its path alone, and a part is named by its content, so a cache that
//! grew a little is sent again in part only. They are worth something and never necessary: what goes wrong here is left alone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use rustix::fs::{FlockOperation, flock};
use shiplap_cache::tier::segment::Mount;
use shiplap_cache::tier::{MOUNT, Part, TierBlob};
use shiplap_cache::{ContentHash, Entry, IndexBuilder, Kind, LayerIndex, Overlay, Store, capture};

use super::publish::Trouble;
use super::{PARALLEL, Place, Remote, blocking};
use crate::compress::decompress;
use crate::error::At;
use crate::{Compression, Result, tarball};

/// How many parts a cache is packed in.
const PARTS: u8 = 8;

/// A cache mount of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UsedMount {
    /// What it is for: its identity in the store.
    pub label: String,
    /// Owner, group and mode of its root.
    pub owner: (u32, u32, u32),
}

impl UsedMount {
    fn key(&self) -> ContentHash {
        ContentHash::of(self.label.as_bytes())
    }
}

impl Remote {
    /// Fills a cache mount that is not here with what a tier has. Says whether it did.
    ///
    /// # Errors
    /// The store fails.
    pub async fn restore(&self, mount: &UsedMount) -> Result<bool> {
        let folder = self.store().cache_mount(&mount.label)?;
        let data = folder.join("data");
        if data.exists() {
            return Ok(false);
        }
        for found in self.store().mount_places(&mount.key())? {
            let Some(place) = self.place(&found.tier).filter(|place| place.used.mounts > 0) else { continue };
            if let Err(error) = self.fetch_parts(place, &found.parts).await {
                self.failed(place, "fetch a cache mount", &error);
                continue;
            }
            let (store, mount, parts) = (self.store().clone(), mount.clone(), found.parts);
            let folder = folder.clone();
            match blocking(move || fill(&store, &folder, &mount, &parts)).await {
                Ok(filled) => return Ok(filled),
                Err(error) => tracing::debug!(%error, "a cache mount could not be filled"),
            }
        }
        Ok(false)
    }

    async fn fetch_parts(&self, place: &Place, parts: &[TierBlob]) -> shiplap_cache::tier::TierResult<()> {
        futures::stream::iter(parts.to_vec())
            .map(|part| async move { place.used.tier.fetch(self.store(), &part).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
        let bytes: u64 = parts.iter().map(|part| part.size).sum();
        self.moved.fetched.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Packs a cache mount and sends it. None where there is nothing to send.
    pub(super) async fn send_mount(
        &self,
        place: &Place,
        mount: &UsedMount,
    ) -> std::result::Result<Option<(Mount, u64)>, Trouble> {
        let most = place.used.mounts;
        if most == 0 {
            return Ok(None);
        }
        let (store, label) = (self.store().clone(), mount.label.clone());
        let parts = match blocking(move || pack(&store, &label, most)).await {
            Ok(parts) => parts,
            // Another build may be writing to it.
            Err(error) => {
                tracing::debug!(%error, mount = mount.label, "a cache mount is not packed");
                return Ok(None);
            }
        };
        let there = self.store().mount_places(&mount.key())?;
        if parts.is_empty() || there.iter().any(|found| found.tier == place.used.tier.name() && found.parts == parts) {
            return Ok(None);
        }
        let mut sent = 0;
        for blob in &parts {
            let part = Part { blob: *blob, media_type: MOUNT.to_owned() };
            sent += place.used.tier.put(self.store(), &part).await?;
        }
        let parts = parts.into_iter().map(Into::into).collect();
        Ok(Some((Mount { key: *mount.key().as_bytes(), time: shiplap_cache::seconds(), parts }, sent)))
    }
}

/// Packs what is in a cache mount: of more than `most` bytes, what was written last.
fn pack(store: &Store, label: &str, most: u64) -> Result<Vec<TierBlob>> {
    let folder = store.cache_mount(label)?;
    let data = folder.join("data");
    let lock = std::fs::File::open(&folder).at("open", &folder)?;
    // Whoever uses it now goes on using it.
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() || !data.exists() {
        return Ok(Vec::new());
    }
    let index = capture(&data, store.overlay())?;
    let mut parts = Vec::new();
    for part in split(&index, most)? {
        if part.iter().all(|entry| entry.is_dir()) {
            continue;
        }
        let (_, digest, size) =
            crate::pack::compress(store, Compression::Zstd, |out| tarball::write_layer(out, &data, &part, None))?;
        parts.push(TierBlob { digest, size });
    }
    Ok(parts)
}

/// The parts of a cache. Folders are in all of them, without times, for each new file changes these.
fn split(index: &LayerIndex, most: u64) -> Result<Vec<LayerIndex>> {
    let mut files: Vec<Entry> = Vec::new();
    let mut folders: Vec<Entry> = Vec::new();
    for mut entry in index.iter().filter(|entry| !entry.path.is_root()) {
        match &mut entry.kind {
            Kind::Dir { .. } => folders.push(Entry { mtime: 0, ..entry }),
            // Its other name may be in another part.
            Kind::File { link, .. } => {
                *link = None;
                files.push(entry);
            }
            Kind::Symlink { .. } => files.push(entry),
            _ => {}
        }
    }
    files.sort_by(|a, b| b.mtime.cmp(&a.mtime).then_with(|| a.path.cmp(&b.path)));
    let mut size = 0;
    files.retain(|entry| {
        size += match &entry.kind {
            Kind::File { size, .. } => *size,
            _ => 0,
        };
        size <= most
    });
    (0..PARTS)
        .map(|part| {
            let mut builder = IndexBuilder::default();
            folders.iter().for_each(|folder| builder.push(folder.clone()));
            for file in &files {
                if ContentHash::of(file.path.as_bytes()).as_bytes()[0] % PARTS == part {
                    builder.push(file.clone());
                }
            }
            Ok(builder.finish()?)
        })
        .collect()
}

/// Unpacks the parts aside and puts them in their place, unless somebody was first.
fn fill(store: &Store, folder: &Path, mount: &UsedMount, parts: &[TierBlob]) -> Result<bool> {
    let lock = std::fs::File::open(folder).at("open", folder)?;
    // Whoever has it fills it himself.
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    let data = folder.join("data");
    if data.exists() {
        return Ok(false);
    }
    let aside = tempfile::tempdir_in(folder).at("make a directory in", folder)?;
    let root = aside.path().join("data");
    std::fs::create_dir(&root).at("make", &root)?;
    for part in parts {
        unpack(store, part, &root, store.overlay())?;
    }
    let (uid, gid, mode) = mount.owner;
    std::os::unix::fs::chown(&root, Some(uid), Some(gid)).at("change the owner of", &root)?;
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(mode)).at("change the mode of", &root)?;
    std::fs::rename(&root, &data).at("write", &data)?;
    Ok(true)
}

fn unpack(store: &Store, part: &TierBlob, root: &Path, overlay: Overlay) -> Result<()> {
    let at = store.blobs().path(&part.digest);
    let tar = decompress(store.blobs().open_file(&part.digest)?).at("read", &at)?.0;
    let archive = format!("cache mount {}", part.digest);
    crate::unpack::unpack(tar, root, overlay).map_err(|problem| crate::Error::BadTar { archive, problem })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(files: &[(&str, u64, i64)]) -> LayerIndex {
        let folder = tempfile::tempdir().unwrap();
        for (path, size, time) in files {
            let at = folder.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(&at, vec![b'x'; *size as usize]).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(*time as u64);
            std::fs::File::options().append(true).open(&at).unwrap().set_modified(time).unwrap();
        }
        capture(folder.path(), Overlay::detect()).unwrap()
    }

    fn names(parts: &[LayerIndex]) -> Vec<String> {
        let files = parts.iter().flat_map(|part| part.iter().filter(|entry| !entry.is_dir()).collect::<Vec<_>>());
        let mut names: Vec<String> = files.map(|entry| entry.path.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_is_in_one_part_and_a_new_one_changes_one_part_alone() {
        let before = split(&index(&[("a/x", 1, 10), ("a/y", 1, 11), ("b/z", 1, 12)]), 100).unwrap();
        assert_eq!(names(&before).len(), 3);
        let after = split(&index(&[("a/x", 1, 10), ("a/y", 1, 11), ("b/z", 1, 12), ("b/new", 1, 99)]), 100).unwrap();
        let changed = before.iter().zip(&after).filter(|(before, after)| before.as_bytes() != after.as_bytes());
        assert_eq!((names(&after).len(), changed.count()), (4, 1));
    }

    #[test]
    fn of_more_than_there_may_be_the_newest_stay() {
        let parts = split(&index(&[("old", 60, 10), ("new", 60, 20), ("newest", 30, 30)]), 100).unwrap();
        assert_eq!(names(&parts), ["/new", "/newest"]);
    }
}
