//! Finds paths inside a tree that is not our root, and makes mount points there.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::stubs::Stubs;

// The kernel's own limit, path_resolution(7).
const MAX_LINKS: usize = 40;

/// What kind of mount point a mount needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// Opens `path` inside `root`, never leaving it, whatever symlinks say.
pub(super) fn open_inside(root: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat2(
        root,
        if path.is_empty() { "." } else { path },
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?)
}

/// The real path of the mount point `target` inside `root`, made when it is missing; what was made is
/// noted in `stubs`. Nothing else changes the tree meanwhile, so looking before stepping is enough.
pub(super) fn mount_point(root: &Path, target: &str, kind: Kind, stubs: &mut Stubs) -> io::Result<PathBuf> {
    let mut real = root.to_owned();
    let mut rest: VecDeque<OsString> = parts(Path::new(target)).collect();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            if real != root {
                real.pop();
            }
            continue;
        }
        let next = real.join(&part);
        match fs::symlink_metadata(&next) {
            Ok(found) if found.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let link = fs::read_link(&next)?;
                if link.is_absolute() {
                    real = root.to_owned();
                }
                for part in parts(&link).collect::<Vec<_>>().into_iter().rev() {
                    rest.push_front(part);
                }
            }
            Ok(found) if found.is_dir() => real = next,
            Ok(_) if rest.is_empty() => real = next,
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                stubs.note(root, &real, &next)?;
                if rest.is_empty() && kind == Kind::File {
                    let mut options = OpenOptions::new();
                    options.write(true).create_new(true).mode(0o644);
                    options.open(&next)?;
                } else {
                    DirBuilder::new().mode(0o755).create(&next)?;
                }
                real = next;
            }
            Err(error) => return Err(error),
        }
    }
    let is_directory = fs::symlink_metadata(&real)?.is_dir();
    match kind {
        Kind::Directory if !is_directory => Err(io::ErrorKind::NotADirectory.into()),
        Kind::File if is_directory => Err(io::ErrorKind::IsADirectory.into()),
        _ => Ok(real),
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn symlinks_stay_inside_and_missing_parts_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("real")).unwrap();
        symlink("/real", root.join("absolute")).unwrap();
        symlink("../../../../real/new", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let mut stubs = Stubs::default();
        let mut at = |target, kind| mount_point(&root, target, kind, &mut stubs);

        let file = at("/absolute/a/b", Kind::File).unwrap();
        assert_eq!(file, root.join("real/a/b"));
        assert!(file.is_file());
        let made = at("/dangling", Kind::Directory).unwrap();
        assert_eq!(made, root.join("real/new"));
        assert_eq!(at("/../../real", Kind::Directory).unwrap(), root.join("real"));
        assert!(at("/loop", Kind::File).is_err());
        assert_eq!(at("/real/a/b", Kind::Directory).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(at("/real", Kind::File).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(!dir.path().join("real").exists());

        // All of it goes again, and nothing else.
        stubs.seal(&root);
        stubs.clean(&root);
        assert_eq!(fs::read_dir(root.join("real")).unwrap().count(), 0);
        assert!(root.join("absolute").is_symlink());
    }
}
