//! Why a trust list could not be read or changed.

use std::io;

use super::PEERS_MAX;

/// A trust list that could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Changed by something else than a power cut.
    #[error("the trust list is damaged at record {record}")]
    Damaged {
        /// The first record that is not what was written.
        record: u64,
    },
    /// The disk failed.
    #[error("the trust list cannot be read or written")]
    Disk(#[from] io::Error),
    /// [`PEERS_MAX`] devices are trusted.
    #[error("{PEERS_MAX} devices are trusted already")]
    TooMany,
    /// [`crate::RECORDS_MAX`] records.
    #[error("the trust list has no room for another record")]
    Full,
    /// Not a trusted device.
    #[error("no such device in the trust list")]
    UnknownDevice,
}

impl TrustError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => {
                "Nobody is let in until this is solved. Look at the disk; put back the newest copy of the trust list if \
                 no device was revoked since, or remove it and pair every device again."
            }
            Self::Disk(_) => "Look at the disk: is it full, read-only or failing? Then try again.",
            Self::TooMany => "Revoke a device that is no longer used, then pair again.",
            Self::Full => "Set this device up anew: remove the trust list and pair every device again.",
            Self::UnknownDevice => "Look at the list of devices: run `berthctl devices`.",
        }
    }
}
