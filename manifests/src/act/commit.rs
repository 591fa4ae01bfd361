//! A commit with the files of a deployment and nothing else.
//!
//! The commit is made before the journal is written, out of an index of its own: it is in the repository, and nothing refers to it. To deploy is then to move the
//! branch from one commit to the other, which git does atomically and only if the branch is where it was (`git update-ref`). So after a crash the branch
//! is on one side or the other, as a file is.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::git::{GitError, git, git_with, line};
use crate::target::{FileChange, Side, TargetError};

/// What is written is on disk before the branch says so (git-config(1), core.fsync).
const DURABLE: [&str; 2] = ["-c", "core.fsync=all"];

/// A branch that moves from one commit to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// The top of the working tree.
    pub(crate) repository: PathBuf,
    /// The branch, `refs/heads/main`; `HEAD` where none is checked out.
    reference: String,
    before: String,
    /// The commit.
    pub(crate) after: String,
    entries: Vec<Entry>,
}

/// What a file is in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    path: String,
    mode: String,
    before: Option<String>,
    after: String,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branch = self.reference.strip_prefix("refs/heads/").unwrap_or(&self.reference);
        write!(f, "{branch} of {}", self.repository.display())
    }
}

/// The working tree that holds a path.
pub(super) fn repository_of(path: &Path) -> Result<PathBuf, TargetError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match git(folder, &["rev-parse", "--show-toplevel"], &[]) {
        Ok(out) => Ok(PathBuf::from(line(&out))),
        Err(GitError::Failed { message, .. }) if message.contains("not a git repository") => {
            Err(GitError::NoRepository(folder.to_owned()).into())
        }
        Err(e) => Err(e.into()),
    }
}

/// The branch that is checked out, in full; none for a commit without a branch.
pub(super) fn branch(repository: &Path) -> Option<String> {
    git(repository, &["symbolic-ref", "--quiet", "HEAD"], &[]).ok().map(|out| line(&out))
}

impl Commit {
    /// Makes a commit of these files on top of what is checked out; none if it would change nothing. No hook runs and nothing of the working tree or the index
    /// changes.
    pub(super) fn make(repository: &Path, files: &[&FileChange], message: &str) -> Result<Option<Self>, TargetError> {
        let head = git(repository, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], &[]);
        let before = line(&head.map_err(|_| GitError::NoCommit(repository.to_owned()))?);
        let reference = branch(repository).unwrap_or_else(|| "HEAD".to_owned());
        let scratch = tempfile::tempdir().map_err(GitError::Temporary)?;
        let index = scratch.path().join("index");
        let env = [("GIT_INDEX_FILE", index.as_os_str())];
        run(repository, &["read-tree", &before], &env)?;
        let mut entries = Vec::new();
        for file in files {
            let path = inside(repository, &file.path)?;
            let tracked = tracked(repository, &before, &path)?;
            untouched(repository, file, &path, tracked.is_some())?;
            if !file.is_change() {
                continue;
            }
            let hash = ["hash-object", "-w", "--stdin", "--path", &path];
            let hash = [&DURABLE[..], &hash].concat();
            let after = line(&git_with(repository, &hash, &[], file.after().as_bytes())?);
            let (mode, before) = tracked.map_or(("100644".to_owned(), None), |(mode, blob)| (mode, Some(blob)));
            let entry = Entry { path, mode, before, after };
            run(repository, &["update-index", "--add", "--cacheinfo", &entry.info(&entry.after)], &env)?;
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let tree = line(&run(repository, &["write-tree"], &env)?);
        let mut args = vec!["commit-tree", &tree, "-p", &before, "-F", "-"];
        // `git commit` signs when this is set, and `git commit-tree` does not.
        let signs = git(repository, &["config", "--type=bool", "--get", "commit.gpgSign"], &[]);
        if signs.is_ok_and(|out| line(&out) == "true") {
            args.push("-S");
        }
        let commit = git_with(repository, &[&DURABLE[..], &args].concat(), &[], message.as_bytes())?;
        Ok(Some(Self { repository: repository.to_owned(), reference, before, after: line(&commit), entries }))
    }

    pub(super) fn side(&self) -> Result<Side, TargetError> {
        let now = self.now()?;
        Ok(match now {
            now if now == self.after => Side::After,
            now if now == self.before => Side::Before,
            // Someone committed on top of it.
            now if is_ancestor(&self.repository, &self.after, &now) => Side::After,
            _ => Side::Neither,
        })
    }

    pub(super) fn moved(&self) -> TargetError {
        TargetError::Moved { repository: self.repository.clone(), reference: self.reference.clone() }
    }

    pub(super) fn forward(&self) -> Result<(), TargetError> {
        match self.side()? {
            Side::After => {}
            Side::Before => self.update(&self.after, &self.before)?,
            Side::Neither => return Err(self.moved()),
        }
        self.index(|entry| Some(&entry.after))
    }

    pub(super) fn backward(&self) -> Result<Option<String>, TargetError> {
        let now = self.now()?;
        if now == self.after {
            self.update(&self.before, &self.after)?;
        } else if now != self.before {
            let short = self.after.get(..12).unwrap_or(&self.after);
            let stays = is_ancestor(&self.repository, &self.after, &now);
            return Ok(Some(if stays {
                format!(
                    "the commit {short} stays in {self}, because someone committed on top of it: `git revert {short}` takes it back"
                )
            } else {
                format!("{self} is left where someone else moved it")
            }));
        }
        self.index(|entry| entry.before.as_ref())?;
        Ok(None)
    }

    fn now(&self) -> Result<String, TargetError> {
        Ok(line(&git(&self.repository, &["rev-parse", "--verify", "--quiet", &self.reference], &[])?))
    }

    fn update(&self, new: &str, old: &str) -> Result<(), TargetError> {
        let args = ["update-ref", "-m", "shiplap", "--no-deref", &self.reference, new, old];
        run(&self.repository, &args, &[])?;
        Ok(())
    }

    /// Lets the index follow the branch, for these files alone: else `git status` would show the commit as taken back. Whatever else is staged stays.
    fn index<'a>(&'a self, blob: impl Fn(&'a Entry) -> Option<&'a String>) -> Result<(), TargetError> {
        for entry in &self.entries {
            match blob(entry) {
                Some(blob) => run(&self.repository, &["update-index", "--add", "--cacheinfo", &entry.info(blob)], &[])?,
                None => run(&self.repository, &["update-index", "--force-remove", "--", &entry.path], &[])?,
            };
        }
        Ok(())
    }
}

impl Entry {
    fn info(&self, blob: &str) -> String {
        format!("{},{blob},{}", self.mode, self.path)
    }
}

/// Whether a commit is in another, or is it.
pub(super) fn is_ancestor(repository: &Path, commit: &str, of: &str) -> bool {
    git(repository, &["merge-base", "--is-ancestor", commit, of], &[]).is_ok()
}

fn run(repository: &Path, args: &[&str], env: &[(&str, &OsStr)]) -> Result<std::process::Output, GitError> {
    git(repository, &[&DURABLE[..], args].concat(), env)
}

/// The path as git has it.
fn inside(repository: &Path, path: &Path) -> Result<String, TargetError> {
    let inside = path.strip_prefix(repository).ok().and_then(Path::to_str);
    inside.map(str::to_owned).ok_or_else(|| GitError::NoRepository(path.to_owned()).into())
}

/// Mode and blob of a file in a commit.
fn tracked(repository: &Path, commit: &str, path: &str) -> Result<Option<(String, String)>, TargetError> {
    let out = git(repository, &["ls-tree", "-z", commit, "--", path], &[])?;
    // `<mode> blob <hash>\t<path>`
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut words = text.split(['\t', '\0']).next().unwrap_or_default().split(' ');
    let (mode, kind, blob) = (words.next(), words.next(), words.next());
    Ok(match (mode, kind, blob) {
        (Some(mode), Some("blob"), Some(blob)) => Some((mode.to_owned(), blob.to_owned())),
        _ => None,
    })
}

/// Whether nobody's changes of a file would be committed with ours.
fn untouched(repository: &Path, file: &FileChange, path: &str, is_tracked: bool) -> Result<(), TargetError> {
    let literal = format!(":(top,literal){path}");
    let status = ["status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", &literal];
    if !git(repository, &status, &[])?.stdout.is_empty() {
        return Err(TargetError::Uncommitted(file.path.clone()));
    }
    // `check-ignore` says yes with exit code 0.
    if !is_tracked && git(repository, &["check-ignore", "--quiet", "--", path], &[]).is_ok() {
        return Err(TargetError::Ignored(file.path.clone()));
    }
    Ok(())
}
