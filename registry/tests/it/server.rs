//! Debian's registry server on loopback.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shiplap_cache::Digest;
use shiplap_registry::Repository;

pub struct Server {
    child: Child,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    /// A registry for everybody.
    pub fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), "", "")
    }

    /// A registry for one user.
    pub fn with_password(user: &str, password: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("htpasswd");
        std::fs::write(&file, format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display());
        Self::with(dir, "", &auth)
    }

    /// A registry with TLS and an authority of its own.
    pub fn with_tls(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = certificates(dir.path(), name);
        Self::with(dir, &tls, "")
    }

    /// A registry with TLS that opens only to who has a certificate of its authority, and a password; [`Server::client_certificate`] makes one.
    pub fn with_everything(name: &str, user: &str, password: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = certificates(dir.path(), name);
        let authority = dir.path().join("ca.pem").display().to_string();
        let tls = tls.replacen("tls: {", &format!("tls: {{clientcas: [\"{authority}\"], "), 1);
        let file = dir.path().join("htpasswd");
        std::fs::write(&file, format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display());
        Self::with(dir, &tls, &auth)
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn with(dir: tempfile::TempDir, http: &str, more: &str) -> Self {
        // Between the choice of the port and the server's start another may take it: then another is chosen.
        for _ in 0..5 {
            let port = free_port();
            let config = dir.path().join("config.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n\
                 http: {{addr: \"127.0.0.1:{port}\"{http}}}\n{more}",
                dir.path().join("data").display()
            );
            std::fs::write(&config, text).unwrap();
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("Debian's package docker-registry is installed");
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(20) && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, dir };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("the registry server does not start");
    }

    pub fn repository(&self, path: &str) -> Repository {
        format!("127.0.0.1:{}/{path}", self.port).parse().unwrap()
    }

    /// The certificate and the key that the authority gave.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("tls.pem"), self.dir.path().join("tls.key"))
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.dir.path().join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and with it a certificate for a name, which serves for a client too; as a setting of the registry's.
fn certificates(dir: &std::path::Path, name: &str) -> String {
    let script = format!(
        "set -e; cd '{}'
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=test authority'
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.csr -subj '/CN={name}'
         printf 'subjectAltName=DNS:{name},IP:127.0.0.1' >ext
         openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile ext",
        dir.display()
    );
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let at = |file: &str| dir.join(file).display().to_string();
    format!(", tls: {{certificate: \"{}\", key: \"{}\"}}", at("tls.pem"), at("tls.key"))
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
