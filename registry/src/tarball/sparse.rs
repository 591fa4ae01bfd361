//! Sparse files: which pieces of the file the archive has (GNU tar manual, *Sparse Formats*).

use super::number::{decimal, number};
use super::read::Records;

/// What is stored of a sparse file.
#[derive(Debug)]
pub(super) struct Map {
    /// Size of the file, holes included.
    pub size: u64,
    /// Offset and length of each piece.
    pub pieces: Vec<(u64, u64)>,
    /// The real name; the header's is made up.
    pub name: Option<Vec<u8>>,
    /// The pieces stand before the contents (version 1.0).
    pub in_data: bool,
}

/// Version 0.0 repeats a key for each piece, which a map cannot hold: they are put one behind the other.
pub(super) fn collect(records: &mut Records, key: &[u8], value: &[u8]) {
    if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
        let list = records.entry(b"GNU.sparse.map".to_vec()).or_default();
        if !list.is_empty() {
            list.push(b',');
        }
        list.extend_from_slice(value);
    }
}

/// The map in PAX records, if they have one; its records are taken out.
pub(super) fn from_records(records: &mut Records) -> Result<Option<Map>, String> {
    let mut take = |key: &str| records.remove(key.as_bytes());
    let (major, map) = (take("GNU.sparse.major"), take("GNU.sparse.map"));
    let name = take("GNU.sparse.name");
    let size = take("GNU.sparse.realsize").or_else(|| take("GNU.sparse.size"));
    let (in_data, pieces) = match (major.as_deref(), map) {
        (Some(b"1"), _) => (true, Vec::new()),
        (_, Some(map)) => {
            let numbers = map.split(|b| *b == b',').map(decimal).collect::<Result<Vec<_>, _>>()?;
            if numbers.len() % 2 != 0 {
                return Err("the map of a sparse file is broken".into());
            }
            (false, numbers.chunks(2).map(|p| (p[0], p[1])).collect())
        }
        _ => return Ok(None),
    };
    let size = decimal(&size.ok_or("a sparse file has no size")?)?;
    Ok(Some(Map { size, pieces, name, in_data }))
}

/// The pieces of GNU's own header: twelve bytes each for offset and length.
pub(super) fn gnu_pieces(fields: &[u8], pieces: &mut Vec<(u64, u64)>) -> Result<(), String> {
    for field in fields.chunks(24) {
        let part = |bytes: &[u8]| u64::try_from(number(bytes)?).map_err(|_| "a sparse file's map is broken".to_owned());
        if field[0] != 0 {
            pieces.push((part(&field[..12])?, part(&field[12..])?));
        }
    }
    Ok(())
}

/// The pieces in decimal lines, their number first; none when more lines are to come.
pub(super) fn decimal_pieces(text: &[u8]) -> Result<Option<Vec<(u64, u64)>>, String> {
    let mut lines = text.split_inclusive(|b| *b == b'\n').filter_map(|l| l.strip_suffix(b"\n")).map(decimal);
    let Some(count) = lines.next().transpose()? else { return Ok(None) };
    let mut pieces = Vec::new();
    for _ in 0..count {
        let (Some(offset), Some(length)) = (lines.next().transpose()?, lines.next().transpose()?) else {
            return Ok(None);
        };
        pieces.push((offset, length));
    }
    Ok(Some(pieces))
}

/// Pieces must be in order, inside the file, and as many bytes as are stored.
pub(super) fn check(pieces: &[(u64, u64)], size: u64, stored: u64) -> Result<(), String> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for &(offset, length) in pieces {
        if offset < end {
            return Err("the pieces of a sparse file are out of order".into());
        }
        end = offset.checked_add(length).ok_or("a sparse file is too large")?;
        sum += length;
    }
    if end > size || sum != stored {
        return Err("the pieces of a sparse file do not fit its size".into());
    }
    Ok(())
}
