//! Putting parts that came from elsewhere into a cache mount.
//!
//! A mount is made by whoever has it to himself. Parts are added to one that other steps share at this moment too, for these are used to others who add to it: what is
//! added appears whole, by a rename, and never in the place of something.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use shiplap_cache::tier::TierBlob;
use shiplap_cache::{Overlay, Store};

use super::UsedMount;
use super::held::{self, DATA};
use super::parts::{Part, Parts};
use crate::Result;
use crate::compress::decompress;
use crate::error::At;

/// A lock on a cache mount that steps respect, if it can be had now: for who makes it, alone, and for who adds to it, beside those that share it.
fn lock(folder: &Path, is_new: bool) -> Result<Option<File>> {
    let lock = File::open(folder).at("open", folder)?;
    let operation =
        if is_new { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    Ok(flock(&lock, operation).is_ok().then_some(lock))
}

/// Makes those who fill a mount wait for each other.
fn turn(folder: &Path) -> Result<File> {
    let path = folder.join("filling");
    let file = File::options().create(true).append(true).open(&path).at("open", &path)?;
    flock(&file, FlockOperation::LockExclusive).map_err(std::io::Error::from).at("lock", &path)?;
    Ok(file)
}

/// Unpacks parts aside and adds them to a mount, or makes the mount of them; one without a blob has nothing in it. What is there already stays as it is: it is newer. Says whether it was done; nothing is
/// done to a mount that somebody has to himself.
pub(super) fn fill(
    store: &Store,
    folder: &Path,
    mount: &UsedMount,
    parts: &[(Part, Option<TierBlob>)],
) -> Result<bool> {
    let _turn = turn(folder)?;
    let data = folder.join(DATA);
    let is_new = !data.exists();
    // Whoever has it fills it himself.
    let Some(_lock) = lock(folder, is_new)? else { return Ok(false) };
    if is_new == data.exists() {
        return Ok(false);
    }
    // Until it is said what came, nothing counts as being here: whoever is stopped in between fetches it again.
    let before = if is_new { Parts::NONE } else { held::read(folder) };
    if is_new && !mount.seeded {
        held::write(folder, before)?;
    }
    let aside = tempfile::tempdir_in(folder).at("make a directory in", folder)?;
    let root = aside.path().join(DATA);
    for (part, blob) in parts {
        let Some(blob) = blob else { continue };
        // Each has the folders that lead to its files.
        let own = aside.path().join(part.to_string());
        std::fs::create_dir(&own).at("make", &own)?;
        unpack(store, blob, &own, store.overlay())?;
        if root.exists() { add(&own, &root)? } else { std::fs::rename(&own, &root).at("write", &root)? }
    }
    if is_new {
        std::fs::create_dir_all(&root).at("make", &root)?;
        let (uid, gid, mode) = mount.owner;
        std::os::unix::fs::chown(&root, Some(uid), Some(gid)).at("change the owner of", &root)?;
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(mode)).at("change the mode of", &root)?;
        std::fs::rename(&root, &data).at("write", &data)?;
    } else if root.exists() {
        add(&root, &data)?;
    }
    if !mount.seeded {
        held::write(folder, parts.iter().fold(before, |parts, (part, _)| parts.with(*part)))?;
    }
    Ok(true)
}

/// Moves what is in a folder into another one, where there is nothing of that name. Folders that both have become one; links are not followed.
fn add(from: &Path, to: &Path) -> Result<()> {
    for item in std::fs::read_dir(from).at("list", from)? {
        let item = item.at("list", from)?;
        let (own, there) = (item.path(), to.join(item.file_name()));
        match renameat_with(CWD, &own, CWD, &there, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            moved => {
                moved.map_err(std::io::Error::from).at("write", &there)?;
                continue;
            }
        }
        if std::fs::symlink_metadata(&there).is_ok_and(|status| status.is_dir())
            && item.file_type().at("look at", &own)?.is_dir()
        {
            add(&own, &there)?;
        }
    }
    Ok(())
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
    use std::fs;

    #[test]
    fn what_is_there_is_never_replaced_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to, outside] = ["from", "to", "outside"].map(|name| folder.path().join(name));
        for path in ["from/a", "from/link", "from/kind", "to/a", "outside"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        for (path, text) in [("a/both", "theirs"), ("a/new", "theirs"), ("link/x", "theirs"), ("kind/x", "theirs")] {
            fs::write(from.join(path), text).unwrap();
        }
        fs::write(to.join("a/both"), "ours").unwrap();
        fs::write(to.join("kind"), "ours").unwrap();
        std::os::unix::fs::symlink(&outside, to.join("link")).unwrap();
        add(&from, &to).unwrap();
        let text = |path: &str| fs::read_to_string(to.join(path)).unwrap();
        assert_eq!([text("a/both"), text("a/new"), text("kind")], ["ours", "theirs", "ours"]);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
