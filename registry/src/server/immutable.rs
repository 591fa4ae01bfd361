//! Which tags never move.

use globset::{GlobBuilder, GlobMatcher};

use super::name::{Name, Tag};
use crate::tag::is_made_once;

/// A pattern that is none.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "`{pattern}` is not a pattern of tags ({why}): write repository:tag with `*`, `?` and `[...]`, as in campus/*:v*"
)]
pub struct PatternError {
    /// The pattern as it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// The tags that never move: those in the form of a release's or of a page's of a history, and those that a pattern fits.
#[derive(Debug, Clone, Default)]
pub struct Immutable {
    /// For repositories, and for their tags.
    patterns: Vec<(GlobMatcher, GlobMatcher)>,
}

impl Immutable {
    /// Patterns over `repository:tag`. A `*` fits no `/`, a `**` between slashes does.
    ///
    /// # Errors
    /// [`PatternError`]: a pattern that fits nothing would protect nothing.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let of = |pattern: &'a str| {
            let bad = |why: String| PatternError { pattern: pattern.to_owned(), why };
            let (name, tag) = pattern.rsplit_once(':').ok_or_else(|| bad("it has no `:` before the tag".to_owned()))?;
            let glob = |text| match GlobBuilder::new(text).literal_separator(true).build() {
                Ok(glob) => Ok(glob.compile_matcher()),
                Err(e) => Err(bad(e.kind().to_string())),
            };
            Ok((glob(name)?, glob(tag)?))
        };
        Ok(Self { patterns: patterns.into_iter().map(of).collect::<Result<_, _>>()? })
    }

    /// Whether a tag is made once and never moved.
    pub fn covers(&self, name: &Name, tag: &Tag) -> bool {
        let fits =
            |(names, tags): &(GlobMatcher, GlobMatcher)| names.is_match(name.as_str()) && tags.is_match(tag.as_str());
        is_made_once(tag.as_str()) || self.patterns.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_never_move_and_others_where_a_pattern_says_so() {
        let immutable = Immutable::new(["campus/*:v*", "**:pinned"]).unwrap();
        let covers = |name: &str, tag: &str| immutable.covers(&name.parse().unwrap(), &tag.parse().unwrap());
        assert!(covers("a", "1.4.0-g3f2c1ab09d4e") && covers("a", "shiplap-history-0000000001"));
        assert!(covers("campus/openedx", "v1") && covers("a/b/c", "pinned"));
        assert!(!covers("campus/openedx", "latest") && !covers("campus/a/b", "v1") && !covers("other", "v1"));
        assert!(!Immutable::default().covers(&"a".parse().unwrap(), &"v1".parse().unwrap()));
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error() {
        for bad in ["campus/openedx", "campus:[v", "{a:b"] {
            let error = Immutable::new([bad]).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
