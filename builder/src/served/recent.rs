//! The things that were used last, a few of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// What was used last, at most a fixed number of things; few enough to look through.
#[derive(Debug)]
pub(super) struct Recent<T> {
    most: usize,
    things: Mutex<VecDeque<(u64, Arc<T>)>>,
}

impl<T> Recent<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, things: Mutex::default() }
    }

    pub(super) fn get(&self, key: u64) -> Option<Arc<T>> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let at = things.iter().position(|(own, _)| *own == key)?;
        let thing = things.remove(at)?;
        let found = thing.1.clone();
        things.push_front(thing);
        Some(found)
    }

    pub(super) fn put(&self, key: u64, thing: T) -> Arc<T> {
        let thing = Arc::new(thing);
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        things.retain(|(own, _)| *own != key);
        things.push_front((key, thing.clone()));
        things.truncate(self.most);
        thing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let recent = Recent::new(2);
        recent.put(1, 'a');
        recent.put(2, 'b');
        assert_eq!(recent.get(1).as_deref(), Some(&'a'));
        recent.put(3, 'c');
        assert_eq!([1, 2, 3].map(|key| recent.get(key).as_deref().copied()), [Some('a'), None, Some('c')]);
        recent.put(3, 'd');
        assert_eq!(recent.get(3).as_deref(), Some(&'d'));
    }
}
