//! `COPY` from the build context.

use super::Case;

/// Files and folders of several kinds and modes.
fn zoo(dockerfile: &str) -> Case {
    Case::new(dockerfile)
        .file("a.txt", "a\n")
        .file_mode("b.txt", "b\n", 0o600)
        .file_mode("run", "#!/bin/sh\n", 0o755)
        .file_mode("setuid", "s\n", 0o4711)
        .file("tree/one", "1\n")
        .file("tree/two/three", "3\n")
        .dir("tree/empty", 0o700)
        .dir("tree/sticky", 0o1777)
        .dir("tree/group", 0o2750)
        .symlink("tree/link", "one")
        .symlink("tree/absolute", "/etc/passwd")
        .symlink("tree/broken", "nowhere")
        .symlink("tree/folder", "two")
        .file(".hidden", "h\n")
}

#[test]
fn a_file_to_a_name_a_folder_and_a_new_folder() {
    zoo("FROM base\nCOPY a.txt /new\nCOPY a.txt /etc\nCOPY b.txt /made/\nCOPY run /x/y/z\nCOPY setuid /bin/\n").same();
}

#[test]
fn a_file_onto_a_file() {
    zoo("FROM base\nCOPY a.txt /data/file\nCOPY b.txt /data/tool\n").same();
}

#[test]
fn a_file_onto_a_link_to_a_file() {
    zoo("FROM base\nCOPY a.txt /data/to-file\n").same();
}

#[test]
fn a_file_onto_a_broken_link() {
    zoo("FROM base\nCOPY a.txt /data/dangling\n").same();
}

#[test]
fn a_file_through_a_broken_link() {
    zoo("FROM base\nCOPY a.txt /data/dangling/x\n").same();
}

#[test]
fn a_file_through_links_to_folders() {
    zoo("FROM base\nCOPY a.txt /data/link/\nCOPY b.txt /data/absolute/b\nCOPY run /data/chain\nCOPY a.txt /data/up/\n")
        .same();
}

#[test]
fn a_file_into_a_loop_of_links() {
    zoo("FROM base\nCOPY a.txt /data/loop/x\n").refused();
}

#[test]
fn a_file_below_a_file() {
    zoo("FROM base\nCOPY a.txt /data/file/x\n").refused();
}

#[test]
fn a_file_with_a_slash_onto_a_file() {
    zoo("FROM base\nCOPY a.txt /data/file/\n").refused();
}

#[test]
fn a_folder_is_its_content() {
    zoo("FROM base\nCOPY tree /new\nCOPY tree/ /root\nCOPY tree /data/dir/\nCOPY tree/two /two/\n").same();
}

#[test]
fn everything() {
    zoo("FROM base\nCOPY . /app\nCOPY . .\n").same();
}

#[test]
fn a_folder_into_an_owned_folder_keeps_its_owner() {
    zoo("FROM base\nCOPY tree /data/owned\nCOPY tree /data/dir/sub\n").same();
}

#[test]
fn a_folder_of_the_source_takes_over_one_that_is_there() {
    Case::new("FROM base\nCOPY . /data\n").dir("owned", 0o755).dir("dir", 0o711).dir("dir/sub", 0o755).same();
}

#[test]
fn a_folder_over_a_link_to_a_folder() {
    Case::new("FROM base\nCOPY . /data\n").file("link/x", "x\n").refused();
}

#[test]
fn a_folder_over_links_that_lead_elsewhere() {
    Case::new("FROM base\nCOPY . /data\n").file("up/x", "x\n").file("absolute/y/z", "z\n").refused();
}

#[test]
fn a_folder_over_a_broken_link() {
    Case::new("FROM base\nCOPY . /data\n").file("dangling/x", "x\n").refused();
}

#[test]
fn a_folder_over_a_link_to_a_file() {
    Case::new("FROM base\nCOPY . /data\n").file("to-file/x", "x\n").refused();
}

#[test]
fn a_folder_over_a_file() {
    Case::new("FROM base\nCOPY . /data\n").file("file/x", "x\n").refused();
}

#[test]
fn a_folder_to_the_name_of_a_file() {
    zoo("FROM base\nCOPY tree /data/file\n").refused();
}

#[test]
fn a_file_over_a_folder() {
    Case::new("FROM base\nCOPY . /data\n").file("dir", "x\n").refused();
}

#[test]
fn a_file_of_a_folder_over_a_link() {
    Case::new("FROM base\nCOPY . /data\n").file("to-file", "x\n").file("dangling", "y\n").same();
}

#[test]
fn a_file_of_a_folder_over_a_link_to_a_folder() {
    Case::new("FROM base\nCOPY . /data\n").file("link", "x\n").same();
}

#[test]
fn a_link_over_what_is_there() {
    Case::new("FROM base\nCOPY . /data\n")
        .symlink("file", "tool")
        .symlink("link", "owned")
        .symlink("dangling", "x")
        .same();
}

#[test]
fn a_link_over_a_folder() {
    Case::new("FROM base\nCOPY . /data\n").symlink("dir", "owned").refused();
}

#[test]
fn a_link_that_is_named_is_followed() {
    zoo("FROM base\nCOPY tree/link /l1\nCOPY tree/folder /l2\nCOPY tree/folder/three /l3\nCOPY tree/folder/ /l4/\n")
        .same();
}

#[test]
fn a_link_that_leads_out_of_the_context() {
    zoo("FROM base\nCOPY tree/absolute /x\n").refused();
}

#[test]
fn a_broken_link_that_is_named() {
    zoo("FROM base\nCOPY tree/broken /x\n").refused();
}

#[test]
fn a_broken_link_that_a_pattern_finds() {
    zoo("FROM base\nCOPY tree/bro* /x/\n").refused();
}

#[test]
fn links_that_a_pattern_finds() {
    zoo("FROM base\nCOPY tree/l* tree/f* /x/\n").same();
}

#[test]
fn patterns() {
    zoo("FROM base\nCOPY *.txt /x/\nCOPY tree/t* /y/\nCOPY t??e/o[a-n]e /z/\nCOPY [!a].txt /w\nCOPY .h* /v/\n").same();
}

#[test]
fn a_pattern_for_folders_and_files() {
    zoo("FROM base\nCOPY * /x/\n").same();
}

#[test]
fn a_pattern_below_a_pattern() {
    zoo("FROM base\nCOPY t*/t*/t* /x/\nCOPY */one /y\n").same();
}

#[test]
fn a_pattern_of_stars() {
    zoo("FROM base\nCOPY **/three /x/\n").same();
}

#[test]
fn a_pattern_for_several_files_and_one_name() {
    zoo("FROM base\nCOPY *.txt /x\n").same();
}

#[test]
fn a_pattern_for_several_files_and_a_folder_that_is_there() {
    zoo("FROM base\nCOPY *.txt /data/dir\n").same();
}

#[test]
fn a_pattern_that_finds_nothing() {
    zoo("FROM base\nCOPY nothing* /x/\n").same();
}

#[test]
fn a_missing_file() {
    zoo("FROM base\nCOPY nothing /x/\n").refused();
}

#[test]
fn a_file_of_many_that_is_missing() {
    zoo("FROM base\nCOPY a.txt nothing b.txt /x/\n").refused();
}

#[test]
fn several_sources() {
    zoo("FROM base\nCOPY a.txt tree run /x/\nCOPY tree tree/two /y/\nCOPY tree/one b.txt /data/dir/\n").same();
}

#[test]
fn several_sources_without_a_slash() {
    zoo("FROM base\nCOPY a.txt b.txt /data/dir\nCOPY b.txt a.txt /new\n").same();
}

#[test]
fn the_json_form_and_names_with_spaces() {
    Case::new("FROM base\nCOPY [\"a b\", \"c\\td\", \"/x y/\"]\nCOPY [\"tr\u{fc}*\", \"/z/\"]\n")
        .file("a b", "1")
        .file("c\td", "2")
        .file("tr\u{fc}b", "3")
        .same();
}

#[test]
fn a_way_out_of_the_context_ends_at_its_top() {
    zoo("FROM base\nCOPY ../a.txt /x/\nCOPY /b.txt /y/\nCOPY ./tree/../run /z\n").same();
}

#[test]
fn a_way_out_of_the_image_ends_at_its_top() {
    zoo("FROM base\nWORKDIR /data\nCOPY a.txt ../../../x/\nCOPY a.txt ./\nCOPY b.txt .\nCOPY run ..\n").same();
}

#[test]
fn hard_links() {
    Case::new("FROM base\nCOPY . /x\nCOPY one /y/\nCOPY one two /z/\nCOPY d /w\n")
        .file("one", "1")
        .hard_link("two", "one")
        .hard_link("d/three", "one")
        .hard_link("d/four", "one")
        .same();
}

#[test]
fn owners_by_number_and_by_name() {
    zoo(concat!(
        "FROM base\nCOPY --chown=12:34 a.txt /x1\nCOPY --chown=12 a.txt /x2\nCOPY --chown=bob a.txt /x3\n",
        "COPY --chown=bob:extra a.txt /x4\nCOPY --chown=:extra a.txt /x5\nCOPY --chown=solo tree /x6/new\n",
        "COPY --chown=bob tree /data/dir\nCOPY --chown=bob a.txt /m1/m2/\nCOPY --chown=0:29 tree/two /data/owned\n",
        "COPY --chown=bob:7 setuid /x7\n",
    ))
    .same();
}

#[test]
fn an_owner_whose_name_is_not_in_the_image() {
    zoo(concat!(
        "FROM base\nCOPY --chown=nobody a.txt /1\nCOPY --chown=bob:nothing a.txt /2\nCOPY --chown=nobody:77 a.txt /3/x\n",
        "COPY --chown=bob: a.txt /4\nCOPY --chown=7:nothing a.txt /5\nCOPY --chown=:nothing a.txt /6\nCOPY --chown=nobody:extra a.txt /7\n",
    ))
    .same();
}

#[test]
fn an_owner_of_a_number_in_an_empty_image() {
    zoo("FROM scratch\nCOPY --chown=5:6 a.txt /x/y\n").same();
}

#[test]
fn the_user_does_not_own_what_is_copied() {
    zoo("FROM base\nUSER bob\nCOPY tree /x\n").same();
}

#[test]
fn modes() {
    zoo(concat!(
        "FROM base\nCOPY --chmod=640 a.txt /x1\nCOPY --chmod=0755 tree /x2\nCOPY --chmod=4711 a.txt /m/x3\n",
        "COPY --chmod=700 --chown=bob tree /data/dir\nCOPY --chmod=600 tree/two /data/owned\n",
    ))
    .same();
}

#[test]
fn symbolic_modes() {
    zoo("FROM base\nCOPY --chmod=u=rwX,go=rX . /x1\nCOPY --chmod=a+x,g-r . /x2\nCOPY --chmod=+w,o=u b.txt setuid /x3/\n").same();
}

#[test]
fn a_mode_from_an_argument() {
    zoo("FROM base\nARG MODE=711\nARG WHO=bob\nCOPY --chmod=${MODE} --chown=${WHO}:extra tree /x\n").same();
}

#[test]
fn a_mode_that_is_none() {
    zoo("FROM base\nCOPY --chmod=99 a.txt /x\n").refused();
    zoo("FROM base\nCOPY --chmod=u+q a.txt /x\n").refused();
}

#[test]
fn excludes() {
    zoo(concat!(
        "FROM base\nCOPY --exclude=*.txt . /x\nCOPY --exclude=two tree /y\nCOPY --exclude=tree/two . /z\n",
        "COPY --exclude=**/three --exclude=tree/l* . /w\nCOPY --exclude=two/* tree /v\n",
    ))
    .same();
}

#[test]
fn excludes_of_patterns_and_files() {
    zoo("FROM base\nCOPY --exclude=b.txt *.txt /x/\nCOPY --exclude=three tree/t* /y/\n").same();
}

#[test]
fn an_exclude_of_the_file_that_is_named() {
    zoo("FROM base\nCOPY --exclude=a.txt a.txt /x/\n").same();
}

#[test]
fn an_empty_folder() {
    Case::new("FROM base\nCOPY empty /x\nCOPY empty /y/\nCOPY empty /data/dir\n").dir("empty", 0o700).same();
}

#[test]
fn a_context_without_files() {
    Case::new("FROM base\nCOPY . /x\n").same();
}

#[test]
fn inline_files() {
    Case::new(concat!(
        "FROM base\nARG A=arg\nCOPY <<EOF /x1\nhello $A ${A:-b} \\$A\nEOF\nCOPY <<'EOF' /x2\nraw $A\nEOF\n",
        "COPY <<-EOF /x3\n\tindented\n\t\ttwice\n\tEOF\nCOPY <<one <<two /d/\n1\none\n2\ntwo\n",
        "COPY --chmod=755 --chown=bob <<EOF a /e/\nmixed\nEOF\nCOPY <<EOF /data/dir\ninto\nEOF\n",
    ))
    .file("a", "a")
    .same();
}

#[test]
fn a_source_that_no_user_may_read() {
    Case::new("FROM base\nCOPY . /x\n").file_mode("secret", "s", 0o000).dir("closed", 0o000).same();
}

#[test]
fn a_slash_and_a_dot_at_the_end() {
    zoo("FROM base\nCOPY a.txt /x/.\nCOPY b.txt /data/dir/.\nCOPY tree/. /y\nCOPY tree/two/.. /z\nCOPY run /w//v///\n")
        .same();
}
