//! Private keys as cosign encrypts them: JSON in PEM, scrypt (RFC 7914) and NaCl's secretbox
//! (`github.com/secure-systems-lab/go-securesystemslib`, `encrypted/encrypted.go`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::KeyError;

/// What the PEM says: the name that cosign writes, and the one that it wrote before.
pub(super) const TAGS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// What cosign writes now.
const PARAMETERS: Parameters = Parameters { n: 65536, r: 8, p: 1 };
/// The most that is worked for a key: a gigabyte of memory.
const MOST: Parameters = Parameters { n: 1 << 20, r: 8, p: 4 };

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct Parameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Opens what is in the PEM.
pub(super) fn open(json: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let bad = |why: &str| KeyError::Encryption(why.to_owned());
    let sealed: Sealed = serde_json::from_slice(json).map_err(|e| KeyError::Encryption(e.to_string()))?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        return Err(bad("it is not scrypt and nacl/secretbox"));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| bad("it has a part that is no base64"));
    let salt = decode(&sealed.kdf.salt)?;
    let nonce: [u8; 24] =
        decode(&sealed.cipher.nonce)?.try_into().map_err(|_| bad("its nonce has another length than 24"))?;
    let cipher = cipher(password, &salt, sealed.kdf.params)?;
    cipher.decrypt(&nonce.into(), &*decode(&sealed.ciphertext)?).map_err(|_| KeyError::WrongPassword)
}

/// Makes what goes into the PEM.
pub(super) fn seal(key: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    let random = SystemRandom::new();
    random.fill(&mut salt).and_then(|()| random.fill(&mut nonce)).map_err(|_| KeyError::Random)?;
    let cipher = cipher(password, &salt, PARAMETERS)?;
    let ciphertext = cipher.encrypt(&nonce.into(), key).map_err(|_| KeyError::Random)?;
    let sealed = Sealed {
        kdf: Kdf { name: "scrypt".to_owned(), params: PARAMETERS, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    serde_json::to_vec(&sealed).map_err(|e| KeyError::Encryption(e.to_string()))
}

fn cipher(password: &[u8], salt: &[u8], parameters: Parameters) -> Result<XSalsa20Poly1305, KeyError> {
    let bad = || KeyError::Encryption("its scrypt parameters make no sense".to_owned());
    let Parameters { n, r, p } = parameters;
    if !n.is_power_of_two() || !(2..=MOST.n).contains(&n) || r > MOST.r || p > MOST.p {
        return Err(bad());
    }
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| bad())?;
    let parameters = scrypt::Params::new(log_n, r, p).map_err(|_| bad())?;
    let mut key = [0; 32];
    scrypt::scrypt(password, salt, &parameters, &mut key).map_err(|_| bad())?;
    Ok(XSalsa20Poly1305::new(&key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::PrivateKey;

    /// Of cosign's `pkg/cosign/keys_test.go`, `pemsigstorekey` and `pemcosignkey`: their password is `hello`.
    const KEYS: [&str; 2] = [include_str!("fixtures/sigstore.key"), include_str!("fixtures/cosign.key")];

    #[test]
    fn keys_that_cosign_encrypted_are_opened() {
        for text in KEYS {
            let key = PrivateKey::from_pem(text.as_bytes(), Some(b"hello")).unwrap();
            assert!(key.public().verifies(b"x", &key.sign(b"x").unwrap()));
            assert!(matches!(PrivateKey::from_pem(text.as_bytes(), Some(b"wrong")), Err(KeyError::WrongPassword)));
        }
    }

    #[test]
    fn a_key_that_would_take_all_memory_is_refused() {
        let sealed = String::from_utf8(seal(b"key", b"x").unwrap()).unwrap();
        for (from, to) in [
            ("\"N\":65536", "\"N\":1073741824"),
            ("\"N\":65536", "\"N\":65535"),
            ("\"r\":8", "\"r\":1000000"),
            ("scrypt", "none"),
            ("nacl/secretbox", "none"),
        ] {
            let changed = sealed.replace(from, to);
            assert_ne!(changed, sealed);
            assert!(matches!(open(changed.as_bytes(), b"x"), Err(KeyError::Encryption(_))), "{to}");
        }
        assert!(matches!(open(b"{}", b"x"), Err(KeyError::Encryption(_))));
    }
}
