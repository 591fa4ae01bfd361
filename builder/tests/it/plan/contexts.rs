//! `--build-context`, `--platform`, `--from` and the other ways to name a tree.

use shiplap_builder::dockerfile::{self, BuildOptions, DockerfileError};
use shiplap_builder::plan::{BuildContext, ContextName, ImageOrigin, ImageRef, Op, Platform, Source};

use super::{args, contexts, op, plan, stage, target, warnings};

fn image(name: &str, platform: &str) -> Source {
    let origin = ImageOrigin::registry(name).unwrap();
    Source::Image(ImageRef { origin, platform: platform.parse().unwrap() })
}

fn copied_from(op: &Op) -> &Source {
    match op {
        Op::Copy(copy) => &copy.from,
        other => panic!("{other:?}"),
    }
}

#[test]
fn from_names_a_stage_a_number_an_image_or_the_context() {
    let two = "FROM a AS one\nFROM scratch\n";
    assert_eq!(
        copied_from(&op(&format!("{two}COPY --from=ONE x y"))),
        &Source::Stage(shiplap_builder::plan::StageId(0))
    );
    assert_eq!(copied_from(&op(&format!("{two}COPY --from=0 x y"))), &Source::Stage(shiplap_builder::plan::StageId(0)));
    assert_eq!(copied_from(&op(&format!("{two}COPY --from=b:1 x y"))), &image("b:1", "linux/amd64"));
    assert_eq!(copied_from(&op(&format!("{two}COPY x y"))), &Source::Context(ContextName::MAIN));
}

#[test]
fn an_image_name_can_be_given_as_a_context() {
    let text =
        "FROM docker.io/library/python:3.12 AS a\nFROM a\nCOPY --from=tools /x /y\nCOPY --from=python:3.12 /x /y\n";
    let with = |value: &str| contexts(&[("python:3.12", value), ("tools", "docker-image://t:2")]);
    let replaced = plan(
        text,
        &with("docker-image://mine@sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    );
    assert!(
        matches!(&replaced.stages[0].base, Source::Image(i) if i.to_string().starts_with("docker.io/library/mine@sha256:0"))
    );
    assert_eq!(copied_from(&replaced.stages[1].steps[0].op), &image("t:2", "linux/amd64"));
    assert_eq!(copied_from(&replaced.stages[1].steps[1].op), &replaced.stages[0].base);

    let directory = plan(text, &with("rootfs"));
    assert_eq!(directory.stages[0].base, Source::Context(ContextName::named("python:3.12")));
    // A directory brings no configuration; PATH is always there.
    assert_eq!(directory.stages[0].config.config.env.len(), 1);
    assert!(directory.stages[0].config.config.env[0].starts_with("PATH=/usr/local/sbin:"));
}

#[test]
fn a_replaced_stage_can_be_the_base_and_the_target() {
    let text = "FROM debian AS deps\nRUN slow\nFROM deps AS app\nRUN fast\n";
    let built = plan(text, &contexts(&[("deps", "docker-image://deps:cached")]));
    assert_eq!(built.stages.len(), 1);
    assert_eq!(built.stages[0].base, image("deps:cached", "linux/amd64"));
    assert!(built.stages[0].config.config.env.contains(&"FROM_BASE=base".to_owned()));

    let alone = BuildOptions { target: Some("deps".to_owned()), ..contexts(&[("deps", "dir")]) };
    let built = plan(text, &alone);
    assert_eq!((built.stages.len(), built.stages[0].steps.len()), (1, 0));
    assert_eq!(built.stages[0].base, Source::Context(ContextName::named("deps")));
}

#[test]
fn git_http_and_layout_contexts() {
    let text = "FROM scratch\nCOPY --from=src /a /b\n";
    let from = |value: &str| copied_from(&plan(text, &contexts(&[("src", value)])).stages[0].steps[0].op).clone();
    assert!(matches!(from("https://x/y.git#main"), Source::Git(git) if git.reference.as_deref() == Some("main")));
    assert_eq!(from("https://x/y.tar.gz"), Source::Http("https://x/y.tar.gz".to_owned()));
    let Source::Image(image) = from("oci-layout:///tmp/layout:v1") else { panic!() };
    assert_eq!(image.to_string(), "oci-layout:///tmp/layout:v1");
    assert!(matches!(BuildContext::parse("dir"), Ok(BuildContext::Directory(_))));
}

#[test]
fn platforms_of_stages() {
    let text = "ARG P=linux/arm64\nFROM --platform=$BUILDPLATFORM a AS build\nARG TARGETARCH BUILDARCH\n\
                RUN x\nFROM --platform=$P b AS arm\nFROM build AS last\nCOPY --from=arm / /\n";
    let options = BuildOptions { platform: "linux/arm/v7".parse().unwrap(), ..args(&[]) };
    let built = plan(text, &options);
    let platform = |name: &str| built.stages.iter().find(|s| s.name == name).unwrap().platform.to_string();
    assert_eq!(platform("build"), "linux/amd64");
    assert_eq!(platform("arm"), "linux/arm64");
    assert_eq!(platform("last"), "linux/amd64");
    let Op::Run(run) = &built.stages[0].steps[1].op else { panic!() };
    assert_eq!((run.env.get("TARGETARCH"), run.env.get("BUILDARCH")), (Some("arm"), Some("amd64")));
    assert_eq!(run.env.get("TARGETVARIANT"), None);
    assert_eq!(built.stages[0].config.architecture, "amd64");
    assert_eq!(Platform::linux("x86_64").arch, "amd64");
}

#[test]
fn missing_configurations_are_asked_for_by_name() {
    let graph =
        dockerfile::parse("Dockerfile", "FROM a:1\nFROM b\nCOPY --from=0 x y\n").unwrap().resolve(&args(&[])).unwrap();
    let Err(DockerfileError::MissingImages(images)) = graph.lower(&|_| None) else { panic!() };
    let mut names: Vec<String> = images.iter().map(ImageRef::to_string).collect();
    names.sort();
    assert_eq!(names, ["docker.io/library/a:1", "docker.io/library/b:latest"]);
}

#[test]
fn global_arguments_are_for_from_and_come_into_a_stage_when_it_asks() {
    let text = "ARG VERSION=1 NAME=a$VERSION\nFROM img:$NAME\nENV V=$VERSION\nARG VERSION\nARG NAME=own\nENV W=$VERSION-$NAME\n";
    let config = |options: &BuildOptions| {
        let plan = plan(text, options);
        let stage = plan.stage(plan.target).clone();
        (stage.base, stage.config.config.env[2..].to_vec())
    };
    assert_eq!(config(&args(&[])), (image("img:a1", "linux/amd64"), vec!["V=".to_owned(), "W=1-own".to_owned()]));
    let given = config(&args(&[("VERSION", "2")]));
    assert_eq!(given, (image("img:a2", "linux/amd64"), vec!["V=".to_owned(), "W=2-own".to_owned()]));
    let given = config(&args(&[("NAME", "n")]));
    assert_eq!(given, (image("img:n", "linux/amd64"), vec!["V=".to_owned(), "W=1-n".to_owned()]));
}

#[test]
fn arguments_that_nobody_takes_are_named() {
    let text = "ARG A\nFROM a AS x\nARG B\n";
    let given =
        args(&[("A", ""), ("B", ""), ("TYPO", ""), ("HTTP_PROXY", "p"), ("TARGETARCH", "t"), ("BUILDKIT_X", "")]);
    assert_eq!(warnings(text, &given), ["UnusedBuildArg: one or more build-args were not consumed: TYPO"]);
}

#[test]
fn proxies_are_set_apart_unless_declared() {
    let run = |text: &str| {
        let plan = plan(text, &args(&[("http_proxy", "http://p")]));
        match plan.stages[0].steps.last().unwrap().op.clone() {
            Op::Run(run) => run,
            other => panic!("{other:?}"),
        }
    };
    let undeclared = run("FROM a\nRUN x\n");
    assert_eq!(undeclared.env.get("http_proxy"), None);
    assert_eq!(undeclared.proxy.to_pairs(), ["HTTP_PROXY=http://p", "http_proxy=http://p"]);
    let declared = run("FROM a\nARG http_proxy\nRUN x\n");
    assert_eq!(declared.env.get("http_proxy"), Some("http://p"));
    assert_eq!(declared.proxy.to_pairs(), ["HTTP_PROXY=http://p"]);
}

#[test]
fn scratch_starts_from_nothing() {
    let built = stage("FROM scratch\nCOPY a /\n");
    assert_eq!(built.base, Source::Scratch);
    assert_eq!(built.name, "stage-0");
    assert_eq!(plan("FROM scratch AS s\n", &target("s")).stages[0].name, "s");
}
