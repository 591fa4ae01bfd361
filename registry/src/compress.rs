//! Compressing and decompressing layers.
//!
//! The bytes must be the same on every machine. Zstandard's multi-threaded mode cuts the input into jobs of a fixed size and gives the
//! same bytes for any number of workers from one up, other bytes than without workers (`ZSTD_c_nbWorkers` in `zstd.h`): so there is always at
//! least one. Gzip is one thread, with a header without time and name.

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

const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;

/// Compresses what is written to it.
pub(crate) enum Encoder<W: Write> {
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
    Gzip(Box<flate2::write::GzEncoder<W>>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(out: W, compression: Compression, workers: u32) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.multithread(workers.max(1))?;
                Self::Zstd(Box::new(encoder))
            }
            Compression::Gzip => {
                // 255: "unknown" operating system (RFC 1952), the same on all.
                let builder = flate2::GzBuilder::new().mtime(0).operating_system(255);
                Self::Gzip(Box::new(builder.write(out, flate2::Compression::new(GZIP_LEVEL))))
            }
        })
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(encoder) => encoder.write(buf),
            Self::Gzip(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
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
mod tests {
    use super::*;

    fn compress(bytes: &[u8], compression: Compression, workers: u32) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), compression, workers).unwrap();
        // Odd pieces: the result must not depend on how it is written either.
        bytes.chunks(70_001).for_each(|c| encoder.write_all(c).unwrap());
        encoder.finish().unwrap()
    }

    fn text(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            b"shiplap builds images\n"[(state >> 60) as usize]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_workers() {
        // More than two jobs of 8 MiB (four windows of level 3).
        let input = text(20 << 20);
        let one = compress(&input, Compression::Zstd, 1);
        assert_eq!(compress(&input, Compression::Zstd, 2), one);
        assert_eq!(compress(&input, Compression::Zstd, 4), one);
        assert_eq!(compress(&input, Compression::Zstd, 0), one);
    }

    #[test]
    fn what_is_compressed_comes_back_also_from_several_members() {
        let input = text(300_000);
        for compression in [Compression::Zstd, Compression::Gzip] {
            let mut packed = compress(&input[..100_000], compression, 2);
            packed.extend(compress(&input[100_000..], compression, 2));
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
        assert_eq!(compress(b"x", Compression::Gzip, 1)[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }
}
