//! `shiplap serve` at work.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::common::{Home, sh};

/// Ada's.
pub const PASSWORD: &str = "correct-horse-battery";

/// The program at work. It ends with the value.
pub struct Serving {
    pub child: Child,
    /// What it says when it is ready.
    pub ready: Value,
    log: PathBuf,
    stopped: bool,
}

impl Serving {
    pub fn start(home: &Home, args: &[&str]) -> Self {
        let log = home.path("serve.log");
        let mut command = home.command(["--json", "serve", "--listen", "127.0.0.1:0"]);
        command.args(args).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|e| panic!("{e}: `{line}`: {}", std::fs::read_to_string(&log).unwrap()));
        Self { child, ready, log, stopped: false }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.ready["address"].as_str().unwrap()
    }

    pub fn port(&self) -> &str {
        self.address().rsplit(':').next().unwrap()
    }

    pub fn signal(&self, name: &str) {
        sh(Command::new("kill").args(["-s", name, &self.child.id().to_string()]));
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.stopped = true;
        self.child.wait().unwrap()
    }

    /// All that it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// A request, as it is, and what comes until the server closes.
    pub fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        write!(stream, "{request}\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A password file in which Ada is.
pub fn write_passwords(home: &Home) -> String {
    let path = home.write("htpasswd", format!("ada:{}\n", bcrypt::hash(PASSWORD, 4).unwrap()));
    path.to_str().unwrap().to_owned()
}

/// Logs somebody in as `docker login` does.
pub fn log_in(home: &Home, registry: &str, user: &str, password: &str) {
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    std::fs::create_dir_all(home.path("user/.docker")).unwrap();
    let config = serde_json::json!({"auths": {registry: {"auth": auth}}});
    std::fs::write(home.path("user/.docker/config.json"), config.to_string()).unwrap();
}
