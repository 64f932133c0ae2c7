//! The recovery key: what the owner keeps on paper, and the password of the repository for restic.

use std::fmt;

use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::RecoveryKeyError;

/// 130 random bits and 10 check bits, in seven groups of four letters and digits: `x4kd-92mn-...`. Wiped from memory
/// when dropped; `Debug` does not show it; comparing takes the same time whatever the characters.
#[derive(Clone)]
pub struct RecoveryKey(Zeroizing<String>);

/// Crockford's base 32: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 26 x 5 bits are 130.
const RANDOM_CHARACTERS: usize = 26;
const CHECK_CHARACTERS: usize = 2;
const CHARACTERS: usize = RANDOM_CHARACTERS + CHECK_CHARACTERS;
const GROUP: usize = 4;
/// Longer input is no recovery key, however many spaces are in it.
const INPUT_BYTES_MAX: usize = 1024;

impl RecoveryKey {
    /// A new one.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut random = Zeroizing::new([0; RANDOM_CHARACTERS]);
        rng.fill_bytes(random.as_mut());
        let mut symbols = Zeroizing::new(Vec::with_capacity(CHARACTERS));
        symbols.extend(random.iter().map(|byte| symbol(*byte)));
        let check = check_characters(&symbols);
        symbols.extend_from_slice(&check);
        Self::from_symbols(&symbols)
    }

    /// Reads what a person typed: spaces, dashes, case and the usual look-alikes (`o` for `0`, `i` and `l` for `1`) are
    /// forgiven; a mistake is noticed with 1023 chances of 1024.
    ///
    /// # Errors
    /// [`RecoveryKeyError`], which never holds what was typed.
    pub fn parse(text: &str) -> Result<Self, RecoveryKeyError> {
        let mut symbols = Zeroizing::new(Vec::with_capacity(CHARACTERS));
        let mut found = 0;
        for c in text
            .chars()
            .take(INPUT_BYTES_MAX)
            .filter(|c| !c.is_whitespace() && !is_dash(*c))
        {
            found += 1;
            let symbol = match c.to_ascii_lowercase() {
                'o' => b'0',
                'i' | 'l' => b'1',
                c => u8::try_from(c)
                    .ok()
                    .filter(|c| ALPHABET.contains(c))
                    .ok_or(RecoveryKeyError::Character { position: found })?,
            };
            if found <= CHARACTERS {
                symbols.push(symbol);
            }
        }
        let Some((random, check)) = symbols
            .split_at_checked(RANDOM_CHARACTERS)
            .filter(|_| found == CHARACTERS)
        else {
            return Err(RecoveryKeyError::Length {
                expected: CHARACTERS,
                found,
            });
        };
        if check_characters(random).ct_eq(check).into() {
            Ok(Self::from_symbols(&symbols))
        } else {
            Err(RecoveryKeyError::Mistyped)
        }
    }

    /// The secret in the form in which it is printed and is the password for restic: lower case, groups joined by
    /// dashes, 34 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_symbols(symbols: &[u8]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(CHARACTERS + CHARACTERS / GROUP));
        for (position, symbol) in symbols.iter().enumerate() {
            if position > 0 && position % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*symbol));
        }
        Self(text)
    }
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The symbol for the low 5 bits.
fn symbol(bits: u8) -> u8 {
    *ALPHABET.get(usize::from(bits & 31)).expect("5 bits are below 32")
}

/// 10 bits of a hash: they find mistakes and, of a key with 130 random bits, tell nothing.
fn check_characters(random: &[u8]) -> [u8; CHECK_CHARACTERS] {
    let [first, second, ..]: [u8; 32] = Sha256::new()
        .chain_update(b"berth recovery key 1\0")
        .chain_update(random)
        .finalize()
        .into();
    [symbol(first), symbol(second)]
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

impl PartialEq for RecoveryKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for RecoveryKey {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    fn key(seed: u64) -> RecoveryKey {
        RecoveryKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn is_seven_groups_of_four_without_look_alikes() {
        let key = key(1);
        assert_eq!(key.as_str().len(), 34);
        assert!(key.as_str().split('-').all(|group| group.len() == 4));
        assert!(!key.as_str().contains(['i', 'l', 'o', 'u']));
        assert_eq!(format!("{key:?}"), "RecoveryKey(..)");
    }

    #[test]
    fn spaces_dashes_case_and_look_alikes_are_forgiven() {
        let key = key(2);
        let text = key.as_str();
        for typed in [
            text.to_owned(),
            text.to_uppercase(),
            text.replace('-', ""),
            text.replace('-', " \u{2013} "),
            text.replace('0', "O").replace('1', "l"),
            format!("  {text}\n"),
        ] {
            assert_eq!(RecoveryKey::parse(&typed).unwrap(), key, "{typed}");
        }
    }

    #[test]
    fn one_wrong_character_is_nearly_always_noticed() {
        let mut missed = 0;
        for seed in 0..20 {
            let symbols: Vec<u8> = key(seed).as_str().bytes().filter(|byte| *byte != b'-').collect();
            for position in 0..CHARACTERS {
                let mut wrong = symbols.clone();
                wrong[position] = if wrong[position] == b'7' { b'8' } else { b'7' };
                let typed = String::from_utf8(wrong).unwrap();
                missed += usize::from(RecoveryKey::parse(&typed) != Err(RecoveryKeyError::Mistyped));
            }
        }
        assert!(missed <= 3, "{missed} of 560, expected about one in 1024");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let key = key(3);
        let text = key.as_str();
        assert_eq!(
            RecoveryKey::parse(&text[..30]),
            Err(RecoveryKeyError::Length {
                expected: 28,
                found: 24
            })
        );
        assert!(matches!(
            RecoveryKey::parse(&format!("{text}77")),
            Err(RecoveryKeyError::Length { found: 30, .. })
        ));
        assert_eq!(
            RecoveryKey::parse("ab!"),
            Err(RecoveryKeyError::Character { position: 3 })
        );
        assert_eq!(
            RecoveryKey::parse("u"),
            Err(RecoveryKeyError::Character { position: 1 })
        );
        assert!(RecoveryKey::parse("").is_err());
    }

    proptest! {
        #[test]
        fn parse_never_panics(text: String) {
            let _ = RecoveryKey::parse(&text);
        }
    }
}
