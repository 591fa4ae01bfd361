//! Looking into images whose layers are gone.

use shiplap_cache::{Kind, TreePath};
use shiplap_registry::{Compression, NoProgress, PackOptions, Seen};

use crate::fixture::home;

fn paths(here: &crate::fixture::Home, seen: &Seen) -> Vec<(String, Kind)> {
    let tree = here.store().tree(&seen.image.layers).unwrap();
    let mut all: Vec<(String, Kind)> = tree
        .walk(&TreePath::root())
        .into_iter()
        .map(|found| tree.entry(found))
        .map(|e| (e.path.to_string(), e.kind))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn what_blobs_say_is_what_the_layers_said() {
    for compression in [Compression::Zstd, Compression::Gzip] {
        let here = home();
        let (image, id) = here.image();
        let options = PackOptions { compression, ..PackOptions::default() };
        let packed = here.images.pack(&image, &options, &NoProgress).unwrap();
        let digest = packed.manifest.digest;
        let wanted = |path: &[u8]| path.starts_with(b"usr/bin/");
        let before = here.images.look_into(Some(&id), Some(&digest), &wanted).unwrap();
        assert!(before.kept.is_empty());
        assert_eq!(before.blobs.len(), 2);
        assert!(before.blobs.iter().all(Option::is_some));
        let there = paths(&here, &before);

        let (dir, images) = (here.dir.path().to_owned(), &here.images);
        for folder in ["layers", "indices"] {
            std::fs::remove_dir_all(dir.join(folder)).unwrap();
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        let again = shiplap_registry::Images::new(std::sync::Arc::new(shiplap_cache::Store::open(&dir).unwrap()));
        for (id, digest) in [(Some(&id), Some(&digest)), (Some(&id), None), (None, Some(&digest))] {
            let seen = again.look_into(id, digest, &wanted).unwrap();
            let here = crate::fixture::Home { dir: tempfile::tempdir().unwrap(), images: again.clone() };
            assert_eq!(paths(&here, &seen), there);
            assert_eq!(seen.blobs, before.blobs);
            assert_eq!(seen.documents, before.documents);
            assert_eq!(seen.image.history, image.history);
            let kept: Vec<&[u8]> = seen
                .kept
                .values()
                .flatten()
                .map(|(path, bytes)| (path.as_bytes(), bytes))
                .map(|(_, b)| &b[..])
                .collect();
            assert_eq!(kept, [b"hello", b"hello"], "two names of one file, and nothing else");
            assert_eq!(std::fs::read_dir(dir.join("layers")).unwrap().count(), 0, "nothing is unpacked");
        }
        // Without blobs too there is nothing to look into, and what is missing is named.
        std::fs::remove_file(images.store().blobs().path(&packed.layers[0].digest)).unwrap();
        let error = again.look_into(Some(&id), None, &wanted).unwrap_err().to_string();
        assert!(error.contains(&packed.layers[0].digest.to_string()), "{error}");
    }
}

#[test]
fn a_damaged_blob_is_named_and_believed_in_nothing() {
    let here = home();
    let (image, packed) = here.packed();
    let id = image.id();
    for folder in ["layers", "indices"] {
        std::fs::remove_dir_all(here.dir.path().join(folder)).unwrap();
        std::fs::create_dir(here.dir.path().join(folder)).unwrap();
    }
    // The blob of another layer in its place: a tar like any other, and not the one that the configuration names.
    let (first, second) = (packed.layers[0].digest, packed.layers[1].digest);
    let path = |digest| here.store().blobs().path(digest);
    std::fs::remove_file(path(&second)).unwrap();
    std::fs::copy(path(&first), path(&second)).unwrap();
    let again =
        shiplap_registry::Images::new(std::sync::Arc::new(shiplap_cache::Store::open(here.dir.path()).unwrap()));
    let error = again.look_into(Some(&id), None, &|_| true).unwrap_err().to_string();
    assert!(error.contains(&second.to_string()), "{error}");
    assert!(again.look_into(None, None, &|_| true).is_err());
    assert!(again.look_into(Some(&shiplap_cache::ImageId::of(b"none")), None, &|_| true).is_err());
}
