//! A proxy before a registry that does one thing wrong, for the paths that it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This answer, whatever was asked.
    Status(u16),
    /// The connection ends where the answer should begin.
    Reset,
    /// The answer ends in its middle.
    Truncated,
    /// A byte of the answer is another one.
    WrongBytes,
    /// There never is an answer.
    Hanging,
}

/// The proxy. It goes on until the test ends.
pub struct FaultyProxy {
    address: String,
    /// Whether it does wrong now.
    active: Arc<AtomicBool>,
}

impl FaultyProxy {
    /// Stands before `registry` and does one thing wrong for requests whose path has `part` in it, once it is told to.
    pub fn start(registry: &str, part: &'static str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (active, registry) = (Arc::new(AtomicBool::new(false)), registry.to_owned());
        let wrong = active.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (wrong, registry) = (wrong.clone(), registry.clone());
                std::thread::spawn(move || drop(one(client, &registry, part, fault, &wrong)));
            }
        });
        Self { address, active }
    }

    pub fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    pub fn begin(&self) {
        self.active.store(true, Ordering::SeqCst);
    }
}

/// One request and its answer; then the connection ends.
fn one(mut client: TcpStream, registry: &str, part: &str, fault: Fault, active: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let wrong = active.load(Ordering::SeqCst) && head.lines().next().unwrap_or_default().contains(part);
    if wrong {
        match fault {
            Fault::Status(code) => {
                // What is on its way must be read, or the answer is lost with the connection.
                drain(&mut reader, &head)?;
                write!(
                    client,
                    "HTTP/1.1 {code} Wrong\r\nContent-Length: 0\r\nRetry-After: 0\r\nConnection: close\r\n\r\n"
                )?;
                return Ok(());
            }
            Fault::Reset => return Ok(()),
            Fault::Hanging => {
                let mut sink = [0; 4096];
                while reader.read(&mut sink)? > 0 {}
                return Ok(());
            }
            Fault::Truncated | Fault::WrongBytes => {}
        }
    }
    let mut server = TcpStream::connect(registry)?;
    let head: String = head
        .lines()
        .filter(|line| !line.to_lowercase().starts_with("connection:") && !line.is_empty())
        .map(|line| format!("{line}\r\n"))
        .collect();
    write!(server, "{head}Connection: close\r\n\r\n")?;
    let mut up = server.try_clone()?;
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut up);
    });
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if wrong && let Some(body) = answer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) {
        let middle = body + (answer.len() - body) / 2;
        match fault {
            Fault::Truncated => answer.truncate(middle),
            _ if middle < answer.len() => answer[middle] ^= 0x55,
            _ => {}
        }
    }
    client.write_all(&answer)
}

fn drain(reader: &mut impl Read, head: &str) -> std::io::Result<()> {
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    std::io::copy(&mut reader.take(length.unwrap_or(0)), &mut std::io::sink()).map(drop)
}
