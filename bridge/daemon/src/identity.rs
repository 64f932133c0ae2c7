//! The hub's state folder: identity, trust list, spool and journal.

use berth_disk::{Disk, replace};
use berth_pairing::{Identity, IdentityError};
use rand_core::CryptoRngCore;

const IDENTITY: &str = "identity";
const IDENTITY_SIZE_BYTES_MAX: u64 = 1024;

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Reading or writing it failed.
    #[error("state folder: {0}")]
    Disk(#[from] std::io::Error),
    /// The identity is not what was written.
    #[error("the file `identity` in the state folder: {0}")]
    Identity(#[from] IdentityError),
}

impl StateError {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Disk(_) => "Look at the disk, and whether the folder belongs to you.",
            Self::Identity(_) => {
                "Bring the file back from a copy. Without it, start with an empty state folder and pair anew."
            }
        }
    }
}

/// Reads the device's identity, or makes one if there is none; a new one is durable when this returns.
///
/// # Errors
/// [`StateError`]; nothing was changed.
pub fn open_identity(disk: &dyn Disk, rng: &mut dyn CryptoRngCore) -> Result<Identity, StateError> {
    if disk.len(IDENTITY)?.is_some() {
        return Ok(Identity::from_bytes(
            &disk.read(IDENTITY, IDENTITY_SIZE_BYTES_MAX)?,
        )?);
    }
    let identity = Identity::generate(rng);
    replace(disk, IDENTITY, &identity.to_bytes()[..])?;
    Ok(identity)
}
