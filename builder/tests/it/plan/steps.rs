//! Single instructions.

use shiplap_builder::dockerfile::BuildOptions;
use shiplap_builder::plan::{AddSource, Chmod, CopySource, InlineFile, MountKind, Network, Op, RunOp};

use super::{args, op, plan, stage};

fn run(text: &str) -> RunOp {
    match op(text) {
        Op::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn path(base: &str, pattern: &str) -> CopySource {
    CopySource::Path { base: base.to_owned(), pattern: pattern.to_owned() }
}

#[test]
fn run_in_all_forms() {
    assert_eq!(run("FROM a\nRUN [\"a\", \"$B\"]\n").argv, ["a", "$B"]);
    assert_eq!(run("FROM a\nSHELL [\"/bin/bash\", \"-ec\"]\nRUN x\n").argv, ["/bin/bash", "-ec", "x"]);
    assert_eq!(run("FROM a\nRUN --network=none x\n").network, Network::None);
    // An unfinished list is a shell command.
    assert_eq!(run("FROM a\nRUN [ -e x ] && y\n").argv[2], "[ -e x ] && y");
    let script = run("FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n");
    let data = "#!/usr/bin/env python3\nprint(1)\n".to_owned();
    assert_eq!(script.inline_files, [InlineFile { name: "EOF".to_owned(), data }]);
    assert_eq!(script.argv, ["/bin/sh", "-c", "/dev/pipes/EOF"]);
    let shell = run("FROM a\nRUN cat <<A >f && cat <<-'B'\nx\nA\n\ty\nB\n");
    assert_eq!(shell.argv[2], "cat <<A >f && cat <<-'B'\nx\nA\n\ty\nB");
}

#[test]
fn run_sees_env_and_arguments_as_they_were() {
    let r = run("FROM a\nARG A=arg E=old\nENV E=env B=$A\nARG LATE\nRUN x\n");
    assert_eq!((r.env.get("A"), r.env.get("B"), r.env.get("E")), (Some("arg"), Some("arg"), Some("env")));
    assert_eq!(r.env.get("LATE"), None);
    assert_eq!(r.env.get("PATH"), Some("/usr/bin:/bin"));
    let scratch = run("FROM scratch\nRUN x\n");
    assert_eq!(scratch.env.get("PATH"), Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
}

#[test]
fn copy_with_every_flag() {
    let text = "FROM a\nWORKDIR /w\nARG U=7\nCOPY --chown=$U:g --chmod=u+x --link --parents --exclude=*.pyc --exclude=$U a/./b/*.py /c ./d/\n";
    let Op::Copy(copy) = op(text) else { panic!() };
    assert_eq!(copy.sources, [path("a", "b/*.py"), path("", "c")]);
    // What gets a mode is no link, as in BuildKit.
    assert!(copy.parents && !copy.to.link);
    assert_eq!(copy.to.path, "/w/d/");
    assert_eq!(copy.to.chown.as_deref(), Some("7:g"));
    assert_eq!(copy.to.chmod, Some(Chmod::Symbolic("u+x".to_owned())));
    assert_eq!(copy.to.exclude, ["*.pyc", "7"]);
    let Op::Copy(copy) = op("FROM a\nARG NONE\nCOPY --link --chmod=$NONE . .\n") else { panic!() };
    assert!(copy.to.link && copy.to.chmod.is_none());
    let Op::Copy(copy) = op("FROM a\nCOPY . .\n") else { panic!() };
    assert_eq!((copy.sources, copy.to.path.as_str()), (vec![path("", "")], "/"));
    let Op::Copy(copy) = op("FROM a\nCOPY [\"a b\", \"../c\", \"/d e/\"]\n") else { panic!() };
    assert_eq!((copy.sources, copy.to.path.as_str()), (vec![path("", "a b"), path("", "c")], "/d e/"));
}

#[test]
fn inline_files_are_expanded_unless_quoted() {
    let Op::Copy(copy) = op("FROM a\nARG X=1\nCOPY <<A <<'B' /x/\nit's $X ${Y:-2} \\$X\nA\n$X\nB\n") else { panic!() };
    let inline = |name: &str, data: &str| CopySource::Inline(InlineFile { name: name.into(), data: data.into() });
    assert_eq!(copy.sources, [inline("A", "it's 1 2 $X\n"), inline("B", "$X\n")]);
}

#[test]
fn add_tells_archives_downloads_and_repositories_apart() {
    let sum = format!("sha256:{}", "0".repeat(64));
    let Op::Add(add) = op(&format!("FROM a\nADD --checksum={sum} https://x/y/z.tar?q /d/\n")) else { panic!() };
    assert_eq!(
        add.sources,
        [AddSource::Http {
            url: "https://x/y/z.tar?q".to_owned(),
            file_name: "z.tar".to_owned(),
            checksum: Some(sum),
            unpack: false
        }]
    );
    let Op::Add(add) = op("FROM a\nADD a.tar git@h:r.git#v:sub https://x/y.git /d/\n") else { panic!() };
    assert_eq!(add.sources[0], AddSource::Path { pattern: "a.tar".to_owned(), unpack: true });
    assert!(matches!(&add.sources[1], AddSource::Git(g) if g.subdir.as_deref() == Some("sub") && !g.keep_git_dir));
    assert!(matches!(&add.sources[2], AddSource::Git(g) if g.reference.is_none() && g.submodules));
    let Op::Add(add) = op("FROM a\nADD --unpack=false a.tar /d/\n") else { panic!() };
    assert_eq!(add.sources[0], AddSource::Path { pattern: "a.tar".to_owned(), unpack: false });
}

#[test]
fn workdir_is_relative_to_the_last_and_belongs_to_the_user() {
    let built = stage("FROM a\nWORKDIR /a\nUSER app\nWORKDIR b/../c\nWORKDIR /\n");
    let workdirs: Vec<&Op> = built.steps.iter().map(|s| &s.op).filter(|o| matches!(o, Op::Workdir { .. })).collect();
    assert_eq!(workdirs[0], &Op::Workdir { path: "/a".to_owned(), user: None });
    assert_eq!(workdirs[1], &Op::Workdir { path: "/a/c".to_owned(), user: Some("app".to_owned()) });
    assert!(!built.steps.last().unwrap().makes_layer());
    assert_eq!(built.config.config.working_dir, "/");
    // Seen with Docker 28: the configuration keeps an absolute path as written, and an empty one changes nothing.
    let built = stage("FROM scratch\nWORKDIR /a//b/../c/\nWORKDIR $NONE\nRUN x\n");
    assert_eq!(built.steps[0].op, Op::Workdir { path: "/a/c".to_owned(), user: None });
    assert_eq!(built.steps[0].created_by.as_deref(), Some("WORKDIR /a//b/../c/"));
    assert_eq!(built.config.config.working_dir, "/a/c");
    assert_eq!(stage("FROM scratch\n").config.config.working_dir, "/");
}

#[test]
fn entrypoint_takes_an_inherited_cmd_away() {
    let config = |text: &str| stage(text).config.config;
    assert_eq!(config("FROM a\n").cmd.unwrap(), ["bash"]);
    assert_eq!(config("FROM a\nENTRYPOINT [\"x\"]\n").cmd, None);
    assert_eq!(config("FROM a\nCMD [\"c\"]\nENTRYPOINT [\"x\"]\n").cmd.unwrap(), ["c"]);
    assert_eq!(config("FROM a AS b\nCMD [\"c\"]\nFROM b\nENTRYPOINT x\n").cmd, None);
    assert_eq!(config("FROM a\nENTRYPOINT [\"x\"]\nENTRYPOINT []\n").entrypoint, None);
    assert_eq!(config("FROM a\nENTRYPOINT\n").entrypoint.unwrap(), ["/bin/sh", "-c", ""]);
    assert_eq!(config("FROM a\nCMD []\n").cmd.unwrap(), [""; 0]);
}

#[test]
fn history_texts() {
    let created = |text: &str| stage(text).steps.pop().unwrap().created_by.unwrap();
    assert_eq!(created("FROM a\nRUN pip install .\n"), "RUN /bin/sh -c pip install . # buildkit");
    assert_eq!(created("FROM a\nARG B=1\nRUN x\n"), "RUN |1 B=1 /bin/sh -c x # buildkit");
    assert_eq!(created("FROM a\nENV A=b C=\"d e\"\n"), "ENV A=b C=d e");
    assert_eq!(created("FROM a\nCOPY --parents a b\n"), "COPY --parents a b # buildkit");
    assert_eq!(
        created("FROM a\nHEALTHCHECK --interval=90s CMD x y\n"),
        "HEALTHCHECK {Test:[CMD-SHELL x y] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"
    );
}

#[test]
fn a_step_shows_its_source_on_one_line() {
    let built = stage("FROM a\nRUN a && \\\n  # why\n  b\nUSER x\n");
    assert_eq!(built.steps[0].text, "RUN a &&   b");
    assert_eq!((built.steps[0].at.line_start, built.steps[0].at.line_end), (2, 4));
}

#[test]
fn the_name_space_of_caches_is_a_build_argument() {
    let text = "FROM scratch\nRUN --mount=type=cache,id=pip,target=/c true\n";
    let id = |options: &BuildOptions| match plan(text, options).stages[0].steps[0].op.clone() {
        Op::Run(run) => match run.mounts[0].kind.clone() {
            MountKind::Cache { id, .. } => id,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(id(&args(&[])), "pip");
    assert_eq!(id(&args(&[("BUILDKIT_CACHE_MOUNT_NS", "")])), "pip");
    assert_eq!(id(&args(&[("BUILDKIT_CACHE_MOUNT_NS", "team")])), "team/pip");
}
