//! `shiplap build` and `shiplap plan` on a Dockerfile.

use std::io::Write;
use std::process::Stdio;

use crate::common::{Home, Ran};

#[test]
fn stages_become_one_image_and_nothing_runs_twice() {
    let home = Home::with_base();
    let dockerfile = "
FROM base:1 AS one
RUN echo one >/one
FROM base:1 AS two
COPY --from=one /one /from-one
RUN cat /from-one >/two; echo two >>/two
FROM base:1 AS not-needed
RUN false
FROM two
ENV GREETING=hello
CMD [\"cat\", \"/two\"]
";
    let built = home.build("app:1", dockerfile, &[]);
    assert_eq!(
        built.ran(),
        ["RUN echo one >/one", "COPY --from=one /one /from-one", "RUN cat /from-one >/two; echo two >>/two"]
    );
    assert_eq!(home.file("app:1", "two"), "one\ntwo\n");
    assert!(!home.files("app:1").contains_key("one"));
    let config = &home.config("app:1")["config"];
    assert_eq!(config["Cmd"], serde_json::json!(["cat", "/two"]));
    assert_eq!(config["Env"], serde_json::json!(["PATH=/usr/bin:/bin", "GREETING=hello"]));

    let again = home.build_again("app:2", &[]);
    assert_eq!((again.ran(), again.id()), (vec![], built.id()));
}

#[test]
fn an_edit_reruns_what_follows_it() {
    let home = Home::with_base();
    home.write("first/a", "1");
    home.write("second/b", "1");
    let dockerfile = "
FROM base:1
COPY first /first
RUN cat /first/a >/seen-a
COPY second /second
RUN cat /second/b >/seen-b
";
    let first = home.build("app:1", dockerfile, &[]);
    assert_eq!(first.ran().len(), 4);
    home.write("second/b", "2");
    let second = home.build_again("app:1", &[]);
    assert_eq!(second.reused(), ["COPY first /first", "RUN cat /first/a >/seen-a"]);
    assert_eq!(second.ran(), ["COPY second /second", "RUN cat /second/b >/seen-b"]);
    assert_eq!(home.file("app:1", "seen-b"), "2");
    // What is in a file counts, not when it was written.
    home.write("first/a", "1");
    assert_eq!(home.build_again("app:1", &[]).ran(), Vec::<&str>::new());
    // Back to what was: that was built before.
    home.write("second/b", "1");
    let back = home.build_again("app:1", &[]);
    assert_eq!((back.ran(), back.id()), (vec![], first.id()));
}

#[test]
fn a_plan_says_what_a_build_would_do_and_does_nothing() {
    let home = Home::with_base();
    home.write("page", "1");
    home.write("Dockerfile", "FROM base:1\nRUN touch /one\nCOPY page /\nRUN cat /page\n");
    let decisions = || {
        let plan = home.json(&["plan", "."]);
        let steps = plan["images"][0]["steps"].as_array().unwrap().clone();
        steps.iter().map(|step| step["decision"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!decisions().iter().any(|d| d == "cached" || d == "reused"));
    assert_eq!(decisions(), decisions(), "the first plan built something");
    home.build_again("app:1", &[]);
    assert_eq!(decisions(), ["cached", "cached", "cached"]);
    home.write("page", "2");
    assert_eq!(decisions()[..2], ["cached", "run"]);
    home.run(["plan", "."]).ok().says("COPY page /").says("1 reused");
}

#[test]
fn dockerignore_keeps_files_out_and_their_edits_change_nothing() {
    let home = Home::with_base();
    home.write(".dockerignore", "*.log\nsecret\n!keep.log\n");
    home.write("a.log", "1");
    home.write("keep.log", "1");
    home.write("secret/key", "1");
    home.write("page", "1");
    home.build("app:1", "FROM base:1\nCOPY . /app\n", &[]);
    let files = home.files("app:1");
    let mut names: Vec<_> = files.keys().filter_map(|path| path.strip_prefix("app/")).collect();
    names.retain(|name| !name.is_empty());
    assert_eq!(names, [".dockerignore", "Dockerfile", "keep.log", "page"]);
    home.write("a.log", "2");
    home.write("secret/other", "2");
    assert_eq!(home.build_again("app:1", &[]).ran(), Vec::<&str>::new());
}

#[test]
fn build_args_come_from_the_dockerfile_the_command_line_or_the_environment() {
    let home = Home::with_base();
    let dockerfile = "
ARG TAG=1
FROM base:$TAG
RUN touch /before
ARG COLOUR=red
RUN echo $COLOUR >/colour
";
    assert_eq!(home.build("app:1", dockerfile, &[]).ran().len(), 2);
    assert_eq!(home.file("app:1", "colour"), "red\n");
    let blue = home.build_again("app:1", &["--build-arg", "COLOUR=blue"]);
    assert_eq!(blue.ran(), ["RUN echo $COLOUR >/colour"]);
    assert_eq!(home.file("app:1", "colour"), "blue\n");
    let args = ["build", "-t", "app:1", "--build-arg", "COLOUR", "."];
    Ran::of(home.command(args).env("COLOUR", "green").output().unwrap()).ok();
    assert_eq!(home.file("app:1", "colour"), "green\n");
}

#[test]
fn a_target_is_the_end_of_the_build() {
    let home = Home::with_base();
    let dockerfile = "FROM base:1 AS small\nRUN touch /small\nFROM small AS big\nRUN touch /big\n";
    let built = home.build("app:1", dockerfile, &["--target", "small"]);
    assert_eq!(built.ran(), ["RUN touch /small"]);
    assert!(!home.files("app:1").contains_key("big"));
}

#[test]
fn a_build_context_takes_the_place_of_a_stage_or_an_image() {
    let home = Home::with_base();
    home.write("elsewhere/code/main.py", "print()");
    home.import_base("other:1");
    home.build("replacement:1", "FROM base:1\nRUN echo replaced >/which\n", &[]);
    let dockerfile = "
FROM scratch AS code
ADD https://nowhere.invalid/code.tar /
FROM other:1
COPY --from=code /code /code
";
    let contexts = ["--build-context", "code=elsewhere", "--build-context", "other:1=docker-image://replacement:1"];
    home.build("app:1", dockerfile, &contexts);
    assert_eq!(home.file("app:1", "code/main.py"), "print()");
    assert_eq!(home.file("app:1", "which"), "replaced\n");
}

#[test]
fn what_is_in_a_cache_mount_stays_there_and_nowhere_else() {
    let home = Home::with_base();
    let dockerfile = "
FROM base:1
ARG RUN=1
RUN --mount=type=cache,target=/cache,sharing=locked echo $RUN >>/cache/runs; cat /cache/runs >/runs
";
    home.build("app:1", dockerfile, &[]);
    home.build_again("app:1", &["--build-arg", "RUN=2"]);
    assert_eq!(home.file("app:1", "runs"), "1\n2\n");
    assert!(!home.files("app:1").contains_key("cache/runs"));
}

#[test]
fn heredocs_are_scripts_and_files() {
    let home = Home::with_base();
    let dockerfile = "
FROM base:1
ARG NAME=world
RUN <<EOF
set -e
echo one >/script
echo $NAME >>/script
EOF
COPY <<greeting.txt <<'plain.txt' /texts/
hello $NAME
greeting.txt
hello $NAME
plain.txt
";
    home.build("app:1", dockerfile, &[]);
    assert_eq!(home.file("app:1", "script"), "one\nworld\n");
    assert_eq!(home.file("app:1", "texts/greeting.txt"), "hello world\n");
    assert_eq!(home.file("app:1", "texts/plain.txt"), "hello $NAME\n");
}

#[test]
fn users_owners_modes_and_globs() {
    let home = Home::with_base();
    for name in ["a.txt", "b.txt", "c.md"] {
        home.write(name, name);
    }
    let dockerfile = "
FROM base:1
WORKDIR /home/bob/app
COPY --chown=bob:bob --chmod=640 *.txt ./
USER bob
RUN id -un >/tmp/who; stat -c '%U %G %a' a.txt >/tmp/stat; pwd >/tmp/where; ls >/tmp/list
";
    home.build("app:1", dockerfile, &[]);
    assert_eq!(home.file("app:1", "tmp/who"), "bob\n");
    assert_eq!(home.file("app:1", "tmp/stat"), "bob bob 640\n");
    assert_eq!(home.file("app:1", "tmp/where"), "/home/bob/app\n");
    assert_eq!(home.file("app:1", "tmp/list"), "a.txt\nb.txt\n");
}

#[test]
fn a_failing_step_shows_its_output_and_its_line_and_is_tried_again() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM base:1\nRUN touch /good\n# why\nRUN echo the reason; echo more >&2; exit 7\n");
    for _ in 0..2 {
        let ran = home.run(["build", "-t", "app:1", "."]).ends_with(1);
        ran.says("the reason").says("more").says("Dockerfile:4").says("exit 7").says("7");
    }
    assert!(home.run(["export", "app:1", "-"]).code == Some(4), "a failed build has a name");
    let fixed = home.build("app:1", "FROM base:1\nRUN touch /good\n# why\nRUN true\n", &[]);
    assert_eq!(fixed.reused(), ["RUN touch /good"]);
}

#[test]
fn no_cache_runs_everything() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1\nRUN echo $RANDOM >/one\nRUN touch /two\n", &[]);
    assert_eq!(home.build_again("app:1", &["--no-cache"]).ran().len(), 2);
}

#[test]
fn the_dockerfile_comes_from_anywhere_and_the_id_goes_to_a_file() {
    let home = Home::with_base();
    home.write("page", "hello");
    let args = ["build", "-q", "-f", "-", "-t", "app:1", "--label", "by=ada", "--iidfile", "id", "."];
    let mut child =
        home.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"FROM base:1\nCOPY page /\n").unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap()).ok();
    let id = std::fs::read_to_string(home.work().join("id")).unwrap();
    assert_eq!((ran.out.trim(), ran.err.as_str()), (id.as_str(), ""), "-q is quiet");
    assert_eq!(home.file("app:1", "page"), "hello");
    assert_eq!(home.config("app:1")["config"]["Labels"], serde_json::json!({"by": "ada"}));

    home.write("docker/Dockerfile.small", "FROM base:1\nCOPY page /\nLABEL by=ada\n");
    home.run(["build", "-f", "docker/Dockerfile.small", "-t", "app:2", "."]).ok();
    assert_eq!(home.file("app:2", "page"), "hello");
}

/// Two shells, one store.
#[test]
fn builds_side_by_side_make_the_same_image() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM base:1\nRUN echo one >/one; sleep 1\nRUN cat /one >/two\n");
    let start = |name: &str| {
        let mut command = home.command(["--json", "build", "-t", name, "."]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start("app:1"), start("app:2")];
    let ids = both.map(|child| {
        let ran = Ran::of(child.wait_with_output().unwrap()).ok();
        ran.json()["images"][0]["id"].as_str().unwrap().to_owned()
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(home.build_again("app:3", &[]).id(), ids[0]);
}
