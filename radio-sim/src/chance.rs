//! Everything drawn from the seed.
//!
//! Invariant: a question is answered by a draw whatever its probability, so that switching one fault off leaves the
//! draws for all others where they were.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Parts per million that mean "always".
pub(crate) const PPM: u32 = 1_000_000;

/// One stream of draws.
#[derive(Debug, Clone)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    /// The `stream`-th stream of `seed`; streams don't touch each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    pub(crate) fn happens(&mut self, ppm: u32) -> bool {
        self.below(u64::from(PPM)) < u64::from(ppm)
    }

    /// Like [`Self::happens`], for a probability stated for each MiB.
    pub(crate) fn happens_in(&mut self, ppm_per_mib: u32, size_bytes: usize) -> bool {
        self.below(u64::from(PPM) << 20) < u64::from(ppm_per_mib).saturating_mul(size_bytes as u64)
    }

    /// Below `end`; zero if `end` is zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// At most `longest`.
    pub(crate) fn within(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }

    pub(crate) fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        shortest + self.within(longest.saturating_sub(shortest))
    }

    /// `length` letters and digits.
    pub(crate) fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
        (0..length)
            .filter_map(|_| LETTERS.get(self.below(LETTERS.len() as u64) as usize))
            .map(|letter| char::from(*letter))
            .collect()
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_keep_their_odds_and_their_order() {
        let mut chance = Chance::new(7, 1);
        let hits = (0..100_000).filter(|_| chance.happens(250_000)).count();
        assert!((24_000..26_000).contains(&hits), "{hits} of 100,000 at 25 %");
        assert!(!chance.happens(0) && chance.happens(PPM));
        let (mut one, mut other) = (Chance::new(7, 1), Chance::new(7, 2));
        assert_eq!(Chance::new(7, 1).text(16), one.text(16));
        assert_ne!(one.text(16), other.text(16));
    }
}
