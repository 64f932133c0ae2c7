//! A device's word that a Noise key is its own, in which role and under which name.
//!
//! Bytes: version (1), role (1), device key (32), Noise key (32), length of the name (1), name, signature (64). There is
//! one encoding only. A [`Certificate`] in memory has always been checked.

use crate::{DeviceId, Identity, Name, NoiseKey, verify};

/// Longest certificate.
pub const CERTIFICATE_SIZE_BYTES_MAX: usize =
    BODY_SIZE_BYTES + crate::NAME_SIZE_BYTES_MAX + SIGNATURE_SIZE_BYTES;

const CERTIFICATE_CONTEXT: &[u8] = b"berth certificate 1\0";
const CERTIFICATE_VERSION: u8 = 1;
const BODY_SIZE_BYTES: usize = 1 + 1 + 32 + 32 + 1;
const SIGNATURE_SIZE_BYTES: usize = 64;

/// Which of the two a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Is backed up.
    Laptop,
    /// Takes backups.
    Hub,
}

impl Role {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Laptop => 1,
            Self::Hub => 2,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Laptop),
            2 => Some(Self::Hub),
            _ => None,
        }
    }
}

/// A Noise key certified by its device, see the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    device: DeviceId,
    noise: NoiseKey,
    role: Role,
    name: Name,
    signature: [u8; SIGNATURE_SIZE_BYTES],
}

impl Certificate {
    pub(crate) fn issue(identity: &Identity, role: Role, name: &Name) -> Self {
        let (device, noise) = (identity.device(), identity.noise());
        let signature = identity.sign(CERTIFICATE_CONTEXT, &body(device, noise, role, name));
        Self {
            device,
            noise,
            role,
            name: name.clone(),
            signature,
        }
    }

    /// At most [`CERTIFICATE_SIZE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = body(self.device, self.noise, self.role, &self.name);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads and checks a certificate.
    ///
    /// # Errors
    /// [`CertificateError`]: nothing in it may be believed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let malformed = CertificateError::Malformed;
        let (&version, rest) = bytes.split_first().ok_or(malformed)?;
        if version != CERTIFICATE_VERSION {
            return Err(CertificateError::Version { version });
        }
        let (&role, rest) = rest.split_first().ok_or(malformed)?;
        let (&device, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let (&noise, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let (&length, rest) = rest.split_first().ok_or(malformed)?;
        let (name, signature) = rest.split_at_checked(usize::from(length)).ok_or(malformed)?;
        let signature = <[u8; SIGNATURE_SIZE_BYTES]>::try_from(signature).map_err(|_| malformed)?;
        let role = Role::from_byte(role).ok_or(malformed)?;
        let name = std::str::from_utf8(name).map_err(|_| malformed)?;
        let name = Name::parse(name).map_err(|_| malformed)?;
        let device = DeviceId(device);
        let signed = &bytes[..bytes.len() - SIGNATURE_SIZE_BYTES];
        verify(&device, CERTIFICATE_CONTEXT, signed, &signature).map_err(|_| CertificateError::Signature)?;
        Ok(Self {
            device,
            noise: NoiseKey(noise),
            role,
            name,
            signature,
        })
    }

    /// Whose it is.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// The certified key.
    #[must_use]
    pub const fn noise(&self) -> NoiseKey {
        self.noise
    }

    /// In which role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Under which name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }
}

fn body(device: DeviceId, noise: NoiseKey, role: Role, name: &Name) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    let length = u8::try_from(name.len()).expect("a name is shorter than 64 bytes");
    let mut bytes = Vec::with_capacity(BODY_SIZE_BYTES + name.len() + SIGNATURE_SIZE_BYTES);
    bytes.extend_from_slice(&[CERTIFICATE_VERSION, role.to_byte()]);
    bytes.extend_from_slice(&device.0);
    bytes.extend_from_slice(&noise.0);
    bytes.push(length);
    bytes.extend_from_slice(name);
    bytes
}

/// A certificate that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not a certificate.
    #[error("malformed certificate")]
    Malformed,
    /// Of a newer version.
    #[error("certificate of version {version}, not {CERTIFICATE_VERSION}")]
    Version {
        /// As found.
        version: u8,
    },
    /// Not signed by the device it names.
    #[error("certificate not signed by the device it names")]
    Signature,
}

impl CertificateError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Version { .. } => "Update both laptop and hub, then pair again.",
            Self::Malformed | Self::Signature => {
                "The other device is not what it says it is, or is broken. Pair again; if it fails again, do not trust it."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn certificate() -> Certificate {
        let identity = Identity::generate(&mut ChaCha20Rng::seed_from_u64(1));
        identity.certificate(Role::Laptop, &Name::reduce("ada"))
    }

    #[test]
    fn a_certificate_says_what_its_device_said() {
        let certificate = certificate();
        let bytes = certificate.to_bytes();
        assert!(bytes.len() <= CERTIFICATE_SIZE_BYTES_MAX);
        assert_eq!(Certificate::from_bytes(&bytes), Ok(certificate));
    }

    #[test]
    fn a_certificate_with_any_bit_changed_is_refused() {
        let bytes = certificate().to_bytes();
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Certificate::from_bytes(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_certificate_cut_short_or_with_more_behind_it_is_refused() {
        let mut bytes = certificate().to_bytes();
        for length in 0..bytes.len() {
            assert!(Certificate::from_bytes(&bytes[..length]).is_err());
        }
        bytes.push(0);
        assert_eq!(Certificate::from_bytes(&bytes), Err(CertificateError::Malformed));
    }
}
