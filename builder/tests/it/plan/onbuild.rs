//! Triggers of a base.

use shiplap_builder::dockerfile::{self, DockerfileError};
use shiplap_builder::plan::{ContainerConfig, ImageConfig, Op};

use super::{args, plan};

fn with_triggers(triggers: &[&str]) -> ImageConfig {
    let on_build = triggers.iter().map(|t| (*t).to_owned()).collect();
    ImageConfig { config: ContainerConfig { on_build, ..ContainerConfig::default() }, ..ImageConfig::default() }
}

#[test]
fn the_triggers_of_an_image_come_first_and_are_not_handed_on() {
    let text = "# a\nFROM app:onbuild\nRUN own\n";
    let graph = dockerfile::parse("Dockerfile", text).unwrap().resolve(&args(&[])).unwrap();
    let plan = graph.lower(&|_| Some(with_triggers(&["COPY . /app", "RUN <<E\nmake\nE"]))).unwrap();
    let steps = &plan.stages[0].steps;
    assert!(matches!(&steps[0].op, Op::Copy(copy) if copy.to.path == "/app"));
    assert!(matches!(&steps[1].op, Op::Run(run) if run.argv[2] == "make\n"));
    assert!(matches!(&steps[2].op, Op::Run(run) if run.argv[2] == "own"));
    assert_eq!((steps[0].at.line_start, steps[2].at.line_start), (2, 3));
    assert!(plan.stages[0].config.config.on_build.is_empty());
}

#[test]
fn a_trigger_can_need_further_images_and_stages() {
    let text = "FROM tools AS helper\nRUN x\nFROM app\n";
    let graph = dockerfile::parse("Dockerfile", text).unwrap().resolve(&args(&[])).unwrap();
    assert_eq!(graph.images().unwrap().len(), 1);
    let app =
        |image: &str| (image == "docker.io/library/app:latest").then(|| with_triggers(&["COPY --from=helper a b"]));
    let error = graph.lower(&|image| app(&image.to_string())).unwrap_err();
    let DockerfileError::MissingImages(images) = error else { panic!("{error}") };
    assert_eq!(images[0].to_string(), "docker.io/library/tools:latest");
    let plan = graph.lower(&|image| app(&image.to_string()).or(Some(ImageConfig::default()))).unwrap();
    assert_eq!(plan.stages.len(), 2);
    assert_eq!(plan.stages[1].steps[0].depends_on, [plan.stages[0].id]);
}

#[test]
fn a_stage_fires_the_triggers_of_the_stage_below_it() {
    let plan = plan(
        "FROM a AS base\nONBUILD RUN x $Y\nONBUILD ENV A=1\nFROM base AS top\nRUN y\nFROM 1\n",
        &super::target("top"),
    );
    let base = &plan.stages[0];
    assert_eq!(base.config.config.on_build, ["RUN x $Y", "ENV A=1"]);
    assert!(base.steps.iter().all(|s| s.op == Op::Meta && s.created_by.is_none()));
    let top = &plan.stages[1];
    assert_eq!(top.steps.len(), 3);
    assert!(top.config.config.on_build.is_empty());
    assert!(top.config.config.env.contains(&"A=1".to_owned()));
}

#[test]
fn a_bad_trigger_is_an_error_at_the_from() {
    let graph = dockerfile::parse("Dockerfile", "FROM a\n").unwrap().resolve(&args(&[])).unwrap();
    let error = graph.lower(&|_| Some(with_triggers(&["BOGUS x"]))).unwrap_err().to_string();
    assert!(error.starts_with("Dockerfile:1: unknown instruction: BOGUS"), "{error}");
}
