//! Keys: ECDSA on P-256 with SHA-256, what cosign makes and every verifier knows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pem::{EncodeConfig, LineEnding, Pem};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use shiplap_cache::Digest;

use super::encrypted;

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";
/// What a SubjectPublicKeyInfo of an uncompressed point on P-256 begins with (RFC 5480, section 2): only the point differs.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not the text of a key.
    #[error("it is no key in PEM: a file that begins with `-----BEGIN ...`")]
    NotPem,
    /// A key of another kind.
    #[error("it is `{found}`, and {wanted} is needed")]
    OtherKind {
        /// What the PEM says.
        found: String,
        /// What was needed.
        wanted: &'static str,
    },
    /// A key for another algorithm.
    #[error("it is no ECDSA key on P-256, the kind that `shiplap key generate` and `cosign generate-key-pair` make")]
    OtherAlgorithm,
    /// An encrypted key whose parameters make no sense.
    #[error("its encryption cannot be read: {0}")]
    Encryption(String),
    /// The password is another, or the key was changed.
    #[error("the password does not open it")]
    WrongPassword,
    /// An encrypted key, and no password.
    #[error("it is encrypted, and there is no password for it: set COSIGN_PASSWORD")]
    NoPassword,
    /// The system gave no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The uncompressed point.
    point: [u8; 65],
}

impl PublicKey {
    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// It is something else, or for another algorithm.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(|_| KeyError::NotPem)?;
        if pem.tag() != PUBLIC {
            return Err(KeyError::OtherKind { found: pem.tag().to_owned(), wanted: "a public key (cosign.pub)" });
        }
        let point = pem.contents().strip_prefix(&SPKI[..]).ok_or(KeyError::OtherAlgorithm)?;
        Ok(Self { point: point.try_into().map_err(|_| KeyError::OtherAlgorithm)? })
    }

    /// The key in PEM.
    pub fn to_pem(&self) -> String {
        encode(PUBLIC, self.der())
    }

    /// The SubjectPublicKeyInfo.
    fn der(&self) -> Vec<u8> {
        [&SPKI[..], &self.point].concat()
    }

    /// How bundles name the key: base64 of SHA-256 of it.
    pub fn hint(&self) -> String {
        STANDARD.encode(Digest::of(&self.der()).as_bytes())
    }

    /// Whether a signature, in ASN.1, is this key's over these bytes.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}

/// A private key. Its bytes are shown nowhere.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Makes a key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::Random)?;
        Self::from_pkcs8(pkcs8.as_ref().to_vec())
    }

    /// Reads a private key in PEM: PKCS#8 as it is, or encrypted as cosign does it, with a password.
    ///
    /// # Errors
    /// It is something else, for another algorithm, or the password is not its own.
    pub fn from_pem(text: &[u8], password: Option<&[u8]>) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(|_| KeyError::NotPem)?;
        match pem.tag() {
            PRIVATE => Self::from_pkcs8(pem.into_contents()),
            tag if encrypted::TAGS.contains(&tag) => {
                let password = password.ok_or(KeyError::NoPassword)?;
                Self::from_pkcs8(encrypted::open(pem.contents(), password)?)
            }
            tag => Err(KeyError::OtherKind {
                found: tag.to_owned(),
                wanted: "a private key of cosign or in PKCS#8 (`openssl pkcs8 -topk8 -nocrypt` makes it of others)",
            }),
        }
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new());
        Ok(Self { pair: pair.map_err(|_| KeyError::OtherAlgorithm)?, pkcs8 })
    }

    /// The key in PEM, encrypted as cosign does it where there is a password.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn to_pem(&self, password: Option<&[u8]>) -> Result<String, KeyError> {
        Ok(match password {
            None => encode(PRIVATE, self.pkcs8.clone()),
            Some(password) => encode(encrypted::TAGS[0], encrypted::seal(&self.pkcs8, password)?),
        })
    }

    /// The public key of this one.
    pub fn public(&self) -> PublicKey {
        let mut point = [0; 65];
        // The public key of a pair on this curve is an uncompressed point (ring, `EcdsaKeyPair`).
        point.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey { point }
    }

    /// Signs bytes; the signature is in ASN.1.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| KeyError::Random)?;
        Ok(signature.as_ref().to_vec())
    }
}

fn encode(tag: &str, contents: Vec<u8>) -> String {
    pem::encode_config(&Pem::new(tag, contents), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of cosign's `pkg/cosign/keys_test.go`: a key on P-256 in PKCS#8.
    const OF_COSIGN: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgmKnLL81dCEYc6Spq\n\
        rFukFeTnU5JjtXfeNHAXJj3hYTahRANCAATjp4/Z4tUbZwUdId07GQeUdwLll4Br\n\
        YLP25Fk+mBY2G0lyKqjqLG5hxhimbEJH6j+lzg5tcYpQgzXtOJ66Zi0N\n\
        -----END PRIVATE KEY-----";

    #[test]
    fn a_key_comes_back_from_pem_and_signs() {
        for password in [None, Some(&b"correct horse"[..]), Some(b"")] {
            let key = PrivateKey::generate().unwrap();
            let read = PrivateKey::from_pem(key.to_pem(password).unwrap().as_bytes(), password).unwrap();
            assert_eq!(read.public(), key.public());
            let public = PublicKey::from_pem(key.public().to_pem().as_bytes()).unwrap();
            let signature = read.sign(b"message").unwrap();
            assert!(public.verifies(b"message", &signature));
            assert!(!public.verifies(b"massage", &signature));
            assert!(!PrivateKey::generate().unwrap().public().verifies(b"message", &signature));
        }
    }

    #[test]
    fn keys_of_cosign_are_read() {
        let key = PrivateKey::from_pem(OF_COSIGN.as_bytes(), None).unwrap();
        assert!(key.public().verifies(b"x", &key.sign(b"x").unwrap()));
    }

    #[test]
    fn another_kind_of_key_is_refused_with_what_is_needed() {
        let key = PrivateKey::generate().unwrap();
        let private = key.to_pem(None).unwrap();
        let error = |text: &str| PublicKey::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert!(error(&private).contains("a public key is") || error(&private).contains("a public key (cosign.pub)"));
        assert!(error("nothing").contains("PEM"));
        let rsa = encode(PUBLIC, vec![0x30, 0x82, 1, 0x22]);
        assert!(error(&rsa).contains("P-256"));
        let sealed = key.to_pem(Some(b"x")).unwrap();
        assert!(matches!(PrivateKey::from_pem(sealed.as_bytes(), None), Err(KeyError::NoPassword)));
        assert!(matches!(PrivateKey::from_pem(sealed.as_bytes(), Some(b"y")), Err(KeyError::WrongPassword)));
        let ec = private.replace("PRIVATE KEY", "EC PRIVATE KEY");
        assert!(PrivateKey::from_pem(ec.as_bytes(), None).unwrap_err().to_string().contains("topk8"));
        // Ed25519, of cosign's `keys_test.go`.
        let ed25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIALEbo1EFnWFqBK/wC+hhypG/8hXEerwdNetAoFoFVdv\n-----END PRIVATE KEY-----";
        assert!(matches!(PrivateKey::from_pem(ed25519.as_bytes(), None), Err(KeyError::OtherAlgorithm)));
    }

    #[test]
    fn a_private_key_is_not_shown() {
        let key = PrivateKey::from_pem(OF_COSIGN.as_bytes(), None).unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains("public") && !shown.contains("152, 169, 203"), "{shown}");
    }
}
