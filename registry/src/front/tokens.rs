//! Tokens that last: what a CI server logs in with. Only their hashes are kept, in `serve/tokens.json` of the store, which nobody but its owner
//! can read.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shiplap_cache::durable::DurableFile;

use super::error::{At, FrontError, Result};
use super::htpasswd::getrandom;
use super::scope::{Grants, Scope};

/// How every secret begins: so that scanners of repositories find one that got lost, and none is taken for a password.
pub const PREFIX: &str = "shiplap_";

/// The folder in a store for what the server keeps to itself.
pub(super) fn folder(home: &Path) -> Result<PathBuf> {
    let folder = home.join("serve");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).at("make", &folder)?;
    Ok(folder)
}

/// A token as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    name: String,
    /// BLAKE3 of the secret. It needs no salt and no slowness: a secret is 32 random bytes.
    hash: String,
    scopes: Vec<String>,
    created: Timestamp,
    expires: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: Schema,
    tokens: Vec<Kept>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum Schema {
    #[default]
    #[serde(rename = "shiplap.tokens/1")]
    One,
}

/// A token without its secret.
#[derive(Debug, Clone, Serialize)]
pub struct TokenInfo {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends, if ever.
    pub expires: Option<Timestamp>,
}

/// The tokens of a store.
#[derive(Debug, Clone)]
pub struct Tokens {
    path: PathBuf,
}

impl Tokens {
    /// Those of the store in `home`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn of(home: &Path) -> Result<Self> {
        Ok(Self { path: folder(home)?.join("tokens.json") })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a token and gives its secret, which is nowhere else.
    ///
    /// # Errors
    /// The name is taken or none, or the file cannot be written.
    pub fn create(&self, name: &str, scopes: &[Scope], expires: Option<Timestamp>) -> Result<String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            return Err(FrontError::TokenName(name.to_owned()));
        }
        let mut random = [0; 32];
        getrandom(&mut random)?;
        let secret = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let kept = Kept {
            name: name.to_owned(),
            hash: hash(&secret).to_hex().to_string(),
            scopes: scopes.iter().map(Scope::to_string).collect(),
            created: Timestamp::now(),
            expires,
        };
        self.change(|document| {
            if document.tokens.iter().any(|token| token.name == name) {
                return Err(FrontError::TokenExists(name.to_owned()));
            }
            document.tokens.push(kept);
            Ok(())
        })?;
        Ok(secret)
    }

    /// Takes a token away. A server that runs knows it some seconds later.
    ///
    /// # Errors
    /// There is none of this name, or the file cannot be written.
    pub fn revoke(&self, name: &str) -> Result<()> {
        self.change(|document| {
            let before = document.tokens.len();
            document.tokens.retain(|token| token.name != name);
            if document.tokens.len() == before { Err(FrontError::NoToken(name.to_owned())) } else { Ok(()) }
        })
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self) -> Result<Vec<TokenInfo>> {
        let info = |kept: Kept| TokenInfo {
            name: kept.name,
            scopes: kept.scopes,
            created: kept.created,
            expires: kept.expires,
        };
        let mut all: Vec<TokenInfo> = self.read()?.tokens.into_iter().map(info).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn read(&self) -> Result<Document> {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| FrontError::File { path: self.path.clone(), why: format!("it is damaged: {e}") }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Document::default()),
            Err(e) => Err(e).at("read", &self.path),
        }
    }

    /// Reads, changes and writes, one process after the other.
    fn change(&self, change: impl FnOnce(&mut Document) -> Result<()>) -> Result<()> {
        let guard = self.path.with_extension("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&guard).at("open", &guard)?;
        lock.lock().at("lock", &guard)?;
        let mut document = self.read()?;
        change(&mut document)?;
        let bytes = serde_json::to_vec_pretty(&document)
            .map_err(|e| FrontError::File { path: self.path.clone(), why: e.to_string() })?;
        // A `DurableFile` is for its owner alone unless it is said otherwise.
        let mut file = DurableFile::new_in(self.path.parent().unwrap_or(Path::new("."))).at("write", &self.path)?;
        file.write_all(&bytes).at("write", &self.path)?;
        file.persist(&self.path).at("write", &self.path)
    }

    /// The tokens in the form in which they are asked for.
    ///
    /// # Errors
    /// The file cannot be read, or has a scope that is none.
    pub(super) fn known(&self) -> Result<KnownTokens> {
        let known = |kept: Kept| {
            let wrong =
                |why: String| FrontError::File { path: self.path.clone(), why: format!("token {}: {why}", kept.name) };
            let hash = blake3::Hash::from_hex(&kept.hash).map_err(|e| wrong(e.to_string()))?;
            let scopes: Result<Vec<Scope>, _> = kept.scopes.iter().map(|scope| scope.parse()).collect();
            let grants = Grants::new(&scopes.map_err(|e| wrong(e.to_string()))?);
            Ok(Known { name: kept.name, hash, grants, expires: kept.expires })
        };
        Ok(KnownTokens(self.read()?.tokens.into_iter().map(known).collect::<Result<_>>()?))
    }
}

#[derive(Debug)]
struct Known {
    name: String,
    hash: blake3::Hash,
    grants: Grants,
    expires: Option<Timestamp>,
}

impl Known {
    fn lives(&self) -> bool {
        self.expires.is_none_or(|end| Timestamp::now() < end)
    }
}

/// Tokens as a server asks for them.
#[derive(Debug)]
pub(super) struct KnownTokens(Vec<Known>);

impl KnownTokens {
    /// The name of the token with this secret.
    pub fn find(&self, secret: &str) -> Option<&str> {
        let hash = hash(secret);
        // Hashes of BLAKE3 compare in constant time.
        self.0.iter().find(|token| token.hash == hash && token.lives()).map(|token| token.name.as_str())
    }

    /// What the token of this name may do, if it is there and has not ended.
    pub fn grants(&self, name: &str) -> Option<Grants> {
        self.0.iter().find(|token| token.name == name && token.lives()).map(|token| token.grants.clone())
    }
}

fn hash(secret: &str) -> blake3::Hash {
    blake3::hash(secret.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use jiff::SignedDuration;

    use super::super::scope::Actions;
    use super::*;

    fn scopes() -> Vec<Scope> {
        vec!["repository:campus/*:pull,push".parse().unwrap()]
    }

    #[test]
    fn a_token_is_found_by_its_secret_and_only_its_hash_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(home.path()).unwrap();
        let secret = tokens.create("ci", &scopes(), None).unwrap();
        let known = tokens.known().unwrap();
        assert_eq!(known.find(&secret), Some("ci"));
        assert_eq!(known.find(&format!("{secret}x")), None);
        assert_eq!(known.grants("ci").unwrap().on("campus/a"), Actions::PULL.with(Actions::PUSH));
        let file = home.path().join("serve/tokens.json");
        assert!(!std::fs::read_to_string(&file).unwrap().contains(&secret[PREFIX.len()..]));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(home.path().join("serve")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_token_ends_by_its_time_or_by_hand() {
        let home = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(home.path()).unwrap();
        let past = Timestamp::now() - SignedDuration::from_secs(1);
        let old = tokens.create("old", &scopes(), Some(past)).unwrap();
        let new = tokens.create("new", &scopes(), Some(Timestamp::now() + SignedDuration::from_hours(1))).unwrap();
        let known = tokens.known().unwrap();
        assert_eq!((known.find(&old), known.find(&new)), (None, Some("new")));
        assert!(known.grants("old").is_none());
        tokens.revoke("new").unwrap();
        assert_eq!(tokens.known().unwrap().find(&new), None);
        assert!(matches!(tokens.revoke("new"), Err(FrontError::NoToken(_))));
    }

    #[test]
    fn a_name_is_given_once_and_is_a_simple_one() {
        let home = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(home.path()).unwrap();
        tokens.create("ci", &scopes(), None).unwrap();
        assert!(matches!(tokens.create("ci", &scopes(), None), Err(FrontError::TokenExists(_))));
        for bad in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(matches!(tokens.create(bad, &scopes(), None), Err(FrontError::TokenName(_))), "{bad}");
        }
        assert_eq!(tokens.list().unwrap().len(), 1);
    }

    #[test]
    fn tokens_that_are_made_at_once_are_all_kept() {
        let home = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(home.path()).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let tokens = &tokens;
                scope.spawn(move || tokens.create(&format!("t{number}"), &scopes(), None).unwrap());
            }
        });
        assert_eq!(tokens.list().unwrap().len(), 8);
    }
}
