//! Names in the paths of requests, each by the grammar of distribution-spec, *Pulling manifests*.

use std::fmt;
use std::str::FromStr;

/// The most characters of a repository's name: with a host name before it, clients take no more than 255.
const MAX_NAME: usize = 255;
/// The most characters of a tag.
const MAX_TAG: usize = 128;

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the name of a repository.
    #[error(
        "`{0}` is not the name of a repository: parts of lower-case letters and digits, joined by `.`, `_`, `__` or `-`, with `/` between them, at most 255 characters"
    )]
    Repository(String),
    /// Not a tag.
    #[error("`{0}` is not a tag: 1 to 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`")]
    Tag(String),
    /// Not an upload.
    #[error("`{0}` is not an upload of this registry")]
    Upload(String),
}

/// The name of a repository as clients ask for it: `campus/openedx`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        if s.len() <= MAX_NAME && s.split('/').all(is_part) {
            Ok(Self(s.to_owned()))
        } else {
            Err(NameError::Repository(shortened(s)))
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joints = part.split(is_word).filter(|joint| !joint.is_empty());
    part.starts_with(is_word)
        && part.ends_with(is_word)
        && joints.into_iter().all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if (1..=MAX_TAG).contains(&s.len()) && s.bytes().all(fits) && !s.starts_with(['.', '-']) {
            Ok(Self(s.to_owned()))
        } else {
            Err(NameError::Tag(shortened(s)))
        }
    }
}

/// An upload: 16 random bytes, so that nobody guesses another client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(u128);

impl UploadId {
    /// A new one from random bytes.
    pub(super) fn new(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for UploadId {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let digits = s.len() == 32 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = digits.then(|| u128::from_str_radix(s, 16).ok()).flatten();
        id.map(Self).ok_or_else(|| NameError::Upload(shortened(s)))
    }
}

/// What a client sent, at a length that can be sent back.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_NAME).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_as_the_spec_has_it() {
        for good in ["a", "campus/openedx", "a.b_c__d-e---f/0", "ghcr.io/campus/openedx", &"a".repeat(255)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let bad = [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", ".", "..", "../a", "a/..", "a b",
            "a:b", "ü", "a\0", "a%2fb",
        ];
        for bad in bad.iter().copied().chain([&*"a".repeat(256)]) {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_is_as_the_spec_has_it() {
        for good in ["1.4.0-g3f2c1ab09d4e", "_", "A-b.c", &"a".repeat(128)] {
            assert_eq!(good.parse::<Tag>().unwrap().as_str(), good);
        }
        for bad in ["", ".a", "-a", "a/b", "a:b", "a b", "a+b", "ü", &"a".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_upload_is_32_digits() {
        let id = UploadId::new([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "..", "7", &"7".repeat(33), &"G".repeat(32), &"+".repeat(32)] {
            assert!(bad.parse::<UploadId>().is_err(), "{bad}");
        }
    }
}
