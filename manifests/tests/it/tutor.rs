//! With the real Tutor, when `SHIPLAP_TEST_TUTOR` names its program (`scripts/test` installs one).

use std::process::Command;

use shiplap_manifests::target::of_instance;
use shiplap_manifests::{Config, Deployer, History};

use crate::site::{Site, all_there, back, request};

#[test]
fn tutor_reads_what_shiplap_writes_and_keeps_it() {
    let Ok(program) = std::env::var("SHIPLAP_TEST_TUTOR") else {
        eprintln!("skipped: SHIPLAP_TEST_TUTOR is not set");
        return;
    };
    let mut site = Site::new();
    let root = site.folder.join("real");
    let tutor = |args: &[&str]| {
        let plugins = site.folder.join("plugins");
        let output = Command::new(&program)
            .arg("--root")
            .arg(&root)
            .args(args)
            .env("TUTOR_PLUGINS_ROOT", plugins)
            .output()
            .unwrap();
        assert!(output.status.success(), "tutor {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    tutor(&["config", "save"]);
    let text = site.file("shiplap.toml").replace("tutor-root = \"tutor\"", "tutor-root = \"real\"");
    // Tutor alone has no mfe, and its image goes nowhere then.
    let text = text.replace("kind = \"tutor\"", "kind = \"tutor\"\nimages = { mfe = \"MFE_DOCKER_IMAGE\" }");
    let config = Config::parse(&site.config.path, &text).unwrap();
    let targets = of_instance(&config, config.instance("campus").unwrap().1);
    let before = std::fs::read_to_string(root.join("config.yml")).unwrap();

    for version in ["1.0.0", "1.1.0"] {
        site.release(version).unwrap();
        let (instance, history): (_, &mut History) = (site.name(), &mut site.history);
        let report = Deployer { history, instance: &instance, targets: &targets, check: &all_there, observer: &() }
            .deploy(request(version))
            .unwrap();
        let tag = format!("campus/openedx:{version}-g3f2c1ab09d4e");
        assert_eq!(tutor_value(&program, &root, "DOCKER_IMAGE_OPENEDX"), tag);
        // `config save` writes config.yml anew and renders the environment: what was deployed stays deployed.
        let saved = Command::new(&program).arg("--root").arg(&root).args(["config", "save"]).status().unwrap();
        assert!(saved.success());
        assert_eq!(targets[1].read().unwrap(), report.deployment.targets[1].state);
        let rendered = std::fs::read_to_string(root.join("env/local/docker-compose.yml")).unwrap();
        assert_eq!(rendered.matches(&format!("image: {tag}")).count(), 2, "{rendered}");
    }
    let (instance, history) = (site.name(), &mut site.history);
    Deployer { history, instance: &instance, targets: &targets, check: &all_there, observer: &() }
        .rollback(back())
        .unwrap();
    assert_eq!(tutor_value(&program, &root, "DOCKER_IMAGE_OPENEDX"), "campus/openedx:1.0.0-g3f2c1ab09d4e");
    // Every key that was there is there still, with its value.
    let after = std::fs::read_to_string(root.join("config.yml")).unwrap();
    for line in before.lines() {
        assert!(after.contains(line), "{line} is gone");
    }
}

fn tutor_value(program: &str, root: &std::path::Path, key: &str) -> String {
    let output = Command::new(program).arg("--root").arg(root).args(["config", "printvalue", key]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
