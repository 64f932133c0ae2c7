//! Who a device is: an Ed25519 device key, and the X25519 key it uses in Noise.
//!
//! Place: made once, kept in the state folder; everything else in this crate starts from it.
//! Specification: Ed25519 is RFC 8032 with strict verification, X25519 is RFC 7748.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::{Certificate, Name, Role};

/// Size of a stored identity: a version byte and two secret keys.
pub const IDENTITY_SIZE_BYTES: usize = 1 + 32 + 32;

const IDENTITY_VERSION: u8 = 1;

/// Public Ed25519 key of a device: its name for ever. Shown as its first 8 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId(pub [u8; 32]);

/// Public X25519 key of a device, certified by its device key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NoiseKey(pub [u8; 32]);

impl DeviceId {
    /// All 64 hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0[..4]))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

impl fmt::Debug for NoiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoiseKey({})", hex(&self.0[..4]))
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The secret keys of this device. Wiped when dropped, never shown by `Debug`.
pub struct Identity {
    device: SigningKey,
    noise: StaticSecret,
}

impl Identity {
    /// Makes a new device.
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        let mut secrets = Zeroizing::new([0; IDENTITY_SIZE_BYTES]);
        rng.fill_bytes(&mut secrets[1..]);
        secrets[0] = IDENTITY_VERSION;
        Self::from_bytes(&secrets[..]).expect("a version and two keys were just written")
    }

    /// What to keep in the state folder (mode 0600): [`IDENTITY_SIZE_BYTES`] bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; IDENTITY_SIZE_BYTES]> {
        let mut bytes = Zeroizing::new([0; IDENTITY_SIZE_BYTES]);
        bytes[0] = IDENTITY_VERSION;
        bytes[1..33].copy_from_slice(self.device.as_bytes());
        bytes[33..].copy_from_slice(self.noise.as_bytes());
        bytes
    }

    /// Takes back what [`Identity::to_bytes`] gave.
    ///
    /// # Errors
    /// [`IdentityError`] for another length or version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let Some((&version, keys)) = bytes.split_first() else {
            return Err(IdentityError::Length { size_bytes: 0 });
        };
        let length = IdentityError::Length {
            size_bytes: bytes.len(),
        };
        if version != IDENTITY_VERSION {
            return Err(IdentityError::Version { version });
        }
        let (device, noise) = keys.split_at_checked(32).ok_or(length)?;
        let device = Zeroizing::new(<[u8; 32]>::try_from(device).map_err(|_| length)?);
        let noise = Zeroizing::new(<[u8; 32]>::try_from(noise).map_err(|_| length)?);
        Ok(Self {
            device: SigningKey::from_bytes(&device),
            noise: StaticSecret::from(*noise),
        })
    }

    /// The public device key.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId(self.device.verifying_key().to_bytes())
    }

    /// The public Noise key.
    #[must_use]
    pub fn noise(&self) -> NoiseKey {
        NoiseKey(PublicKey::from(&self.noise).to_bytes())
    }

    /// Certifies this device's Noise key under a role and a name.
    #[must_use]
    pub fn certificate(&self, role: Role, name: &Name) -> Certificate {
        Certificate::issue(self, role, name)
    }

    /// Signs `context || body`. A context ends with a NUL and belongs to one kind of body, so that no signature can be
    /// taken for one of another kind.
    #[must_use]
    pub fn sign(&self, context: &[u8], body: &[u8]) -> [u8; 64] {
        self.device.sign(&with_context(context, body)).to_bytes()
    }

    /// The secret Noise key, for snow.
    pub(crate) fn noise_secret(&self) -> &[u8; 32] {
        self.noise.as_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

/// Checks a signature by `device` over `context || body`. Check the bytes received, never a re-encoding of them.
///
/// # Errors
/// [`SignatureError`] if it is not one: another body, context or device, a weak key, or damage.
pub fn verify(
    device: &DeviceId,
    context: &[u8],
    body: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(&device.0).map_err(|_| SignatureError)?;
    let signature = Signature::from_slice(signature).map_err(|_| SignatureError)?;
    key.verify_strict(&with_context(context, body), &signature)
        .map_err(|_| SignatureError)
}

fn with_context(context: &[u8], body: &[u8]) -> Vec<u8> {
    [context, body].concat()
}

/// A signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not hold")]
pub struct SignatureError;

impl SignatureError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        "The bytes were changed, or another device signed them. If it happens again, pair the two anew."
    }
}

/// A stored identity that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Cut off or too long.
    #[error("an identity of {size_bytes} bytes, not {IDENTITY_SIZE_BYTES}")]
    Length {
        /// As found.
        size_bytes: usize,
    },
    /// Written by a newer version of the program, or damaged.
    #[error("an identity of version {version}, not {IDENTITY_VERSION}")]
    Version {
        /// As found.
        version: u8,
    },
}

impl IdentityError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Length { .. } => {
                "The identity file is damaged. Put back a copy of it, or remove it and pair this device anew."
            }
            Self::Version { .. } => {
                "The identity file is of a newer version, or damaged. Update this program."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    /// RFC 8032, section 7.1: secret key, public key, message, signature.
    const RFC_8032: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ];

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        for [secret, public, message, signature] in RFC_8032 {
            let stored = [&[IDENTITY_VERSION][..], &bytes(secret), &[1; 32]].concat();
            let identity = Identity::from_bytes(&stored).unwrap();
            let (message, signature) = (bytes(message), bytes(signature));
            assert_eq!(identity.device().hex(), public);
            assert_eq!(identity.sign(b"", &message)[..], signature);
            assert_eq!(verify(&identity.device(), b"", &message, &signature), Ok(()));
        }
    }

    #[test]
    fn a_signature_holds_for_its_device_context_and_body_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (ours, other) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
        let signature = ours.sign(b"berth test 1\0", b"body");
        let device = ours.device();
        assert_eq!(verify(&device, b"berth test 1\0", b"body", &signature), Ok(()));
        for (device, context, body, signature) in [
            (
                other.device(),
                &b"berth test 1\0"[..],
                &b"body"[..],
                &signature[..],
            ),
            (device, b"berth test 2\0", b"body", &signature),
            (device, b"berth test 1\0", b"bodY", &signature),
            (device, b"berth test 1\0", b"body", &signature[..63]),
            (device, b"berth test 1\0", b"body", &[0; 64]),
            (DeviceId([0; 32]), b"berth test 1\0", b"body", &signature),
            (DeviceId([0xff; 32]), b"berth test 1\0", b"body", &signature),
        ] {
            assert_eq!(verify(&device, context, body, signature), Err(SignatureError));
        }
    }

    #[test]
    fn an_identity_survives_its_file_and_a_damaged_file_is_refused() {
        let identity = Identity::generate(&mut ChaCha20Rng::seed_from_u64(2));
        let stored = identity.to_bytes();
        let back = Identity::from_bytes(&stored[..]).unwrap();
        assert_eq!(
            (back.device(), back.noise()),
            (identity.device(), identity.noise())
        );
        for length in 0..stored.len() {
            let error = Identity::from_bytes(&stored[..length]).unwrap_err();
            assert_eq!(error, IdentityError::Length { size_bytes: length });
        }
        let newer = [&[2][..], &stored[1..]].concat();
        assert_eq!(
            Identity::from_bytes(&newer).unwrap_err(),
            IdentityError::Version { version: 2 }
        );
    }

    #[test]
    fn debug_shows_no_secret_and_a_device_by_its_first_digits() {
        let identity = Identity::from_bytes(&[1; IDENTITY_SIZE_BYTES]).unwrap();
        let short = identity.device().to_string();
        assert_eq!(short, identity.device().hex()[..8]);
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity {{ device: DeviceId({short}), .. }}")
        );
    }
}
