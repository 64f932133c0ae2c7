//! The device's identity in its state folder: made once, then only read.

use std::io;

use berth_disk::{Disk, replace};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::{Identity, IdentityError};

/// Name of the file in the state folder.
pub const IDENTITY_FILE: &str = "identity";

const SIZE_BYTES_MAX: u64 = 1024;

/// There is no identity to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// Reading or writing it failed.
    #[error("the file `{IDENTITY_FILE}` in the state folder: {0}")]
    Disk(#[from] io::Error),
    /// It is not what was written.
    #[error("the file `{IDENTITY_FILE}` in the state folder: {0}")]
    Damaged(#[from] IdentityError),
}

impl IdentityFileError {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Disk(_) => "Look at the disk, and whether the state folder belongs to you.",
            Self::Damaged(_) => {
                "Bring the file back from a copy. Without one, start with an empty state folder and pair anew."
            }
        }
    }
}

impl Identity {
    /// Reads the device's identity, or makes one where there is none. A new one is durable when this returns.
    ///
    /// # Errors
    /// [`IdentityFileError`]; nothing was changed.
    pub fn open_or_generate(disk: &dyn Disk, rng: &mut dyn CryptoRngCore) -> Result<Self, IdentityFileError> {
        if disk.len(IDENTITY_FILE)?.is_some() {
            let bytes = Zeroizing::new(disk.read(IDENTITY_FILE, SIZE_BYTES_MAX)?);
            return Ok(Self::from_bytes(&bytes)?);
        }
        let identity = Self::generate(rng);
        replace(disk, IDENTITY_FILE, &identity.to_bytes()[..])?;
        Ok(identity)
    }
}
