//! Files of the repository that are not packs: index files and snapshots.

use crate::limits::FILE_RAW_BYTES_MAX;
use crate::sealer::decompress_up_to;
use crate::{COMPRESSION_LEVEL, Id, MasterKey, Nonce, OpenError, SealError};

/// First byte of a file's plaintext when zstd follows.
const COMPRESSED: u8 = 2;

/// A file of a repository, ready to be written under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFile {
    /// SHA-256 of `bytes`: the file's name.
    pub id: Id,
    /// The whole file.
    pub bytes: Vec<u8>,
}

impl SealedFile {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            id: Id::of(&bytes),
            bytes,
        }
    }
}

/// Compresses and seals the JSON of an index file or a snapshot.
///
/// # Errors
/// [`SealError::TooLarge`] over [`FILE_RAW_BYTES_MAX`], [`SealError::Compression`].
pub fn seal_file(key: &MasterKey, nonce: Nonce, json: &[u8]) -> Result<SealedFile, SealError> {
    if json.len() > FILE_RAW_BYTES_MAX {
        return Err(SealError::TooLarge {
            length_bytes: json.len(),
            max_bytes: FILE_RAW_BYTES_MAX,
        });
    }
    let mut plain = vec![COMPRESSED];
    zstd::stream::copy_encode(json, &mut plain, COMPRESSION_LEVEL).map_err(SealError::Compression)?;
    Ok(SealedFile::new(key.seal(nonce, &plain)))
}

/// The JSON of an index file or a snapshot; also one that restic wrote without compression.
///
/// # Errors
/// [`OpenError::Version`], [`OpenError::TooLarge`] over [`FILE_RAW_BYTES_MAX`], and what [`MasterKey::open`] gives.
pub fn open_file(key: &MasterKey, bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
    let plain = key.open(bytes)?;
    let json = match plain.split_first() {
        Some((&COMPRESSED, compressed)) => decompress_up_to(compressed, FILE_RAW_BYTES_MAX)?,
        Some((b'{' | b'[', _)) => plain,
        Some((&version, _)) => {
            return Err(OpenError::Version {
                version: version.into(),
            });
        }
        None => {
            return Err(OpenError::TooShort {
                length_bytes: bytes.len(),
            });
        }
    };
    if json.len() > FILE_RAW_BYTES_MAX {
        return Err(OpenError::TooLarge {
            max_bytes: FILE_RAW_BYTES_MAX,
        });
    }
    Ok(json)
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
        let file = seal_file(&key(), [1; 16], b"{\"packs\":[]}").unwrap();
        assert_eq!(file.id, Id::of(&file.bytes));
        assert_eq!(open_file(&key(), &file.bytes).unwrap(), b"{\"packs\":[]}");
    }

    #[test]
    fn files_without_compression_are_read_and_unknown_ones_refused() {
        let open = |plain: &[u8]| open_file(&key(), &key().seal([2; 16], plain));
        assert_eq!(open(b"{}").unwrap(), b"{}");
        assert!(matches!(open(b""), Err(OpenError::TooShort { .. })));
        assert!(matches!(open(b"\x03{}"), Err(OpenError::Version { version: 3 })));
        assert!(matches!(open(b"\x02{}"), Err(OpenError::Compression(_))));
        assert!(matches!(open_file(&key(), b"x"), Err(OpenError::TooShort { .. })));
    }

    #[test]
    fn a_file_that_grows_beyond_the_limit_is_refused() {
        let bomb =
            zstd::stream::encode_all(std::io::repeat(b' ').take(FILE_RAW_BYTES_MAX as u64 + 1), 1).unwrap();
        let plain = [&[COMPRESSED][..], &bomb].concat();
        let error = open_file(&key(), &key().seal([3; 16], &plain)).unwrap_err();
        assert!(matches!(
            error,
            OpenError::TooLarge {
                max_bytes: FILE_RAW_BYTES_MAX
            }
        ));
        let error = seal_file(&key(), [4; 16], &vec![b' '; FILE_RAW_BYTES_MAX + 1]).unwrap_err();
        assert!(matches!(error, SealError::TooLarge { .. }));
    }

    use std::io::Read as _;
}
