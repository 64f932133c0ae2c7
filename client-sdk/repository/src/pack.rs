//! Packs: sealed blobs one after the other, then a sealed header that lists them, then its length.
//!
//! Specification: restic's design, section "Pack Format".

use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use crate::limits::{PACK_BYTES_MAX, PACK_HEADER_BYTES_MAX};
use crate::{
    BlobKind, Id, MasterKey, Nonce, OpenError, PackBlob, PackError, SEAL_OVERHEAD_BYTES, SealedBlob,
};

/// Header entry of an uncompressed blob: type, sealed length, id.
const ENTRY_BYTES: usize = 1 + 4 + 32;
/// Header entry of a compressed blob: type, sealed length, raw length, id.
const COMPRESSED_ENTRY_BYTES: usize = 1 + 4 + 4 + 32;
/// The header's length, little-endian, at the very end.
const LENGTH_FIELD_BYTES: usize = 4;

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
        let ending = |entries_bytes: usize| (entries_bytes + SEAL_OVERHEAD_BYTES + LENGTH_FIELD_BYTES) as u64;
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
        self.entries_bytes + SEAL_OVERHEAD_BYTES + LENGTH_FIELD_BYTES
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

/// Length in bytes of what [`header_bytes`] gives.
#[must_use]
pub fn header_size_bytes(blobs: &[PackBlob]) -> usize {
    let entries: usize = blobs
        .iter()
        .map(|blob| entry_size_bytes(blob.uncompressed_length.is_some()))
        .sum();
    entries + SEAL_OVERHEAD_BYTES + LENGTH_FIELD_BYTES
}

/// The sealed header and its length field for a pack of exactly these blobs. Offsets are not in it: the blobs follow
/// each other from the start of the pack.
#[must_use]
pub fn header_bytes(key: &MasterKey, nonce: Nonce, blobs: &[PackBlob]) -> Vec<u8> {
    let mut entries = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY_BYTES);
    for blob in blobs {
        let kind = match (blob.kind, blob.uncompressed_length) {
            (BlobKind::Data, None) => 0,
            (BlobKind::Tree, None) => 1,
            (BlobKind::Data, Some(_)) => 2,
            (BlobKind::Tree, Some(_)) => 3,
        };
        entries.push(kind);
        entries.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.uncompressed_length {
            entries.extend_from_slice(&length.get().to_le_bytes());
        }
        entries.extend_from_slice(blob.id.as_bytes());
    }
    let mut header = Vec::with_capacity(entries.len() + SEAL_OVERHEAD_BYTES + LENGTH_FIELD_BYTES);
    key.seal_into(nonce, &entries, &mut header);
    let length = u32::try_from(header.len()).expect("a pack's entries are far below 4 GiB");
    header.extend_from_slice(&length.to_le_bytes());
    header
}

/// Reads the header of a pack from `tail`, any number of its last bytes that includes it.
///
/// # Errors
/// [`OpenError::PackHeader`] if `tail` is too short for the header or the header is malformed, and what
/// [`MasterKey::open`] gives.
pub fn parse_header(key: &MasterKey, tail: &[u8]) -> Result<Vec<PackBlob>, OpenError> {
    let (rest, length) = tail
        .split_last_chunk::<LENGTH_FIELD_BYTES>()
        .ok_or(OpenError::PackHeader)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > PACK_HEADER_BYTES_MAX {
        return Err(OpenError::TooLarge {
            max_bytes: PACK_HEADER_BYTES_MAX,
        });
    }
    let sealed = rest
        .len()
        .checked_sub(length)
        .and_then(|start| rest.get(start..))
        .ok_or(OpenError::PackHeader)?;
    parse_entries(&key.open(sealed)?)
}

/// Reads the header of a whole pack and checks that its blobs fill the pack exactly.
///
/// # Errors
/// Those of [`parse_header`].
pub fn parse_pack(key: &MasterKey, pack: &[u8]) -> Result<Vec<PackBlob>, OpenError> {
    let blobs = parse_header(key, pack)?;
    let blobs_bytes = blobs
        .last()
        .map_or(0, |last| u64::from(last.offset) + u64::from(last.length));
    if blobs_bytes + header_size_bytes(&blobs) as u64 == pack.len() as u64 {
        Ok(blobs)
    } else {
        Err(OpenError::PackHeader)
    }
}

fn parse_entries(mut entries: &[u8]) -> Result<Vec<PackBlob>, OpenError> {
    let mut blobs = Vec::with_capacity(entries.len() / ENTRY_BYTES);
    let mut offset = 0_u32;
    while let Some((&kind, rest)) = entries.split_first() {
        let (kind, compressed) = match kind {
            0 => (BlobKind::Data, false),
            1 => (BlobKind::Tree, false),
            2 => (BlobKind::Data, true),
            3 => (BlobKind::Tree, true),
            _ => return Err(OpenError::PackHeader),
        };
        entries = rest;
        let length = u32::from_le_bytes(take(&mut entries)?);
        let uncompressed_length = if compressed {
            let length = NonZeroU32::new(u32::from_le_bytes(take(&mut entries)?));
            Some(length.ok_or(OpenError::PackHeader)?)
        } else {
            None
        };
        let id = Id::new(take(&mut entries)?);
        blobs.push(PackBlob {
            id,
            kind,
            offset,
            length,
            uncompressed_length,
        });
        offset = offset.checked_add(length).ok_or(OpenError::PackHeader)?;
    }
    Ok(blobs)
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], OpenError> {
    let (bytes, rest) = from.split_first_chunk::<N>().ok_or(OpenError::PackHeader)?;
    *from = rest;
    Ok(*bytes)
}

const fn entry_size_bytes(compressed: bool) -> usize {
    if compressed {
        COMPRESSED_ENTRY_BYTES
    } else {
        ENTRY_BYTES
    }
}
