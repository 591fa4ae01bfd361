//! Is a result that is reused the one that a run would make? Random cases, each a tree, a Dockerfile and changes of what its
//! steps stand on, are built with reuse in one store and by force in another, and the images compared file by file.
//!
//! Without settings: 200 cases that are always the same and 100 new ones.
//!
//! - `SHIPLAP_SOUNDNESS_SEED=n` runs the case of that seed alone, as it failed before;
//! - `SHIPLAP_SOUNDNESS_CASES=n` runs that many new ones, or that many from the seed on;
//! - `SHIPLAP_SOUNDNESS_FLOOR=n`: at least this percentage of the `RUN` steps whose parent changed must be reused (20, and 0 says
//!   that it does not matter), for where nothing is reused nothing is shown.
//!
//! With `TMPDIR=/dev/shm` it is faster. What fails is made smaller, printed, and written with its contexts below
//! `target/tmp/soundness/`.
//!
//! The way of a case: [`case`] and what it consists of ([`tree`], [`dockerfile`], [`programs`], [`mutate`]), [`run`] and
//! [`compare`] in a [`lab`] with [`tools`], and [`shrink`] when it fails. What a step observes and does is in `helper/`.

mod case;
mod compare;
mod dockerfile;
mod elf;
mod lab;
mod mutate;
mod paths;
mod programs;
mod run;
mod shrink;
mod tools;
mod tree;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use case::Case;
use lab::Lab;
use run::{Finding, Tally};
use tools::Tools;

/// Stores are thrown away after so many cases; they grow.
const CASES_A_LAB: usize = 100;

/// After so many findings there is enough to think about.
const ENOUGH: usize = 3;

#[test]
fn what_is_reused_is_what_a_run_would_make() {
    let number = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().unwrap_or_else(|_| panic!("{name} is `{value}`, not a number")))
    };
    let fresh = fastrand::u64(1_000_000..1_000_000_000_000);
    let seeds: Vec<u64> = match (number("SHIPLAP_SOUNDNESS_SEED"), number("SHIPLAP_SOUNDNESS_CASES")) {
        (Some(seed), count) => (seed..seed + count.unwrap_or(1)).collect(),
        (None, Some(count)) => (fresh..fresh + count).collect(),
        (None, None) => (0..200).chain(fresh..fresh + 100).collect(),
    };
    println!("{} cases; new seeds from {fresh} on", seeds.len());
    let tools = Tools::make();
    if let Some(why) = &tools.no_python {
        println!("no programs in Python: {why}");
    }
    let began = Instant::now();
    let (tally, findings) = run_all(&tools, &seeds);
    println!("{} cases in {:.1?}: {tally}", seeds.len(), began.elapsed());
    assert!(findings.is_empty(), "{} cases failed, with the seeds {findings:?}; see above", findings.len());
    let floor = number("SHIPLAP_SOUNDNESS_FLOOR").unwrap_or(20) as usize;
    if seeds.len() >= 100 {
        assert!(tally.reused_percent() >= floor, "fewer than {floor} % of the RUN steps were reused: {tally}");
    }
}

/// Runs the cases of these seeds on all processors, and tells of those that failed.
fn run_all(tools: &Tools, seeds: &[u64]) -> (Tally, Vec<u64>) {
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        let mut lab = Lab::new(tools);
        for done in 1.. {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(&seed) = seeds.get(number) else { break };
            let case = Case::random(seed, tools.no_python.is_none());
            let result = run::run(&lab, &case, &seed.to_string());
            let result = result.map_err(|finding| tell(&lab, &case, finding));
            let mut found = found.lock().unwrap();
            match result {
                Ok(tally) => found.0 += tally,
                Err(words) => {
                    println!("{words}");
                    found.1.push(seed);
                }
            }
            if number % 100 == 99 {
                println!("{} of {} cases: {}", number + 1, seeds.len(), found.0);
            }
            if found.1.len() >= ENOUGH {
                break;
            }
            drop(found);
            if done % CASES_A_LAB == 0 {
                lab = Lab::new(tools);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap()
}

/// Makes a case that failed smaller, writes it down and says what it shows.
fn tell(lab: &Lab, case: &Case, finding: Box<Finding>) -> String {
    let (small, finding) = shrink::shrink(lab, case, finding);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soundness").join(case.seed.to_string());
    let lines = finding.lines.join("\n");
    let text = format!(
        "{:?} in round {}; SHIPLAP_SOUNDNESS_SEED={} runs it again (in full: {})\n{}\n{lines}\n",
        finding.kind,
        finding.round,
        case.seed,
        folder.display(),
        small.describe(),
    );
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, case) in [("small", &small), ("full", case)] {
        std::fs::write(folder.join(format!("{name}.txt")), case.describe()).unwrap();
        for (number, state) in case.states().iter().enumerate() {
            let context = folder.join(format!("{name}-{number}"));
            std::fs::create_dir_all(context.join("src")).unwrap();
            std::fs::write(context.join("Dockerfile"), case.dockerfile.text("case")).unwrap();
            std::fs::write(context.join("base.tar"), state.base.to_tar()).unwrap();
            state.context.to_folder(&context.join("src"));
        }
    }
    std::fs::write(folder.join("finding.txt"), &text).unwrap();
    text
}

/// A file that no `mod` line names is never compiled.
#[test]
fn no_file_of_this_folder_is_forgotten() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soundness");
    for (folder, mods) in
        [(folder.clone(), include_str!("main.rs")), (folder.join("helper"), include_str!("helper/main.rs"))]
    {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let named = name == "main" || name == "helper" || mods.contains(&format!("mod {name};"));
            assert!(named, "{} is not in main.rs", path.display());
        }
    }
}
