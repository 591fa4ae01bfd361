//! `gc`: what nothing needs goes, what a release needs stays, and whoever is at work meanwhile notices nothing.

use serde_json::{Value, json};

use crate::common::Home;
use crate::site::Site;

/// At once, and nothing is young.
const NOW: [&str; 5] = ["gc", "--grace", "0s", "--quarantine", "0s"];

fn files(home: &Home, folder: &str) -> usize {
    std::fs::read_dir(home.store().join(folder)).unwrap().count()
}

fn gc(home: &Home, flags: &[&str]) -> Value {
    home.json(&[&NOW[..], flags].concat())
}

#[test]
fn what_no_name_stands_for_goes_once_its_step_results_are_old() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1\nRUN echo one >/one\n", &[]);
    home.build("app:1", "FROM base:1\nRUN echo two >/two\n", &[]);
    let before = files(&home, "layers");
    // A step result is a reason to stay.
    assert_eq!(gc(&home, &[])["freed"]["count"], 0);
    assert_eq!(files(&home, "layers"), before);
    let plan = home.json(&[&NOW[..], &["--dry-run", "--max-used-space", "1B"]].concat());
    assert_eq!(plan["dead"].as_array().unwrap().len(), 1, "the named image and its base stay: {plan}");
    assert_eq!(plan["dead"][0]["why"].as_object().unwrap().keys().collect::<Vec<_>>(), ["over-budget"]);
    assert_eq!(files(&home, "layers"), before, "a dry run removes nothing");
    let done = gc(&home, &["--max-used-space", "1B"]);
    assert_eq!((&done["freed"]["count"], &done["survey"]["step_results"]), (&json!(1), &json!(1)));
    assert_eq!(files(&home, "layers"), before - 1);
    assert_eq!(home.build_again("app:1", &[]).ran(), [""; 0]);
    assert_eq!(home.build("app:1", "FROM base:1\nRUN echo one >/one\n", &[]).ran().len(), 1);
}

#[test]
fn a_day_passes_before_anything_goes_unless_that_is_told() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1\nRUN echo one >/one\n", &[]);
    home.run(["rmi", "app:1"]).ok();
    home.run(["gc"]).ok().says("nothing to remove").says("freed 0 B");
    let aside = home.json(&["gc", "--grace", "0s", "--unused-for", "0s"]);
    assert_eq!(aside["freed"]["count"], 0);
    assert_ne!(aside["waiting"]["count"], 0);
    home.run(["gc"]).ok().says("put aside");
}

#[test]
fn releases_stay_whole_whatever_is_asked_for_and_can_be_gone_back_to() {
    let site = Site::new();
    site.home.run(["release", "campus", "1.0.0"]).ok();
    site.home.run(["deploy", "campus", "1.0.0"]).ok();
    site.edit("blue");
    site.home.run(["release", "campus", "1.0.1"]).ok();
    site.home.run(["deploy", "campus", "1.0.1"]).ok();
    site.home.run(["rmi", "base:1"]).ok();
    let done = gc(&site.home, &["--max-used-space", "1B", "--unused-for", "0s", "--untagged", "0s"]);
    assert_ne!(done["freed"]["count"], 0);
    assert!(done["survey"]["kept"]["release"]["count"].as_u64().unwrap() >= 6, "{done}");
    site.home.run(["rollback", "campus"]).ok().says("1.0.0");
    site.home.run(["verify"]).ok();
    // Its layers are unpacked again from its blobs when somebody needs them.
    let tag = site.home.json(&["tags", "campus/openedx"])[0]["tag"].as_str().unwrap().to_owned();
    let name = format!("campus/openedx:{tag}");
    assert_eq!(site.home.file(&name, "static.css"), "red");
    let built = site.home.build("on-top:1", &format!("FROM {name}\nRUN cat /static.css >/copy\n"), &[]);
    assert_eq!(built.ran().len(), 1);
}

/// What was read of an image goes with the image, and stays with it.
#[test]
fn what_is_known_of_an_image_goes_with_it() {
    let site = Site::new();
    site.home.run(["release", "campus", "1.0.0"]).ok();
    site.home.build("short:1", "FROM base:1\nRUN touch /x\n", &[]);
    for what in ["campus", "short:1"] {
        site.home.run(["inspect", what]).ok();
    }
    let kept = || -> Vec<String> {
        let database = rusqlite::Connection::open(site.home.store().join("cache.db")).unwrap();
        let mut names = database.prepare("SELECT name FROM names WHERE space = 'worked-out' ORDER BY name").unwrap();
        names.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    // Facts and contents of two released images, contents of one that was never packed.
    let before = kept();
    assert_eq!(before.iter().filter(|name| name.starts_with("manifest/")).count(), 2, "{before:?}");
    assert_eq!(before.iter().filter(|name| name.ends_with("/facts")).count(), 2, "{before:?}");
    assert_eq!(before.len(), 5, "{before:?}");
    gc(&site.home, &[]);
    assert_eq!(kept(), before);
    site.home.run(["rmi", "short:1", "base:1"]).ok();
    // The first takes the layers, the next what is known of images that have none.
    for _ in 0..2 {
        gc(&site.home, &["--max-used-space", "1B", "--unused-for", "0s"]);
    }
    let after = kept();
    assert!(after.len() < before.len() && after.iter().all(|name| before.contains(name)), "{after:?}");
    assert!(!after.iter().any(|name| name.starts_with("image/") && name.ends_with("/inspection")), "{after:?}");
    assert_eq!(after.iter().filter(|name| name.starts_with("manifest/")).count(), 2, "{after:?}");
}

#[test]
fn without_a_release_record_that_can_be_read_nothing_goes() {
    let site = Site::new();
    let release = site.home.json(&["release", "campus", "1.0.0"]);
    let digest = release["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    std::fs::remove_file(site.home.store().join("blobs/sha256").join(digest)).unwrap();
    let before = files(&site.home, "blobs/sha256");
    site.home.run(NOW).ends_with(1).says("nothing was removed").says("release 1 (1.0.0)");
    assert_eq!(files(&site.home, "blobs/sha256"), before);
}

#[test]
fn a_build_that_runs_meanwhile_keeps_what_it_stands_on() {
    let home = Home::with_base();
    let wait = "RUN --mount=type=cache,target=/go while [ ! -e /go/on ]; do sleep 0.1; done; cat /one >/two";
    home.write("Dockerfile", format!("FROM base:1\nRUN echo one >/one\n{wait}\n"));
    let mut child = home.command(["build", "-q", "-t", "app:1", "."]).spawn().unwrap();
    // The first step is done when its layer is there, and the second waits for a file in its cache mount.
    let mount = loop {
        let found = walk(&home.store().join("mounts"));
        match found.iter().find(|path| path.ends_with("data")) {
            Some(data) if files(&home, "layers") >= 2 => break data.clone(),
            _ => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    let during = gc(&home, &["--unused-for", "0s", "--max-used-space", "1B"]);
    assert_eq!((&during["freed"]["count"], &during["leases"]), (&json!(0), &json!(1)), "{during}");
    std::fs::write(mount.join("on"), "").unwrap();
    assert!(child.wait().unwrap().success());
    gc(&home, &[]);
    assert_eq!(home.file("app:1", "two"), "one\n");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(item.path());
        if item.path().is_dir() {
            found.extend(walk(&item.path()));
        }
    }
    found
}

/// Three who build, release and go back, and one who takes everything away that he may, again and again.
#[test]
fn nobody_loses_anything_to_a_collection_that_runs_meanwhile() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let site = Site::new();
    let home = &site.home;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let builders: Vec<_> = (0..2)
            .map(|worker| {
                scope.spawn(move || {
                    for round in 0..8 {
                        // Half of the steps are shared with the other worker, and each comes back after the other half.
                        let (own, shared) = (format!("{worker}-{}", round % 4), round % 2);
                        let folder = format!("../b{worker}");
                        let text = format!(
                            "FROM base:1\nRUN echo {shared} >/shared\nCOPY own /own\nRUN cat /shared /own >/both\n"
                        );
                        home.write(&format!("{folder}/Dockerfile"), text);
                        home.write(&format!("{folder}/own"), &own);
                        let name = format!("app{worker}:{}", round % 3);
                        home.run(["build", "-q", "-t", &name, &folder]).ok();
                        assert_eq!(home.file(&name, "both"), format!("{shared}\n{own}"));
                        home.run(["rmi", &name]).ok();
                    }
                })
            })
            .collect();
        let releaser = scope.spawn(|| {
            for round in 0..4 {
                site.edit(&format!("colour {round}"));
                let version = format!("1.0.{round}");
                home.run(["release", "campus", &version]).ok();
                home.run(["deploy", "campus", &version]).ok();
            }
            home.run(["rollback", "campus"]).ok();
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                home.run([&NOW[..], &["--max-used-space", "1B", "--unused-for", "0s"]].concat()).ok();
            }
        });
        for thread in builders.into_iter().chain([releaser]) {
            let ended = thread.join();
            if ended.is_err() {
                done.store(true, Ordering::Relaxed);
            }
            ended.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    gc(home, &["--max-used-space", "1B", "--unused-for", "0s"]);
    home.run(["verify", "--layers"]).ok();
    for version in ["1.0.0", "1.0.1", "1.0.2", "1.0.3"] {
        home.run(["deploy", "campus", version]).ok();
    }
}
