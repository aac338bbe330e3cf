//! The one source of randomness, handed in: jitter must be the same in every run of one seed.

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, and good enough to spread retries.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        // 32 bits convert without loss.
        f64::from(u32::try_from(self.bits() >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0
    }

    /// `pause`, doubled for each failure but the first up to `most`, and then 75% to 125% of it.
    pub fn backoff(
        &mut self,
        pause: std::time::Duration,
        failures: u8,
        most: std::time::Duration,
    ) -> std::time::Duration {
        let doubled = pause.saturating_mul(1 << u32::from(failures.saturating_sub(1)).min(20));
        doubled.min(most).mul_f64(0.5f64.mul_add(self.fraction(), 0.75))
    }
}
