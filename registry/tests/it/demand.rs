//! Files of layers that are not here: only what is needed moves, and what is wrong is never given.

pub mod lab;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shiplap_cache::tier::TierError;
use shiplap_cache::{Contents, LayerId};
use shiplap_registry::RegistryTier;

use crate::faulty::{Fault, Front};
use crate::fixture::{client, home};
use crate::server::Server;
use crate::tiers::Registries;
use lab::{FILES, LARGE, Ready, SMALL, file, learnt, noise, odd, read, ready, remote, site};

/// All of it, in the order of the names.
fn everything() -> Vec<String> {
    let more = ["empty", "large", "link"].map(str::to_owned);
    (0..FILES).map(file).chain(more).collect()
}

fn contents(name: &str) -> Vec<u8> {
    match name {
        "empty" => Vec::new(),
        "large" => noise(1000, LARGE),
        "link" => noise(3, SMALL),
        name => noise(name[2..].parse().unwrap(), SMALL),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_every_registry_only_the_needed_parts_move_and_every_file_is_right() {
    let registries = Registries::start().await;
    for repository in registries.repositories("campus/cache") {
        let site = site();
        let tier = || Arc::new(RegistryTier::new(client(), repository.clone()));
        remote(&site.here, vec![tier()]).0.publish(&learnt(&[site.layer])).await.unwrap();
        let there = home();
        let (remote, heard) = remote(&there, vec![tier()]);
        remote.sync().await.unwrap();
        let reads = site.reads(&[&file(7), &file(9), "empty", "link", "symlink", "gone"]);
        let files = remote.on_demand(&[site.layer], &reads).await.unwrap().unwrap();
        for name in [file(7), file(9), "empty".to_owned(), "link".to_owned()] {
            assert!(read(&files, site.layer, &name).await.unwrap() == contents(&name), "{name}");
        }
        let moved = remote.moved();
        assert!(moved.fetched < 6_000_000, "{repository} {moved:?}: of 23 MB");
        assert_eq!((moved.layers, moved.files), (0, 3), "{repository}");
        for name in everything() {
            assert!(read(&files, site.layer, &name).await.unwrap() == contents(&name), "{repository} {name}");
        }
        assert_eq!((files.lost(), heard.warnings()), (Vec::new(), Vec::new()), "{repository}");
        assert!(!there.store().has_layer(&site.layer).unwrap());
        assert_eq!(there.kept(), (0, 0), "{repository}: nothing stays");
        drop(files);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sends_no_more_than_the_frames_of_what_is_read() {
    let (server, site) = (Server::start(), site());
    let tier = RegistryTier::new(client(), server.repository("campus/cache"));
    remote(&site.here, vec![Arc::new(tier)]).0.publish(&learnt(&[site.layer])).await.unwrap();
    let front = Front::before(server.port);
    let repository = format!("127.0.0.1:{}/campus/cache", front.port).parse().unwrap();
    let there = home();
    let (remote, _) = remote(&there, vec![Arc::new(RegistryTier::new(client(), repository))]);
    remote.sync().await.unwrap();
    let files = remote.on_demand(&[site.layer], &[]).await.unwrap().unwrap();
    // Now the front notes what it is asked for.
    front.fault_times(Fault::Wrong, |_, _| false, 0);
    assert!(read(&files, site.layer, &file(30)).await.unwrap() == contents(&file(30)));
    let neighbour = (0..FILES).map(file).filter(|name| *name != file(30));
    let ranges = || -> Vec<u64> {
        let seen = front.seen();
        let ranges = seen.iter().filter_map(|seen| seen.split_once("bytes=")?.1.split_once('-'));
        ranges.map(|(from, to)| to.parse::<u64>().unwrap() + 1 - from.parse::<u64>().unwrap()).collect()
    };
    assert_eq!(ranges().len(), 1, "{:?}", front.seen());
    assert!(ranges()[0] < 2_500_000, "{:?}", ranges());
    assert_eq!(ranges().iter().sum::<u64>(), remote.moved().fetched);
    assert_eq!(front.seen().len(), 2, "the table and one part: {:?}", front.seen());
    // A frame has a megabyte and some: neighbours are here already.
    let mut free = 0;
    for name in neighbour {
        let before = ranges().len();
        assert!(read(&files, site.layer, &name).await.unwrap() == contents(&name));
        free += usize::from(ranges().len() == before);
    }
    assert!(free > 40, "{free}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_the_last_time_comes_before_anybody_asks() {
    let lab = ready(|tier| tier).await;
    let (site, tier, remote) = (&lab.site, &lab.tier, &lab.remote);
    let names: Vec<String> = (10..30).map(file).collect();
    let reads = site.reads(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let files = remote.on_demand(&[site.layer], &reads).await.unwrap().unwrap();
    for name in &names {
        assert!(read(&files, site.layer, name).await.unwrap() == contents(name));
    }
    let ranges = tier.count("range");
    assert_eq!(ranges, 1, "neighbours come together: {:?}", tier.asked());
    assert_eq!((tier.count("read"), tier.count("fetch")), (2, 0), "the index and the table");
    assert_eq!(remote.moved().files, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_ahead_is_there_when_it_is_needed_and_no_layer_comes_for_it() {
    let lab = ready(|tier| tier).await;
    let (site, tier, remote) = (&lab.site, &lab.tier, &lab.remote);
    let names: Vec<String> = (10..30).map(file).collect();
    let reads = site.reads(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let ahead = remote.ahead_of_demand(&[site.layer], &reads).await.unwrap().unwrap();
    while remote.moved().parts == 0 {
        tokio::task::yield_now().await;
    }
    let files = remote.on_demand(&[site.layer], &reads).await.unwrap().unwrap();
    for name in &names {
        assert!(read(&files, site.layer, name).await.unwrap() == contents(name));
    }
    drop(ahead);
    assert_eq!((tier.count("range"), tier.count("fetch")), (1, 0), "{:?}", tier.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_fails_ahead_of_demand_is_not_held_against_it() {
    let down = Arc::new(AtomicUsize::new(1));
    let switch = down.clone();
    let lab = ready(|tier| {
        tier.twisted(move |_, _, bytes| match switch.load(Ordering::Acquire) {
            0 => Ok(bytes),
            _ => Err(TierError::Unreachable("down".to_owned())),
        })
    })
    .await;
    let (site, tier, remote, heard) = (&lab.site, &lab.tier, &lab.remote, &lab.heard);
    for _ in 0..3 {
        let asked = tier.count("range");
        let ahead = remote.ahead_of_demand(&[site.layer], &site.reads(&[&file(10)])).await.unwrap().unwrap();
        while tier.count("range") == asked {
            tokio::task::yield_now().await;
        }
        drop(ahead);
    }
    down.store(0, Ordering::Release);
    let files = remote.on_demand(&[site.layer], &[]).await.unwrap().unwrap();
    assert!(read(&files, site.layer, &file(10)).await.unwrap() == contents(&file(10)));
    assert_eq!(heard.warnings(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_step_read_comes_once_for_all_steps_of_a_build() {
    let lab = ready(|tier| tier).await;
    let (site, tier, remote) = (&lab.site, &lab.tier, &lab.remote);
    let names: Vec<String> = (10..30).map(file).collect();
    let reads = site.reads(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let layers = [site.layer];
    // Two at once, and one after them.
    let (one, other) = tokio::join!(remote.on_demand(&layers, &reads), remote.on_demand(&layers, &reads));
    for files in [one.unwrap().unwrap(), other.unwrap().unwrap()] {
        for name in &names {
            assert!(read(&files, site.layer, name).await.unwrap() == contents(name));
        }
    }
    let files = remote.on_demand(&layers, &reads).await.unwrap().unwrap();
    assert!(read(&files, site.layer, &file(20)).await.unwrap() == contents(&file(20)));
    assert_eq!(tier.count("range"), 1, "{:?}", tier.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nearly_everything_is_read_the_whole_is_cheaper_and_when_all_is_here_nothing_comes() {
    let lab = ready(|tier| tier).await;
    let (site, remote) = (&lab.site, &lab.remote);
    let reads = site.reads(&["large", &file(1), &file(5), &file(15), &file(25), &file(35), &file(45)]);
    assert!(remote.on_demand(&[site.layer], &reads).await.unwrap().is_none());
    assert!(remote.on_demand(&[site.layer], &reads[..2]).await.unwrap().is_some());
    remote.layers(&[site.layer]).await.unwrap().unwrap();
    assert!(remote.on_demand(&[site.layer], &[]).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_threads_open_files_at_once_and_no_part_comes_twice() {
    let lab = ready(|tier| tier).await;
    let (site, tier, remote) = (&lab.site, &lab.tier, &lab.remote);
    let names: Vec<String> = (0..20).map(file).collect();
    let reads = site.reads(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let files = remote.on_demand(&[site.layer], &reads).await.unwrap().unwrap();
    let all = (0..4).flat_map(|_| everything()).map(|name| {
        let files = files.clone();
        async move { assert!(read(&files, site.layer, &name).await.unwrap() == contents(&name), "{name}") }
    });
    futures::future::join_all(all).await;
    let moved = remote.moved();
    assert!(moved.fetched < 24_000_000, "{moved:?}");
    assert_eq!(tier.count("fetch"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_is_never_given_and_the_next_tier_has_it() {
    let (site, places) = (site(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let [bad, good] = places.each_ref().map(|place| odd(place.path()));
    for tier in [&bad, &good] {
        site.publish(tier).await;
    }
    // Every byte is others', one is, or some are missing.
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [Damage; 3] = [
        |bytes| vec![0; bytes.len()],
        |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        },
        |bytes| noise(5, bytes.len()),
    ];
    for damage in damages {
        let there = home();
        let bad = bad.clone().twisted(move |_, _, bytes| Ok(damage(bytes)));
        let (remote, heard) = remote(&there, vec![Arc::new(bad.clone()), Arc::new(good.clone())]);
        remote.sync().await.unwrap();
        let files = remote.on_demand(&[site.layer], &site.reads(&[&file(3)])).await.unwrap().unwrap();
        for name in [file(3), file(50), "large".to_owned()] {
            assert!(read(&files, site.layer, &name).await.unwrap() == contents(&name), "{name}");
        }
        assert_eq!(heard.warnings().len(), 1, "{:?}", heard.warnings());
        assert!(heard.warnings()[0].contains("cannot fetch files of a layer"), "{:?}", heard.warnings());
        assert_eq!((bad.count("fetch"), good.count("fetch"), files.lost()), (0, 0, Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_tier_has_it_right_the_layer_comes_whole() {
    for what in ["frames", "table", "ranges", "gone"] {
        let (site, place) = (site(), tempfile::tempdir().unwrap());
        let honest = odd(place.path());
        site.publish(&honest).await;
        let mut tier = honest.clone();
        tier = match what {
            "frames" => tier.twisted(|_, _, bytes| Ok(vec![7; bytes.len()])),
            "ranges" => tier.twisted(|_, _, _| Err(TierError::Unsupported("whole alone".into()))),
            "gone" => tier.twisted(|blob, _, _| Err(TierError::Missing(blob.digest.to_string()))),
            _ => tier,
        };
        if what == "table" {
            // The index comes first, and is small.
            tier.twist_read = Arc::new(|blob, _, bytes| match bytes.starts_with(b"SLTAB") {
                true => Err(TierError::Corrupt { digest: blob.digest, why: "told to".into() }),
                false => Ok(bytes),
            });
        }
        let there = home();
        let (remote, heard) = remote(&there, vec![Arc::new(tier.clone())]);
        remote.sync().await.unwrap();
        let files = remote.on_demand(&[site.layer], &[]).await.unwrap().unwrap();
        for name in everything() {
            assert!(read(&files, site.layer, &name).await.unwrap() == contents(&name), "{what} {name}");
        }
        assert!(there.store().has_layer(&site.layer).unwrap(), "{what}");
        assert_eq!((tier.count("fetch"), files.lost()), (1, Vec::new()), "{what}");
        assert_eq!(heard.warnings().len(), usize::from(what != "ranges"), "{what} {:?}", heard.warnings());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_gives_nothing_in_part_is_asked_once() {
    let (site, place) = (site(), tempfile::tempdir().unwrap());
    let tier = odd(place.path());
    site.publish(&tier).await;
    let second = site.here.layer(&shiplap_cache::Tree::default(), |at| std::fs::write(at.join("x"), "x").unwrap());
    remote(&site.here, vec![Arc::new(tier.clone())]).0.publish(&learnt(&[second])).await.unwrap();
    let tier = tier.twisted(|_, _, _| Err(TierError::Unsupported("whole alone".into())));
    let there = home();
    let (remote, _) = remote(&there, vec![Arc::new(tier.clone())]);
    remote.sync().await.unwrap();
    let files = remote.on_demand(&[site.layer], &[]).await.unwrap().unwrap();
    assert!(read(&files, site.layer, &file(1)).await.unwrap() == contents(&file(1)));
    assert!(remote.on_demand(&[second], &[]).await.unwrap().is_none());
    assert_eq!(tier.count("range"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_dies_in_the_middle_loses_the_layer_and_nobody_hangs() {
    let (site, place) = (site(), tempfile::tempdir().unwrap());
    let honest = odd(place.path());
    site.publish(&honest).await;
    let blobs = place.path().join("shiplap-cache/v1/blobs");
    let left = Arc::new(AtomicUsize::new(1));
    let tier = honest.twisted(move |_, _, bytes| {
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(bytes),
            Err(_) => {
                let _ = std::fs::remove_dir_all(&blobs);
                Err(TierError::Unreachable("it died".into()))
            }
        }
    });
    let there = home();
    let (remote, heard) = remote(&there, vec![Arc::new(tier.clone())]);
    remote.sync().await.unwrap();
    let files = remote.on_demand(&[site.layer], &[]).await.unwrap().unwrap();
    assert!(read(&files, site.layer, &file(1)).await.unwrap() == contents(&file(1)));
    let opened =
        futures::future::join_all(["large", "d/050", "d/040"].map(|name| read(&files, site.layer, name))).await;
    assert!(opened.iter().all(Result::is_err), "{:?}", heard.warnings());
    assert_eq!(files.lost(), [site.layer]);
    // What came is there, and what is no file is no reason to lose anything.
    assert!(read(&files, site.layer, &file(1)).await.unwrap() == contents(&file(1)));
    assert!(!there.store().can_have_layer(&site.layer).unwrap(), "its step runs again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_of_the_layer_is_refused_and_layers_that_are_here_are_opened_where_they_are() {
    let (site, place) = (site(), tempfile::tempdir().unwrap());
    let tier = odd(place.path());
    site.publish(&tier).await;
    let there = home();
    let own = there.layer(&shiplap_cache::Tree::default(), |at| std::fs::write(at.join("own"), "mine").unwrap());
    let (remote, _) = remote(&there, vec![Arc::new(tier.clone())]);
    remote.sync().await.unwrap();
    let files = remote.on_demand(&[own, site.layer], &[]).await.unwrap().unwrap();
    assert_eq!(read(&files, own, "own").await.unwrap(), b"mine");
    for odd in ["d", "symlink", "nothing"] {
        let error = read(&files, site.layer, odd).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{odd}");
    }
    assert_eq!((files.lost(), tier.count("range")), (Vec::<LayerId>::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_under_no_name_and_goes_with_it_also_while_something_is_on_its_way() {
    let Ready { site, there, remote, place: _place, .. } = ready(|tier| tier).await;
    let named = || walk(&there.dir.path().join("tmp"));
    // A file that is open and has no name any more.
    let open = || {
        let links =
            std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links.filter(|to| to.starts_with(there.dir.path()) && to.to_string_lossy().ends_with(" (deleted)")).count()
    };
    let before = named();
    let files = remote.on_demand(&[site.layer], &site.reads(&["large", &file(20)])).await.unwrap().unwrap();
    read(&files, site.layer, &file(20)).await.unwrap();
    assert_eq!((named(), open()), (before, 1));
    drop(files);
    // What came is kept for the next step of the build.
    assert_eq!((named(), open()), (before, 1));
    drop(remote);
    while open() > 0 {
        tokio::task::yield_now().await;
    }
}

fn walk(folder: &std::path::Path) -> usize {
    let Ok(items) = std::fs::read_dir(folder) else { return 0 };
    items.flatten().map(|item| 1 + walk(&item.path())).sum()
}
