//! Our reading of a Dockerfile against two others': Docker's own, recorded, and the crate `parse-dockerfile`.

use std::collections::BTreeMap;

use serde_json::Value;
use shiplap_builder::dockerfile::{self, BuildOptions};
use shiplap_builder::plan::{ImageConfig, Plan, Platform, Source, Stage, StageId};

const ZOO: &str = include_str!("fixtures/zoo.Dockerfile");
const SHAPED: &str = include_str!("fixtures/shaped.Dockerfile");

/// `fixtures/zoo.golden.json` is what Docker 28.5 made of `fixtures/zoo.Dockerfile`; `fixtures/record` writes it.
fn golden() -> Value {
    serde_json::from_str(include_str!("fixtures/zoo.golden.json")).unwrap()
}

fn zoo() -> Plan {
    let base: ImageConfig = serde_json::from_value(golden()["base"].clone()).unwrap();
    let args = [("OTHER", "given"), ("HTTP_PROXY", "http://proxy.example:1")];
    let options = BuildOptions {
        build_args: args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        platform: Platform::linux("amd64"),
        build_platform: Platform::linux("amd64"),
        ..BuildOptions::default()
    };
    let graph = dockerfile::parse("zoo.Dockerfile", ZOO).unwrap().resolve(&options).unwrap();
    graph.lower(&|_| Some(base.clone())).unwrap()
}

/// The chain of stages from the outermost base to `id`.
fn chain(plan: &Plan, id: StageId) -> Vec<&Stage> {
    let stage = plan.stage(id);
    let mut stages = match &stage.base {
        Source::Stage(base) => chain(plan, *base),
        _ => Vec::new(),
    };
    stages.push(stage);
    stages
}

#[test]
fn the_image_configuration_is_the_one_that_docker_makes() {
    let plan = zoo();
    let want: ImageConfig = serde_json::from_value(golden()["image"].clone()).unwrap();
    assert_eq!(plan.stage(plan.target).config, want);
}

#[test]
fn the_history_is_the_one_that_docker_writes() {
    let plan = zoo();
    let ours: Vec<(String, bool)> = chain(&plan, plan.target)
        .into_iter()
        .flat_map(|stage| &stage.steps)
        .filter_map(|step| Some((step.created_by.clone()?, !step.makes_layer())))
        .collect();
    let want: Vec<(String, bool)> = golden()["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| (h["created_by"].as_str().unwrap().to_owned(), h["empty_layer"].as_bool().unwrap()))
        .collect();
    assert_eq!(ours.len(), want.len(), "{ours:#?}");
    for (ours, want) in ours.into_iter().zip(want) {
        // Docker 28 prints the struct with %q, a slip that BuildKit has since repaired; we write the new form.
        if ours.0.starts_with("HEALTHCHECK") {
            assert!(want.0.starts_with("HEALTHCHECK &{["), "{}", want.0);
            continue;
        }
        assert_eq!(ours, want);
    }
}

#[test]
fn parse_dockerfile_finds_the_same_instructions_on_the_same_lines() {
    let plan = dockerfile::parse("shaped.Dockerfile", SHAPED).unwrap();
    let theirs = parse_dockerfile::parse(SHAPED).unwrap();
    let names: Vec<String> =
        theirs.stages().filter_map(|s| s.from.as_.as_ref().map(|(_, name)| name.value.to_string())).collect();
    assert_eq!(plan.stage_names().collect::<Vec<_>>(), names);
    let line = |offset: usize| SHAPED[..offset].matches('\n').count() + 1;
    for (index, stage) in theirs.stages().enumerate() {
        let options = BuildOptions { target: Some(names[index].clone()), ..BuildOptions::default() };
        let graph = plan.resolve(&options).unwrap();
        let lowered = graph.lower(&|_| Some(ImageConfig::default())).unwrap();
        let ours: Vec<usize> = lowered.stage(lowered.target).steps.iter().map(|s| s.at.line_start).collect();
        let theirs: Vec<usize> = stage.instructions.iter().map(|i| line(start(i))).collect();
        assert_eq!(ours, theirs, "{}", names[index]);
    }
}

fn start(instruction: &parse_dockerfile::Instruction<'_>) -> usize {
    use parse_dockerfile::Instruction as I;
    match instruction {
        I::Add(i) => i.add.span.start,
        I::Arg(i) => i.arg.span.start,
        I::Cmd(i) => i.cmd.span.start,
        I::Copy(i) => i.copy.span.start,
        I::Env(i) => i.env.span.start,
        I::Expose(i) => i.expose.span.start,
        I::Label(i) => i.label.span.start,
        I::Run(i) => i.run.span.start,
        I::User(i) => i.user.span.start,
        I::Workdir(i) => i.workdir.span.start,
        other => panic!("the fixture has none of these: {other:?}"),
    }
}
