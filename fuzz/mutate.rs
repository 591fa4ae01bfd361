//! A fuzzer for stable Rust: the corpus of a target, and changes of it that are the same each time. It sees no coverage; `cargo fuzz` does.

use std::path::{Path, PathBuf};

/// Runs a target on its corpus and on so many changes of it.
///
/// `words` are what the language has; `mend` makes a changed input one that gets further.
pub fn run(target: &str, words: &[&str], mend: impl Fn(&mut [u8]), check: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = number("SHIPLAP_FUZZ_CASES").unwrap_or(500);
    let mut mutator = Mutator { rng: fastrand::Rng::with_seed(number("SHIPLAP_FUZZ_SEED").unwrap_or(1)), words };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let corpus = corpus(&folder);
    assert!(!corpus.is_empty(), "{} has no cases", folder.display());
    let kept = Kept(std::env::temp_dir().join(format!("shiplap-fuzz-{target}-{}", std::process::id())));
    for case in &corpus {
        kept.check(case, &check);
    }
    for _ in 0..cases {
        let mut case = mutator.change(&corpus);
        mend(&mut case);
        kept.check(&case, &check);
    }
}

/// Sorted, that a seed always means the same.
fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// The case at hand, in a file: a stack that overflows leaves nothing else to look at.
struct Kept(PathBuf);

impl Kept {
    fn check(&self, case: &[u8], check: impl Fn(&[u8])) {
        std::fs::write(&self.0, case).unwrap();
        let began = std::time::Instant::now();
        check(case);
        // A build that never begins is as bad as one that falls over. The machine may be busy.
        assert!(began.elapsed().as_secs() < 20, "it took {:?}", began.elapsed());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case is in {}", self.0.display());
        } else {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

struct Mutator<'a> {
    rng: fastrand::Rng,
    words: &'a [&'a str],
}

impl Mutator<'_> {
    fn change(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut case = corpus[self.rng.usize(..corpus.len())].clone();
        for _ in 0..self.rng.usize(1..8) {
            self.step(&mut case, corpus);
            case.truncate(1 << 16);
        }
        case
    }

    fn step(&mut self, case: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let rng = &mut self.rng;
        let at = rng.usize(..=case.len());
        let end = (at + rng.usize(..32)).min(case.len());
        match rng.u8(..8) {
            0 if at < case.len() => case[at] = rng.u8(..),
            1 if at < case.len() => case[at] ^= 1 << rng.u8(..8),
            2 => drop(case.drain(at..end)),
            3 => {
                // The same again, a few times or many.
                let piece = case[at..end].repeat(if rng.u8(..8) == 0 { rng.usize(..500) } else { rng.usize(1..4) });
                case.splice(at..at, piece);
            }
            4 => {
                let other = &corpus[rng.usize(..corpus.len())];
                let from = rng.usize(..=other.len());
                let to = (from + rng.usize(..512)).min(other.len());
                case.splice(at..end, other[from..to].iter().copied());
            }
            5 => case.truncate(at),
            _ if !self.words.is_empty() => {
                let word = self.words[rng.usize(..self.words.len())];
                case.splice(at..at, word.bytes());
            }
            _ => {}
        }
    }
}
