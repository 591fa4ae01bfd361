//! Git repositories as sources: a reference becomes a commit, a commit becomes files.
//!
//! The `git` program does the work, as in BuildKit (`source/git`): it knows all transports, credentials and agents of
//! the user. Repositories are kept bare in the store, so that a commit that was fetched once is not fetched again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use shiplap_cache::Store;

use super::error::FetchError;
use super::files::Files;
use crate::plan::GitSource;

/// A reference at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) source: GitSource,
    pub(crate) sha: String,
}

/// Finds the commit of a source. A full commit id asks nobody.
pub(crate) fn resolve(source: &GitSource) -> Result<Commit, FetchError> {
    let reference = source.reference.as_deref().unwrap_or("HEAD");
    let sha = if is_full_sha(reference) { reference.to_owned() } else { ask_remote(source, reference)? };
    if let Some(expected) = source.checksum.as_deref().filter(|expected| !sha.starts_with(*expected)) {
        let what = without_credentials(&source.url);
        return Err(FetchError::Checksum { what, expected: expected.to_owned(), actual: sha });
    }
    Ok(Commit { source: source.clone(), sha })
}

fn ask_remote(source: &GitSource, reference: &str) -> Result<String, FetchError> {
    let patterns = [reference.to_owned(), format!("{reference}^{{}}")];
    let mut command = git(None);
    command.args(["ls-remote", "--", &source.url]).args(&patterns);
    let listed = run(command, "ls-remote", &source.url)?;
    let refs: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let find = |name: String| refs.iter().find(|(_, r)| *r == name).map(|(sha, _)| (*sha).to_owned());
    // A tag's commit rather than the tag object; tags before branches, as `git rev-parse` has it (gitrevisions(7)).
    let found = find(format!("refs/tags/{reference}^{{}}"))
        .or_else(|| find(format!("refs/tags/{reference}")))
        .or_else(|| find(format!("refs/heads/{reference}")))
        .or_else(|| find(format!("{reference}^{{}}")))
        .or_else(|| find(reference.to_owned()));
    found.ok_or_else(|| FetchError::NoReference {
        url: without_credentials(&source.url),
        reference: reference.to_owned(),
    })
}

/// The files of a commit. Their times are the commit's, so that two machines make the same layer.
pub(crate) fn fetch(store: &Store, commit: &Commit) -> Result<Files, FetchError> {
    let url = &commit.source.url;
    let bare = store.cache_mount(&format!("git {url}"))?;
    // Another stage or process may want the same repository now, at another commit or folder.
    let lock = std::fs::File::open(&bare).map_err(|e| io("open", &bare, e))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|e| io("lock", &bare, e.into()))?;
    if !bare.join("HEAD").exists() {
        let mut command = git(None);
        command.args(["init", "--quiet", "--bare"]).arg(&bare);
        run(command, "init", url)?;
    }
    if !has_commit(&bare, &commit.sha) {
        fetch_commit(&bare, commit)?;
    }
    let folder = store.temporary()?;
    let tree = folder.path().join("tree");
    checkout(&bare, &tree, commit)?;
    let time = run(with_args(git(Some(&bare)), &["show", "--no-patch", "--format=%ct", &commit.sha]), "show", url)?;
    let time: i64 = time.trim().parse().unwrap_or(0);
    let git_dir = tree.join(".git");
    if !commit.source.keep_git_dir {
        std::fs::remove_dir_all(&git_dir).map_err(|e| io("remove", &git_dir, e))?;
    }
    set_times(&tree, time)?;
    let root = match &commit.source.subdir {
        None => tree,
        Some(subdir) => subdirectory(&tree, subdir, url)?,
    };
    Ok(Files::of_temporary(folder, root, store.overlay())?)
}

fn has_commit(bare: &Path, sha: &str) -> bool {
    let mut command = git(Some(bare));
    command.args(["cat-file", "-e", &format!("{sha}^{{tree}}")]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Fetches one commit alone; a server that does not hand out single commits gives everything.
fn fetch_commit(bare: &Path, commit: &Commit) -> Result<(), FetchError> {
    let url = &commit.source.url;
    let alone = ["fetch", "--quiet", "--depth=1", "--no-tags", "--", url, &commit.sha];
    if run(with_args(git(Some(bare)), &alone), "fetch", url).is_ok() {
        return Ok(());
    }
    let all = ["fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*"];
    run(with_args(git(Some(bare)), &all), "fetch", url)?;
    if has_commit(bare, &commit.sha) {
        return Ok(());
    }
    Err(FetchError::NoReference { url: without_credentials(url), reference: commit.sha.clone() })
}

fn checkout(bare: &Path, tree: &Path, commit: &Commit) -> Result<(), FetchError> {
    let url = &commit.source.url;
    let mut init = git(None);
    init.args(["init", "--quiet"]).arg(tree);
    run(init, "init", url)?;
    let at = |args: &[&str]| {
        let mut command = git(None);
        command.arg("-C").arg(tree).args(args);
        command
    };
    let mut pull = at(&["fetch", "--quiet", "--depth=1", "--no-tags", "--"]);
    pull.arg(bare).arg(&commit.sha);
    run(pull, "fetch", url)?;
    run(at(&["remote", "add", "origin", &without_credentials(url)]), "remote add", url)?;
    run(at(&["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", &commit.sha]), "checkout", url)?;
    if commit.source.submodules && tree.join(".gitmodules").exists() {
        run(at(&["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"]), "submodule update", url)?;
    }
    Ok(())
}

fn subdirectory(tree: &Path, subdir: &str, url: &str) -> Result<PathBuf, FetchError> {
    let missing = || FetchError::NoSubdir { url: without_credentials(url), subdir: subdir.to_owned() };
    let tree = tree.canonicalize().map_err(|e| io("read", tree, e))?;
    let root = tree.join(subdir.trim_start_matches('/')).canonicalize().map_err(|_| missing())?;
    // A link in the repository must not lead out of it.
    if root.starts_with(&tree) && root.is_dir() { Ok(root) } else { Err(missing()) }
}

fn set_times(tree: &Path, seconds: i64) -> Result<(), FetchError> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    for item in walkdir::WalkDir::new(tree).contents_first(true) {
        let item = item.map_err(|e| io("read", tree, e.into()))?;
        set_mode(&item)?;
        rustix::fs::utimensat(CWD, item.path(), &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| io("set the time of", item.path(), e.into()))?;
    }
    Ok(())
}

/// The mode that a file has where the umask is 022, as in BuildKit: git knows of a file only whether it can be run, and the rest is the umask's.
fn set_mode(item: &walkdir::DirEntry) -> Result<(), FetchError> {
    use std::os::unix::fs::PermissionsExt;
    if item.path_is_symlink() {
        return Ok(());
    }
    let mode = item.metadata().map_err(|e| io("read", item.path(), e.into()))?.permissions().mode() & 0o7777;
    let own = mode & 0o500;
    let wanted = mode & 0o755 | own >> 3 | own >> 6;
    if wanted != mode {
        let wanted = std::fs::Permissions::from_mode(wanted);
        std::fs::set_permissions(item.path(), wanted).map_err(|e| io("change the mode of", item.path(), e))?;
    }
    Ok(())
}

fn git(dir: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    if let Some(dir) = dir {
        command.arg("--git-dir").arg(dir);
    }
    // A build never asks at the terminal, and what a repository says of itself is not to be run or believed here.
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE");
    command.stdin(Stdio::null());
    command
}

fn with_args(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

fn run(mut command: Command, what: &'static str, url: &str) -> Result<String, FetchError> {
    let output = command.output().map_err(|e| io("run", Path::new("git"), e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let shown = without_credentials(url);
    // git repeats the URL in its messages.
    let message = String::from_utf8_lossy(&output.stderr).trim().replace(url, &shown);
    Err(FetchError::Git { what, url: shown, message })
}

/// A URL as it may be shown and recorded.
pub(crate) fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            if rest.contains('/') { format!("{scheme}://{host}/{path}") } else { format!("{scheme}://{host}") }
        }
        None => url.to_owned(),
    }
}

fn is_full_sha(reference: &str) -> bool {
    matches!(reference.len(), 40 | 64) && reference.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

fn io(what: &'static str, path: &Path, source: std::io::Error) -> FetchError {
    FetchError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        for (url, shown) in [
            ("https://me:secret@host/a.git", "https://host/a.git"),
            ("https://token@host", "https://host"),
            ("git@host:a/b.git", "git@host:a/b.git"),
            ("file:///a/b", "file:///a/b"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
