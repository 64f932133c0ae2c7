//! Blobs in and out: compress and seal, open and decompress. The hot path of a backup.

use std::io;
use std::num::NonZeroU32;

use zstd::bulk::Compressor;

use crate::limits::BLOB_RAW_BYTES_MAX;
use crate::{BlobKind, Id, MasterKey, Nonce, OpenError, PackBlob, SEAL_OVERHEAD_BYTES, SealError};

/// The zstd level for chunks and trees: restic's and zstd's default.
pub const COMPRESSION_LEVEL: i32 = 3;

/// A blob as it lies in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBlob {
    /// SHA-256 of the plaintext.
    pub id: Id,
    /// What it holds.
    pub kind: BlobKind,
    /// Nonce, ciphertext, tag.
    pub bytes: Vec<u8>,
    /// Length of the plaintext in bytes, if `bytes` holds it compressed.
    pub uncompressed_length: Option<NonZeroU32>,
}

/// Compresses and seals blobs one after the other; owns what can be used again. One for each thread.
pub struct Sealer {
    key: MasterKey,
    compressor: Compressor<'static>,
    compressed: Vec<u8>,
}

impl Sealer {
    /// `level`: a zstd level, such as [`COMPRESSION_LEVEL`].
    ///
    /// # Errors
    /// [`SealError::Compression`]: out of memory.
    pub fn new(key: MasterKey, level: i32) -> Result<Self, SealError> {
        Ok(Self {
            key,
            compressor: Compressor::new(level).map_err(SealError::Compression)?,
            compressed: Vec::new(),
        })
    }

    /// Seals `plain`, whose SHA-256 is `id` (the caller has it from looking whether the blob is known). Stored
    /// uncompressed where compression does not make it shorter.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] over [`BLOB_RAW_BYTES_MAX`], [`SealError::Compression`]. The sealer stays usable.
    pub fn seal(
        &mut self,
        kind: BlobKind,
        id: Id,
        plain: &[u8],
        nonce: Nonce,
    ) -> Result<SealedBlob, SealError> {
        if plain.len() > BLOB_RAW_BYTES_MAX {
            return Err(SealError::TooLarge {
                length_bytes: plain.len(),
                max_bytes: BLOB_RAW_BYTES_MAX,
            });
        }
        debug_assert_eq!(id, Id::of(plain), "the id is that of the plaintext");
        let uncompressed_length = self.compress(plain)?;
        let content = if uncompressed_length.is_some() {
            self.compressed.as_slice()
        } else {
            plain
        };
        let mut bytes = Vec::with_capacity(content.len() + SEAL_OVERHEAD_BYTES);
        self.key.seal_into(nonce, content, &mut bytes);
        Ok(SealedBlob {
            id,
            kind,
            bytes,
            uncompressed_length,
        })
    }

    /// Leaves the compressed form in `self.compressed` and tells the length of `plain`; `None` if it does not pay.
    fn compress(&mut self, plain: &[u8]) -> Result<Option<NonZeroU32>, SealError> {
        self.compressed.clear();
        self.compressed
            .reserve(zstd::zstd_safe::compress_bound(plain.len()));
        self.compressor
            .compress_to_buffer(plain, &mut self.compressed)
            .map_err(SealError::Compression)?;
        let pays = self.compressed.len() + HEADER_ENTRY_EXTRA_BYTES < plain.len();
        let length = u32::try_from(plain.len()).expect("checked against BLOB_RAW_BYTES_MAX");
        Ok(NonZeroU32::new(length).filter(|_| pays))
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// A compressed blob's entry in the pack header is this much longer.
const HEADER_ENTRY_EXTRA_BYTES: usize = 4;

/// Opens the blob `entry` of a pack, whose sealed bytes are `sealed`, and checks its length and id.
///
/// # Errors
/// [`OpenError::Length`], [`OpenError::WrongId`], [`OpenError::Forged`] and the like: the pack is damaged there.
/// [`OpenError::TooLarge`] over [`BLOB_RAW_BYTES_MAX`].
pub fn open_blob(key: &MasterKey, entry: &PackBlob, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    if sealed.len() != entry.length as usize {
        return Err(OpenError::Length {
            expected_bytes: entry.length as usize,
            found_bytes: sealed.len(),
        });
    }
    let content = key.open(sealed)?;
    let plain = match entry.uncompressed_length {
        None => content,
        Some(length) => decompress(&content, length.get() as usize)?,
    };
    if Id::of(&plain) == entry.id {
        Ok(plain)
    } else {
        Err(OpenError::WrongId)
    }
}

fn decompress(content: &[u8], length: usize) -> Result<Vec<u8>, OpenError> {
    if length > BLOB_RAW_BYTES_MAX {
        return Err(OpenError::TooLarge {
            max_bytes: BLOB_RAW_BYTES_MAX,
        });
    }
    let plain = decompress_up_to(content, length)?;
    if plain.len() == length {
        Ok(plain)
    } else {
        Err(OpenError::Length {
            expected_bytes: length,
            found_bytes: plain.len(),
        })
    }
}

/// Decompresses, growing as content comes, so that a lie about the length costs no memory.
pub(crate) fn decompress_up_to(content: &[u8], max_bytes: usize) -> Result<Vec<u8>, OpenError> {
    use io::Read as _;

    let mut plain = Vec::new();
    let read = zstd::stream::read::Decoder::with_buffer(content)
        .and_then(|decoder| decoder.take(max_bytes as u64 + 1).read_to_end(&mut plain))
        .map_err(OpenError::Compression)?;
    if read > max_bytes {
        Err(OpenError::TooLarge { max_bytes })
    } else {
        Ok(plain)
    }
}
