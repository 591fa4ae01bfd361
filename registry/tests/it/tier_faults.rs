//! Whatever a registry does, its tier says what it is, in time, and nothing half is kept; and many may use it at once.

use std::collections::HashSet;
use std::time::Duration;

use shiplap_cache::tier::{Part, SegmentName, Tier, TierBlob, TierError, TierResult};
use shiplap_registry::{Client, ClientOptions, RegistryTier, Repository};

use crate::fake::{Fake, answer};
use crate::faulty::{Fault, Front};
use crate::fixture::{Home, client, home};

use crate::server::Server;
use crate::tiers::{Registries, part, publish, segment};

fn large(seed: u32) -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

/// A repository with a segment, a small and a large blob in it, and a front before it.
struct Lab {
    front: Front,
    here: Home,
    name: SegmentName,
    parts: [Part; 2],
    _server: Server,
}

impl Lab {
    async fn start() -> Self {
        let (server, here) = (Server::start(), home());
        let parts = [b"small".to_vec(), large(1)].map(|bytes| part(&here, &bytes));
        let name = segment(&here, 1_790_000_000, b"a segment");
        let tier = RegistryTier::new(client(), server.repository("campus/cache"));
        publish(&tier, &here, &name, &parts).await;
        let front = Front::before(server.port);
        Self { front, here, name, parts, _server: server }
    }

    /// A tier that knows nothing of the registry yet. Of something that hangs it is soon tired.
    fn tier(&self, fault: Fault) -> RegistryTier {
        let hangs = matches!(fault, Fault::Hang | Fault::HangInside);
        let (backoff, patience) = (Duration::from_millis(1), Duration::from_millis(if hangs { 500 } else { 60_000 }));
        let client = Client::new(ClientOptions { attempts: 3, backoff, patience, ..ClientOptions::default() });
        let repository: Repository = format!("127.0.0.1:{}/campus/cache", self.front.port).parse().unwrap();
        RegistryTier::new(client, repository)
    }

    async fn everything(&self, tier: RegistryTier, there: &Home, seed: u32) -> Vec<(&'static str, TierResult<()>)> {
        let own = self.here.store();
        let small = part(&self.here, format!("new {seed}").as_bytes());
        let new = part(&self.here, &large(seed));
        let name = segment(&self.here, 1_790_000_001, format!("segment {seed}").as_bytes());
        let none = HashSet::new();
        vec![
            ("segments", tier.segments().await.map(drop)),
            ("segment", tier.segment(&self.name, 100).await.map(drop)),
            ("read", tier.read(&self.parts[0].blob).await.map(drop)),
            ("fetch", tier.fetch(there.store(), &self.parts[1].blob).await),
            ("range", tier.range(&self.parts[1].blob, 100_000, 150_000).await.map(drop)),
            ("has", tier.has(&self.parts[0].blob).await.map(drop)),
            ("put", tier.put(own, &small).await.map(drop)),
            ("put large", tier.put(own, &new).await.map(drop)),
            ("publish", tier.publish(own, &name, &[]).await),
            ("remove", tier.remove(&[name], &none).await.map(drop)),
        ]
    }

    async fn is_sound(&self) {
        let (tier, there) = (self.tier(Fault::Short), home());
        for name in tier.segments().await.unwrap() {
            tier.segment(&name, 100).await.unwrap();
        }
        for part in &self.parts {
            tier.fetch(there.store(), &part.blob).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_name_in_each_operation() {
    let lab = Lab::start().await;
    type Is = fn(&TierError) -> bool;
    let unreachable: Is = |e| matches!(e, TierError::Unreachable(_));
    let denied: Is = |e| matches!(e, TierError::Denied(_));
    let full: Is = |e| matches!(e, TierError::Full(_));
    for (seed, (fault, is)) in [
        (Fault::Status(500, ""), unreachable),
        (Fault::Status(503, ""), unreachable),
        (Fault::Status(429, "retry-after: 0"), unreachable),
        (Fault::Status(401, ""), denied),
        (Fault::Status(403, ""), denied),
        (Fault::Status(507, ""), full),
        (Fault::Reset, unreachable),
        (Fault::Truncated, unreachable),
        (Fault::Hang, unreachable),
    ]
    .into_iter()
    .enumerate()
    {
        let there = home();
        // The way to the registry is asked for by itself.
        lab.front.fault(fault, |_, path| path != "/v2/");
        for (what, went) in lab.everything(lab.tier(fault), &there, 100 + seed as u32).await {
            // That an upload was taken without a word to say so is no fault.
            if matches!(fault, Fault::Reset | Fault::Truncated) && went.is_ok() {
                assert!(["put", "put large", "publish", "remove"].contains(&what), "{fault:?} {what}");
                continue;
            }
            let error = went.expect_err(what);
            assert!(is(&error), "{fault:?} {what}: {error:?}");
        }
        assert!(lab.front.behave() >= 10, "{fault:?}");
        assert_eq!(there.kept().0, 0, "{fault:?}");
        lab.is_sound().await;
        for (what, went) in lab.everything(lab.tier(Fault::Short), &there, 100 + seed as u32).await {
            went.unwrap_or_else(|e| panic!("{what} after {fault:?}: {e}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_are_corrupt_and_not_kept() {
    let lab = Lab::start().await;
    for fault in [Fault::Wrong, Fault::Short] {
        let there = home();
        lab.front.fault(fault, |method, path| method == "GET" && path.contains("/blobs/"));
        for (what, went) in lab.everything(lab.tier(fault), &there, 7).await.into_iter().skip(1).take(4) {
            // Of a part nobody knows the digest: whoever asked for it checks what is in it.
            if (fault, what) == (Fault::Wrong, "range") {
                went.unwrap();
                continue;
            }
            let error = went.expect_err(what);
            assert!(matches!(error, TierError::Corrupt { .. }), "{fault:?} {what}: {error:?}");
        }
        assert_eq!(there.kept().0, 0, "{fault:?}");
        lab.front.behave();
        lab.is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_outlasted_and_what_came_is_not_fetched_again() {
    let lab = Lab::start().await;
    let mut seen = Vec::new();
    for fault in [
        Fault::Status(503, ""),
        Fault::Status(429, "retry-after: 0"),
        Fault::Reset,
        Fault::Truncated,
        Fault::HangInside,
    ] {
        let (tier, there) = (lab.tier(fault), home());
        lab.front.fault_times(fault, |_, path| path.contains("/tags/"), 1);
        assert!(tier.segments().await.unwrap_or_else(|e| panic!("{fault:?}: {e}")).contains(&lab.name));
        assert_eq!(lab.front.behave(), 1);
        lab.front.fault_times(fault, |method, path| method == "GET" && path.contains("/blobs/"), 1);
        tier.fetch(there.store(), &lab.parts[1].blob).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(lab.front.behave(), 1);
        there.store().blobs().verify(&lab.parts[1].blob.digest).unwrap();
        seen.extend(lab.front.seen());
        lab.front.fault_times(fault, |method, path| method == "GET" && path.contains("/blobs/"), 1);
        let part = tier.range(&lab.parts[1].blob, 5, 100).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!((lab.front.behave(), part.as_slice()), (1, &large(1)[5..105]));
    }
    assert!(seen.iter().any(|seen| seen.ends_with("bytes=150000-")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_gives_nothing_in_part_says_so() {
    let lab = Lab::start().await;
    let tier = lab.tier(Fault::Whole);
    lab.front.fault(Fault::Whole, |method, path| method == "GET" && path.contains("/blobs/"));
    let error = tier.range(&lab.parts[1].blob, 1, 5).await.unwrap_err();
    assert!(matches!(error, TierError::Unsupported(_)), "{error:?}");
    tier.fetch(home().store(), &lab.parts[1].blob).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_other_than_the_one_that_was_asked_for_is_corrupt() {
    for (range, body) in [("bytes 0-4/10", "01234"), ("bytes 1-5/11", "12345"), ("bytes 1-5/10", "1234"), ("", "12345")]
    {
        let fake = Fake::start(move |r| match r.path.contains("/blobs/") {
            true => answer(206).with("content-range", range).body(body),
            false => answer(200),
        });
        let tier = RegistryTier::new(client(), format!("127.0.0.1:{}/x", fake.port).parse().unwrap());
        let blob = TierBlob { digest: shiplap_cache::Digest::of(b"0123456789"), size: 10 };
        let error = tier.range(&blob, 1, 5).await.unwrap_err();
        assert!(matches!(error, TierError::Corrupt { .. }), "{range} {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_deletes_nothing_says_so_and_one_that_deletes_tags_alone_is_understood() {
    let here = home();
    let name = segment(&here, 1_790_000_000, b"s");
    let tag = format!("shiplap-cache-{name}");
    let unsupported = r#"{"errors":[{"code":"UNSUPPORTED","message":"not here"}]}"#;
    for (by_digest, by_tag) in [(405, 405), (400, 405), (405, 202), (202, 405)] {
        let list = serde_json::json!({"name": "x", "tags": [&tag]}).to_string();
        let own = tag.clone();
        let fake = Fake::start(move |r| match r.method.as_str() {
            "GET" if r.path.contains("/tags/list") => answer(200).body(list.clone()),
            "HEAD" => answer(200).with("docker-content-digest", shiplap_cache::Digest::of(b"manifest")),
            "DELETE" if r.path.ends_with(&own) => answer(by_tag).body(unsupported),
            "DELETE" => answer(by_digest).body(unsupported),
            _ => answer(200),
        });
        let tier = RegistryTier::new(client(), format!("127.0.0.1:{}/x", fake.port).parse().unwrap());
        let swept = tier.remove(&[name], &HashSet::new()).await;
        match by_digest == 202 || by_tag == 202 {
            true => assert_eq!(swept.unwrap().segments, 1),
            false => assert!(matches!(swept, Err(TierError::Unsupported(why)) if why.contains("not here"))),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_the_registry_does_not_see_for_an_instant_is_waited_for() {
    let here = home();
    let name = segment(&here, 1_790_000_000, b"s");
    let unknown =
        r#"{"errors":[{"code":"DIGEST_INVALID","message":"x"},{"code":"MANIFEST_BLOB_UNKNOWN","message":"y"}]}"#;
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::start(move |r| match r.method.as_str() {
        "PUT" if r.path.contains("/manifests/") => match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => answer(400).body(unknown),
            _ => answer(201),
        },
        "HEAD" if r.path.contains("/manifests/") => answer(404),
        _ => answer(200),
    });
    let tier = RegistryTier::new(client(), format!("127.0.0.1:{}/x", fake.port).parse().unwrap());
    tier.publish(here.store(), &name, &[]).await.unwrap();
    assert_eq!(fake.count("PUT", "/manifests/"), 2);
}

const WRITERS: u32 = 10;
const ROUNDS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn what_ten_publish_at_once_is_all_there_and_right_for_whoever_reads_meanwhile() {
    let registries = Registries::start().await;
    for repository in registries.repositories("campus/cache") {
        let tier = || RegistryTier::new(client(), repository.clone());
        let write = async |writer: u32, tier: RegistryTier| {
            let (here, mut published) = (home(), Vec::new());
            for round in 0..ROUNDS {
                // One blob is everybody's, and one its own.
                let all = [format!("all of {round}"), format!("{writer} of {round}")];
                let parts = all.each_ref().map(|text| part(&here, text.as_bytes()));
                for part in &parts {
                    tier.put(here.store(), part).await.unwrap();
                }
                let lines: Vec<_> = parts.iter().map(|p| format!("{} {}", p.blob.digest, p.blob.size)).collect();
                let text = format!("{writer} {round}\n{}", lines.join("\n"));
                let name = segment(&here, 1_790_000_000 + i64::from(round), text.as_bytes());
                tier.publish(here.store(), &name, &parts).await.unwrap();
                published.push(name);
            }
            published
        };
        let read = async |tier: RegistryTier| {
            let (there, mut known) = (home(), HashSet::new());
            while known.len() < (WRITERS * ROUNDS) as usize {
                let names = tier.segments().await.unwrap();
                assert!(known.iter().all(|name| names.contains(name)), "what was there stays there");
                let new: Vec<_> = names.into_iter().filter(|name| known.insert(*name)).collect();
                for name in new {
                    let text = String::from_utf8(tier.segment(&name, 10_000).await.unwrap()).unwrap();
                    for line in text.lines().skip(1) {
                        let (digest, size) = line.split_once(' ').unwrap();
                        let blob = TierBlob { digest: digest.parse().unwrap(), size: size.parse().unwrap() };
                        tier.fetch(there.store(), &blob).await.unwrap();
                        there.store().blobs().verify(&blob.digest).unwrap();
                    }
                }
            }
        };
        let writers = futures::future::join_all((0..WRITERS).map(|writer| write(writer, tier())));
        let (published, ()) = tokio::join!(writers, read(tier()));
        let mut names: Vec<_> = published.into_iter().flatten().collect();
        names.sort();
        assert_eq!(tier().segments().await.unwrap(), names, "{repository}");
    }
}
