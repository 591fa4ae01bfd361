//! Dockerfiles that are wrong, and steps that fail.

use crate::common::{Home, Ran};

/// Builds a Dockerfile that cannot be built; no image may come of it.
#[track_caller]
fn build(home: &Home, dockerfile: &str, flags: &[&str]) -> Ran {
    home.write("Dockerfile", dockerfile);
    let ran = home.run([&["build", ".", "-t", "app:1"], flags].concat());
    home.run(["export", "app:1", "out"]).ends_with(4);
    ran
}

#[test]
fn a_syntax_error_is_shown_with_its_file_and_line() {
    let home = Home::with_base();
    build(&home, "FROM base:1\n\nENV\n", &[])
        .ends_with(2)
        .says("ENV needs at least one argument")
        .says("[./Dockerfile:3:1]")
        .says("3 │ ENV");
    build(&home, "FROM base:1\nCOPY <<EOF /x\nabc\n", &[])
        .ends_with(2)
        .says("the here-document <<EOF is not closed")
        .says("[./Dockerfile:2:1]")
        .says("end it with a line that holds only EOF");
    build(&home, "FROM base:1\nRUN --mont=type=cache true\n", &[]).ends_with(2).says("did you mean --mount?");
    build(&home, "RUN true\n", &[]).ends_with(2).says("put FROM before it");
    build(&home, "", &[]).ends_with(2).says("the Dockerfile has no FROM");
}

#[test]
fn an_unknown_instruction_and_an_unknown_stage_are_told_with_what_was_meant() {
    let home = Home::with_base();
    build(&home, "FROM base:1\nRUNN true\n", &[])
        .ends_with(2)
        .says("unknown instruction: RUNN")
        .says("[./Dockerfile:2:1]")
        .says("did you mean RUN?");
    build(&home, "FROM base:1 AS production\nRUN true\n", &["--target", "prodution"])
        .ends_with(2)
        .says("no stage \"prodution\"")
        .says("help: did you mean production?");
}

/// `COPY --from` and `FROM` of an unknown name mean an image; when that is not there, the stage was meant.
#[test]
fn a_misspelt_stage_in_copy_from_is_told_at_its_line() {
    let home = Home::with_base();
    let dockerfile = "FROM base:1 AS assets\nRUN true\nFROM base:1\nCOPY --from=127.0.0.1:9/asets /x /y\n";
    build(&home, dockerfile, &[])
        .ends_with(5)
        .says("cannot get the image 127.0.0.1:9/asets")
        .says("[./Dockerfile:4:1]");
    // A name that no registry has, whichever way the network of this machine fails.
    let dockerfile = "FROM base:1 AS assets\nRUN true\nFROM base:1\nCOPY --from=asets /x /y\n";
    let ran = build(&home, dockerfile, &[]);
    assert_ne!(ran.code, Some(0));
    ran.says("[./Dockerfile:4:1]").says("did you mean `assets`?");
}

#[test]
fn a_copy_of_a_missing_file_mentions_the_ignore_file() {
    let home = Home::with_base();
    build(&home, "FROM base:1\nRUN true\nCOPY nothere.txt /\n", &[])
        .ends_with(2)
        .says("nothere.txt is not in the build context")
        .says(".dockerignore")
        .says("[./Dockerfile:3:1]");
    home.write("secret.txt", "x");
    home.write(".dockerignore", "*.txt\n");
    build(&home, "FROM base:1\nCOPY secret.txt /\n", &[]).ends_with(2).says(".dockerignore");
}

#[test]
fn a_step_that_fails_shows_its_output_and_exit_code() {
    let home = Home::with_base();
    let dockerfile = "FROM base:1\nRUN touch /before\nRUN echo to-out; echo to-err >&2; exit 7\n";
    let ran = build(&home, dockerfile, &[]).ends_with(1).says("exit code 7").says("[./Dockerfile:3:1]");
    for text in ["to-out", "to-err"] {
        let shown = ran.err.lines().any(|line| line.ends_with(text) && !line.contains("echo"));
        assert!(shown, "{text} is not in {}", ran.err);
    }
    // What ran before it is kept, and the failure is not.
    let ran = build(&home, dockerfile, &[]).ends_with(1);
    assert!(ran.err.contains("CACHED RUN touch /before"), "{}", ran.err);
    assert!(ran.err.contains("to-out"), "{}", ran.err);
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let home = Home::with_base();
    build(&home, "FROM base:1\nRUN nosuchcommand x\n", &[])
        .ends_with(1)
        .says("nosuchcommand: not found")
        .says("exit code 127");
    build(&home, "FROM base:1\nRUN [\"/bin/nosuchcommand\"]\n", &[])
        .ends_with(1)
        .says("/bin/nosuchcommand: no such file in the image");
    build(&home, "FROM scratch\nRUN true\n", &[]).ends_with(1).says("/bin/sh");
}

#[test]
fn an_unknown_user_is_the_dockerfiles_fault() {
    let home = Home::with_base();
    // `COPY --chown` of such a user is no error: Docker makes it root, and so do we (docs/compatibility.md).
    build(&home, "FROM base:1\nUSER nosuchuser\nRUN true\n", &[])
        .ends_with(2)
        .says("user \"nosuchuser\" is not in the image");
}

#[test]
fn a_required_secret_that_is_not_given_is_asked_for_and_one_that_is_given_is_told_nobody() {
    let home = Home::with_base();
    let dockerfile =
        "FROM base:1\nRUN --mount=type=secret,id=token,required=true cat /run/secrets/token | wc -c >/size\n";
    build(&home, dockerfile, &[]).ends_with(2).says("--secret id=token,src=FILE");
    build(&home, dockerfile, &["--secret", "id=token,src=nofile"]).ends_with(4).says("nofile");
    build(&home, dockerfile, &["--secret", "id=token,env=NO_SUCH_VARIABLE"])
        .ends_with(4)
        .says("NO_SUCH_VARIABLE is not set");

    let secret = "correct-horse-battery";
    home.write("Dockerfile", dockerfile);
    home.write(".dockerignore", "*");
    let mut command = home.command(["build", ".", "-t", "app:1", "--secret", "id=token,env=TOKEN", "--progress=json"]);
    let ran = Ran::of(command.env("TOKEN", secret).output().unwrap()).ok();
    assert_eq!(home.file("app:1", "size").trim(), secret.len().to_string());
    home.run(["export", "app:1", "out"]).ok();
    assert!(!ran.err.contains(secret) && !ran.out.contains(secret));
    for folder in [home.store(), home.work().join("out")] {
        let found = std::process::Command::new("grep").args(["-rlaF", secret]).arg(&folder).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the secret was written down");
    }
}

/// What is wrong with the flags is said before the build, not after it.
#[test]
fn wrong_flags_are_told_before_anything_is_built() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM base:1\nRUN true\n");
    for (flags, says) in [
        (&["-t", "Not A Name"][..], "Not A Name"),
        (&["--push"], "-t REGISTRY/NAME:TAG"),
        (&["--output", "type=local"], "dest is required for local"),
        (&["--output", "type=zip,dest=x"], "there is no type `zip`"),
        (&["--output", "type=image,unpak=true"], "there is no `unpak` for type=image"),
        (&["--platform", "a/b/c/d"], "platform"),
        (&["--build-context", "nothing"], "NAME=VALUE"),
        (&["--shm-size", "big"], "a size, as in 64m"),
    ] {
        let ran = home.run([&["build", "."], flags].concat()).ends_with(2).says(says);
        assert!(!ran.err.contains("RUN true"), "{}", ran.err);
    }
}
