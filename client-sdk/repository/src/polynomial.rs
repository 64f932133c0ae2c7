//! Irreducible polynomials over GF(2). Berth does not chunk by Rabin fingerprints, but restic checks the config's
//! polynomial and chunks with it should the owner one day back up with restic into the same repository.

use rand_core::CryptoRngCore;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A polynomial over GF(2), irreducible and of degree 53. Bit `i` is the coefficient of `x^i`. Text form: hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polynomial(u64);

const DEGREE: u32 = 53;
const X: u64 = 0b10;

impl Polynomial {
    /// A random one. About one in 27 of the candidates is irreducible, so a million tries, restic's limit, always do.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        const TRIES_MAX: usize = 1_000_000;
        for _ in 0..TRIES_MAX {
            let low = rng.next_u64() & ((1 << DEGREE) - 1);
            if let Some(found) = Self::from_bits(1 << DEGREE | low | 1) {
                return found;
            }
        }
        // A generator that repeats itself leads here; the result is valid all the same.
        Self(0x3d_a335_8b4d_c173)
    }

    /// `None` if not irreducible or not of degree 53.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        (degree(bits) == Some(DEGREE) && is_irreducible(bits)).then_some(Self(bits))
    }

    /// The coefficients.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Rabin's test. For a prime degree `d` it needs two things: `x^(2^d) = x` modulo `f`, and `f` has no common factor
/// with `x^2 - x`.
fn is_irreducible(f: u64) -> bool {
    let mut power = X;
    for _ in 0..DEGREE {
        power = square_modulo(power, f);
    }
    power == X && gcd(f, 0b110) == 1
}

fn square_modulo(a: u64, f: u64) -> u64 {
    let mut square = 0_u128;
    for bit in 0..u64::BITS {
        square |= u128::from(a >> bit & 1) << (2 * bit);
    }
    for bit in (DEGREE..u128::BITS).rev() {
        if square >> bit & 1 == 1 {
            square ^= u128::from(f) << (bit - DEGREE);
        }
    }
    u64::try_from(square).expect("reduced below degree 53")
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while let Some(degree_b) = degree(b) {
        while let Some(shift) = degree(a).and_then(|degree_a| degree_a.checked_sub(degree_b)) {
            a ^= b << shift;
        }
        (a, b) = (b, a);
    }
    a
}

fn degree(a: u64) -> Option<u32> {
    a.checked_ilog2()
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:x}", self.0))
    }
}

/// Any hexadecimal number: whether it is irreducible is for the caller to ask.
pub(crate) fn deserialize_bits<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    /// restic/chunker, `polynomials_test.go`, and one that restic 0.14 made.
    #[test]
    fn judges_as_restic_does() {
        for bits in [0x3d_a335_8b4d_c173, 0x24_8273_4cac_ca49, 0x2e_d4ca_6d45_655b] {
            assert!(Polynomial::from_bits(bits).is_some(), "{bits:x}");
        }
        for bits in [
            0x38_f1e5_65e2_88df,
            0x30_a829_5b9d_5c91,
            0x25_5f43_50b9_62cb,
            0x26_7f77_6110_a235,
            0x2f_4dae_10d4_1227,
            0x31_2daf_4b28_4899,
            0x29_dfb6_553d_01d1,
            0x35_4824_5eb2_6257,
            0x31_99e7_ef42_11b3,
            0x36_2f39_017d_ae8b,
            0x20_0d57_aa6f_dacb,
            0x35_e0a4_efa1_d275,
        ] {
            assert_eq!(Polynomial::from_bits(bits), None, "{bits:x}");
        }
    }

    #[test]
    fn reducible_ones_and_other_degrees_are_refused() {
        let even = 0x3d_a335_8b4d_c173 ^ 1;
        let divisible_by_x_plus_1 = 0x3d_a335_8b4d_c173 ^ 0b10;
        for bits in [
            0,
            1,
            0b10,
            0b111,
            even,
            divisible_by_x_plus_1,
            0x3d_a335_8b4d_c173 << 1,
        ] {
            assert_eq!(Polynomial::from_bits(bits), None, "{bits:x}");
        }
        // A product of two irreducible ones, of degree 2 and 51 (x^51 + x^6 + x^3 + x + 1).
        let factor = 1 << 51 | 1 << 6 | 1 << 3 | 1 << 1 | 1_u64;
        assert_eq!(Polynomial::from_bits(factor ^ factor << 1 ^ factor << 2), None);
    }

    #[test]
    fn as_many_are_irreducible_as_theory_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = (0..4_000)
            .filter(|_| {
                let bits = rand_core::RngCore::next_u64(&mut rng) & ((1 << DEGREE) - 1);
                Polynomial::from_bits(1 << DEGREE | bits | 1).is_some()
            })
            .count();
        assert!((100..200).contains(&found), "{found} of 4000, expected about 151"); // 2 / 53
    }

    #[test]
    fn a_broken_generator_still_gives_a_valid_one() {
        assert!(Polynomial::from_bits(0x3d_a335_8b4d_c173).is_some());
    }
}
