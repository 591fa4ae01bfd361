//! Files with holes. What was never written takes no space on disk, and nobody needs to read it to know that it is zeros.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Below this a file is read as a whole: asking where its holes are would cost more.
const WORTH_IT: u64 = 1 << 20;

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// A piece of a file.
#[derive(Debug, Clone, Copy)]
pub enum Span<'a> {
    /// What was read.
    Data(&'a [u8]),
    /// A piece of a hole, as the zeros that a reader would see.
    Hole(&'a [u8]),
}

impl<'a> Span<'a> {
    /// The bytes as a reader sees them.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Span::Data(bytes) | Span::Hole(bytes) => bytes,
        }
    }
}

/// Whether a file has holes that are worth looking for.
pub fn has_holes(meta: &Metadata) -> bool {
    meta.len() > WORTH_IT && meta.blocks() * 512 < meta.len()
}

/// Hands out a file from its beginning to its end, piece by piece, and reads only what is there.
///
/// # Errors
/// Reading fails, or `take` does.
pub fn read(file: &File, mut take: impl FnMut(Span<'_>) -> io::Result<()>) -> io::Result<()> {
    let end = file.metadata()?.len();
    let mut buffer = vec![0; 1 << 18];
    let mut at = 0;
    while at < end {
        let data = next(file, SeekFrom::Data(at))?.unwrap_or(end).min(end);
        while at < data {
            let length = (data - at).min(ZEROS.len() as u64);
            take(Span::Hole(&ZEROS[..length as usize]))?;
            at += length;
        }
        let hole = next(file, SeekFrom::Hole(at))?.unwrap_or(end).min(end);
        rustix::fs::seek(file, SeekFrom::Start(at))?;
        let mut part = file.take(hole.saturating_sub(at));
        loop {
            match part.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => take(Span::Data(&buffer[..length]))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        // It became shorter meanwhile; whoever counts will see.
        if part.limit() > 0 {
            return Ok(());
        }
        at = hole.max(at);
    }
    Ok(())
}

/// Where the next data or hole begins; none behind the last.
fn next(file: &File, from: SeekFrom) -> io::Result<Option<u64>> {
    match (rustix::fs::seek(file, from), from) {
        (Ok(at), _) => Ok(Some(at)),
        (Err(Errno::NXIO), _) => Ok(None),
        // A file system that knows of no holes (lseek(2)): everything is data.
        (Err(Errno::INVAL), SeekFrom::Data(at)) => Ok(Some(at)),
        (Err(Errno::INVAL), _) => Ok(None),
        (Err(e), _) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_are_handed_out_unread() {
        let file = tempfile::tempfile().unwrap();
        let (mib, all) = (1 << 20, 40 << 20);
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 10 * mib + 7).unwrap();
        file.set_len(all).unwrap();
        assert!(has_holes(&file.metadata().unwrap()));
        let (mut seen, mut holes) = (Vec::new(), 0);
        read(&file, |span| {
            seen.extend_from_slice(span.bytes());
            holes += if matches!(span, Span::Hole(_)) { span.bytes().len() } else { 0 };
            Ok(())
        })
        .unwrap();
        let mut whole = vec![0; all as usize];
        whole[..5].copy_from_slice(b"begin");
        whole[10 * mib as usize + 7..][..6].copy_from_slice(b"middle");
        assert!(seen == whole);
        assert!(holes > 38 << 20, "{holes}");
    }

    #[test]
    fn a_file_without_holes_is_all_data() {
        let file = tempfile::tempfile().unwrap();
        let content = vec![7; 3 << 20];
        file.write_all_at(&content, 0).unwrap();
        let mut seen = Vec::new();
        read(&file, |span| {
            assert!(matches!(span, Span::Data(_)));
            seen.extend_from_slice(span.bytes());
            Ok(())
        })
        .unwrap();
        assert!(seen == content);
        assert!(!has_holes(&file.metadata().unwrap()));
    }
}
