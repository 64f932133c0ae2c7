//! Blobs: what packs are made of.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::Id;

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    /// A chunk of a file.
    Data,
    /// The JSON of a [`crate::Tree`].
    Tree,
}

/// Where a blob lies in its pack: one entry of a pack header and of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackBlob {
    /// SHA-256 of the plaintext before compression.
    pub id: Id,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: BlobKind,
    /// First byte in the pack.
    pub offset: u32,
    /// Sealed length in bytes.
    pub length: u32,
    /// Length in bytes before compression; `None` if it is stored uncompressed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "zero_is_none")]
    pub uncompressed_length: Option<NonZeroU32>,
}

impl PackBlob {
    /// First byte in the pack after it. An index may claim what its pack does not hold: compare before reading.
    #[must_use]
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    /// Length of the plaintext in bytes.
    #[must_use]
    pub fn raw_length(&self) -> u32 {
        const OVERHEAD: u32 = crate::SEAL_OVERHEAD_BYTES as u32;
        self.uncompressed_length
            .map_or_else(|| self.length.saturating_sub(OVERHEAD), NonZeroU32::get)
    }
}

/// restic writes no length for an uncompressed blob, and reads 0 as none.
mod zero_is_none {
    use std::num::NonZeroU32;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(length: &Option<NonZeroU32>, to: S) -> Result<S::Ok, S::Error> {
        length.map_or(0, NonZeroU32::get).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroU32>, D::Error> {
        Option::<u32>::deserialize(from).map(|length| length.and_then(NonZeroU32::new))
    }
}
