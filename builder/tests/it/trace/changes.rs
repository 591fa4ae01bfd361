//! What the layer does to the tree below it is an input.

use super::lab::{tree, watch};

#[test]
fn a_file_that_is_written_over_is_an_input_though_nobody_read_it() {
    let lab = tree();
    watch(&lab, "echo new > /in/a; echo more >> /in/other/c").ok().has(&["/in/a Content", "/in/other/c Content"]);
}

#[test]
fn a_change_of_mode_or_owner_needs_the_content_that_goes_into_the_layer() {
    let lab = tree();
    watch(&lab, "chmod 600 /in/a; chown 1:1 /in/other").ok().has(&["/in/a Content", "/in/other Content"]);
}

#[test]
fn a_file_that_is_renamed_or_linked_travels_with_its_content() {
    let lab = tree();
    watch(&lab, "mv /in/a /work/moved").ok().has(&["/in/a Content", "/work/moved Exists"]);
    watch(&lab, "ln /in/a /work/linked").ok().has(&["/in/a Content", "/work/linked Exists"]);
    watch(&lab, "echo 1 > /work/t; mv /work/t /in/a").ok().has(&["/in/a Content"]);
}

#[test]
fn a_directory_that_is_removed_is_an_input_all_the_way_down() {
    let lab = tree();
    watch(&lab, "rm -r /in/deep").ok().has(&["/in/deep Listing", "/in/deep/er Listing"]);
    watch(&lab, "rm -r /in/deep; mkdir /in/deep").ok().has(&["/in/deep Listing", "/in/deep/er Listing"]);
}

#[test]
fn what_is_made_must_not_be_there() {
    let lab = tree();
    watch(&lab, "mkdir /work/d; echo > /work/d/f; echo > /work/g")
        .ok()
        .has(&["/work/d Exists", "/work/g Exists"])
        .lacks(&["/work/d/f"]);
}

#[test]
fn a_probe_before_a_removal_is_seen_as_a_probe() {
    let lab = tree();
    watch(&lab, "rm -f /in/none").ok().has(&["/in/none Exists"]);
    watch(&lab, "rmdir /in/other || true").has(&["/in/other Listing"]);
}
