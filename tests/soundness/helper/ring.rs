//! Opens a file by io_uring: a kernel thread's doing, as far as a tracer of system calls can tell (io_uring(7)).

use std::os::raw::{c_int, c_void};
use std::path::Path;

use crate::Saw;
use crate::look::escape;
use crate::sys::{self, AT_FDCWD, c, check};

const SETUP: i64 = 425;
const ENTER: i64 = 426;
const OP_OPENAT: u8 = 18;
// Where the kernel maps the rings' parts.
const SUBMISSIONS: i64 = 0;
const COMPLETIONS: i64 = 0x800_0000;
const ENTRIES: i64 = 0x1000_0000;

pub fn run(op: &str, args: &[&Path]) -> Option<Saw> {
    match (op, args) {
        ("ring-read", [path]) => Some(read(path)),
        _ => None,
    }
}

fn read(path: &Path) -> Saw {
    // struct io_uring_params: from word 10 on the offsets in the submission ring, from 20 those in the completion ring.
    let mut params = [0_u32; 30];
    let ring = sys::call(SETUP, [1, params.as_mut_ptr() as i64, 0, 0, 0])? as c_int;
    let map = |length: u32, offset: i64| {
        // PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE
        let at = unsafe { sys::mmap(std::ptr::null_mut(), length as usize, 3, 0x8001, ring, offset) };
        if at as isize == -1 { Err(sys::errno()) } else { Ok(at) }
    };
    let submissions = map(params[16] + params[0] * 4, SUBMISSIONS)?;
    let completions = map(params[25] + params[1] * 16, COMPLETIONS)?;
    let entry: *mut u8 = map(params[0] * 64, ENTRIES)?.cast();
    let name = c(path);
    unsafe {
        entry.write(OP_OPENAT);
        entry.add(4).cast::<i32>().write(AT_FDCWD);
        entry.add(16).cast::<u64>().write(name.as_ptr() as u64);
        entry.add(28).cast::<u32>().write(0o4000);
        word(submissions, params[16]).write(0);
        word(submissions, params[11]).write_volatile(1);
    }
    // IORING_ENTER_GETEVENTS
    sys::call(ENTER, [ring.into(), 1, 1, 1, 0])?;
    let result = unsafe { word(completions, params[25] + 8).read_volatile() } as i32;
    unsafe { sys::close(ring) };
    if result < 0 {
        return Err(-result);
    }
    check(result).and_then(|fd| sys::slurp(fd as c_int)).map(|bytes| escape(&bytes))
}

fn word(ring: *mut c_void, offset: u32) -> *mut u32 {
    unsafe { ring.cast::<u8>().add(offset as usize).cast() }
}
