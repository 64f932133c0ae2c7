//! The laptop's own repository: its keys and the files that every hub gets, kept in the state folder.
//!
//! Place: made once (`berth pair` or the first visit), then read at each start. Written with [`berth_disk::replace`]: it
//! is there whole or not at all.
//! Invariant: one repository, one `config`, one first key file; never made a second time while `repository` is there.

use berth_disk::Disk;
use berth_repository::{Config, Id, KeyFile, KeyOwner, MasterKey, RecoveryKey, ScryptCost, Timestamp};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::encoding::{Damaged, Reader, put_bytes};

/// Name of the file in the state folder.
const PATH: &str = "repository";

/// A config, a key file, keys: under 2 KiB.
const SIZE_BYTES_MAX: u64 = 64 * 1024;

/// First bytes of the file.
const MAGIC: &[u8] = b"berth repository 1\0";

/// Keys and first files of the laptop's repository.
pub struct LaptopRepository {
    key: MasterKey,
    config: Vec<u8>,
    key_file: Vec<u8>,
    recovery_key: RecoveryKey,
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

impl RepositoryError {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Disk(_) => "Look at the laptop's disk and at the rights of the state folder.",
            Self::Damaged => {
                "Restore the file from a copy of the state folder. Without it a new state folder makes a new repository; \
                 the old one stays readable with its recovery key."
            }
        }
    }
}

impl From<Damaged> for RepositoryError {
    fn from(Damaged: Damaged) -> Self {
        Self::Damaged
    }
}

impl LaptopRepository {
    /// Opens the repository in `disk`; `None` if there is none yet.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub fn open(disk: &dyn Disk) -> Result<Option<Self>, RepositoryError> {
        if disk.len(PATH)?.is_none() {
            return Ok(None);
        }
        let bytes = Zeroizing::new(disk.read(PATH, SIZE_BYTES_MAX)?);
        let (check, body) = bytes
            .split_last_chunk::<32>()
            .map_or((None, &[][..]), |(body, check)| (Some(check), body));
        if check != Some(Id::of(body).as_bytes()) {
            return Err(RepositoryError::Damaged);
        }
        let mut reader = Reader(body.strip_prefix(MAGIC).ok_or(Damaged)?);
        let key = reader
            .take(MasterKey::SIZE_BYTES)?
            .try_into()
            .map_err(|_| Damaged)?;
        let key = MasterKey::from_bytes(key).map_err(|_| Damaged)?;
        let config = reader.bytes()?.to_vec();
        let key_file = reader.bytes()?.to_vec();
        let recovery_key = std::str::from_utf8(reader.bytes()?).map_err(|_| Damaged)?;
        Ok(Some(Self {
            key,
            config,
            key_file,
            recovery_key: RecoveryKey::parse(recovery_key).map_err(|_| Damaged)?,
        }))
    }

    /// Opens the repository in `disk`, or makes it if there is none. `created_at_ns` is the wall clock in nanoseconds
    /// since 1970. A new one is durable when this returns. Making one takes some 100 ms (scrypt).
    ///
    /// # Errors
    /// [`RepositoryError`]; what was there is unchanged.
    pub fn open_or_create(
        disk: &dyn Disk,
        created_at_ns: i64,
        mut rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, RepositoryError> {
        if let Some(there) = Self::open(disk)? {
            return Ok(there);
        }
        let key = MasterKey::generate(&mut rng);
        let recovery_key = RecoveryKey::generate(&mut rng);
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let config = Config::generate(&mut rng).seal(&key, nonce);
        // Key files are in the clear: the hub need not learn who uses the laptop.
        let owner = KeyOwner {
            created: Timestamp::from_unix_ns(created_at_ns),
            username: String::new(),
            hostname: String::new(),
        };
        let key_file = KeyFile::create(&key, &recovery_key, ScryptCost::DEFAULT, &owner, &mut rng)
            .expect("the default cost is one that scrypt takes");
        let fresh = Self {
            key,
            config: config.bytes,
            key_file: key_file.bytes,
            recovery_key,
        };
        fresh.write(disk)?;
        Ok(fresh)
    }

    fn write(&self, disk: &dyn Disk) -> std::io::Result<()> {
        // Room for all of it, so that growing leaves no copy of the keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + self.config.len() + self.key_file.len()));
        let room = bytes.capacity();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&*self.key.to_bytes());
        put_bytes(&mut bytes, &self.config);
        put_bytes(&mut bytes, &self.key_file);
        put_bytes(&mut bytes, self.recovery_key.as_str().as_bytes());
        let check = Id::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        debug_assert_eq!(bytes.capacity(), room, "it grew");
        berth_disk::replace(disk, PATH, &bytes)
    }

    /// The recovery key: the restic password of the repository, as the user writes it down.
    #[must_use]
    pub fn recovery_key(&self) -> &str {
        self.recovery_key.as_str()
    }

    /// Opens and seals everything in the repository.
    #[must_use]
    pub fn key(&self) -> &MasterKey {
        &self.key
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

impl std::fmt::Debug for LaptopRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaptopRepository")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use berth_disk::OsDisk;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_repository_is_made_once_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        assert!(LaptopRepository::open(&disk).unwrap().is_none());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let one = LaptopRepository::open_or_create(&disk, 7, &mut rng).unwrap();
        let two = LaptopRepository::open_or_create(&disk, 8, &mut rng).unwrap();
        assert_eq!(
            (one.id(), one.key_file(), one.recovery_key()),
            (two.id(), two.key_file(), two.recovery_key())
        );
        assert_eq!(one.key(), two.key());
        assert!(KeyFile::open(one.key_file(), one.recovery_key()).unwrap() == *one.key());
    }

    #[test]
    fn a_damaged_repository_is_an_error_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        LaptopRepository::open_or_create(&disk, 7, &mut rng).unwrap();
        let path = folder.path().join(PATH);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = LaptopRepository::open_or_create(&disk, 7, &mut rng).unwrap_err();
        assert!(matches!(error, RepositoryError::Damaged));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
