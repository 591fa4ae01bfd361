//! Random Dockerfiles, as data and as text.

use std::fmt::Write;

use crate::programs::{Language, LooksAt, Program};
use crate::tree::Tree;

/// Stages; the last one is built.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// The image of all stages.
    pub image: &'static str,
    pub stages: Vec<Vec<Step>>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Run {
        program: Program,
        /// Written as a here-document and not as a list of words.
        here: bool,
        mounts: Vec<String>,
        /// Where it writes what it saw.
        result: String,
    },
    /// Any other instruction, as it is written.
    Other(String),
}

impl Dockerfile {
    pub fn random(rng: &mut fastrand::Rng, tree: &Tree, python: bool) -> Self {
        let mut file = Self { image: if python { "python:1" } else { "tools:1" }, stages: Vec::new() };
        let stages = if rng.u8(0..5) == 0 { 2 } else { 1 };
        // Long chains are for steps that run ahead of their turn.
        let most = match (stages, rng.u8(0..8)) {
            (1, 0) => 14,
            (1, _) => 6,
            _ => 4,
        };
        let mut results = Vec::new();
        for stage in 0..stages {
            let mut steps = Vec::new();
            for number in 0..rng.usize(2..most) {
                let result = format!("/results/{stage}.{number}");
                steps.push(step(rng, tree, stage, python, &results, &result));
                if let Some(Step::Run { .. }) = steps.last() {
                    results.push(result);
                }
            }
            file.stages.push(steps);
        }
        // Something has to be at stake.
        if !file.stages.iter().flatten().any(|step| matches!(step, Step::Run { .. })) {
            let last = file.stages.len() - 1;
            file.stages[last].push(run(rng, tree, last, python, &results, "/results/last"));
        }
        file
    }

    /// The text. A case has a mark of its own, so that it finds no results of other cases in a store.
    pub fn text(&self, mark: &str) -> String {
        let mut text = String::new();
        for (number, steps) in self.stages.iter().enumerate() {
            let _ = writeln!(text, "FROM {} AS stage{number}", self.image);
            let _ = writeln!(text, "ENV PATH=/bin CASE={mark}\nADD base.tar /");
            for step in steps {
                let _ = match step {
                    Step::Other(instruction) => writeln!(text, "{instruction}"),
                    Step::Run { program, here: true, mounts, result } if program.language == Language::Shell => {
                        let mounts: String = mounts.iter().map(|mount| format!("--mount={mount} ")).collect();
                        writeln!(text, "RUN {mounts}<<'HERE'\n{}HERE", program.script(result))
                    }
                    Step::Run { program, mounts, result, .. } => {
                        let mounts: String = mounts.iter().map(|mount| format!("--mount={mount} ")).collect();
                        writeln!(text, "RUN {mounts}{}", serde_json::Value::from(program.argv(result)))
                    }
                };
            }
        }
        text
    }

    /// The paths of the tree that the programs name, without the leading slash.
    pub fn named_paths(&self) -> Vec<Vec<u8>> {
        let mut named = Vec::new();
        for step in self.stages.iter().flatten() {
            let words: Vec<String> = match step {
                Step::Run { program, .. } => {
                    let lines = program.lines.iter();
                    lines.flat_map(|l| l.split([' ', '\'', '"', ':', ';', ')'])).map(str::to_owned).collect()
                }
                Step::Other(instruction) => instruction.split(' ').map(str::to_owned).collect(),
            };
            for word in words {
                // Names with blanks or odd bytes are met by chance.
                if word.starts_with("/t") || word.starts_with("/opt") || word.starts_with("//t") {
                    named.push(clean(&word));
                }
            }
        }
        named.sort();
        named.dedup();
        named
    }
}

fn clean(path: &str) -> Vec<u8> {
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty() && *name != "." && *name != "..").collect();
    names.join("/").into_bytes()
}

fn step(rng: &mut fastrand::Rng, tree: &Tree, stage: usize, python: bool, results: &[String], result: &str) -> Step {
    let plain = |rng: &mut fastrand::Rng| *rng.choice(&["a", "b", "c", "d", "lib"]).unwrap_or(&"a");
    match rng.u8(0..16) {
        0..=1 => {
            let flags = match rng.u8(0..5) {
                0 => "--chown=bob ".to_owned(),
                1 => "--chown=3333:staff ".to_owned(),
                2 => "--chmod=750 ".to_owned(),
                3 => "--link ".to_owned(),
                _ => String::new(),
            };
            let from = if stage > 0 { "--from=stage0 " } else { "" };
            let root = if stage > 0 { "/" } else { "src/" };
            let to = match rng.u8(0..5) {
                0 => format!("{}/", plain_folder(rng, tree)),
                1 => format!("/t/copied{}", rng.u8(0..3)),
                2 => "/w/copied".to_owned(),
                3 => format!("{}/", plain(rng)),
                _ => "/opt/copied/".to_owned(),
            };
            let what = *rng.choice(&["t", "t/a", "t/a/b", "t/*", "t/a"]).unwrap_or(&"t");
            Step::Other(format!("COPY {from}{flags}{root}{what} {to}"))
        }
        2 => match rng.u8(0..4) {
            0 => Step::Other("WORKDIR /w/deep/er".into()),
            1 => Step::Other(format!("WORKDIR {}", plain(rng))),
            _ => Step::Other(format!("WORKDIR {}", plain_folder(rng, tree))),
        },
        3 => {
            let users = ["bob", "bob:staff", "3333", "1000:0", "root", "bob"];
            Step::Other(format!("USER {}", rng.choice(users).unwrap_or("bob")))
        }
        _ => run(rng, tree, stage, python, results, result),
    }
}

fn run(rng: &mut fastrand::Rng, tree: &Tree, stage: usize, python: bool, results: &[String], result: &str) -> Step {
    let language = match rng.u8(0..10) {
        0..=5 if python => Language::Python,
        0..=2 => Language::Shell,
        _ => Language::Helper,
    };
    let mut further = results.to_vec();
    let mounts = if rng.u8(0..6) == 0 { vec![mount(rng, tree, stage, &mut further)] } else { Vec::new() };
    further.push("/t/copied1".into());
    if tree.get(b"chain").is_some() {
        // Forty links are allowed. From twenty on, the kernel sometimes counts twice: when it has to begin a walk anew.
        further.extend([18, 19, 41, 42].map(|link| format!("/chain/{link}")));
    }
    let program = Program::random(rng, language, &LooksAt { tree, further: &further });
    Step::Run { program, here: rng.u8(0..3) == 0, mounts, result: result.to_owned() }
}

/// Most often a folder of the tree, now and then what only might be one; a name that needs no quotes.
fn plain_folder(rng: &mut fastrand::Rng, tree: &Tree) -> String {
    let is_plain = |path: &&Vec<u8>| path.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'/');
    let folders = tree.folders();
    let folders: Vec<_> = folders.iter().filter(|path| path.starts_with(b"t/")).filter(is_plain).collect();
    match rng.choice(&folders) {
        Some(folder) if rng.u8(0..5) > 0 => format!("/{}", String::from_utf8_lossy(folder)),
        _ => format!("/t/{}", rng.choice(["a", "b", "c", "lib"]).unwrap_or("a")),
    }
}

fn mount(rng: &mut fastrand::Rng, tree: &Tree, stage: usize, further: &mut Vec<String>) -> String {
    let folder = plain_folder(rng, tree);
    let target = match rng.u8(0..4) {
        0 => "/mounted".to_owned(),
        1 => format!("{folder}/mounted"),
        _ => folder,
    };
    further.extend([target.clone(), target.clone()]);
    match rng.u8(0..5) {
        0 | 1 => format!("type=tmpfs,target={target}"),
        // What is in it lasts from build to build, and is nobody's input; so nobody looks.
        2 => "type=cache,target=/cached".to_owned(),
        3 if stage > 0 => format!("type=bind,from=stage0,source=/t,target={target}"),
        _ => format!("type=bind,source=src/t,target={target}{}", if rng.bool() { ",rw" } else { "" }),
    }
}
