//! A laptop's state folder: who it is, whom it trusts, its repository. One process at a time.
//!
//! Place: opened by every command that meets a hub, and by `desk`; the folder then holds `identity`, `repository`,
//! `trust`, `settings.toml`, `visits/` and `hubs/`.
//! Invariant: a file that is there and cannot be understood is never replaced; the error names it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_client_sdk::{LaptopRepository, RepositoryError};
use berth_disk::{FolderLock, OsDisk, SharedDisk};
use berth_pairing::{Identity, IdentityFileError, TrustError, TrustList};
use rand_core::CryptoRngCore;

/// An open state folder. Nobody else has it until this is dropped.
pub struct State {
    /// Where it is: absolute, without symlinks, so that the scan knows it when it comes by.
    pub folder: PathBuf,
    /// Its files.
    pub disk: SharedDisk,
    /// Who the laptop is.
    pub identity: Arc<Identity>,
    /// Its repository.
    pub repository: Arc<LaptopRepository>,
    /// Whom it trusts.
    pub trust: TrustList,
    _lock: FolderLock,
}

impl State {
    /// Opens the folder, or makes it with all that belongs in it (mode 0700; takes some 100 ms then). `wall_ns`: the
    /// wall clock, nanoseconds since 1970. What is new is durable when this returns.
    ///
    /// # Errors
    /// [`StateError`]; what was there is unchanged.
    pub fn open(folder: &Path, wall_ns: i64, rng: &mut dyn CryptoRngCore) -> Result<Self, StateError> {
        let at = |error| StateError::folder(folder, error);
        let disk = OsDisk::open(folder).map_err(at)?;
        let folder = folder.canonicalize().map_err(at)?;
        let Some(lock) = disk.try_lock().map_err(at)? else {
            return Err(StateError::Busy { folder });
        };
        let identity = Identity::open_or_generate(&disk, &mut *rng)?;
        let repository = LaptopRepository::open_or_create(&disk, wall_ns, rng)?;
        let disk: SharedDisk = Arc::new(disk);
        Ok(Self {
            folder,
            identity: Arc::new(identity),
            repository: Arc::new(repository),
            trust: TrustList::open(Arc::clone(&disk), TRUST_FILE)?,
            disk,
            _lock: lock,
        })
    }
}

/// Name of the trust list in the state folder.
const TRUST_FILE: &str = "trust";

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process has it.
    #[error("another program works with {}", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot be read or made.
    #[error("the state folder {}: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The file `identity`.
    #[error("{0}")]
    Identity(#[from] IdentityFileError),
    /// The file `repository`.
    #[error("{0}")]
    Repository(#[from] RepositoryError),
    /// The file `trust`.
    #[error("the file `{TRUST_FILE}` in the state folder: {0}")]
    Trust(#[from] TrustError),
}

impl StateError {
    fn folder(folder: &Path, error: io::Error) -> Self {
        Self::Folder {
            folder: folder.to_owned(),
            error,
        }
    }

    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "Wait for it to end, or stop it.",
            Self::Folder { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                "See whom the folder belongs to, or name another one with --state."
            }
            Self::Folder { .. } => "Look at the disk: is it full, read-only or failing?",
            Self::Identity(error) => error.advice(),
            Self::Repository(error) => error.advice(),
            Self::Trust(error) => error.advice(),
        }
    }
}
