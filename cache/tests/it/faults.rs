//! Whatever an object store does, a tier says what it is, in time, and nothing half is kept.

use std::collections::HashSet;
use std::time::Duration;

use shiplap_cache::tier::object::{ObjectOptions, ObjectTier};
use shiplap_cache::tier::{Part, SegmentName, Tier, TierError, TierResult};

use crate::fixture::{Home, Place, bytes, hasty, home, publish};
use crate::front::{Fault, Front};
use crate::s3;

/// A bucket with a segment, a small and a large blob in it, and a front before it.
struct Lab {
    front: Front,
    tier: ObjectTier,
    /// The same, soon tired of what hangs.
    impatient: ObjectTier,
    here: Home,
    name: SegmentName,
    parts: [Part; 2],
    _place: Place,
}

const LARGE: usize = 6 << 20;

impl Lab {
    async fn start() -> Option<Self> {
        let place = Place::bucket()?;
        let here = home();
        let parts = [b"small".to_vec(), bytes(1, LARGE)].map(|b| here.part(&b));
        let name = here.segment(1_790_000_000, b"a segment");
        publish(&place.tier(hasty()), &here, &name, &parts).await;
        let front = Front::before(place.port());
        let tier = |patience| {
            let (backoff, patience) = (Duration::from_millis(1), Duration::from_millis(patience));
            let options = ObjectOptions { attempts: 2, backoff, patience, ..ObjectOptions::default() };
            ObjectTier::open(&place.url, s3::settings(front.port), options).unwrap()
        };
        let (tier, impatient) = (tier(60_000), tier(500));
        Some(Self { front, tier, impatient, here, name, parts, _place: place })
    }

    /// Does everything that a tier can do, with another store, and says how each went.
    async fn everything(&self, tier: &ObjectTier, there: &Home, seed: u32) -> Vec<(&'static str, TierResult<()>)> {
        let store = &there.store;
        let small = self.here.part(format!("new {seed}").as_bytes());
        let large = self.here.part(&bytes(seed, LARGE));
        let name = self.here.segment(1_790_000_001, format!("segment {seed}").as_bytes());
        let none = HashSet::new();
        let old = [SegmentName { time: 1, ..name }];
        vec![
            ("segments", tier.segments().await.map(drop)),
            ("segment", tier.segment(&self.name, 100).await.map(drop)),
            ("read", tier.read(&self.parts[0].blob).await.map(drop)),
            ("fetch", tier.fetch(store, &self.parts[1].blob).await),
            ("range", tier.range(&self.parts[1].blob, 1_000_000, 2_000_000).await.map(drop)),
            ("has", tier.has(&self.parts[0].blob).await.map(drop)),
            ("put", tier.put(&self.here.store, &small).await.map(drop)),
            ("put large", tier.put(&self.here.store, &large).await.map(drop)),
            ("publish", tier.publish(&self.here.store, &name, &[]).await),
            ("remove", tier.remove(&old, &none).await.map(drop)),
        ]
    }

    /// The store is as it should be, for all that is visible.
    async fn is_sound(&self) {
        let there = home();
        for name in self.tier.segments().await.unwrap() {
            self.tier.segment(&name, 100).await.unwrap();
        }
        for part in &self.parts {
            self.tier.fetch(&there.store, &part.blob).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_name_in_each_operation() {
    let Some(lab) = Lab::start().await else { return };
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
        lab.front.fault(fault, |_, _| true);
        let tier = if fault == Fault::Hang { &lab.impatient } else { &lab.tier };
        for (what, went) in lab.everything(tier, &there, 100 + seed as u32).await {
            let error = went.expect_err(what);
            assert!(is(&error), "{fault:?} {what}: {error:?}");
        }
        assert!(lab.front.behave() >= 10, "{fault:?}");
        assert_eq!(there.files(), 0, "{fault:?}");
        lab.is_sound().await;
        for (what, went) in lab.everything(&lab.tier, &there, 100 + seed as u32).await {
            went.unwrap_or_else(|e| panic!("{what} after {fault:?}: {e}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_are_corrupt_and_not_kept() {
    let Some(lab) = Lab::start().await else { return };
    for fault in [Fault::Wrong, Fault::Short] {
        let there = home();
        lab.front.fault(fault, |method, path| method == "GET" && !path.contains("list-type"));
        for (what, went) in lab.everything(&lab.tier, &there, 7).await.into_iter().skip(1).take(4) {
            // Of a part nobody knows the digest: whoever asked for it checks what is in it.
            if (fault, what) == (Fault::Wrong, "range") {
                went.unwrap();
                continue;
            }
            let error = went.expect_err(what);
            assert!(matches!(error, TierError::Corrupt { .. }), "{fault:?} {what}: {error:?}");
        }
        assert_eq!(there.files(), 0, "{fault:?}");
        lab.front.behave();
        lab.is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_outlasted() {
    let Some(lab) = Lab::start().await else { return };
    for (seed, fault) in [Fault::Status(503, ""), Fault::Status(429, "retry-after: 1"), Fault::Reset, Fault::Truncated]
        .into_iter()
        .enumerate()
    {
        let there = home();
        // One after the other, for each has one request that fails.
        lab.front.fault_times(fault, |_, path| !path.contains("nothing"), 1);
        lab.tier.segments().await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(lab.front.behave(), 1);
        lab.front.fault_times(fault, |method, _| method == "GET", 1);
        lab.tier.fetch(&there.store, &lab.parts[1].blob).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(lab.front.behave(), 1);
        there.store.blobs().verify(&lab.parts[1].blob.digest).unwrap();
        let large = lab.here.part(&bytes(900 + seed as u32, LARGE));
        lab.front.fault_times(fault, |method, _| method == "GET", 1);
        let part = lab.tier.range(&lab.parts[1].blob, 5, 3_000_000).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!((lab.front.behave(), part.as_slice()), (1, &bytes(1, LARGE)[5..3_000_005]));
        lab.front.fault_times(fault, |method, _| method == "PUT", 1);
        lab.tier.put(&lab.here.store, &large).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(lab.front.behave(), 1);
        lab.tier.fetch(&there.store, &large.blob).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_it_broke_is_not_fetched_again() {
    let Some(lab) = Lab::start().await else { return };
    let there = home();
    lab.front.fault_times(Fault::Truncated, |method, _| method == "GET", 1);
    lab.tier.fetch(&there.store, &lab.parts[1].blob).await.unwrap();
    let ranges: Vec<_> = lab.front.seen().iter().filter_map(|r| Some(r.split_once("bytes=")?.1.to_owned())).collect();
    assert_eq!(ranges, [format!("{}-{}", LARGE / 2, LARGE - 1)]);
    assert_eq!(lab.front.behave(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_gives_nothing_in_part_says_so() {
    let Some(lab) = Lab::start().await else { return };
    lab.front.fault(Fault::Whole, |method, _| method == "GET");
    let error = lab.tier.range(&lab.parts[1].blob, 1, 5).await.unwrap_err();
    assert!(matches!(error, TierError::Unsupported(_)), "{error:?}");
    let there = home();
    lab.tier.fetch(&there.store, &lab.parts[1].blob).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_in_the_middle_is_given_up() {
    let Some(lab) = Lab::start().await else { return };
    let there = home();
    lab.front.fault(Fault::HangInside, |method, _| method == "GET");
    let error = lab.impatient.range(&lab.parts[1].blob, 0, LARGE as u64).await.unwrap_err();
    assert!(matches!(&error, TierError::Unreachable(why) if why.contains("nothing moved")), "{error}");
    let error = lab.impatient.fetch(&there.store, &lab.parts[1].blob).await.unwrap_err();
    assert!(matches!(&error, TierError::Unreachable(why) if why.contains("nothing moved")), "{error}");
    assert_eq!(there.files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_and_no_bucket_are_told() {
    let here = home();
    let part = here.part(b"x");
    let nobody = ObjectTier::open("s3://bucket", s3::settings(1), hasty()).unwrap();
    assert!(matches!(nobody.segments().await, Err(TierError::Unreachable(_))));
    assert!(matches!(nobody.put(&here.store, &part).await, Err(TierError::Unreachable(_))));
    let Some(lab) = Lab::start().await else { return };
    let none = ObjectTier::open("s3://no-such-bucket", s3::settings(lab.front.port), hasty()).unwrap();
    let error = none.segments().await.unwrap_err();
    assert!(matches!(&error, TierError::Missing(why) if why.contains("NoSuchBucket")), "{error}");
    assert!(matches!(none.put(&here.store, &part).await, Err(TierError::Missing(_))));
}

/// A small file system of its own, as long as it is held.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// None where nobody may mount.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if !run("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs", dir.path().to_str().unwrap()]) {
            eprintln!("skipped: nothing can be mounted here");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.0.path().to_str().unwrap()]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    std::process::Command::new(program).args(args).status().is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_full_or_read_only_says_so_and_has_nothing_half() {
    let Some(mounted) = Mounted::new() else { return };
    let place = mounted.0.path().to_str().unwrap().to_owned();
    let tier = ObjectTier::open(&format!("file://{place}"), [("", ""); 0], hasty()).unwrap();
    let (here, there) = (home(), home());
    let (small, middle, large) = (here.part(b"small"), here.part(&bytes(1, 3 << 20)), here.part(&bytes(2, LARGE)));
    let name = here.segment(1, b"s");
    publish(&tier, &here, &name, std::slice::from_ref(&small)).await;
    for part in [&middle, &large] {
        let error = tier.put(&here.store, part).await.unwrap_err();
        assert!(matches!(error, TierError::Full(_)), "{error:?}");
    }
    tier.fetch(&there.store, &small.blob).await.unwrap();
    let files = std::fs::read_dir(mounted.0.path().join("shiplap-cache/v1/blobs")).unwrap().count();
    assert_eq!(files, 1, "nothing half");

    assert!(run("mount", &["-o", "remount,ro", &place]));
    let other = here.part(b"other");
    for error in [
        tier.put(&here.store, &other).await.unwrap_err(),
        tier.publish(&here.store, &here.segment(2, b"t"), &[]).await.unwrap_err(),
        tier.remove(&[name], &HashSet::new()).await.unwrap_err(),
    ] {
        assert!(matches!(error, TierError::Denied(_)), "{error:?}");
    }
    assert_eq!(tier.segments().await.unwrap(), [name], "it can be read all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_full_disk_is_not_the_tiers_fault() {
    let Some(mounted) = Mounted::new() else { return };
    let place = Place::folder();
    let tier = place.tier(hasty());
    let here = home();
    let large = here.part(&bytes(1, 3 << 20));
    publish(&tier, &here, &here.segment(1, b"s"), std::slice::from_ref(&large)).await;
    let there = shiplap_cache::Store::open(mounted.0.path()).unwrap();
    let error = tier.fetch(&there, &large.blob).await.unwrap_err();
    assert!(matches!(error, TierError::Here(_)), "{error:?}");
    assert_eq!(there.blobs().all().unwrap(), []);
}
