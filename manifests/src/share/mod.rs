//! One history for CI, operators and several machines: each keeps its own, and all keep the same entries in a place that they share.
//!
//! Whoever is about to add to an instance's log claims it there first, adds to the history of this machine as always, and then publishes: entries and the end
//! of the claim are one write. A place takes a write only from who has seen all writes before it, so of two claims one comes first, and the other is told
//! by whom and when. A process that dies leaves its claim; the next command of the same store goes on with it, and publishes what it finished.

mod git;
mod registry;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shiplap_cache::Digest;

pub use git::GitPlace;
pub use registry::{Fetched, Pages, RegistryPlace};

use crate::deployment::Hold;
use crate::history::{History, Logged};
use crate::log::LogEvent;
use crate::names::InstanceName;
use crate::{Error, Result};

/// How often a write is tried again when others were first. Theirs are about other instances, or a claim that ends.
const TRIES: u32 = 10;

/// Files of one moment, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Why a shared place could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It cannot be reached, or refuses.
    #[error("the shared history {place} cannot be {what}: {why}")]
    Place {
        /// Where.
        place: String,
        /// `read` or `written`.
        what: &'static str,
        /// What was said.
        why: String,
    },
    /// Others wrote each time.
    #[error("others wrote to the shared history {0} at the same moment, again and again: try again")]
    Busy(String),
    /// Somebody else is at it.
    #[error(
        "`{instance}` is being changed by {actor} since {since}: wait for it to end; if it died, any deploy, rollback or release there ends it. If that machine does not come back, look at its deploy targets and go on with --break-claim ({file} in {place})"
    )]
    Claimed {
        /// Which instance.
        instance: InstanceName,
        /// Who is at it.
        actor: String,
        /// Since when.
        since: Timestamp,
        /// The claim's file.
        file: String,
        /// Where.
        place: String,
    },
    /// The two histories are not one.
    #[error(
        "the history of `{instance}` here and in {place} differ from entry {position} on: one of them was written anew, or something was recorded here without the other; `shiplap log {instance}` shows what is here"
    )]
    Diverged {
        /// Which instance.
        instance: InstanceName,
        /// Where.
        place: String,
        /// The first entry that is not the same.
        position: u64,
    },
    /// A file there is not what it must be.
    #[error("`{file}` of the shared history {place} {why}; nothing was taken from it")]
    Damaged {
        /// Which.
        file: String,
        /// Where.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A state of a place, as it was when somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(pub Option<String>);

/// A place that several histories share.
pub trait Place {
    /// What it is called in messages; no credentials.
    fn name(&self) -> String;

    /// Looks at it anew.
    ///
    /// # Errors
    /// It cannot be reached.
    fn refresh(&self) -> Result<Snapshot, ShareError>;

    /// The paths of all files.
    ///
    /// # Errors
    /// It cannot be read.
    fn list(&self, at: &Snapshot) -> Result<Vec<String>, ShareError>;

    /// The content of files.
    ///
    /// # Errors
    /// One is not there, or cannot be read.
    fn read(&self, at: &Snapshot, paths: &[String]) -> Result<Files, ShareError>;

    /// Adds and removes files, if the place is as it was at `base`; says whether it was.
    ///
    /// # Errors
    /// It cannot be written. Nothing was then.
    fn write(&self, base: &Snapshot, add: &Files, remove: &[String], message: &str) -> Result<bool, ShareError>;

    /// What is wrong with the place itself since it was looked at, beyond its files: each in a sentence.
    ///
    /// # Errors
    /// It cannot be read.
    fn audit(&self) -> Result<Vec<String>, ShareError> {
        Ok(Vec::new())
    }
}

/// Who is about to add to an instance's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    actor: String,
    since: Timestamp,
    /// The store that it is of.
    store: String,
}

/// What a place has of an instance: positions and hashes of the entries, and whether it is claimed.
#[derive(Debug, Default)]
struct Shown {
    entries: Vec<(u64, Digest, String)>,
    manifests: BTreeMap<Digest, String>,
    claim: Option<String>,
    hold: Option<String>,
}

fn entry_file(instance: &InstanceName, position: u64, hash: &Digest) -> String {
    format!("{instance}/log/{position:06}-{}.json", hash.hex())
}

fn manifest_file(instance: &InstanceName, digest: &Digest) -> String {
    format!("{instance}/releases/{}.json", digest.hex())
}

fn hold_file(instance: &InstanceName) -> String {
    format!("{instance}/hold.json")
}

fn claim_file(instance: &InstanceName) -> String {
    format!("{instance}/claim.json")
}

/// The instances of a place. Files of other names are nobody's business.
fn shown(place: &dyn Place, at: &Snapshot) -> Result<BTreeMap<InstanceName, Shown>, ShareError> {
    let mut all: BTreeMap<InstanceName, Shown> = BTreeMap::new();
    for path in place.list(at)? {
        let mut parts = path.split('/');
        let (Some(instance), Some(kind)) = (parts.next().and_then(|name| name.parse().ok()), parts.next()) else {
            continue;
        };
        let shown = all.entry(instance).or_default();
        let stem = parts.next().and_then(|file| file.strip_suffix(".json"));
        let digest = |hex: &str| format!("sha256:{hex}").parse::<Digest>().ok();
        match (kind, stem) {
            ("log", Some(stem)) => {
                let entry =
                    stem.split_once('-').and_then(|(position, hex)| Some((position.parse().ok()?, digest(hex)?)));
                shown.entries.extend(entry.map(|(position, hash)| (position, hash, path.clone())));
            }
            ("releases", Some(stem)) => shown.manifests.extend(digest(stem).map(|digest| (digest, path.clone()))),
            ("claim.json", None) => shown.claim = Some(path.clone()),
            ("hold.json", None) => shown.hold = Some(path.clone()),
            _ => {}
        }
    }
    all.values_mut().for_each(|shown| shown.entries.sort());
    Ok(all)
}

/// Takes over what others published, of all instances.
///
/// # Errors
/// The place cannot be read, or the two histories are not one.
pub fn pull(history: &mut History, place: &dyn Place) -> Result<()> {
    let at = place.refresh()?;
    let store = history.store_id()?;
    for (instance, shown) in shown(place, &at)? {
        take_over(history, place, &at, &instance, &shown)?;
        // While it is claimed for this store, what is here is newer.
        if claim_of(place, &at, &shown)?.is_none_or(|claim| claim.store != store) {
            mirror_hold(history, place, &at, &instance, &shown)?;
        }
    }
    Ok(())
}

fn claim_of(place: &dyn Place, at: &Snapshot, shown: &Shown) -> Result<Option<Claim>, ShareError> {
    shown.claim.as_ref().map(|path| document(place, at, path)).transpose()
}

fn mirror_hold(
    history: &mut History,
    place: &dyn Place,
    at: &Snapshot,
    instance: &InstanceName,
    shown: &Shown,
) -> Result<()> {
    let hold: Option<Hold> = shown.hold.as_ref().map(|path| document(place, at, path)).transpose()?;
    history.mirror_hold(instance, hold.as_ref())
}

fn document<T: serde::de::DeserializeOwned>(place: &dyn Place, at: &Snapshot, path: &String) -> Result<T, ShareError> {
    let bytes = place.read(at, std::slice::from_ref(path))?.remove(path).unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|e| damaged(place, path, format!("cannot be read: {e}")))
}

/// Takes over the entries that are not here; says how many of those here are there.
fn take_over(
    history: &mut History,
    place: &dyn Place,
    at: &Snapshot,
    instance: &InstanceName,
    shown: &Shown,
) -> Result<u64> {
    let here = history.hashes(instance)?;
    for ((position, hash, file), n) in shown.entries.iter().zip(1..) {
        if *position != n {
            return Err(
                damaged(place, file, format!("is entry {position}, and entry {n} is missing or there twice")).into()
            );
        }
        if here.get(n as usize - 1).is_some_and(|ours| ours != hash) {
            return Err(ShareError::Diverged { instance: instance.clone(), place: place.name(), position: n }.into());
        }
    }
    let new = shown.entries.get(here.len()..).unwrap_or_default();
    if new.is_empty() {
        return Ok(shown.entries.len() as u64);
    }
    let paths: Vec<String> = new.iter().map(|(_, _, file)| file.clone()).collect();
    let files = place.read(at, &paths)?;
    let mut entries = Vec::new();
    for (_, hash, file) in new {
        let bytes = files.get(file).map(Vec::as_slice).unwrap_or_default();
        if Digest::of(bytes) != *hash {
            return Err(damaged(place, file, "does not have the hash of its name".to_owned()).into());
        }
        let entry = serde_json::from_slice(bytes).map_err(|e| damaged(place, file, format!("cannot be read: {e}")))?;
        entries.push((Logged { hash: *hash, entry }, String::from_utf8_lossy(bytes).into_owned()));
    }
    // The manifests first: a row never leads nowhere.
    let wanted = entries.iter().filter_map(|(logged, _)| match &logged.entry.event {
        LogEvent::Release(release) => Some(release.digest),
        LogEvent::Deployment(_) => None,
    });
    let mut paths = Vec::new();
    for digest in wanted {
        let missing = || damaged(place, &manifest_file(instance, &digest), "is missing".to_owned());
        paths.push((digest, shown.manifests.get(&digest).ok_or_else(missing)?.clone()));
    }
    let files = place.read(at, &paths.iter().map(|(_, file)| file.clone()).collect::<Vec<_>>())?;
    for (digest, file) in &paths {
        let bytes = files.get(file).map(Vec::as_slice).unwrap_or_default();
        if Digest::of(bytes) != *digest {
            return Err(damaged(place, file, "does not have the digest of its name".to_owned()).into());
        }
        history.blobs().put(bytes)?;
    }
    history.import(instance, &entries)?;
    Ok(shown.entries.len() as u64)
}

fn damaged(place: &dyn Place, file: &str, why: String) -> ShareError {
    ShareError::Damaged { file: file.to_owned(), place: place.name(), why }
}

/// The right to add to an instance's log, which nobody else has until it is published.
pub struct Claimed<'a> {
    place: &'a dyn Place,
    instance: InstanceName,
    _lock: crate::history::Lock,
}

/// What becomes of the claim of another store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It stands: whoever claims comes too late.
    Respected,
    /// It is given up: its machine does not come back. What was recorded there and not published is lost to all others.
    Broken,
}

/// Claims an instance, after taking over what others published.
///
/// # Errors
/// [`ShareError::Claimed`] by whom and since when, [`Error::Busy`] by a process of this store, or the place cannot be read or written.
pub fn claim<'a>(
    history: &mut History,
    place: &'a dyn Place,
    instance: &InstanceName,
    actor: &str,
    standing: Standing,
) -> Result<Claimed<'a>> {
    let lock = history.lock_shared(instance, actor)?;
    let store = history.store_id()?;
    let file = claim_file(instance);
    for _ in 0..TRIES {
        let at = place.refresh()?;
        let shown = shown(place, &at)?.remove(instance).unwrap_or_default();
        take_over(history, place, &at, instance, &shown)?;
        match claim_of(place, &at, &shown)? {
            Some(claim) if claim.store != store && standing == Standing::Respected => {
                let (actor, since, place) = (claim.actor, claim.since, place.name());
                return Err(ShareError::Claimed { instance: instance.clone(), actor, since, file, place }.into());
            }
            // It was given up by who claims now.
            Some(claim) if claim.store != store => mirror_hold(history, place, &at, instance, &shown)?,
            // A process of this store died with it: what it recorded is here, and not there yet.
            Some(_) => {}
            // A history that was never shared has its holds to tell.
            None if shown.entries.is_empty() => {}
            None => mirror_hold(history, place, &at, instance, &shown)?,
        }
        let claim = Claim { actor: actor.to_owned(), since: crate::now(), store: store.clone() };
        let files = Files::from([(file.clone(), crate::canonical::to_vec(&claim)?)]);
        if place.write(&at, &files, &[], &format!("{instance}: claimed by {actor}"))? {
            return Ok(Claimed { place, instance: instance.clone(), _lock: lock });
        }
    }
    Err(ShareError::Busy(place.name()).into())
}

impl Claimed<'_> {
    /// Publishes what was added since, and ends the claim.
    ///
    /// # Errors
    /// The place cannot be written: the claim is still there then, and the next command of this store publishes.
    pub fn publish(self, history: &mut History) -> Result<()> {
        let (place, instance) = (self.place, &self.instance);
        for _ in 0..TRIES {
            let at = place.refresh()?;
            let shown = shown(place, &at)?.remove(instance).unwrap_or_default();
            let there = take_over(history, place, &at, instance, &shown)?;
            let (mut files, mut message) = (Files::new(), format!("{instance}: nothing was changed"));
            for (logged, record) in history.records_after(instance, there)? {
                if let LogEvent::Release(release) = &logged.entry.event {
                    files.insert(manifest_file(instance, &release.digest), history.blobs().read(&release.digest)?);
                }
                message = format!("{instance}: {}", logged.entry.words());
                files.insert(entry_file(instance, logged.entry.position.0, &logged.hash), record.into_bytes());
            }
            let mut gone = vec![claim_file(instance)];
            match history.hold(instance)? {
                Some(hold) => drop(files.insert(hold_file(instance), crate::canonical::to_vec(&hold)?)),
                None => gone.extend(shown.hold),
            }
            if place.write(&at, &files, &gone, &message)? {
                return Ok(());
            }
        }
        Err(Error::Share(ShareError::Busy(place.name())))
    }
}
