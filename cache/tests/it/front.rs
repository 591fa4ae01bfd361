//! What stands before a real server and misbehaves as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers with a status and one more header, and asks nobody.
    Status(u16, &'static str),
    /// Answers with nothing, ever.
    Hang,
    /// Says nothing more after half of the answer's body.
    HangInside,
    /// Resets the connection after half of the body, or at once where there is none.
    Reset,
    /// Closes the connection there.
    Truncated,
    /// Leaves out the second half, and says that this is all.
    Short,
    /// Turns a bit of the body.
    Wrong,
    /// Does not heed that a part is asked for, and sends everything.
    Whole,
}

/// Which requests it is about, by method and path.
pub type Which = fn(&str, &str) -> bool;

#[derive(Default)]
struct State {
    fault: Option<(Fault, Which)>,
    /// How often it is still to happen.
    left: usize,
    happened: usize,
    /// The first lines of requests, and their ranges.
    seen: Vec<String>,
}

/// A front that lives as long as the test's process.
pub struct Front {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Front {
    /// Stands before a server at a port of this machine.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let own = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = own.clone();
                std::thread::spawn(move || pass(stream.unwrap(), server, &state));
            }
        });
        Self { port, state }
    }

    /// Misbehaves from now on.
    pub fn fault(&self, fault: Fault, which: Which) {
        self.fault_times(fault, which, usize::MAX);
    }

    /// Misbehaves so often, and then no more.
    pub fn fault_times(&self, fault: Fault, which: Which, times: usize) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.left, state.happened) = (Some((fault, which)), times, 0);
        state.seen.clear();
    }

    /// Behaves from now on; says how often it did not.
    pub fn behave(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        state.fault = None;
        state.happened
    }

    /// The requests since it was last told to misbehave, as `METHOD PATH RANGE`.
    pub fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }
}

/// One request.
fn pass(mut client: TcpStream, server: u16, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let (first, headers) = head(&mut reader)?;
    let length = value(&headers, "content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let fault = {
        let mut state = state.lock().unwrap();
        let range = value(&headers, "range").unwrap_or_default();
        state.seen.push(format!("{method} {path} {range}"));
        let fault = state.fault.filter(|(_, which)| state.left > 0 && which(method, path)).map(|(fault, _)| fault);
        state.left -= usize::from(fault.is_some());
        state.happened += usize::from(fault.is_some());
        fault
    };
    if fault == Some(Fault::Hang) {
        // Until the other side has had enough.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if let Some(Fault::Status(status, more)) = fault {
        let text = if method == "HEAD" { "" } else { "told to" };
        let answer = format!(
            "HTTP/1.1 {status} Told\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n\r\n{text}",
            text.len()
        );
        return client.write_all(answer.replace("\r\n\r\n\r\n", "\r\n\r\n").as_bytes()).ok();
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server)).ok()?;
    let mut text = format!("{first}\r\nconnection: close\r\n");
    let dropped = |name: &str| name == "connection" || (fault == Some(Fault::Whole) && name == "range");
    for (name, value) in headers.iter().filter(|(name, _)| !dropped(name)) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    upstream.write_all(format!("{text}\r\n").as_bytes()).ok()?;
    // A server that has heard enough answers, and resets the connection on which more is on its way. Its answer counts.
    let _ = upstream.write_all(&body);
    let mut upstream = BufReader::new(upstream);
    let (first, headers) = head(&mut upstream)?;
    let mut body = Vec::new();
    let _ = upstream.read_to_end(&mut body);
    let half = body.len() / 2;
    if fault == Some(Fault::Wrong) && !body.is_empty() {
        body[half] ^= 1;
    }
    let mut text = format!("{first}\r\nconnection: close\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| name != "connection") {
        let value = match (fault, name.as_str()) {
            (Some(Fault::Short), "content-length") if method != "HEAD" => &half.to_string(),
            _ => value,
        };
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let breaks = matches!(fault, Some(Fault::Reset | Fault::Truncated | Fault::HangInside | Fault::Short));
    if !(breaks && body.is_empty()) || fault == Some(Fault::Short) {
        client.write_all(format!("{text}\r\n").as_bytes()).ok()?;
    }
    client.write_all(if breaks { &body[..half] } else { &body }).ok()?;
    match fault {
        Some(Fault::Reset) => {
            // Half of the body is to arrive before.
            std::thread::sleep(Duration::from_millis(5));
            rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).ok()?;
        }
        Some(Fault::HangInside) => {
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        }
        _ => {}
    }
    Some(())
}

type Headers = Vec<(String, String)>;

/// The first line, and headers with their names in lower case.
fn head(reader: &mut impl BufRead) -> Option<(String, Headers)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Some((first.trim_end().to_owned(), headers)),
        }
    }
}

fn value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
}
