//! A pack under way: sealed blobs in, offsets and at last the header and the name out. The bytes go their own way.

use sha2::{Digest, Sha256};

use crate::limits::PACK_BYTES_MAX;
use crate::pack::{ending_size_bytes, entry_size_bytes, header_bytes};
use crate::{Id, MasterKey, Nonce, PackBlob, PackError, SealedBlob};

/// A pack under way: everything about it but its bytes, which have been sent on already.
#[derive(Clone, Default)]
pub struct PackBuilder {
    blobs: Vec<PackBlob>,
    entries_bytes: usize,
    length: u32,
    hash: Sha256,
}

/// How a pack ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedPack {
    /// SHA-256 of all of it, header included: its name.
    pub id: Id,
    /// The sealed header and its length field: the last bytes of the pack.
    pub header: Vec<u8>,
}

impl PackBuilder {
    /// An empty pack.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob and tells its offset; the caller appends `blob.bytes` to the pack.
    ///
    /// # Errors
    /// [`PackError`], with the pack unchanged, if the pack with its header would exceed [`PACK_BYTES_MAX`].
    pub fn add(&mut self, blob: &SealedBlob) -> Result<u32, PackError> {
        let entry_bytes = entry_size_bytes(blob.uncompressed_length.is_some());
        let entries_bytes = self.entries_bytes + entry_bytes;
        let length = u64::from(self.length) + blob.bytes.len() as u64;
        let ending = |entries_bytes| ending_size_bytes(entries_bytes) as u64;
        if blob.bytes.len() as u64 + ending(entry_bytes) > PACK_BYTES_MAX {
            return Err(PackError::TooLarge {
                length_bytes: blob.bytes.len(),
            });
        }
        if length + ending(entries_bytes) > PACK_BYTES_MAX {
            return Err(PackError::Full);
        }
        let offset = self.length;
        self.hash.update(&blob.bytes);
        self.length = u32::try_from(length).expect("at most PACK_BYTES_MAX");
        self.entries_bytes = entries_bytes;
        self.blobs.push(PackBlob {
            id: blob.id,
            kind: blob.kind,
            offset,
            length: self.length - offset,
            uncompressed_length: blob.uncompressed_length,
        });
        Ok(offset)
    }

    /// Bytes of the blobs so far.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// What [`PackBuilder::close`] would add to the pack, in bytes.
    #[must_use]
    pub fn header_size_bytes(&self) -> usize {
        ending_size_bytes(self.entries_bytes)
    }

    /// The blobs so far, in order.
    #[must_use]
    pub fn blobs(&self) -> &[PackBlob] {
        &self.blobs
    }

    /// Whether there is no blob yet. restic has no empty packs: drop such a one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// SHA-256 of the bytes so far.
    #[must_use]
    pub fn prefix_digest(&self) -> Id {
        Id::new(self.hash.clone().finalize().into())
    }

    /// How the pack would end if it were closed now. The pack goes on.
    #[must_use]
    pub fn would_be(&self, key: &MasterKey, nonce: Nonce) -> ClosedPack {
        let header = header_bytes(key, nonce, &self.blobs);
        let id = Id::new(self.hash.clone().chain_update(&header).finalize().into());
        ClosedPack { id, header }
    }

    /// Ends the pack; the caller appends the header to it. The blobs come back for the index.
    #[must_use]
    pub fn close(self, key: &MasterKey, nonce: Nonce) -> (ClosedPack, Vec<PackBlob>) {
        (self.would_be(key, nonce), self.blobs)
    }
}

impl std::fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackBuilder")
            .field("blobs", &self.blobs.len())
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlobKind;

    #[test]
    fn a_pack_never_grows_beyond_its_limit() {
        let blob = |length: usize| SealedBlob {
            id: Id::of(b""),
            kind: BlobKind::Data,
            bytes: vec![0; length],
            uncompressed_length: None,
        };
        let most = PACK_BYTES_MAX as usize - ending_size_bytes(entry_size_bytes(false));
        let mut builder = PackBuilder::new();
        assert_eq!(
            builder.add(&blob(most + 1)),
            Err(PackError::TooLarge {
                length_bytes: most + 1
            })
        );
        assert!(builder.is_empty());
        builder.add(&blob(most)).unwrap();
        assert_eq!(builder.add(&blob(1)), Err(PackError::Full));
        assert_eq!(builder.blobs().len(), 1);
        assert_eq!(
            u64::from(builder.length()) + builder.header_size_bytes() as u64,
            PACK_BYTES_MAX
        );
    }
}
