//! The server's certificate, read again when it is renewed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use super::error::{FrontError, Result};
use super::watched::Watched;

/// Certificate and key, as files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and those between it and the authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Looks at the files now and then.
pub(super) struct Certificate(Arc<Watched<Arc<CertifiedKey>>>);

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some((*self.0.get()).clone())
    }
}

/// Watches the files.
pub(super) fn watch(files: &TlsFiles) -> Result<Arc<Watched<Arc<CertifiedKey>>>> {
    let paths = vec![files.certificate.clone(), files.key.clone()];
    let files = files.clone();
    Ok(Arc::new(Watched::new(paths, move || load(&files))?))
}

/// TLS 1.2 and 1.3 with the certificate of the moment, for HTTP/2 and HTTP/1.1.
pub(super) fn config(certificate: Arc<Watched<Arc<CertifiedKey>>>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&version::TLS13, &version::TLS12])?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(Certificate(certificate)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn load(files: &TlsFiles) -> Result<Arc<CertifiedKey>> {
    let at = |path: &Path, why: String| FrontError::File { path: path.to_owned(), why };
    let unreadable = |path: &Path, e: rustls::pki_types::pem::Error| match e {
        rustls::pki_types::pem::Error::Io(source) => FrontError::Io { what: "read", path: path.to_owned(), source },
        rustls::pki_types::pem::Error::NoItemsFound => at(path, "there is no private key in PEM in it".to_owned()),
        e => at(path, format!("it is no PEM: {e:?}")),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| unreadable(&files.certificate, e))?;
    if chain.is_empty() {
        return Err(at(&files.certificate, "there is no certificate in PEM in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unreadable(&files.key, e))?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            at(&files.key, format!("it is not the key of {}", files.certificate.display()))
        }
        e => at(&files.certificate, format!("certificate and key cannot be used: {e}")),
    })?;
    Ok(Arc::new(certified))
}
