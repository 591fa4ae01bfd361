//! Many machines, one place.

use std::collections::HashSet;

use shiplap_cache::tier::{Part, SegmentName, Tier};

use crate::fixture::{Place, bytes, hasty, home};

const WRITERS: u32 = 10;
const ROUNDS: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_ten_publish_at_once_is_all_there_and_right_for_whoever_reads_meanwhile() {
    for place in Place::all() {
        let tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let tier = place.tier(hasty());
                tokio::spawn(async move {
                    let here = home();
                    let mut published: Vec<(SegmentName, Vec<Part>)> = Vec::new();
                    for round in 0..ROUNDS {
                        // One blob is everybody's, one its own, and now and then a large one.
                        let own = format!("{writer} of {round}");
                        let large = bytes(round, if writer % 5 == 0 { 6 << 20 } else { 60_000 });
                        let all = [format!("all of {round}").into_bytes(), own.clone().into_bytes(), large];
                        let parts: Vec<Part> = all.iter().map(|b| here.part(b)).collect();
                        for part in &parts {
                            tier.put(&here.store, part).await.unwrap();
                        }
                        let text: Vec<String> =
                            parts.iter().map(|p| format!("{} {}", p.blob.digest, p.blob.size)).collect();
                        let name = here.segment(
                            1_790_000_000 + i64::from(round),
                            format!("{own}\n{}", text.join("\n")).as_bytes(),
                        );
                        tier.publish(&here.store, &name, &parts).await.unwrap();
                        published.push((name, parts));
                    }
                    published
                })
            })
            .collect();
        let reader = {
            let tier = place.tier(hasty());
            tokio::spawn(async move {
                let (there, mut known) = (home(), HashSet::new());
                while known.len() < (WRITERS * ROUNDS) as usize {
                    let names = tier.segments().await.unwrap();
                    assert!(known.iter().all(|name| names.contains(name)), "what was there stays there");
                    for name in names.into_iter().filter(|name| known.insert(*name)).collect::<Vec<_>>() {
                        let text = String::from_utf8(tier.segment(&name, 10_000).await.unwrap()).unwrap();
                        for line in text.lines().skip(1) {
                            let (digest, size) = line.split_once(' ').unwrap();
                            let blob = shiplap_cache::tier::TierBlob {
                                digest: digest.parse().unwrap(),
                                size: size.parse().unwrap(),
                            };
                            tier.fetch(&there.store, &blob).await.unwrap();
                            there.store.blobs().verify(&blob.digest).unwrap();
                        }
                    }
                }
            })
        };
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        reader.await.unwrap();
        let mut names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        names.sort();
        assert_eq!(place.tier(hasty()).segments().await.unwrap(), names, "{place}");
    }
}
