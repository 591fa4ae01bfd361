//! Debian's registry server on loopback.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A registry with a storage of its own.
pub struct Registry {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Registry {
    /// A registry for everybody.
    pub fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), "")
    }

    /// A registry for one user.
    pub fn with_password(user: &str, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display());
        Self::with(folder, &auth)
    }

    fn with(folder: TempDir, auth: &str) -> Self {
        // Between the choice of the port and the server's start another may take it: then another is chosen.
        let mut registry = Self { folder, port: 0, child: None };
        for _ in 0..5 {
            registry.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n\
                 http: {{addr: \"{}\"}}\n{auth}",
                registry.folder.path().join("data").display(),
                registry.host()
            );
            std::fs::write(registry.folder.path().join("config.yml"), text).unwrap();
            if registry.try_run() {
                return registry;
            }
        }
        panic!("the registry server does not start");
    }

    fn try_run(&mut self) -> bool {
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.folder.path().join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("Debian's package docker-registry is installed");
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) && child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    /// Starts it again where it was.
    pub fn run(&mut self) {
        assert!(self.try_run(), "the registry server does not start again");
    }

    /// Stops it; what it stores stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The full name of an image in it.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host())
    }

    /// The files that its blobs are in; each is called `data` in a folder of the blob's name.
    pub fn blobs(&self) -> Vec<PathBuf> {
        let list = |folder: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let root = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        list(&root).iter().flat_map(|folder| list(folder)).map(|blob| blob.join("data")).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
