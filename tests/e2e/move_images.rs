//! `export` and `import`: images as files.

use serde_json::Value;

use crate::common::Home;

const DOCKERFILE: &str = "
FROM base:1
RUN echo one >/one; ln /one /hard; ln -s one /soft; mkdir /empty; chmod 4755 /one; chown bob:bob /one
RUN rm /bin/wget; echo two >/two
ENV A=b
LABEL by=ada
USER bob
WORKDIR /home/bob
EXPOSE 8000
ENTRYPOINT [\"/bin/sh\"]
";

fn home() -> Home {
    let home = Home::with_base();
    home.build("app:1", DOCKERFILE, &[]);
    home
}

/// The manifest's digest in an exported layout.
fn manifest(home: &Home, layout: &str) -> String {
    let index = std::fs::read(home.work().join(layout).join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_layout_goes_there_and_back_with_the_same_digest() {
    let (here, there) = (home(), Home::new());
    here.run(["export", "app:1", "layout"]).ok();
    let layout = here.work().join("layout");
    there.run(["import", layout.to_str().unwrap()]).ok().says("app:1");
    there.run(["export", "app:1", "back"]).ok();
    assert_eq!(manifest(&there, "back"), manifest(&here, "layout"));
    assert_eq!(there.files("app:1"), here.files("app:1"));
    // Once more, as one file, under another name.
    here.run(["export", "app:1", "layout.tar", "--format", "oci-archive"]).ok();
    let tar = here.work().join("layout.tar");
    there.run(["import", tar.to_str().unwrap(), "other:2"]).ok();
    there.run(["export", "other:2", "other"]).ok();
    assert_eq!(manifest(&there, "other"), manifest(&here, "layout"));
}

#[test]
fn a_docker_archive_goes_there_and_back_with_the_same_bytes() {
    let (here, there) = (home(), Home::new());
    here.run(["export", "app:1", "app.tar", "--format", "docker-archive"]).ok();
    let tar = here.work().join("app.tar");
    there.run(["import", tar.to_str().unwrap()]).ok().says("app:1");
    there.run(["export", "app:1", "app.tar", "--format", "docker-archive"]).ok();
    assert_eq!(std::fs::read(there.work().join("app.tar")).unwrap(), std::fs::read(tar).unwrap());
    assert_eq!(there.config("app:1"), here.config("app:1"));
}

#[test]
fn a_root_file_system_goes_there_and_back_with_the_same_bytes() {
    let (here, there) = (home(), Home::new());
    here.run(["export", "app:1", "root.tar", "--format", "rootfs"]).ok();
    let tar = here.work().join("root.tar");
    there.run(["import", tar.to_str().unwrap(), "flat:1", "--change", "USER bob", "--change", "ENV X=y"]).ok();
    there.run(["export", "flat:1", "root.tar", "--format", "rootfs"]).ok();
    assert_eq!(std::fs::read(there.work().join("root.tar")).unwrap(), std::fs::read(tar).unwrap());
    let config = there.config("flat:1");
    assert_eq!(config["config"]["User"], "bob");
    assert!(config["config"]["Env"].as_array().unwrap().contains(&"X=y".into()), "{config}");
    let files = there.files("flat:1");
    assert!(!files.contains_key("bin/wget") && files.contains_key("empty/"), "{:?}", files.keys());
}

#[test]
fn both_compressions_hold_the_same_layers() {
    let here = home();
    let mut sets = Vec::new();
    for compression in ["zstd", "gzip"] {
        here.run(["export", "app:1", compression, "--compression", compression]).ok();
        let there = Home::new();
        there.run(["import", here.work().join(compression).to_str().unwrap()]).ok();
        sets.push((there.files("app:1"), there.config("app:1")["rootfs"].clone()));
    }
    assert_eq!(sets[0], sets[1]);
    assert_ne!(manifest(&here, "zstd"), manifest(&here, "gzip"));
}

#[test]
fn a_build_writes_files_itself() {
    let here = Home::with_base();
    here.write("Dockerfile", DOCKERFILE);
    let outputs =
        ["--output", "type=docker,dest=app.tar", "--output", "type=tar,dest=root.tar", "-o", "type=oci,dest=oci.tar"];
    here.run([&["build", "-t", "app:1"], &outputs[..], &["."]].concat()).ok();
    for (written, format) in [("app.tar", "docker-archive"), ("root.tar", "rootfs"), ("oci.tar", "oci-archive")] {
        here.run(["export", "app:1", "exported", "--format", format]).ok();
        let read = |name: &str| std::fs::read(here.work().join(name)).unwrap();
        assert!(read(written) == read("exported"), "{format}");
    }
}

#[test]
fn images_are_listed_by_name() {
    let home = home();
    home.build_again("app:2", &[]);
    let images = home.json(&["images"]);
    let names: Vec<_> = images.as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app:1", "app:2", "base:1"]);
    assert_eq!(images[0]["id"], images[1]["id"]);
    home.run(["images"]).ok().says("app:2");
}
