//! The soak: many clients push, pull and delete, space is taken back, and the server is killed with `SIGKILL`, all at the same time and at random.
//!
//! What must hold:
//!
//! - What the server acknowledged and nobody deleted is there: no answer is `BLOB_UNKNOWN`, `MANIFEST_UNKNOWN` or `MANIFEST_BLOB_UNKNOWN` for it. A blob
//!   alone is promised for the grace period of the collections that run.
//! - A release's tag stands for one digest for ever, whoever else pushes it.
//! - Bytes have their digest.
//! - At the end every release can be pulled, and `shiplap verify` finds nothing.
//!
//! `SHIPLAP_SOAK_SECONDS` says how long (20), `SHIPLAP_SOAK_SEED` which random numbers.
//! quay's registry lost blobs in just this test (quay#6318): 40 of 104,135 answers, all within a second of its collector.

mod client;
mod promises;
mod server;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use promises::Promises;
use server::Server;

/// Each pushes, pulls and deletes for itself.
const WORKERS: usize = 6;

/// For how long a blob without a manifest stays. A push that takes longer begins anew.
const GRACE: Duration = Duration::from_secs(8);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_server_is_killed_and_space_is_taken_back() {
    let seconds = setting("SHIPLAP_SOAK_SECONDS").unwrap_or(20);
    let seed = setting("SHIPLAP_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, {seconds} s");
    let home = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::new(home.path()));
    let promises = Arc::new(Promises::default());
    let end = Instant::now() + Duration::from_secs(seconds);

    std::thread::scope(|scope| {
        for number in 0..WORKERS {
            let (server, promises) = (server.clone(), promises.clone());
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(worker::run(number, seed, &server, &promises, end));
            });
        }
        let (killer, collector) = (server.clone(), server.clone());
        let mut random = fastrand::Rng::with_seed(seed ^ 0x6b69_6c6c);
        scope.spawn(move || {
            while Instant::now() < end {
                std::thread::sleep(Duration::from_millis(random.u64(300..2500)));
                killer.kill_and_start();
            }
        });
        scope.spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed ^ 0x6763);
            while Instant::now() < end {
                // Some collections are killed too.
                let patience = random.bool().then(|| Duration::from_millis(random.u64(1..60)));
                collector.collect(GRACE, patience);
                std::thread::sleep(Duration::from_millis(random.u64(50..400)));
            }
        });
    });

    server.kill_and_start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(worker::pull_all(&server, &promises));
    server.collect(GRACE, None);
    runtime.block_on(worker::pull_all(&server, &promises));
    server.verify();
    promises.tell();
}
