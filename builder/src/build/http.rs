//! Files of the web as sources. A file that its server says has not changed (`ETag`, `Last-Modified`; RFC 9110 section
//! 13) is not fetched again.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shiplap_cache::{Digest, Store};

use super::error::FetchError;

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fetched {
    /// The digest of its bytes, which are in the store.
    pub(crate) digest: Digest,
    /// `Last-Modified`, seconds since 1970; zero where the server does not say.
    pub(crate) mtime: i64,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Fetched {
    /// Where the bytes are.
    pub(crate) fn path(&self, store: &Store) -> PathBuf {
        store.blobs().path(&self.digest)
    }
}

/// The space of names that says which file a URL gave.
const FETCHED: &str = "http";

/// Fetches a file into the store.
pub(crate) async fn fetch(store: &Store, client: &reqwest::Client, url: &str) -> Result<Fetched, FetchError> {
    // A password in the URL belongs neither into the store nor into an error.
    let name = super::git::without_credentials(url);
    let fail = |why: String| FetchError::Http { url: name.clone(), why };
    let known: Option<Fetched> = store.name(FETCHED, &name)?.and_then(|text| serde_json::from_str(&text).ok());
    let known = match known {
        Some(known) if store.blobs().size(&known.digest)?.is_some() => Some(known),
        _ => None,
    };
    let mut request = client.get(url);
    if let Some(known) = &known {
        let headers = [("if-none-match", &known.etag), ("if-modified-since", &known.last_modified)];
        for (name, value) in headers.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            request = request.header(name, value);
        }
    }
    let mut response = request.send().await.map_err(|e| fail(chain(&e.without_url())))?;
    if let (Some(known), reqwest::StatusCode::NOT_MODIFIED) = (known, response.status()) {
        return Ok(known);
    }
    if !response.status().is_success() {
        return Err(fail(format!("the server answered {}", response.status())));
    }
    let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (etag, last_modified) = (header("etag"), header("last-modified"));
    let mtime = last_modified
        .as_deref()
        .and_then(|t| jiff::fmt::rfc2822::parse(t).ok())
        .map_or(0, |t| t.timestamp().as_second());
    let mut writer = store.blobs().writer()?;
    while let Some(chunk) = response.chunk().await.map_err(|e| fail(chain(&e.without_url())))? {
        writer.write_all(&chunk).map_err(|e| fail(e.to_string()))?;
    }
    let (digest, _) = writer.commit(None)?;
    let fetched = Fetched { digest, mtime, etag, last_modified };
    let record = serde_json::to_string(&fetched).map_err(shiplap_cache::Error::from)?;
    store.set_name(FETCHED, &name, &record)?;
    Ok(fetched)
}

/// The blobs of all files that `ADD` fetched.
///
/// # Errors
/// The database fails.
pub fn downloads(store: &Store) -> Result<Vec<Digest>, shiplap_cache::Error> {
    let fetched = store.names(FETCHED)?;
    Ok(fetched.iter().filter_map(|(_, text)| Some(serde_json::from_str::<Fetched>(text).ok()?.digest)).collect())
}

/// The digest of a fetched file by the algorithm that another digest names.
pub(crate) fn digest(fetched: &Fetched, at: &Path, like: &str) -> Result<String, FetchError> {
    match like.split_once(':') {
        Some(("sha384", _)) => Ok(format!("sha384:{}", hashed::<sha2::Sha384>(at)?)),
        Some(("sha512", _)) => Ok(format!("sha512:{}", hashed::<sha2::Sha512>(at)?)),
        _ => Ok(fetched.digest.to_string()),
    }
}

fn hashed<H: sha2::Digest>(at: &Path) -> Result<String, FetchError> {
    let io = |source| FetchError::Io { what: "read", path: at.to_owned(), source };
    let mut file = std::fs::File::open(at).map_err(io)?;
    let (mut hasher, mut buffer) = (H::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// An error with what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
