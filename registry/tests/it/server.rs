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
        Self::with("")
    }

    /// A registry for one user.
    pub fn with_password(user: &str, password: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("htpasswd");
        std::fs::write(&file, format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())).unwrap();
        let server = Self::with(&format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display()));
        drop(dir);
        server
    }

    fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let more = match more.contains("htpasswd") {
            true => {
                let from = more.split('"').nth(1).unwrap();
                std::fs::copy(from, dir.path().join("htpasswd")).unwrap();
                more.replace(from, &dir.path().join("htpasswd").display().to_string())
            }
            false => String::new(),
        };
        // Between the choice of the port and the server's start another may take it: then another is chosen.
        for _ in 0..5 {
            let port = free_port();
            let config = dir.path().join("config.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n\
                 http: {{addr: \"127.0.0.1:{port}\"}}\n{more}",
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

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
