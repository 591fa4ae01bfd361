//! Packs: zstd frames that can be unpacked one by one, and a table of what is in them.
//!
//! Where a frame ends depends on what is packed alone: at the first beginning of an entry from 1 MiB on, and at 4 MiB. Each frame is compressed by itself, some at
//! a time, and has the same bytes on every machine. To whoever reads all of them in a row it is one stream (RFC 8878, 3).

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ring::digest::{Context, SHA256};
use shiplap_cache::tier::table::{Content, Frame, Table};
use shiplap_cache::{ContentHash, Digest};

/// From here on a frame ends where an entry begins.
const ENOUGH: usize = 1 << 20;

/// No frame has more bytes than this, unpacked.
pub(crate) const MOST: usize = 4 << 20;

/// The level of zstd.
const LEVEL: i32 = 3;

/// Packs what is written to it.
pub(crate) struct FrameWriter<W> {
    out: W,
    /// What is not in a frame yet.
    plain: Vec<u8>,
    /// Bytes that were written in all.
    position: u64,
    digest: Context,
    frames: Vec<Frame>,
    contents: Vec<Content>,
    workers: u32,
    team: Option<Team>,
}

/// What came of packing.
pub(crate) struct Framed<W> {
    /// Where it was written.
    pub out: W,
    /// SHA-256 of what was packed.
    pub plain: Digest,
    /// What is where.
    pub table: Option<Table>,
}

impl<W: Write> FrameWriter<W> {
    pub fn new(out: W, workers: u32) -> Self {
        Self {
            out,
            plain: Vec::new(),
            position: 0,
            digest: Context::new(&SHA256),
            frames: Vec::new(),
            contents: Vec::new(),
            workers: workers.max(1),
            team: None,
        }
    }

    /// An entry begins here.
    pub fn entry(&mut self) -> io::Result<()> {
        if self.plain.len() >= ENOUGH { self.cut() } else { Ok(()) }
    }

    /// The next bytes are the contents of a file.
    pub fn contents(&mut self, hash: &ContentHash, size: u64) {
        if size > 0 {
            self.contents.push(Content { hash: Content::prefix(hash), offset: self.position, size });
        }
    }

    fn cut(&mut self) -> io::Result<()> {
        self.digest.update(&self.plain);
        // More follows, nearly always.
        let plain = std::mem::replace(&mut self.plain, Vec::with_capacity(MOST));
        let workers = self.workers;
        let team = self.team.get_or_insert_with(|| Team::start(workers));
        team.give(plain);
        while self.team.as_ref().is_some_and(|team| team.waiting.len() > 2 * workers as usize) {
            self.write_next()?;
        }
        Ok(())
    }

    /// Waits for the next frame and writes it.
    fn write_next(&mut self) -> io::Result<bool> {
        let Some((plain, packed)) = self.team.as_mut().and_then(Team::take) else { return Ok(false) };
        self.add(plain, &packed?)?;
        Ok(true)
    }

    fn add(&mut self, plain: usize, packed: &[u8]) -> io::Result<()> {
        let length = |length: usize| u32::try_from(length).map_err(io::Error::other);
        self.frames.push(Frame { plain: length(plain)?, packed: length(packed.len())? });
        self.out.write_all(packed)
    }

    /// Packs the rest. Nothing becomes one empty frame, for no bytes are no zstd.
    pub fn finish(mut self) -> io::Result<Framed<W>> {
        while self.write_next()? {}
        self.digest.update(&self.plain);
        if !self.plain.is_empty() {
            let (plain, packed) = (self.plain.len(), zstd::bulk::compress(&self.plain, LEVEL)?);
            self.add(plain, &packed)?;
        } else if self.frames.is_empty() {
            self.out.write_all(&zstd::bulk::compress(&[], LEVEL)?)?;
        }
        let mut plain = [0; 32];
        plain.copy_from_slice(self.digest.finish().as_ref());
        let table = if self.frames.is_empty() { None } else { Table::new(self.frames, self.contents) };
        Ok(Framed { out: self.out, plain: Digest::from_bytes(plain), table })
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MOST - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        self.position += taken as u64;
        if self.plain.len() == MOST {
            self.cut()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// Threads that compress frames. They end when nobody gives them more.
struct Team {
    jobs: Option<SyncSender<Job>>,
    /// Frames on their way, in their order, with their plain lengths.
    waiting: VecDeque<(usize, Receiver<io::Result<Vec<u8>>>)>,
    threads: Vec<JoinHandle<()>>,
}

impl Team {
    fn start(workers: u32) -> Self {
        // So many may lie there without a worker.
        let (jobs, todo) = sync_channel::<Job>(2 * workers as usize + 1);
        let todo = Arc::new(Mutex::new(todo));
        let threads = (0..workers).map(|_| {
            let todo = todo.clone();
            std::thread::spawn(move || work(&todo))
        });
        Self { jobs: Some(jobs), waiting: VecDeque::new(), threads: threads.collect() }
    }

    fn give(&mut self, plain: Vec<u8>) {
        let (answer, packed) = sync_channel(1);
        self.waiting.push_back((plain.len(), packed));
        if let Some(jobs) = &self.jobs {
            // A team that is gone answers nothing, and that is found out by who waits for the answer.
            let _ = jobs.send((plain, answer));
        }
    }

    fn take(&mut self) -> Option<(usize, io::Result<Vec<u8>>)> {
        let (plain, packed) = self.waiting.pop_front()?;
        Some((plain, packed.recv().unwrap_or_else(|_| Err(io::Error::other("the threads that compress are gone")))))
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(todo: &Mutex<Receiver<Job>>) {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL);
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((plain, answer)) = job else { return };
        let packed = match &mut compressor {
            Ok(compressor) => compressor.compress(&plain),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // Who asked may have given up.
        let _ = answer.send(packed);
    }
}

/// Unpacks one frame, which must come to so many bytes.
pub(crate) fn unpack(packed: &[u8], plain: u64) -> Result<Vec<u8>, String> {
    let length = usize::try_from(plain).map_err(|e| e.to_string())?;
    let bytes = zstd::bulk::decompress(packed, length).map_err(|e| e.to_string())?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(format!("a frame has {} bytes instead of {length}", bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::compress::tests::text;

    /// Files of these sizes, each behind a head of 512 bytes.
    fn framed(sizes: &[usize], workers: u32, piece: usize) -> (Vec<u8>, Vec<u8>, Table) {
        let mut writer = FrameWriter::new(Vec::new(), workers);
        let mut all = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            writer.entry().unwrap();
            let contents = &text(size + number)[number..];
            let head = [number as u8; 512];
            head.chunks(piece).for_each(|bytes| writer.write_all(bytes).unwrap());
            writer.contents(&ContentHash::of(contents), *size as u64);
            contents.chunks(piece).for_each(|bytes| writer.write_all(bytes).unwrap());
            all.extend_from_slice(&head);
            all.extend_from_slice(contents);
        }
        let Framed { out, plain, table } = writer.finish().unwrap();
        assert_eq!(plain, Digest::of(&all));
        (out, all, table.unwrap())
    }

    const SIZES: [usize; 8] = [300_000, 800_000, 5, 9_000_000, 0, 4_194_304, 100, 3_000_000];

    #[test]
    fn the_bytes_depend_neither_on_the_workers_nor_on_how_they_are_written() {
        let (one, all, table) = framed(&SIZES, 1, 70_001);
        for (workers, piece) in [(0, 512), (2, 1 << 23), (4, 70_001), (4, 512)] {
            let (packed, _, other) = framed(&SIZES, workers, piece);
            assert!(packed == one && other == table, "{workers} {piece}");
        }
        let mut plain = Vec::new();
        zstd::stream::read::Decoder::new(&one[..]).unwrap().read_to_end(&mut plain).unwrap();
        assert!(plain == all, "any reader reads it");
    }

    #[test]
    fn each_file_can_be_unpacked_from_its_frames_alone() {
        let (packed, all, table) = framed(&SIZES, 2, 70_001);
        assert_eq!(table.size(), packed.len() as u64);
        for (number, size) in SIZES.into_iter().enumerate().filter(|(_, size)| *size > 0) {
            let contents = &text(size + number)[number..];
            let found = table.find(&ContentHash::of(contents), size as u64).unwrap();
            let frames = table.frames_of(&found);
            let mut plain = Vec::new();
            for frame in frames.clone() {
                let (at, to) = (table.packed(&(frame..frame + 1)), table.plain(&(frame..frame + 1)));
                assert!(to.end - to.start <= MOST as u64);
                plain.extend(unpack(&packed[at.start as usize..at.end as usize], to.end - to.start).unwrap());
            }
            let start = (found.offset - table.plain(&frames).start) as usize;
            assert!(&plain[start..start + size] == contents, "{size}");
            assert!(&all[found.offset as usize..found.end() as usize] == contents);
        }
    }

    #[test]
    fn small_files_share_a_frame_and_what_follows_enough_begins_another() {
        let (_, _, table) = framed(&[10, 20, 30], 1, 512);
        assert_eq!(table.frames(), 1);
        let (_, _, table) = framed(&[600_000, 600_000, 10], 1, 512);
        assert_eq!((table.frames(), table.plain(&(0..1))), (2, 0..1_201_024));
    }

    #[test]
    fn nothing_is_an_empty_frame() {
        let Framed { out, plain, table } = FrameWriter::new(Vec::new(), 2).finish().unwrap();
        assert_eq!((zstd::bulk::decompress(&out, 1).unwrap(), plain, table), (Vec::new(), Digest::of(b""), None));
    }

    #[test]
    fn a_frame_that_is_damaged_or_of_another_length_is_refused() {
        let packed = zstd::bulk::compress(&text(1000), LEVEL).unwrap();
        assert_eq!(unpack(&packed, 1000).unwrap(), text(1000));
        for length in [999, 1001, 0] {
            assert!(unpack(&packed, length).is_err(), "{length}");
        }
        assert!(unpack(&packed[..packed.len() - 1], 1000).is_err());
        assert!(unpack(b"", 1000).is_err());
    }

    #[test]
    fn who_cannot_be_written_to_is_told_and_no_thread_is_left_waiting() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = FrameWriter::new(Full, 2);
        let failed = writer.write_all(&text(40 << 20)).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    }
}
