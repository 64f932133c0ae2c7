//! Blobs in and out: compress and seal, open and decompress. The hot path of a backup.

use std::io;
use std::num::NonZeroU32;

use zstd::bulk::Compressor;

use crate::limits::BLOB_RAW_BYTES_MAX;
use crate::{BlobKind, Id, MasterKey, Nonce, OpenError, PackBlob, SEAL_OVERHEAD_BYTES, SealError};

/// The zstd level for chunks and trees: restic's and zstd's default. Level 1 is up to 1.6 times as fast and leaves 3 %
/// more bytes (source text and documentation, `examples/seal_speed.rs`), which a radio link takes longer to carry.
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
        if looks_random(plain) {
            return Ok(None);
        }
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

/// Samples of a chunk, spread evenly over it: what takes a sixteenth of it is seen.
const SAMPLES: usize = 16;

/// Bytes of one.
const SAMPLE_SIZE_BYTES: usize = 256;

/// Pearson's chi-squared of random bytes is 255 with a deviation of 23: above this they are not random. Bytes that could
/// be coded in 0.5 % fewer bits come to 480.
const CHI_SQUARED_MAX: usize = 370;

/// Whether the bytes of a large chunk are spread as evenly as those of photographs, films and archives, on which zstd
/// would spend a fifteenth of a visit's time for nothing. What it misses is random bytes that are there twice.
fn looks_random(plain: &[u8]) -> bool {
    let distance = plain.len() / SAMPLES;
    if distance < 8 * SAMPLE_SIZE_BYTES {
        return false;
    }
    let mut counts = [0_usize; 256];
    for part in plain.chunks_exact(distance) {
        for byte in part.iter().take(SAMPLE_SIZE_BYTES) {
            counts[usize::from(*byte)] += 1;
        }
    }
    let expected = SAMPLES * SAMPLE_SIZE_BYTES / counts.len();
    let squares: usize = counts.iter().map(|count| count.abs_diff(expected).pow(2)).sum();
    squares / expected <= CHI_SQUARED_MAX
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::{RngCore as _, SeedableRng as _};

    use super::*;

    fn key() -> MasterKey {
        MasterKey::generate(&mut ChaCha8Rng::seed_from_u64(7))
    }

    fn entry(blob: &SealedBlob) -> PackBlob {
        PackBlob {
            id: blob.id,
            kind: blob.kind,
            offset: 0,
            length: u32::try_from(blob.bytes.len()).unwrap(),
            uncompressed_length: blob.uncompressed_length,
        }
    }

    fn seal(plain: &[u8]) -> SealedBlob {
        let mut sealer = Sealer::new(key(), COMPRESSION_LEVEL).unwrap();
        sealer
            .seal(BlobKind::Data, Id::of(plain), plain, [3; 16])
            .unwrap()
    }

    #[test]
    fn what_compresses_is_compressed_and_what_does_not_is_not() {
        let text = seal(&b"the same again and again, ".repeat(1_000));
        assert_eq!(text.uncompressed_length.map(NonZeroU32::get), Some(26_000));
        assert!(text.bytes.len() < 500);
        let mut random = vec![0; 100_000];
        ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut random);
        let random = seal(&random);
        assert_eq!(random.uncompressed_length, None);
        assert_eq!(random.bytes.len(), 100_000 + SEAL_OVERHEAD_BYTES);
    }

    #[test]
    fn a_chunk_of_which_a_sixteenth_compresses_is_compressed() {
        let mut plain = vec![0; 160_000];
        ChaCha8Rng::seed_from_u64(2).fill_bytes(&mut plain);
        assert!(looks_random(&plain));
        for text in [0..10_000, 75_000..85_000, 150_000..160_000] {
            let mut mixed = plain.clone();
            let line = b"a line of text among what is random\n".iter().cycle();
            mixed[text]
                .iter_mut()
                .zip(line)
                .for_each(|(byte, letter)| *byte = *letter);
            assert!(!looks_random(&mixed));
        }
        // Seven bits of eight.
        assert!(!looks_random(
            &plain.iter().map(|byte| byte & 0x7f).collect::<Vec<_>>()
        ));
    }

    #[test]
    fn a_sealer_makes_the_same_whatever_it_made_before() {
        let mut used = Sealer::new(key(), COMPRESSION_LEVEL).unwrap();
        for size in [0, 1, 100_000, 17] {
            let plain = vec![b'x'; size];
            let blob = used
                .seal(BlobKind::Tree, Id::of(&plain), &plain, [3; 16])
                .unwrap();
            let mut fresh = seal(&plain);
            fresh.kind = BlobKind::Tree;
            assert_eq!(blob, fresh);
        }
    }

    #[test]
    fn a_sealer_can_go_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Sealer>();
        is_send::<SealedBlob>();
    }

    #[test]
    fn a_lie_about_the_length_is_noticed_and_costs_no_memory() {
        let bomb = vec![0; 8 * 1024 * 1024];
        let blob = seal(&bomb);
        for lie in [1, 8 * 1024 * 1024 - 1, 8 * 1024 * 1024 + 1, u32::MAX] {
            let mut entry = entry(&blob);
            entry.uncompressed_length = NonZeroU32::new(lie);
            assert!(matches!(
                open_blob(&key(), &entry, &blob.bytes),
                Err(OpenError::TooLarge { .. } | OpenError::Length { .. })
            ));
        }
        assert_eq!(open_blob(&key(), &entry(&blob), &blob.bytes).unwrap(), bomb);
    }

    #[test]
    fn a_blob_in_the_place_of_another_is_noticed() {
        let (one, two) = (seal(b"one"), seal(b"two"));
        assert!(matches!(
            open_blob(&key(), &entry(&one), &two.bytes),
            Err(OpenError::WrongId)
        ));
        assert!(matches!(
            open_blob(&key(), &entry(&one), &two.bytes[1..]),
            Err(OpenError::Length { .. })
        ));
    }

    proptest! {
        #[test]
        fn everything_sealed_opens_again(plain: Vec<u8>, repeat in 1_usize..50) {
            let plain = plain.repeat(repeat);
            let blob = seal(&plain);
            prop_assert!(blob.bytes.len() <= plain.len() + SEAL_OVERHEAD_BYTES);
            prop_assert_eq!(entry(&blob).raw_length() as usize, plain.len());
            prop_assert_eq!(open_blob(&key(), &entry(&blob), &blob.bytes).unwrap(), plain);
        }
    }
}
