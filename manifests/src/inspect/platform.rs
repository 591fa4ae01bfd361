//! The platform of an image: Open edX's main repository, where it came from and which release line it is.

use serde::{Deserialize, Serialize};
use shiplap_cache::TreePath;

use crate::contents::files::Files;
use crate::contents::{ContentsError, without_credentials};

/// The file by which a platform is known.
const MARK: &[u8] = b"lms/envs/common.py";

/// Open edX's platform in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Its folder in the image: the one that has `lms/envs/common.py`.
    pub folder: String,
    /// Where it was cloned from (`.git/config`, the remote `origin`), without credentials; none where the image has no `.git`.
    pub repository: Option<String>,
    /// The commit that is checked out (`.git/HEAD`).
    pub commit: Option<String>,
    /// The Open edX release, `ulmo` or `master`: `RELEASE_LINE` of `openedx/core/release.py`.
    pub release: Option<String>,
}

/// Where the platform is.
pub(crate) fn folder(files: &Files<'_>) -> Option<TreePath> {
    let marks = files.matching(|path| {
        path.ends_with(MARK) && (path.len() == MARK.len() || path[path.len() - MARK.len() - 1] == b'/')
    });
    // Of several the one that is nearest to the root: others are copies in packages.
    let nearest = marks.into_iter().min_by_key(|path| path.components().count())?;
    nearest.parent()?.parent()?.parent()
}

pub(crate) fn read(files: &Files<'_>, folder: &TreePath) -> Result<Platform, ContentsError> {
    let text = |path: &str| match TreePath::new(path) {
        Ok(path) => files.text(&folder.join_path(&path)),
        Err(_) => Ok(None),
    };
    let head = text(".git/HEAD")?.unwrap_or_default();
    let commit = match head.trim().strip_prefix("ref: ") {
        None => commit(&head),
        Some(name) => match text(&format!(".git/{name}"))? {
            Some(loose) => commit(&loose),
            None => text(".git/packed-refs")?
                .and_then(|refs| commit(refs.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' '))?)),
        },
    };
    let release = text("openedx/core/release.py")?.and_then(|text| release_line(&text));
    let repository = text(".git/config")?.and_then(|text| origin(&text));
    Ok(Platform { folder: folder.to_string(), repository, commit, release })
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_one = [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_one.then(|| text.to_owned())
}

/// The URL of `origin` (git-config(1), *Configuration file*).
fn origin(config: &str) -> Option<String> {
    let mut here = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            here = line.replace(' ', "") == "[remote\"origin\"]";
        } else if let (true, Some((key, value))) = (here, line.split_once('='))
            && key.trim() == "url"
        {
            return Some(without_credentials(value.trim()));
        }
    }
    None
}

fn release_line(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("RELEASE_LINE")?.trim_start().strip_prefix('='))?;
    let value = value.split('#').next()?.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::with_files;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn platform(files: &[(&str, &str)]) -> Option<Platform> {
        with_files(&[files], |files| folder(files).map(|folder| read(files, &folder).unwrap()))
    }

    #[test]
    fn a_platform_says_where_it_came_from() {
        let config = "[core]\n\tbare = false\n[remote \"upstream\"]\n\turl = https://x/y\n[remote \"origin\"]\n\
                      \turl = https://user:hunter2@github.com/openedx/edx-platform.git\n";
        let mut files = vec![
            ("openedx/edx-platform/lms/envs/common.py", ""),
            ("openedx/edx-platform/tests/lms/envs/common.py", ""),
            ("openedx/edx-platform/openedx/core/release.py", "x = 1\nRELEASE_LINE = \"ulmo\"  # a comment\n"),
            ("openedx/edx-platform/.git/config", config),
            ("openedx/edx-platform/.git/HEAD", COMMIT),
        ];
        let found = platform(&files).unwrap();
        assert_eq!(
            (found.folder.as_str(), found.commit.as_deref(), found.release.as_deref()),
            ("/openedx/edx-platform", Some(COMMIT), Some("ulmo"))
        );
        assert_eq!(found.repository.as_deref(), Some("https://github.com/openedx/edx-platform.git"));
        files[4].1 = "ref: refs/heads/main\n";
        assert_eq!(platform(&files).unwrap().commit, None);
        let packed = format!("# pack-refs\n{COMMIT} refs/heads/main\n");
        files.push(("openedx/edx-platform/.git/packed-refs", &packed));
        assert_eq!(platform(&files).unwrap().commit.as_deref(), Some(COMMIT));
        let other = COMMIT.replace('0', "f");
        files.push(("openedx/edx-platform/.git/refs/heads/main", &other));
        assert_eq!(platform(&files).unwrap().commit, Some(other.clone()));
        files[4].1 = "ref: ../../../etc/passwd\n";
        assert_eq!(platform(&files).unwrap().commit, None);
    }

    #[test]
    fn an_image_without_platform_has_none() {
        assert_eq!(platform(&[("srv/xlms/envs/common.py", "")]), None);
        let bare = platform(&[("lms/envs/common.py", "")]).unwrap();
        assert_eq!((bare.folder.as_str(), bare.commit, bare.release), ("/", None, None));
    }
}
