//! A cache that lost a blob goes on with the others.

use std::sync::Arc;

use shiplap_cache::tier::segment::Segment;
use shiplap_cache::tier::{SegmentName, Tier};
use shiplap_cache::{LayerId, RENEW, Tree, today};
use shiplap_registry::RegistryTier;

use crate::demand::lab::{learnt, odd, remote};
use crate::fixture::{Home, client, home};
use crate::server::Server;

fn layer(home: &Home, number: usize) -> LayerId {
    home.layer(&Tree::default(), |at| std::fs::write(at.join("file"), format!("content {number}")).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_put_together_without_what_the_registry_lost() {
    // Ours deletes no blob that a manifest names.
    let server = Server::start();
    let repository = server.repository("campus/cache");
    let tier = || -> Vec<Arc<dyn Tier>> { vec![Arc::new(RegistryTier::new(client(), repository.clone()))] };
    let here = home();
    let layers: Vec<LayerId> = (0..24).map(|number| layer(&here, number)).collect();
    // The segment that makes them many is the last.
    for layer in &layers[..23] {
        remote(&here, tier()).0.publish(&learnt(&[*layer])).await.unwrap();
    }
    let lost = here.store().place_in(&repository.to_string(), &layers[5]).unwrap().unwrap().files.unwrap();
    let (host, path) = (repository.registry(), repository.path());
    let blob = format!("http://{host}/v2/{path}/blobs/{}", lost.digest);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(http.delete(&blob).send().await.unwrap().status(), 202);
    let (last, heard) = remote(&here, tier());
    last.publish(&learnt(&[layers[23]])).await.unwrap();
    assert_eq!(heard.warnings(), Vec::<String>::new());
    assert_eq!(tier()[0].segments().await.unwrap().len(), 1, "they are one now");

    let there = home();
    let (fresh, heard) = remote(&there, tier());
    fresh.sync().await.unwrap();
    for (number, layer) in layers.iter().enumerate() {
        assert_eq!(there.store().can_have_layer(layer).unwrap(), number != 5, "{number}");
    }
    fresh.layers(&[layers[4], layers[23]]).await.unwrap().unwrap();
    assert_eq!(heard.warnings(), Vec::<String>::new());
    // Whoever makes it again tells of it again.
    let told = remote(&here, tier()).0.publish(&learnt(&[layers[5]])).await.unwrap();
    assert_eq!(told[0].layers, 1);
    assert!(tier()[0].has(&shiplap_cache::tier::TierBlob { digest: lost.digest, size: lost.size }).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_again_without_being_here_is_looked_for_first() {
    let (here, place) = (home(), tempfile::tempdir().unwrap());
    let (tier, layer) = (odd(place.path()), layer(&here, 1));
    remote(&here, vec![Arc::new(tier.clone())]).0.publish(&learnt(&[layer])).await.unwrap();
    // The same, told long ago.
    let names = tier.segments().await.unwrap();
    let mut segment = Segment::decode(&tier.segment(&names[0], 1 << 20).await.unwrap()).unwrap();
    segment.layers[0].day = today() - RENEW;
    let digest = here.store().blobs().put(&segment.encode().unwrap()).unwrap();
    tier.publish(here.store(), &SegmentName { time: names[0].time, digest }, &segment.parts()).await.unwrap();
    tier.remove(&names, &std::collections::HashSet::new()).await.unwrap();
    let files = shiplap_cache::tier::TierBlob::from(segment.layers[0].files.as_ref().unwrap().blob);
    for is_there in [true, false] {
        if !is_there {
            std::fs::remove_file(place.path().join("shiplap-cache/v1/blobs").join(files.digest.hex())).unwrap();
            let all = tier.segments().await.unwrap();
            tier.remove(&all, &std::collections::HashSet::new()).await.unwrap();
            tier.publish(here.store(), &SegmentName { time: names[0].time, digest }, &segment.parts()).await.unwrap();
        }
        let there = home();
        let (fresh, heard) = remote(&there, vec![Arc::new(tier.clone())]);
        let told = fresh.publish(&learnt(&[layer])).await.unwrap();
        assert_eq!(told.iter().map(|told| told.layers).sum::<usize>(), usize::from(is_there));
        assert_eq!(there.store().can_have_layer(&layer).unwrap(), is_there);
        assert_eq!(heard.warnings(), Vec::<String>::new());
        assert!(!there.store().has_layer(&layer).unwrap(), "it need not come for that");
    }
}
