//! Machines that never built take what others made: `--cache-from`, `--cache-to`, `cache` in shiplap.toml.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{BuiltImage, Home};
use crate::faulty_proxy::{Fault, FaultyProxy};
use crate::registry_server::Registry;

/// Two copied folders, a step for each, and a stage that only one of them needs.
const SITE: &str = "
FROM base:1 AS tools
RUN echo tool >/tool
FROM base:1 AS site
COPY first /first
COPY second /second
COPY --from=tools /tool /tool
RUN cat /first/a >/from-first
RUN cat /second/b /tool >/from-second
";

/// A machine with nothing but the base image and the files of the site.
fn machine(base: &str) -> Home {
    let home = Home::with_base();
    home.write("first/a", "old\n");
    home.write("second/b", "old\n");
    home.write("Dockerfile", SITE.replace("base:1", base));
    home
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

fn from(place: &Path) -> String {
    format!("--cache-from=type=local,src={}", place.display())
}

fn to(place: &Path) -> String {
    format!("--cache-to=type=local,dest={}", place.display())
}

fn moved(built: &BuiltImage, what: &str) -> u64 {
    built.0["cache"][what].as_u64().unwrap()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

#[test]
fn a_fresh_machine_reuses_every_step_and_fetches_no_layer() {
    let (_folder, cache) = folder();
    let (here, there) = (machine("base:1"), machine("base:1"));
    let first = here.build_again("app:1", &[&to(&cache)]);
    assert!(!first.ran().is_empty() && moved(&first, "sent") > 0, "{}", first.0);
    let again = there.build_again("app:1", &[&from(&cache)]);
    assert_eq!((again.ran(), again.id()), (vec![], first.id()));
    assert_eq!((moved(&again, "layers"), moved(&again, "fetched")), (0, 0));
    // It is all there when somebody wants it, also from another process.
    there.write("shiplap.toml", format!("cache = [{{ type = \"local\", path = {cache:?} }}]\n"));
    assert_eq!(there.files("app:1"), here.files("app:1"));
    // What is known there is not told again.
    let before = files(&cache);
    let once_more = here.build_again("app:1", &[&from(&cache), &to(&cache)]);
    assert_eq!((moved(&once_more, "sent"), files(&cache)), (0, before));
}

#[test]
fn after_an_edit_a_fresh_machine_runs_what_reads_it_and_makes_the_same_files() {
    let (_folder, cache) = folder();
    machine("base:1").build_again("app:1", &[&to(&cache)]);
    let (there, clean) = (machine("base:1"), machine("base:1"));
    for home in [&there, &clean] {
        home.write("first/a", "new\n");
    }
    let built = there.build_again("app:1", &[&from(&cache), &to(&cache)]);
    assert_eq!(built.ran(), ["COPY first /first", "RUN cat /first/a >/from-first"]);
    clean.build_again("app:1", &[]);
    there.run(["build", "-t", "app:1", "--output", "type=oci,dest=app.tar", &from(&cache), "."]).ok();
    assert_eq!(there.files("app:1"), clean.files("app:1"));
    // A third one has what the second one added.
    let third = machine("base:1");
    third.write("first/a", "new\n");
    assert_eq!(third.build_again("app:1", &[&from(&cache)]).ran(), [""; 0]);
}

/// Two large layers, of which the steps that read the context read little.
const LARGE: &str = "
FROM base:1 AS data
RUN head -c 20000000 /dev/urandom >/large && echo small >/data-note
FROM base:1
RUN head -c 12000000 /dev/urandom >/own && mkdir /dir && echo note >/dir/note && ln -s /dir/note /link
COPY first /first
RUN cat /first/a /link >/out && echo more >>/dir/note
RUN --mount=type=bind,from=data,target=/data cat /first/a /data/data-note >/from-data
";

#[test]
fn an_edited_step_gets_the_files_that_it_reads_and_no_layer() {
    let (_folder, cache) = folder();
    let machine = || {
        let home = machine("base:1");
        home.write("Dockerfile", LARGE);
        home
    };
    machine().build_again("app:1", &[&to(&cache)]);
    let (part, whole) = (machine(), machine());
    for home in [&part, &whole] {
        home.write("first/a", "new\n");
    }
    let plan: Value = part.json(&["plan", ".", &from(&cache)]);
    let steps = plan["images"][0]["steps"].as_array().unwrap();
    let fetch = &steps.iter().find(|step| step["decision"] == "run" && step["fetch"].is_object()).unwrap()["fetch"];
    assert!(fetch["by_files"] == true && fetch["read"].as_u64().unwrap() < 100_000, "{fetch}");
    let built = part.build_again("app:1", &[&from(&cache)]);
    let all = whole.build_again("app:1", &[&from(&cache), "--cache-fetch=whole"]);
    assert_eq!(built.ran(), all.ran());
    assert_eq!(built.ran().len(), 3, "{:?}", built.ran());
    assert_eq!(moved(&built, "layers"), 0, "{}", built.0);
    // Files come with what is packed beside them, some megabytes at most.
    assert!(moved(&built, "files") > 0 && moved(&all, "files") == 0, "{} {}", built.0, all.0);
    assert!(moved(&built, "fetched") * 3 < moved(&all, "fetched"), "{} {}", built.0, all.0);
    // What did not come can come later.
    part.write("shiplap.toml", format!("cache = [{{ type = \"local\", path = {cache:?} }}]\n"));
    assert_eq!(part.files("app:1"), whole.files("app:1"));
}

/// What a runner counts on may be gone when a step reads it: the step is stopped, and what it stood on made anew.
#[test]
fn a_file_that_is_gone_while_a_step_runs_is_made_anew() {
    let (_folder, cache) = folder();
    let machine = || {
        let home = machine("base:1");
        home.write("Dockerfile", LARGE);
        home
    };
    machine().build_again("app:1", &[&to(&cache)]);
    // Of everything that is as large as a layer, the bytes are gone; the little that decides is still there.
    for file in files(&cache).iter().filter(|file| fs::metadata(file).unwrap().len() > 1_000_000) {
        fs::write(file, "gone").unwrap();
    }
    let there = machine();
    there.write("first/a", "new\n");
    let built = there.build_again("app:1", &[&from(&cache)]);
    assert!(built.ran().iter().any(|step| step.starts_with("RUN head")), "{:?}", built.ran());
    assert_eq!(there.file("app:1", "out"), "new\nnote\n");
    assert_eq!(there.file("app:1", "from-data"), "new\nsmall\n");
}

#[test]
fn a_registry_is_a_cache_and_what_is_pushed_is_mounted_from_it() {
    let registry = Registry::start();
    let [base, cache, site] = ["base:1", "cache", "site:1"].map(|path| registry.name(path));
    let seed = Home::with_base();
    seed.import_base(&base);
    seed.run(["push", &base]).ok();
    let (from, to) =
        (format!("--cache-from=type=registry,ref={cache}"), format!("--cache-to=type=registry,ref={cache}"));
    // Nobody has imported the base image here: its registry has it.
    let machine = || {
        let home = Home::new();
        home.write("first/a", "old\n");
        home.write("second/b", "old\n");
        home.write("Dockerfile", SITE.replace("base:1", &base));
        home
    };
    let here = machine();
    let first = here.build_again(&site, &["--push", &to]);
    let there = machine();
    let again = there.build_again(&site, &["--push", &from]);
    assert_eq!((again.ran(), again.id()), (vec![], first.id()));
    assert_eq!((moved(&again, "layers"), moved(&again, "fetched")), (0, 0));
    assert_eq!(fs::read_dir(there.store().join("layers")).unwrap().count(), 0);
    // Into a repository that has nothing yet, blobs go across without coming here.
    let other = registry.name("other:1");
    let pushed = machine().build_again(&other, &["--push", &from]);
    assert_eq!((moved(&pushed, "layers"), moved(&pushed, "fetched")), (0, 0));
    let check = Home::new();
    check.run(["pull", &other]).ok();
    assert_eq!(check.file(&other, "from-second"), "old\ntool\n");
    // A plugin edit: the layers below come, and the image is right.
    let edited = machine();
    edited.write("second/b", "new\n");
    let built = edited.build_again(&site, &["--push", &from, &to]);
    assert_eq!(built.ran(), ["COPY second /second", "RUN cat /second/b /tool >/from-second"]);
    assert!(moved(&built, "layers") > 0);
    check.run(["pull", &site]).ok();
    assert_eq!(check.file(&site, "from-second"), "new\ntool\n");
}

#[test]
fn the_configuration_names_caches_and_reading_only_writes_nothing() {
    let (_folder, cache) = folder();
    let toml =
        |home: &Home| home.write("shiplap.toml", format!("cache = [{{ type = \"local\", path = {cache:?} }}]\n"));
    let (here, there, third) = (machine("base:1"), machine("base:1"), machine("base:1"));
    for home in [&here, &there, &third] {
        toml(home);
    }
    here.build_again("app:1", &["--cache-read-only"]);
    assert_eq!(files(&cache), [""; 0].map(PathBuf::from));
    here.build_again("app:1", &[]);
    there.write("first/a", "of a fork\n");
    let before = files(&cache);
    let mut command = there.command(["build", "-t", "app:1", "."]);
    crate::common::Ran::of(command.env("SHIPLAP_CACHE_READ_ONLY", "1").output().unwrap()).ok();
    assert_eq!(files(&cache), before);
    assert_eq!(third.build_again("app:1", &[]).ran(), [""; 0]);
}

/// What may become of a file of a cache.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 3] = [
    ("gone", |path| fs::remove_file(path).unwrap()),
    ("cut short", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("wrong", |path| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }),
];

#[test]
fn a_damaged_cache_costs_time_and_never_a_right_image() {
    let (_folder, cache) = folder();
    machine("base:1").build_again("app:1", &[&to(&cache)]);
    let clean = machine("base:1");
    clean.write("first/a", "new\n");
    clean.build_again("app:1", &[]);
    let whole: Vec<(PathBuf, Vec<u8>)> =
        files(&cache).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for (what, damage) in DAMAGES {
        for (path, _) in &whole {
            damage(path);
            let there = machine("base:1");
            there.write("first/a", "new\n");
            // All layers must come for this one.
            there.run(["build", "-t", "app:1", "--output", "type=oci,dest=app.tar", &from(&cache), "."]).ok();
            assert_eq!(there.files("app:1"), clean.files("app:1"), "{} {what}", path.display());
            whole.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        }
    }
}

#[test]
fn a_cache_that_cannot_be_reached_is_said_once_and_the_build_goes_on() {
    let home = machine("base:1");
    let cache = "127.0.0.1:9/cache";
    let ran = home
        .run(["build", "-t", "app:1", "--cache-from", cache, "--cache-to", cache, "."])
        .ok()
        .says("cache 127.0.0.1:9/cache");
    drop(ran);
    assert_eq!(home.file("app:1", "from-first"), "old\n");
}

#[test]
fn ten_machines_at_once_lose_nothing_and_share_what_they_made() {
    let (_folder, cache) = folder();
    machine("base:1").build_again("app:0", &[&to(&cache)]);
    let edited = |n: usize| {
        let home = machine("base:1");
        home.write("first/a", format!("machine {}\n", n / 2));
        home
    };
    std::thread::scope(|threads| {
        for n in 0..10 {
            let (edited, cache) = (&edited, &cache);
            threads.spawn(move || edited(n).build_again("app:1", &[&from(cache), &to(cache)]));
        }
    });
    for n in 0..10 {
        let home = edited(n);
        let built = home.build_again("app:1", &[&from(&cache)]);
        assert_eq!(built.ran(), [""; 0], "machine {n}");
        home.run(["build", "-t", "app:1", "--output", "type=oci,dest=app.tar", &from(&cache), "."]).ok();
        assert_eq!(home.file("app:1", "from-first"), format!("machine {}\n", n / 2));
    }
}

#[test]
fn many_segments_become_one_and_all_is_found_in_it() {
    let (_folder, cache) = folder();
    let home = machine("base:1");
    for n in 0..30 {
        home.write("first/a", format!("{n}\n"));
        home.build_again("app:1", &[&from(&cache), &to(&cache)]);
    }
    let segments = files(&cache).into_iter().filter(|path| path.parent().unwrap().ends_with("segments")).count();
    assert!(segments < 24, "{segments}");
    for n in [0, 17, 29] {
        let there = machine("base:1");
        there.write("first/a", format!("{n}\n"));
        assert_eq!(there.build_again("app:1", &[&from(&cache)]).ran(), [""; 0], "{n}");
    }
}

#[test]
fn what_a_cache_mount_held_comes_along() {
    let (_folder, cache) = folder();
    let dockerfile = |command: &str| format!("FROM base:1\nRUN --mount=type=cache,target=/cache {command}\n");
    let here = Home::with_base();
    here.build("app:1", &dockerfile("mkdir -p /cache/d; echo downloaded >/cache/d/file"), &[&to(&cache)]);
    let there = Home::with_base();
    let built = there.build("app:2", &dockerfile("cat /cache/d/file >/out"), &[&from(&cache)]);
    assert_eq!(built.ran().len(), 1);
    assert_eq!(there.file("app:2", "out"), "downloaded\n");
}

#[test]
fn what_is_secret_is_in_no_cache() {
    let (_folder, cache) = folder();
    let home = Home::with_base();
    home.write("secret", "hunter2-of-the-cache");
    home.write("Dockerfile", "FROM base:1\nARG KEY\nRUN --mount=type=secret,id=s cat /run/secrets/s >/dev/null; echo \"$KEY\" >/dev/null; echo made >/made\n");
    home.build_again("app:1", &["--secret", "id=s,src=secret", "--build-arg", "KEY=hunter3-of-the-cache", &to(&cache)]);
    for file in files(&cache) {
        let bytes = fs::read(&file).unwrap();
        let mut plain = bytes.clone();
        let body = bytes.strip_prefix(b"SLSEG001".as_slice()).unwrap_or(&bytes);
        if let Ok(unpacked) = zstd::decode_all(body) {
            plain.extend(unpacked);
        }
        for secret in ["hunter2-of-the-cache", "hunter3-of-the-cache"] {
            let found = plain.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", file.display());
        }
    }
}

#[test]
fn a_plan_says_what_would_have_to_come() {
    let (_folder, cache) = folder();
    machine("base:1").build_again("app:1", &[&to(&cache)]);
    let there = machine("base:1");
    let plan = |home: &Home| -> Value { home.json(&["plan", ".", &from(&cache)]) };
    let steps = plan(&there)["images"][0]["steps"].clone();
    assert!(steps.as_array().unwrap().iter().all(|step| step["decision"] == "cached"), "{steps}");
    there.write("second/b", "new\n");
    let steps = plan(&there)["images"][0]["steps"].clone();
    let step =
        steps.as_array().unwrap().iter().find(|step| step["text"].as_str().unwrap().contains("from-second")).unwrap();
    assert_eq!(step["decision"], "run");
    assert!(step["fetch"]["layers"].as_u64().unwrap() > 0 && step["fetch"]["bytes"].as_u64().unwrap() > 0, "{step}");
    // It reads what comes from the other stage, five bytes.
    assert!(step["fetch"]["read"].as_u64().unwrap() >= 5, "{step}");
}

#[test]
fn whatever_a_registry_does_wrong_the_image_is_right() {
    let registry = Registry::start();
    let clean = machine("base:1");
    clean.write("first/a", "new\n");
    clean.build_again("app:1", &[]);
    let faults = [
        Fault::Status(503),
        Fault::Status(429),
        Fault::Status(403),
        Fault::Status(507),
        Fault::Reset,
        Fault::Truncated,
        Fault::WrongBytes,
        Fault::Hanging,
    ];
    std::thread::scope(|threads| {
        for (n, fault) in faults.into_iter().enumerate() {
            let (clean, registry) = (&clean, &registry);
            threads.spawn(move || {
                let proxy = FaultyProxy::start(&registry.address, "/blobs/", fault);
                let cache = proxy.name(&format!("cache-{n}"));
                let (from, to) = (format!("--cache-from={cache}"), format!("--cache-to={cache}"));
                machine("base:1").build_again("app:1", &[&to]);
                let there = machine("base:1");
                there.write("first/a", "new\n");
                proxy.begin();
                // Reading, writing, and with the layers of all steps.
                let output = ["--output", "type=oci,dest=app.tar"];
                there.run([&["build", "-t", "app:1"], &output[..], &[&from, &to, "."]].concat()).ok();
                assert_eq!(there.files("app:1"), clean.files("app:1"), "{fault:?}");
            });
        }
    });
}
