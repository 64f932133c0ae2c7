//! What a set is made of, signed by the laptop; and what a hub says of it, signed by the hub.

use berth_repository::Id;
use serde::{Deserialize, Serialize};

use crate::ObjectKind;

/// Number of a set among those of one laptop at one hub, from 1. Given by the hub, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetSeq(pub u64);

impl std::fmt::Display for SetSeq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A sealed set: its number and its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRef {
    /// The number.
    pub seq: SetSeq,
    /// [`Signed::id`] of the manifest.
    pub manifest: Id,
}

/// Entries in one page of a manifest: 256 x about 45 bytes, so that the tail in each checkpoint stays near 6 KB.
pub const PAGE_ENTRIES: usize = 256;

/// Entries after the last full page: less than a page that was not turned yet, and what a checkpoint names besides (open
/// packs, packs of the trees above them, an index and a snapshot), which is in no page.
pub const TAIL_ENTRIES_MAX: usize = 2 * PAGE_ENTRIES;

/// Pages of one manifest: 16,384 x 256 packs of 16 MiB are 64 TiB.
pub const PAGES_MAX: usize = 16_384;

/// One object of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// `Pack`, `Index`, `Snapshot`; also `Key` and `Config` in a repository's first set.
    pub kind: ObjectKind,
    /// Its id.
    pub id: Id,
    /// Its size in bytes.
    pub length: u64,
}

/// How far a visit came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetKind {
    /// Cut.
    Partial,
    /// Everything was backed up, but for the files counted in `not_read`.
    Complete,
}

/// What a set is made of. Signed by the laptop; the hub checks it against what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format: u16,
    /// Ed25519 key of the laptop.
    #[serde(with = "serde_bytes")]
    pub laptop: [u8; 32],
    /// Ed25519 key of the hub.
    #[serde(with = "serde_bytes")]
    pub hub: [u8; 32],
    /// SHA-256 of the repository's `config` file.
    pub repository: Id,
    /// Number of the set.
    pub set: SetSeq,
    /// How far the visit came.
    pub kind: SetKind,
    /// The mark of the checkpoint (0 in a complete set).
    pub mark: u32,
    /// Manifest of the sealed set before, as the laptop knows it.
    pub previous: Option<SetRef>,
    /// The set's snapshot.
    pub snapshot: Id,
    /// Wall clock of the laptop at `OpenSet`, nanoseconds since 1970.
    pub created_at_ns: i64,
    /// Full pages ([`PAGE_ENTRIES`] entries each), by the SHA-256 of their bytes, in order. At most [`PAGES_MAX`].
    pub pages: Vec<Id>,
    /// The entries after the last full page; at most [`TAIL_ENTRIES_MAX`].
    pub tail: Vec<ObjectEntry>,
    /// Objects in all, pages not counted.
    pub objects: u64,
    /// Bytes of these objects.
    pub bytes: u64,
    /// Files that could not be read.
    pub not_read: u64,
}

/// Signed CBOR. The signature is over the bytes as received, never over a re-encoding. Ed25519 (RFC 8032) over
/// `context || body`, where `context` is [`MANIFEST_CONTEXT`] or [`RECEIPT_CONTEXT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// CBOR of a [`Manifest`] or a [`Receipt`].
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// 64 bytes.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// Put before a manifest's bytes in its signature.
pub const MANIFEST_CONTEXT: &[u8] = b"berth manifest 1\0";
/// Put before a receipt's bytes in its signature.
pub const RECEIPT_CONTEXT: &[u8] = b"berth receipt 1\0";

impl Signed {
    /// SHA-256 of the body: the name of a manifest.
    #[must_use]
    pub fn id(&self) -> Id {
        Id::of(&self.body)
    }
}

/// What a hub vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptLevel {
    /// The set survives a power cut of the hub.
    OnHub,
    /// The upstream has every object of the set, checked.
    Upstream,
}

/// The hub's signed word about one set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Ed25519 key of the hub.
    #[serde(with = "serde_bytes")]
    pub hub: [u8; 32],
    /// Ed25519 key of the laptop.
    #[serde(with = "serde_bytes")]
    pub laptop: [u8; 32],
    /// Which set.
    pub set: SetRef,
    /// What is vouched for.
    pub level: ReceiptLevel,
    /// Wall clock of the hub, nanoseconds since 1970.
    pub at_ns: i64,
}
