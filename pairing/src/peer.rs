//! The other side, as the trust list knows it.

use crate::{BeaconKey, Certificate, DeviceId, Name, NoiseKey, Role};

/// A device that was paired with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub device: DeviceId,
    /// Its Noise key.
    pub noise: NoiseKey,
    /// What it is.
    pub role: Role,
    /// What it calls itself. Not unique.
    pub name: Name,
    /// The hub's beacon key as both know it: of a hub, the key to recognise it by; of a laptop, the key it was told.
    pub beacon: Option<BeaconKey>,
}

impl Peer {
    pub(crate) fn new(certificate: &Certificate, beacon: Option<BeaconKey>) -> Self {
        Self {
            device: certificate.device(),
            noise: certificate.noise(),
            role: certificate.role(),
            name: certificate.name().clone(),
            beacon,
        }
    }
}

/// What a trust list says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Paired and not revoked.
    Trusted(Peer),
    /// Was paired, then revoked.
    Revoked(DeviceId),
    /// Never paired.
    Unknown,
}
