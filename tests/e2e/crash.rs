//! `kill -9` at any moment, and two commands at once: the next command finishes or undoes, and nothing is half there.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::campus::Campus;
use crate::common::{BASE, Home, Ran};
use crate::memory_disk::MemoryDisk;

/// How often a command is killed, at moments spread over its whole duration.
const KILLS: u32 = 40;

/// A home on a disk that is fast: a killed process leaves the same behind on each.
fn home() -> (MemoryDisk, Home) {
    let home = Home::new();
    let disk = MemoryDisk::mount(&home, "512m");
    home.import_base(BASE);
    (disk, home)
}

/// An instance with nothing released, on a fast disk.
fn campus() -> (MemoryDisk, Campus) {
    let (disk, home) = home();
    (disk, Campus::of(home))
}

/// Starts a command quietly.
pub fn start(home: &Home, args: &[&str]) -> Child {
    home.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills a command after a part of the time that it takes; says whether it had ended by then.
pub fn kill_after(mut child: Child, delay: Duration) -> bool {
    std::thread::sleep(delay);
    // SIGKILL; that it has ended already is no error.
    child.kill().unwrap();
    child.wait().unwrap().success()
}

/// The moments to kill at, for a command that takes so long: a little beyond its end too.
fn moments(whole: Duration) -> impl Iterator<Item = Duration> {
    (0..KILLS).map(move |n| whole * n / (KILLS - 2))
}

/// Nothing of a store is half there, nothing is left over, and no step runs on.
#[track_caller]
pub fn is_tidy(home: &Home) {
    home.run(["images"]).ok();
    let left: Vec<_> =
        std::fs::read_dir(home.store().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let below = format!("{}/", home.store().display());
    assert!(!mounts.contains(&below), "{mounts}");
    let processes = processes_of(home);
    assert!(processes.is_empty(), "{processes:?}");
}

/// Processes that were started with this store, and are not of this test.
fn processes_of(home: &Home) -> Vec<String> {
    let marker = format!("SHIPLAP_HOME={}", home.store().display());
    let of = || -> Vec<String> {
        let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let ours = all.filter(|process| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == marker.as_bytes())
        });
        ours.map(|process| {
            String::from_utf8_lossy(&std::fs::read(process.join("cmdline")).unwrap_or_default()).replace('\0', " ")
        })
        .filter(|line| !line.is_empty())
        .collect()
    };
    // The kernel takes a moment to end the children of what was killed.
    for _ in 0..100 {
        if of().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    of()
}

/// Every release that can be seen is whole: each image comes out, with the version in it.
#[track_caller]
fn releases_are_whole(campus: &Campus) {
    for (version, tag) in campus.releases() {
        for image in ["openedx", "mfe"] {
            assert_eq!(campus.home.file(&format!("campus/{image}:{tag}"), "text"), version, "{image} of {tag}");
        }
    }
}

/// The target says one release's images, and the record says the same.
#[track_caller]
fn is_settled(campus: &Campus, version: &str) {
    campus.run(&["status", "--exit-code"]).ok();
    let status = campus.home.json(&["status", "campus"]);
    assert_eq!(status[0]["current"]["version"], version);
    assert_eq!(status[0]["current"]["outcome"], "succeeded");
    assert!(status[0]["pending"].is_null(), "{status}");
    assert_eq!(campus.deployed(), [version]);
    // A target's temporary files go with the command that recovers.
    let left = Command::new("find").arg(campus.home.work()).args(["-name", ".tmp-*"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn a_release_killed_at_any_moment() {
    let (_disk, campus) = campus();
    campus.edit("0.1.0");
    let began = Instant::now();
    campus.run(&["release", "campus", "0.1.0"]).ok();
    let whole = began.elapsed();
    let mut killed = 0;
    for (n, delay) in moments(whole).enumerate() {
        let version = format!("1.{n}.0");
        campus.edit(&version);
        let ended = kill_after(start(&campus.home, &["release", "campus", &version]), delay);
        killed += u32::from(!ended);
        let seen = campus.releases().iter().any(|(seen, _)| *seen == version);
        assert!(seen || !ended, "{version} was released and is not there");
        if n % 8 == 7 {
            releases_are_whole(&campus);
        }
        // The same again makes it, or finds it made.
        let ran = campus.run(&["release", "campus", &version]).ok();
        assert_eq!(ran.out.contains("was released already"), seen, "{}", ran.out);
        is_tidy(&campus.home);
    }
    // How many depends on the machine.
    assert!(killed > 0, "none was killed before its end");
    assert_eq!(campus.releases().len() as u32, KILLS + 1);
    releases_are_whole(&campus);
    // Each is in the record once, in the order in which they were made.
    let rows = campus.home.json(&["releases", "campus", "--limit", "100"]);
    let sequence: Vec<u64> = rows.as_array().unwrap().iter().map(|row| row["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequence, (1..=u64::from(KILLS) + 1).rev().collect::<Vec<_>>());
}

#[test]
fn a_deploy_killed_at_any_moment() {
    let (_disk, campus) = campus();
    campus.release_and_deploy(&["1.0.0", "1.1.0"]);
    killed_then(&campus, |n| if n % 2 == 0 { &["deploy", "campus", "1.0.0"] } else { &["deploy", "campus", "1.1.0"] });
}

#[test]
fn a_rollback_killed_at_any_moment() {
    let (_disk, campus) = campus();
    campus.release_and_deploy(&["1.0.0", "1.1.0"]);
    killed_then(&campus, |_| &["rollback", "campus"]);
}

/// Kills a command that deploys; the target is never mixed, and the next deploy settles everything.
fn killed_then(campus: &Campus, command: impl Fn(usize) -> &'static [&'static str]) {
    // The quicker of two: what is slow the first time would put most moments behind the end.
    let took = |args: &[&str]| {
        let began = Instant::now();
        campus.run(args).ok();
        began.elapsed()
    };
    let whole = took(&["deploy", "campus", "1.0.0"]).min(took(&["deploy", "campus", "1.1.0"]));
    let mut killed = 0;
    for (n, delay) in moments(whole).enumerate() {
        let ended = kill_after(start(&campus.home, command(n)), delay);
        killed += u32::from(!ended);
        let deployed = campus.deployed();
        assert!(deployed == ["1.0.0"] || deployed == ["1.1.0"], "the target is mixed or empty: {deployed:?}");
        // What can be asked in between can be asked.
        campus.run(&["status"]).ok();
        if n % 2 == 0 {
            let next = if n % 4 == 0 { "1.0.0" } else { "1.1.0" };
            campus.run(&["deploy", "campus", next]).ok();
            is_settled(campus, next);
        } else {
            campus.run(&["rollback", "campus"]).ok();
            let now = campus.deployed();
            is_settled(campus, &now[0]);
            // Each rollback goes further back: without new deployments there is nothing left to go back to.
            campus.run(&["deploy", "campus", "1.0.0"]).ok();
            campus.run(&["deploy", "campus", "1.1.0"]).ok();
        }
        is_tidy(&campus.home);
    }
    // How many depends on the machine.
    assert!(killed > 0, "none was killed before its end");
    releases_are_whole(campus);
}

#[test]
fn a_build_killed_at_any_moment() {
    let (_disk, home) = home();
    let dockerfile = |n: u32| {
        format!(
            "FROM base:1 AS one\nRUN echo {n} >/one; for i in $(seq 300); do echo $i >/file-$i; done\n\
             FROM base:1\nCOPY data /data\nRUN sleep 0.05; echo {n} >/two\nCOPY --from=one /one /one\n"
        )
    };
    for n in 0..200 {
        home.write(&format!("data/{n}"), n.to_string());
    }
    let began = Instant::now();
    home.build("app:warm", &dockerfile(1000), &[]);
    let whole = began.elapsed();
    let mut killed = 0;
    for (n, delay) in (0..KILLS).zip(moments(whole)) {
        home.write("data/changing", n.to_string());
        home.write("Dockerfile", dockerfile(n));
        killed += u32::from(!kill_after(start(&home, &["build", ".", "-t", "app:1"]), delay));
        let built = home.build_again("app:1", &[]);
        assert_eq!(built.ran().len() + built.reused().len(), 4, "{:?}", built.0);
        let files = home.files("app:1");
        for (path, content) in [("one", n), ("two", n), ("data/changing", n), ("data/199", 199)] {
            assert_eq!(String::from_utf8_lossy(&files[path]).trim(), content.to_string(), "{path}");
        }
        is_tidy(&home);
    }
    // How many depends on the machine.
    assert!(killed > 0, "none was killed before its end");
    // Equal inputs, equal image: what the killed ones left in the cache is as if they had not been killed.
    let (_other_disk, fresh) = self::home();
    let tar = |home: &Home| home.command(["export", "app:1", "-", "--format", "rootfs"]).output().unwrap().stdout;
    for n in 0..200 {
        fresh.write(&format!("data/{n}"), n.to_string());
    }
    fresh.write("data/changing", (KILLS - 1).to_string());
    fresh.build("app:1", &dockerfile(KILLS - 1), &[]);
    assert_eq!(fresh.files("app:1"), home.files("app:1"));
    assert_eq!(tar(&home).len(), tar(&fresh).len());
}

/// Runs a command several times at once.
fn at_once(home: &Home, commands: &[&[&str]]) -> Vec<Ran> {
    let children: Vec<Child> = commands
        .iter()
        .map(|args| home.command(*args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    children.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap())).collect()
}

#[test]
fn two_builds_of_one_dockerfile_at_once_give_one_image() {
    for round in 0..3 {
        let (_disk, home) = home();
        home.write(
            "Dockerfile",
            "FROM base:1\nRUN head -c 100000 /dev/urandom >/random; sleep 0.1\nRUN sha256sum /random >/sum\n",
        );
        let build: &[&str] = &["--json", "build", ".", "-t", "app:1"];
        let ids: Vec<_> = at_once(&home, &[build, build, build])
            .into_iter()
            .map(|ran| ran.ok().json()["images"][0]["id"].clone())
            .collect();
        // Of two results of one step the first stays, and the other is it from then on.
        let settled = home.run(build).ok().json();
        assert_eq!(settled["images"][0]["ran"], 0, "round {round}: {ids:?}");
        assert!(ids.iter().all(|id| *id == settled["images"][0]["id"]), "round {round}: {ids:?}, {settled}");
        is_tidy(&home);
    }
}

#[test]
fn two_releases_of_one_version_at_once_are_one_release() {
    let (_disk, campus) = campus();
    campus.edit("1.0.0");
    let release: &[&str] = &["release", "campus", "1.0.0"];
    let ran = at_once(&campus.home, &[release, release]);
    for one in &ran {
        // The second finds it made, or is told that it came second.
        assert!([Some(0), Some(3)].contains(&one.code), "{one:?}");
    }
    let made = ran.iter().filter(|one| one.out.contains(" released\n")).count();
    assert_eq!(made, 1, "{ran:?}");
    assert_eq!(campus.releases().len(), 1);
    campus.run(release).ok().says("was released already");
    releases_are_whole(&campus);
    is_tidy(&campus.home);
}

/// From two commits: one wins, and the other is told which.
#[test]
fn two_releases_of_one_version_from_two_commits() {
    let (_disk, campus) = campus();
    campus.edit("1.0.0");
    let clone = campus.home.path("clone");
    campus.repo.git(&["clone", "-q", ".", clone.to_str().unwrap()]);
    campus.edit("1.0.0 too");
    let config = clone.join("shiplap.toml");
    let release: &[&str] = &["release", "campus", "1.0.0"];
    let there = [&["--config", config.to_str().unwrap()], release].concat();
    let ran = at_once(&campus.home, &[release, &there]);
    let mut codes: Vec<_> = ran.iter().map(|one| one.code).collect();
    codes.sort();
    assert_eq!(codes, [Some(0), Some(3)], "{ran:?}");
    let loser = ran.into_iter().find(|one| one.code == Some(3)).unwrap();
    loser.says("1.0.0").says("choose another version");
    assert_eq!(campus.releases().len(), 1);
}

#[test]
fn two_deploys_at_once_come_one_after_the_other_or_one_is_told() {
    let (_disk, campus) = campus();
    campus.release_and_deploy(&["1.0.0", "1.1.0"]);
    for _ in 0..10 {
        let ran = at_once(
            &campus.home,
            &[&["deploy", "campus", "1.0.0"], &["deploy", "campus", "1.1.0"], &["rollback", "campus"]],
        );
        for one in &ran {
            assert!([Some(0), Some(3)].contains(&one.code), "{one:?}");
        }
        assert!(ran.iter().any(|one| one.code == Some(0)), "{ran:?}");
        for one in ran.into_iter().filter(|one| one.code == Some(3)) {
            assert!(
                ["is being deployed", "was deployed meanwhile", "already"].iter().any(|text| one.err.contains(text)),
                "{one:?}"
            );
        }
        let now = campus.deployed();
        is_settled(&campus, &now[0]);
    }
    // With an expectation at most one can win.
    let current = campus.home.json(&["status", "campus"])[0]["current"]["sequence"].to_string();
    let deploy = |version| ["deploy", "campus", version, "--expect", current.as_str()];
    let mut codes: Vec<_> =
        at_once(&campus.home, &[&deploy("1.0.0"), &deploy("1.1.0")]).iter().map(|ran| ran.code).collect();
    codes.sort();
    assert_eq!(codes, [Some(0), Some(3)]);
    let now = campus.deployed();
    is_settled(&campus, &now[0]);
}
