//! What is in a cache mount, packed part by part.

use std::collections::HashMap;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use shiplap_cache::tier::TierBlob;
use shiplap_cache::{Entry, IndexBuilder, Kind, LayerIndex, Store, TreePath, capture};

use super::held::{self, DATA};
use super::parts::{Part, Parts, part_of};
use crate::error::At;
use crate::{Compression, Result, tarball};

/// The parts that files of a cache mount are in, where not all of it came here. None where all of it is here, or there is nothing.
pub(super) fn part_here(store: &Store, label: &str) -> Result<Option<Parts>> {
    let folder = store.cache_mount(label)?;
    let data = folder.join(DATA);
    if held::read(&folder) == Parts::ALL || !data.exists() {
        return Ok(None);
    }
    let index = capture(&data, store.overlay())?;
    let files = index.iter().filter(|entry| !entry.is_dir());
    Ok(Some(files.fold(Parts::NONE, |parts, entry| parts.with(part_of(&entry.path)))))
}

/// Packs the parts of a cache mount that are whole here: those that it is filled with, and those of which nothing is known elsewhere (`free`). Of more than
/// `most` bytes, what was written last. A part in which nothing is left has no blob.
pub(super) fn pack(store: &Store, label: &str, most: u64, free: Parts) -> Result<Vec<(Part, Option<TierBlob>)>> {
    let folder = store.cache_mount(label)?;
    let data = folder.join(DATA);
    let lock = std::fs::File::open(&folder).at("open", &folder)?;
    // Whoever uses it now goes on using it.
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() || !data.exists() {
        return Ok(Vec::new());
    }
    let whole = held::read(&folder).and(free);
    let index = capture(&data, store.overlay())?;
    let files = newest(&index, most);
    let mut parts: HashMap<Part, Vec<&Entry>> = HashMap::new();
    for file in &files {
        parts.entry(part_of(&file.path)).or_default().push(file);
    }
    let packed = |part| match parts.get(&part) {
        Some(files) => Ok((part, Some(pack_part(store, &data, &index, files)?))),
        None => Ok((part, None)),
    };
    whole.iter().map(packed).collect()
}

fn pack_part(store: &Store, data: &Path, all: &LayerIndex, files: &[&Entry]) -> Result<TierBlob> {
    let index = with_folders(all, files)?;
    let (_, digest, size) =
        crate::pack::compress(store, Compression::Zstd, |out| tarball::write_layer(out, data, &index, None))?;
    Ok(TierBlob { digest, size })
}

/// The files of a cache. Of more than `most` bytes, those that were written last.
fn newest(index: &LayerIndex, most: u64) -> Vec<Entry> {
    let mut files: Vec<Entry> = index.iter().filter_map(plain).collect();
    files.sort_by(|a, b| b.mtime.cmp(&a.mtime).then_with(|| a.path.cmp(&b.path)));
    let mut size = 0;
    files.retain(|entry| {
        size += match &entry.kind {
            Kind::File { size, .. } => *size,
            _ => 0,
        };
        size <= most
    });
    files
}

/// A file or a link, as it can be packed. None for what is neither.
fn plain(mut entry: Entry) -> Option<Entry> {
    match &mut entry.kind {
        // Its other name may be in another part.
        Kind::File { link, .. } => *link = None,
        Kind::Symlink { .. } => {}
        _ => return None,
    }
    Some(entry)
}

/// These files and the folders that lead to them, without the times of folders: each new file changes these.
fn with_folders(all: &LayerIndex, files: &[&Entry]) -> Result<LayerIndex> {
    let mut builder = IndexBuilder::default();
    let mut folders: Vec<TreePath> = Vec::new();
    for file in files {
        let mut at = file.path.parent();
        while let Some(folder) = at.filter(|folder| !folder.is_root()) {
            at = folder.parent();
            folders.push(folder);
        }
        builder.push((*file).clone());
    }
    folders.sort();
    folders.dedup();
    for folder in folders {
        if let Some(found) = all.find(folder.as_bytes()) {
            builder.push(Entry { mtime: 0, ..all.entry(found) });
        }
    }
    Ok(builder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiplap_cache::Overlay;

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

    /// All parts that have something.
    fn split(index: &LayerIndex, most: u64) -> Vec<(Part, LayerIndex)> {
        let files = newest(index, most);
        let of = |part| files.iter().filter(|file| part_of(&file.path) == part).collect::<Vec<_>>();
        let parts = Parts::ALL.iter().filter(|part| !of(*part).is_empty());
        parts.map(|part| (part, with_folders(index, &of(part)).unwrap())).collect()
    }

    fn names(parts: &[(Part, LayerIndex)]) -> Vec<String> {
        let files = parts.iter().flat_map(|(_, part)| part.iter().filter(|entry| !entry.is_dir()).collect::<Vec<_>>());
        let mut names: Vec<String> = files.map(|entry| entry.path.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_is_in_one_part_and_a_new_one_changes_one_part_alone() {
        let files = [("archive-v0/a/x", 1, 10), ("archive-v0/a/y", 1, 11), ("archive-v0/b/z", 1, 12), ("tag", 1, 13)];
        let before = split(&index(&files), 100);
        assert_eq!((names(&before).len(), before.len()), (4, 3));
        let mut more = files.to_vec();
        more.push(("archive-v0/b/new", 1, 99));
        let after = split(&index(&more), 100);
        let same = |(a, b): &(&(Part, LayerIndex), &(Part, LayerIndex))| a.1.as_bytes() != b.1.as_bytes();
        assert_eq!((names(&after).len(), before.iter().zip(&after).filter(same).count()), (5, 1));
    }

    #[test]
    fn a_part_has_the_folders_of_its_files_and_no_others() {
        let parts = split(&index(&[("archive-v0/a/x", 1, 10), ("archive-v0/b/c/z", 1, 12)]), 100);
        let all = |part: &LayerIndex| part.iter().map(|entry| entry.path.to_string()).collect::<Vec<_>>();
        let mut parts: Vec<_> = parts.iter().map(|(_, part)| all(part)).collect();
        parts.sort();
        let a = ["/archive-v0", "/archive-v0/a", "/archive-v0/a/x"].map(str::to_owned).to_vec();
        let b = ["/archive-v0", "/archive-v0/b", "/archive-v0/b/c", "/archive-v0/b/c/z"].map(str::to_owned).to_vec();
        assert_eq!(parts, [a, b]);
    }

    #[test]
    fn of_more_than_there_may_be_the_newest_stay() {
        let parts = split(&index(&[("old", 60, 10), ("new", 60, 20), ("newest", 30, 30)]), 100);
        assert_eq!(names(&parts), ["/new", "/newest"]);
    }
}
