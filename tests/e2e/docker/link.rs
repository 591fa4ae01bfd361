//! `COPY --link`: files that do not look at what is below them.

use super::Case;

fn zoo(dockerfile: &str) -> Case {
    Case::new(dockerfile)
        .with_merge()
        .file("a", "a\n")
        .file("tree/one", "1\n")
        .file("tree/two/three", "3\n")
        .dir("tree", 0o750)
}

#[test]
fn files_and_folders() {
    zoo("FROM base\nCOPY --link a /new\nCOPY --link a /etc/\nCOPY --link tree /x\nCOPY --link --chown=33:44 tree /y/z\n")
        .same();
}

#[test]
fn onto_folders_with_other_owners_and_modes() {
    zoo("FROM base\nCOPY --link a /data/owned/\nCOPY --link tree /data/owned\nCOPY --link a /tmp/\nCOPY --link a /root/\n").same();
}

#[test]
fn a_name_without_a_slash_is_the_file() {
    zoo("FROM base\nCOPY --link a /new/name\nCOPY --link a /data/file\n").same();
}

#[test]
fn a_file_takes_the_place_of_a_folder() {
    zoo("FROM base\nCOPY --link a /data/dir\n").same();
}

#[test]
fn a_folder_takes_the_place_of_a_file() {
    zoo("FROM base\nCOPY --link tree /data/file\n").same();
}

#[test]
fn a_folder_takes_the_place_of_a_link() {
    zoo("FROM base\nCOPY --link tree /data/link\nCOPY --link a /data/absolute/\n").same();
}

#[test]
fn a_file_takes_the_place_of_a_link() {
    zoo("FROM base\nCOPY --link a /data/to-file\nCOPY --link a /data/dangling\n").same();
}

#[test]
fn with_modes_and_stages() {
    zoo(concat!(
        "FROM base AS one\nRUN mkdir -p /made/deep && echo x >/made/deep/x && chmod 700 /made && chown -R 9:9 /made\n",
        "FROM base\nCOPY --link --from=one /made /made\nCOPY --link --from=one --chmod=711 /made/deep /data/dir/\n",
        "ADD --link a /data/dir/sub/\nRUN echo y >>/made/deep/x\n",
    ))
    .same();
}

#[test]
fn a_working_directory_with_a_link_in_it() {
    zoo("FROM base\nWORKDIR /data/link\nCOPY --link a .\nCOPY --link a ./b\n").same();
}

#[test]
fn in_an_empty_image() {
    zoo("FROM scratch\nCOPY --link a /\nCOPY --link tree /x/\nCOPY --link --chown=1:2 a /y/z/\n").same();
}

/// BuildKit makes no link of it, and copies onto what is there.
#[test]
fn with_a_mode() {
    zoo("FROM base\nCOPY --link --chmod=640 a /data/link/\nCOPY --link --chmod=711 a /data/dir/\nCOPY --link --chmod=700 tree /data/owned\n").same();
    zoo("FROM base\nCOPY --link --chmod=640 a /data/dir\n").same();
    zoo("FROM base\nCOPY --link --chmod=640 tree /data/file\n").refused();
}
