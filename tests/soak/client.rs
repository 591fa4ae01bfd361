//! Requests, one by one. A server that was killed breaks them off.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, header};
use shiplap_cache::Digest;

use crate::server::Server;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The connection broke, or the server knew nothing of an upload that one before it had begun.
#[derive(Debug)]
pub struct BrokenOff;

pub type Result<T> = std::result::Result<T, BrokenOff>;

/// What became of a manifest.
pub enum Put {
    Created,
    /// The tag stands for something else.
    Conflict(Digest),
    /// It names something that is not there.
    Missing(String),
}

pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// For one deed: after a kill the server is elsewhere.
    pub fn new(server: &Server) -> Self {
        shiplap_registry::install_tls();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().unwrap();
        Self { http, base: server.url() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.http.request(method, url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<reqwest::Response> {
        request.send().await.map_err(|_| BrokenOff)
    }

    pub async fn has_blob(&self, repository: &str, blob: &Digest) -> Result<bool> {
        let answer = self.send(self.request(Method::HEAD, &format!("/v2/{repository}/blobs/{blob}"))).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            other => panic!("HEAD of a blob: {other}"),
        }
    }

    /// Mounts a blob from another repository; says whether that was done.
    pub async fn mount(&self, repository: &str, blob: &Digest, from: &str) -> Result<bool> {
        let path = format!("/v2/{repository}/blobs/uploads/?mount={blob}&from={from}");
        let answer = self.send(self.request(Method::POST, &path)).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            StatusCode::ACCEPTED => {
                self.send(self.request(Method::DELETE, location(&answer))).await?;
                Ok(false)
            }
            other => panic!("mount: {other}"),
        }
    }

    /// Pushes a blob in so many pieces; none is one request.
    pub async fn push_blob(&self, repository: &str, bytes: &[u8], pieces: usize) -> Result<()> {
        let blob = Digest::of(bytes);
        if pieces == 0 {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={blob}");
            let answer = self.send(self.request(Method::POST, &path).body(bytes.to_vec())).await?;
            assert_eq!(answer.status(), StatusCode::CREATED, "POST of a blob");
            return Ok(());
        }
        let answer = self.send(self.request(Method::POST, &format!("/v2/{repository}/blobs/uploads/"))).await?;
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "POST of an upload");
        let (mut at, mut upload) = (0, location(&answer).to_owned());
        for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
            let range = format!("{at}-{}", at + piece.len() - 1);
            let request = self.request(Method::PATCH, &upload).header(header::CONTENT_RANGE, range);
            let answer = self.send(request.body(piece.to_vec())).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                return Err(BrokenOff);
            }
            assert_eq!(answer.status(), StatusCode::ACCEPTED, "PATCH of an upload");
            (at, upload) = (at + piece.len(), location(&answer).to_owned());
        }
        let mark = if upload.contains('?') { '&' } else { '?' };
        let answer = self.send(self.request(Method::PUT, &format!("{upload}{mark}digest={blob}"))).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(BrokenOff);
        }
        assert_eq!(answer.status(), StatusCode::CREATED, "PUT of an upload");
        Ok(())
    }

    pub async fn put_manifest(&self, repository: &str, reference: &str, bytes: &[u8]) -> Result<Put> {
        let request = self.request(Method::PUT, &format!("/v2/{repository}/manifests/{reference}"));
        let answer = self.send(request.header(header::CONTENT_TYPE, MANIFEST).body(bytes.to_vec())).await?;
        let status = answer.status();
        let body = answer.text().await.map_err(|_| BrokenOff)?;
        match status {
            StatusCode::CREATED => Ok(Put::Created),
            StatusCode::CONFLICT => {
                let error: serde_json::Value = serde_json::from_str(&body).unwrap();
                Ok(Put::Conflict(error["errors"][0]["detail"]["existing"].as_str().unwrap().parse().unwrap()))
            }
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(Put::Missing(body)),
            other => panic!("PUT of a manifest: {other}: {body}"),
        }
    }

    /// A manifest's bytes, none when it is not there.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Result<Option<Vec<u8>>> {
        self.get(&format!("/v2/{repository}/manifests/{reference}")).await
    }

    pub async fn blob(&self, repository: &str, blob: &Digest) -> Result<Option<Vec<u8>>> {
        self.get(&format!("/v2/{repository}/blobs/{blob}")).await
    }

    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.send(self.request(Method::GET, path)).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer.bytes().await.map_err(|_| BrokenOff)?.to_vec())),
            StatusCode::NOT_FOUND => Ok(None),
            other => panic!("GET {path}: {other}"),
        }
    }

    /// Deletes a tag or manifest; says whether it was there and nothing forbade it.
    pub async fn delete(&self, repository: &str, reference: &str) -> Result<bool> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let answer = self.send(self.request(Method::DELETE, &path)).await?;
        match answer.status() {
            StatusCode::ACCEPTED => Ok(true),
            // A release of the same image, made by somebody else a moment ago, forbids it.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(false),
            other => panic!("DELETE {path}: {other}"),
        }
    }
}

fn location(answer: &reqwest::Response) -> &str {
    answer.headers()[header::LOCATION].to_str().unwrap()
}
