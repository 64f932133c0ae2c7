//! The `config` file: what makes a folder a repository.

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::polynomial::{Polynomial, deserialize_bits};
use crate::{Id, MasterKey, Nonce, OpenError, SealedFile, json};

/// The version of the format that Berth writes and reads.
const VERSION: u32 = 2;

/// Made once for a laptop; every hub and upstream gets the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Random: the repository's identity.
    pub id: Id,
    /// For restic's chunker.
    pub chunker_polynomial: Polynomial,
}

impl Config {
    /// A new repository's.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut id = [0; 32];
        rng.fill_bytes(&mut id);
        Self {
            id: Id::new(id),
            chunker_polynomial: Polynomial::generate(rng),
        }
    }

    /// The file `config`. Its `id` (SHA-256 of the bytes) is not [`Config::id`].
    #[must_use]
    pub fn seal(&self, key: &MasterKey, nonce: Nonce) -> SealedFile {
        #[derive(Serialize)]
        struct ConfigJson {
            version: u32,
            id: Id,
            chunker_polynomial: Polynomial,
        }
        let (id, chunker_polynomial) = (self.id, self.chunker_polynomial);
        let json = json::to_vec(&ConfigJson {
            version: VERSION,
            id,
            chunker_polynomial,
        });
        SealedFile::new(key.seal(nonce, &json))
    }

    /// Reads the file `config`.
    ///
    /// # Errors
    /// [`OpenError::Version`], [`OpenError::Polynomial`], [`OpenError::TooLarge`], [`OpenError::Json`] and what
    /// [`MasterKey::open`] gives.
    pub fn open(key: &MasterKey, bytes: &[u8]) -> Result<Self, OpenError> {
        #[derive(Deserialize)]
        struct ConfigJson {
            version: u32,
            id: Id,
            #[serde(deserialize_with = "deserialize_bits")]
            chunker_polynomial: u64,
        }
        if bytes.len() > SMALL_FILE_BYTES_MAX {
            return Err(OpenError::TooLarge {
                max_bytes: SMALL_FILE_BYTES_MAX,
            });
        }
        let config: ConfigJson = json::from_slice(&key.open(bytes)?)?;
        if config.version != VERSION {
            return Err(OpenError::Version {
                version: config.version,
            });
        }
        let chunker_polynomial =
            Polynomial::from_bits(config.chunker_polynomial).ok_or(OpenError::Polynomial)?;
        Ok(Self {
            id: config.id,
            chunker_polynomial,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    fn key() -> MasterKey {
        MasterKey::generate(&mut ChaCha8Rng::seed_from_u64(7))
    }

    #[test]
    fn what_was_sealed_opens_again() {
        let config = Config::generate(&mut ChaCha8Rng::seed_from_u64(8));
        let file = config.seal(&key(), [1; 16]);
        assert_eq!(Config::open(&key(), &file.bytes).unwrap(), config);
        assert_eq!(
            key().open(&file.bytes).unwrap(),
            format!(
                r#"{{"version":2,"id":"{}","chunker_polynomial":"{:x}"}}"#,
                config.id,
                config.chunker_polynomial.bits()
            )
            .as_bytes()
        );
    }

    #[test]
    fn other_versions_and_reducible_polynomials_are_refused() {
        let open = |version: u32, polynomial: &str| {
            let id = Id::of(b"");
            let json = format!(r#"{{"version":{version},"id":"{id}","chunker_polynomial":"{polynomial}"}}"#);
            Config::open(&key(), &key().seal([2; 16], json.as_bytes()))
        };
        assert!(open(2, "3da3358b4dc173").is_ok());
        assert!(matches!(
            open(1, "3da3358b4dc173"),
            Err(OpenError::Version { version: 1 })
        ));
        assert!(matches!(
            open(3, "3da3358b4dc173"),
            Err(OpenError::Version { version: 3 })
        ));
        assert!(matches!(open(2, "38f1e565e288df"), Err(OpenError::Polynomial)));
        assert!(matches!(open(2, "xyz"), Err(OpenError::Json(_))));
    }
}
