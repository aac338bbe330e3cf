//! All choices come from one seed.

use std::time::Duration;

use sync_core::rng::Rng;

use crate::support::Kind;

/// The choices of one step. They are the same whatever has happened before and however long it took: the step's
/// number and the seed decide them.
pub(super) struct Dice(Rng);

impl Dice {
    /// `stream` tells apart those who act at the same time.
    pub(super) fn of(seed: u64, stream: u64, step: u64) -> Self {
        Self(Rng::new(seed.wrapping_mul(1_000_003) ^ (stream << 48) ^ step))
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0.below(limit)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.try_into().expect("a short list"))).expect("below a length")
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// Between so many milliseconds.
    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    pub(super) fn kind(&mut self) -> Kind {
        if self.chance(60) { Kind::Secret } else { Kind::ConfigMap }
    }
}
