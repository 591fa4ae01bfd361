//! What git says about the folder of `shiplap.toml`: the commit, the remote, and whether there are changes that no commit holds.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why git could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git` program.
    #[error("cannot run git: {0}; a release records the commit that it was made of, install git")]
    NoGit(std::io::Error),
    /// The folder is in no repository.
    #[error(
        "{} is in no git repository, and a release is named after its commit: run `git init`, `git add` and `git commit` there, or clone the repository",
        .0.display()
    )]
    NoRepository(PathBuf),
    /// The repository has no commit yet.
    #[error("the git repository {} has no commit yet: run `git commit` first", .0.display())]
    NoCommit(PathBuf),
    /// Git failed for another reason.
    #[error("`git {command}` failed in {}: {message}", folder.display())]
    Failed {
        /// What was run.
        command: String,
        /// Where.
        folder: PathBuf,
        /// What git wrote.
        message: String,
    },
    /// A temporary folder could not be made.
    #[error("cannot make a temporary folder: {0}")]
    Temporary(std::io::Error),
    /// Not a commit.
    #[error("`{0}` is not a git commit: expected 40 or 64 lower-case hexadecimal characters")]
    NotACommit(String),
}

/// The full name of a commit, in SHA-1 or SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Commit(String);

impl Commit {
    /// The hexadecimal characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = GitError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let hex = s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(s.len(), 40 | 64) { Ok(Self(s.to_owned())) } else { Err(GitError::NotACommit(s.to_owned())) }
    }
}

impl TryFrom<String> for Commit {
    type Error = GitError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a folder's repository holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GitState {
    /// The commit that is checked out.
    pub commit: Commit,
    /// Where the repository comes from, without credentials; none if it has no remote.
    pub remote: Option<String>,
    /// The changes that no commit holds, if there are any.
    pub dirty: Option<Dirty>,
}

/// Changes that no commit holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dirty {
    /// The files, relative to the repository's root.
    pub files: Vec<String>,
    /// The git tree of what is there: equal files, equal hash, on every machine.
    pub tree: String,
}

impl GitState {
    /// Asks git about the repository that holds `folder`. Changes of the files in `owned`, which Shiplap writes itself, do not count:
    /// a deploy would otherwise make every later release dirty.
    ///
    /// # Errors
    /// There is no git, no repository or no commit.
    pub fn inspect(folder: &Path, owned: &[PathBuf]) -> Result<Self, GitError> {
        let top = match git(folder, &["rev-parse", "--show-toplevel"], &[]) {
            Ok(out) => PathBuf::from(line(&out)),
            Err(GitError::Failed { message, .. }) if message.contains("not a git repository") => {
                return Err(GitError::NoRepository(folder.to_owned()));
            }
            Err(e) => return Err(e),
        };
        let commit = match git(folder, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], &[]) {
            Ok(out) => line(&out).parse()?,
            Err(GitError::Failed { .. }) => return Err(GitError::NoCommit(top)),
            Err(e) => return Err(e),
        };
        Ok(Self { commit, remote: remote(&top)?, dirty: dirty(&top, owned)? })
    }
}

/// The remote of the branch that is checked out, else `origin`, else the only one.
fn remote(top: &Path) -> Result<Option<String>, GitError> {
    let branch = git(top, &["symbolic-ref", "--quiet", "--short", "HEAD"], &[]).map(|out| line(&out));
    let of_branch = branch.ok().and_then(|branch| git(top, &["config", &format!("branch.{branch}.remote")], &[]).ok());
    let remotes = git(top, &["remote"], &[])?;
    let remotes = String::from_utf8_lossy(&remotes.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
    let name = of_branch.map(|out| line(&out)).filter(|name| remotes.contains(name)).or_else(|| {
        let origin = remotes.iter().find(|name| *name == "origin");
        origin.or(if remotes.len() == 1 { remotes.first() } else { None }).cloned()
    });
    match name {
        Some(name) => Ok(Some(without_credentials(&line(&git(top, &["remote", "get-url", &name], &[])?)))),
        None => Ok(None),
    }
}

fn dirty(top: &Path, owned: &[PathBuf]) -> Result<Option<Dirty>, GitError> {
    let mut inside_owned = Vec::new();
    for file in owned {
        // Git compares with the real path of the repository; a target's folder may be reached through a link.
        let folder = file.parent().and_then(|folder| folder.canonicalize().ok());
        let real = folder.zip(file.file_name()).map(|(folder, name)| folder.join(name));
        if let Some(inside) = real.as_deref().and_then(|real| real.strip_prefix(top).ok()).and_then(Path::to_str) {
            inside_owned.push(inside.to_owned());
        }
    }
    let others: Vec<String> = inside_owned.iter().map(|path| format!(":(exclude,top,literal){path}")).collect();
    let mut args = vec!["status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", "."];
    args.extend(others.iter().map(String::as_str));
    let status = git(top, &args, &[])?;
    // Each entry is two letters, a blank and the path.
    let files: Vec<String> = String::from_utf8_lossy(&status.stdout)
        .split('\0')
        .filter_map(|entry| entry.get(3..))
        .map(str::to_owned)
        .collect();
    if files.is_empty() {
        return Ok(None);
    }
    // The tree is written with an index and an object store of its own, so that the repository stays as it was.
    let scratch = tempfile::tempdir().map_err(GitError::Temporary)?;
    let objects = scratch.path().join("objects");
    std::fs::create_dir(&objects).map_err(GitError::Temporary)?;
    let index = scratch.path().join("index");
    let real_objects = top.join(line(&git(top, &["rev-parse", "--git-path", "objects"], &[])?));
    let env = [
        ("GIT_INDEX_FILE", index.as_os_str()),
        ("GIT_OBJECT_DIRECTORY", objects.as_os_str()),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", real_objects.as_os_str()),
    ];
    git(top, &["read-tree", "HEAD"], &env)?;
    git(top, &["add", "--all", "--", "."], &env)?;
    // `add` takes no exclusion of a file that is ignored, so what is owned goes back to what it is in the commit.
    let owned: Vec<String> = inside_owned.iter().map(|path| format!(":(top,literal){path}")).collect();
    if !owned.is_empty() {
        let mut args = vec!["reset", "--quiet", "HEAD", "--"];
        args.extend(owned.iter().map(String::as_str));
        git(top, &args, &env)?;
    }
    let tree = line(&git(top, &["write-tree"], &env)?);
    Ok(Some(Dirty { files, tree }))
}

pub(crate) fn git(folder: &Path, args: &[&str], env: &[(&str, &OsStr)]) -> Result<Output, GitError> {
    git_with(folder, args, env, &[])
}

/// Runs git with something to read.
pub(crate) fn git_with(folder: &Path, args: &[&str], env: &[(&str, &OsStr)], input: &[u8]) -> Result<Output, GitError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]).args(args);
    // Run from a git hook, these would point at another repository or index than the one of `folder`.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_NAMESPACE"] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0").envs(env.iter().copied());
    // Nobody is there to be asked for a password in the middle of a deployment.
    command.env("GIT_TERMINAL_PROMPT", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(GitError::NoGit)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it says why on standard error.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(GitError::NoGit)?;
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = if message.is_empty() { output.status.to_string() } else { tidy(&message) };
    Err(GitError::Failed { command: args.join(" "), folder: folder.to_owned(), message })
}

/// What git wrote, without the credentials of the addresses in it.
fn tidy(message: &str) -> String {
    let word = |word: &str| if word.contains("://") { without_credentials(word) } else { word.to_owned() };
    message.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

pub(crate) fn line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end_matches(['\n', '\r']).to_owned()
}

/// A remote's address without what may be a secret: the user and password of `http(s)`, where a token may be either, any other
/// scheme's password, and what follows a `?` or `#`.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // `git@host:path` and plain paths: the user is no secret there, and a password has no place.
        return url.to_owned();
    };
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let rest = if is_http { rest.split(['?', '#']).next().unwrap_or_default() } else { rest };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let authority = match authority.rsplit_once('@') {
        None => authority.to_owned(),
        Some((_, host)) if is_http => host.to_owned(),
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
    };
    format!("{scheme}://{authority}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_stay_in_a_remote() {
        for (url, expected) in [
            ("https://github.com/campus/site.git", "https://github.com/campus/site.git"),
            ("https://ghp_token@github.com/campus/site.git", "https://github.com/campus/site.git"),
            ("https://user:p@ss@git.example.org:8443/x.git?token=1#y", "https://git.example.org:8443/x.git"),
            ("HTTPS://user:pass@host/x", "HTTPS://host/x"),
            ("https://user:pass@host", "https://host"),
            ("ssh://git:secret@host:22/x", "ssh://git@host:22/x"),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("git@github.com:campus/site.git", "git@github.com:campus/site.git"),
            ("file:///srv/git/site.git", "file:///srv/git/site.git"),
            ("/srv/git/a@b", "/srv/git/a@b"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }

    #[test]
    fn a_commit_is_whole_or_none() {
        assert!("3f2c1ab09d4e5f60718293a4b5c6d7e8f9001122".parse::<Commit>().is_ok());
        for bad in ["", "3f2c1ab09d4e", "3F2C1AB09D4E5F60718293A4B5C6D7E8F9001122"] {
            assert!(bad.parse::<Commit>().is_err(), "{bad}");
        }
    }
}
