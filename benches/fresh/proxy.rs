//! A TCP proxy that counts, and makes a network of what is none.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::command::Result;

/// What lies between.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Megabits a second in each direction; as fast as it goes without.
    pub mbit: Option<u64>,
    /// How much later everything arrives.
    pub delay: Duration,
}

/// Bytes that went through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// To the servers.
    pub up: u64,
    /// From them.
    pub down: u64,
}

impl Counts {
    pub fn since(self, before: Self) -> Self {
        Self { up: self.up - before.up, down: self.down - before.down }
    }
}

/// One direction of all connections.
#[derive(Debug)]
struct Way {
    network: Network,
    bytes: AtomicU64,
    /// When the line is free again.
    free: Mutex<Instant>,
}

impl Way {
    fn new(network: Network) -> Arc<Self> {
        Arc::new(Self { network, bytes: AtomicU64::new(0), free: Mutex::new(Instant::now()) })
    }

    /// When so many bytes, sent now, have arrived.
    fn arrival(&self, bytes: usize) -> Instant {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = Instant::now();
        let Some(mbit) = self.network.mbit else { return now + self.network.delay };
        let mut free = self.free.lock().expect("nobody panics with it");
        *free = (*free).max(now) + Duration::from_nanos(bytes as u64 * 8 * 1000 / mbit);
        *free + self.network.delay
    }
}

/// A network with servers behind it.
pub struct Proxy {
    up: Arc<Way>,
    down: Arc<Way>,
}

impl Proxy {
    pub fn new(network: Network) -> Self {
        Self { up: Way::new(network), down: Way::new(network) }
    }

    /// Stands before a server, on a port of this machine: gives its address. That ends with the program.
    pub fn before(&self, server: &str) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (server, up, down) = (server.to_owned(), self.up.clone(), self.down.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (Ok(c), Ok(s)) = (client.try_clone(), server.try_clone()) else { continue };
                pipe(client, server, up.clone());
                pipe(s, c, down.clone());
            }
        });
        Ok(address)
    }

    /// What went through to all servers.
    pub fn counts(&self) -> Counts {
        Counts { up: self.up.bytes.load(Ordering::Relaxed), down: self.down.bytes.load(Ordering::Relaxed) }
    }
}

fn pipe(mut from: TcpStream, to: TcpStream, way: Arc<Way>) {
    // What is on its way: about a quarter of a megabyte, so that who sends too fast is held up, as by a window.
    let (send, receive) = sync_channel::<(Instant, Vec<u8>)>(16);
    std::thread::spawn(move || deliver(&receive, to));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n) = from.read(&mut buffer)
            && n > 0
            && send.send((way.arrival(n), buffer[..n].to_vec())).is_ok()
        {}
    });
}

fn deliver(receive: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((at, bytes)) = receive.recv() {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
