//! Pushing and pulling, each client against each server, in turn and in one run; how long, and how much memory.
//!
//! ```text
//! cargo bench --bench registry                 all that can run here
//! cargo bench --bench registry -- push         one or more of push, pull, layer
//! ```
//!
//! `push` and `pull` move an image of eight layers and 1 GB, `layer` one of a single layer of 2 GB, over loopback. Clients: `shiplap`, and
//! those whose programs `SHIPLAP_BENCH_SKOPEO` and `SHIPLAP_BENCH_CRANE` name. Servers: `docker-registry` where it is installed (Debian's
//! package), and the one that `SHIPLAP_BENCH_SERVER` starts, a command line in which `{port}` and `{dir}` stand for the port on 127.0.0.1 and
//! an empty folder. `SHIPLAP_BENCH_ROUNDS` says how often each is measured; three times is the default, and the fastest counts.
//!
//! Each push goes to a new server with nothing in it, so that nobody finds or mounts anything. Each pull goes into an empty folder.
//!
//! `shiplap pull` also unpacks each layer into the store, checks its DiffID, and syncs blobs to the disk, before it ends. `skopeo copy` and
//! `crane pull` into an OCI layout do none of that. So there is a line for the transfer alone too (`shiplap`, *blobs only*): the same client
//! into the same store, without unpacking, which is what `shiplap copy` does first.

mod client;
mod image;
mod process;
mod server;

use client::{Client, Way};
use image::Sample;
use process::Measured;
use server::Server;

/// A line of a table.
struct Row {
    name: String,
    runs: Vec<Measured>,
    server: u64,
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(client::FETCH) {
        return client::fetch(&args.collect::<Vec<_>>());
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let servers = server::all();
    if wants("push") || wants("pull") {
        let sample = Sample::new(dir.path(), 8, 128 << 20);
        for server in &servers {
            if wants("push") {
                table(&format!("push 1 GB to {}", server.name), push(&sample, server));
            }
            if wants("pull") {
                table(&format!("pull 1 GB from {}", server.name), pull(&sample, server));
            }
        }
    }
    if wants("layer") {
        let sample = Sample::new(dir.path(), 1, 2 << 30);
        for server in &servers {
            table(&format!("push a layer of 2 GB to {}", server.name), push(&sample, server));
            table(&format!("pull a layer of 2 GB from {}", server.name), pull(&sample, server));
        }
    }
}

fn rounds() -> usize {
    std::env::var("SHIPLAP_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

fn rows(ways: &[(Client, Way)]) -> Vec<Row> {
    ways.iter().map(|(client, way)| Row { name: client.label(*way), runs: Vec::new(), server: 0 }).collect()
}

/// Each client pushes to a new server, in turn.
fn push(sample: &Sample, server: &Server) -> Vec<Row> {
    let ways: Vec<_> = client::all().into_iter().map(|client| (client, Way::Push)).collect();
    let mut rows = rows(&ways);
    for _ in 0..rounds() {
        for ((client, _), row) in ways.iter().zip(&mut rows) {
            let running = server.start();
            row.runs.push(process::measure(client.push(sample, &running.reference())));
            row.server = row.server.max(running.peak());
        }
    }
    rows
}

/// Each client pulls from the same server, in turn.
fn pull(sample: &Sample, server: &Server) -> Vec<Row> {
    let mut ways: Vec<_> = client::all().into_iter().map(|client| (client, Way::Pull)).collect();
    ways.push((Client::Shiplap, Way::Fetch));
    let mut rows = rows(&ways);
    let running = server.start();
    process::measure(Client::Shiplap.push(sample, &running.reference()));
    for _ in 0..rounds() {
        for ((client, way), row) in ways.iter().zip(&mut rows) {
            let into = tempfile::tempdir_in(".").expect("a folder");
            row.runs.push(process::measure(client.pull(*way, &running.reference(), into.path())));
            row.server = running.peak();
        }
    }
    rows
}

/// The fastest and the median run of each, against the fastest of the first, and what it took of memory at most.
fn table(title: &str, mut rows: Vec<Row>) {
    println!("{title} ({} rounds)", rounds());
    rows.iter_mut().for_each(|row| row.runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds)));
    let ours = rows[0].runs[0].seconds;
    for row in &rows {
        let (best, median) = (row.runs[0].seconds, row.runs[row.runs.len() / 2].seconds);
        let peak = row.runs.iter().map(|run| run.peak).max().unwrap_or(0);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "  {:24} best {best:7.2} s  median {median:7.2} s  {:5.2}x  peak {:6.1} MB  server {:6.1} MB",
            row.name,
            best / ours,
            mb(peak),
            mb(row.server)
        );
    }
    println!();
}
