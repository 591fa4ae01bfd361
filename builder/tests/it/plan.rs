//! From Dockerfile text to a plan.

mod checks;
mod contexts;
mod errors;
mod onbuild;
mod shaped;
mod steps;

use shiplap_builder::dockerfile::{self, BuildOptions, DockerfileError};
use shiplap_builder::plan::{BuildContext, ContainerConfig, ImageConfig, ImageRef, Op, Plan, Platform, Stage};

/// Options with build arguments.
fn args(pairs: &[(&str, &str)]) -> BuildOptions {
    BuildOptions {
        build_args: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        platform: Platform::linux("amd64"),
        build_platform: Platform::linux("amd64"),
        ..BuildOptions::default()
    }
}

fn target(name: &str) -> BuildOptions {
    BuildOptions { target: Some(name.to_owned()), ..args(&[]) }
}

fn contexts(pairs: &[(&str, &str)]) -> BuildOptions {
    let parsed = pairs.iter().map(|(k, v)| ((*k).to_owned(), BuildContext::parse(v).unwrap()));
    BuildOptions { build_contexts: parsed.collect(), ..args(&[]) }
}

/// A base image with a `PATH`, a `CMD` and nothing else.
fn base() -> ImageConfig {
    let config = ContainerConfig {
        env: vec!["PATH=/usr/bin:/bin".to_owned(), "FROM_BASE=base".to_owned()],
        cmd: Some(vec!["bash".to_owned()]),
        ..ContainerConfig::default()
    };
    ImageConfig { config, ..ImageConfig::default() }
}

fn try_plan(text: &str, options: &BuildOptions) -> Result<Plan, DockerfileError> {
    dockerfile::parse("Dockerfile", text)?.resolve(options)?.lower(&|_: &ImageRef| Some(base()))
}

fn plan(text: &str, options: &BuildOptions) -> Plan {
    try_plan(text, options).unwrap_or_else(|error| panic!("{error}"))
}

/// The target stage of a plan without options.
fn stage(text: &str) -> Stage {
    let plan = plan(text, &args(&[]));
    plan.stage(plan.target).clone()
}

/// The last op of the target stage.
fn op(text: &str) -> Op {
    stage(text).steps.pop().unwrap().op
}

fn warnings(text: &str, options: &BuildOptions) -> Vec<String> {
    plan(text, options).warnings.iter().map(|w| format!("{}: {}", w.code, w.message)).collect()
}
