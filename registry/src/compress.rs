//! Compressing and decompressing layers.
//!
//! The bytes must be the same on every machine. Zstandard is written in [frames](crate::frames) that are cut by their content alone. Gzip is one thread,
//! with a header without time and name.

use std::io::{self, BufRead, BufReader, Read, Write};

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Zstandard, level 3.
    #[default]
    Zstd,
    /// Gzip, level 6, for engines from before 2023.
    Gzip,
}

const GZIP_LEVEL: u32 = 6;

/// Compresses with gzip what is written to it.
pub(crate) fn gzip<W: Write>(out: W) -> flate2::write::GzEncoder<W> {
    // 255: "unknown" operating system (RFC 1952), the same on all.
    let builder = flate2::GzBuilder::new().mtime(0).operating_system(255);
    builder.write(out, flate2::Compression::new(GZIP_LEVEL))
}

/// How many workers to give to one layer of several.
pub(crate) fn workers() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)).min(4)
}

/// What bytes are compressed with, by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Magic {
    Plain,
    Gzip,
    Zstd,
}

/// Tells by the first bytes, which stay unread.
pub(crate) fn detect(reader: &mut impl BufRead) -> io::Result<Magic> {
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Magic::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Magic::Zstd,
        // A skippable frame may come first (RFC 8878, 3.1.2), as zstd:chunked and pzstd write.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Magic::Zstd,
        _ => Magic::Plain,
    })
}

/// Reads bytes decompressed, whatever they are compressed with.
pub(crate) fn decompress<'a>(reader: impl Read + Send + 'a) -> io::Result<(Box<dyn Read + Send + 'a>, Magic)> {
    let mut reader = BufReader::with_capacity(1 << 17, reader);
    let magic = detect(&mut reader)?;
    let reader: Box<dyn Read + Send + 'a> = match magic {
        Magic::Plain => Box::new(reader),
        Magic::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Magic::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    };
    Ok((reader, magic))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
        match compression {
            Compression::Zstd => {
                let mut writer = crate::frames::FrameWriter::new(Vec::new(), 2);
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap().out
            }
            Compression::Gzip => {
                let mut writer = gzip(Vec::new());
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
        }
    }

    /// Bytes that pack well and are the same each time.
    pub(crate) fn text(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            b"shiplap builds images\n"[(state >> 60) as usize]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn what_is_compressed_comes_back_also_from_several_members() {
        let input = text(300_000);
        for compression in [Compression::Zstd, Compression::Gzip] {
            let mut packed = compress(&input[..100_000], compression);
            packed.extend(compress(&input[100_000..], compression));
            let mut out = Vec::new();
            decompress(&packed[..]).unwrap().0.read_to_end(&mut out).unwrap();
            assert_eq!(out, input, "{compression:?}");
            for cut in [packed.len() - 1, packed.len() / 4 * 3, 20] {
                let error = decompress(&packed[..cut]).unwrap().0.read_to_end(&mut Vec::new()).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{compression:?} {cut}");
            }
        }
    }

    #[test]
    fn gzip_has_no_time_in_it() {
        assert_eq!(compress(b"x", Compression::Gzip)[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }
}
