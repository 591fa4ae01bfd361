//! Import and export of files.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use shiplap_registry::archive::{
    Format, ImportOptions, Imported, export_docker, export_layout, export_layout_tar, export_rootfs, import,
};
use shiplap_registry::tarball::{Kind, Reader};
use shiplap_registry::{Error, NoProgress, PackOptions, Reference};

use crate::fixture::{Home, head, home, tar};

fn name() -> Reference {
    "campus/openedx:1.0".parse().unwrap()
}

fn write(dir: &Path, file: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(file);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn import_into(there: &Home, path: &Path) -> Imported {
    import(&there.images, path, &ImportOptions::default()).unwrap()
}

#[test]
fn a_layout_comes_back_the_same_from_a_folder_a_tar_and_a_compressed_tar() {
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let (image, packed) = here.packed();
    let folder = dir.path().join("layout");
    export_layout(here.store(), &packed, &[name()], &folder).unwrap();
    let mut bytes = Vec::new();
    export_layout_tar(here.store(), &packed, &[name()], &mut bytes).unwrap();
    let plain = write(dir.path(), "layout.tar", &bytes);
    let compressed = write(dir.path(), "layout.tar.gz", &gzip(&bytes));
    for path in [folder.clone(), plain, compressed] {
        let there = home();
        let imported = import_into(&there, &path);
        assert_eq!((imported.format, &imported.names[..]), (Format::OciLayout, &[name()][..]));
        assert_eq!(imported.manifest, Some(packed.manifest.digest));
        assert_eq!(there.images.load(&imported.image).unwrap(), image);
        there.images.check_whole(&packed.manifest.digest, true).unwrap();
    }
    let error = export_layout(here.store(), &packed, &[], &folder).unwrap_err();
    assert!(matches!(error, Error::Exists(_)));
    let mut again = Vec::new();
    export_layout_tar(here.store(), &packed, &[name()], &mut again).unwrap();
    assert!(again == bytes, "an export is the same each time");
}

#[test]
fn a_docker_archive_keeps_the_image_id() {
    let (here, there, dir) = (home(), home(), tempfile::tempdir().unwrap());
    let (image, packed) = here.packed();
    let mut bytes = Vec::new();
    export_docker(here.store(), &packed, &[name()], &mut bytes).unwrap();
    let both = write(dir.path(), "both.tar", &bytes);
    let imported = import_into(&there, &both);
    let loaded = there.images.load(&imported.image).unwrap();
    assert_eq!(loaded, image);
    let again = there.images.pack(&loaded, &PackOptions::default(), &NoProgress).unwrap();
    assert_eq!(again.config.digest, packed.config.digest, "Docker's image ID");

    // The same without the layout: what Docker wrote before version 25.
    let mut legacy = Vec::new();
    let mut reader = Reader::new(&bytes[..]);
    while let Some(head) = reader.next().unwrap() {
        let mut contents = Vec::new();
        reader.read_to_end(&mut contents).unwrap();
        if head.kind == Kind::File && head.path != b"oci-layout" && head.path != b"index.json" {
            legacy.push((head, contents));
        }
    }
    let mut writer = shiplap_registry::tarball::Writer::new(Vec::new());
    legacy.iter().for_each(|(head, contents)| writer.entry(head, &contents[..]).unwrap());
    let old = write(dir.path(), "old.tar", &writer.finish().unwrap());
    let third = home();
    let imported = import_into(&third, &old);
    assert_eq!((imported.format, &imported.names[..]), (Format::DockerArchive, &[name()][..]));
    let loaded = third.images.load(&imported.image).unwrap();
    assert_eq!(loaded, image);
    let again = third.images.pack(&loaded, &PackOptions::default(), &NoProgress).unwrap();
    assert_eq!(again.config.digest, packed.config.digest);
}

#[test]
fn a_root_file_system_is_flattened_and_comes_back() {
    let (here, there, dir) = (home(), home(), tempfile::tempdir().unwrap());
    let (image, _) = here.packed();
    let mut bytes = Vec::new();
    export_rootfs(here.store(), &image, None, &mut bytes).unwrap();
    let path = write(dir.path(), "rootfs.tar", &bytes);
    let config = serde_json::json!({"Env": ["A=1"]}).as_object().unwrap().clone();
    let options = ImportOptions { config, ..ImportOptions::default() };
    let imported = import(&there.images, &path, &options).unwrap();
    assert_eq!(imported.format, Format::Rootfs);
    let loaded = there.images.load(&imported.image).unwrap();
    assert_eq!(loaded.config["config"]["Env"][0], "A=1");
    assert_eq!(loaded.layers.len(), 1);
    let (merged, flat) = (here.store().tree(&image.layers).unwrap(), there.store().tree(&loaded.layers).unwrap());
    let root = shiplap_cache::TreePath::root();
    let names = |t: &shiplap_cache::Tree| {
        t.walk(&root).into_iter().map(|f| t.entry(f)).map(|e| (e.path, e.mtime, e.mode)).collect::<Vec<_>>()
    };
    let paths: Vec<String> = names(&flat).iter().map(|(p, ..)| p.to_string()).collect();
    assert!(
        paths.contains(&"/hidden/y".into()) && !paths.iter().any(|p| p == "/hidden/x" || p.starts_with("/gone")),
        "{paths:?}"
    );
    let times = |t: &shiplap_cache::Tree| names(t).into_iter().filter(|(p, ..)| !p.is_root()).collect::<Vec<_>>();
    assert_eq!(times(&merged), times(&flat));
    let again = there.store().layer_dir(&loaded.layers[0]);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(again.join("usr/bin/again")).unwrap().nlink(), 2, "hard links are kept");
}

#[test]
fn a_tar_cut_short_is_an_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = tar(&[(head("a", Kind::File), &"x".repeat(5000)), (head("b", Kind::File), "y")]);
    for (file, bytes) in [
        ("in-a-file.tar", whole[..3000].to_vec()),
        ("between-entries.tar", whole[..512 + 5120].to_vec()),
        ("compressed.tar.gz", gzip(&whole)[..40].to_vec()),
    ] {
        let there = home();
        let path = write(dir.path(), file, &bytes);
        let error = import(&there.images, &path, &ImportOptions::default()).unwrap_err();
        assert!(matches!(&error, Error::BadTar { .. }), "{file}: {error}");
        let text = error.to_string();
        assert!(text.contains(file) && text.contains("cut short"), "{text}");
        assert_eq!(there.kept(), (0, 0), "{file}");
        assert!(there.images.list().unwrap().is_empty());
    }
}

#[test]
fn a_damaged_layout_is_refused() {
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let (_, packed) = here.packed();
    for digest in [packed.layers[0].digest, packed.config.digest, packed.manifest.digest] {
        let folder = dir.path().join(digest.hex());
        export_layout(here.store(), &packed, &[], &folder).unwrap();
        let blob = folder.join("blobs/sha256").join(digest.hex());
        let mut bytes = std::fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&blob, bytes).unwrap();
        let there = home();
        let error = import(&there.images, &folder, &ImportOptions::default()).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        assert_eq!(there.store().blobs().size(&digest).unwrap(), None);
    }
}

#[test]
fn of_several_images_one_must_be_named() {
    let (here, there, dir) = (home(), home(), tempfile::tempdir().unwrap());
    let (_, first) = here.packed();
    let second = here.images.pack(&here.image_of("other").0, &PackOptions::default(), &NoProgress).unwrap();
    let folder = dir.path().join("layout");
    let other: Reference = "campus/mfe:1.0".parse().unwrap();
    export_layout(here.store(), &first, &[name()], &folder).unwrap();
    let beside = dir.path().join("beside");
    export_layout(here.store(), &second, std::slice::from_ref(&other), &beside).unwrap();
    for blob in std::fs::read_dir(beside.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        std::fs::copy(blob.path(), folder.join("blobs/sha256").join(blob.file_name())).unwrap();
    }
    let read = |at: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(at.join("index.json")).unwrap()).unwrap()
    };
    let mut index = read(&folder);
    index["manifests"].as_array_mut().unwrap().push(read(&beside)["manifests"][0].clone());
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();

    let error = import(&there.images, &folder, &ImportOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::SeveralImages { names, .. } if names.len() == 2), "{error}");
    let options = ImportOptions { name: Some(other), ..ImportOptions::default() };
    assert_eq!(import(&there.images, &folder, &options).unwrap().manifest, Some(second.manifest.digest));
    let options = ImportOptions { name: Some("none:1".parse().unwrap()), ..ImportOptions::default() };
    assert!(import(&there.images, &folder, &options).is_err());
}

#[test]
fn a_folder_that_is_no_layout_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = import(&home().images, dir.path(), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NoArchive { .. }), "{error}");
}

/// A `docker save` archive of these layers.
fn saved(dir: &Path, layers: &[Vec<u8>], history: &serde_json::Value, damage: bool) -> PathBuf {
    let diff_id = |l: &Vec<u8>| shiplap_cache::Digest::of(if damage { b"other" } else { l }).to_string();
    let diff_ids: Vec<String> = layers.iter().map(diff_id).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {}, "history": history,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let names: Vec<String> = (0..layers.len()).map(|i| format!("l{i}/layer.tar")).collect();
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": null, "Layers": names}]);
    let mut writer = shiplap_registry::tarball::Writer::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let head = shiplap_registry::tarball::Head { size: bytes.len() as u64, ..head(name, Kind::File) };
        writer.entry(&head, bytes).unwrap();
    };
    add("config.json", config.to_string().as_bytes());
    names.iter().zip(layers).for_each(|(name, layer)| add(name, layer));
    add("manifest.json", manifest.to_string().as_bytes());
    write(dir, "saved.tar", &writer.finish().unwrap())
}

#[test]
fn a_directory_without_an_entry_looks_as_in_the_layer_below() {
    let (there, dir) = (home(), tempfile::tempdir().unwrap());
    let open = shiplap_registry::tarball::Head { mode: 0o1777, uid: 7, ..head("tmp", Kind::Dir) };
    let base = tar(&[(open, "")]);
    let top = tar(&[(head("tmp/x", Kind::File), "x"), (head("new/y", Kind::File), "y")]);
    let nothing = tar(&[]);
    let history = serde_json::json!([{"created_by": "a"}, {"created_by": "b", "empty_layer": true}, {"created_by": "c"}, {"created_by": "d"}]);
    let path = saved(dir.path(), &[base.clone(), nothing.clone(), top.clone()], &history, false);
    let image = there.images.load(&import_into(&there, &path).image).unwrap();
    let empty: Vec<bool> = image.history.iter().map(|h| h.empty_layer).collect();
    assert_eq!((image.layers.len(), empty), (2, vec![false, true, true, false]));
    let index = there.store().index(&image.layers[1]).unwrap();
    let entry = |path: &str| index.entry(index.find(path.as_bytes()).unwrap());
    assert_eq!((entry("tmp").mode, entry("tmp").uid, entry("tmp").mtime), (0o1777, 7, 1_600_000_000));
    assert_eq!((entry("new").mode, entry("new").uid), (0o755, 0));
    // The same tar over another base is another layer; over the same base it is known.
    let other = tar(&[(head("tmp", Kind::Dir), "")]);
    let path = saved(dir.path(), &[other, top.clone()], &serde_json::Value::Null, false);
    let second = there.images.load(&import_into(&there, &path).image).unwrap();
    assert_ne!(second.layers[1], image.layers[1]);
    let path = saved(dir.path(), &[base, nothing, top], &history, false);
    assert_eq!(there.images.load(&import_into(&there, &path).image).unwrap(), image);
}

#[test]
fn a_layer_with_another_diff_id_is_refused() {
    let (there, dir) = (home(), tempfile::tempdir().unwrap());
    let path = saved(dir.path(), &[tar(&[(head("a", Kind::File), "a")])], &serde_json::Value::Null, true);
    let error = import(&there.images, &path, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, Error::WrongDiffId { .. }), "{error}");
    assert_eq!(there.kept(), (0, 0));
}
