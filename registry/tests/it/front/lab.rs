//! A server with short limits, and somebody to ask it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use shiplap_cache::{Digest, Store};
use shiplap_registry::front::{Front, FrontOptions, Limits, LoginOptions, Scope, TlsFiles, Tokens};
use shiplap_registry::server::{Server, ServerOptions};
use shiplap_registry::{Images, install_tls};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The user of the password file.
pub const ADA: (&str, &str) = ("ada", "correct horse");
/// Another one.
pub const BOB: (&str, &str) = ("bob", "battery staple");

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    scheme: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

/// Limits that a test can wait for. All but those that it is about are as they are.
pub fn limits() -> Limits {
    Limits { refresh: Duration::from_millis(20), ..Limits::default() }
}

/// Everybody may do everything.
pub async fn open() -> Lab {
    Lab::start(tempfile::tempdir().unwrap(), FrontOptions { limits: limits(), ..FrontOptions::default() }).await
}

/// Ada and Bob, and what an access file gives them.
pub async fn closed(access: &str) -> Lab {
    closed_with(access, |_| {}).await
}

pub async fn closed_with(access: &str, change: impl FnOnce(&mut FrontOptions)) -> Lab {
    let dir = tempfile::tempdir().unwrap();
    write_passwords(&dir.path().join("htpasswd"), &[ADA, BOB]);
    let mut login = LoginOptions { htpasswd: Some(dir.path().join("htpasswd")), ..LoginOptions::default() };
    if !access.is_empty() {
        std::fs::write(dir.path().join("access.toml"), access).unwrap();
        login.access = Some(dir.path().join("access.toml"));
    }
    let mut options = FrontOptions { login: Some(login), limits: limits(), ..FrontOptions::default() };
    change(&mut options);
    Lab::start(dir, options).await
}

pub fn write_passwords(path: &Path, users: &[(&str, &str)]) {
    let line = |(user, password): &(&str, &str)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
    std::fs::write(path, users.iter().map(line).collect::<String>()).unwrap();
}

impl Lab {
    pub async fn start(dir: tempfile::TempDir, options: FrontOptions) -> Self {
        install_tls();
        let images = Images::new(Arc::new(Store::open(&dir.path().join("store")).unwrap()));
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let front = Front::new(Server::new(images, ServerOptions::default()), options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            front.serve(listener, async move { drop(stopped.wait_for(|stopped| *stopped).await) }).await
        });
        Self { dir, address, client: reqwest::Client::new(), scheme, stop, task }
    }

    pub fn tokens(&self) -> Tokens {
        Tokens::of(&self.dir.path().join("store")).unwrap()
    }

    /// Makes a token that lasts, and waits until the server knows it.
    pub async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let scopes: Vec<Scope> = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        let secret = self.tokens().create(name, &scopes, None).unwrap();
        self.until(|| async { self.get("/v2/").bearer_auth(&secret).send().await.unwrap().status() == 200 }).await;
        secret
    }

    /// Waits until something is so. The bound is for a test that fails.
    pub async fn until<F: Future<Output = bool>>(&self, so: impl Fn() -> F) {
        for _ in 0..500 {
            if so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never came to that");
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}://{}{path}", self.scheme, self.address))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Pushes a blob with one request.
    pub fn push(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> RequestBuilder {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.request(Method::POST, &format!("/v2/{repository}/blobs/uploads/?digest={digest}")).body(bytes)
    }

    /// Bytes for the server as they are.
    pub async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Stops it. Gives how many connections were cut off.
    pub async fn stop(self) -> usize {
        self.stop.send(true).unwrap();
        self.task.await.unwrap()
    }

    /// Tells it to stop, and does not wait.
    pub fn tell_to_stop(&self) {
        self.stop.send(true).unwrap();
    }

    pub async fn stopped(self) -> usize {
        self.task.await.unwrap()
    }
}

/// The status, and the code of the first error.
pub async fn outcome(request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
    (status, body["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
}

pub async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

pub fn challenge(response: &Response) -> String {
    response.headers()["www-authenticate"].to_str().unwrap().to_owned()
}

pub async fn json(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// A certificate for 127.0.0.1 with an authority of its own.
pub struct Certificate {
    pub authority: reqwest::Certificate,
    pub files: TlsFiles,
}

pub fn certificate(folder: &Path) -> Certificate {
    std::fs::create_dir_all(folder).unwrap();
    let script = "set -e
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=test authority'
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.csr -subj '/CN=test'
        printf 'subjectAltName=IP:127.0.0.1' >ext
        openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile ext";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let at = |name: &str| -> PathBuf { folder.join(name) };
    Certificate {
        authority: reqwest::Certificate::from_pem(&std::fs::read(at("ca.pem")).unwrap()).unwrap(),
        files: TlsFiles { certificate: at("tls.pem"), key: at("tls.key") },
    }
}
