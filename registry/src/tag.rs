//! Tags of releases: `<semver>-g<first 12 of the commit>`, made once and never moved.
//!
//! A tag must satisfy the OCI grammar `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution-spec, *Pulling manifests*), which has no `+`:
//! a version with build metadata cannot be a tag as it is written, and is refused rather than rewritten.
//!
//! To semver tools `1.4.0-g3f2c1ab09d4e` is a pre-release of `1.4.0`, and commits have no order. So a [`ReleaseTag`] is not `Ord`: releases are
//! ordered by their sequence number.

use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};

/// The most characters that a tag may have.
const MAX_LEN: usize = 128;
/// How much of the commit is in the tag.
const COMMIT_LEN: usize = 12;
/// How much of the hash of a dirty tree is in the tag.
const DIRTY_LEN: usize = 8;

/// Why something is no release tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Not of the form `<semver>-g<12 hex>`.
    #[error("`{0}` is not a release tag: expected <version>-g<12 hexadecimal characters>, as in 1.4.0-g3f2c1ab09d4e")]
    Shape(String),
    /// The part before `-g` is not a version.
    #[error("`{tag}` is not a release tag: `{version}` is not a semantic version ({why})")]
    NotSemver {
        /// The whole tag.
        tag: String,
        /// The part that should be a version.
        version: String,
        /// What the semver parser says.
        why: String,
    },
    /// The version has build metadata.
    #[error(
        "version {0} has build metadata (`+...`), and a tag cannot hold a `+`: leave it out; the commit is in the tag anyway"
    )]
    BuildMetadata(Version),
    /// The commit is too short or not hexadecimal.
    #[error("`{0}` is not a git commit: at least 12 lower-case hexadecimal characters are needed")]
    Commit(String),
    /// The hash of the dirty tree is too short or not hexadecimal.
    #[error("`{0}` is not the hash of a tree: at least 8 lower-case hexadecimal characters are needed")]
    DirtyHash(String),
    /// Longer than a tag may be.
    #[error(
        "the tag `{0}` is longer than the 128 characters that a registry allows: shorten the version's pre-release part"
    )]
    TooLong(String),
}

/// The tag of a release: `<semver>-g<first 12 of the commit>`, with `-dirty.<8>` at its end when the tree had changes that
/// are in no commit.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ReleaseTag {
    version: Version,
    commit: String,
    dirty: Option<String>,
}

impl ReleaseTag {
    /// Makes the tag of a version, a commit and, for a dirty tree, the hash of what was really there.
    ///
    /// # Errors
    /// The version has build metadata, a hash is too short or not hexadecimal, or the tag gets too long.
    pub fn new(version: &Version, commit: &str, dirty: Option<&str>) -> Result<Self, TagError> {
        if !version.build.is_empty() {
            return Err(TagError::BuildMetadata(version.clone()));
        }
        let commit = hex_prefix(commit, COMMIT_LEN).ok_or_else(|| TagError::Commit(commit.to_owned()))?;
        let dirty = match dirty {
            Some(hash) => Some(hex_prefix(hash, DIRTY_LEN).ok_or_else(|| TagError::DirtyHash(hash.to_owned()))?),
            None => None,
        };
        let tag = Self { version: version.clone(), commit, dirty };
        let text = tag.to_string();
        if text.len() > MAX_LEN { Err(TagError::TooLong(text)) } else { Ok(tag) }
    }

    /// The version in the tag.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The first 12 characters of the commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The first 8 characters of the hash of the dirty tree, if it was one.
    pub fn dirty(&self) -> Option<&str> {
        self.dirty.as_deref()
    }

    /// Whether a tag has the form of a release's: such a tag may be made and never moved.
    pub fn is_release(tag: &str) -> bool {
        tag.parse::<Self>().is_ok()
    }
}

/// The tag of a page of a history that several stores share in a registry: `shiplap-history-0000000001` and on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryTag(pub u64);

/// What such a tag begins with.
const HISTORY: &str = "shiplap-history-";
/// Digits of its number, so that pages are sorted as text too.
const HISTORY_DIGITS: usize = 10;

impl fmt::Display for HistoryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HISTORY}{:0HISTORY_DIGITS$}", self.0)
    }
}

impl HistoryTag {
    /// Reads a tag; none if it is another one.
    pub fn of(tag: &str) -> Option<Self> {
        let digits = tag.strip_prefix(HISTORY)?;
        let is_number = digits.len() == HISTORY_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().ok().map(Self))?
    }
}

/// Whether a tag is made once and never moved, by its form: a release's, or a page's of a history.
pub fn is_made_once(tag: &str) -> bool {
    ReleaseTag::is_release(tag) || HistoryTag::of(tag).is_some()
}

fn is_hex(s: &str) -> bool {
    s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex_prefix(s: &str, len: usize) -> Option<String> {
    (is_hex(s) && s.len() >= len).then(|| s[..len].to_owned())
}

/// Splits `<rest><mark><len hexadecimal characters>`.
fn split_hash<'a>(s: &'a str, mark: &str, len: usize) -> Option<(&'a str, &'a str)> {
    let at = s.len().checked_sub(len).filter(|at| s.is_char_boundary(*at))?;
    let (rest, hash) = s.split_at(at);
    Some((rest.strip_suffix(mark)?, hash)).filter(|(_, hash)| is_hex(hash))
}

impl FromStr for ReleaseTag {
    type Err = TagError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        // From the end: a version's own pre-release part may look like a commit.
        let (rest, dirty) = match split_hash(s, "-dirty.", DIRTY_LEN) {
            Some((rest, hash)) => (rest, Some(hash)),
            None => (s, None),
        };
        let (version, commit) = split_hash(rest, "-g", COMMIT_LEN).ok_or_else(|| TagError::Shape(s.to_owned()))?;
        let version = Version::parse(version).map_err(|e| TagError::NotSemver {
            tag: s.to_owned(),
            version: version.to_owned(),
            why: e.to_string(),
        })?;
        Self::new(&version, commit, dirty)
    }
}

impl fmt::Display for ReleaseTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-g{}", self.version, self.commit)?;
        match &self.dirty {
            Some(hash) => write!(f, "-dirty.{hash}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ReleaseTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReleaseTag({self})")
    }
}

impl From<ReleaseTag> for String {
    fn from(tag: ReleaseTag) -> Self {
        tag.to_string()
    }
}

impl TryFrom<String> for ReleaseTag {
    type Error = TagError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "3f2c1ab09d4e5f60718293a4b5c6d7e8f9001122";

    fn make(version: &str, dirty: Option<&str>) -> Result<ReleaseTag, TagError> {
        ReleaseTag::new(&version.parse().unwrap(), COMMIT, dirty)
    }

    #[test]
    fn a_tag_is_the_version_and_twelve_of_the_commit() {
        assert_eq!(make("1.4.0", None).unwrap().to_string(), "1.4.0-g3f2c1ab09d4e");
        assert_eq!(make("1.4.0", Some("0011223344")).unwrap().to_string(), "1.4.0-g3f2c1ab09d4e-dirty.00112233");
    }

    #[test]
    fn pages_of_a_history_have_tags_of_their_own() {
        assert_eq!(HistoryTag(7).to_string(), "shiplap-history-0000000007");
        assert_eq!(HistoryTag::of("shiplap-history-0000000007"), Some(HistoryTag(7)));
        for other in
            ["shiplap-history-7", "shiplap-history-00000000x7", "shiplap-history-+000000007", "history-0000000007"]
        {
            assert_eq!(HistoryTag::of(other), None, "{other}");
        }
        assert!(is_made_once("shiplap-history-0000000007") && is_made_once("1.4.0-g3f2c1ab09d4e"));
        assert!(!is_made_once("latest"));
    }

    #[test]
    fn every_tag_reads_back_as_itself_and_fits_the_grammar() {
        for version in ["0.0.1", "1.4.0", "1.0.0-rc.1", "2.0.0-g111111111111", "2.0.0-x-g111111111111-dirty.22222222"] {
            for dirty in [None, Some("aabbccdd")] {
                let tag = make(version, dirty).unwrap();
                let text = tag.to_string();
                assert_eq!(text.parse::<ReleaseTag>().unwrap(), tag);
                assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
            }
        }
    }

    #[test]
    fn build_metadata_is_refused_with_the_reason() {
        let error = make("1.4.0+build7", None).unwrap_err();
        assert!(error.to_string().contains('+'), "{error}");
        assert!("1.4.0+build7-g3f2c1ab09d4e".parse::<ReleaseTag>().is_err());
    }

    #[test]
    fn other_tags_are_not_releases() {
        for tag in [
            "",
            "latest",
            "current",
            "1.4.0",
            "v1.4.0-g3f2c1ab09d4e",
            "1.4.0-g3f2c1ab09d4",
            "1.4.0-3f2c1ab09d4e",
            "1.4-g3f2c1ab09d4e",
            "1.4.0-g3F2C1AB09D4E",
            "1.4.0-g3f2c1ab09d4e-dirty",
            "1.4.0-g3f2c1ab09d4e-dirty.123",
            "é1.4.0-gé2c1ab09d4e",
        ] {
            assert!(!ReleaseTag::is_release(tag), "{tag}");
        }
        assert!(ReleaseTag::is_release("1.4.0-g3f2c1ab09d4e"));
    }

    #[test]
    fn a_tag_longer_than_a_registry_allows_is_refused() {
        assert!(matches!(make(&format!("1.0.0-{}", "a".repeat(120)), None), Err(TagError::TooLong(_))));
    }

    #[test]
    fn a_short_or_odd_commit_is_refused() {
        let version = "1.0.0".parse().unwrap();
        for commit in ["3f2c1ab", "zzzzzzzzzzzzzzzz", ""] {
            assert!(matches!(ReleaseTag::new(&version, commit, None), Err(TagError::Commit(_))), "{commit}");
        }
    }
}
