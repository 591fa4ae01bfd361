//! A registry to ask.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shiplap_cache::{Digest, Store};
use shiplap_registry::server::{Server, ServerOptions, router};
use shiplap_registry::{Images, Repository};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const RELEASE: &str = "1.4.0-g3f2c1ab09d4e";

/// A registry on loopback, with a store of its own. Dropped, it stops as if it had been killed.
pub struct Lab {
    pub dir: Arc<tempfile::TempDir>,
    pub images: Images,
    pub address: SocketAddr,
    pub server: Server,
    client: reqwest::Client,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the registry answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// It has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        self
    }

    /// It is an error with this status and code (*Error Codes*).
    #[track_caller]
    pub fn fails(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.header("content-type"), "application/json");
        let errors = answer.json();
        assert_eq!(errors["errors"][0]["code"], code, "{errors}");
        assert!(!errors["errors"][0]["message"].as_str().unwrap().is_empty());
        answer
    }

    pub fn message(&self) -> String {
        self.json()["errors"][0]["message"].as_str().unwrap().to_owned()
    }
}

impl Lab {
    pub async fn start() -> Self {
        Self::with(ServerOptions::default()).await
    }

    pub async fn with(options: ServerOptions) -> Self {
        Self::over(Arc::new(tempfile::tempdir().unwrap()), options).await
    }

    /// A registry over a folder that may have been one before.
    pub async fn over(dir: Arc<tempfile::TempDir>, options: ServerOptions) -> Self {
        shiplap_registry::install_tls();
        let images = Images::new(Arc::new(Store::open(dir.path()).unwrap()));
        let server = Server::new(images.clone(), options);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(server.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { dir, images, address, server, client, task }
    }

    pub fn repository(&self, path: &str) -> Repository {
        format!("{}/{path}", self.address).parse().unwrap()
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let path = path.strip_prefix(&format!("http://{}", self.address)).unwrap_or(path);
        let mut request = self.client.request(method, format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        assert_eq!(headers["docker-distribution-api-version"], "registry/2.0");
        Answer { status, headers, body: answer.bytes().await.unwrap().to_vec() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send(Method::HEAD, path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, &[], "").await
    }

    /// Begins an upload; where it is.
    pub async fn begin(&self, repository: &str) -> String {
        let answer = self.post(&format!("/v2/{repository}/blobs/uploads/")).await.is(202);
        answer.header("location").to_owned()
    }

    pub async fn push_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.send(Method::POST, &path, &[], bytes).await.is(201);
        digest
    }

    pub async fn put(&self, repository: &str, reference: impl ToString, manifest: &Value) -> Answer {
        let path = format!("/v2/{repository}/manifests/{}", reference.to_string());
        let kind = if manifest["manifests"].is_array() { INDEX } else { MANIFEST };
        self.send(Method::PUT, &path, &[("content-type", kind)], manifest.to_string()).await
    }

    /// An image of one layer, whose blobs are in the repository.
    pub async fn image(&self, repository: &str, text: &str) -> Value {
        let (config, layer) = (format!(r#"{{"text":"{text}"}}"#), format!("layer {text}"));
        self.push_blob(repository, config.clone()).await;
        self.push_blob(repository, layer.clone()).await;
        image(&config, &layer)
    }

    /// An image of one layer, pushed under a reference.
    pub async fn push(&self, repository: &str, reference: &str, text: &str) -> Digest {
        let image = self.image(repository, text).await;
        self.put(repository, reference, &image).await.is(201);
        digest(&image)
    }

    /// Sends bytes as they are, which ask for the connection to be closed, and reads the answer.
    pub async fn raw(&self, bytes: impl Into<Vec<u8>>) -> String {
        self.talk(bytes.into(), |_| ()).await
    }

    /// Sends bytes as they are, and goes away.
    pub async fn cut(&self, bytes: impl Into<Vec<u8>>) {
        self.talk(bytes.into(), |stream| stream.shutdown(std::net::Shutdown::Write).unwrap()).await;
    }

    async fn talk(&self, bytes: Vec<u8>, then: impl FnOnce(&TcpStream) + Send + 'static) -> String {
        let address = self.address;
        let talk = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
            // Who refuses early does not read to the end.
            let _ = stream.write_all(&bytes);
            then(&stream);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::task::spawn_blocking(talk).await.unwrap()
    }

    /// How many files are in the folder of blobs, those that are being written too.
    pub fn files(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("blobs/sha256")).unwrap().count()
    }
}

pub fn digest(manifest: &Value) -> Digest {
    Digest::of(manifest.to_string().as_bytes())
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

pub fn image(config: &str, layer: &str) -> Value {
    json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer.as_bytes())] })
}

pub fn index(children: &[&Value]) -> Value {
    let children: Vec<Value> = children.iter().map(|c| descriptor(MANIFEST, c.to_string().as_bytes())).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children })
}
