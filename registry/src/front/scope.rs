//! What somebody may do where, in the words of the token specification of distribution (`docs/spec/auth/scope.md`):
//! `repository:campus/openedx:pull,push`, `registry:catalog:*`.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// Text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no scope: {why}; write it as repository:NAME:pull,push,delete or registry:catalog:*")]
pub struct ScopeError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A set of things that can be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u8);

impl Actions {
    /// None.
    pub const NONE: Self = Self(0);
    /// Reading.
    pub const PULL: Self = Self(1);
    /// Writing.
    pub const PUSH: Self = Self(2);
    /// Taking away tags, manifests and blobs.
    pub const DELETE: Self = Self(4);
    /// All of them.
    pub const ALL: Self = Self(7);

    const NAMES: [(&'static str, Self); 3] = [("pull", Self::PULL), ("push", Self::PUSH), ("delete", Self::DELETE)];

    /// Those of both sets.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both sets.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of the other set are in this one.
    pub fn include(self, other: Self) -> bool {
        self.both(other) == other
    }

    /// Whether it is empty.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Their names: `pull`, `push`, `delete`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(_, one)| self.include(*one)).map(|(name, _)| name)
    }

    /// The action of a name. `*` is all, as in distribution.
    pub fn named(name: &str) -> Option<Self> {
        if name == "*" {
            return Some(Self::ALL);
        }
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, one)| one)
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

/// Some actions somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// On a repository, or on those that a pattern fits: a `*` fits no `/`, a `**` does.
    Repository {
        /// The name or the pattern.
        name: String,
        /// What may be done.
        actions: Actions,
    },
    /// Listing all repositories.
    Catalog,
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let wrong = |why| ScopeError { text: text.to_owned(), why };
        let (kind, rest) = text.split_once(':').ok_or_else(|| wrong("it has no kind"))?;
        // A name has no colon; should one ever have, the actions are what follows the last.
        let (name, actions) = rest.rsplit_once(':').ok_or_else(|| wrong("it has no actions"))?;
        match kind {
            "repository" => {
                let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._/-*".contains(c);
                if name.is_empty() || !name.chars().all(known) {
                    return Err(wrong("the name has other characters than a-z, 0-9, `.`, `_`, `-`, `/` and `*`"));
                }
                let mut all = Actions::NONE;
                for action in actions.split(',') {
                    all =
                        all.with(Actions::named(action).ok_or_else(|| wrong("its actions are pull, push and delete"))?);
                }
                Ok(Self::Repository { name: name.to_owned(), actions: all })
            }
            "registry" if name == "catalog" && actions == "*" => Ok(Self::Catalog),
            "registry" => Err(wrong("of a registry only the catalog can be read")),
            _ => Err(wrong("its kind is neither repository nor registry")),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { name, actions } => write!(f, "repository:{name}:{actions}"),
            Self::Catalog => f.write_str("registry:catalog:*"),
        }
    }
}

/// All that somebody may do.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    repositories: Vec<(GlobMatcher, Actions)>,
    catalog: bool,
}

impl Grants {
    /// Of scopes.
    pub fn new<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        let mut grants = Self::default();
        for scope in scopes {
            match scope {
                Scope::Repository { name, actions } => {
                    // A pattern that is none fits nothing, and nothing is granted by it.
                    let pattern = GlobBuilder::new(name).literal_separator(true).build();
                    grants.repositories.extend(pattern.map(|pattern| (pattern.compile_matcher(), *actions)));
                }
                Scope::Catalog => grants.catalog = true,
            }
        }
        grants
    }

    /// What may be done with a repository.
    pub fn on(&self, repository: &str) -> Actions {
        let matching = self.repositories.iter().filter(|(pattern, _)| pattern.is_match(repository));
        matching.fold(Actions::NONE, |all, (_, actions)| all.with(*actions))
    }

    /// Whether all repositories may be listed.
    pub fn catalog(&self) -> bool {
        self.catalog
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(scopes: &[&str]) -> Grants {
        Grants::new(&scopes.iter().map(|scope| scope.parse().unwrap()).collect::<Vec<Scope>>())
    }

    #[test]
    fn a_scope_is_read_and_written_in_one_form() {
        for text in ["repository:campus/openedx:pull,push", "repository:a/*:pull,push,delete", "registry:catalog:*"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert_eq!("repository:a:*".parse::<Scope>().unwrap().to_string(), "repository:a:pull,push,delete");
    }

    #[test]
    fn what_is_no_scope_is_refused_with_the_reason() {
        for text in [
            "",
            "pull",
            "repository:a",
            "repository::pull",
            "repository:A:pull",
            "repository:a:write",
            "repository:a?:pull",
            "repository:a:",
            "registry:catalog:pull",
            "image:a:pull",
        ] {
            let error = text.parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}` is no scope: ")), "{error}");
        }
    }

    #[test]
    fn grants_add_up_and_two_stars_fit_slashes() {
        let grants = grants(&["repository:campus/*:pull", "repository:campus/openedx:push", "repository:deep/**:pull"]);
        assert_eq!(grants.on("campus/openedx"), Actions::PULL.with(Actions::PUSH));
        assert_eq!(grants.on("deep/mfe/learning"), Actions::PULL);
        assert!(grants.on("campus/mfe/learning").is_none());
        for other in ["campus", "other/campus/openedx", "xcampus/openedx"] {
            assert!(grants.on(other).is_none(), "{other}");
        }
        assert!(!grants.catalog());
    }
}
