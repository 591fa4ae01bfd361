//! Files that only log or stamp. They differ from run to run and tie steps together for nothing: each `npm run` writes a dated file into
//! `~/.npm/_logs` and lists that folder, so that a rerun of one npm step would make every later one run. They are left out of the layers
//! of `RUN` steps: no later step ever sees them, so leaving them out is no guess.

use std::path::Path;

use rustix::fs::FileType;

use super::error::StepError;
use crate::ignore::IgnoreRules;

/// What is left out unless a build says otherwise, as patterns of a .dockerignore file.
pub const NOISE: [&str; 11] = [
    // npm: a log a run, and when it last looked for a newer npm
    "**/.npm/_logs",
    "**/.npm/_update-notifier-last-checked",
    // Node's cache of compiled code (module.enableCompileCache), and v8-compile-cache of older tools
    "tmp/node-compile-cache",
    "tmp/v8-compile-cache-*",
    // pip: when it last looked for a newer pip
    "**/.cache/pip/selfcheck",
    // uv: locks that stay behind, and a file that says which run wrote a cache
    "tmp/uv-*.lock",
    // stevedore: a cache of entry points, by times of folders
    "**/.cache/python-entrypoints",
    // apt and dpkg
    "var/log/apt/*",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    // ldconfig: inode numbers and times of libraries
    "var/cache/ldconfig/aux-cache",
];

/// The rules of these patterns.
pub(crate) fn rules(patterns: &[String]) -> Result<IgnoreRules, StepError> {
    Ok(IgnoreRules::from_patterns(patterns.iter().map(String::as_str))?)
}

/// Takes noise out of an upper directory. What a step removed stays removed.
pub(crate) fn clean(upper: &Path, rules: &IgnoreRules) -> Result<(), StepError> {
    if rules.is_empty() {
        return Ok(());
    }
    let io = |what, path: &Path, source: std::io::Error| StepError::Io { what, path: path.to_owned(), source };
    let mut walk = walkdir::WalkDir::new(upper).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|e| io("read", upper, e.into()))?;
        let path = entry.path();
        let relative = path.strip_prefix(upper).unwrap_or(path);
        if !rules.matches(&relative.to_string_lossy()) {
            continue;
        }
        if entry.file_type().is_dir() {
            walk.skip_current_dir();
            std::fs::remove_dir_all(path).map_err(|e| io("remove", path, e))?;
        } else if !is_whiteout(path).map_err(|e| io("read", path, e))? {
            std::fs::remove_file(path).map_err(|e| io("remove", path, e))?;
        }
    }
    Ok(())
}

fn is_whiteout(path: &Path) -> std::io::Result<bool> {
    let status = rustix::fs::lstat(path)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && status.st_rdev == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let at = dir.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, "x").unwrap();
        };
        let noise = ["root/.npm/_logs/a.log", "tmp/node-compile-cache/v1/x", "var/log/apt/term.log", "tmp/uv-1.lock"];
        let kept = ["root/.npm/_cacache/x", "var/log/other.log", "app/tmp/uv-1.lock", "openedx/var/log/apt/term.log"];
        noise.iter().chain(&kept).for_each(|path| write(path));
        let patterns = NOISE.map(str::to_owned);
        clean(dir.path(), &rules(&patterns).unwrap()).unwrap();
        assert!(noise.iter().all(|path| !dir.path().join(path).exists()));
        assert!(kept.iter().all(|path| dir.path().join(path).exists()));
    }
}
