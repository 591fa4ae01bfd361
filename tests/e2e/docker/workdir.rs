//! `WORKDIR` and `USER`.

use super::Case;

#[test]
fn new_existing_relative_and_from_the_environment() {
    Case::new(concat!(
        "FROM base\nWORKDIR /a/b\nWORKDIR c\nWORKDIR /data/owned\nWORKDIR /data\nENV X=/from/env\nWORKDIR $X/y\n",
        "WORKDIR ${NOTHING:-/other}\nRUN pwd >here\n",
    ))
    .same();
}

#[test]
fn of_a_user() {
    Case::new("FROM base\nUSER bob\nWORKDIR /a/b\nWORKDIR /home/bob/x\nUSER 77\nWORKDIR /c\nUSER 5:6\nWORKDIR /d\n")
        .same();
}

#[test]
fn of_a_user_that_the_image_does_not_have() {
    Case::new("FROM base\nUSER nobody\nWORKDIR /a/b\n").same();
}

#[test]
fn through_links() {
    Case::new(
        "FROM base\nWORKDIR /data/link\nRUN echo 1 >x\nWORKDIR /data/up/new\nRUN pwd >y\nWORKDIR /data/link/../z\n",
    )
    .same();
}

#[test]
fn through_a_broken_link() {
    Case::new("FROM base\nWORKDIR /data/dangling\nRUN echo x >x\n").same();
}

#[test]
fn that_is_a_file() {
    Case::new("FROM base\nWORKDIR /data/file\n").refused();
    Case::new("FROM base\nWORKDIR /data/file/below\n").refused();
}

#[test]
fn in_an_empty_image() {
    Case::new("FROM scratch\nWORKDIR /a/b\nCOPY x .\n").file("x", "x").same();
}

#[test]
fn a_user_runs_with_their_groups_and_home() {
    Case::new(concat!(
        "FROM base\nUSER bob\nRUN id >/tmp/1; echo $HOME >/tmp/2; pwd >/tmp/3; umask >/tmp/4\nUSER bob:audio\nRUN id >/tmp/5\n",
        "USER 3333\nRUN id >/tmp/6; env | sort >/tmp/7\nUSER 4242\nRUN id >/tmp/8; echo $HOME >/tmp/9\nUSER 4242:17\nRUN id >/tmp/a\n",
        "USER solo\nRUN id >/tmp/b; echo $HOME >/tmp/c\nUSER root\nRUN id >/tmp/d\nENV HOME=/own\nUSER bob\nRUN echo $HOME >/tmp/e\n",
    ))
    .same();
}

#[test]
fn a_user_that_is_not_there_cannot_run() {
    Case::new("FROM base\nUSER nobody\nRUN true\n").refused();
    Case::new("FROM base\nUSER bob:nothing\nRUN true\n").refused();
}
