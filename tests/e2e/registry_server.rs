//! Debian's registry server on loopback, for the tests that need one.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A registry for everybody. It ends with the value.
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
    data: tempfile::TempDir,
}

impl Registry {
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        // Between the choice of the port and the server's start another may take it: then another is chosen.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let config = data.path().join("config.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\nhttp: {{addr: \"{address}\"}}\n",
                data.path().join("data").display()
            );
            std::fs::write(&config, text).unwrap();
            let mut server = Command::new("docker-registry");
            server.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = server.spawn().expect("Debian's package docker-registry is installed");
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(&address).is_ok() {
                    return Self { child, address, data };
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        panic!("the registry server does not start");
    }

    /// Ends it. What was pushed stays where it is.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The file of a blob or manifest, by its digest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.registry().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// The folder of a repository.
    pub fn repository(&self, path: &str) -> PathBuf {
        self.registry().join("repositories").join(path)
    }

    fn registry(&self) -> PathBuf {
        Path::new(self.data.path()).join("data/docker/registry/v2")
    }

    /// The name of a repository or image in it.
    pub fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
