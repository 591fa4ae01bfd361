//! A directory on a branch of a git repository.
//!
//! There is no working tree: what others wrote is fetched into a bare repository of our own, a commit is made with `git fast-import` (git-fast-import(1)) on top of
//! what was fetched, and pushed. A push that is no fast-forward is refused by the other side (git-push(1)): that is the compare-and-set.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{Files, Place, ShareError, Snapshot};
use crate::git::without_credentials;

/// Where what was fetched is, in our own repository.
const FETCHED: &str = "refs/shiplap/fetched";
/// What is about to be pushed.
const MADE: &str = "refs/shiplap/made";

/// A directory on a branch of a repository.
#[derive(Debug)]
pub struct GitPlace {
    /// Our own repository.
    own: PathBuf,
    /// What a relative address is relative to.
    base: PathBuf,
    url: String,
    branch: String,
    /// Empty, or with a `/` at its end.
    folder: String,
}

impl GitPlace {
    /// The directory `folder` on `branch` of the repository at `url`, which may be a path relative to `base`. `own` is where our copy of it is, made if there
    /// is none.
    ///
    /// # Errors
    /// There is no git, or `own` cannot be made.
    pub fn open(own: &Path, base: &Path, url: &str, branch: &str, folder: &str) -> Result<Self, ShareError> {
        let folder = folder.trim_matches('/');
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let place =
            Self { own: own.to_owned(), base: base.to_owned(), url: url.to_owned(), branch: branch.to_owned(), folder };
        if !own.join("HEAD").is_file() {
            let own = own.as_os_str();
            let output = Command::new("git").args(["init", "--quiet", "--bare"]).arg(own).output();
            place.check("read", output.map_err(|e| place.failed("read", &e))?)?;
        }
        Ok(place)
    }

    fn failed(&self, what: &'static str, why: &dyn std::fmt::Display) -> ShareError {
        // Git shows the address that it was given, with a password in it.
        let why = why.to_string().replace(&self.url, &without_credentials(&self.url));
        ShareError::Place { place: self.name(), what, why }
    }

    fn check(&self, what: &'static str, output: Output) -> Result<Vec<u8>, ShareError> {
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(self.failed(what, &String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    fn git<A: AsRef<OsStr>>(&self, args: &[A], input: Option<File>) -> Result<Output, ShareError> {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.own).args(args).current_dir(&self.base);
        for name in
            ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_NAMESPACE"]
        {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        command.stdin(input.map_or_else(Stdio::null, Stdio::from));
        command.output().map_err(|e| self.failed("read", &format!("cannot run git: {e}")))
    }

    /// Keeps other processes of this store from the names in our repository until it is dropped.
    fn lock(&self) -> Result<File, ShareError> {
        let path = self.own.join("shiplap.lock");
        let lock = || {
            let file = File::options().write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|e: std::io::Error| self.failed("read", &format!("cannot lock {}: {e}", path.display())))
    }

    /// A file that git reads from its start.
    fn input(&self, bytes: &[u8]) -> Result<File, ShareError> {
        let made = || {
            let mut file = tempfile::tempfile()?;
            file.write_all(bytes)?;
            file.rewind()?;
            Ok(file)
        };
        made().map_err(|e: std::io::Error| self.failed("written", &format!("cannot write a temporary file: {e}")))
    }
}

impl Place for GitPlace {
    fn name(&self) -> String {
        format!("{} ({}, branch {})", without_credentials(&self.url), self.folder, self.branch)
    }

    fn refresh(&self) -> Result<Snapshot, ShareError> {
        let _lock = self.lock()?;
        let from = format!("+refs/heads/{}:{FETCHED}", self.branch);
        let output = self.git(&["fetch", "--quiet", "--no-tags", "--", &self.url, &from], None)?;
        // The branch is made by the first write.
        if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("couldn't find remote ref") {
            return Ok(Snapshot(None));
        }
        self.check("read", output)?;
        let commit = self.check("read", self.git(&["rev-parse", "--verify", FETCHED], None)?)?;
        Ok(Snapshot(Some(String::from_utf8_lossy(&commit).trim().to_owned())))
    }

    fn list(&self, at: &Snapshot) -> Result<Vec<String>, ShareError> {
        let Some(commit) = &at.0 else { return Ok(Vec::new()) };
        let mut args = vec!["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit];
        if !self.folder.is_empty() {
            args.extend(["--", &self.folder]);
        }
        let listed = self.check("read", self.git(&args, None)?)?;
        let listed = String::from_utf8_lossy(&listed);
        Ok(listed
            .split('\0')
            .filter_map(|path| path.strip_prefix(&self.folder))
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect())
    }

    fn read(&self, at: &Snapshot, paths: &[String]) -> Result<Files, ShareError> {
        let Some(commit) = at.0.as_ref().filter(|_| !paths.is_empty()) else { return Ok(Files::new()) };
        let asked: String = paths.iter().map(|path| format!("{commit}:{}{path}\n", self.folder)).collect();
        let said = self.git(&["cat-file", "--batch"], Some(self.input(asked.as_bytes())?))?;
        let said = self.check("read", said)?;
        let mut files = BTreeMap::new();
        let mut rest = said.as_slice();
        for path in paths {
            // `<object> blob <size>`, a newline, the bytes, a newline (git-cat-file(1), BATCH OUTPUT).
            let strange = || self.failed("read", &format!("git does not find {path}"));
            let end = rest.iter().position(|b| *b == b'\n').ok_or_else(strange)?;
            let head = String::from_utf8_lossy(&rest[..end]);
            let size: usize = head.rsplit(' ').next().and_then(|size| size.parse().ok()).ok_or_else(strange)?;
            let content = rest.get(end + 1..end + 1 + size).ok_or_else(strange)?;
            files.insert(path.clone(), content.to_vec());
            rest = rest.get(end + size + 2..).unwrap_or_default();
        }
        Ok(files)
    }

    fn write(&self, base: &Snapshot, add: &Files, remove: &[String], message: &str) -> Result<bool, ShareError> {
        let _lock = self.lock()?;
        let mut stream = Vec::new();
        let now = crate::now().as_second();
        let head = format!(
            "commit {MADE}\ncommitter Shiplap <shiplap@localhost> {now} +0000\ndata {}\n{message}\n",
            message.len()
        );
        stream.extend_from_slice(head.as_bytes());
        match &base.0 {
            Some(commit) => stream.extend_from_slice(format!("from {commit}\n").as_bytes()),
            // Without it the commit would follow from what was made before.
            None => drop(self.git(&["update-ref", "-d", MADE], None)?),
        }
        for path in remove {
            stream.extend_from_slice(format!("D {}{path}\n", self.folder).as_bytes());
        }
        for (path, content) in add {
            stream.extend_from_slice(
                format!("M 100644 inline {}{path}\ndata {}\n", self.folder, content.len()).as_bytes(),
            );
            stream.extend_from_slice(content);
            stream.push(b'\n');
        }
        let made = self.git(
            &["fast-import", "--quiet", "--force", "--done"],
            Some(self.input(&[&stream[..], b"done\n"].concat())?),
        )?;
        self.check("written", made)?;
        let to = format!("{MADE}:refs/heads/{}", self.branch);
        let pushed = self.git(&["push", "--porcelain", "--no-verify", "--", &self.url, &to], None)?;
        if pushed.status.success() {
            return Ok(true);
        }
        let said = format!("{}{}", String::from_utf8_lossy(&pushed.stdout), String::from_utf8_lossy(&pushed.stderr));
        // Somebody was first: seen here, or there while both were written. Anything else, a protected branch for one, does not go away.
        let first = [
            "[rejected]",
            "cannot lock ref",
            "failed to update ref",
            "incorrect old value",
            "reference already exists",
        ];
        match first.iter().any(|words| said.contains(words)) {
            true => Ok(false),
            false => Err(self.failed("written", &said.trim())),
        }
    }
}
