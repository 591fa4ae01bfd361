//! Stages, images and named contexts.

use super::Case;

#[test]
fn files_of_a_stage() {
    Case::new(concat!(
        "FROM base AS one\nRUN mkdir -p /m/n && echo 1 >/m/1 && ln /m/1 /m/n/2 && ln -s ../1 /m/n/l && mkfifo /m/p && chown -R 8:9 /m && chmod 2711 /m/n\n",
        "FROM base\nCOPY --from=one /m /x\nCOPY --from=one /m/n/l /y\nCOPY --from=one /m/* /z/\nCOPY --from=one --chown=bob /m /w\nCOPY --from=0 m/1 /v\n",
        "COPY --from=one /data/link /u\nCOPY --from=one /data/up/ /t/\nCOPY --from=one /m/p /s\n",
    ))
    .same();
}

#[test]
fn a_link_of_a_stage_that_leads_out() {
    Case::new("FROM base AS one\nFROM base\nCOPY --from=one /data/up /x\nCOPY --from=one /data/absolute/inner /y\n")
        .same();
}

#[test]
fn a_link_of_a_stage_in_a_folder_with_links() {
    Case::new("FROM base AS one\nFROM base\nCOPY --from=one /data/chain/sub /x\nCOPY --from=one /data/chai? /y\nCOPY --from=one /data/*/inner /z/\n").same();
}

#[test]
fn files_of_an_image() {
    Case::new("FROM scratch\nCOPY --from=base /data /d\nCOPY --from=base /etc/passwd /\n").same();
}

#[test]
fn the_same_base_twice() {
    Case::new(concat!(
        "FROM base AS common\nRUN echo 1 >/1\nENV A=1\nWORKDIR /w\nFROM common AS left\nRUN echo l >l\nFROM common AS right\nENV A=2\nRUN echo $A >r\n",
        "FROM common\nCOPY --from=left /w/l .\nCOPY --from=right /w/r .\nRUN echo $A >/2\n",
    ))
    .same();
}

#[test]
fn a_target() {
    Case::new("FROM base AS one\nRUN echo 1 >/1\nFROM nothing-of-this-name/at-all:1 AS two\nRUN exit 1\nFROM one AS three\nCMD [\"x\"]\nFROM two\n")
        .flag("--target=three")
        .same();
}

#[test]
fn a_stage_of_the_name_of_a_number_and_of_another_case() {
    Case::new("FROM base AS One\nRUN echo 1 >/1\nFROM base\nCOPY --from=oNE /1 /x\n").same();
}

#[test]
fn named_contexts() {
    Case::new(
        "FROM base\nCOPY --from=other . /x\nCOPY --from=other f* /y/\nRUN --mount=from=other,target=/o ls -R /o >/z\n",
    )
    .file("../other/f", "f\n")
    .file("../other/d/g", "g\n")
    .file("../other/d/skip", "s\n")
    .file("../other/.dockerignore", "d/skip\n")
    .flag("--build-context=other={dir}/other")
    .same();
}

#[test]
fn a_named_context_in_the_place_of_a_stage() {
    Case::new("FROM base AS code\nRUN exit 1\nFROM base\nCOPY --from=code / /x\n")
        .file("../other/f", "f\n")
        .flag("--build-context=code={dir}/other")
        .same();
}

#[test]
fn the_base_is_a_named_context() {
    Case::new("FROM files\nCOPY a /\nCMD [\"/a\"]\n")
        .file("a", "a\n")
        .file_mode("../other/d/f", "f\n", 0o640)
        .flag("--build-context=files={dir}/other")
        .same();
}

#[test]
fn folders_of_a_stage_over_folders() {
    Case::new("FROM base AS one\nRUN chmod 700 /data/dir && chown 1:1 /data && echo 2 >/data/dir/inner\nFROM base\nCOPY --from=one /data /data\nCOPY --from=one / /\n").same();
}

#[test]
fn what_a_stage_deleted_is_not_copied() {
    Case::new("FROM base AS one\nRUN rm -r /data/dir /data/second\nRUN mkdir /data/dir\nFROM scratch\nCOPY --from=one /data /\n").same();
}

#[test]
fn an_empty_image() {
    Case::new("FROM scratch\nCOPY a /\n").file("a", "a").same();
    Case::new("FROM scratch\nADD a /b/\nLABEL x=y\n").file("a", "a").same();
}

#[test]
fn a_stage_that_is_used_before_it_is_there() {
    Case::new("FROM base AS now\nCOPY --from=later /etc/passwd /x\nFROM base AS later\n")
        .flag("--target=now")
        .refused();
}

#[test]
fn a_target_has_a_name_and_no_number() {
    Case::new("FROM base AS one\nFROM base\n").flag("--target=0").refused();
    Case::new("FROM base AS one\nFROM base\n").flag("--target=ONE").same();
}

/// Nothing is nothing, whatever the command line says.
#[test]
fn scratch_is_no_build_context() {
    Case::new("FROM scratch\nCOPY a /\n")
        .file("a", "a")
        .file("../other/b", "b")
        .flag("--build-context=scratch={dir}/other")
        .same();
    Case::new("FROM base\nCOPY --from=scratch b /\n")
        .file("../other/b", "b")
        .flag("--build-context=scratch={dir}/other")
        .refused();
}

#[test]
fn stages_by_number() {
    Case::new(
        "FROM base\nRUN echo 0 >/n\nFROM base\nRUN echo 1 >/n\nFROM base\nCOPY --from=0 /n /0\nCOPY --from=1 /n /1\n",
    )
    .same();
    Case::new("FROM base\nRUN echo 0 >/n\nFROM base\nCOPY --from=1 /n /x\n").refused();
    Case::new("FROM base\nFROM base\nCOPY --from=7 /n /x\n").refused();
    Case::new("FROM base\nRUN echo 0 >/n\nFROM base\nRUN --mount=from=0,target=/m true\n").refused();
}

#[test]
fn a_stage_that_copies_from_itself() {
    Case::new("FROM base AS one\nCOPY --from=one /etc/passwd /x\n").refused();
    Case::new("FROM base AS one\nFROM one AS one\nCOPY --from=one /etc/passwd /x\n").refused();
}

#[test]
fn stages_that_are_not_needed_do_not_run() {
    Case::new("FROM base AS broken\nRUN exit 1\nFROM base AS other\nRUN exit 2\nFROM base\nRUN true\n").same();
    Case::new("FROM base AS broken\nRUN exit 1\nFROM base\nCOPY --from=broken /etc /x\n").refused();
    Case::new("FROM base AS broken\nEXPOSE x\nFROM base\nRUN true\n").same();
    Case::new("FROM base AS broken\nNOTHING x\nFROM base\nRUN true\n").refused();
}

#[test]
fn a_target_that_is_not_there() {
    Case::new("FROM base AS one\n").flag("--target=two").refused();
    Case::new("FROM base AS one\nRUN echo 1 >/1\nFROM base\n").flag("--target=one").same();
}

#[test]
fn patterns_in_a_stage() {
    Case::new("FROM base AS one\nFROM base\nCOPY --from=one /data/*/inner /data/f?le /x/\nCOPY --from=one --exclude=**/deep /data/dir /y\nCOPY --from=one /nothing* /z/\n").same();
    Case::new("FROM base AS one\nFROM base\nCOPY --from=one /nothing /z/\n").refused();
}

#[test]
fn names_that_are_not_utf8() {
    Case::new(concat!(
        "FROM base AS one\nRUN mkdir /q && touch \"/q/$(printf 'a\\377')\" \"/q/$(printf 'a\\376b')\" /q/b\n",
        "FROM base\nCOPY --from=one /q /1\nCOPY --from=one /q/a? /2/\nCOPY --from=one /q/a* /3/\nCOPY --from=one --exclude=a? /q /4\n",
        "RUN --mount=from=one,target=/m cp -a /m/q /5\n",
    ))
    .same();
}
