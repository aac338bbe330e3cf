//! Things that several users of a key share for as long as one of them has it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One thing per key. It forgets what nobody holds.
pub(super) struct Shelf<K, V>(Mutex<BTreeMap<K, Weak<V>>>);

impl<K: Ord + Clone, V> Shelf<K, V> {
    /// The one that others hold, or a new one.
    pub(super) fn get_or(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = shelf.get(key).and_then(Weak::upgrade) {
            return shared;
        }
        shelf.retain(|_, left| left.strong_count() > 0);
        let new = Arc::new(make());
        shelf.insert(key.clone(), Arc::downgrade(&new));
        new
    }
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> fmt::Debug for Shelf<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_while_somebody_has_it() {
        let shelf = Shelf::default();
        let (one, two) = (shelf.get_or(&1, || "a"), shelf.get_or(&1, || "b"));
        assert_eq!((*one, *two), ("a", "a"));
        drop((one, two));
        assert_eq!(*shelf.get_or(&1, || "c"), "c");
        assert_eq!(*shelf.get_or(&2, || "d"), "d");
        assert_eq!(shelf.0.lock().unwrap().len(), 1);
    }
}
