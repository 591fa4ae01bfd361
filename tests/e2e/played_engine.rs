//! A container engine that is played: it takes archives, as Podman's service does, and keeps the last one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct PlayedEngine {
    port: u16,
    loaded: Arc<Mutex<Vec<u8>>>,
}

impl PlayedEngine {
    /// It lives as long as the test's process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let loaded = Arc::new(Mutex::new(Vec::new()));
        let keep = loaded.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let keep = keep.clone();
                std::thread::spawn(move || while serve(stream.as_ref().unwrap(), &keep).is_some() {});
            }
        });
        Self { port, loaded }
    }

    /// `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// A file of the archive that was loaded last.
    pub fn loaded_file(&self, name: &str) -> Option<Vec<u8>> {
        let loaded = self.loaded.lock().unwrap();
        let mut archive = tar::Archive::new(loaded.as_slice());
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let mut entry = entries.find(|entry| entry.path().unwrap().as_os_str() == name)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        Some(content)
    }
}

/// Answers one request; none when there is none any more.
fn serve(stream: &TcpStream, keep: &Mutex<Vec<u8>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let line = line(&mut reader)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    while !self::line(&mut reader)?.is_empty() {}
    let body = match method.as_str() {
        // The one request that has a body, which is sent in chunks (RFC 9112, 7.1).
        "POST" => chunks(&mut reader)?,
        _ => Vec::new(),
    };
    let answer = if path.ends_with("/version") {
        r#"{"Version": "1", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64",
            "Components": [{"Name": "Podman Engine", "Version": "1"}]}"#
    } else if path.contains("/images/load") {
        *keep.lock().unwrap() = body;
        r#"{"stream": "Loaded image"}"#
    } else {
        r#"{"Id": "sha256:1"}"#
    };
    let length = answer.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    let mut stream = stream;
    stream.write_all(format!("{head}{answer}").as_bytes()).ok()
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk).ok()?;
        line(reader)?;
        if size == 0 {
            return Some(all);
        }
        all.extend(chunk);
    }
}
