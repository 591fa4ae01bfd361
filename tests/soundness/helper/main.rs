//! The program that random steps run: it does what its arguments say, and writes down all that it saw.
//!
//! `helper RESULT OPERATION...`, each operation one argument, its words separated by blanks and percent-encoded. What an
//! operation saw (contents, names, kinds, modes, error numbers, never times, link counts, sizes of directories or inodes) becomes
//! a line of RESULT, so that a later run that would have seen something else leaves another file.

mod change;
mod elsewhere;
mod look;
mod odd;
mod ring;
mod sys;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What an operation saw, or the error number that it met.
pub type Saw = Result<String, i32>;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let result = PathBuf::from(args.next().expect("where to write what was seen"));
    let mut lines = Vec::new();
    let mut code = 0;
    for op in args {
        let words: Vec<PathBuf> =
            op.as_bytes().split(|&b| b == b' ').map(|word| OsStr::from_bytes(&decode(word)).into()).collect();
        let saw = run(&words);
        if words[0].to_str() == Some("fail-if") && saw.is_ok() {
            code = 7;
        }
        let text = saw.unwrap_or_else(|errno| format!("errno {errno}"));
        lines.extend_from_slice(op.as_bytes());
        lines.extend_from_slice(format!(" = {text}\n").as_bytes());
    }
    if result.as_os_str() == "-" {
        std::io::stdout().write_all(&lines).expect("standard output");
    } else {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&result).expect("the result file");
        file.write_all(&lines).expect("the result file");
    }
    std::process::exit(code);
}

/// Does one operation.
pub fn run(words: &[PathBuf]) -> Saw {
    let op = words[0].to_str().unwrap_or_default();
    let args: Vec<&Path> = words[1..].iter().map(PathBuf::as_path).collect();
    look::run(op, &args)
        .or_else(|| change::run(op, &args))
        .or_else(|| elsewhere::run(op, &args))
        .or_else(|| odd::run(op, &args))
        .or_else(|| ring::run(op, &args))
        .unwrap_or_else(|| panic!("there is no operation {op} with {} arguments", args.len()))
}

fn decode(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [a, b, after @ ..]) => {
                let digit = |b: u8| (b as char).to_digit(16).expect("two hexadecimal digits behind %") as u8;
                out.push(digit(*a) << 4 | digit(*b));
                rest = after;
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}
