//! Keys in files.

use std::path::Path;

use shiplap_registry::signature::{KeyError, PrivateKey, PublicKey};

use crate::failure::{Failure, Kind, Result};

/// Where the password of a private key is, as with cosign.
pub const PASSWORD: &str = "COSIGN_PASSWORD";

/// The password of private keys, if there is one. An empty one is one.
pub fn password() -> Option<Vec<u8>> {
    std::env::var_os(PASSWORD).map(std::os::unix::ffi::OsStringExt::into_vec)
}

/// Reads a private key.
pub fn private(path: &Path) -> Result<PrivateKey> {
    PrivateKey::from_pem(&read(path)?, password().as_deref()).map_err(|error| wrong(path, &error))
}

/// Reads a public key.
pub fn public(path: &Path) -> Result<PublicKey> {
    PublicKey::from_pem(&read(path)?).map_err(|error| wrong(path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Failure::new(Kind::Missing, format!("cannot read the key {}: {error}", path.display()))
            .hint("`shiplap key generate` makes a pair")
    })
}

fn wrong(path: &Path, error: &KeyError) -> Failure {
    let failure = Failure::new(Kind::Usage, format!("cannot use the key {}: {error}", path.display()));
    match error {
        KeyError::WrongPassword | KeyError::NoPassword => {
            failure.hint(format!("its password is taken from {PASSWORD}"))
        }
        _ => failure,
    }
}
