//! The file that says who may do what.
//!
//! ```toml
//! [users]
//! ada = ["repository:**:pull,push,delete", "registry:catalog:*"]
//! ci = ["repository:campus/*:pull,push"]
//! # Everybody who is logged in:
//! "*" = ["repository:public/*:pull"]
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::{At, FrontError, Result};
use super::scope::{Actions, Grants, Scope};

/// What users may do. Without a file, all of them pull, push and list, and nobody deletes.
#[derive(Debug, Clone)]
pub struct Access {
    users: Option<BTreeMap<String, Vec<Scope>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    users: BTreeMap<String, Vec<String>>,
}

impl Access {
    /// As without a file.
    pub fn everything_but_delete() -> Self {
        Self { users: None }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML of this form, or has a scope that is none.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at("read the access file", path)?;
        let wrong = |why: String| FrontError::File { path: path.to_owned(), why };
        let file: File = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let mut users = BTreeMap::new();
        for (user, scopes) in file.users {
            let parsed: Result<Vec<Scope>, _> = scopes.iter().map(|scope| scope.parse()).collect();
            let parsed = parsed.map_err(|e| wrong(format!("user `{user}`: {e}")))?;
            users.insert(user, parsed);
        }
        Ok(Self { users: Some(users) })
    }

    /// What a user may do.
    pub fn of(&self, user: &str) -> Grants {
        match &self.users {
            Some(users) => Grants::new([user, "*"].into_iter().filter_map(|name| users.get(name)).flatten()),
            None => {
                let name = "**".to_owned();
                Grants::new(&[Scope::Repository { name, actions: Actions::PULL.with(Actions::PUSH) }, Scope::Catalog])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Access> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Access::load(file.path())
    }

    #[test]
    fn a_user_may_what_is_written_and_what_all_may() {
        let access =
            load("[users]\nci = [\"repository:campus/*:push\"]\n\"*\" = [\"repository:campus/*:pull\"]\n").unwrap();
        assert_eq!(access.of("ci").on("campus/a"), Actions::PULL.with(Actions::PUSH));
        assert_eq!(access.of("ada").on("campus/a"), Actions::PULL);
        assert!(access.of("ci").on("other").is_none() && !access.of("ci").catalog());
    }

    #[test]
    fn without_a_file_nobody_deletes() {
        let all = Access::everything_but_delete().of("ada");
        assert_eq!(all.on("a/b"), Actions::PULL.with(Actions::PUSH));
        assert!(all.catalog());
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_place() {
        assert!(load("[users]\nada = [\"repository:a:write\"]\n").unwrap_err().to_string().contains("user `ada`"));
        assert!(load("[user]\nada = []\n").unwrap_err().to_string().contains("unknown field"));
    }
}
