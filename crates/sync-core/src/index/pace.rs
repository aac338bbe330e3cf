//! How often what a source wants may change: a few times at once, and then every 10 s.

use std::time::Duration;

use super::feed::Moment;

/// What is wanted changes at most so often, on average (promise 9).
pub const EVERY: Duration = Duration::from_secs(10);
/// So many changes pass at once: a person who corrects an annotation twice does not wait.
const AT_ONCE: u32 = 3;

/// A bucket of [`AT_ONCE`] changes, filled by one each [`EVERY`].
#[derive(Debug, Default)]
pub(super) struct Pace {
    full_at: Moment,
}

impl Pace {
    /// Takes one change.
    ///
    /// # Errors
    /// When there will be one, if there is none now.
    pub(super) fn take(&mut self, now: Moment) -> Result<(), Moment> {
        let first = self.full_at.saturating_sub(EVERY.saturating_mul(AT_ONCE - 1));
        if now < first {
            return Err(first);
        }
        self.full_at = self.full_at.max(now).saturating_add(EVERY);
        Ok(())
    }

    /// When nothing will be missing, if nobody takes more.
    pub(super) const fn full_at(&self) -> Moment {
        self.full_at
    }
}
