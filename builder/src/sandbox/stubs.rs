//! Mount points that the sandbox made in the step's tree, and their removal.
//!
//! They must leave no trace in the layer: not themselves, not a new time of the directory that held
//! them, not that directory's copy in the upper directory when nothing else happened to it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use serde::{Deserialize, Serialize};

/// The mount points made for a step, in the order of making. Paths are relative to the tree.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stubs {
    made: Vec<PathBuf>,
    /// The directories that were there before and that making them touched or copied up.
    held: Vec<Held>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    path: PathBuf,
    before: State,
    /// The modification time when the last mount point was made.
    sealed: Time,
}

type Time = (i64, i64);

/// Docker leaves these in the layer of the first step that runs on an image without them (runc makes them).
const STAY: [&str; 3] = ["dev", "proc", "sys"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: Time,
}

impl From<&Metadata> for State {
    fn from(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode(), uid: metadata.uid(), gid: metadata.gid(), modified: modified(metadata) }
    }
}

impl Stubs {
    /// Notes that `path` is about to be made in `parent`; both are real paths below `root`. What is
    /// made inside another mount, such as `/dev`, is none of the layer's.
    pub(super) fn note(&mut self, root: &Path, parent: &Path, path: &Path) -> io::Result<()> {
        if fs::metadata(parent)?.dev() != fs::metadata(root)?.dev() || STAY.iter().any(|name| root.join(name) == path) {
            return Ok(());
        }
        for dir in parent.ancestors().take_while(|dir| dir.starts_with(root)) {
            let relative = relative(root, dir);
            if self.made.contains(&relative) || self.held.iter().any(|held| held.path == relative) {
                continue;
            }
            let before = State::from(&fs::metadata(dir)?);
            let sealed = before.modified;
            self.held.push(Held { path: relative, before, sealed });
        }
        self.made.push(relative(root, path));
        Ok(())
    }

    /// To be called when all mount points are made and before the step can change anything.
    pub(super) fn seal(&mut self, root: &Path) {
        for held in &mut self.held {
            if let Ok(metadata) = fs::metadata(root.join(&held.path)) {
                held.sealed = modified(&metadata);
            }
        }
    }

    /// Removes what is still empty, through the mounted tree. A directory that the step did not touch
    /// gets its old time back, another one keeps the time that the step gave it. A failure leaves an
    /// empty file or directory in the layer, as a step that filled it would.
    pub(super) fn clean(&self, root: &Path) {
        let times: Vec<_> = self
            .held
            .iter()
            .map(|held| {
                let path = root.join(&held.path);
                let now = modified(&fs::symlink_metadata(&path).ok()?);
                let time = if now == held.sealed { held.before.modified } else { now };
                Some((path, time))
            })
            .collect();
        for stub in self.made.iter().rev() {
            let path = root.join(stub);
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let parent = path.parent().unwrap_or(root);
            // A directory of ours that stays, because the step filled it, keeps its time as well.
            let time = fs::symlink_metadata(parent).ok().map(|dir| modified(&dir));
            let removed = if metadata.is_dir() {
                fs::remove_dir(&path).is_ok()
            } else {
                metadata.is_file() && metadata.len() == 0 && fs::remove_file(&path).is_ok()
            };
            if let (true, Some(time)) = (removed, time) {
                set_modified(parent, time);
            }
        }
        for (path, time) in times.into_iter().flatten() {
            set_modified(&path, time);
        }
    }

    /// Removes the copies of directories that are in the unmounted upper directory only because mount
    /// points were made in them. Deepest first, for the outer ones are copied for the inner one's sake.
    pub(super) fn prune(&self, upper: &Path) {
        let mut held: Vec<_> = self.held.iter().filter(|held| held.path != Path::new("")).collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.path.components().count()));
        for held in held {
            let path = upper.join(&held.path);
            let unchanged = fs::symlink_metadata(&path)
                .is_ok_and(|metadata| metadata.is_dir() && State::from(&metadata) == held.before);
            if !unchanged || !only_marks_of_a_copy(&path) {
                continue;
            }
            let parent = path.parent().unwrap_or(upper);
            let time = fs::symlink_metadata(parent).ok().map(|dir| modified(&dir));
            // Fails when something is in it, and then it belongs to the layer.
            if let (Ok(()), Some(time)) = (fs::remove_dir(&path), time) {
                set_modified(parent, time);
            }
        }
    }
}

/// Whether a directory carries no attributes but those by which overlayfs knows where it was copied
/// from. Anything else, `opaque` above all, has a meaning.
fn only_marks_of_a_copy(path: &Path) -> bool {
    let mut names = vec![0; 64 * 1024];
    match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()).all(|name| {
            [&b"trusted.overlay."[..], b"user.overlay."]
                .iter()
                .filter_map(|prefix| name.strip_prefix(*prefix))
                .any(|mark| mark == b"origin" || mark == b"impure")
        }),
        Err(error) => error == rustix::io::Errno::NOTSUP,
    }
}

fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

fn modified(metadata: &Metadata) -> Time {
    (metadata.mtime(), metadata.mtime_nsec())
}

fn set_modified(path: &Path, (seconds, nanoseconds): Time) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    // At worst the layer has a directory with a newer time.
    let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}
