//! Short-lived tokens, as the token specification of distribution has them (`docs/spec/auth/jwt.md`): a JWT whose `access` says what it opens.
//!
//! Signed with Ed25519. No other algorithm is accepted, `none` included.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use shiplap_cache::durable::DurableFile;

use super::error::{At, FrontError, Result};
use super::htpasswd::getrandom;
use super::scope::{Actions, Scope};
use super::tokens::folder;

/// Who signs, and whom tokens are for. Another server has another key.
pub(super) const SERVICE: &str = "shiplap";

/// How long a token is good for. Clients take less than a minute for a mistake (`docs/spec/auth/token.md`).
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// What a token opens, in the words of the specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Opens {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    access: Vec<Opens>,
}

/// Signs and reads tokens.
pub(super) struct Signer {
    private: EncodingKey,
    public: DecodingKey,
    rules: Validation,
}

impl Signer {
    /// With the key of the store in `home`, which is made when it is missing.
    pub fn of(home: &Path) -> Result<Self> {
        // Installed already is as good: it is always this one.
        let _ = PROVIDER.install_default();
        let path = folder(home)?.join("token.key");
        if !path.exists() {
            let key =
                Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).map_err(|_| FrontError::Random)?;
            // For its owner alone, as all temporary files; the first of two servers wins.
            let mut file = DurableFile::new_in(path.parent().unwrap_or(home)).at("write", &path)?;
            file.write_all(key.as_ref()).at("write", &path)?;
            file.persist_new(&path).at("write", &path)?;
        }
        let bytes = std::fs::read(&path).at("read", &path)?;
        let pair = Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| FrontError::File {
            path: path.clone(),
            why: "it is no Ed25519 key any more; remove it, and a new one is made".to_owned(),
        })?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[SERVICE]);
        rules.set_issuer(&[SERVICE]);
        rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        rules.validate_nbf = true;
        // One clock made it and reads it.
        rules.leeway = 0;
        Ok(Self {
            private: EncodingKey::from_ed_der(&bytes),
            public: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            rules,
        })
    }

    /// A token for somebody, from now on.
    pub fn issue(&self, subject: &str, scopes: &[Scope], now: SystemTime) -> Result<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut id = [0; 16];
        getrandom(&mut id)?;
        let claims = Claims {
            iss: SERVICE.to_owned(),
            sub: subject.to_owned(),
            aud: SERVICE.to_owned(),
            exp: now + LIFETIME.as_secs(),
            nbf: now,
            iat: now,
            jti: BASE64_URL_SAFE_NO_PAD.encode(id),
            access: scopes.iter().map(opens).collect(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.private).map_err(|_| FrontError::Random)
    }

    /// Whose token this is and what it opens, if it is one of ours and its time has not passed.
    pub fn read(&self, token: &str) -> Option<(String, Vec<Scope>)> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.public, &self.rules).ok()?.claims;
        Some((claims.sub, claims.access.iter().filter_map(scope).collect()))
    }
}

fn opens(scope: &Scope) -> Opens {
    let (kind, name, actions) = match scope {
        Scope::Repository { name, actions } => {
            ("repository", name.as_str(), actions.names().map(str::to_owned).collect())
        }
        Scope::Catalog => ("registry", "catalog", vec!["*".to_owned()]),
    };
    Opens { kind: kind.to_owned(), name: name.to_owned(), actions }
}

fn scope(opens: &Opens) -> Option<Scope> {
    match opens.kind.as_str() {
        "repository" => {
            let actions = opens.actions.iter().filter_map(|name| Actions::named(name));
            let actions = actions.fold(Actions::NONE, Actions::with);
            Some(Scope::Repository { name: opens.name.clone(), actions })
        }
        "registry" if opens.name == "catalog" => Some(Scope::Catalog),
        _ => None,
    }
}

/// Ed25519 of `ring`, which does TLS here too. The providers that `jsonwebtoken` brings would add a second library of cryptography.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8(key.as_bytes()).map_err(|_| unusable())?;
            Ok(Box::new(Pair(pair)))
        }
        _ => Err(unusable()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(Public(key.try_get_as_bytes()?.to_vec()))),
        _ => Err(unusable()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn unusable() -> JwtError {
    ErrorKind::InvalidKeyFormat.into()
}

struct Pair(Ed25519KeyPair);

impl signature::Signer<Vec<u8>> for Pair {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Pair {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Public(Vec<u8>);

impl signature::Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scopes() -> Vec<Scope> {
        vec!["repository:campus/openedx:pull,push".parse().unwrap(), Scope::Catalog]
    }

    #[test]
    fn a_token_says_who_and_what_and_outlives_the_server() {
        let home = tempfile::tempdir().unwrap();
        let token = Signer::of(home.path()).unwrap().issue("user:ada", &scopes(), SystemTime::now()).unwrap();
        let again = Signer::of(home.path()).unwrap();
        assert_eq!(again.read(&token), Some(("user:ada".to_owned(), scopes())));
        let mode = std::fs::metadata(home.path().join("serve/token.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_of_another_time_or_server_opens_nothing() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let signer = Signer::of(home.path()).unwrap();
        let past = SystemTime::now() - LIFETIME - Duration::from_secs(2);
        let future = SystemTime::now() + Duration::from_secs(60);
        for time in [past, future] {
            assert_eq!(signer.read(&signer.issue("user:ada", &scopes(), time).unwrap()), None);
        }
        let foreign = Signer::of(other.path()).unwrap().issue("user:ada", &scopes(), SystemTime::now()).unwrap();
        assert_eq!(signer.read(&foreign), None);
    }

    #[test]
    fn a_changed_or_unsigned_token_opens_nothing() {
        let home = tempfile::tempdir().unwrap();
        let signer = Signer::of(home.path()).unwrap();
        let token = signer.issue("user:ada", &[], SystemTime::now()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let other = signer.issue("user:eve", &scopes(), SystemTime::now()).unwrap();
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let none = encode(r#"{"alg":"none","typ":"JWT"}"#);
        // The public key as the secret of an HMAC: the oldest trick of them all.
        let hmac = encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        for bad in [
            format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{hmac}.{}.{}", parts[1], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            "a.b.c".to_owned(),
            String::new(),
        ] {
            assert_eq!(signer.read(&bad), None, "{bad}");
        }
        assert!(signer.read(&token).is_some());
    }
}
