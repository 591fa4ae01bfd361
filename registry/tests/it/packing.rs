//! Equal files, equal digests.

use shiplap_cache::Tree;
use shiplap_registry::tarball::write_layer;
use shiplap_registry::{Compression, Error, Image, NoProgress, PackOptions};

use crate::fixture::home;

fn pack(home: &crate::fixture::Home, options: PackOptions) -> shiplap_registry::Packed {
    home.images.pack(&home.image().0, &options, &NoProgress).unwrap()
}

#[test]
fn equal_files_in_two_stores_have_one_digest() {
    for compression in [Compression::Zstd, Compression::Gzip] {
        let options = PackOptions { compression, ..PackOptions::default() };
        let (a, b) = (pack(&home(), options), pack(&home(), options));
        assert_eq!(a.manifest.digest, b.manifest.digest, "{compression:?}");
    }
}

#[test]
fn what_was_packed_before_does_not_change_the_digest() {
    let gzip_first = home();
    let gzip = PackOptions { compression: Compression::Gzip, ..PackOptions::default() };
    pack(&gzip_first, gzip);
    let zstd = pack(&gzip_first, PackOptions::default());
    assert_eq!(zstd.manifest, pack(&home(), PackOptions::default()).manifest);
    assert_eq!(pack(&gzip_first, gzip).manifest, pack(&home(), gzip).manifest);
    // The tars are the same, so the DiffIDs are.
    let diff_ids = |p: &shiplap_registry::Packed| p.layers.iter().map(|l| l.diff_id).collect::<Vec<_>>();
    assert_eq!(diff_ids(&zstd), diff_ids(&pack(&gzip_first, gzip)));
}

#[test]
fn a_clamp_holds_times_down_and_a_late_one_changes_nothing() {
    let here = home();
    let plain = pack(&here, PackOptions::default());
    let late = pack(&here, PackOptions { clamp: Some(4_000_000_000), ..PackOptions::default() });
    assert_eq!(late.manifest, plain.manifest);
    let clamped = PackOptions { clamp: Some(1_450_000_000), ..PackOptions::default() };
    let early = pack(&here, clamped);
    assert_ne!(early.manifest, plain.manifest);
    assert_eq!(pack(&here, clamped).manifest, early.manifest);
    assert_eq!(pack(&here, PackOptions::default()).manifest, plain.manifest);
    let layer = here.image().0.layers[0];
    let mut bytes = Vec::new();
    let index = here.store().index(&layer).unwrap();
    write_layer(&mut bytes, &here.store().layer_dir(&layer), &index, Some(1_450_000_000)).unwrap();
    let mut reader = shiplap_registry::tarball::Reader::new(&bytes[..]);
    let mut latest = i64::MIN;
    while let Some(head) = reader.next().unwrap() {
        latest = latest.max(head.mtime);
    }
    assert_eq!(latest, 1_450_000_000);
}

#[test]
fn a_damaged_layer_is_an_error_and_never_a_wrong_image() {
    type Damage = fn(&std::path::Path);
    let changed: Damage = |at| std::fs::write(at, "hellp").unwrap();
    let longer: Damage = |at| std::fs::write(at, "hello, world").unwrap();
    let gone: Damage = |at| std::fs::remove_file(at).unwrap();
    for damage in [changed, longer, gone] {
        let here = home();
        let (image, _) = here.image();
        damage(&here.store().layer_dir(&image.layers[0]).join("usr/bin/again"));
        let error = here.images.pack(&image, &PackOptions::default(), &NoProgress).unwrap_err();
        assert!(matches!(&error, Error::DamagedLayer { .. }), "{error}");
        assert!(error.to_string().contains("/usr/bin/again"), "{error}");
        assert_eq!(here.kept().0, 2, "only the sound layer was packed, and has a table");
    }
}

#[test]
fn a_file_with_the_name_of_a_whiteout_is_refused() {
    let here = home();
    let layer = here.layer(&Tree::default(), |at| std::fs::write(at.join(".wh.x"), "").unwrap());
    let image = Image { layers: vec![layer], ..Image::default() };
    let error = here.images.pack(&image, &PackOptions::default(), &NoProgress).unwrap_err();
    assert!(matches!(error, Error::ReservedName(_)), "{error}");
}
