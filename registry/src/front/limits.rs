//! How much, how many and how long.

use std::time::Duration;

/// The bounds of a server. What clients push has bounds of its own, in [`ServerOptions`](crate::server::ServerOptions).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. More wait in the system's queue.
    pub connections: usize,
    /// Requests that are answered at once. More wait for their turn.
    pub requests: usize,
    /// How long a request waits for its turn before it is told to come back.
    pub turn: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long the headers of a request may take, from the first moment in which they could come.
    pub header: Duration,
    /// How long a connection may stay open on which nothing is asked.
    pub idle: Duration,
    /// How long a client may keep a request or an answer waiting. Each kilobyte that moves gives a second of it back.
    pub patience: Duration,
    /// How long running requests may go on after the server was told to stop.
    pub drain: Duration,
    /// How many wrong passwords an address may send before it waits.
    pub failures: u32,
    /// After how long one of them is forgotten.
    pub forgotten: Duration,
    /// How often passwords, grants, tokens and certificates are looked at for changes.
    pub refresh: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            requests: 256,
            turn: Duration::from_secs(15),
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            idle: Duration::from_secs(90),
            patience: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            failures: 10,
            forgotten: Duration::from_secs(6),
            refresh: Duration::from_secs(2),
        }
    }
}

/// The most bytes of the headers of a request, and what is read ahead of a connection of HTTP/1.1.
pub(super) const HEADERS: usize = 64 << 10;
/// The most bytes of the headers of a request of HTTP/2.
pub(super) const HEADERS_2: u32 = 32 << 10;
/// What a client may send ahead on one stream of HTTP/2, and on a connection.
pub(super) const WINDOWS: (u32, u32) = (256 << 10, 512 << 10);
/// What waits to be sent on one stream of HTTP/2.
pub(super) const SEND_BUFFER: usize = 256 << 10;
/// Requests at once on a connection of HTTP/2.
pub(super) const STREAMS: u32 = 64;

/// Lets this process open as many files as the system allows it to: a connection is a file, and so is what is sent on it. Where that cannot be had,
/// connections wait.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now });
}
