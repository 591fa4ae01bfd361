//! Whatever is wrong with what a user gives: the exit code that `--help` promises, a message that says what, where and what
//! to do, and nothing lost or left half.

mod damage;
mod disk;
mod dockerfile;
mod escapes;
mod network;
mod places;
mod registry;
mod releases;
mod settings;
mod stop;

/// Changes one bit in the middle of a file, and nothing else about it that can be seen from outside.
fn flip(path: &std::path::Path) {
    let modified = std::fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}
