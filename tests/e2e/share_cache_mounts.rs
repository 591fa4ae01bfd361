//! What `RUN --mount=type=cache` holds goes to other machines, and only what a step needs comes there.

use std::path::{Path, PathBuf};

use crate::common::{BuiltImage, Home};

/// A step that fills a cache as uv does, and one that reads one thing of it.
const SITE: &str = "
FROM base:1
RUN --mount=type=cache,target=/cache for i in 1 2 3 4 5 6 7 8; do mkdir -p /cache/archive-v0/$i; \
    dd if=/dev/urandom of=/cache/archive-v0/$i/x bs=1000 count=100; done 2>/dev/null; echo tag >/cache/TAG
COPY plugin /plugin
RUN --mount=type=cache,target=/cache cat /plugin/a >/out; wc -c </cache/archive-v0/3/x >/size; ls /cache/archive-v0 >/names
";

fn machine(dockerfile: &str, plugin: &str) -> Home {
    let home = Home::with_base();
    home.write("plugin/a", plugin);
    home.write("Dockerfile", dockerfile);
    home
}

fn folder() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, path.join("cache"), path)
}

fn with(place: &Path) -> [String; 2] {
    [
        format!("--cache-from=type=local,src={}", place.display()),
        format!("--cache-to=type=local,dest={}", place.display()),
    ]
}

/// Builds with the cache, one step after the other.
fn build(home: &Home, place: &Path, more: &[&str]) -> BuiltImage {
    let [from, to] = with(place);
    home.build_again("app:1", &[&["--no-ahead", from.as_str(), to.as_str()], more].concat())
}

fn moved(built: &BuiltImage, what: &str) -> u64 {
    built.0["cache"][what].as_u64().unwrap()
}

fn names(home: &Home, path: &str) -> Vec<String> {
    home.file("app:1", path).lines().map(str::to_owned).collect()
}

#[test]
fn a_step_gets_what_it_used_the_last_time_and_the_rest_stays_where_it_is() {
    let (_folder, place, _) = folder();
    build(&machine(SITE, "old"), &place, &[]);
    let there = machine(SITE, "new");
    let built = build(&there, &place, &[]);
    assert_eq!(built.ran(), ["COPY plugin /plugin", built.ran()[1]], "the step that reads the plugin alone");
    assert_eq!(there.file("app:1", "size"), "100000\n");
    assert_eq!(names(&there, "names"), ["3"], "and no more of the cache");
    let bytes = moved(&built, "mounts");
    assert!((100_000..250_000).contains(&bytes), "of 800,000: {}", built.0["cache"]);
    // What did not come is still in the tier: a step that nobody knows gets all of it.
    let other = SITE.replace("/plugin/a >/out", "/plugin/a >/other");
    let third = machine(&other, "newest");
    build(&third, &place, &[]);
    assert_eq!(names(&third, "names"), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(third.file("app:1", "size"), "100000\n");
}

#[test]
fn what_a_step_adds_to_parts_that_did_not_come_is_sent_with_the_rest_of_them() {
    let (_folder, place, _) = folder();
    build(&machine(SITE, "old"), &place, &[]);
    // Reads the third thing alone, and writes into another one where somebody wants that.
    let adding = "\nRUN --mount=type=cache,target=/cache cat /plugin/a; cat /cache/archive-v0/3/x >/dev/null; \
                  if grep -q add /plugin/a; then echo more >/cache/archive-v0/5/more || { mkdir -p /cache/archive-v0/5; echo more >/cache/archive-v0/5/more; }; fi";
    let dockerfile = format!("{SITE}{adding}\n");
    build(&machine(&dockerfile, "knows"), &place, &[]);
    build(&machine(&dockerfile, "adds: add"), &place, &[]);
    let all = format!(
        "{SITE}RUN --mount=type=cache,target=/cache cd /cache/archive-v0; ls 5 >/five; ls >/all; cat TAG ../TAG >/tag; true\n"
    );
    let fresh = machine(&all, "looks");
    build(&fresh, &place, &[]);
    assert_eq!(names(&fresh, "five"), ["more", "x"], "both what was there and what came");
    assert_eq!(names(&fresh, "all").len(), 8);
    assert_eq!(fresh.file("app:1", "tag"), "tag\n");
}

#[test]
fn a_later_step_on_the_same_machine_gets_what_is_missing() {
    let (_folder, place, _) = folder();
    let second = "RUN --mount=type=cache,target=/cache cat /plugin/a >/out2; wc -c </cache/archive-v0/5/x >/size5; ls /cache/archive-v0 >/names2\n";
    let dockerfile = format!("{SITE}{second}");
    build(&machine(&dockerfile, "old"), &place, &[]);
    let there = machine(&dockerfile, "new");
    let built = build(&there, &place, &[]);
    assert_eq!(built.ran().len(), 3, "{:?}", built.ran());
    assert_eq!(
        (names(&there, "names"), names(&there, "names2")),
        (vec!["3".to_owned()], vec!["3".to_owned(), "5".to_owned()])
    );
    assert_eq!((there.file("app:1", "size"), there.file("app:1", "size5")), ("100000\n".into(), "100000\n".into()));
    // Nothing is new in the mount, so none of it goes back: a part would be a hundred kilobytes.
    assert!(moved(&built, "sent") < 50_000, "{}", built.0["cache"]);
}

#[test]
fn what_is_only_in_a_mount_here_is_exported_when_every_step_was_reused() {
    let (_folder, place, _) = folder();
    let here = machine(SITE, "old");
    here.build_again("app:1", &[]);
    let [_, to] = with(&place);
    let without = here.build_again("app:1", &[&format!("{to},mounts=0B")]);
    // Files of the base that the steps read go along, a megabyte of them.
    assert!(without.ran().is_empty() && moved(&without, "sent") < 1_500_000, "{}", without.0["cache"]);
    let export = here.build_again("app:1", &[&to]);
    assert!(export.ran().is_empty() && moved(&export, "sent") > 800_000, "{}", export.0["cache"]);
    assert_eq!(moved(&here.build_again("app:1", &[&to]), "sent"), 0, "once");
    let there = machine(SITE, "new");
    build(&there, &place, &[]);
    assert_eq!((there.file("app:1", "size"), names(&there, "names")), ("100000\n".to_owned(), vec!["3".to_owned()]));
}

#[test]
fn a_mount_that_begins_with_files_comes_whole() {
    let (_folder, place, _) = folder();
    let dockerfile = "
FROM base:1 AS seed
RUN mkdir -p /seed/archive-v0/a /seed/archive-v0/b; echo a >/seed/archive-v0/a/x; echo b >/seed/archive-v0/b/x
FROM base:1
COPY plugin /plugin
RUN --mount=type=cache,target=/cache,from=seed,source=/seed cat /plugin/a >/out; cat /cache/archive-v0/a/x; ls /cache/archive-v0 >/names
";
    build(&machine(dockerfile, "old"), &place, &[]);
    let there = machine(dockerfile, "new");
    build(&there, &place, &[]);
    assert_eq!(names(&there, "names"), ["a", "b"]);
}
