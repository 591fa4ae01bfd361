//! XBlocks and Django applications: the entry points that distributions announce.
//!
//! `entry_points.txt` of an installed distribution (<https://packaging.python.org/specifications/entry-points/>). Open edX looks for XBlocks
//! in `xblock.v1` and `xblock_asides.v1`, and for plugins in `lms.djangoapp`, `cms.djangoapp` and the like.

use serde::{Deserialize, Serialize};
use shiplap_cache::TreePath;

use crate::contents::ContentsError;
use crate::contents::files::Files;

/// Something that a distribution adds to Open edX.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryPoint {
    /// What it is: `xblock.v1`, `lms.djangoapp`, ...
    pub group: String,
    /// Its name.
    pub name: String,
    /// The object: module and attribute.
    pub object: String,
    /// The folder of metadata that announces it, without its ending: `xblock_poll-1.16.1`.
    pub distribution: String,
}

pub(crate) fn read(files: &Files<'_>) -> Result<Vec<EntryPoint>, ContentsError> {
    let mut all = Vec::new();
    for path in files.matching(is_record) {
        let Some(text) = files.text(&path)? else { continue };
        let distribution = distribution(&path);
        let mut group = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
            match (line.strip_prefix('[').and_then(|line| line.strip_suffix(']')), line.split_once('=')) {
                (Some(section), _) => group = section.trim(),
                (None, Some((name, object))) if is_wanted(group) => all.push(EntryPoint {
                    group: group.to_owned(),
                    name: name.trim().to_owned(),
                    // Extras may stand behind it.
                    object: object.split('[').next().unwrap_or_default().trim().to_owned(),
                    distribution: distribution.clone(),
                }),
                (None, Some(_)) => {}
                (None, None) => {
                    files.skip(&path, format!("`{line}` is no entry point"));
                    break;
                }
            }
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

pub(crate) fn is_record(path: &[u8]) -> bool {
    path.ends_with(b".dist-info/entry_points.txt") || path.ends_with(b".egg-info/entry_points.txt")
}

fn is_wanted(group: &str) -> bool {
    group.starts_with("xblock") || group.ends_with(".djangoapp")
}

fn distribution(path: &TreePath) -> String {
    let folder = path.parent().unwrap_or_default();
    let name = String::from_utf8_lossy(folder.name()).into_owned();
    name.trim_end_matches(".dist-info").trim_end_matches(".egg-info").to_owned()
}

#[cfg(test)]
mod tests {
    use crate::inspect::tests::with_files;

    #[test]
    fn xblocks_and_applications_are_listed_and_scripts_are_not() {
        let text = "[console_scripts]\npoll = poll:main\n\n[xblock.v1]\npoll = poll.poll:PollBlock\n\
                    ; a comment\nsurvey=poll.poll:SurveyBlock [extra]\n[lms.djangoapp]\npoll = poll.apps:Poll\n";
        let (found, skipped) = with_files(
            &[&[
                ("venv/site-packages/poll-1.0.dist-info/entry_points.txt", text),
                ("venv/site-packages/broken-1.dist-info/entry_points.txt", "[xblock.v1]\nnonsense\n"),
                ("src/entry_points.txt", "[xblock.v1]\nno = no\n"),
            ]],
            |files| (super::read(files).unwrap(), files.not_read()),
        );
        let all: Vec<String> =
            found.iter().map(|e| format!("{} {} {} {}", e.group, e.name, e.object, e.distribution)).collect();
        assert_eq!(
            all,
            [
                "lms.djangoapp poll poll.apps:Poll poll-1.0",
                "xblock.v1 poll poll.poll:PollBlock poll-1.0",
                "xblock.v1 survey poll.poll:SurveyBlock poll-1.0"
            ]
        );
        assert_eq!(skipped.len(), 1);
        assert!(skipped[0].path.contains("broken"));
    }
}
