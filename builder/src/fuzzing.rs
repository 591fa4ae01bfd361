//! What the fuzz targets in `fuzz/` do with their bytes. Each takes any, and panics only where something is wrong with this crate.

use crate::dockerfile::{self, BuildOptions};
use crate::ignore::IgnoreRules;
use crate::plan::{ContainerConfig, ImageConfig, Platform};

pub use crate::dockerfile::fuzz_expansion as expansion;

/// A Dockerfile is planned or refused.
pub fn dockerfile(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(file) = dockerfile::parse("Dockerfile", &text) else { return };
    assert_eq!(file.targets().iter().filter(|target| target.default).count(), 1);
    let options = BuildOptions {
        all_stages: data.len().is_multiple_of(2),
        platform: Platform::linux("amd64"),
        build_platform: Platform::linux("amd64"),
        ..BuildOptions::default()
    };
    let Ok(graph) = file.resolve(&options) else { return };
    let config =
        ContainerConfig { env: vec!["PATH=/bin".to_owned(), "BASE=b".to_owned()], ..ContainerConfig::default() };
    let config = ImageConfig { config, ..ImageConfig::default() };
    let rules = IgnoreRules::parse("a\nb*\n").expect("rules");
    let Ok(plan) = graph.ignoring(rules).lower(&|_| Some(config.clone())) else { return };
    for stage in &plan.stages {
        // The order is one in which they can be built.
        let needs = stage.steps.iter().flat_map(|step| &step.depends_on);
        assert!(needs.clone().all(|id| id.0 < plan.stages.len() && *id != stage.id), "{text}");
    }
}

/// What is not walked holds nothing that is wanted. The time grows with the product of pattern and path: longer ones only take long.
pub fn ignore(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (rules, paths) = text.split_once("\n\n").unwrap_or((&text, "a/b"));
    if rules.lines().any(|rule| rule.len() > 300) {
        return;
    }
    let Ok(rules) = IgnoreRules::parse(rules) else { return };
    for path in paths.lines().filter(|path| path.len() <= 300) {
        let ends = path.match_indices('/').map(|(at, _)| at);
        if let Some(pruned) = ends.map(|end| &path[..end]).find(|folder| !folder.is_empty() && rules.prunes(folder)) {
            assert!(rules.matches(path), "{pruned} is not walked, and {path} is wanted:\n{text}");
        }
    }
}
