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
