//! What a layer does to the tree below it is an input too: that makes putting it on another tree right.

use shiplap_cache::{Kind, LayerIndex, Question, Watcher};

/// Notes what each entry of a layer covers, replaces or removes.
pub(super) fn note(watcher: &mut Watcher<'_>, layer: &LayerIndex) {
    for entry in layer.iter() {
        let there = watcher.find(&entry.path).is_some_and(|found| watcher.tree().is_folder(found));
        // A file that was copied up, written over or removed; a directory whose mode, owner and attributes are in the layer. What was
        // not there must not be there.
        watcher.note(&entry.path, Question::Content);
        let gone = match entry.kind {
            Kind::Dir { opaque } => opaque,
            // A whiteout, or something else in a directory's place.
            _ => true,
        };
        if there && gone && !entry.path.is_root() {
            watcher.note_below(&entry.path);
        }
    }
}
