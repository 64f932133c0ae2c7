//! The key of a repository, and the authenticated encryption under it.
//!
//! Specification: restic's design, section "Keys, Encryption and MAC": AES-256 in counter mode, Poly1305-AES over the
//! ciphertext. Sealed = nonce (16 bytes), ciphertext, tag (16 bytes).

use std::fmt;

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Tag};
use hkdf::Hkdf;
use rand_core::CryptoRngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{KeyError, OpenError};

/// 16 bytes that were never used under the same key: take them from the system's random generator.
pub type Nonce = [u8; NONCE_BYTES];

/// Bytes that sealing adds: nonce and tag.
pub const SEAL_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const ENCRYPT_BYTES: usize = 32;
const MAC_K_BYTES: usize = 16;

/// 64 secret bytes: AES-256 key (32), Poly1305-AES key `k` (16) and `r` (16). Wiped from memory when dropped;
/// `Debug` does not show it; comparing takes the same time whatever the bytes.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; Self::SIZE_BYTES]>);

impl MasterKey {
    /// Length of [`MasterKey::to_bytes`].
    pub const SIZE_BYTES: usize = 64;

    /// A new key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut bytes = Zeroizing::new([0; Self::SIZE_BYTES]);
        rng.fill_bytes(bytes.as_mut());
        clear_unused_bits_of_r(&mut bytes);
        Self(bytes)
    }

    /// The secret itself: only for the laptop's own state file.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::SIZE_BYTES]> {
        self.0.clone()
    }

    /// The inverse of [`MasterKey::to_bytes`].
    ///
    /// # Errors
    /// [`KeyError::Unusable`]: one of its three parts is all zero, which restic refuses.
    pub fn from_bytes(bytes: &[u8; Self::SIZE_BYTES]) -> Result<Self, KeyError> {
        let (encrypt, mac) = bytes.split_at(ENCRYPT_BYTES);
        let (k, r) = mac.split_at(MAC_K_BYTES);
        if [encrypt, k, r]
            .iter()
            .any(|part| part.iter().all(|byte| *byte == 0))
        {
            return Err(KeyError::Unusable);
        }
        Ok(Self(Zeroizing::new(*bytes)))
    }

    /// A key without the check of [`MasterKey::from_bytes`]: for what scrypt gives.
    pub(crate) fn from_derived(bytes: Zeroizing<[u8; Self::SIZE_BYTES]>) -> Self {
        Self(bytes)
    }

    /// Seals `plain`: [`SEAL_OVERHEAD_BYTES`] longer than it.
    #[must_use]
    pub fn seal(&self, nonce: Nonce, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + SEAL_OVERHEAD_BYTES);
        self.seal_into(nonce, plain, &mut out);
        out
    }

    /// Appends what [`MasterKey::seal`] gives to `out`.
    pub fn seal_into(&self, nonce: Nonce, plain: &[u8], out: &mut Vec<u8>) {
        let nonce = without_counter_overflow(nonce);
        out.reserve(plain.len() + SEAL_OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let (_, body) = out.split_at_mut(start);
        let tag = self
            .cipher()
            .encrypt_in_place_detached(&nonce.into(), &[], body)
            .expect("the cipher fails only on associated data, and there is none");
        out.extend_from_slice(&tag);
    }

    /// Opens what [`MasterKey::seal`] made.
    ///
    /// # Errors
    /// [`OpenError::TooShort`], [`OpenError::Forged`].
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let too_short = OpenError::TooShort {
            length_bytes: sealed.len(),
        };
        let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE_BYTES>() else {
            return Err(too_short);
        };
        let Some((body, tag)) = rest.split_last_chunk::<TAG_BYTES>() else {
            return Err(too_short);
        };
        let mut plain = body.to_vec();
        self.cipher()
            .decrypt_in_place_detached(&(*nonce).into(), &[], &mut plain, Tag::from_slice(tag))
            .map_err(|_| OpenError::Forged)?;
        Ok(plain)
    }

    /// Seed of the laptop's chunker, so that chunk sizes do not fingerprint known files. Always the same for one key.
    #[must_use]
    pub fn chunker_seed(&self) -> u64 {
        let mut seed = [0; 8];
        self.expand(b"berth chunker seed 1", &mut seed);
        u64::from_le_bytes(seed)
    }

    /// A key for another purpose (such as the laptop's own state files): HKDF-SHA256 (RFC 5869) without salt, `purpose`
    /// as its info. Different purposes give independent keys, from which this one can't be computed.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.expand(purpose.as_bytes(), key.as_mut());
        key
    }

    fn expand(&self, purpose: &[u8], out: &mut [u8]) {
        Hkdf::<Sha256>::new(None, self.0.as_ref())
            .expand(purpose, out)
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
    }

    fn cipher(&self) -> Aes256CtrPoly1305Aes {
        Aes256CtrPoly1305Aes::new(Key::from_slice(self.0.as_ref()))
    }

    /// AES key, `k` and `r`.
    pub(crate) fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        let (encrypt, mac) = self.0.split_at(ENCRYPT_BYTES);
        let (k, r) = mac.split_at(MAC_K_BYTES);
        (encrypt, k, r)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_ref()).into()
    }
}

impl Eq for MasterKey {}

/// restic counts blocks in the whole nonce, our cipher in its last 8 bytes. They differ only where those overflow; a
/// nonce that could get there (one in four thousand million) loses a bit. A blob of restic's own with such an overflow
/// (one in 2^45 of the largest) opens to other bytes, which its id tells.
fn without_counter_overflow(mut nonce: Nonce) -> Nonce {
    if let [_, _, _, _, _, _, _, _, high @ 0xff, 0xff, 0xff, 0xff, ..] = &mut nonce {
        *high = 0x7f;
    }
    nonce
}

/// Poly1305 ignores these bits of `r`; restic clears them when it makes a key.
fn clear_unused_bits_of_r(key: &mut [u8; MasterKey::SIZE_BYTES]) {
    for (byte, mask) in key.iter_mut().skip(ENCRYPT_BYTES + MAC_K_BYTES).zip([
        0xff, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f,
    ]) {
        *byte &= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    fn key() -> MasterKey {
        MasterKey::generate(&mut ChaCha8Rng::seed_from_u64(7))
    }

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    /// restic, `internal/crypto/crypto_int_test.go`.
    #[test]
    fn opens_and_makes_what_restic_makes() {
        let bytes = hex(concat!(
            "303e8687b1d7db18421bdc6bb8588ccadac4d59ee87b8ff70c44e635790cafef",
            "ef4d8824cb80b2bcc5fbff8a9b12a42c",
            "cc8d4b948ee0ebfe1d415de921d10353"
        ));
        let key = MasterKey::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap();
        let sealed = hex(concat!(
            "69fb41c62d12def4593bd71757138606",
            "338f621aeaeb39da0fe4f99233f8037a54ea63338a813bcf3f75d8c3cc75dddf8750"
        ));
        assert_eq!(key.open(&sealed).unwrap(), b"Dies ist ein Test!");
        assert_eq!(
            key.seal(sealed[..16].try_into().unwrap(), b"Dies ist ein Test!"),
            sealed
        );
    }

    /// Bernstein, "The Poly1305-AES message-authentication code", appendix B: the tag is over the ciphertext, whatever
    /// the cipher's key.
    #[test]
    fn tags_are_those_of_the_specification() {
        for (cipher_text, r, k, nonce, tag) in [
            (
                "f3f6",
                "851fc40c3467ac0be05cc20404f3f700",
                "ec074c835580741701425b623235add6",
                "fb447350c4e868c52ac3275cf9d4327e",
                "f4c633c3044fc145f84f335cb81953de",
            ),
            (
                "",
                "a0f3080000f46400d0c7e9076c834403",
                "75deaa25c09f208e1dc4ce6b5cad3fbf",
                "61ee09218d29b0aaed7e154a2c5509cc",
                "dd3fab2251f11ac759f0887129cc2ee7",
            ),
            (
                "663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
                "48443d0bb0d21109c89a100b5ce2c208",
                "6acb5f61a7176dd320c5c1eb2edcdc74",
                "ae212a55399729595dea458bc621ff0e",
                "0ee1c16bb73f0f4fd19881753c01cdbe",
            ),
        ] {
            let bytes = [vec![1; 32], hex(k), hex(r)].concat();
            let key = MasterKey::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap();
            assert!(key.open(&hex(&format!("{nonce}{cipher_text}{tag}"))).is_ok());
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let sealed = key().seal([9; 16], b"content");
        for position in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[position] ^= 1;
            assert!(
                matches!(key().open(&forged), Err(OpenError::Forged)),
                "byte {position}"
            );
        }
        for length in 0..SEAL_OVERHEAD_BYTES {
            assert!(matches!(
                key().open(&sealed[..length]),
                Err(OpenError::TooShort { .. })
            ));
        }
        assert!(key().open(&sealed[..sealed.len() - 1]).is_err());
    }

    #[test]
    fn nonces_never_let_the_short_counter_overflow() {
        assert_eq!(without_counter_overflow([0xff; 16])[8], 0x7f);
        let harmless = [0xff, 1, 2, 3, 4, 5, 6, 7, 0xff, 0xff, 0xff, 0xfe, 1, 2, 3, 4];
        assert_eq!(without_counter_overflow(harmless), harmless);
        let sealed = key().seal([0xff; 16], &[3; 64]);
        assert_eq!(key().open(&sealed).unwrap(), [3; 64]);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", key()), "MasterKey(..)");
    }

    #[test]
    fn keys_that_restic_refuses_are_refused() {
        for zeroed in [0..32, 32..48, 48..64] {
            let mut bytes = *key().to_bytes();
            bytes[zeroed].fill(0);
            assert!(matches!(MasterKey::from_bytes(&bytes), Err(KeyError::Unusable)));
        }
        assert_eq!(MasterKey::from_bytes(&key().to_bytes()).unwrap(), key());
    }

    /// The seed decides where files are cut: were it to change, every file would be sent again.
    #[test]
    fn derived_secrets_stay_as_they_are() {
        let key = MasterKey::from_bytes(&[7; 64]).unwrap();
        assert_eq!(key.chunker_seed(), 4_772_938_031_165_815_468);
        assert_ne!(*key.derive("a"), *key.derive("b"));
    }

    proptest! {
        #[test]
        fn everything_sealed_opens_again(plain: Vec<u8>, nonce: [u8; 16]) {
            let sealed = key().seal(nonce, &plain);
            prop_assert_eq!(sealed.len(), plain.len() + SEAL_OVERHEAD_BYTES);
            prop_assert_eq!(key().open(&sealed).unwrap(), plain);
        }
    }
}
