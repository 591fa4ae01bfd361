//! Which layers a copied tree comes to.
//!
//! A big tree that one instruction copies would be new as a whole whenever one of its files is. So it is split by the layers of what it is copied
//! from: what a large one of these has is a layer of its own, small ones are taken together with the next ones above, and what remains is the
//! uppermost. After an edit of one step of the source, what the steps before it made is in layers that are known.
//!
//! The rule looks at the source alone, never at what was built before, so the same source makes the same layers everywhere. A layer depends on what is
//! in the source up to its own part, and on nothing above: a folder that is in several layers has in each the attributes that it has there. The
//! uppermost has those that it has in the whole, so stacked they are what one layer would be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use shiplap_cache::{ContentHash, Entry, Kind, Tree, TreePath};

use super::copy::Picked;
use super::files::Item;
use super::part::{Part, Piece};
use crate::plan::{Plan, Source, StageId};

/// A tree below this is one layer.
const WHOLE: u64 = 32 << 20;

/// A layer of the source with so many bytes of what is copied is large.
const LARGE: u64 = 8 << 20;

/// Most layers that one step makes.
const MOST: usize = 8;

/// Most layers of an image with a split step in it. Docker takes no more than 125 (moby `layer/layer_store.go`, `maxLayerDepth`), overlayfs as containerd
/// mounts it about 127.
const DEEPEST: usize = 120;

/// Whether a step may make several layers: not where the stages that end with it or go on from it would come near the end of what engines take.
/// `below` is how many layers it stands on.
pub(crate) fn is_room(plan: &Plan, stage: StageId, step: usize, below: usize) -> bool {
    below + MOST + to_come(plan, stage, step + 1) <= DEEPEST
}

/// The layers that the steps of a stage from this one on make at most, if none is split, with those of the stages that stand on it.
fn to_come(plan: &Plan, stage: StageId, from: usize) -> usize {
    let own = plan.stage(stage).steps.iter().skip(from).filter(|step| step.makes_layer()).count();
    let upon = plan.stages.iter().filter(|other| other.base == Source::Stage(stage));
    own + upon.map(|other| to_come(plan, other.id, 0)).max().unwrap_or(0)
}

/// How a copied tree is shared out among layers.
#[derive(Debug)]
pub(crate) struct Split {
    /// The part of each layer of the source that has something of it.
    parts: BTreeMap<usize, usize>,
    /// The source as it is seen from each part but the uppermost: without what is above.
    cuts: Vec<Arc<Tree>>,
}

impl Split {
    /// Decides. None when all of it is one layer.
    pub(crate) fn of(picked: &[Picked]) -> Option<Self> {
        Self::with(picked, WHOLE, LARGE)
    }

    fn with(picked: &[Picked], whole: u64, large: u64) -> Option<Self> {
        // All of them are from one source.
        let mut source = None;
        let mut sizes: BTreeMap<usize, u64> = BTreeMap::new();
        for one in picked {
            let Picked::Tree { items, files, .. } = one else { return None };
            source = Some(files);
            let mut counted = HashSet::new();
            for item in items {
                let size = sizes.entry(item.layer).or_default();
                match &item.entry.kind {
                    Kind::File { size: bytes, .. } if counted.insert(&item.same) => *size += bytes,
                    _ => {}
                }
            }
        }
        let source = source.filter(|_| sizes.values().sum::<u64>() >= whole)?.tree();
        let (parts, tops) = share_out(&sizes, large);
        let cuts = tops.into_iter().map(|top| Tree::new(source.layers()[..=top].iter().cloned())).collect::<Vec<_>>();
        (!cuts.is_empty()).then_some(Self { parts, cuts })
    }

    /// The part that a layer of the source goes to.
    pub(super) fn part(&self, layer: usize) -> usize {
        self.parts.get(&layer).copied().unwrap_or(self.cuts.len())
    }

    /// How a folder is seen from each part below its own. Where it is none there, as in the whole.
    pub(super) fn lower(&self, item: &Item) -> Vec<Entry> {
        let seen = |cut: &Arc<Tree>| cut.get(&item.entry.path).filter(Entry::is_dir);
        let below = self.cuts.iter().take(self.part(item.layer));
        below.map(|cut| seen(cut).unwrap_or_else(|| item.entry.clone())).collect()
    }

    /// What of the split decides the layers, beside what is copied.
    pub(crate) fn digest(&self, picked: &[Picked]) -> ContentHash {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        put(b"split");
        for one in picked {
            let Picked::Tree { items, .. } = one else { continue };
            for item in items {
                put(&(self.part(item.layer) as u64).to_le_bytes());
                let lower = if item.entry.is_dir() { self.lower(item) } else { Vec::new() };
                for Entry { mode, uid, gid, xattrs, .. } in lower {
                    [mode, uid, gid, xattrs.len() as u32].iter().for_each(|n| put(&n.to_le_bytes()));
                    xattrs.iter().for_each(|(name, value)| {
                        put(name);
                        put(value);
                    });
                }
            }
        }
        ContentHash::from_bytes(*hasher.finalize().as_bytes())
    }

    /// Puts pieces into their parts, with the folders on the way to them.
    pub(super) fn distribute(&self, pieces: BTreeMap<TreePath, Piece>) -> Vec<Part> {
        let last = self.cuts.len();
        let of = |piece: &Piece| piece.part.unwrap_or(last);
        let mut folders: HashMap<TreePath, Vec<bool>> = HashMap::new();
        let mut newest = vec![i64::MIN; last + 1];
        for (path, piece) in &pieces {
            let part = of(piece);
            // A folder that comes from nowhere is there for what is in it.
            let mut at = match (piece.entry.is_dir(), piece.part) {
                (true, None) => None,
                (true, Some(_)) => Some(path.clone()),
                (false, _) => {
                    newest[part] = newest[part].max(piece.entry.mtime);
                    path.parent()
                }
            };
            while let Some(folder) = at {
                at = folder.parent();
                let parts = folders.entry(folder).or_insert_with(|| vec![false; last + 1]);
                if std::mem::replace(&mut parts[part], true) {
                    break;
                }
            }
        }
        for part in 1..=last {
            newest[part] = newest[part].max(newest[part - 1]);
        }
        let mut parts: Vec<BTreeMap<TreePath, Piece>> = (0..=last).map(|_| BTreeMap::new()).collect();
        for (path, piece) in pieces {
            let own = of(&piece);
            let Some(wanted) = folders.get(&path).filter(|_| piece.entry.is_dir()) else {
                parts[own].insert(path, piece);
                continue;
            };
            let top = wanted.iter().rposition(|wanted| *wanted).unwrap_or(own);
            for part in (0..top).filter(|part| wanted[*part]) {
                let entry = match piece.part {
                    Some(_) => piece.lower.get(part).unwrap_or(&piece.entry).clone(),
                    None if piece.way => piece.entry.clone(),
                    None => Entry { mtime: newest[part], ..piece.entry.clone() },
                };
                let lower = Piece { way: piece.way, ..Piece::new(entry, super::part::Content::None) };
                parts[part].insert(path.clone(), lower);
            }
            parts[top].insert(path, piece);
        }
        // All that one had may have been replaced by files of a later source.
        parts.retain(|pieces| !pieces.is_empty());
        parts.into_iter().map(Part::new).collect()
    }
}

/// The part of each layer, and the uppermost layer of each part but the last.
fn share_out(sizes: &BTreeMap<usize, u64>, large: u64) -> (BTreeMap<usize, usize>, Vec<usize>) {
    let (mut parts, mut tops) = (BTreeMap::new(), Vec::new());
    // What the part at hand has, and its uppermost layer so far.
    let mut open: Option<(u64, usize)> = None;
    for (&layer, &size) in sizes {
        let (bytes, top) = open.unwrap_or((0, layer));
        // Small ones stay apart from a large one above: they may be what changes. Without bytes they are folders and links.
        let is_full = bytes >= large || (bytes > 0 && size >= large);
        if is_full && tops.len() + 1 < MOST {
            tops.push(top);
            open = Some((size, layer));
        } else {
            open = Some((bytes + size, layer));
        }
        parts.insert(layer, tops.len());
    }
    (parts, tops)
}

#[cfg(test)]
mod tests;
