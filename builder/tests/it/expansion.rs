//! Variables, quotes and the splitting of words against Docker's own answers.
//!
//! `fixtures/expansion.jsonl` is what Docker 28.5 made of each row; `fixtures/record-expansion` asks it again.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use shiplap_builder::dockerfile::{self, BuildOptions};
use shiplap_builder::plan::{CopySource, Op, Plan, Platform};

/// One instruction, the arguments that it may use, and what Docker made of it; nothing where Docker refused it.
#[derive(Debug, Deserialize)]
struct Row {
    escape: Option<char>,
    args: BTreeMap<String, String>,
    text: String,
    docker: Value,
}

fn table() -> Vec<Row> {
    include_str!("fixtures/expansion.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Row {
    fn plan(&self) -> Option<Plan> {
        let escape = self.escape.map(|escape| format!("# escape={escape}\n")).unwrap_or_default();
        let args: String = self.args.keys().map(|name| format!("ARG {name}\n")).collect();
        let text = format!("{escape}FROM scratch\n{args}{}\n", self.text);
        let options = BuildOptions {
            build_args: self.args.clone(),
            platform: Platform::linux("amd64"),
            build_platform: Platform::linux("amd64"),
            ..BuildOptions::default()
        };
        let graph = dockerfile::parse("Dockerfile", &text).and_then(|file| file.resolve(&options));
        graph.and_then(|graph| graph.lower(&|_| None)).ok()
    }

    /// What the row's first instruction that is no `ARG` set.
    fn answer(&self) -> Value {
        let Some(plan) = self.plan() else { return Value::Null };
        let stage = plan.stage(plan.target);
        let config = &stage.config.config;
        let first = self.text.lines().find(|line| !line.starts_with("ARG ")).unwrap();
        match first.split_whitespace().next().unwrap() {
            "USER" => json!(config.user),
            "WORKDIR" => json!(config.working_dir),
            "ENV" => json!(config.env.iter().filter(|one| !one.starts_with("PATH=")).collect::<Vec<_>>()),
            "LABEL" => json!(config.labels),
            "EXPOSE" => json!(config.exposed_ports.keys().collect::<Vec<_>>()),
            "VOLUME" => json!(config.volumes.keys().collect::<Vec<_>>()),
            "COPY" => match &stage.steps.last().unwrap().op {
                Op::Copy(copy) => match copy.sources.as_slice() {
                    [CopySource::Inline(file)] => json!(file.data),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            },
            other => panic!("no row has {other}"),
        }
    }
}

#[test]
fn every_row_is_as_docker_answered_it() {
    let rows = table();
    assert!(rows.len() >= 200);
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| row.answer() != row.docker)
        .map(|row| format!("{:?} with {:?}: Docker {}, we {}", row.text, row.args, row.docker, row.answer()))
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
