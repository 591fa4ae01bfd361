//! What executing a file reads besides it: the interpreter of a `#!` line (execve(2)), the loader that an ELF program names
//! (`PT_INTERP`, elf(5)), and whatever is registered for other formats (`binfmt_misc`).

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use shiplap_cache::TreePath;

/// How much of a script's first line the kernel looks at (`BINPRM_BUF_SIZE`).
const LINE: usize = 256;

const PT_INTERP: u32 = 3;

/// Opens a program of the tree as it is now; none when it is no file that can be read.
pub(super) fn open(root: impl AsFd, path: &TreePath) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(root, path.as_bytes(), flags, Mode::empty()).ok()?);
    file.metadata().is_ok_and(|meta| meta.is_file()).then_some(file)
}

/// The interpreters that executing a program reads. The first is itself a program with interpreters.
pub(super) fn interpreters(program: &File) -> Vec<Vec<u8>> {
    let mut start = [0; LINE];
    let length = read(program, 0, &mut start);
    match &start[..length] {
        [b'#', b'!', line @ ..] => script(line).into_iter().collect(),
        head if head.starts_with(b"\x7fELF") => loader(program, head).into_iter().collect(),
        [] => Vec::new(),
        // Which of the registered formats it has is for the kernel to say: any of them may be read.
        _ => registered().to_vec(),
    }
}

/// The program after `#!`.
fn script(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.split(|&b| b == b'\n').next()?;
    let name = line.split(|&b| b == b' ' || b == b'\t' || b == 0).find(|part| !part.is_empty())?;
    Some(name.to_vec())
}

/// The `PT_INTERP` of a 64-bit program of this machine's byte order. (What a 32-bit one does is not watched at all.)
fn loader(program: &File, head: &[u8]) -> Option<Vec<u8>> {
    const CLASS_64: u8 = 2;
    if head.len() < 64 || head[4] != CLASS_64 {
        return None;
    }
    let half = |at: usize| usize::from(u16::from_ne_bytes([head[at], head[at + 1]]));
    let table = word(head, 32);
    let (size, count) = (half(54), half(56));
    for number in 0..count {
        let mut entry = [0; 56];
        if read(program, table + (number * size) as u64, &mut entry) < entry.len() {
            return None;
        }
        if u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]) == PT_INTERP {
            let mut path = vec![0; word(&entry, 32).min(4096) as usize];
            let length = read(program, word(&entry, 8), &mut path);
            path.truncate(length);
            path.truncate(path.iter().position(|&b| b == 0).unwrap_or(length));
            return Some(path);
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

fn read(file: &File, at: u64, into: &mut [u8]) -> usize {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => done += read,
        }
    }
    done
}

/// The interpreters of formats that are registered with the kernel of this machine.
fn registered() -> &'static [Vec<u8>] {
    static REGISTERED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        let formats = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
        let texts = formats.filter_map(|format| std::fs::read_to_string(format.path()).ok());
        let interpreter = |text: String| Some(text.lines().find_map(|l| l.strip_prefix("interpreter "))?.into());
        texts.filter_map(interpreter).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(bytes: &[u8]) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        interpreters(&file).into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_script_names_its_interpreter() {
        assert_eq!(of(b"#!/bin/sh\n"), ["/bin/sh"]);
        assert_eq!(of(b"#! \t/usr/bin/env  python3\n..."), ["/usr/bin/env"]);
        assert_eq!(of(b"#!bin/relative"), ["bin/relative"]);
        assert!(of(b"#!\n").is_empty() && of(b"").is_empty());
    }

    #[test]
    fn a_program_names_its_loader() {
        let own = File::open("/proc/self/exe").unwrap();
        let found = interpreters(&own);
        assert_eq!(found.len(), 1);
        assert!(std::path::Path::new(std::str::from_utf8(&found[0]).unwrap()).exists());
    }

    #[test]
    fn a_torn_program_names_none() {
        let mut own = std::fs::read("/proc/self/exe").unwrap();
        own.truncate(100);
        assert!(of(&own).is_empty() && of(b"\x7fELF").is_empty());
    }
}
