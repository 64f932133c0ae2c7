//! What the receiver asks of the spool, and what it hears back.
//!
//! Place: [`crate::Receiver`] -> [`StoreOp`] -> [`crate::Visit::execute`] -> [`StoreDone`] -> [`crate::Receiver`].
//! Invariant: operations are executed one by one, in the order in which the receiver gave them.

use std::io;

use berth_repository::Id;
use berth_wire::{Mark, ObjectKind, OpenPack, Refusal, SetRef, SetSeq, Signed, ToLaptop, UploadId};
use bytes::Bytes;

use crate::JournalError;

/// One thing for the spool to do. Those marked *asked* are answered by exactly one [`StoreDone`]; the others are
/// answered only when they fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOp {
    /// *Asked.* Repair what a crash left of this laptop, then say where things stand: [`ToLaptop::Welcome`].
    Begin {
        /// SHA-256 of the laptop's `config`.
        repository: Id,
        /// The newest set that the laptop knows of.
        last: Option<SetRef>,
    },
    /// Make the folders of a new set.
    OpenSet {
        /// The number that `Welcome` gave.
        set: SetSeq,
        /// Wall clock of the laptop, nanoseconds since 1970.
        created_at_ns: i64,
    },
    /// *Asked.* Make a pack of a tail: [`ToLaptop::Salvaged`].
    Salvage {
        /// Which tail.
        upload: UploadId,
        /// End of the last whole chunk.
        length: u64,
        /// SHA-256 up to there.
        digest: Id,
        /// Sealed pack header.
        header: Vec<u8>,
    },
    /// Begin an upload.
    Open {
        /// Its number in the set.
        number: u32,
        /// What it will be.
        kind: ObjectKind,
        /// For the next checkpoint only.
        provisional: bool,
    },
    /// Append to an upload.
    Append {
        /// Its number in the set.
        number: u32,
        /// The bytes.
        bytes: Bytes,
    },
    /// End an upload: its SHA-256 must be `id`.
    Close {
        /// Its number in the set.
        number: u32,
        /// What its bytes must hash to.
        id: Id,
    },
    /// *Asked.* Make everything so far durable: [`ToLaptop::Acknowledged`].
    Mark {
        /// The mark.
        mark: Mark,
        /// What the set is sealed as if the visit is cut from now on.
        checkpoint: Option<Checkpoint>,
    },
    /// *Asked.* Seal the set as complete: [`ToLaptop::Receipt`].
    Commit {
        /// The laptop's signed manifest.
        manifest: Signed,
    },
    /// *Asked.* [`ToLaptop::Listing`].
    List {
        /// Which kind.
        kind: ObjectKind,
        /// Only ids above this one.
        after: Option<Id>,
    },
    /// *Asked.* [`ToLaptop::Fetched`], [`ToLaptop::Missing`] or [`ToLaptop::Unavailable`].
    Fetch {
        /// Which kind.
        kind: ObjectKind,
        /// Which object.
        id: Id,
        /// First byte.
        offset: u64,
        /// How many.
        length: u32,
        /// What is not here is read upstream; [`ToLaptop::Unavailable`] may be the answer.
        knows_unavailable: bool,
    },
    /// *Asked.* [`ToLaptop::ManifestOf`] or [`ToLaptop::Missing`].
    FetchManifest {
        /// Which set.
        set: SetSeq,
    },
    /// *Asked.* The visit is over: seal what can be sealed as partial, keep the rest as tails: [`StoreDone::Left`].
    Leave,
}

/// What a set is sealed as if the visit is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Packs under way.
    pub open: Vec<OpenPack>,
    /// The laptop's signed manifest, kind `Partial`.
    pub manifest: Signed,
}

/// What came of an operation.
#[derive(Debug)]
pub enum StoreDone {
    /// The answer to an asked operation, ready to be sent; everything that it promises is durable.
    Answer(ToLaptop),
    /// [`StoreOp::Leave`] is done.
    Left {
        /// The set that was sealed as partial, if a checkpoint had been acknowledged, and the receipt for it. On an error
        /// nothing acknowledged is lost: the next `Begin`, or the next start, seals it.
        sealed: Result<Option<(SetRef, Signed)>, StoreError>,
    },
    /// The operation failed and the visit must end: everything but [`StoreOp::Leave`] is passed over from here on.
    /// Nothing acknowledged is lost.
    Failed(StoreError),
}

/// Why the spool could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room, or less than the reserve that sealing a cut set needs.
    #[error("the spool's disk is full")]
    Full,
    /// The disk failed.
    #[error("the spool's disk failed while {doing}")]
    Disk {
        /// What was under way.
        doing: &'static str,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The journal failed. The sets are safe in the spool; the journal is rebuilt at the next start.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// The laptop's bytes are not what it says they are.
    #[error("the laptop's {what} does not hold: {why}")]
    Mismatch {
        /// What was checked.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The laptop came with another repository than the one in the spool.
    #[error("the spool holds another repository of this laptop")]
    OtherRepository,
    /// A visit of this laptop is under way.
    #[error("another visit of this laptop is under way")]
    Busy,
    /// More laptops than a hub serves.
    #[error("this hub holds {} laptops, it takes no more", crate::LAPTOPS_MAX)]
    TooManyLaptops,
}

impl StoreError {
    /// What the laptop is told.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Full | Self::TooManyLaptops => Refusal::Full,
            Self::Disk { .. } | Self::Journal(_) => Refusal::Disk,
            Self::Mismatch { .. } => Refusal::Disagree,
            Self::OtherRepository => Refusal::OtherRepository,
            Self::Busy => Refusal::Busy,
        }
    }

    /// What the person at the hub can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::TooManyLaptops => "Revoke laptops that no longer come, or use a second hub.",
            Self::Full
            | Self::Disk { .. }
            | Self::Journal(_)
            | Self::Mismatch { .. }
            | Self::OtherRepository
            | Self::Busy => self.refusal().advice(),
        }
    }

    /// What lies there is not what was written: it stays so however often it is tried. Neither a failing disk nor a
    /// failing journal.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Mismatch { .. } => true,
            Self::Disk { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::FileTooLarge
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
            ),
            Self::Full | Self::Journal(_) | Self::OtherRepository | Self::Busy | Self::TooManyLaptops => {
                false
            }
        }
    }

    /// One line for the log, with the cause.
    pub(crate) fn with_cause(&self) -> String {
        match self {
            Self::Disk { doing, source } => format!("{doing}: {source}"),
            other => other.to_string(),
        }
    }

    /// Sorts a disk's error: full, or failing.
    pub(crate) fn disk(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Disk { doing, source },
        }
    }
}
