//! Entries of a tar, written with the same bytes everywhere.
//!
//! POSIX ustar headers; what does not fit goes into PAX records, sorted by key (`pax(1)`, *pax Extended Header*). Owners are numbers only.

use std::io::{self, Read, Write};
use std::path::Path;

use tar::{EntryType, Header};

use super::read::{Head, Kind};
use crate::error::At;

const BLOCK: u64 = 512;
/// The largest number in twelve and in eight octal digits with a terminator.
const OCTAL_12: u64 = 0o77_777_777_777;
const OCTAL_8: u64 = 0o7_777_777;

/// Writes a tar.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes an entry and its contents: exactly `head.size` bytes of `contents`.
    ///
    /// # Errors
    /// `out` or `contents` fails; `contents` ends too early (`UnexpectedEof`).
    pub fn entry(&mut self, head: &Head, contents: impl Read) -> io::Result<()> {
        self.entry_marked(head, contents, |_| Ok(()))
    }

    /// As [`Writer::entry`]. `mark` is called before the contents.
    pub(super) fn entry_marked(
        &mut self,
        head: &Head,
        contents: impl Read,
        mark: impl FnOnce(&mut W) -> io::Result<()>,
    ) -> io::Result<()> {
        self.begin(head)?;
        mark(&mut self.out)?;
        let copied = io::copy(&mut contents.take(head.size), &mut self.out)?;
        if copied != head.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad(copied)
    }

    /// What it writes to.
    pub(super) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes an entry whose contents `fill` writes: exactly `head.size` bytes.
    ///
    /// # Errors
    /// `out` or `fill` fails; `fill` writes fewer bytes (`UnexpectedEof`) or more (`InvalidData`).
    pub(crate) fn filled(
        &mut self,
        head: &Head,
        fill: impl FnOnce(&mut dyn Write) -> crate::Result<()>,
    ) -> crate::Result<()> {
        let to = Path::new("the archive");
        self.begin(head).at("write", to)?;
        let mut out = Exact { out: &mut self.out, left: head.size };
        fill(&mut out)?;
        if out.left != 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).at("write", to);
        }
        self.pad(head.size).at("write", to)
    }

    fn begin(&mut self, head: &Head) -> io::Result<()> {
        let records = records(head);
        if !records.is_empty() {
            // The name of the extension entry matters to nobody; a constant one keeps it short and the same.
            let mut header = header(EntryType::XHeader, records.len() as u64);
            put(&mut header.as_old_mut().name, b"PaxHeaders/entry");
            header.set_mode(0o644);
            header.set_cksum();
            self.out.write_all(header.as_bytes())?;
            self.out.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.out.write_all(main_header(head)?.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = (BLOCK - size % BLOCK) % BLOCK;
        io::copy(&mut io::repeat(0).take(rest), &mut self.out).map(drop)
    }

    /// Writes the end marker, two empty blocks, and gives `out` back.
    ///
    /// # Errors
    /// `out` fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(self.out)
    }
}

/// Takes no more bytes than were announced.
struct Exact<'a, W> {
    out: &'a mut W,
    left: u64,
}

impl<W: Write> Write for Exact<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than were announced"));
        }
        let written = self.out.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn main_header(head: &Head) -> io::Result<Header> {
    let kind = match head.kind {
        Kind::File => EntryType::Regular,
        Kind::Dir => EntryType::Directory,
        Kind::Symlink => EntryType::Symlink,
        Kind::HardLink => EntryType::Link,
        Kind::Char => EntryType::Char,
        Kind::Block => EntryType::Block,
        Kind::Fifo => EntryType::Fifo,
    };
    let mut header = header(kind, if head.size > OCTAL_12 { 0 } else { head.size });
    header.set_mode(head.mode & 0o7777);
    header.set_uid(if head.uid > OCTAL_8 { 0 } else { head.uid });
    header.set_gid(if head.gid > OCTAL_8 { 0 } else { head.gid });
    header.set_mtime(plain_time(head.mtime).unwrap_or(0));
    if matches!(head.kind, Kind::Char | Kind::Block) {
        header.set_device_major(head.device.0)?;
        header.set_device_minor(head.device.1)?;
    }
    let old = header.as_old_mut();
    put(&mut old.name, &head.path);
    put(&mut old.linkname, &head.link);
    header.set_cksum();
    Ok(header)
}

/// Puts as much of a name into a field as fits; the whole name is in a PAX record then.
fn put(field: &mut [u8; 100], name: &[u8]) {
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
}

fn fits(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

fn plain_time(seconds: i64) -> Option<u64> {
    u64::try_from(seconds).ok().filter(|s| *s <= OCTAL_12)
}

fn records(head: &Head) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, value: Vec<u8>| records.push((key.into(), value));
    if !fits(&head.path) {
        add("path", head.path.clone());
    }
    if !fits(&head.link) {
        add("linkpath", head.link.clone());
    }
    if head.size > OCTAL_12 {
        add("size", head.size.to_string().into());
    }
    if head.uid > OCTAL_8 {
        add("uid", head.uid.to_string().into());
    }
    if head.gid > OCTAL_8 {
        add("gid", head.gid.to_string().into());
    }
    if plain_time(head.mtime).is_none() {
        add("mtime", head.mtime.to_string().into());
    }
    for (name, value) in &head.xattrs {
        records.push(([b"SCHILY.xattr.", &name[..]].concat(), value.clone()));
    }
    records.sort();
    let mut out = Vec::new();
    for (key, value) in records {
        // "<length> <key>=<value>\n", and the length counts itself.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        out.extend_from_slice(format!("{length} ").as_bytes());
        out.extend_from_slice(&key);
        out.push(b'=');
        out.extend_from_slice(&value);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tarball::Reader;

    fn round_trip(head: &Head, contents: &[u8]) {
        let mut writer = Writer::new(Vec::new());
        writer.entry(head, contents).unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..]);
        let read = reader.next().unwrap().unwrap();
        assert_eq!(&read, head);
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        assert_eq!(out, contents);
        assert!(reader.next().unwrap().is_none());
        assert!(reader.ended());
    }

    #[test]
    fn what_fits_in_no_header_comes_back_from_records() {
        let plain = Head { path: b"d/f".into(), size: 3, mode: 0o4755, uid: 7, gid: 8, mtime: 9, ..Head::default() };
        round_trip(&plain, b"abc");
        round_trip(&Head { path: [b"d/".repeat(200), b"f".into()].concat(), ..plain.clone() }, b"abc");
        round_trip(&Head { path: "d/\u{fc}".into(), ..plain.clone() }, b"abc");
        round_trip(&Head { path: b"d/\xff\xfe".into(), ..plain.clone() }, b"abc");
        round_trip(&Head { uid: 0xffff_fffe, gid: 3_000_000, mtime: -5, ..plain.clone() }, b"abc");
        let xattrs =
            vec![(b"security.capability".to_vec(), b"\x01\n\n0 a=b\0".to_vec()), (b"user.\xff".into(), Vec::new())];
        round_trip(&Head { xattrs, ..plain.clone() }, b"abc");
        let link = Head { kind: Kind::Symlink, link: b"x/".repeat(99), size: 0, ..plain.clone() };
        round_trip(&link, b"");
        round_trip(&Head { kind: Kind::Char, device: (200_000, 1_000_000), size: 0, ..plain }, b"");
    }

    #[test]
    fn a_name_of_exactly_a_hundred_bytes_needs_no_record() {
        let head = Head { path: vec![b'x'; 100], ..Head::default() };
        assert!(records(&head).is_empty());
        round_trip(&head, b"");
        round_trip(&Head { path: vec![b'x'; 101], ..Head::default() }, b"");
    }

    #[test]
    fn contents_that_end_too_early_are_an_error() {
        let head = Head { path: b"f".into(), size: 4, ..Head::default() };
        assert!(Writer::new(Vec::new()).entry(&head, &b"abc"[..]).is_err());
    }

    #[test]
    fn contents_that_are_written_must_be_as_many_as_announced() {
        let head = Head { path: b"f".into(), size: 3, ..Head::default() };
        let filled = |bytes: &'static [u8]| {
            let mut writer = Writer::new(Vec::new());
            writer.filled(&head, |out| out.write_all(bytes).at("write", Path::new("f")))?;
            writer.finish().at("write", Path::new("f"))
        };
        let mut read = Writer::new(Vec::new());
        read.entry(&head, &b"abc"[..]).unwrap();
        assert_eq!(filled(b"abc").unwrap(), read.finish().unwrap());
        assert!(filled(b"ab").is_err());
        assert!(filled(b"abcd").is_err());
    }
}
