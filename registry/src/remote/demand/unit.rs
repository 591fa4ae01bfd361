//! Which frames are fetched together.

use std::ops::Range;

use shiplap_cache::tier::table::{Content, Table};

/// No request asks for more than this, but for a single frame.
const REQUEST: u64 = 8 << 20;

/// What lies between two files that are wanted is fetched with them when it is no more than this: a request costs about as much.
const GAP: u64 = 256 << 10;

/// Frames of a pack that are fetched one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::remote) struct Unit {
    /// The pack, by its place among those of a step.
    pub pack: usize,
    /// Its frames.
    pub frames: Range<usize>,
}

impl Unit {
    /// The frames that one file is in.
    pub fn of(pack: usize, table: &Table, content: &Content) -> Self {
        Self { pack, frames: table.frames_of(content) }
    }

    /// Whether both have a frame in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.pack == other.pack && self.frames.start < other.frames.end && other.frames.start < self.frames.end
    }

    /// Its requests, each some of the frames.
    pub fn requests(&self, table: &Table) -> Vec<Range<usize>> {
        let mut requests: Vec<Range<usize>> = Vec::new();
        for frame in self.frames.clone() {
            match requests.last_mut() {
                Some(last) if length(table, &(last.start..frame + 1)) <= REQUEST => last.end = frame + 1,
                _ => requests.push(frame..frame + 1),
            }
        }
        requests
    }
}

/// The units that have these contents, neighbours together.
pub(in crate::remote) fn units(pack: usize, table: &Table, mut contents: Vec<Content>) -> Vec<Unit> {
    contents.sort_by_key(|content| content.offset);
    let mut units: Vec<Unit> = Vec::new();
    for content in contents {
        let frames = table.frames_of(&content);
        match units.last_mut() {
            Some(last) if frames.end <= last.frames.end => {}
            Some(last)
                if length(table, &(last.frames.end.min(frames.start)..frames.start)) <= GAP
                    && length(table, &(last.frames.start..frames.end)) <= REQUEST =>
            {
                last.frames.end = frames.end;
            }
            _ => units.push(Unit { pack, frames }),
        }
    }
    units
}

fn length(table: &Table, frames: &Range<usize>) -> u64 {
    let packed = table.packed(frames);
    packed.end - packed.start
}

/// Bytes that come for some units.
pub(in crate::remote) fn bytes(table: &Table, units: &[Unit]) -> u64 {
    units.iter().map(|unit| length(table, &unit.frames)).sum()
}

#[cfg(test)]
mod tests {
    use shiplap_cache::tier::table::Frame;

    use super::*;

    /// Frames of these packed lengths in kB, each of 1000 bytes with one file in it.
    fn table(packed: &[u32]) -> Table {
        let frames = packed.iter().map(|kb| Frame { plain: 1000, packed: kb << 10 }).collect();
        Table::new(frames, (0..packed.len()).map(content).collect()).unwrap()
    }

    fn content(frame: usize) -> Content {
        Content { hash: [frame as u8; 8], offset: frame as u64 * 1000, size: 1000 }
    }

    fn frames(packed: &[u32], wanted: &[usize]) -> Vec<(usize, usize)> {
        let wanted = wanted.iter().map(|frame| content(*frame)).collect();
        units(0, &table(packed), wanted).into_iter().map(|unit| (unit.frames.start, unit.frames.end)).collect()
    }

    #[test]
    fn neighbours_come_together_and_what_is_far_away_by_itself() {
        assert_eq!(frames(&[100, 100, 100, 100], &[2, 0]), [(0, 3)]);
        assert_eq!(frames(&[100, 200, 200, 100], &[0, 3]), [(0, 1), (3, 4)]);
        assert!(frames(&[100, 100], &[]).is_empty());
        assert_eq!(frames(&[100, 100], &[1, 1]), [(1, 2)]);
    }

    #[test]
    fn no_unit_of_several_files_is_too_long_for_one_request() {
        assert_eq!(frames(&[4000, 4000, 4000, 4000], &[0, 1, 2, 3]), [(0, 2), (2, 4)]);
        let table = table(&[4000; 4]);
        let unit = Unit { pack: 0, frames: 0..4 };
        assert_eq!((unit.requests(&table), bytes(&table, &[unit])), (vec![0..2, 2..4], 16_000 << 10));
    }

    #[test]
    fn a_large_file_is_one_unit_of_several_requests() {
        let table = table(&[4000; 5]);
        let large = Content { hash: [9; 8], offset: 500, size: 3000 };
        let unit = Unit::of(3, &table, &large);
        assert_eq!(unit, Unit { pack: 3, frames: 0..4 });
        assert_eq!(unit.requests(&table), [0..2, 2..4]);
        assert!(unit.meets(&Unit { pack: 3, frames: 3..5 }));
        assert!(!unit.meets(&Unit { pack: 3, frames: 4..5 }) && !unit.meets(&Unit { pack: 2, frames: 0..4 }));
    }
}
