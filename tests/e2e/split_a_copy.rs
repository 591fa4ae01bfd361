//! A big tree that is copied from a stage is several layers, of which an edit changes a small one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{Home, Ran};
use crate::registry_server::Registry;

/// A stage like that of a virtualenv: one big step, and on it what is edited.
fn site(copied: &str) -> String {
    format!(
        "FROM base:1 AS venv
         RUN mkdir -p /venv/lib && seq 1 5000000 >/venv/lib/big && ln /venv/lib/big /venv/lib/also
         COPY plugin /venv/lib/plugin
         FROM base:1
         {copied}
         RUN cat /venv/lib/plugin >/seen\n"
    )
}

const COPY: &str = "COPY --from=venv --chown=bob:bob /venv /venv";

fn machine() -> Home {
    let home = Home::with_base();
    home.write("plugin", "old\n");
    home.write("Dockerfile", site(COPY));
    home
}

/// The layers of what was built: the base image, two of the copy, one of the last step.
fn layers(home: &Home) -> [String; 4] {
    let config = home.config("app:1");
    let layers: Vec<String> = serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap();
    // Whoever shows both beside each other counts lines with a layer (image-spec, config.md, *history*).
    let history = config["history"].as_array().unwrap().iter().filter(|line| line["empty_layer"] != true);
    let by: Vec<&str> = history.map(|line| line["created_by"].as_str().unwrap()).collect();
    assert_eq!(by.len(), layers.len(), "{by:?}");
    assert!(by[1].starts_with("COPY ") && by[1] == by[2], "{by:?}");
    layers.try_into().unwrap()
}

#[test]
fn after_an_edit_one_small_layer_is_new_and_pushed() {
    let registry = Registry::start();
    let link = "COPY --link --from=venv --chown=3333:3333 --chmod=750 /venv /venv";
    for (n, copied) in [COPY, link].into_iter().enumerate() {
        let home = machine();
        let name = |tag: &str| registry.name(&format!("app-{n}:{tag}"));
        home.build("app:1", &site(copied), &[]);
        let first = home.json(&["push", "app:1", "--as", &name("1")]);
        assert!(first["sent"].as_u64().unwrap() > 1_000_000, "{first}");
        let before = layers(&home);

        home.write("plugin", "new\n");
        let built = home.build_again("app:1", &[]);
        assert_eq!(built.ran(), ["COPY plugin /venv/lib/plugin", copied, "RUN cat /venv/lib/plugin >/seen"]);
        let after = layers(&home);
        assert_eq!(before[..2], after[..2]);
        assert_ne!(before[2], after[2]);
        let again = home.json(&["push", "app:1", "--as", &name("2")]);
        assert!(again["sent"].as_u64().unwrap() < 10_000, "{again}");

        let files = home.files("app:1");
        assert_eq!((files["seen"].as_slice(), files["venv/lib/plugin"].as_slice()), (&b"new\n"[..], &b"new\n"[..]));
        assert_eq!(files["venv/lib/also"].len(), 38_888_896);
        assert!(files["venv/lib/big"].starts_with(b"-> "), "it is a further name still");
        home.run(["verify", "--steps", "."]).ok().says("0 stale");
    }
}

/// The flags for a cache in a folder.
fn cache(folder: &Path) -> [String; 2] {
    [("from", "src"), ("to", "dest")].map(|(way, key)| format!("--cache-{way}=type=local,{key}={}", folder.display()))
}

#[test]
fn a_fresh_machine_copies_and_fetches_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = cache(folder.path());
    machine().build_again("app:1", &[&to]);
    let there = machine();
    there.write("plugin", "new\n");
    // What runs on the copy needs all of it.
    there.write("Dockerfile", site(COPY).replace("RUN cat /venv/lib/plugin >/seen", "ENV A=b"));
    let built = there.build_again("app:1", &[&from, &to]);
    assert_eq!(built.ran(), ["COPY plugin /venv/lib/plugin", COPY]);
    let moved = |what: &str| built.0["cache"][what].as_u64().unwrap();
    assert!(moved("fetched") < 10_000 && moved("sent") < 20_000, "{}", built.0["cache"]);
    // It is all there when somebody wants it.
    there.write("shiplap.toml", format!("cache = [{{ type = \"local\", path = {:?} }}]\n", folder.path()));
    let files = there.files("app:1");
    assert_eq!((files["venv/lib/plugin"].as_slice(), files["venv/lib/also"].len()), (&b"new\n"[..], 38_888_896));
}

/// The large files below a folder.
fn large(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for item in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match item.metadata().unwrap() {
            meta if meta.is_dir() => all.extend(large(&item.path())),
            meta if meta.len() > 1_000_000 => all.push(item.path()),
            _ => {}
        }
    }
    all
}

#[test]
fn a_layer_that_was_counted_on_and_is_gone_is_made_from_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = cache(folder.path());
    machine().build_again("app:1", &[&to]);
    let blobs = large(folder.path());
    assert_eq!(blobs.len(), 2, "one of the stage, one of the copy");
    for gone in [&blobs[..1], &blobs[1..], &blobs[..]] {
        let kept: Vec<Vec<u8>> = gone.iter().map(|blob| fs::read(blob).unwrap()).collect();
        gone.iter().for_each(|blob| fs::remove_file(blob).unwrap());
        let there = machine();
        there.write("plugin", "new\n");
        // All layers must come for this one.
        there.run(["build", "-t", "app:1", "--output", "type=oci,dest=app.tar", &from, "."]).ok();
        let files = there.files("app:1");
        assert_eq!((files["seen"].as_slice(), files["venv/lib/also"].len()), (&b"new\n"[..], 38_888_896));
        gone.iter().zip(kept).for_each(|(blob, bytes)| fs::write(blob, bytes).unwrap());
    }
}

#[test]
fn two_machines_and_a_build_without_cache_make_the_same_layers() {
    let digest = |home: &Home, layout: &str, flags: &[&str]| {
        let build = [&["build", "-t", "app:1"], flags, &["."]].concat();
        for args in [&build[..], &["export", "app:1", layout]] {
            Ran::of(home.command(args).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap()).ok();
        }
        let index = fs::read(home.work().join(layout).join("index.json")).unwrap();
        serde_json::from_slice::<Value>(&index).unwrap()["manifests"][0]["digest"].clone()
    };
    let homes = [machine(), machine()];
    let first = digest(&homes[0], "first", &[]);
    assert_eq!(first, digest(&homes[1], "first", &[]));
    assert_eq!(first, digest(&homes[0], "second", &["--no-cache"]));
    // One knows the big layer from before the edit, the other makes it.
    let fresh = machine();
    for home in [&homes[0], &fresh] {
        home.write("plugin", "new\n");
    }
    assert_eq!(digest(&homes[0], "third", &[]), digest(&fresh, "third", &[]));
}

#[test]
fn a_plan_names_the_file_that_is_copied_anew() {
    let home = machine();
    home.build_again("app:1", &[]);
    home.write("plugin", "new\n");
    let plan = home.json(&["plan", "."]);
    let steps = plan["images"][0]["steps"].as_array().unwrap();
    let copy = steps.iter().find(|step| step["text"] == COPY).unwrap();
    assert_eq!(copy["why"]["words"], "one file that it copies is different", "{copy}");
    assert_eq!(copy["why"]["changes"][0]["path"], "/venv/lib/plugin", "{copy}");
    let built = home.build_again("app:1", &[]);
    assert_eq!(built.ran().len(), 3, "{:?}", built.ran());
}

/// What a step sees of a tree that is several layers, and of the same in one: `--parents` is never split.
#[test]
fn a_step_sees_the_tree_that_one_layer_would_be() {
    let home = Home::with_base();
    let dockerfile = "FROM base:1 AS source
        RUN mkdir -p /tree/lib/a /tree/empty && seq 1 5000000 >/tree/lib/a/big && ln /tree/lib/a/big /tree/lib/b && \\
            ln -s a/big /tree/lib/link && chmod 700 /tree/empty && chmod 4711 /tree/lib/a/big && \\
            touch -t 200101010000 /tree/lib/a/big /tree/lib/a
        RUN chmod 2755 /tree/lib && echo small >/tree/lib/a/small && touch -t 200202020000 /tree/lib /tree/lib/a/small
        RUN mkdir /tree/lib/c && seq 1 1500000 >/tree/lib/c/large && chown 5:6 /tree/lib/a /tree/lib/c/large
        RUN rm -r /tree/empty && mkdir /tree/empty && echo top >/tree/top && touch -t 200303030000 /tree/lib/a /tree/top
        FROM base:1 AS split
        COPY --from=source /tree /new/tree
        COPY --from=source --chown=7:8 --chmod=a+X /tree /bin/
        RUN find /new /bin | sort >/names && cat /names | xargs stat -c '%n %F %a %u:%g %Y' >/seen && \\
            find /new /bin -type f | sort | xargs stat -c '%n %s %h' >>/seen && find /new -type f | sort | xargs sha256sum >>/seen && \\
            find /new /bin -type l | sort | xargs -n 1 readlink >>/seen
        FROM base:1 AS whole
        COPY --parents --from=source /tree/./ /new/tree
        COPY --parents --from=source --chown=7:8 --chmod=a+X /tree/./ /bin/
        RUN find /new /bin | sort >/names && cat /names | xargs stat -c '%n %F %a %u:%g %Y' >/seen && \\
            find /new /bin -type f | sort | xargs stat -c '%n %s %h' >>/seen && find /new -type f | sort | xargs sha256sum >>/seen && \\
            find /new /bin -type l | sort | xargs -n 1 readlink >>/seen
";
    home.write("Dockerfile", dockerfile);
    let seen = |target: &str| {
        home.build_again(target, &["--target", target]);
        let config = home.config(target);
        (home.file(target, "seen"), config["rootfs"]["diff_ids"].as_array().unwrap().len())
    };
    let ((split, many), (whole, few)) = (seen("split"), seen("whole"));
    assert_eq!((many, few), (1 + 4 + 4 + 1, 1 + 1 + 1 + 1));
    assert!(split.contains("/new/tree/lib/a/big regular file 4711 0:0"), "{split}");
    assert_eq!(split, whole);
}

/// The folders of the store's layers in which `big` is somebody's.
fn with_big(home: &Home, owner: u32) -> Vec<PathBuf> {
    let folders = fs::read_dir(home.store().join("layers")).unwrap().map(|folder| folder.unwrap().path());
    let is_owner = |folder: &PathBuf| folder.join("venv/lib/big").metadata().is_ok_and(|meta| meta.uid() == owner);
    folders.filter(is_owner).collect()
}

#[test]
fn a_layer_that_is_known_is_not_copied() {
    let home = machine();
    home.build_again("app:1", &[]);
    let before = with_big(&home, 3333);
    // Nobody could copy this.
    for folder in with_big(&home, 0) {
        fs::remove_file(folder.join("venv/lib/big")).unwrap();
        fs::remove_file(folder.join("venv/lib/also")).unwrap();
    }
    home.write("plugin", "new\n");
    assert_eq!(home.build_again("app:1", &[]).ran().len(), 3);
    assert_eq!((with_big(&home, 3333), before.len()), (before, 1));
    assert_eq!(home.file("app:1", "seen"), "new\n");
}

#[test]
fn a_layer_that_is_gone_is_made_again() {
    let home = machine();
    let first = home.build_again("app:1", &[]).id().to_owned();
    let before = with_big(&home, 3333);
    before.iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    let built = home.build_again("app:1", &[]);
    assert_eq!((built.ran(), built.id()), (vec![COPY], first.as_str()));
    assert_eq!(with_big(&home, 3333), before);
}
