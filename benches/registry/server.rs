//! Registries to push to and pull from.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::high_water;

/// A server that can be started as often as one likes, each time with nothing in it.
pub struct Server {
    pub name: String,
    /// Its words; `{port}` and `{dir}` are filled in.
    words: Vec<String>,
}

/// One that runs.
pub struct Running {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

/// Those that can be started here.
pub fn all() -> Vec<Server> {
    let mut all = Vec::new();
    if Command::new("docker-registry").arg("--version").output().is_ok() {
        let words = ["docker-registry", "serve", "{dir}/config.yml"].map(str::to_owned).to_vec();
        all.push(Server { name: "docker-registry".to_owned(), words });
    }
    if let Ok(line) = std::env::var("SHIPLAP_BENCH_SERVER") {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        all.push(Server { name: words.join(" "), words });
    }
    assert!(!all.is_empty(), "no docker-registry in PATH, and SHIPLAP_BENCH_SERVER names no server");
    all
}

impl Server {
    pub fn start(&self) -> Running {
        let dir = tempfile::tempdir_in(".").expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let at = std::path::absolute(dir.path()).expect("a path").display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{at}/data\"}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n"
        );
        std::fs::write(dir.path().join("config.yml"), config).expect("a file");
        let word = |word: &String| word.replace("{port}", &port.to_string()).replace("{dir}", &at);
        let words: Vec<String> = self.words.iter().map(word).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(child.try_wait().expect("a child").is_none(), "{command:?} has ended");
            assert!(began.elapsed() < Duration::from_secs(30), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Running { child, port, _dir: dir }
    }
}

impl Running {
    pub fn reference(&self) -> String {
        format!("127.0.0.1:{}/bench/image:1", self.port)
    }

    /// Resident memory at its highest, in bytes.
    pub fn peak(&self) -> u64 {
        high_water(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
