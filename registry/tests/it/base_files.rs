//! A fresh runner has of a base image what steps read, without pulling it.

use std::sync::Arc;

use shiplap_cache::{Asked, Contents, LayerId, Observation, PathSet, StepKey, StepResult, Tree, UsedStep};
use shiplap_registry::Image;
use shiplap_registry::remote::Learnt;

use crate::demand::lab::{Odd, noise, odd, path, read, remote};
use crate::fixture::{Home, home};

const SIZE: usize = 300_000;

/// A base of forty files, in a layer of an image, with one more layer that hides a file of it.
fn base(home: &Home) -> [LayerId; 2] {
    let base = home.layer(&Tree::default(), |at| {
        std::fs::create_dir(at.join("bin")).unwrap();
        for number in 0..40 {
            std::fs::write(at.join(format!("bin/{number}")), noise(number, SIZE)).unwrap();
        }
        std::os::unix::fs::symlink("0", at.join("bin/link")).unwrap();
        std::fs::write(at.join("bin/empty"), "").unwrap();
    });
    let tree = home.store().tree([&base]).unwrap();
    let upper = home.layer(&tree, |at| {
        std::fs::create_dir(at.join("bin")).unwrap();
        std::fs::write(at.join("bin/7"), noise(700, SIZE)).unwrap();
    });
    [base, upper]
}

/// A build with a step that read these files of the base.
fn build(home: &Home, bases: [LayerId; 2], name: &str, files: &[&str]) -> Learnt {
    let tree = home.store().tree(&bases).unwrap();
    let made = home.layer(&tree, |at| std::fs::write(at.join("made"), name).unwrap());
    let content = |file: &&str| Observation { path: path(&format!("bin/{file}")), asked: Asked::Content };
    let mut observations: Vec<Observation> = files.iter().map(content).collect();
    // What was only looked at is not read.
    observations.push(Observation { path: path("bin/30"), asked: Asked::Exists });
    let (step, result) = (StepKey::of(name.as_bytes()), StepResult { layers: vec![made], ..StepResult::default() });
    home.store().record(&step, &tree, &PathSet::new(observations), &result).unwrap();
    let steps = vec![UsedStep { step, parent: tree.stack(), result }];
    let image = bases.into_iter().chain([made]).collect();
    Learnt { steps, image, bases: vec![Image { layers: bases.to_vec(), ..Image::default() }], ..Learnt::default() }
}

async fn publish(home: &Home, tier: &Odd, told: &Learnt) -> u64 {
    let (remote, heard) = remote(home, vec![Arc::new(tier.clone())]);
    let sent = remote.publish(told).await.unwrap();
    assert_eq!(heard.warnings(), Vec::<String>::new());
    sent.first().map_or(0, |sent| sent.bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_steps_read_of_a_base_is_there_for_a_runner_that_has_no_base() {
    let (here, place) = (home(), tempfile::tempdir().unwrap());
    let bases = base(&here);
    let tier = odd(place.path());
    let files = ["1", "2", "7", "link", "empty", "none"];
    let sent = publish(&here, &tier, &build(&here, bases, "one", &files)).await;
    assert!((3 * SIZE as u64..3 * SIZE as u64 + 20_000).contains(&sent), "{sent}: three files");
    let there = home();
    let (remote, heard) = remote(&there, vec![Arc::new(tier.clone())]);
    remote.sync().await.unwrap();
    let reads = [(bases[0], path("bin/1")), (bases[1], path("bin/7"))];
    let files = remote.on_demand(&bases, &reads).await.unwrap().unwrap();
    for (layer, name, seed) in [(bases[0], "1", 1), (bases[0], "2", 2), (bases[1], "7", 700)] {
        assert!(read(&files, layer, &format!("bin/{name}")).await.unwrap() == noise(seed, SIZE), "{name}");
    }
    assert_eq!(read(&files, bases[0], "bin/empty").await.unwrap(), b"");
    assert_eq!((files.lost(), heard.warnings()), (Vec::new(), Vec::new()));
    assert!(!there.store().can_have_layer(&bases[0]).unwrap(), "its registry has the rest, and only that");
    // Of no registry the rest comes from.
    assert!(read(&files, bases[0], "bin/3").await.is_err());
    assert_eq!(files.lost(), [bases[0]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_not_sent_again_and_only_the_more_goes() {
    let (here, place) = (home(), tempfile::tempdir().unwrap());
    let bases = base(&here);
    let tier = odd(place.path());
    let told = build(&here, bases, "one", &["1", "2", "7"]);
    publish(&here, &tier, &told).await;
    assert_eq!(publish(&here, &tier, &told).await, 0, "it is known");
    let less = publish(&here, &tier, &build(&here, bases, "less", &["2"])).await;
    assert!(less < 20_000, "{less}");
    let more = publish(&here, &tier, &build(&here, bases, "more", &["2", "9"])).await;
    assert!((SIZE as u64..SIZE as u64 + 20_000).contains(&more), "{more}");
    let there = home();
    let (remote, _) = remote(&there, vec![Arc::new(tier)]);
    remote.sync().await.unwrap();
    let files = remote.on_demand(&bases[..1], &[]).await.unwrap().unwrap();
    for number in [1, 2, 9] {
        assert!(read(&files, bases[0], &format!("bin/{number}")).await.unwrap() == noise(number, SIZE), "{number}");
    }
    assert_eq!(files.lost(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_the_image_alone_gets_nothing_of_bases_but_what_they_hold() {
    let (here, place) = (home(), tempfile::tempdir().unwrap());
    let bases = base(&here);
    let told = build(&here, bases, "one", &["1"]);
    let mut uses = crate::demand::lab::uses(vec![Arc::new(odd(place.path()))]);
    uses[0].everything = false;
    let heard = Arc::new(crate::demand::lab::Heard::default());
    let remote = shiplap_registry::remote::Remote::new(here.images.clone(), uses, crate::fixture::client(), heard);
    let sent = remote.publish(&told).await.unwrap()[0].bytes;
    assert!(sent < 20_000, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_which_something_is_read_that_no_pack_has_comes_whole_and_the_others_do_not() {
    let (here, place) = (home(), tempfile::tempdir().unwrap());
    let bases = base(&here);
    let tier = odd(place.path());
    publish(&here, &tier, &build(&here, bases, "one", &["1"])).await;
    let there = home();
    let (remote, _) = remote(&there, vec![Arc::new(tier)]);
    remote.sync().await.unwrap();
    let reads = [(bases[0], path("bin/1")), (bases[1], path("bin/7"))];
    let files = remote.on_demand(&bases, &reads).await.unwrap().unwrap();
    assert!(read(&files, bases[0], "bin/1").await.unwrap() == noise(1, SIZE));
    assert_eq!(files.lost(), [], "nobody was refused anything yet");
    // There is no registry to have it from.
    assert!(read(&files, bases[1], "bin/7").await.is_err());
    assert_eq!(files.lost(), [bases[1]]);
    assert!(read(&files, bases[0], "bin/1").await.unwrap() == noise(1, SIZE));
}
