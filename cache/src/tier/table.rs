//! Packs, blobs that can be read in part, and the tables that say where in them which contents are.
//!
//! A pack is a row of zstd frames, each of which can be unpacked by itself (RFC 8878, 3: *frames are independent of each other*). What comes out of all of
//! them in a row is its plain form: a layer's tar, or contents of files one after the other. The table of a pack, a blob of its own:
//!
//! ```text
//! magic   8 bytes   "SLTAB001"
//! body              zstd; inside, as postcard has them (https://postcard.jamesmunns.com/wire-format):
//!                   frames, each its plain and its packed length
//!                   of the contents of each regular file, in their order: the first 8 bytes of the BLAKE3 hashes,
//!                   then the bytes between the end of the one before and each, then the sizes
//! ```
//!
//! Empty files are in no table. Eight bytes find a file; whoever uses its bytes checks all 32.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{TierBlob, TierError, TierResult};
use crate::ContentHash;

const MAGIC: &[u8; 8] = b"SLTAB001";

/// Media type of a table.
pub const TABLE: &str = "application/vnd.shiplap.cache.table.v1+zstd";

/// Media type of a pack that is no layer's tar.
pub const PACK: &str = "application/vnd.shiplap.cache.pack.v1+zstd";

/// No table has more bytes than this, packed or not: some ten million files.
pub const MOST_TABLE: u64 = 1 << 28;

/// No frame has more bytes than this, packed or not: it is unpacked in memory. Ours have a quarter of that.
const MOST_FRAME: u32 = 16 << 20;

/// A pack in a tier, and its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pack {
    /// The pack.
    pub blob: TierBlob,
    /// Its table.
    pub table: TierBlob,
}

/// The lengths of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Unpacked.
    pub plain: u32,
    /// Packed.
    pub packed: u32,
}

/// Where the contents of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The beginning of their hash.
    pub hash: [u8; 8],
    /// Where they begin in the pack's plain form.
    pub offset: u64,
    /// Their size in bytes.
    pub size: u64,
}

impl Content {
    /// The beginning of a hash.
    pub fn prefix(hash: &ContentHash) -> [u8; 8] {
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&hash.as_bytes()[..8]);
        prefix
    }

    /// Where they end in the pack's plain form.
    pub fn end(&self) -> u64 {
        self.offset + self.size
    }
}

/// What is where in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    frames: Vec<Frame>,
    contents: Vec<Content>,
    /// Where each frame begins, plain and packed, and at last where all end.
    starts: Vec<(u64, u64)>,
    /// The first of the contents with a hash.
    places: HashMap<[u8; 8], u32>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    frames: Vec<Frame>,
    hashes: Vec<[u8; 8]>,
    gaps: Vec<u64>,
    sizes: Vec<u64>,
}

impl Table {
    /// Of frames and contents in the order in which they follow each other. None when contents overlap or are not in the frames.
    pub fn new(frames: Vec<Frame>, contents: Vec<Content>) -> Option<Self> {
        let mut starts = vec![(0, 0)];
        let (mut plain, mut packed) = (0_u64, 0_u64);
        for frame in &frames {
            if frame.plain == 0 || frame.plain.max(frame.packed) > MOST_FRAME {
                return None;
            }
            plain += u64::from(frame.plain);
            packed += u64::from(frame.packed);
            starts.push((plain, packed));
        }
        let mut end = 0;
        let mut places = HashMap::with_capacity(contents.len());
        for (place, content) in contents.iter().enumerate() {
            if content.size == 0 || content.offset < end {
                return None;
            }
            end = content.offset.checked_add(content.size)?;
            places.entry(content.hash).or_insert(u32::try_from(place).ok()?);
        }
        (end <= plain).then_some(Self { frames, contents, starts, places })
    }

    /// Its bytes, the same for the same table.
    ///
    /// # Errors
    /// Never in practice: everything in it can be written.
    pub fn encode(&self) -> TierResult<Vec<u8>> {
        let mut end = 0;
        let mut gap = |content: &Content| content.offset - std::mem::replace(&mut end, content.end());
        let stored = Stored {
            frames: self.frames.clone(),
            hashes: self.contents.iter().map(|content| content.hash).collect(),
            gaps: self.contents.iter().map(&mut gap).collect(),
            sizes: self.contents.iter().map(|content| content.size).collect(),
        };
        let failed = |why: String| TierError::Here(crate::Error::Segment(why));
        let body = postcard::to_stdvec(&stored).map_err(|e| failed(e.to_string()))?;
        let packed = zstd::bulk::compress(&body, 9).map_err(|e| failed(e.to_string()))?;
        Ok([&MAGIC[..], &packed].concat())
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is no table, one of another version, or what it says cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let body = bytes.strip_prefix(MAGIC).ok_or("it is no table of this version")?;
        let mut plain = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(body).map_err(|e| e.to_string())?;
        decoder.take(MOST_TABLE + 1).read_to_end(&mut plain).map_err(|e| e.to_string())?;
        if plain.len() as u64 > MOST_TABLE {
            return Err(format!("it has more than {MOST_TABLE} bytes"));
        }
        let Stored { frames, hashes, gaps, sizes } = postcard::from_bytes(&plain).map_err(|e| e.to_string())?;
        if hashes.len() != gaps.len() || hashes.len() != sizes.len() {
            return Err("its lists are not of one length".to_owned());
        }
        let impossible = || "it says what cannot be".to_owned();
        let mut end = 0_u64;
        let mut contents = Vec::with_capacity(hashes.len());
        for (hash, (gap, size)) in hashes.into_iter().zip(gaps.into_iter().zip(sizes)) {
            let offset = end.checked_add(gap).ok_or_else(impossible)?;
            end = offset.checked_add(size).ok_or_else(impossible)?;
            contents.push(Content { hash, offset, size });
        }
        Self::new(frames, contents).ok_or_else(impossible)
    }

    /// The contents of a file, if they are in it.
    pub fn find(&self, hash: &ContentHash, size: u64) -> Option<Content> {
        let place = *self.places.get(&Content::prefix(hash))?;
        Some(self.contents[place as usize]).filter(|content| content.size == size)
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// The frames that contents are in.
    pub fn frames_of(&self, content: &Content) -> Range<usize> {
        let first = self.starts.partition_point(|(plain, _)| *plain <= content.offset) - 1;
        let last = self.starts.partition_point(|(plain, _)| *plain < content.end());
        first..last
    }

    /// Where some frames are in the pack.
    pub fn packed(&self, frames: &Range<usize>) -> Range<u64> {
        self.starts[frames.start].1..self.starts[frames.end].1
    }

    /// Where some frames are in the pack's plain form.
    pub fn plain(&self, frames: &Range<usize>) -> Range<u64> {
        self.starts[frames.start].0..self.starts[frames.end].0
    }

    /// Bytes of the pack.
    pub fn size(&self) -> u64 {
        self.starts[self.frames.len()].1
    }

    /// The contents that are wholly in some frames.
    pub fn within(&self, frames: &Range<usize>) -> &[Content] {
        let plain = self.plain(frames);
        let first = self.contents.partition_point(|content| content.offset < plain.start);
        let last = self.contents.partition_point(|content| content.end() <= plain.end);
        &self.contents[first..last.max(first)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let frames = [(100, 40), (50, 60), (200, 10)].map(|(plain, packed)| Frame { plain, packed });
        let content = |n: u8, offset, size| Content { hash: [n; 8], offset, size };
        Table::new(frames.to_vec(), vec![content(1, 10, 20), content(2, 90, 100), content(1, 200, 20)]).unwrap()
    }

    fn hash(n: u8) -> ContentHash {
        ContentHash::from_bytes([n; 32])
    }

    #[test]
    fn a_table_comes_back_and_its_bytes_are_always_the_same() {
        let bytes = table().encode().unwrap();
        assert_eq!(Table::decode(&bytes).unwrap(), table());
        assert_eq!(bytes, table().encode().unwrap());
        let none = Table::new(Vec::new(), Vec::new()).unwrap();
        assert_eq!(Table::decode(&none.encode().unwrap()).unwrap(), none);
    }

    #[test]
    fn contents_are_found_with_the_frames_that_they_are_in() {
        let table = table();
        let found = table.find(&hash(2), 100).unwrap();
        assert_eq!(table.frames_of(&found), 0..3);
        assert_eq!(table.find(&hash(2), 99), None, "another size is another file");
        assert_eq!(table.find(&hash(3), 1), None);
        let first = table.find(&hash(1), 20).unwrap();
        assert_eq!((first.offset, table.frames_of(&first)), (10, 0..1));
        assert_eq!((table.packed(&(1..3)), table.plain(&(1..3))), (40..110, 100..350));
        assert_eq!(table.within(&(0..1)), &[first]);
        assert_eq!(table.within(&(1..2)), &[]);
        assert_eq!(table.within(&(0..3)).len(), 3);
        assert_eq!(table.size(), 110);
    }

    #[test]
    fn what_ends_with_a_frame_is_not_in_the_next_one() {
        let frames = vec![Frame { plain: 10, packed: 5 }; 2];
        let content = |offset, size| Content { hash: [offset as u8; 8], offset, size };
        let table = Table::new(frames, vec![content(0, 10), content(10, 10)]).unwrap();
        assert_eq!(table.frames_of(&content(0, 10)), 0..1);
        assert_eq!(table.frames_of(&content(10, 10)), 1..2);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let good = table().encode().unwrap();
        for cut in 0..good.len() {
            assert!(Table::decode(&good[..cut]).is_err(), "{cut}");
        }
        let stored = |change: fn(&mut Stored)| {
            let mut stored = Stored {
                frames: vec![Frame { plain: 10, packed: 5 }],
                hashes: vec![[1; 8]],
                gaps: vec![1],
                sizes: vec![9],
            };
            change(&mut stored);
            let body = zstd::bulk::compress(&postcard::to_stdvec(&stored).unwrap(), 1).unwrap();
            Table::decode(&[&MAGIC[..], &body].concat())
        };
        assert!(stored(|_| {}).is_ok());
        let wrong: [fn(&mut Stored); 8] = [
            |s| s.gaps[0] = 2,
            |s| s.gaps[0] = u64::MAX,
            |s| s.sizes[0] = 0,
            |s| s.sizes[0] = u64::MAX,
            |s| s.gaps.clear(),
            |s| s.sizes.clear(),
            |s| s.frames[0].plain = MOST_FRAME + 1,
            |s| s.frames[0].packed = u32::MAX,
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            assert!(stored(change).is_err(), "{number}");
        }
    }

    #[test]
    fn a_table_that_unpacks_to_more_than_it_may_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; (MOST_TABLE + 1) as usize], 1).unwrap();
        assert!(Table::decode(&[&MAGIC[..], &bomb].concat()).unwrap_err().contains("more than"));
    }
}
