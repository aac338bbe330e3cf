//! How fast: the delays between attempts, and the size of a list's pages.

use std::time::Duration;

use crate::rng::Rng;

/// First delay, before jitter takes up to half of it.
const FIRST: Duration = Duration::from_secs(1);
/// Longest delay.
const LAST: Duration = Duration::from_secs(30);

/// Exponential backoff with jitter: 0.5 to 1 s, then twice that, up to 15 to 30 s.
#[derive(Debug)]
pub struct Pace {
    rng: Rng,
    attempts: u32,
}

impl Pace {
    /// The generator decides the jitter.
    pub const fn new(rng: Rng) -> Self {
        Self { rng, attempts: 0 }
    }

    /// The delay before the next attempt. If the server asked for more, then that.
    pub fn next_delay(&mut self, asked: Option<Duration>) -> Duration {
        let full = LAST.min(FIRST * 2_u32.pow(self.attempts.min(8)));
        self.attempts = self.attempts.saturating_add(1);
        let delay = self.rng.jittered(full);
        asked.map_or(delay, |asked| delay.max(asked))
    }

    /// Things go well: the next delay is a first one.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How many delays there were since things went well.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.rng.below(limit)
    }
}

/// Bytes of a page that are aimed at: what a list costs in memory, twice.
const AIM: usize = 4 << 20;
/// Pages of kubectl and client-go have as many objects.
const MOST: u32 = 500;

/// How many objects to ask for in a page, so that its body is about 4 MiB whatever the size of the objects.
#[derive(Debug)]
pub struct PageSize(u32);

impl Default for PageSize {
    /// Twenty objects of the largest size are 30 MiB.
    fn default() -> Self {
        Self(20)
    }
}

impl PageSize {
    /// For the parameter `limit`.
    pub const fn limit(&self) -> u32 {
        self.0
    }

    /// A page of this size had so many bytes.
    pub fn learn(&mut self, bytes: usize) {
        if bytes > AIM {
            self.0 = (self.0 / 2).max(1);
        } else if bytes < AIM / 2 {
            self.0 = (self.0 * 2).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_start_again() {
        let mut pace = Pace::new(Rng::new(1));
        for full in [1, 2, 4, 8, 16, 30, 30, 30] {
            let full = Duration::from_secs(full);
            assert!((full / 2..=full).contains(&pace.next_delay(None)));
        }
        assert_eq!(pace.next_delay(Some(Duration::from_secs(300))), Duration::from_secs(300));
        pace.reset();
        assert!(pace.next_delay(None) <= FIRST);
    }

    #[test]
    fn pages_aim_at_four_mebibytes() {
        let settle = |object: usize| {
            let mut page = PageSize::default();
            for _ in 0..20 {
                page.learn(page.limit() as usize * object);
            }
            page.limit()
        };
        assert_eq!(settle(100), MOST);
        assert!((50..=200).contains(&settle(40 << 10)));
        assert!(settle(1 << 20) <= 4);
        assert_eq!(settle(64 << 20), 1);
    }
}
