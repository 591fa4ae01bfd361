//! Where two trees may differ: of two stacks of layers most are the same, and only what the others hold can make a difference.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::index::DIRECTORY;
use crate::path::split;
use crate::{LayerIndex, Tree};

/// The layers that one of two stacks has and the other lacks at that place.
#[derive(Debug)]
pub(crate) struct Between {
    layers: Vec<Arc<LayerIndex>>,
    /// The first components of what is in them.
    tops: HashSet<Vec<u8>>,
    /// Whether something other than a plain directory is in these layers at a folder or above it: then all below it may differ.
    cut: HashMap<Vec<u8>, bool>,
    folder: Vec<u8>,
    here: Folder,
}

/// What these layers have to do with the folder at hand.
#[derive(Debug, Default)]
struct Folder {
    cut: bool,
    /// The layers with something in it, and where that is.
    ranges: Vec<(usize, Range<usize>)>,
}

impl Between {
    pub(crate) fn new(a: &Tree, b: &Tree) -> Self {
        let (a, b) = (a.layers(), b.layers());
        let same = |(x, y): &(&Arc<LayerIndex>, &Arc<LayerIndex>)| x.id() == y.id();
        let below = a.iter().zip(b).take_while(same).count();
        let (a, b) = (&a[below..], &b[below..]);
        let above = a.iter().rev().zip(b.iter().rev()).take_while(same).count();
        let layers: Vec<_> = a[..a.len() - above].iter().chain(&b[..b.len() - above]).cloned().collect();
        let mut tops = HashSet::new();
        for layer in &layers {
            for i in 0..layer.len() {
                let top = layer.path(i).split(|&byte| byte == b'/').next().unwrap_or_default();
                if !tops.contains(top) {
                    tops.insert(top.to_vec());
                }
            }
        }
        let mut between = Self { layers, tops, cut: HashMap::new(), folder: Vec::new(), here: Folder::default() };
        between.here = between.look(b"");
        between
    }

    /// Whether what is at a path may differ, or when it is `listed` the names in it. Fastest when the paths of one folder come one after
    /// the other.
    pub(crate) fn touches(&mut self, path: &[u8], listed: bool) -> bool {
        let (folder, name) = split(path);
        if folder != self.folder {
            self.folder = folder.to_vec();
            self.here = self.look(folder);
        }
        let at = |(layer, range): &(usize, Range<usize>)| self.layers[*layer].find_in(range.clone(), path).is_some();
        // The root's own entry is in no folder.
        self.here.cut
            || name.is_empty() && self.layers.iter().any(|layer| layer.find(path).is_some())
            || self.here.ranges.iter().any(at)
            || listed && self.is_cut(path)
            || listed && self.layers.iter().any(|layer| !layer.children(path).is_empty())
    }

    fn look(&mut self, folder: &[u8]) -> Folder {
        let top = folder.split(|&byte| byte == b'/').next().unwrap_or_default();
        if !folder.is_empty() && !self.tops.contains(top) {
            return Folder::default();
        }
        let ranges = self.layers.iter().map(|layer| layer.children(folder)).enumerate();
        Folder { ranges: ranges.filter(|(_, range)| !range.is_empty()).collect(), cut: self.is_cut(folder) }
    }

    fn is_cut(&mut self, folder: &[u8]) -> bool {
        if folder.is_empty() {
            return false;
        }
        if let Some(&known) = self.cut.get(folder) {
            return known;
        }
        let cuts = |layer: &Arc<LayerIndex>| layer.find(folder).is_some_and(|i| layer.attributes(i)[0] != DIRECTORY);
        let cut = self.is_cut(split(folder).0) || self.layers.iter().any(cuts);
        self.cut.insert(folder.to_vec(), cut);
        cut
    }
}
