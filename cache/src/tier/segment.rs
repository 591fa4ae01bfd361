//! What a segment holds, and its bytes.
//!
//! ```text
//! magic   8 bytes   "SLSEG002"
//! body              zstd; inside, the fields of `Segment` in their order, as postcard has them (https://postcard.jamesmunns.com/wire-format)
//! ```
//!
//! Records name each other by their place in the lists, so that a path set or a result that many runs share is there once.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::table::{self, Pack};
use super::{SegmentName, TierBlob, TierError, TierResult};
use crate::{Digest, LayerBlob, LayerId};

const MAGIC: &[u8; 8] = b"SLSEG002";

/// Of the version before, which did not say where single contents are.
const OLDER: &[u8; 8] = b"SLSEG001";

/// Media type of a segment.
pub const SEGMENT: &str = "application/vnd.shiplap.cache.segment.v1+zstd";

/// Media type of a layer index in a tier.
pub const INDEX: &str = "application/vnd.shiplap.cache.index.v1+zstd";

/// No segment has more bytes than this, packed or not: some hundred thousand steps.
pub const MOST: u64 = 512 << 20;

/// No blob is larger.
const LARGEST: u64 = 1 << 42;

/// No packed index is larger: it is read into memory.
const LARGEST_INDEX: u64 = 1 << 28;

/// What one or many builds learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The segments whose content is in this one too.
    pub replaces: Vec<Name>,
    /// Path sets, encoded.
    pub sets: Vec<Vec<u8>>,
    /// Step results, as JSON.
    pub results: Vec<String>,
    /// Runs of steps.
    pub runs: Vec<Run>,
    /// Results of steps on trees.
    pub exact: Vec<Exact>,
    /// Where layers are.
    pub layers: Vec<Layer>,
    /// Names whose values are true wherever they are read.
    pub names: Vec<Known>,
    /// Contents of `RUN --mount=type=cache`.
    pub mounts: Vec<Mount>,
}

/// The name of a segment.
pub type Name = (i64, [u8; 32]);

/// A run of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The input key.
    pub input: [u8; 32],
    /// The step key.
    pub step: [u8; 32],
    /// Its path set, by its place in `sets`.
    pub set: u32,
    /// The layers that it ran on, from the bottom up.
    pub parent: Vec<[u8; 32]>,
    /// What it left, by its place in `results`.
    pub result: u32,
    /// The day when somebody used it last, counted from 1970.
    pub day: u32,
}

/// The result of a step on a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exact {
    /// The step key.
    pub step: [u8; 32],
    /// The tree's name.
    pub parent: [u8; 32],
    /// What the step left, by its place in `results`.
    pub result: u32,
    /// The day when somebody used it last.
    pub day: u32,
}

/// A blob: SHA-256 and size.
pub type Blob = ([u8; 32], u64);

/// Where a layer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name.
    pub id: [u8; 32],
    /// Its index, packed with zstd.
    pub index: Blob,
    /// Its files; none for a layer of a base image, which the image's registry has, and for one whose contents are elsewhere.
    pub files: Option<Files>,
    /// Where single contents of its files are.
    pub contents: Vec<Source>,
    /// Where these have all of its files, so that it can be put together: the bytes of them that must come for that.
    pub complete: Option<u64>,
    /// The day when somebody used it last.
    pub day: u32,
}

/// A layer's tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The media type.
    pub media_type: String,
    /// SHA-256 of the tar.
    pub diff_id: [u8; 32],
    /// The blob.
    pub blob: Blob,
}

/// Where contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// A pack, see [`table`].
    pub pack: Blob,
    /// Its table.
    pub table: Blob,
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The space, see `docs/formats.md`.
    pub space: String,
    /// The name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The day when somebody used it last.
    pub day: u32,
}

/// What was in a cache mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// BLAKE3 of what the mount is for.
    pub key: [u8; 32],
    /// When it was packed, seconds since 1970: the newest counts.
    pub time: i64,
    /// Tars packed with zstd, which together have its files.
    pub parts: Vec<Blob>,
}

impl Segment {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its bytes.
    ///
    /// # Errors
    /// Never in practice: everything in it can be written.
    pub fn encode(&self) -> TierResult<Vec<u8>> {
        let here = |e: std::io::Error| TierError::Here(crate::Error::Segment(e.to_string()));
        let body = postcard::to_stdvec(self).map_err(|e| TierError::Here(crate::Error::Segment(e.to_string())))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(zstd::bulk::compress(&body, 9).map_err(here)?);
        Ok(bytes)
    }

    /// Reads one. One of an older version says nothing to us.
    ///
    /// # Errors
    /// It is no segment, one of a newer version, or says more than is in it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(OLDER) {
            return Ok(Self::default());
        }
        let body = bytes.strip_prefix(MAGIC).ok_or("it is no segment of this version")?;
        let mut plain = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(body).map_err(|e| e.to_string())?;
        decoder.take(MOST + 1).read_to_end(&mut plain).map_err(|e| e.to_string())?;
        if plain.len() as u64 > MOST {
            return Err(format!("it has more than {MOST} bytes"));
        }
        let segment: Self = postcard::from_bytes(&plain).map_err(|e| e.to_string())?;
        let is_set = |place: u32| (place as usize) < segment.sets.len();
        let is_result = |place: u32| (place as usize) < segment.results.len();
        let whole = segment.runs.iter().all(|run| is_set(run.set) && is_result(run.result))
            && segment.exact.iter().all(|exact| is_result(exact.result));
        if !whole {
            return Err("it names what is not in it".to_owned());
        }
        let large = |part: super::Part| part.blob.size > largest(&part.media_type);
        if segment.parts().into_iter().any(large) {
            return Err("it speaks of a blob that is too large to be one".to_owned());
        }
        // A clock that is wrong must not keep something for ever.
        let latest = crate::today() + 1;
        let mut segment = segment;
        segment.runs.iter_mut().for_each(|run| run.day = run.day.min(latest));
        segment.exact.iter_mut().for_each(|exact| exact.day = exact.day.min(latest));
        segment.layers.iter_mut().for_each(|layer| layer.day = layer.day.min(latest));
        segment.names.iter_mut().for_each(|known| known.day = known.day.min(latest));
        Ok(segment)
    }

    /// All blobs that it speaks of, with their media types.
    pub fn parts(&self) -> Vec<super::Part> {
        let part = |(digest, size): Blob, media_type: &str| super::Part {
            blob: TierBlob { digest: Digest::from_bytes(digest), size },
            media_type: media_type.to_owned(),
        };
        let mut parts = Vec::new();
        for layer in &self.layers {
            parts.push(part(layer.index, INDEX));
            parts.extend(layer.files.iter().map(|files| part(files.blob, &files.media_type)));
        }
        // After those, for most packs are layers' tars, and have the type of these.
        for Source { pack, table } in self.layers.iter().flat_map(|layer| &layer.contents) {
            parts.extend([part(*pack, table::PACK), part(*table, table::TABLE)]);
        }
        parts.extend(self.mounts.iter().flat_map(|mount| &mount.parts).map(|blob| part(*blob, crate::tier::MOUNT)));
        parts.sort_by_key(|part| part.blob);
        parts.dedup_by_key(|part| part.blob);
        parts
    }
}

fn largest(media_type: &str) -> u64 {
    match media_type {
        INDEX => LARGEST_INDEX,
        table::TABLE => table::MOST_TABLE,
        _ => LARGEST,
    }
}

impl From<Pack> for Source {
    fn from(pack: Pack) -> Self {
        Self { pack: pack.blob.into(), table: pack.table.into() }
    }
}

impl From<Source> for Pack {
    fn from(source: Source) -> Self {
        Self { blob: source.pack.into(), table: source.table.into() }
    }
}

impl From<TierBlob> for Blob {
    fn from(blob: TierBlob) -> Self {
        (*blob.digest.as_bytes(), blob.size)
    }
}

impl From<Blob> for TierBlob {
    fn from((digest, size): Blob) -> Self {
        Self { digest: Digest::from_bytes(digest), size }
    }
}

impl From<&LayerBlob> for Files {
    fn from(blob: &LayerBlob) -> Self {
        let LayerBlob { media_type, diff_id, digest, size } = blob;
        Self { media_type: media_type.clone(), diff_id: *diff_id.as_bytes(), blob: (*digest.as_bytes(), *size) }
    }
}

impl From<&Files> for LayerBlob {
    fn from(files: &Files) -> Self {
        let (digest, size) = files.blob;
        Self {
            media_type: files.media_type.clone(),
            diff_id: Digest::from_bytes(files.diff_id),
            digest: Digest::from_bytes(digest),
            size,
        }
    }
}

impl From<&SegmentName> for Name {
    fn from(name: &SegmentName) -> Self {
        (name.time, *name.digest.as_bytes())
    }
}

impl From<&Name> for SegmentName {
    fn from((time, digest): &Name) -> Self {
        Self { time: *time, digest: Digest::from_bytes(*digest) }
    }
}

/// The name of a layer in a segment.
impl Layer {
    /// The layer.
    pub fn id(&self) -> LayerId {
        LayerId::from_bytes(self.id)
    }

    /// Whether all of it can be had from where the segment is.
    pub fn can_be_had(&self) -> bool {
        self.files.is_some() || self.complete.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment {
        Segment {
            sets: vec![vec![1, 2]],
            results: vec!["{}".to_owned()],
            runs: vec![Run { input: [1; 32], step: [2; 32], set: 0, parent: vec![[3; 32]], result: 0, day: 20_000 }],
            exact: vec![Exact { step: [2; 32], parent: [4; 32], result: 0, day: 20_000 }],
            layers: vec![Layer {
                id: [5; 32],
                index: ([6; 32], 7),
                files: None,
                contents: vec![Source { pack: ([8; 32], 9), table: ([10; 32], 11) }],
                complete: Some(5),
                day: 1,
            }],
            ..Segment::default()
        }
    }

    #[test]
    fn a_segment_comes_back() {
        let bytes = segment().encode().unwrap();
        assert_eq!(Segment::decode(&bytes).unwrap(), segment());
        assert_eq!(bytes, segment().encode().unwrap());
        assert_eq!(segment().parts().len(), 3);
    }

    #[test]
    fn what_is_no_segment_is_refused() {
        let good = segment().encode().unwrap();
        for cut in 0..good.len() {
            assert!(Segment::decode(&good[..cut]).is_err(), "{cut}");
        }
        let places: [fn(&mut Segment); 3] =
            [|s| s.runs[0].set = 1, |s| s.runs[0].result = 1, |s| s.exact[0].result = 9];
        for change in places {
            let mut segment = segment();
            change(&mut segment);
            assert!(Segment::decode(&segment.encode().unwrap()).is_err());
        }
    }

    #[test]
    fn one_of_an_older_version_says_nothing() {
        assert_eq!(Segment::decode(b"SLSEG001 and what it had").unwrap(), Segment::default());
        assert!(Segment::decode(b"SLSEG003 and what it has").is_err());
    }

    #[test]
    fn a_pack_that_is_a_layer_is_named_once_and_as_that() {
        let blob = ([8; 32], 9);
        let mut segment = segment();
        segment.layers[0].files = Some(Files { media_type: "layer".to_owned(), diff_id: [1; 32], blob });
        let parts = segment.parts();
        let packs: Vec<_> = parts.iter().filter(|part| part.blob == blob.into()).collect();
        assert_eq!((parts.len(), packs.len(), packs[0].media_type.as_str()), (3, 1, "layer"));
    }

    #[test]
    fn a_segment_that_unpacks_to_more_than_it_may_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; (MOST + 1) as usize], 1).unwrap();
        assert!(Segment::decode(&[&MAGIC[..], &bomb].concat()).unwrap_err().contains("more than"));
    }
}
