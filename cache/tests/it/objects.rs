//! What a tier in an object store does, in each kind that can be had here.

use std::collections::HashSet;
use std::time::Duration;

use shiplap_cache::tier::object::ObjectOptions;
use shiplap_cache::tier::{SegmentName, Tier, TierBlob, TierError};
use shiplap_cache::{Digest, Error};

use crate::fixture::{Place, bytes, hasty, home, publish};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_machine_puts_another_gets() {
    for place in Place::all() {
        let tier = place.tier(hasty());
        let (here, there) = (home(), home());
        assert_eq!(tier.segments().await.unwrap(), [], "{place}: nobody was here yet");
        // Small, empty, and in several pieces.
        let parts = [b"small".to_vec(), Vec::new(), bytes(1, 12 << 20), bytes(2, 10 << 20)].map(|b| here.part(&b));
        let first = here.segment(1_790_000_000, b"first");
        for part in &parts {
            assert_eq!(tier.put(&here.store, part).await.unwrap(), part.blob.size, "{place}");
            assert_eq!(tier.put(&here.store, part).await.unwrap(), 0, "{place}: it is there");
        }
        assert_eq!(tier.segments().await.unwrap(), [], "{place}: nothing is published yet");
        tier.publish(&here.store, &first, &parts).await.unwrap();
        let second = here.segment(1_790_000_001, &bytes(3, 6 << 20));
        tier.publish(&here.store, &second, &[]).await.unwrap();
        tier.publish(&here.store, &second, &[]).await.unwrap();

        assert_eq!(tier.segments().await.unwrap(), [first, second], "{place}");
        assert_eq!(tier.segment(&first, 5).await.unwrap(), b"first");
        assert_eq!(tier.segment(&second, 6 << 20).await.unwrap(), bytes(3, 6 << 20));
        assert_eq!(tier.read(&parts[0].blob).await.unwrap(), b"small");
        assert_eq!(tier.read(&parts[1].blob).await.unwrap(), b"");
        for part in &parts {
            tier.fetch(&there.store, &part.blob).await.unwrap();
            tier.fetch(&there.store, &part.blob).await.unwrap();
            assert_eq!(there.store.blobs().verify(&part.blob.digest).unwrap(), part.blob.size, "{place}");
        }
        let large = bytes(1, 12 << 20);
        for range in [0..1, 0..12 << 20, 7_000_000..7_000_001, 4_000_000..(12 << 20)] {
            let got = tier.range(&parts[2].blob, range.start as u64, range.len() as u64).await.unwrap();
            assert!(got == large[range.clone()], "{place} {range:?}");
        }
        assert_eq!(tier.range(&parts[0].blob, 2, 0).await.unwrap(), b"", "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_too_long_or_of_another_size_is_told_apart() {
    for place in Place::all() {
        let tier = place.tier(hasty());
        let (here, there) = (home(), home());
        let part = here.part(b"hello");
        let name = here.segment(1_790_000_000, b"a segment");
        publish(&tier, &here, &name, std::slice::from_ref(&part)).await;
        let nowhere = TierBlob { digest: Digest::of(b"never"), size: 5 };
        let longer = TierBlob { size: 6, ..part.blob };
        let shorter = TierBlob { size: 4, ..part.blob };
        let unknown = SegmentName { time: 1, ..name };
        assert!(matches!(tier.read(&nowhere).await, Err(TierError::Missing(_))), "{place}");
        assert!(tier.has(&part.blob).await.unwrap() && !tier.has(&nowhere).await.unwrap(), "{place}");
        assert!(matches!(tier.fetch(&there.store, &nowhere).await, Err(TierError::Missing(_))), "{place}");
        assert!(matches!(tier.segment(&unknown, 100).await, Err(TierError::Missing(_))), "{place}");
        assert!(matches!(tier.segment(&name, 8).await, Err(TierError::Corrupt { .. })), "{place}");
        for wrong in [longer, shorter] {
            assert!(matches!(tier.read(&wrong).await, Err(TierError::Corrupt { .. })), "{place}");
            assert!(matches!(tier.fetch(&there.store, &wrong).await, Err(TierError::Corrupt { .. })), "{place}");
            let got = tier.range(&wrong, 1, 2).await;
            assert!(matches!(got, Err(TierError::Corrupt { .. })), "{place} {got:?}");
        }
        let beyond = tier.range(&part.blob, 4, 2).await;
        assert!(matches!(beyond, Err(TierError::Corrupt { .. })), "{place} {beyond:?}");
        assert!(matches!(tier.range(&nowhere, 0, 1).await, Err(TierError::Missing(_))), "{place}");
        assert_eq!(there.files(), 0, "{place}: nothing half is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_here_becomes_nothing_there() {
    for place in Place::all() {
        let tier = place.tier(hasty());
        let here = home();
        for len in [5, 12 << 20] {
            let part = here.part(&bytes(7, len));
            let mut damaged = bytes(7, len);
            damaged[len - 1] ^= 1;
            std::fs::write(here.store.blobs().path(&part.blob.digest), damaged).unwrap();
            let error = tier.put(&here.store, &part).await.unwrap_err();
            assert!(matches!(&error, TierError::Here(Error::WrongDigest { .. })), "{place}: {error}");
            assert!(matches!(tier.read(&part.blob).await, Err(TierError::Missing(_))), "{place}");
        }
        let gone = here.segment(1, b"gone");
        std::fs::remove_file(here.store.blobs().path(&gone.digest)).unwrap();
        let error = tier.publish(&here.store, &gone, &[]).await.unwrap_err();
        assert!(matches!(error, TierError::Here(Error::MissingBlob(_))), "{place}");
        assert_eq!(tier.segments().await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_go_and_then_blobs_that_nobody_keeps_and_nobody_can_be_about_to_speak_of() {
    for place in Place::all() {
        let here = home();
        let (kept, gone) = (here.part(b"kept"), here.part(b"gone!"));
        let names = [1, 2].map(|time| here.segment(time, format!("{time}").as_bytes()));
        let tier = place.tier(hasty());
        publish(&tier, &here, &names[0], std::slice::from_ref(&gone)).await;
        publish(&tier, &here, &names[1], std::slice::from_ref(&kept)).await;
        let keep = HashSet::from([kept.blob.digest]);
        let unknown = SegmentName { time: 9, ..names[0] };

        let swept = tier.remove(&[names[0], unknown], &keep).await.unwrap();
        assert_eq!((swept.blobs, swept.bytes), (0, 0), "{place}: it is too young");
        assert_eq!(tier.segments().await.unwrap(), [names[1]], "{place}");
        assert_eq!(tier.put(&here.store, &gone).await.unwrap(), 0, "{place}");

        let late = place.tier(ObjectOptions { grace: Duration::ZERO, ..hasty() });
        let swept = late.remove(&[], &keep).await.unwrap();
        assert_eq!((swept.segments, swept.blobs, swept.bytes), (0, 1, 5), "{place}");
        assert!(matches!(tier.read(&gone.blob).await, Err(TierError::Missing(_))), "{place}");
        assert_eq!(tier.read(&kept.blob).await.unwrap(), b"kept", "{place}");
        assert_eq!(late.put(&here.store, &kept).await.unwrap(), 4, "{place}: who comes so late makes it young again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_put_beside_is_left_alone() {
    let place = Place::folder();
    let root = place.path().join("shiplap-cache/v1");
    for file in ["segments/README", "segments/1790000000-ab", "blobs/notes.txt"] {
        std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        std::fs::write(root.join(file), "x").unwrap();
    }
    let tier = place.tier(ObjectOptions { grace: Duration::ZERO, ..hasty() });
    assert_eq!(tier.segments().await.unwrap(), []);
    assert_eq!(tier.remove(&[], &HashSet::new()).await.unwrap().blobs, 0);
    assert!(root.join("blobs/notes.txt").exists());
}
