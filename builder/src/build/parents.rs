//! `COPY --parents`: what a pattern takes, with the directories that lead there.
//!
//! As in BuildKit (`convert_copy.go`, fsutil `copy.go` with include patterns) the pattern is one of `.dockerignore`, where `**` is
//! any number of directories, matched on a walk that follows no links. What stands before the `/./` pivot is a path or a
//! glob and its links are followed.

use std::collections::BTreeSet;

use shiplap_cache::TreePath;

use super::copy::{Picked, expand};
use super::error::StepError;
use super::files::Files;
use crate::glob::Glob;
use crate::ignore::IgnoreRules;

/// Finds what a pattern takes below each directory that `base` names. `missing` is the error of a name that is not there.
pub(super) fn pick(
    files: &Files,
    base: &str,
    pattern: &str,
    exclude: &IgnoreRules,
    missing: &dyn Fn() -> StepError,
) -> Result<Vec<Picked>, StepError> {
    let include = IgnoreRules::from_patterns([pattern])?;
    let plain = !Glob::has_wildcards(base) && !Glob::has_wildcards(pattern);
    let mut picked = Vec::new();
    for named in expand(files.tree(), base)? {
        let at = files.tree().resolve(&named, true);
        let is_dir = at.path.is_root() || files.tree().is_dir(&at.path);
        if plain {
            let wanted = at.path.join_path(&TreePath::new(Glob::split(pattern).0.as_bytes())?);
            let found = files.tree().resolve(&wanted, true);
            if !is_dir || (found.found.is_none() && !found.path.is_root()) {
                return Err(missing());
            }
        }
        if !is_dir {
            let items = files.below(&at.path);
            if items.is_empty() {
                return Err(missing());
            }
            // A glob before the pivot that finds a file takes it, whatever the pattern says.
            picked.push(Picked::Tree { name: named.name().to_vec(), is_dir, items, files: files.clone() });
            continue;
        }
        picked.push(Picked::Parts { items: matching(files, &at.path, &include, exclude), files: files.clone() });
    }
    Ok(picked)
}

/// What matches below a directory, and the directories on the way to it.
fn matching(files: &Files, at: &TreePath, include: &IgnoreRules, exclude: &IgnoreRules) -> Vec<super::files::Item> {
    let mut items = files.below(at);
    let mut wanted = BTreeSet::new();
    for item in items.iter().filter(|item| !item.path.is_root()) {
        let path = String::from_utf8_lossy(item.path.as_bytes());
        // No pattern at all is the directory itself.
        if (!include.is_empty() && !include.matches(&path)) || exclude.matches(&path) {
            continue;
        }
        let mut way = Some(item.path.clone());
        while let Some(path) = way.filter(|path| !path.is_root()) {
            way = path.parent();
            if !wanted.insert(path) {
                break;
            }
        }
    }
    items.retain(|item| wanted.contains(&item.path));
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CopySource, Destination};

    /// The tree of BuildKit's `testCopyRelativeParents`, and a link.
    fn tree() -> Files {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        for file in
            ["a/b/c/d/foo", "a/b/c/d/e/bay", "a/b2/c/d/e/bar", "a/b/c2/d/e/baz", "a/b/c2/d/e2/baz", "package.json"]
        {
            let at = root.join("test").join(file);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, file).unwrap();
        }
        std::os::unix::fs::symlink("a/b", root.join("test/link")).unwrap();
        Files::of_temporary(folder, root, shiplap_cache::Overlay::detect()).unwrap()
    }

    fn picked(base: &str, pattern: &str, exclude: &[&str]) -> Result<Vec<String>, StepError> {
        let to = Destination {
            path: "/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            exclude: exclude.iter().map(|e| (*e).to_owned()).collect(),
        };
        let source = CopySource::Path { base: base.to_owned(), pattern: pattern.to_owned() };
        let picked = super::super::copy::pick(&tree(), "the tree", &source, &to, true)?;
        let items = picked.iter().flat_map(|one| match one {
            Picked::Parts { items, .. } | Picked::Tree { items, .. } => items.as_slice(),
            _ => &[],
        });
        Ok(items.map(|item| item.path.to_string().trim_start_matches('/').to_owned()).collect())
    }

    #[test]
    fn a_pattern_brings_the_folders_on_the_way_and_no_others() {
        for (base, pattern, want) in [
            ("test/a/b", "c/d", &["c", "c/d", "c/d/e", "c/d/e/bay", "c/d/foo"][..]),
            ("test/a/b", "c/d/foo", &["c", "c/d", "c/d/foo"]),
            ("test/a", "*/c/d/foo", &["b", "b/c", "b/c/d", "b/c/d/foo"]),
            ("", "**/package.json", &["test", "test/package.json"]),
            ("test", "**/package.json", &["package.json"]),
            ("test/a/b*", "c/**/e", &["c", "c/d", "c/d/e", "c/d/e/bay", "c", "c/d", "c/d/e", "c/d/e/bar"]),
            ("test/a/b/c*", "d/**/baz", &["d", "d/e", "d/e/baz", "d/e2", "d/e2/baz"]),
            ("test/link", "c/*/foo", &["c", "c/d", "c/d/foo"]),
            // A link on the way below the pivot is not followed.
            ("test", "link/c/*", &[]),
            ("test", "li*", &["link"]),
            ("test", "**/nothing", &[]),
        ] {
            assert_eq!(picked(base, pattern, &[]).unwrap(), want, "{base}/./{pattern}");
        }
    }

    #[test]
    fn excludes_count_from_the_pivot_and_leave_no_empty_folders() {
        assert_eq!(picked("test/a/b", "**/e*", &["c2"]).unwrap(), ["c", "c/d", "c/d/e", "c/d/e/bay"]);
        assert_eq!(
            picked("test/a/b", "c", &["**/e", "!**/bay"]).unwrap(),
            ["c", "c/d", "c/d/e", "c/d/e/bay", "c/d/foo"]
        );
    }

    #[test]
    fn a_plain_path_must_be_there_and_a_glob_need_not() {
        for (base, pattern) in
            [("", "none"), ("test", "a/none"), ("none", "a"), ("none", "*"), ("test/package.json", "x")]
        {
            assert!(matches!(picked(base, pattern, &[]), Err(StepError::Missing { .. })), "{base}/./{pattern}");
        }
        assert_eq!(picked("none*", "a", &[]).unwrap(), [""; 0]);
        // The glob before the pivot found a file.
        assert_eq!(picked("test/p*", "x", &[]).unwrap(), [""]);
    }
}
