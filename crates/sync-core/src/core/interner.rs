//! Equal values as one allocation.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The values that are in use, each once.
#[derive(Debug)]
pub(super) struct Interner<T: ?Sized> {
    known: BTreeSet<Arc<T>>,
    /// How many were in use when it was last looked.
    used: usize,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self { known: BTreeSet::new(), used: 0 }
    }
}

impl<T: ?Sized + Ord> Interner<T> {
    /// The shared form of this value.
    pub(super) fn intern<V: Borrow<T> + Into<Arc<T>>>(&mut self, value: V) -> Arc<T> {
        if let Some(known) = self.known.get(value.borrow()) {
            return Arc::clone(known);
        }
        // Those that nothing uses any more are forgotten before they are more than the others.
        if self.known.len() > 2 * self.used + 16 {
            self.forget_unused();
        }
        let value = value.into();
        self.known.insert(Arc::clone(&value));
        value
    }

    /// The same, if no more than `most` different ones are in use then.
    pub(super) fn intern_within<V: Borrow<T> + Into<Arc<T>>>(&mut self, value: V, most: usize) -> Option<Arc<T>> {
        if self.known.len() >= most && !self.known.contains(value.borrow()) {
            self.forget_unused();
            if self.known.len() >= most {
                return None;
            }
        }
        Some(self.intern(value))
    }

    /// Forgets what nothing uses any more.
    pub(super) fn forget_unused(&mut self) {
        self.known.retain(|value| Arc::strong_count(value) > 1);
        self.used = self.known.len();
    }
}
