//! What the journal knows of a set.

use berth_repository::Id;
use berth_wire::{SetKind, SetRef, SetSeq, Signed};
use serde::{Deserialize, Serialize};

/// One set of one laptop. A few hundred bytes: the objects stand in the manifest in the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRecord {
    /// Its number.
    pub seq: SetSeq,
    /// Wall clock of the laptop when the set was opened, nanoseconds since 1970.
    pub created_at_ns: i64,
    /// How far it is.
    pub state: SetState,
}

/// The life of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetState {
    /// Its visit is under way.
    Open,
    /// It is on the hub.
    Sealed(Box<Sealed>),
}

/// A set that is on the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Partial or complete.
    pub kind: SetKind,
    /// SHA-256 of the manifest's body.
    pub manifest: Id,
    /// The snapshot.
    pub snapshot: Id,
    /// Objects in all.
    pub objects: u64,
    /// Bytes of these objects.
    pub bytes: u64,
    /// Files that could not be read.
    pub not_read: u64,
    /// Wall clock of the hub, nanoseconds since 1970.
    pub sealed_at_ns: i64,
    /// The hub's `on-hub` receipt.
    pub receipt: Signed,
    /// How far it is on its way upstream.
    pub forward: Forward,
}

/// How far a sealed set is on its way upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forward {
    /// Not begun.
    Waiting,
    /// Some of it may be upstream.
    Started {
        /// Wall clock of the hub, nanoseconds since 1970.
        at_ns: i64,
    },
    /// All of it is upstream, checked.
    Done {
        /// Wall clock of the hub, nanoseconds since 1970.
        at_ns: i64,
        /// The hub's `upstream` receipt.
        receipt: Signed,
        /// What of it was removed from the spool since.
        #[serde(default)]
        reclaimed: Reclaimed,
    },
}

/// What of a forwarded set is no longer in the spool, because room was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reclaimed {
    /// Bytes of its packs that were removed.
    pub bytes: u64,
    /// All its packs were.
    pub is_all: bool,
}

impl SetRecord {
    /// The state in one word: `open`, `partial`, `complete`, `forwarding` or `forwarded`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match &self.state {
            SetState::Open => "open",
            SetState::Sealed(sealed) => match (&sealed.forward, sealed.kind) {
                (Forward::Waiting, SetKind::Partial) => "partial",
                (Forward::Waiting, SetKind::Complete) => "complete",
                (Forward::Started { .. }, _) => "forwarding",
                (Forward::Done { .. }, _) => "forwarded",
            },
        }
    }

    /// What is known of it once it is sealed.
    #[must_use]
    pub const fn sealed(&self) -> Option<&Sealed> {
        match &self.state {
            SetState::Open => None,
            SetState::Sealed(sealed) => Some(sealed),
        }
    }

    /// Its number and manifest once it is sealed.
    #[must_use]
    pub fn set_ref(&self) -> Option<SetRef> {
        self.sealed().map(|sealed| SetRef {
            seq: self.seq,
            manifest: sealed.manifest,
        })
    }
}
