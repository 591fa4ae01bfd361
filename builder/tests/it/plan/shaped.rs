//! A Dockerfile in the shape of Tutor's.

use shiplap_builder::dockerfile;
use shiplap_builder::plan::{
    AddSource, ContextName, CopySource, MountKind, Network, Op, Plan, RunOp, Sharing, Source, Stage,
};

use super::{args, base, contexts, plan, target, warnings};

const SHAPED: &str = include_str!("../fixtures/shaped.Dockerfile");

fn named<'a>(plan: &'a Plan, name: &str) -> &'a Stage {
    plan.stages.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no stage {name}"))
}

fn runs(stage: &Stage) -> Vec<&RunOp> {
    stage.steps.iter().filter_map(|s| if let Op::Run(run) = &s.op { Some(run) } else { None }).collect()
}

#[test]
fn stages_that_the_target_does_not_need_are_left_out() {
    let names = |target_name: &str| -> Vec<String> {
        plan(SHAPED, &target(target_name)).stages.into_iter().map(|s| s.name).collect()
    };
    assert_eq!(
        names("final"),
        ["minimal", "python", "code", "edx-platform", "mnt-plugin", "python-requirements", "production", "final"]
    );
    assert_eq!(names("Code"), ["minimal", "code"]);
    assert!(names("development").contains(&"development".to_owned()));
}

#[test]
fn each_stage_comes_after_those_that_it_uses() {
    let plan = plan(SHAPED, &args(&[]));
    for (index, stage) in plan.stages.iter().enumerate() {
        assert_eq!(stage.id.0, index);
        if let Source::Stage(base) = stage.base {
            assert!(base.0 < index);
        }
        assert!(stage.steps.iter().flat_map(|s| &s.depends_on).all(|d| d.0 < index));
    }
    let requirements = named(&plan, "python-requirements");
    let platform = named(&plan, "edx-platform");
    assert!(requirements.steps.iter().any(|s| s.depends_on == [platform.id]));
}

#[test]
fn images_that_need_a_configuration_and_images_that_do_not() {
    let graph = dockerfile::parse("Dockerfile", SHAPED).unwrap().resolve(&args(&[("BASE_IMAGE", "other:1")])).unwrap();
    let images: Vec<(String, bool)> =
        graph.images().unwrap().into_iter().map(|u| (u.image.to_string(), u.is_base)).collect();
    assert!(images.contains(&("docker.io/library/other:1".to_owned(), true)));
    assert!(images.contains(&("registry.example.org/tools/uv:0.1".to_owned(), false)));
    assert_eq!(images.len(), 2);
}

#[test]
fn steps_are_expanded_but_for_what_the_shell_sees() {
    let plan = plan(SHAPED, &args(&[("APP_USER_ID", "1234")]));
    let minimal = named(&plan, "minimal");
    let run = runs(minimal)[0];
    assert_eq!(run.argv, ["/bin/sh", "-c", "apt update &&     apt install -y locales"]);
    assert_eq!(run.env.get("DEBIAN_FRONTEND"), Some("noninteractive"));
    assert!(run.env.get("BASE_IMAGE").is_none());
    assert_eq!((run.cwd.as_str(), run.network), ("/", Network::Default));
    assert!(
        matches!(&run.mounts[0].kind, MountKind::Cache { id, sharing: Sharing::Locked, .. } if id == "/var/cache/apt")
    );
    assert_eq!(runs(minimal)[1].argv[2], "echo \"setuptools<81\" > /etc/constraints.txt\n");

    let python = named(&plan, "python");
    assert_eq!(runs(python)[0].argv[2], "$PYENV_ROOT/bin/pyenv install $PYTHON_VERSION");
    assert_eq!(runs(python)[0].env.get("PYTHON_VERSION"), Some("3.12.1"));
    // Arguments of a base stage are inherited.
    assert_eq!(runs(python)[0].env.get("PIP_COMMAND"), Some("uv pip"));

    let requirements = named(&plan, "python-requirements");
    assert_eq!(runs(requirements)[0].env.get("PATH"), Some("/openedx/venv/bin:/usr/bin:/bin"));
    assert_eq!(runs(requirements)[0].env.get("UV_CACHE_DIR"), Some("/openedx/.cache/pip"));

    let production = named(&plan, "production");
    let copies: Vec<_> =
        production.steps.iter().filter_map(|s| if let Op::Copy(copy) = &s.op { Some(copy) } else { None }).collect();
    assert_eq!(copies[0].from, Source::Stage(named(&plan, "edx-platform").id));
    assert_eq!(copies[0].to.chown.as_deref(), Some("1234:1234"));
    assert!(copies[0].to.link);
    assert_eq!(copies[2].to.path, "/openedx/edx-platform/lms/envs/tutor/");
    assert_eq!(copies[2].sources, [CopySource::Path { base: String::new(), pattern: "settings/lms/*.py".to_owned() }]);
    let run = runs(production)[1];
    assert_eq!(run.user.as_deref(), Some("1234"));
    assert!(
        matches!(&run.mounts[0].kind, MountKind::Cache { id, owner, .. } if id == "/tmp/cache" && owner.uid == 1234)
    );

    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.contains("\"op\":\"run\""));
    let last = named(&plan, "final");
    assert_eq!(last.config.config.cmd.as_deref().unwrap(), ["uwsgi", "/openedx/uwsgi.ini"]);
    assert_eq!(last.config.config.working_dir, "/openedx/edx-platform");
    assert!(last.config.config.exposed_ports.contains_key("8000/tcp"));
}

#[test]
fn a_repository_keeps_its_reference() {
    let plan = plan(SHAPED, &args(&[("PLATFORM_VERSION", "mine")]));
    let Op::Add(add) = &named(&plan, "code").steps.last().unwrap().op else { panic!() };
    let AddSource::Git(git) = &add.sources[0] else { panic!() };
    assert_eq!(git.url, "https://git.example.org/platform.git");
    assert_eq!((git.reference.as_deref(), git.keep_git_dir), (Some("mine"), true));
    assert_eq!(add.to.path, "/openedx/edx-platform/");
}

#[test]
fn a_checkout_takes_the_place_of_a_stage() {
    let options = contexts(&[("edx-platform", "/home/me/edx-platform"), ("mnt-plugin", "../plugin")]);
    let plan = plan(SHAPED, &options);
    assert!(plan.stages.iter().all(|s| s.name != "edx-platform" && s.name != "code" && s.name != "mnt-plugin"));
    let checkout = Source::Context(ContextName::named("edx-platform"));
    let run = runs(named(&plan, "python-requirements"))[0];
    assert!(matches!(&run.mounts[0].kind, MountKind::Bind { from, source, .. }
        if *from == checkout && source == "/requirements/base.txt"));
    // The directory itself stands beside the steps, never in them.
    let steps = serde_json::to_string(&plan.stages).unwrap();
    assert!(!steps.contains("/home/me") && !steps.contains("../plugin"));
    assert_eq!(plan.contexts[&ContextName::named("mnt-plugin")], std::path::Path::new("../plugin"));
}

#[test]
fn nothing_but_the_undefined_cache_directory_is_worth_a_warning() {
    let expected = [
        "Syntax: docker/dockerfile:1 is not fetched: shiplap reads its language itself",
        "UndefinedVar: Usage of undefined variable '$UV_CACHE_DIR'",
    ];
    assert_eq!(warnings(SHAPED, &args(&[])), expected);
}

#[test]
fn a_plan_is_the_same_twice() {
    let graph = dockerfile::parse("Dockerfile", SHAPED).unwrap().resolve(&args(&[])).unwrap();
    let lower = || graph.lower(&|_| Some(base())).unwrap();
    assert_eq!(lower(), lower());
}
