//! The one generator of random numbers: small, seeded, the same on every machine, so that a run can be repeated.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014). For jitter; not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Equal seeds give equal numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(limit);
        (product >> 64) as u64
    }

    /// Between half of `full` and all of it: a delay that many clients do not have in step.
    pub fn jittered(&mut self, full: Duration) -> Duration {
        let half = full / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.below(nanos))
    }

    /// The pause after so many failures in a row: `first`, doubled for each further one up to `most`, jittered.
    pub fn backoff(&mut self, first: Duration, failures: u8, most: Duration) -> Duration {
        let doubled = first.saturating_mul(1 << u32::from(failures.saturating_sub(1)).min(20));
        self.jittered(doubled.min(most))
    }
}

/// The seed of one of many of this name, so that they are not in step (FNV-1a).
pub fn seed_of(seed: u64, name: &str) -> u64 {
    name.bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_has_pauses_of_its_own() {
        // Published by its authors, for an offset that no seed has changed.
        assert_eq!(seed_of(0, "foobar"), 0x8594_4171_f739_67e8);
        let second = Duration::from_secs(1);
        let pauses: std::collections::BTreeSet<_> =
            (0..100).map(|n| Rng::new(seed_of(7, &format!("cluster-{n}"))).jittered(second)).collect();
        assert_eq!(pauses.len(), 100);
    }

    #[test]
    fn the_published_numbers_of_seed_zero() {
        let mut rng = Rng::new(0);
        assert_eq!([rng.next_u64(), rng.next_u64()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn bounds() {
        let mut rng = Rng::new(7);
        let full = Duration::from_secs(30);
        for _ in 0..1000 {
            assert!(rng.below(3) < 3);
            assert!((full / 2..full).contains(&rng.jittered(full)));
        }
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.jittered(Duration::ZERO), Duration::ZERO);
    }
}
