//! The laptop's own repository: its keys and the files that every hub gets, kept in the state folder.
//!
//! Place: made once (`berth pair` or the first visit), then read at each start. Written with [`berth_disk::replace`]: it
//! is there whole or not at all.
//! Invariant: one repository, one `config`, one first key file; never made a second time while `repository` is there.

use berth_disk::Disk;
use berth_repository::Id;
use rand_core::CryptoRngCore;

/// Keys and first files of the laptop's repository.
pub struct LaptopRepository {
    config: Vec<u8>,
    key_file: Vec<u8>,
    recovery_key: String,
}

/// The laptop's repository cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// Reading or writing the state folder failed.
    #[error("state folder: {0}")]
    Disk(#[from] std::io::Error),
    /// The file is not as it was written.
    #[error("the file `repository` in the state folder is damaged")]
    Damaged,
}

impl LaptopRepository {
    /// Opens the repository in `disk`, or makes it if there is none. `created` is the wall clock in nanoseconds since
    /// 1970. A new one is durable when this returns. Takes about a second when it is made (scrypt).
    ///
    /// # Errors
    /// [`RepositoryError`]; nothing was changed.
    pub fn open_or_create(
        _disk: &dyn Disk,
        _created_at_ns: i64,
        _rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, RepositoryError> {
        Err(RepositoryError::Damaged)
    }

    /// The recovery key: the restic password of the repository, as the user writes it down.
    #[must_use]
    pub fn recovery_key(&self) -> &str {
        &self.recovery_key
    }

    /// The `config` file, as every hub gets it.
    #[must_use]
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// SHA-256 of the `config` file: names the repository.
    #[must_use]
    pub fn id(&self) -> Id {
        Id::of(&self.config)
    }

    /// The key file, as every hub gets it.
    #[must_use]
    pub fn key_file(&self) -> &[u8] {
        &self.key_file
    }
}
