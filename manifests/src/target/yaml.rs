//! Reading YAML, and setting keys in a file that people edit.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde_json::Value;

use super::TargetError;

/// The top-level keys of a YAML file and their values.
pub(super) fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, Value>, TargetError> {
    let parsed: Result<Option<BTreeMap<String, Value>>, _> = serde_saphyr::from_str(text);
    match parsed {
        Ok(map) => Ok(map.unwrap_or_default()),
        Err(e) => Err(TargetError::Yaml { path: path.to_owned(), why: e.to_string() }),
    }
}

/// Sets top-level keys to strings. Comments, order, spelling and all other keys stay. What `yaml-edit` makes is read again by another parser
/// and compared: the file belongs to someone else, and a wrong edit of it is worse than none.
pub(super) fn set(path: &Path, text: &str, values: &BTreeMap<String, String>) -> Result<String, TargetError> {
    let mut wanted = parse(path, text)?;
    let mut out = text.to_owned();
    for (key, value) in values {
        let now = Value::String(value.clone());
        if wanted.get(key) == Some(&now) {
            continue;
        }
        let edited = set_one(&out, key, value);
        wanted.insert(key.clone(), now);
        let kept = |new: &str| comments(text).all(|comment| new.contains(comment));
        out = match edited {
            Some(new) if parse(path, &new).is_ok_and(|found| found == wanted) && kept(&new) => new,
            _ => return Err(TargetError::CannotEdit { path: path.to_owned(), key: key.clone(), value: value.clone() }),
        };
    }
    Ok(out)
}

fn set_one(text: &str, key: &str, value: &str) -> Option<String> {
    let document = yaml_edit::Document::from_str(text).ok();
    if let Some(mapping) = document.as_ref().and_then(yaml_edit::Document::as_mapping) {
        mapping.set(key, value);
        return Some(document?.to_string());
    }
    // An empty file, or one of comments only.
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Some(format!("{text}{separator}{key}: {value}\n"))
}

/// The lines that are comments.
fn comments(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "localhost:5000/campus/openedx:1.0.0-g3f2c1ab09d4e";

    fn set(text: &str) -> Result<String, TargetError> {
        let values = BTreeMap::from([("DOCKER_IMAGE_OPENEDX".to_owned(), VALUE.to_owned())]);
        super::set(Path::new("config.yml"), text, &values)
    }

    #[test]
    fn only_the_line_of_the_key_changes() {
        for (before, after) in [
            ("A: 1\nDOCKER_IMAGE_OPENEDX: old\nB: 2\n", "A: 1\nDOCKER_IMAGE_OPENEDX: VALUE\nB: 2\n"),
            ("DOCKER_IMAGE_OPENEDX: old # why\n", "DOCKER_IMAGE_OPENEDX: VALUE # why\n"),
            (
                "# top\n\nDOCKER_IMAGE_OPENEDX:   'old'\n\n# about B\nB:\n- x\n-  y # z\n",
                "# top\n\nDOCKER_IMAGE_OPENEDX:   VALUE\n\n# about B\nB:\n- x\n-  y # z\n",
            ),
            ("\"DOCKER_IMAGE_OPENEDX\": old\nB: 2\n", "\"DOCKER_IMAGE_OPENEDX\": VALUE\nB: 2\n"),
            (
                "A: >-\n  folded\n\n  text\nDOCKER_IMAGE_OPENEDX: a very\n  long one\nB: 2\n",
                "A: >-\n  folded\n\n  text\nDOCKER_IMAGE_OPENEDX: VALUE\nB: 2\n",
            ),
            (
                "C: |\n  DOCKER_IMAGE_OPENEDX: no\n  # not a comment\nDOCKER_IMAGE_OPENEDX: old\n",
                "C: |\n  DOCKER_IMAGE_OPENEDX: no\n  # not a comment\nDOCKER_IMAGE_OPENEDX: VALUE\n",
            ),
            (
                "M:\n  DOCKER_IMAGE_OPENEDX: inner\nZ: 1\n",
                "M:\n  DOCKER_IMAGE_OPENEDX: inner\nZ: 1\nDOCKER_IMAGE_OPENEDX: VALUE\n",
            ),
            ("---\nA: 1\n", "---\nA: 1\nDOCKER_IMAGE_OPENEDX: VALUE\n"),
            ("A: 1\n...\n", "A: 1\nDOCKER_IMAGE_OPENEDX: VALUE\n...\n"),
            ("A: 1\r\nDOCKER_IMAGE_OPENEDX: old\r\nB: 2\r\n", "A: 1\r\nDOCKER_IMAGE_OPENEDX: VALUE\r\nB: 2\r\n"),
            ("{A: 1}\n", "{A: 1, DOCKER_IMAGE_OPENEDX: VALUE}\n"),
            ("A: 1", "A: 1\nDOCKER_IMAGE_OPENEDX: VALUE\n"),
            ("", "DOCKER_IMAGE_OPENEDX: VALUE\n"),
            ("# nothing yet\n", "# nothing yet\nDOCKER_IMAGE_OPENEDX: VALUE\n"),
            (
                "DOCKER_IMAGE_OPENEDX: old\nPLUGINS:\n- indigo\n- mfe\nX: {a: 1, b: [2]}\n",
                "DOCKER_IMAGE_OPENEDX: VALUE\nPLUGINS:\n- indigo\n- mfe\nX: {a: 1, b: [2]}\n",
            ),
        ] {
            let found = set(before).unwrap_or_else(|e| panic!("{before:?}: {e}"));
            assert_eq!(found.trim_end(), after.replace("VALUE", VALUE).trim_end(), "{before:?}");
            assert_eq!(set(&found).unwrap(), found, "setting it again changes nothing");
        }
    }

    #[test]
    fn a_file_in_which_the_key_cannot_be_set_is_left_to_its_owner() {
        // Without its anchor, the value of B would be gone; the comment would be.
        for odd in ["DOCKER_IMAGE_OPENEDX: &x old\nB: *x\n", "DOCKER_IMAGE_OPENEDX:\n  # why\n  old\n"] {
            assert!(matches!(set(odd), Err(TargetError::CannotEdit { .. })), "{odd}: {:?}", set(odd));
        }
        for bad in ["A: [1\n", "- a\n- b\n", "just text\n", "A: 1\nA: 2\n"] {
            assert!(matches!(set(bad), Err(TargetError::Yaml { .. })), "{bad}");
        }
    }
}
