//! Whatever way a path is written, what it leads to is seen, with every link and directory on the way.

use shiplap_builder::sandbox::Mount;

use super::lab::{tree, watch, watch_spec};

#[test]
fn a_file_that_is_read_is_seen_with_the_directories_on_the_way() {
    let lab = tree();
    watch(&lab, "cat /in/deep/er/b")
        .ok()
        .has(&["/in Exists", "/in/deep Exists", "/in/deep/er Exists", "/in/deep/er/b Content"])
        .lacks(&["/in/a", "/in/other"]);
}

#[test]
fn relative_paths_start_where_the_caller_stands() {
    let lab = tree();
    watch(&lab, "cd /in/deep; cat er/b; cat ../other/c").ok().has(&["/in/deep/er/b Content", "/in/other/c Content"]);
    watch(&lab, "probe openat /in/deep er/b").ok().has(&["/in/deep/er/b Content"]);
    watch(&lab, "probe fchdir /in/deep er/b").ok().has(&["/in/deep/er/b Content"]);
}

#[test]
fn a_thread_may_stand_elsewhere() {
    let lab = tree();
    let seen = watch(&lab, "cd /in; probe thread /in/deep/er b a");
    assert_eq!(seen.out, "2\n1\n");
    seen.has(&["/in/deep/er/b Content", "/in/a Content"]).lacks(&["/in/deep/er/a"]);
}

#[test]
fn links_on_the_way_count_and_those_at_the_end_as_the_call_says() {
    let lab = tree();
    watch(&lab, "cat /in/chain/b").ok().has(&["/in/chain Content", "/in/to-deep Content", "/in/deep/er/b Content"]);
    watch(&lab, "readlink /in/chain").ok().has(&["/in/chain Content"]).lacks(&["/in/to-deep", "/in/deep"]);
    watch(&lab, "test -e /in/dangling || true").ok().has(&["/in/dangling Content", "/in/nowhere Exists"]);
    watch(&lab, "ls -d /in/to-deep/").ok().has(&["/in/to-deep Content", "/in/deep Exists"]);
}

#[test]
fn openat2_may_take_a_directory_for_the_root() {
    let lab = tree();
    std::os::unix::fs::symlink("/other/c", lab.layers[0].join("in/absolute")).unwrap();
    assert_eq!(watch(&lab, "probe openat2 /in deep/er/b").has(&["/in/deep/er/b Content"]).out, "2\n");
    let seen = watch(&lab, "probe openat2 /in absolute in-root");
    assert_eq!(seen.out, "3\n");
    seen.has(&["/in/absolute Content", "/in/other/c Content"]).lacks(&["/other"]);
}

#[test]
fn what_is_missing_is_seen_once_and_as_missing() {
    let lab = tree();
    let seen = watch(&lab, "cat /none/of/this || cat /none/of/that || true");
    seen.has(&["/none Exists"]).lacks(&["/none/of"]);
}

#[test]
fn a_probe_is_no_read_and_a_stat_is() {
    let lab = tree();
    let seen = watch(&lab, "test -r /in/a; cd /in/other; ls -d /in/deep");
    seen.has(&["/in/other Exists", "/in/deep Exists"]).lacks(&["/in/deep/er"]);
    watch(&lab, "stat -c %s /in/same").ok().has(&["/in/same Content"]);
}

#[test]
fn a_directory_that_is_listed_is_seen_as_listed() {
    let lab = tree();
    watch(&lab, "ls /in/other").ok().has(&["/in/other Listing"]);
    watch(&lab, "cd /in/to-deep; ls").ok().has(&["/in/deep Listing"]);
    watch(&lab, "ls -d /in/other").ok().lacks(&["/in/other/c"]);
}

#[test]
fn paths_by_way_of_proc_lead_where_they_lead() {
    let lab = tree();
    watch(&lab, "cd /in/deep; cat /proc/self/cwd/er/b").ok().has(&["/in/deep/er/b Content"]);
    watch(&lab, "cat /proc/self/root/in/a /proc/thread-self/root/in/other/c")
        .ok()
        .has(&["/in/a Content", "/in/other/c Content"]);
    watch(&lab, "exec 7</in/other; cat /proc/self/fd/7/c /dev/fd/7/../a")
        .ok()
        .has(&["/in/other/c Content", "/in/a Content"]);
    watch(&lab, "cd /in/deep; cat /proc/$$/cwd/er/b; cat /proc/1/root/in/a || true").has(&["/in/deep/er/b Content"]);
    watch(&lab, "probe o_path /in/a").ok().has(&["/in/a Content"]);
}

#[test]
fn a_root_of_its_own_is_followed() {
    let lab = tree();
    let seen = watch(&lab, "probe chroot /in /other/c; probe chroot /in ../../../a");
    assert_eq!(seen.out, "3\n1\n");
    seen.has(&["/in/other/c Content", "/in/a Content"]).lacks(&["/other", "/a"]);
}

#[test]
fn a_path_at_the_end_of_a_page_is_read_whole() {
    let lab = tree();
    assert_eq!(watch(&lab, "probe edge /in/deep/er/b").has(&["/in/deep/er/b Content"]).out, "2\n");
}

#[test]
fn what_leads_through_a_link_of_the_steps_own_is_seen() {
    let lab = tree();
    watch(&lab, "ln -s /in /work/l; cat /work/l/deep/er/b").ok().has(&["/in/deep/er/b Content"]);
    watch(&lab, "mkdir -p /new/x; ln -s ../../in /new/x/l; cd /new/x/l/deep; cat er/b")
        .ok()
        .has(&["/in/deep/er/b Content"]);
    watch(&lab, "mkdir /t; ln -s /in /t/l; mv /t /opt/t; cat /opt/t/l/a").ok().has(&["/in/a Content"]);
    watch(&lab, "mkdir /t; cat /t/l/a || true; ln -s /in /t/l; cat /t/l/a").ok().has(&["/in/a Content"]);
}

#[test]
fn a_link_of_the_parent_that_the_step_replaced_is_not_followed_any_more() {
    let lab = tree();
    watch(&lab, "rm /in/to-deep; mkdir /in/to-deep; ln -s /in/other /in/to-deep/er; cat /in/to-deep/er/c")
        .ok()
        .has(&["/in/other/c Content"])
        .lacks(&["/in/deep/er/c"]);
    watch(&lab, "ln -sfn /in/other /in/to-deep; cat /in/to-deep/c").ok().has(&["/in/other/c Content"]);
}

#[test]
fn a_link_that_could_not_be_made_leaves_those_of_the_parent() {
    let lab = tree();
    // /in/deep is there: nothing is put in its place, and the links in it are the parent's.
    std::os::unix::fs::symlink("../a", lab.layers[0].join("in/deep/l")).unwrap();
    let seen = watch(&lab, "probe symlink /nowhere /in/deep; cat /in/deep/l");
    assert_eq!(seen.out, "symlink: File exists\n1");
    seen.has(&["/in/deep/l Content", "/in/a Content"]);
}

#[test]
fn a_directory_takes_the_place_of_an_empty_one_alone() {
    let lab = tree();
    let seen = watch(&lab, "mkdir /work/new; probe rename /work/new /in/other");
    assert_eq!(seen.out, "rename: Directory not empty\n");
    seen.has(&["/in/other Listing"]);
}

#[test]
fn a_name_may_end_as_that_of_something_deleted() {
    let lab = tree();
    let dir = lab.layers[0].join("in/d (deleted)");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("f"), "5").unwrap();
    watch(&lab, "cd '/in/d (deleted)'; cat f; ls").ok().has(&["/in/d (deleted)/f Content", "/in/d (deleted) Listing"]);
    watch(&lab, "mkdir /new; cd /new; rmdir /new; cat ../in/a; cat x || true").has(&["/in/a Content", "/new Exists"]);
}

#[test]
fn dots_lead_out_of_what_the_step_made() {
    let lab = tree();
    watch(&lab, "mkdir -p /new/x; cat /new/x/../../in/a; cd /new/x; cat ../../in/other/c")
        .ok()
        .has(&["/in/a Content", "/in/other/c Content"]);
}

#[test]
fn what_is_mounted_is_no_input_and_what_its_links_lead_to_is() {
    let lab = tree();
    let cache = lab.path("cache");
    std::fs::create_dir(&cache).unwrap();
    std::fs::write(cache.join("x"), "x").unwrap();
    std::os::unix::fs::symlink("/in/deep", cache.join("back")).unwrap();
    let mut spec = lab.spec("cat /root/.cache/x; cat /root/.cache/back/er/b; cat /root/.cache/../../in/a");
    spec.mounts = vec![Mount::Cache { dir: cache, target: "/root/.cache".into(), read_only: false }];
    watch_spec(&lab, spec).ok().has(&["/in/deep/er/b Content", "/in/a Content", "/root/.cache Exists"]).lacks(&[
        "/root/.cache/x",
        "/root/.cache/back",
        "/proc/self",
    ]);
}

#[test]
fn a_hundred_thousand_files_of_the_steps_own_are_one_observation() {
    let lab = tree();
    let script = "mkdir /new; cd /new; i=0; while [ $i -lt 100000 ]; do : > $i; i=$((i+1)); done; cat 5 77 > /sum";
    let seen = watch(&lab, script);
    seen.ok().has(&["/new Exists"]).lacks(&["/new/5"]);
    assert!(seen.trace.set.observations().len() < 60, "{:#?}", seen.asked());
    assert!(seen.trace.calls > 100_000);
}
