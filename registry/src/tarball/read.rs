//! Reading a tar entry by entry: ustar, GNU and PAX, sparse files in all their forms.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::number::{decimal, number, time};
use super::{TarProblem, sparse};

const BLOCK: usize = 512;
/// More than all extended attributes of a file can have; an archive must not make us allocate what it likes.
const MAX_EXTENSION: u64 = 4 << 20;
/// The map of a sparse file: some 50,000 pieces.
const MAX_MAP: usize = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A further name of an earlier entry.
    HardLink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// An entry without its contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The name as it stands in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time in seconds.
    pub mtime: i64,
    /// Nanoseconds of the modification time.
    pub nanos: u32,
    /// Size of the file, holes included.
    pub size: u64,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads a tar. As a [`Read`] it gives what is stored of the current entry; see [`Reader::pieces`] for sparse files.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    position: u64,
    /// Bytes of the current entry that are not read yet, and its padding.
    left: u64,
    padding: u64,
    pieces: Vec<(u64, u64)>,
    global: Records,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        let global = Records::new();
        Self { inner, position: 0, left: 0, padding: 0, pieces: Vec::new(), global, ended: false }
    }

    /// Whether the end marker was seen. A tar without one may be cut short between two entries.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Where in the archive the next byte comes from: behind [`Reader::next`], the contents of the entry.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Which pieces of the file the contents are, offset and length: one from 0 to the size unless the file is sparse.
    pub fn pieces(&self) -> &[(u64, u64)] {
        &self.pieces
    }

    /// Goes to the next entry. None at the end.
    ///
    /// # Errors
    /// The archive is cut short or broken.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Head>, TarProblem> {
        let mut local: Option<Records> = None;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            self.skip()?;
            let offset = self.position;
            let Some(block) = self.block()? else {
                return match (local, long_name, long_link) {
                    (None, None, None) => Ok(None),
                    _ => Err(TarProblem::Truncated("an extended header".into())),
                };
            };
            let bad = |why: String| TarProblem::Header { offset, why };
            check_sum(&block).map_err(bad)?;
            let size = number(&block[124..136]).map_err(bad)?;
            let size = u64::try_from(size).map_err(|_| bad("its size is negative".into()))?;
            match block[156] {
                b'x' => local = Some(parse_records(&self.extension(size, offset)?).map_err(bad)?),
                b'g' => {
                    let records = parse_records(&self.extension(size, offset)?).map_err(bad)?;
                    self.global.extend(records);
                }
                b'L' => long_name = Some(until_nul(&self.extension(size, offset)?).to_vec()),
                b'K' => long_link = Some(until_nul(&self.extension(size, offset)?).to_vec()),
                _ => {
                    let mut records = self.global.clone();
                    records.extend(local.unwrap_or_default());
                    return self.entry(&block, size, records, (long_name, long_link), offset).map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        mut size: u64,
        mut records: Records,
        long: (Option<Vec<u8>>, Option<Vec<u8>>),
        offset: u64,
    ) -> Result<Head, TarProblem> {
        let bad = |why: String| TarProblem::Header { offset, why };
        let mut head = Head { path: header_name(block), link: until_nul(&block[157..257]).to_vec(), ..Head::default() };
        let field = |range: std::ops::Range<usize>| number(&block[range]).map_err(bad);
        head.mode = (field(100..108)? & 0o7777) as u32;
        head.uid = field(108..116)? as u64;
        head.gid = field(116..124)? as u64;
        head.mtime = field(136..148)?;
        if let Some(name) = long.0 {
            head.path = name;
        }
        if let Some(link) = long.1 {
            head.link = link;
        }
        let sparse = sparse::from_records(&mut records).map_err(bad)?;
        for (key, value) in records {
            // An empty value takes an earlier one back (`pax(1)`).
            match &key[..] {
                b"path" if !value.is_empty() => head.path = value,
                b"linkpath" if !value.is_empty() => head.link = value,
                b"size" => size = decimal(&value).map_err(bad)?,
                b"uid" => head.uid = decimal(&value).map_err(bad)?,
                b"gid" => head.gid = decimal(&value).map_err(bad)?,
                b"mtime" => (head.mtime, head.nanos) = time(&value).map_err(bad)?,
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        head.xattrs.push((name.to_vec(), value));
                    }
                }
            }
        }
        let flag = block[156];
        head.kind = match flag {
            // Before POSIX, a slash at the end of the name was the only sign of a directory.
            0 | b'0' if head.path.ends_with(b"/") => Kind::Dir,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            other => return Err(bad(format!("entry type `{}` is not known", char::from(other).escape_default()))),
        };
        if matches!(head.kind, Kind::Char | Kind::Block) {
            let part = |range: std::ops::Range<usize>| u32::try_from(number(&block[range]).ok()?).ok();
            head.device =
                part(329..337).zip(part(337..345)).ok_or_else(|| bad("its device numbers are broken".into()))?;
        }
        // Only files have contents here; a link or a directory may repeat a size without the bytes (as Go's reader has it).
        if head.kind != Kind::File {
            size = 0;
        }
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        head.size = size;
        self.pieces = vec![(0, size)];
        let map = match sparse {
            Some(map) => Some(map),
            None if flag == b'S' => Some(self.gnu_map(block).map_err(|p| locate(p, offset))?),
            None => None,
        };
        if let Some(map) = map {
            if let Some(name) = map.name {
                head.path = name;
            }
            let pieces = if map.in_data { self.pax_map()? } else { map.pieces };
            sparse::check(&pieces, map.size, self.left).map_err(bad)?;
            head.size = map.size;
            self.pieces = pieces;
        }
        Ok(head)
    }

    fn gnu_map(&mut self, block: &[u8; BLOCK]) -> Result<sparse::Map, TarProblem> {
        let bad = |why: String| TarProblem::Header { offset: 0, why };
        let mut pieces = Vec::new();
        sparse::gnu_pieces(&block[386..482], &mut pieces).map_err(bad)?;
        let mut more = block[482] != 0;
        while more {
            let extension = self.block_always("a sparse file's map")?;
            sparse::gnu_pieces(&extension[..504], &mut pieces).map_err(bad)?;
            more = extension[504] != 0;
        }
        let size =
            u64::try_from(number(&block[483..495]).map_err(bad)?).map_err(|_| bad("its size is negative".into()))?;
        Ok(sparse::Map { size, pieces, name: None, in_data: false })
    }

    /// The map of version 1.0, which stands before the contents, in decimal lines, filled up to a block.
    fn pax_map(&mut self) -> Result<Vec<(u64, u64)>, TarProblem> {
        let offset = self.position;
        let bad = |why: String| TarProblem::Header { offset, why };
        let mut text = Vec::new();
        loop {
            if self.left < BLOCK as u64 || text.len() > MAX_MAP {
                return Err(bad("the map of a sparse file is broken".into()));
            }
            text.extend_from_slice(&self.block_always("a sparse file's map")?);
            self.left -= BLOCK as u64;
            if let Some(pieces) = sparse::decimal_pieces(&text).map_err(bad)? {
                return Ok(pieces);
            }
        }
    }

    fn extension(&mut self, size: u64, offset: u64) -> Result<Vec<u8>, TarProblem> {
        if size > MAX_EXTENSION {
            return Err(TarProblem::Header { offset, why: format!("an extended header of {size} bytes") });
        }
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|e| TarProblem::reading(e, "an extended header"))?;
        Ok(bytes)
    }

    /// Passes over what is left of the current entry.
    fn skip(&mut self) -> Result<(), TarProblem> {
        let left = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.inner).take(left), &mut io::sink());
        let skipped = skipped.map_err(|e| TarProblem::reading(e, "an entry"))?;
        self.position += skipped;
        (self.left, self.padding) = (0, 0);
        if skipped < left { Err(TarProblem::Truncated("an entry".into())) } else { Ok(()) }
    }

    /// The next header; none at the end marker or the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarProblem> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarProblem::Truncated("a header".into())),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(TarProblem::reading(e, "a header")),
            }
        }
        self.position += BLOCK as u64;
        self.ended = block.iter().all(|b| *b == 0);
        Ok((!self.ended).then_some(block))
    }

    fn block_always(&mut self, place: &str) -> Result<[u8; BLOCK], TarProblem> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block).map_err(|e| TarProblem::reading(e, place))?;
        self.position += BLOCK as u64;
        Ok(block)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.inner.read(&mut buf[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        self.position += n as u64;
        Ok(n)
    }
}

fn locate(problem: TarProblem, at: u64) -> TarProblem {
    match problem {
        TarProblem::Header { why, .. } => TarProblem::Header { offset: at, why },
        other => other,
    }
}

fn check_sum(block: &[u8; BLOCK]) -> Result<(), String> {
    // Sum of all bytes with the field itself as blanks; some old programs summed signed bytes.
    let blank = |i: usize| if (148..156).contains(&i) { b' ' } else { block[i] };
    let unsigned: i64 = (0..BLOCK).map(|i| i64::from(blank(i))).sum();
    let signed: i64 = (0..BLOCK).map(|i| i64::from(blank(i).cast_signed())).sum();
    let stored = number(&block[148..156])?;
    if stored == unsigned || stored == signed { Ok(()) } else { Err("its checksum is wrong".into()) }
}

fn header_name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    // GNU's magic is `ustar  `, and what POSIX calls the prefix holds other things there; so does the end of star's.
    let prefix = match &block[257..263] {
        b"ustar\0" if &block[508..512] == b"tar\0" => until_nul(&block[345..476]),
        b"ustar\0" => until_nul(&block[345..500]),
        _ => b"",
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// PAX records: "<length> <key>=<value>\n", values of any bytes.
fn parse_records(mut bytes: &[u8]) -> Result<Records, String> {
    let mut records = Records::new();
    let broken = || "a PAX record is broken".to_owned();
    while !bytes.is_empty() && bytes[0] != 0 {
        let blank = bytes.iter().position(|b| *b == b' ').ok_or_else(broken)?;
        let length = usize::try_from(decimal(&bytes[..blank])?).map_err(|_| broken())?;
        if length <= blank + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(broken());
        }
        let record = &bytes[blank + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(broken)?;
        let (key, value) = (record[..equals].to_vec(), record[equals + 1..].to_vec());
        sparse::collect(&mut records, &key, &value);
        records.insert(key, value);
        bytes = &bytes[length..];
    }
    Ok(records)
}
