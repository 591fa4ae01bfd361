//! The settings of a site, as a hash that no secret is in.
//!
//! What is hashed: every file with one of the endings `.py`, `.yml`, `.yaml` and `.json` in `lms/envs`, `cms/envs` and `openedx/envs` of the
//! platform and in `/openedx/config`, without the assignments whose names sound like a secret ([`is_secret`]), together with all lines that
//! belong to these. The secrets of a site are usually in none of them: Tutor mounts `lms.env.yml` when a container starts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shiplap_cache::{ContentHash, TreePath};

use crate::contents::ContentsError;
use crate::contents::files::Files;

/// Folders of settings in the platform.
const IN_PLATFORM: [&str; 3] = ["lms/envs", "cms/envs", "openedx/envs"];
/// The folder that Tutor mounts settings into.
const CONFIG: &str = "openedx/config";

/// The words that make a name one of a secret. A name is compared in upper case, word by word.
const SECRET: [&str; 16] = [
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASS",
    "TOKEN",
    "TOKENS",
    "KEY",
    "KEYS",
    "APIKEY",
    "JWK",
    "CREDENTIAL",
    "CREDENTIALS",
    "SALT",
    "DSN",
];

/// The settings of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// BLAKE3 of the paths and hashes of all files.
    pub hash: ContentHash,
    /// BLAKE3 of each file without its secrets, by path.
    pub files: BTreeMap<String, ContentHash>,
}

pub(crate) fn read(files: &Files<'_>, platform: Option<&TreePath>) -> Result<Option<Settings>, ContentsError> {
    let mut hashes = BTreeMap::new();
    let mut folders: Vec<TreePath> = TreePath::new(CONFIG).into_iter().collect();
    if let Some(platform) = platform {
        folders.extend(IN_PLATFORM.iter().flat_map(TreePath::new).map(|folder| platform.join_path(&folder)));
    }
    for folder in folders {
        for (below, _) in files.below(&folder).into_iter().filter(|(path, _)| has_settings(path.as_bytes())) {
            let path = folder.join_path(&below);
            if let Some(text) = files.text(&path)? {
                hashes.insert(path.to_string(), ContentHash::of(without_secrets(&text).as_bytes()));
            }
        }
    }
    let lines: String = hashes.iter().map(|(path, hash)| format!("{hash} {path}\n")).collect();
    Ok((!hashes.is_empty()).then(|| Settings { hash: ContentHash::of(lines.as_bytes()), files: hashes }))
}

pub(crate) fn has_settings(path: &[u8]) -> bool {
    [&b".py"[..], b".yml", b".yaml", b".json"].iter().any(|end| path.ends_with(end))
}

/// Whether a name sounds like a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|word| SECRET.contains(&word))
}

/// The text without assignments to secret names. Where an assignment ends is read from brackets, quotes of three and deeper lines; in doubt too
/// much is left out.
fn without_secrets(text: &str) -> String {
    let mut kept = String::new();
    let mut inside: Option<Assignment> = None;
    for line in text.lines() {
        if let Some(assignment) = &mut inside {
            if assignment.goes_on(line) {
                continue;
            }
            inside = None;
        }
        match assigned(line).filter(|names| names.iter().any(|name| is_secret(name))) {
            Some(_) => inside = Some(Assignment::of(line)),
            None => {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    kept
}

/// The names on the left of every `=` and `:` of a line, and in its brackets: `A["B"] = {"C": 1`.
fn assigned(line: &str) -> Option<Vec<&str>> {
    let end = line.rfind(['=', ':'])?;
    Some(line[..end].split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-' && c != '.').collect())
}

/// An assignment that may have several lines.
struct Assignment {
    indent: usize,
    brackets: i64,
    quote: Option<&'static str>,
    continued: bool,
}

impl Assignment {
    fn of(line: &str) -> Self {
        let mut this = Self { indent: indent(line), brackets: 0, quote: None, continued: false };
        this.take(line);
        this
    }

    /// Whether this line belongs to it.
    fn goes_on(&mut self, line: &str) -> bool {
        let open = self.quote.is_some() || self.brackets > 0 || self.continued;
        // A list of YAML may stand as deep as its key.
        let deeper = line.trim().is_empty() || indent(line) > self.indent || line.trim_start().starts_with("- ");
        let goes_on = open || deeper;
        if goes_on {
            self.take(line);
        }
        goes_on
    }

    fn take(&mut self, line: &str) {
        let mut rest = line;
        while !rest.is_empty() {
            if let Some(quote) = self.quote {
                let Some(end) = rest.find(quote) else { break };
                (self.quote, rest) = (None, &rest[end + 3..]);
                continue;
            }
            let begins = ["\"\"\"", "'''"].into_iter().filter_map(|quote| Some((rest.find(quote)?, quote))).min();
            let (part, next) = match begins {
                Some((at, quote)) => {
                    self.quote = Some(quote);
                    (&rest[..at], &rest[at + 3..])
                }
                None => (rest, ""),
            };
            for c in part.chars() {
                match c {
                    '(' | '[' | '{' => self.brackets += 1,
                    ')' | ']' | '}' => self.brackets -= 1,
                    _ => {}
                }
            }
            rest = next;
        }
        self.continued = line.trim_end().ends_with('\\');
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::with_files;

    #[test]
    fn secrets_are_left_out_with_all_their_lines() {
        for text in [
            "A = 1\nSECRET_KEY = \"hunter2\"\nB = 2\n",
            "A = 1\nJWT_PRIVATE_SIGNING_JWK = \"\"\"\n{\n hunter2\n}\n\"\"\"\nB = 2\n",
            "A = 1\nAPI_TOKENS = [\n\"hunter2\",\n]\nB = 2\n",
            "A = 1\nDATABASES[\"default\"][\"PASSWORD\"] = \"hunter2\"\nB = 2\n",
            "A = 1\nX = \"a\"; SMTP_PASSWORD = \"hunter2\"\nB = 2\n",
            "A = 1\nAWS_SECRET_ACCESS_KEY = \\\n\"hunter2\"\nB = 2\n",
            "A = 1\nxqueue: {password: hunter2}\nB = 2\n",
            "A = 1\noauth-secret: |\n  hunter2\n  hunter2\nB = 2\n",
            "A = 1\nkeys:\n- hunter2\n- hunter2\nB = 2\n",
            "A = 1\n\"private.key\": \"hunter2\",\nB = 2\n",
            "A = 1\nsecret_key: hunter2\nB = 2\n",
        ] {
            assert_eq!(without_secrets(text), "A = 1\nB = 2\n", "{text}");
        }
        // A name is more than the letters in it.
        let plain =
            "MONKEY = 1\nBYPASS_CACHE = 2\nSESSION_COOKIE_NAME = \"x\"\nif DEBUG:\n    FEATURES[\"ENABLE\"] = True\n";
        assert_eq!(without_secrets(plain), plain);
    }

    #[test]
    fn the_hash_is_of_settings_and_not_of_secrets() {
        let hash = |setting: &str, secret: &str, other: &str| {
            let text = format!("SECRET_KEY = \"{secret}\"\nCOLOUR = \"{setting}\"\n");
            let files = [
                ("openedx/edx-platform/lms/envs/tutor/production.py", text.as_str()),
                ("openedx/edx-platform/cms/envs/common.py", ""),
                ("openedx/edx-platform/lms/envs/notes.txt", other),
                ("openedx/edx-platform/lms/urls.py", other),
            ];
            let platform = TreePath::new("openedx/edx-platform").unwrap();
            let found = with_files(&[&files], |files| read(files, Some(&platform)).unwrap().unwrap());
            assert_eq!(found.files.len(), 2);
            found.hash
        };
        assert_eq!(hash("red", "a", "x"), hash("red", "b", "y"));
        assert_ne!(hash("red", "a", "x"), hash("blue", "a", "x"));
        assert_eq!(with_files(&[&[("etc/x.py", "")]], |files| read(files, None).unwrap()), None);
    }
}
