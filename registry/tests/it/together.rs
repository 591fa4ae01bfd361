//! Contents that a tier has in other layers are not sent again, and a layer that is put together from them is the same layer.

use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::Arc;

use shiplap_cache::tier::{Tier, TierError};
use shiplap_cache::{LayerId, Tree};
use shiplap_registry::remote::Learnt;
use shiplap_registry::{Error, History, Image, NoProgress, PackOptions, RegistryTier};

use crate::demand::lab::{FILES, LARGE, Odd, SMALL, Site, file, learnt, noise, odd, read, remote, site};
use crate::fixture::{client, home};
use crate::tiers::Registries;

/// The same files of another owner, and some more, as a stage has what an image takes from it.
fn stage(site: &Site, more: usize) -> LayerId {
    site.here.layer(&Tree::default(), |at| {
        std::fs::create_dir(at.join("d")).unwrap();
        for number in 0..FILES {
            std::fs::write(at.join(file(number)), noise(number, SMALL)).unwrap();
        }
        std::fs::write(at.join("large"), noise(1000, LARGE)).unwrap();
        std::fs::hard_link(at.join("large"), at.join("d/large")).unwrap();
        std::fs::write(at.join("empty"), "").unwrap();
        std::os::unix::fs::symlink("large", at.join("symlink")).unwrap();
        all_of(at, &mut |path| chown(path, Some(1000), Some(1000)).unwrap());
        for number in 0..more as u64 {
            std::fs::write(at.join(format!("more{number}")), noise(5000 + number, SMALL)).unwrap();
        }
        std::fs::create_dir(at.join("opaque")).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(at.join("opaque"), site.here.store().overlay().opaque(), b"y", flags).unwrap();
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, at.join("gone"), kind, rustix::fs::Mode::empty(), 0).unwrap();
    })
}

fn all_of(at: &Path, touch: &mut dyn FnMut(&Path)) {
    for item in std::fs::read_dir(at).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            all_of(&path, touch);
        }
        if !path.is_symlink() {
            touch(&path);
        }
    }
}

/// A build whose image has the first layer, and which made the other in a stage.
fn build(image: LayerId, stage: LayerId) -> Learnt {
    Learnt { image: vec![image], ..learnt(&[image, stage]) }
}

async fn publish(site: &Site, tier: &Odd, told: &Learnt) -> u64 {
    let (remote, heard) = remote(&site.here, vec![Arc::new(tier.clone())]);
    let sent = remote.publish(told).await.unwrap().first().map_or(0, |published| published.bytes);
    assert_eq!(heard.warnings(), Vec::<String>::new());
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_image_has_is_not_sent_for_the_stage_and_comes_back_as_the_same_layer() {
    let registries = Registries::start().await;
    for repository in registries.repositories("campus/cache") {
        let site = site();
        let stage = stage(&site, 0);
        let tier = || -> Vec<Arc<dyn Tier>> { vec![Arc::new(RegistryTier::new(client(), repository.clone()))] };
        let bytes = remote(&site.here, tier()).0.publish(&build(site.layer, stage)).await.unwrap()[0].bytes;
        assert!((23_000_000..23_300_000).contains(&bytes), "{repository} {bytes}: once, not twice");
        let there = home();
        let (remote, heard) = remote(&there, tier());
        remote.sync().await.unwrap();
        assert!(there.store().can_have_layer(&stage).unwrap());
        let cost = remote.cost(&stage).unwrap();
        let came = remote.layers(&[stage]).await.unwrap();
        assert!(came.is_ok(), "{repository} {:?}", heard.warnings());
        assert!(there.store().check_layer(&stage).unwrap());
        assert_eq!((remote.moved().fetched, remote.moved().layers), (cost, 1), "{repository}");
        assert_eq!(heard.warnings(), Vec::<String>::new());
        // Nothing is told twice.
        assert_eq!(remote.publish(&build(site.layer, stage)).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nowhere_else_goes_in_a_pack_of_its_own() {
    let (site, place) = (site(), tempfile::tempdir().unwrap());
    let stage = stage(&site, 20);
    let tier = odd(place.path());
    let sent = publish(&site, &tier, &build(site.layer, stage)).await;
    assert!((27_000_000..27_400_000).contains(&sent), "{sent}: 23 of the image and 4 more");
    for whole_alone in [false, true] {
        let there = home();
        let tier = match whole_alone {
            true => tier.clone().twisted(|_, _, _| Err(TierError::Unsupported("whole alone".into()))),
            false => tier.clone(),
        };
        let (remote, heard) = remote(&there, vec![Arc::new(tier)]);
        remote.sync().await.unwrap();
        remote.layers(&[stage]).await.unwrap().unwrap();
        assert!(there.store().check_layer(&stage).unwrap());
        assert_eq!(
            there.store().index(&stage).unwrap().as_bytes(),
            site.here.store().index(&stage).unwrap().as_bytes()
        );
        assert_eq!(heard.warnings(), Vec::<String>::new());
    }
    // File by file too.
    let there = home();
    let (remote, _) = remote(&there, vec![Arc::new(tier)]);
    remote.sync().await.unwrap();
    let files = remote.on_demand(&[stage], &[]).await.unwrap().unwrap();
    assert!(read(&files, stage, &file(5)).await.unwrap() == noise(5, SMALL));
    assert!(read(&files, stage, "more7").await.unwrap() == noise(5007, SMALL));
    assert!(read(&files, stage, "d/large").await.unwrap() == noise(1000, LARGE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_which_most_is_new_goes_whole() {
    let (site, place) = (site(), tempfile::tempdir().unwrap());
    let stage = stage(&site, 130);
    let tier = odd(place.path());
    let sent = publish(&site, &tier, &build(site.layer, stage)).await;
    assert!(sent > 23_000_000 + 49_000_000, "{sent}");
    let there = home();
    let (remote, _) = remote(&there, vec![Arc::new(tier.clone())]);
    remote.sync().await.unwrap();
    assert!(there.store().layer_places(&stage).unwrap()[0].files.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_damaged_or_lost_pack_no_layer_is_made_and_the_next_tier_has_it() {
    let (site, places) = (site(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let stage = stage(&site, 3);
    let [bad, good] = places.each_ref().map(|place| odd(place.path()));
    for tier in [&bad, &good] {
        publish(&site, tier, &build(site.layer, stage)).await;
    }
    let mut table = bad.clone();
    table.twist_read = Arc::new(|_, _, mut bytes| {
        if bytes.starts_with(b"SLTAB") {
            bytes.truncate(100);
        }
        Ok(bytes)
    });
    let odds: [Odd; 4] = [
        bad.clone().twisted(|_, _, bytes| Ok(vec![1; bytes.len()])),
        bad.clone().twisted(|blob, _, _| Err(TierError::Missing(blob.digest.to_string()))),
        bad.clone().twisted(|_, offset, bytes| match offset {
            0 => Ok(bytes),
            _ => Err(TierError::Unreachable("it died in the middle".into())),
        }),
        table,
    ];
    for (number, odd) in odds.into_iter().enumerate() {
        let there = home();
        let (alone, heard) = remote(&there, vec![Arc::new(odd.clone())]);
        alone.sync().await.unwrap();
        assert!(alone.layers(&[stage]).await.unwrap().is_err(), "{number}");
        assert_eq!(heard.warnings().len(), 1, "{number} {:?}", heard.warnings());
        assert!(!there.store().can_have_layer(&stage).unwrap(), "{number}: its step runs again");
        let there = home();
        let (both, _) = remote(&there, vec![Arc::new(odd), Arc::new(good.clone())]);
        both.sync().await.unwrap();
        both.layers(&[stage]).await.unwrap().unwrap();
        assert!(there.store().check_layer(&stage).unwrap(), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_the_tier_lost_meanwhile_is_not_built_upon() {
    let (site, place) = (site(), tempfile::tempdir().unwrap());
    let stage = stage(&site, 0);
    let tier = odd(place.path());
    publish(&site, &tier, &learnt(&[site.layer])).await;
    let pack = site.here.store().place_in(tier.name(), &site.layer).unwrap().unwrap().files.unwrap();
    std::fs::remove_file(place.path().join("shiplap-cache/v1/blobs").join(pack.digest.hex())).unwrap();
    let sent = publish(&site, &tier, &learnt(&[stage])).await;
    assert!(sent > 23_000_000, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_such_a_layer_is_pushed_after_it_was_put_together_and_then_it_has_a_blob() {
    let (site, place) = (site(), tempfile::tempdir().unwrap());
    let stage = stage(&site, 2);
    let tier = odd(place.path());
    publish(&site, &tier, &build(site.layer, stage)).await;
    let there = home();
    let (remote, _) = remote(&there, vec![Arc::new(tier.clone())]);
    remote.sync().await.unwrap();
    let line = History { created_by: Some("COPY".to_owned()), ..History::default() };
    let config = serde_json::json!({"architecture": "amd64", "os": "linux"}).as_object().unwrap().clone();
    let image = Image { config, history: vec![line.clone(), line], layers: vec![site.layer, stage] };
    there.images.save(&image).unwrap();
    let elsewhere = PackOptions { elsewhere: true, ..PackOptions::default() };
    let error = there.images.pack(&image, &elsewhere, &NoProgress).unwrap_err();
    assert!(matches!(error, Error::Store(shiplap_cache::Error::MissingLayer(id)) if id == stage), "{error}");
    remote.with_blobs(&image.layers).await.unwrap();
    assert!(!there.store().has_layer(&site.layer).unwrap(), "the other one need not come");
    let packed = there.images.pack(&image, &elsewhere, &NoProgress).unwrap();
    site.here.images.save(&image).unwrap();
    let same = site.here.images.pack(&image, &PackOptions::default(), &NoProgress).unwrap();
    assert_eq!(packed.manifest.digest, same.manifest.digest);

    let told = Learnt { image: image.layers.clone(), ..learnt(&[stage]) };
    remote.publish(&told).await.unwrap();
    let place = there.store().place_in(tier.name(), &stage).unwrap().unwrap();
    assert!(place.files.is_some(), "who pushes it next mounts it");
}
