//! What was acknowledged stays when space is taken back.

use std::time::Duration;

use serde_json::json;
use shiplap_cache::collect::Need;
use shiplap_registry::{Collector, ServedPolicy};

use super::lab::{Lab, descriptor};

const AT_ONCE: ServedPolicy = ServedPolicy { grace: Duration::ZERO, untagged: Some(Duration::ZERO) };

#[tokio::test]
async fn a_layer_that_need_not_be_here_stays_when_it_was_pushed() {
    let lab = Lab::start().await;
    let mut image = lab.image("a", "one").await;
    for kind in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.campus.foreign.table.v1",
    ] {
        lab.push_blob("a", kind).await;
        image["layers"].as_array_mut().unwrap().push(descriptor(kind, kind.as_bytes()));
    }
    lab.put("a", "v1", &image).await.is(201);
    let needs = Collector::new(lab.images.clone(), AT_ONCE, false).needs(&[]).unwrap();
    for layer in image["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap().parse().unwrap();
        assert_eq!(needs.blobs.get(&digest), Some(&Need::Served), "{layer}");
    }
}

#[tokio::test]
async fn an_image_whose_record_cannot_be_read_lets_nothing_go() {
    let lab = Lab::start().await;
    let image = shiplap_registry::Image::default();
    let id = lab.images.save(&image).unwrap();
    lab.images.name(&"campus/x".parse().unwrap(), &id).unwrap();
    lab.images.store().set_name("image", &id.hex(), &json!([]).to_string()).unwrap();
    assert!(Collector::new(lab.images.clone(), AT_ONCE, false).needs(&[]).is_err());
    assert!(Collector::new(lab.images.clone(), AT_ONCE, true).needs(&[]).is_ok());
}
