//! Tar archives as sources.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use shiplap_cache::{Store, TreePath};
use shiplap_registry::unpack::unpack;

use super::error::StepError;
use super::files::Files;

/// Unpacks an archive; it may be compressed with gzip, bzip2, xz or zstd. Also gives the directories that it has no entry for.
pub(crate) fn unpack_to(store: &Store, archive: &Path, what: &str) -> Result<(Files, BTreeSet<TreePath>), StepError> {
    let folder = store.temporary()?;
    let root = folder.path().join("tree");
    std::fs::create_dir(&root).map_err(|source| StepError::Io { what: "make", path: root.clone(), source })?;
    let reader = plain(archive).map_err(|source| StepError::Io { what: "read", path: archive.to_owned(), source })?;
    let unpacked = unpack(reader, &root, store.overlay())
        .map_err(|e| StepError::Archive { what: what.to_owned(), why: e.to_string() })?;
    Ok((Files::of_temporary(folder, root, store.overlay())?, unpacked.implied))
}

/// The files of an archive.
pub(crate) fn files(store: &Store, archive: &Path, what: &str) -> Result<Files, StepError> {
    Ok(unpack_to(store, archive, what)?.0)
}

/// Whether `ADD` unpacks a file, packed or not: it is an archive when it begins with the header of one, as in Docker, whatever
/// its name is.
pub(crate) fn is_archive(file: &Path) -> Result<bool, StepError> {
    begins_with_header(file).map_err(|source| StepError::Io { what: "read", path: file.to_owned(), source })
}

fn begins_with_header(file: &Path) -> std::io::Result<bool> {
    let mut head = [0; 512];
    let mut read = 0;
    let mut reader = plain(file)?;
    while read < head.len() {
        match reader.read(&mut head[read..]) {
            Ok(0) => return Ok(false),
            Ok(more) => read += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            // It is not what its first bytes promise.
            Err(_) => return Ok(false),
        }
    }
    Ok(is_header(&head))
}

/// A tar header has the sum of its bytes in it, with spaces where that sum is (POSIX pax, *ustar Interchange Format*).
fn is_header(head: &[u8; 512]) -> bool {
    let text = head[148..156].iter().map(|b| char::from(*b)).collect::<String>();
    let Ok(stated) = u32::from_str_radix(text.trim_matches([' ', '\0']), 8) else { return false };
    let sum: u32 = (0..512).map(|i| if (148..156).contains(&i) { 32 } else { u32::from(head[i]) }).sum();
    sum == stated
}

/// A file's bytes decompressed.
fn plain(file: &Path) -> std::io::Result<Box<dyn Read + Send>> {
    let mut reader = BufReader::with_capacity(1 << 17, File::open(file)?);
    Ok(match reader.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(reader)?)
        }
        _ => Box::new(reader),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_known_by_its_sum() {
        let mut head = [0; 512];
        assert!(!is_header(&head));
        head[0] = b'a';
        head[148..156].copy_from_slice(b"000541\0 ");
        assert!(is_header(&head));
        head[1] = b'b';
        assert!(!is_header(&head));
    }
}
