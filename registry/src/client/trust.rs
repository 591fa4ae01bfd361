//! Whose certificates are trusted, and which way leads to a registry.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Identity};

use shiplap_cache::install_tls;

use super::ClientOptions;
use crate::{Repository, Trouble};

/// A way to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// TLS, and the certificate must be trusted.
    Tls,
    /// TLS with whatever certificate.
    AnyCertificate,
    /// No TLS.
    Plain,
}

impl Way {
    pub fn scheme(self) -> &'static str {
        if self == Self::Plain { "http" } else { "https" }
    }
}

/// The ways to try, one after the other. One only, unless the registry is on this machine or was named as insecure; these are Docker's rules
/// (moby, registry/config.go, `isSecureIndex`), except that plain HTTP is tried first on this machine, where nobody listens in.
pub(super) fn ways(repository: &Repository, options: &ClientOptions) -> &'static [Way] {
    if options.insecure.iter().any(|host| host == repository.registry()) {
        &[Way::AnyCertificate, Way::Plain]
    } else if repository.is_loopback() {
        &[Way::Plain, Way::AnyCertificate]
    } else {
        &[Way::Tls]
    }
}

/// A client of HTTP for one registry.
pub(super) fn http(repository: &Repository, way: Way, options: &ClientOptions) -> Result<reqwest::Client, Trouble> {
    install_tls();
    let mut http = reqwest::Client::builder()
        .user_agent(concat!("shiplap/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        .tls_danger_accept_invalid_certs(way == Way::AnyCertificate);
    if repository.is_loopback() {
        // What is on this machine is on no other.
        http = http.no_proxy();
    }
    let mut authorities = Vec::new();
    for file in &options.authorities {
        authorities.extend(bundle(file)?);
    }
    for folder in options.certificates.iter().map(|folder| folder.join(repository.registry())) {
        for file in files(&folder)? {
            match file.extension().and_then(|e| e.to_str()) {
                Some("crt") => authorities.extend(bundle(&file)?),
                Some("cert") => http = http.identity(identity(&file)?),
                _ => {}
            }
        }
    }
    http.tls_certs_merge(authorities).build().map_err(|e| Trouble::Other(super::fault::chain(&e)))
}

/// What is in Docker's folder for a registry, `certs.d/<host>[:<port>]`: `*.crt` are authorities, `*.cert` with `*.key` say who we are
/// (moby, registry/registry.go, `ReadCertsDirectory`). That there is no folder is usual.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let items = match std::fs::read_dir(folder) {
        Ok(items) => items,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(unreadable(folder, &e)),
    };
    let mut files: Vec<PathBuf> = items.filter_map(|item| Some(item.ok()?.path())).collect();
    files.sort();
    Ok(files)
}

fn bundle(file: &Path) -> Result<Vec<Certificate>, Trouble> {
    let bytes = std::fs::read(file).map_err(|e| unreadable(file, &e))?;
    let certificates = Certificate::from_pem_bundle(&bytes).map_err(|e| unreadable(file, &super::fault::chain(&e)))?;
    if certificates.is_empty() {
        return Err(unreadable(file, &"there is no certificate in it; PEM is expected"));
    }
    Ok(certificates)
}

fn identity(certificate: &Path) -> Result<Identity, Trouble> {
    let key = certificate.with_extension("key");
    let mut pem = std::fs::read(&key).map_err(|e| unreadable(&key, &e))?;
    pem.push(b'\n');
    pem.extend(std::fs::read(certificate).map_err(|e| unreadable(certificate, &e))?);
    // What is wrong with it is not said in the parser's words: the key is in there.
    Identity::from_pem(&pem).map_err(|_| unreadable(certificate, &"it and its .key are no certificate and key in PEM"))
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Trouble {
    Trouble::Other(format!("{} cannot be used: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(registry: &str) -> Repository {
        format!("{registry}/x").parse().unwrap()
    }

    #[test]
    fn only_this_machine_and_what_was_named_go_without_trust() {
        let options = ClientOptions { insecure: vec!["r.example:5000".into()], ..ClientOptions::default() };
        assert_eq!(ways(&repository("ghcr.io"), &options), [Way::Tls]);
        assert_eq!(ways(&repository("r.example"), &options), [Way::Tls]);
        assert_eq!(ways(&repository("r.example:5000"), &options), [Way::AnyCertificate, Way::Plain]);
        assert_eq!(ways(&repository("127.0.0.1:5000"), &options), [Way::Plain, Way::AnyCertificate]);
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let options = |authorities| ClientOptions { authorities, ..ClientOptions::default() };
        for contents in [None, Some("nothing"), Some("")] {
            if let Some(contents) = contents {
                std::fs::write(&file, contents).unwrap();
            }
            let error = http(&repository("r.example"), Way::Tls, &options(vec![file.clone()])).unwrap_err();
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
        let folder = dir.path().join("certs.d/r.example:5000");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("client.cert"), "x").unwrap();
        let certificates = vec![dir.path().join("certs.d")];
        let options = ClientOptions { certificates, ..ClientOptions::default() };
        let error = http(&repository("r.example:5000"), Way::Tls, &options).unwrap_err().to_string();
        assert!(error.contains("client.key"), "{error}");
        std::fs::write(folder.join("client.key"), "s3cret").unwrap();
        let error = http(&repository("r.example:5000"), Way::Tls, &options).unwrap_err().to_string();
        assert!(error.contains("client.cert") && !error.contains("s3cret"), "{error}");
        assert!(http(&repository("other.example"), Way::Tls, &options).is_ok());
    }
}
