//! A change of one file: planned, journaled, made, and taken back.
//!
//! The journal holds what changes (whole lines) and the digests of the file before and after, never the whole file: Tutor's `config.yml` is full of
//! passwords, which have no business in the history.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shiplap_cache::Digest;
use shiplap_cache::durable::{self, DurableFile};
use similar::{ChangeTag, TextDiff};

use super::TargetError;

/// A file as it is and as it is to be.
#[derive(Clone, Serialize)]
pub struct FileChange {
    /// The real file, not a link to it.
    pub path: PathBuf,
    #[serde(skip)]
    before: Option<String>,
    #[serde(skip)]
    after: String,
}

/// The contents may hold secrets: they are not for logs.
impl std::fmt::Debug for FileChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileChange").field("path", &self.path).finish_non_exhaustive()
    }
}

impl FileChange {
    /// Reads the file at `path`, following links, and plans to make of it what `edit` returns.
    pub(crate) fn plan(
        path: &Path,
        edit: impl FnOnce(Option<&str>) -> Result<String, TargetError>,
    ) -> Result<Self, TargetError> {
        let (path, before) = match path.canonicalize() {
            // The link stays a link: what it leads to is written.
            Ok(real) => {
                let text = fs::read_to_string(&real).at("read", &real)?;
                (real, Some(text))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let missing = || TargetError::NoFolder { path: path.to_owned() };
                let folder = path.parent().and_then(|folder| folder.canonicalize().ok()).ok_or_else(missing)?;
                (folder.join(path.file_name().ok_or_else(missing)?), None)
            }
            Err(e) => return Err(e).at("read", path),
        };
        let after = edit(before.as_deref())?;
        Ok(Self { path, before, after })
    }

    /// Whether anything has to be written.
    pub fn is_change(&self) -> bool {
        self.before.as_ref() != Some(&self.after)
    }

    /// What is to be in the file.
    pub(crate) fn after(&self) -> &str {
        &self.after
    }

    /// The lines that change, as a unified diff without context.
    pub fn diff(&self) -> String {
        if !self.is_change() {
            return String::new();
        }
        let before = self.before.as_deref().unwrap_or_default();
        let name = self.path.display().to_string();
        let old = if self.before.is_some() { name.as_str() } else { "/dev/null" };
        TextDiff::from_lines(before, self.after.as_str())
            .unified_diff()
            .context_radius(0)
            .header(old, &name)
            .to_string()
    }

    pub(crate) fn edit(&self) -> Edit {
        let before = self.before.as_deref().unwrap_or_default();
        Edit {
            path: self.path.clone(),
            before: self.before.as_ref().map(|text| Digest::of(text.as_bytes())),
            after: Digest::of(self.after.as_bytes()),
            splices: splices(before, &self.after),
        }
    }
}

/// A change of a file as the journal keeps it: enough to go from either side to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub(crate) path: PathBuf,
    before: Option<Digest>,
    after: Digest,
    splices: Vec<Splice>,
}

/// At this byte of the old text, `old` gives way to `new`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Splice {
    at: usize,
    old: String,
    new: String,
}

/// On which side of an edit a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
    /// Someone else wrote it.
    Neither,
}

impl Edit {
    /// On which side the file is now.
    pub(crate) fn side(&self) -> Result<Side, TargetError> {
        Ok(self.side_of(self.current()?.as_deref()))
    }

    fn side_of(&self, text: Option<&str>) -> Side {
        match text.map(|text| Digest::of(text.as_bytes())) {
            Some(digest) if digest == self.after => Side::After,
            digest if digest == self.before => Side::Before,
            _ => Side::Neither,
        }
    }

    /// Makes the change, unless it is made already.
    pub(crate) fn forward(&self) -> Result<(), TargetError> {
        let current = self.current()?;
        match self.side_of(current.as_deref()) {
            Side::After => Ok(()),
            Side::Before => {
                let after = self.after_text(current.as_deref())?;
                write(&self.path, &after)
            }
            Side::Neither => Err(TargetError::Changed(self.path.clone())),
        }
    }

    /// Takes the change back, unless it is not made.
    pub(crate) fn backward(&self) -> Result<(), TargetError> {
        let current = self.current()?;
        match (self.side_of(current.as_deref()), current) {
            (Side::Before, _) => Ok(()),
            (Side::After, Some(after)) => match self.before_text(&after)? {
                Some(before) => write(&self.path, &before),
                None => {
                    fs::remove_file(&self.path).at("remove", &self.path)?;
                    durable::sync_dir(self.folder()).at("write", self.folder())
                }
            },
            _ => Err(TargetError::Changed(self.path.clone())),
        }
    }

    /// Removes the temporary files that a killed process left beside the file: those that hold a part of
    /// what it was writing, or nothing yet.
    pub(crate) fn sweep(&self) -> Result<(), TargetError> {
        let current = self.current()?;
        let (before, after) = match self.side_of(current.as_deref()) {
            Side::Before => (current.clone(), Some(self.after_text(current.as_deref())?)),
            Side::After => (self.before_text(current.as_deref().unwrap_or_default())?, current),
            Side::Neither => return Ok(()),
        };
        let sides = [before.unwrap_or_default(), after.unwrap_or_default()];
        let longest = sides.iter().map(String::len).max().unwrap_or_default() as u64;
        for entry in fs::read_dir(self.folder()).at("read", self.folder())? {
            let entry = entry.at("read", self.folder())?;
            let meta = entry.metadata().at("read", &entry.path())?;
            let ours = entry.file_name().to_string_lossy().starts_with(".tmp-") && meta.is_file();
            // What somebody holds is being written now.
            if !ours || meta.len() > longest || !durable::is_abandoned(&entry.path()).at("read", &entry.path())? {
                continue;
            }
            let part = fs::read(entry.path()).at("read", &entry.path())?;
            if sides.iter().any(|side| side.as_bytes().starts_with(&part)) {
                fs::remove_file(entry.path()).at("remove", &entry.path())?;
            }
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn current(&self) -> Result<Option<String>, TargetError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).at("read", &self.path),
        }
    }

    fn after_text(&self, before: Option<&str>) -> Result<String, TargetError> {
        let text = self.apply(before.unwrap_or_default(), |s| (&s.old, &s.new), |s, _| s.at);
        text.filter(|text| Digest::of(text.as_bytes()) == self.after)
            .ok_or_else(|| TargetError::Changed(self.path.clone()))
    }

    fn before_text(&self, after: &str) -> Result<Option<String>, TargetError> {
        let Some(digest) = self.before else { return Ok(None) };
        // In the new text each splice stands where it stood in the old one, moved by what those before it added.
        let text = self.apply(after, |s| (&s.new, &s.old), |s, moved| s.at.wrapping_add_signed(moved));
        match text.filter(|text| Digest::of(text.as_bytes()) == digest) {
            Some(text) => Ok(Some(text)),
            None => Err(TargetError::Changed(self.path.clone())),
        }
    }

    /// The text with each splice's first part replaced by its second; none where the first part is not there.
    fn apply(
        &self,
        text: &str,
        parts: impl for<'a> Fn(&'a Splice) -> (&'a String, &'a String),
        place: impl Fn(&Splice, isize) -> usize,
    ) -> Option<String> {
        let (mut out, mut end, mut moved) = (String::with_capacity(text.len()), 0, 0);
        for splice in &self.splices {
            let (from, to) = parts(splice);
            let at = place(splice, moved);
            out.push_str(text.get(end..at)?);
            text.get(at..)?.strip_prefix(from.as_str())?;
            out.push_str(to);
            end = at + from.len();
            moved += splice.new.len().cast_signed() - splice.old.len().cast_signed();
        }
        out.push_str(text.get(end..)?);
        Some(out)
    }
}

/// The changed lines.
fn splices(before: &str, after: &str) -> Vec<Splice> {
    let mut splices: Vec<Splice> = Vec::new();
    let (mut at, mut open) = (0, false);
    for change in TextDiff::from_lines(before, after).iter_all_changes() {
        if change.tag() == ChangeTag::Equal {
            at += change.value().len();
            open = false;
            continue;
        }
        if !open {
            splices.push(Splice { at, old: String::new(), new: String::new() });
            open = true;
        }
        if let Some(splice) = splices.last_mut() {
            match change.tag() {
                ChangeTag::Delete => {
                    splice.old.push_str(change.value());
                    at += change.value().len();
                }
                _ => splice.new.push_str(change.value()),
            }
        }
    }
    splices
}

/// Writes a file whole or not at all; one that is there keeps its mode and its owner.
fn write(path: &Path, text: &str) -> Result<(), TargetError> {
    let Ok(meta) = fs::metadata(path) else {
        return durable::write(path, text.as_bytes()).at("write", path);
    };
    let write = || -> io::Result<()> {
        let mut file = DurableFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
        file.write_all(text.as_bytes())?;
        let new = file.as_file().metadata()?;
        if (new.uid(), new.gid()) != (meta.uid(), meta.gid()) {
            std::os::unix::fs::fchown(file.as_file(), Some(meta.uid()), Some(meta.gid()))?;
        }
        // After the owner: a change of owner takes setuid bits away.
        file.as_file().set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))?;
        file.persist(path)
    };
    write().at("write", path)
}

/// Adds what and where to an I/O error.
pub(super) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, TargetError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, TargetError> {
        self.map_err(|source| TargetError::Io { what, path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: &str) -> (tempfile::TempDir, FileChange) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        let change = FileChange::plan(&path, |_| Ok(after.to_owned())).unwrap();
        (dir, change)
    }

    #[test]
    fn an_edit_goes_both_ways_byte_for_byte() {
        let cases = [
            (Some("a\nb\nc\n"), "a\nB\nc\n"),
            (Some("a\nb\nc"), "a\nb\nc\nd\n"),
            (Some(""), "x"),
            (Some("x\ny\n"), ""),
            (Some("1\n2\n3\n4\n5\n"), "0\n1\n3\nfour\n5\n6\n"),
            (Some("é\r\nü\r\n"), "é\r\nö and more\r\n"),
            (None, "new\n"),
            (None, ""),
        ];
        for (before, after) in cases {
            let (_dir, change) = change(before, after);
            let json = serde_json::to_string(&change.edit()).unwrap();
            let edit: Edit = serde_json::from_str(&json).unwrap();
            let now = || fs::read_to_string(&edit.path).ok();
            assert_eq!(edit.side().unwrap(), Side::Before, "{before:?}");
            for _ in 0..2 {
                edit.forward().unwrap();
                assert_eq!(now().as_deref(), Some(after));
            }
            assert_eq!(edit.side().unwrap(), Side::After);
            for _ in 0..2 {
                edit.backward().unwrap();
                assert_eq!(now().as_deref(), before);
            }
        }
    }

    #[test]
    fn the_journal_and_the_diff_hold_only_the_lines_that_change() {
        let before = "A: 1\nPASSWORD: hunter2\nB: 1\nKEY: hunter3\nC: 1\n";
        let (_dir, change) = change(Some(before), &before.replace(": 1", ": 2"));
        let (json, diff) = (serde_json::to_string(&change.edit()).unwrap(), change.diff());
        for text in [&json, &diff, &format!("{change:?}"), &serde_json::to_string(&change).unwrap()] {
            assert!(!text.contains("hunter"), "{text}");
        }
        assert!(diff.contains("-A: 1\n+A: 2\n"), "{diff}");
    }

    #[test]
    fn a_file_that_someone_else_wrote_is_left_alone() {
        let (_dir, change) = change(Some("a\n"), "b\n");
        let edit = change.edit();
        fs::write(&edit.path, "theirs\n").unwrap();
        assert_eq!(edit.side().unwrap(), Side::Neither);
        assert!(edit.forward().is_err() && edit.backward().is_err());
        assert_eq!(fs::read_to_string(&edit.path).unwrap(), "theirs\n");
    }

    #[test]
    fn a_link_stays_a_link_and_the_mode_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "a\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        FileChange::plan(&link, |_| Ok("b\n".to_owned())).unwrap().edit().forward().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "b\n");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let (dir, change) = change(Some("before, long\n"), "after, long\n");
        let edit = change.edit();
        for (name, text) in
            [(".tmp-ours", "after,"), (".tmp-theirs", "something"), (".other", "after,"), (".tmp-empty", "")]
        {
            fs::write(dir.path().join(name), text).unwrap();
        }
        edit.sweep().unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".other", ".tmp-theirs", "f"]);
    }

    #[test]
    fn a_missing_folder_is_an_error_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let error = FileChange::plan(&dir.path().join("no/f"), |_| Ok(String::new())).unwrap_err();
        assert!(matches!(error, TargetError::NoFolder { .. }));
    }
}
