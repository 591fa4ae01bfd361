//! The smallest programs there are: one that prints a text, and one that does nothing but name the former as its loader.
//!
//! The kernel reads a loader's name out of a program (`PT_INTERP`, elf(5)); no call of the step names it.

const HEADER: usize = 64;
const SEGMENT: usize = 56;

/// A loader that prints a text and ends.
pub fn loader(text: &str) -> Vec<u8> {
    if !cfg!(target_arch = "x86_64") {
        return format!("no loader for this architecture: {text}").into_bytes();
    }
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35]; // eax = write; edi = 1; rsi = rip + ...
    code.extend_from_slice(&16_u32.to_le_bytes());
    code.push(0xba); // edx = length
    code.extend_from_slice(&(text.len() as u32).to_le_bytes());
    code.extend_from_slice(&[0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]); // call; eax = exit; edi = 0; call
    debug_assert_eq!(code.len(), 17 + 16);
    code.extend_from_slice(text.as_bytes());
    let mut elf = header(3, HEADER + SEGMENT, 1);
    let length = HEADER + SEGMENT + code.len();
    elf.extend(segment(1, 0, 0, length));
    elf.extend(code);
    elf
}

/// A program that only its loader does something for.
pub fn program(loader: &str) -> Vec<u8> {
    let name = [loader.as_bytes(), b"\0"].concat();
    let at = HEADER + 2 * SEGMENT;
    let mut elf = header(2, BASE + at, 2);
    elf.extend(segment(3, at, BASE + at, name.len()));
    elf.extend(segment(1, 0, BASE, at + name.len()));
    elf.extend(name);
    elf
}

const BASE: usize = 0x40_0000;

fn header(kind: u16, entry: usize, segments: u16) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend_from_slice(&kind.to_le_bytes());
    elf.extend_from_slice(&62_u16.to_le_bytes());
    elf.extend_from_slice(&1_u32.to_le_bytes());
    for number in [entry, HEADER, 0] {
        elf.extend_from_slice(&(number as u64).to_le_bytes());
    }
    elf.extend_from_slice(&0_u32.to_le_bytes());
    for number in [HEADER as u16, SEGMENT as u16, segments, 64, 0, 0] {
        elf.extend_from_slice(&number.to_le_bytes());
    }
    elf
}

/// Readable and executable, from `offset` of the file to `address`.
fn segment(kind: u32, offset: usize, address: usize, length: usize) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend_from_slice(&5_u32.to_le_bytes());
    for number in [offset, address, address, length, length, 4096] {
        out.extend_from_slice(&(number as u64).to_le_bytes());
    }
    out
}
