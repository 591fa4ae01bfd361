//! `shiplap serve`, killed and started again on the same port and the same store.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

const SHIPLAP: &str = env!("CARGO_BIN_EXE_shiplap");

pub struct Server {
    home: PathBuf,
    child: Mutex<Child>,
    url: RwLock<String>,
}

impl Server {
    pub fn new(home: &Path) -> Self {
        let (child, url) = start(home, "127.0.0.1:0");
        Self { home: home.to_owned(), child: Mutex::new(child), url: RwLock::new(url) }
    }

    pub fn url(&self) -> String {
        self.url.read().unwrap().clone()
    }

    /// As a power cut would, but for what the kernel has.
    pub fn kill_and_start(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let (fresh, url) = start(&self.home, "127.0.0.1:0");
        *self.url.write().unwrap() = url;
        *child = fresh;
    }

    /// Takes space back as hard as it may, and is itself killed after `patience`, if that is given and it is not done by then.
    pub fn collect(&self, grace: Duration, patience: Option<Duration>) {
        let grace = format!("{}s", grace.as_secs());
        let mut gc = command(&self.home);
        gc.args(["gc", "--quarantine", "0s", "--grace", &grace, "--untagged", &grace]);
        gc.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = gc.spawn().unwrap();
        match patience {
            Some(patience) => {
                std::thread::sleep(patience);
                child.kill().unwrap();
                child.wait().unwrap();
            }
            None => {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "gc: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }

    pub fn verify(&self) {
        let output = command(&self.home).arg("verify").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "verify: {}", String::from_utf8_lossy(&said));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(home: &Path) -> Command {
    let mut command = Command::new(SHIPLAP);
    command.env("SHIPLAP_HOME", home).env_remove("SHIPLAP_CONFIG").current_dir(home).stdin(Stdio::null());
    command
}

fn start(home: &Path, listen: &str) -> (Child, String) {
    let mut serve = command(home);
    serve.args(["serve", "--listen", listen]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = serve.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("serve said `{line}`"));
    (child, url.to_owned())
}
