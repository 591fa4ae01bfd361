//! A client that does this and that.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use shiplap_cache::Digest;

use crate::client::{Client, Put, Result};
use crate::promises::{Name, Promises};
use crate::server::Server;
use crate::{GRACE, WORKERS};

const REPOSITORIES: [&str; 3] = ["campus/openedx", "campus/mfe", "other/openedx"];

pub async fn run(number: usize, seed: u64, server: &Server, promises: &Promises, end: Instant) {
    let random = Rng::with_seed(seed ^ (number as u64) << 32);
    let mut worker = Worker { number, random, promises, moving: None };
    while Instant::now() < end {
        let client = Client::new(server);
        let done = match worker.random.u32(..10) {
            0..3 => worker.release(&client).await,
            3..6 => worker.push_moving(&client).await,
            6..9 => worker.pull(&client).await,
            _ => worker.delete(&client).await,
        };
        if done.is_err() {
            promises.broken_off.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Pulls every release.
pub async fn pull_all(server: &Server, promises: &Promises) {
    let client = Client::new(server);
    for (name, digest) in promises.all() {
        check(&client, promises, &name, &digest).await.expect("nobody kills the server now");
    }
}

struct Worker<'a> {
    number: usize,
    random: Rng,
    promises: &'a Promises,
    /// The tag that only this worker moves, and what it stands for as far as that is known.
    moving: Option<(Name, Option<Digest>)>,
}

impl Worker<'_> {
    /// Pushes an image under a release's tag, sometimes one that others want too.
    async fn release(&mut self, client: &Client) -> Result<()> {
        let repository = self.repository();
        let commit = match self.random.bool() {
            true => format!("{:012x}", self.random.u64(..1 << 48)),
            // Some race for one tag.
            false => format!("{:012x}", self.random.u64(..40)),
        };
        let name = (repository.to_owned(), format!("1.0.0-g{commit}"));
        match self.push(client, &name).await? {
            Some(Pushed { manifest, put: Put::Created }) => self.promises.released(&name, manifest),
            Some(Pushed { put: Put::Conflict(existing), .. }) => {
                self.promises.conflicts.fetch_add(1, Ordering::Relaxed);
                self.promises.taken(&name, existing);
                // What refused is there.
                let bytes = client.manifest(&name.0, &name.1).await?;
                assert_eq!(bytes.map(|bytes| Digest::of(&bytes)), Some(existing), "{name:?} refused and is not there");
            }
            _ => {}
        }
        Ok(())
    }

    /// Moves the worker's own tag.
    async fn push_moving(&mut self, client: &Client) -> Result<()> {
        let name = (self.repository().to_owned(), format!("moving-{}", self.number));
        let name = self.moving.take().map_or(name, |(name, _)| name);
        // Until it is acknowledged it may be the one or the other.
        self.moving = Some((name.clone(), None));
        if let Some(Pushed { manifest, put: Put::Created }) = self.push(client, &name).await? {
            self.moving = Some((name, Some(manifest)));
        }
        Ok(())
    }

    async fn pull(&mut self, client: &Client) -> Result<()> {
        let own = self.moving.clone().and_then(|(name, digest)| Some((name, digest?)));
        let one = if self.random.bool() { own } else { None };
        match one.or_else(|| self.promises.any(&mut self.random)) {
            Some((name, digest)) => check(client, self.promises, &name, &digest).await,
            None => Ok(()),
        }
    }

    /// Deletes the worker's own tag, and sometimes what it stood for.
    async fn delete(&mut self, client: &Client) -> Result<()> {
        let Some((name, Some(digest))) = self.moving.clone() else { return Ok(()) };
        self.moving = Some((name.clone(), None));
        let was_there = client.delete(&name.0, &name.1).await?;
        assert!(was_there, "{name:?} was acknowledged and is not there");
        assert_eq!(client.manifest(&name.0, &name.1).await?, None, "{name:?} was deleted");
        self.promises.deletes.fetch_add(1, Ordering::Relaxed);
        // Others may have released the very same image: then it stays, for the tag of a release is never deleted.
        if self.random.bool() && !self.promises.all().iter().any(|(_, released)| *released == digest) {
            self.moving = None;
            client.delete(&name.0, &digest.to_string()).await?;
        }
        Ok(())
    }

    fn repository(&mut self) -> &'static str {
        REPOSITORIES[self.random.usize(..REPOSITORIES.len())]
    }

    /// Pushes an image. None when it took so long that blobs may be gone again.
    async fn push(&mut self, client: &Client, name: &Name) -> Result<Option<Pushed>> {
        let begin = Instant::now();
        let (manifest, blobs) = self.image();
        for bytes in &blobs {
            let blob = Digest::of(bytes);
            if client.has_blob(&name.0, &blob).await? {
                continue;
            }
            let from = self.repository();
            if from != name.0 && self.random.bool() && client.mount(&name.0, &blob, from).await? {
                continue;
            }
            client.push_blob(&name.0, bytes, self.random.usize(..4)).await?;
        }
        let digest = Digest::of(&manifest);
        self.promises.contains(digest, blobs.iter().map(|bytes| Digest::of(bytes)).collect());
        let put = client.put_manifest(&name.0, &name.1, &manifest).await?;
        if let Put::Missing(what) = &put {
            assert!(begin.elapsed() + Duration::from_secs(1) > GRACE, "acknowledged and lost: {what}");
            return Ok(None);
        }
        self.promises.pushes.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Pushed { manifest: digest, put }))
    }

    /// An image of a config and some layers. Some layers are those of other workers' images, some of nobody's.
    fn image(&mut self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let random = &mut self.random;
        let own = random.u64(..) % 97 * WORKERS as u64 + self.number as u64;
        let config = json!({"architecture": "amd64", "os": "linux", "author": own.to_string()}).to_string();
        let layers = (0..random.usize(1..4)).map(|_| match random.bool() {
            true => layer(random.u64(..12)),
            false => layer(random.u64(1000..100_000)),
        });
        let mut blobs: Vec<Vec<u8>> = vec![config.into_bytes()];
        blobs.extend(layers);
        let part = |media_type: &str, bytes: &Vec<u8>| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let layers: Vec<Value> =
            blobs[1..].iter().map(|bytes| part("application/vnd.oci.image.layer.v1.tar", bytes)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("application/vnd.oci.image.config.v1+json", &blobs[0]), "layers": layers,
        });
        (manifest.to_string().into_bytes(), blobs)
    }
}

struct Pushed {
    manifest: Digest,
    put: Put,
}

/// Up to 300 kB that are the same for the same number.
fn layer(number: u64) -> Vec<u8> {
    let mut random = Rng::with_seed(number);
    let mut bytes = vec![0; random.usize(1..300_000)];
    random.fill(&mut bytes);
    bytes
}

/// Pulls an image that was acknowledged.
async fn check(client: &Client, promises: &Promises, name: &Name, digest: &Digest) -> Result<()> {
    let manifest = client.manifest(&name.0, &name.1).await?;
    let found = manifest.as_ref().map(|bytes| Digest::of(bytes));
    assert_eq!(found, Some(*digest), "{name:?} was acknowledged for {digest}");
    for blob in promises.blobs(digest) {
        let bytes = client.blob(&name.0, &blob).await?;
        let found = bytes.as_ref().map(|bytes| Digest::of(bytes));
        assert_eq!(found, Some(blob), "{blob} of {name:?}");
    }
    promises.pulls.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
