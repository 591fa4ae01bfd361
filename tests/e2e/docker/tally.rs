//! Counts cases, of which a test may have several: a line for each in the file that `SHIPLAP_TEST_CASES` names.
//! `scripts/differential` adds them up.

use std::fs::OpenOptions;
use std::io::Write;
use std::panic::Location;

pub fn count(outcome: &str, at: &Location<'_>) {
    let Some(path) = std::env::var_os("SHIPLAP_TEST_CASES") else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    // One write: tests run in processes side by side.
    file.write_all(format!("{outcome} {}:{}\n", at.file(), at.line()).as_bytes()).unwrap();
}
