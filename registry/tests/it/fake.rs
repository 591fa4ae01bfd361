//! A registry that misbehaves as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// What it gets.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub cut: Option<usize>,
    /// Then do not close it, but say nothing more.
    pub stall: bool,
}

/// How many bytes of a request's body are read before the connection is closed; none for all.
type Cut = dyn Fn(&Request) -> Option<usize> + Send + Sync;

pub fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

impl Answer {
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }
}

/// A server that lives as long as the test's process.
pub struct Fake {
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::cutting(|_| None, handler)
    }

    /// A server that hangs up in the middle of some requests. The handler sees them too, and what came of them; its answer goes nowhere.
    pub fn cutting(
        cut: impl Fn(&Request) -> Option<usize> + Send + Sync + 'static,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let cut: Arc<Cut> = Arc::new(cut);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, handler) = (Arc::new(Mutex::new(Vec::new())), Arc::new(handler));
        let note = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (note, cut, handler) = (note.clone(), cut.clone(), handler.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &note, &*cut, &*handler));
            }
        });
        Self { port, seen }
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|r| r.is(method, part)).count()
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request a connection.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, cut: &Cut, handler: &dyn Fn(&Request) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut request = Request { method, path, headers, body: Vec::new() };
    let cut = cut(&request);
    request.body = vec![0; cut.map_or(length, |cut| cut.min(length))];
    reader.read_exact(&mut request.body).ok()?;
    let answer = handler(&request);
    let head_only = request.method == "HEAD";
    seen.lock().unwrap().push(request);
    if cut.is_some() {
        return None;
    }
    let mut text =
        format!("HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    stream.write_all(format!("{text}\r\n").as_bytes()).ok()?;
    if !head_only {
        stream.write_all(&answer.body[..answer.cut.unwrap_or(answer.body.len())]).ok()?;
    }
    if answer.stall {
        // Until the other side has had enough.
        let _ = reader.read(&mut [0]);
    }
    Some(())
}
