//! The short one-time code that the hub shows and the person types on the laptop.

use std::fmt;

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

/// Digits of a code: 10^8 codes are 26 bits, so three guesses succeed once in 33 million windows.
pub const CODE_DIGITS: usize = 8;

const CODES: u32 = 100_000_000;
const GROUP_DIGITS: usize = 4;

/// A pairing code. Good for one window, kept in memory only, never shown by `Debug`.
#[derive(Clone)]
pub struct PairingCode {
    digits: Zeroizing<[u8; CODE_DIGITS]>,
}

impl PairingCode {
    pub(crate) fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        // Every code equally often: the incomplete last round of 10^8 is drawn again.
        let limit = u32::MAX - u32::MAX % CODES;
        let mut drawn = Zeroizing::new(rng.next_u32());
        while *drawn >= limit {
            *drawn = rng.next_u32();
        }
        let mut digits = Zeroizing::new([b'0'; CODE_DIGITS]);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(*drawn % 10).expect("a digit");
            *drawn /= 10;
        }
        Self { digits }
    }

    /// Reads what a person typed: digits, with spaces and dashes wherever they like.
    ///
    /// # Errors
    /// [`CodeError`]: it cannot be a code; nothing was sent and no guess is used.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut digits = Zeroizing::new([0; CODE_DIGITS]);
        let mut count = 0;
        for char in text.chars() {
            match char {
                '0'..='9' => {
                    if let Some(digit) = digits.get_mut(count) {
                        *digit = u8::try_from(char).expect("an ASCII digit");
                    }
                    count += 1;
                }
                '-' | '_' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
                _ if char.is_whitespace() => {}
                _ => return Err(CodeError::Character { char }),
            }
        }
        if count == CODE_DIGITS {
            Ok(Self { digits })
        } else {
            Err(CodeError::Length { digits: count })
        }
    }

    /// The code for the person, in groups: `1234-5678`. Show it, do not keep or log it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(CODE_DIGITS + 1));
        for (index, digit) in self.digits.iter().enumerate() {
            if index > 0 && index % GROUP_DIGITS == 0 {
                text.push('-');
            }
            text.push(char::from(*digit));
        }
        text
    }

    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[..]
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingCode(..)")
    }
}

/// What was typed cannot be a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Neither digit, space nor dash.
    #[error("{char:?} in a pairing code")]
    Character {
        /// The first one.
        char: char,
    },
    /// Too few or too many digits.
    #[error("a pairing code of {digits} digits, not {CODE_DIGITS}")]
    Length {
        /// How many were typed.
        digits: usize,
    },
}

impl CodeError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        "Type the eight digits that the hub shows, like 1234-5678. No guess was used."
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_code_is_read_back_however_it_is_typed() {
        let code = PairingCode::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let text = code.to_text();
        assert_eq!(text.len(), 9);
        for typed in [
            text.to_string(),
            text.replace('-', ""),
            text.replace('-', " "),
            text.replace('-', " \u{2013} "),
            format!("  {}\n", text.as_str()),
        ] {
            assert_eq!(
                PairingCode::parse(&typed).unwrap().digits(),
                code.digits(),
                "{typed:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_code_says_why() {
        assert_eq!(
            PairingCode::parse("1234-567").unwrap_err(),
            CodeError::Length { digits: 7 }
        );
        assert_eq!(
            PairingCode::parse("1234-56789").unwrap_err(),
            CodeError::Length { digits: 9 }
        );
        assert_eq!(
            PairingCode::parse("").unwrap_err(),
            CodeError::Length { digits: 0 }
        );
        assert_eq!(
            PairingCode::parse("1234-567O").unwrap_err(),
            CodeError::Character { char: 'O' }
        );
    }

    #[test]
    fn a_code_has_at_least_20_bits_and_is_not_shown_by_debug() {
        assert!(CODES.ilog2() >= 20 && CODES == 10_u32.pow(u32::try_from(CODE_DIGITS).unwrap()));
        assert_eq!(
            format!("{:?}", PairingCode::parse("12345678").unwrap()),
            "PairingCode(..)"
        );
    }

    #[test]
    fn every_digit_is_drawn_about_equally_often_at_every_place() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let mut counts = [[0_u32; 10]; CODE_DIGITS];
        for _ in 0..20_000 {
            for (place, digit) in PairingCode::generate(&mut rng).digits().iter().enumerate() {
                counts[place][usize::from(digit - b'0')] += 1;
            }
        }
        assert!(
            counts
                .iter()
                .flatten()
                .all(|count| (1_800..2_200).contains(count)),
            "{counts:?}"
        );
    }
}
