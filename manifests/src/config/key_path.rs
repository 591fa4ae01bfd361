//! The way to a value in a document: `lms.image.tag`, `containers[0].image`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// The item of a list, from 0.
    Index(usize),
}

/// The way to a value, spelled as in Helm's `--set`: keys with dots between, `[0]` for an item of a list, `\.` for a dot in a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPath(Vec<Step>);

/// Not the way to a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path to a value: write it as lms.image.tag or containers[0].image, with \\. for a dot in a key")]
pub struct KeyPathError(String);

impl KeyPath {
    /// The steps, from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The way that these steps go.
    pub(crate) fn from_steps(steps: &[Step]) -> Self {
        Self(steps.to_vec())
    }

    /// The way to a key of what this leads to.
    pub(crate) fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }
}

impl FromStr for KeyPath {
    type Err = KeyPathError;

    fn from_str(text: &str) -> Result<Self, KeyPathError> {
        let wrong = || KeyPathError(text.to_owned());
        let (mut steps, mut chars) = (Vec::new(), text.chars().peekable());
        loop {
            let mut key = String::new();
            while let Some(c) = chars.next_if(|c| !matches!(c, '.' | '[')) {
                key.push(if c == '\\' { chars.next().ok_or_else(wrong)? } else { c });
            }
            if key.is_empty() {
                return Err(wrong());
            }
            steps.push(Step::Key(key));
            while chars.next_if_eq(&'[').is_some() {
                let mut index = String::new();
                while let Some(c) = chars.next_if(char::is_ascii_digit) {
                    index.push(c);
                }
                chars.next_if_eq(&']').ok_or_else(wrong)?;
                steps.push(Step::Index(index.parse().map_err(|_| wrong())?));
            }
            match chars.next() {
                None => return Ok(Self(steps)),
                Some('.') => {}
                Some(_) => return Err(wrong()),
            }
        }
    }
}

impl TryFrom<String> for KeyPath {
    type Error = KeyPathError;

    fn try_from(text: String) -> Result<Self, KeyPathError> {
        text.parse()
    }
}

impl From<KeyPath> for String {
    fn from(path: KeyPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    let dot = if i == 0 { "" } else { "." };
                    let key = key.replace('\\', "\\\\").replace('.', "\\.").replace('[', "\\[");
                    write!(f, "{dot}{key}")?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_what_it_wrote() {
        let steps = |text: &str| text.parse::<KeyPath>().unwrap().0;
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(steps("image"), [key("image")]);
        assert_eq!(steps(r"a\.b.c[0][12].d-e"), [key("a.b"), key("c"), Step::Index(0), Step::Index(12), key("d-e")]);
        for text in ["image", r"a\.b.c[0][12].d-e", r"x\[y.z", r"a\\b"] {
            assert_eq!(text.parse::<KeyPath>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_is_said() {
        for bad in ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[]", "[0]", "a[0]b", "a\\", "a[99999999999999999999]"]
        {
            assert!(bad.parse::<KeyPath>().is_err(), "{bad}");
        }
    }
}
