//! Versions: reading one, and the next one.

use std::fmt;
use std::str::FromStr;

use semver::{Prerelease, Version};
use serde::{Deserialize, Serialize};

/// Why something is no version for a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not a semantic version.
    #[error("`{text}` is not a semantic version ({why}): expected major.minor.patch, as in 1.4.0{hint}")]
    NotSemver {
        /// What was given.
        text: String,
        /// What the parser says.
        why: String,
        /// What was probably meant.
        hint: String,
    },
    /// The version has build metadata.
    #[error(
        "version `{0}` has build metadata (`+...`), and a tag cannot hold a `+`: leave it out; the commit is in the tag anyway"
    )]
    BuildMetadata(String),
    /// The word is none of major, minor, patch.
    #[error("`{0}` is not a part of a version: expected major, minor or patch")]
    NotABump(String),
}

/// Reads the version of a release.
///
/// # Errors
/// It is no semantic version, or has build metadata, which a tag cannot hold.
pub fn parse(text: &str) -> Result<Version, VersionError> {
    match Version::parse(text) {
        Ok(version) if version.build.is_empty() => Ok(version),
        Ok(_) => Err(VersionError::BuildMetadata(text.to_owned())),
        Err(why) => {
            let bare = text.trim().trim_start_matches(['v', 'V']);
            let meant = [bare.to_owned(), format!("{bare}.0"), format!("{bare}.0.0")];
            let hint = meant.iter().find(|m| Version::parse(m).is_ok()).map(|m| format!("; did you mean {m}?"));
            Err(VersionError::NotSemver { text: text.to_owned(), why: why.to_string(), hint: hint.unwrap_or_default() })
        }
    }
}

/// Which part of the version to raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bump {
    /// 1.4.2 to 2.0.0.
    Major,
    /// 1.4.2 to 1.5.0.
    Minor,
    /// 1.4.2 to 1.4.3.
    Patch,
}

impl Bump {
    /// The version after `newest`, which is the newest release by sequence; counts from 0.0.0 when there is none. A pre-release is
    /// finished rather than passed: the patch after 2.0.0-rc.1 is 2.0.0, as `npm version` does it.
    pub fn after(self, newest: Option<&Version>) -> Version {
        let base = newest.cloned().unwrap_or(Version::new(0, 0, 0));
        let unfinished = base.pre != Prerelease::EMPTY;
        let (major, minor, patch) = (base.major, base.minor, base.patch);
        match self {
            Self::Major if unfinished && minor == 0 && patch == 0 => Version::new(major, 0, 0),
            Self::Major => Version::new(major + 1, 0, 0),
            Self::Minor if unfinished && patch == 0 => Version::new(major, minor, 0),
            Self::Minor => Version::new(major, minor + 1, 0),
            Self::Patch if unfinished => Version::new(major, minor, patch),
            Self::Patch => Version::new(major, minor, patch + 1),
        }
    }
}

impl FromStr for Bump {
    type Err = VersionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "major" => Ok(Self::Major),
            "minor" => Ok(Self::Minor),
            "patch" => Ok(Self::Patch),
            _ => Err(VersionError::NotABump(s.to_owned())),
        }
    }
}

impl fmt::Display for Bump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Major => "major",
            Self::Minor => "minor",
            Self::Patch => "patch",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version() {
        for (newest, bump, expected) in [
            (None, Bump::Major, "1.0.0"),
            (None, Bump::Patch, "0.0.1"),
            (Some("1.4.2"), Bump::Major, "2.0.0"),
            (Some("1.4.2"), Bump::Minor, "1.5.0"),
            (Some("1.4.2"), Bump::Patch, "1.4.3"),
            (Some("2.0.0-rc.1"), Bump::Major, "2.0.0"),
            (Some("2.0.0-rc.1"), Bump::Minor, "2.0.0"),
            (Some("2.0.0-rc.1"), Bump::Patch, "2.0.0"),
            (Some("2.1.0-rc.1"), Bump::Major, "3.0.0"),
            (Some("2.1.1-rc.1"), Bump::Minor, "2.2.0"),
        ] {
            let newest = newest.map(|v| parse(v).unwrap());
            assert_eq!(bump.after(newest.as_ref()).to_string(), expected, "{newest:?} {bump}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused_with_what_was_meant() {
        for (text, hint) in
            [("v1.2.3", "did you mean 1.2.3?"), ("1.2", "did you mean 1.2.0?"), ("1", "did you mean 1.0.0?")]
        {
            assert!(parse(text).unwrap_err().to_string().contains(hint), "{text}");
        }
        for text in ["", "one", "1.2.3.4", "01.2.3", "1.2.3 "] {
            assert!(matches!(parse(text), Err(VersionError::NotSemver { .. })), "{text}");
        }
        assert!(matches!(parse("1.2.3+b"), Err(VersionError::BuildMetadata(_))));
    }
}
