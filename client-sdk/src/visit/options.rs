//! What a visit is told, and what it tells.

use std::path::PathBuf;

use berth_repository::{Id, OpenError, PackError, SealError, TreeError};
use berth_wire::{Full, Refusal, SetKind, SetRef, SetSeq, Signed, ToHub, UploadId};
use bytes::Bytes;

use crate::Finding;

/// What is backed up, where to and as whom.
#[derive(Debug, Clone)]
pub struct VisitOptions {
    /// Ed25519 key of the laptop.
    pub laptop: [u8; 32],
    /// Ed25519 key of the hub.
    pub hub: [u8; 32],
    /// Name of the laptop: the snapshot's `hostname`.
    pub laptop_name: String,
    /// Name of the hub: in the snapshot's tags.
    pub hub_name: String,
    /// Name of the user: in the snapshot.
    pub user_name: String,
    /// Absolute paths of what is backed up. One inside another counts once.
    pub roots: Vec<PathBuf>,
    /// What is left out.
    pub rules: Rules,
    /// Wall clock when the visit begins, nanoseconds since 1970.
    pub wall_clock_ns: i64,
    /// Fresh random bytes, never used twice: nonces come from them.
    pub seed: [u8; 32],
}

/// What is left out of a backup.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Gitignore lines, as if in a `.gitignore` file in `/`; later ones win, `!` takes back.
    pub patterns: Vec<String>,
    /// Absolute paths left out with all below them: the state folder, always.
    pub paths: Vec<PathBuf>,
    /// Of folders marked as caches (`CACHEDIR.TAG`, bford.info/cachedir) keep only the mark.
    pub skip_caches: bool,
    /// Do not go from a root into other file systems.
    pub one_file_system: bool,
}

/// Signatures of the laptop and of the hub.
pub trait Keys: Send {
    /// Ed25519 signature of the laptop over [`berth_wire::MANIFEST_CONTEXT`] and `body`.
    fn sign_manifest(&self, body: &[u8]) -> [u8; 64];
    /// Is this signed by the hub, over [`berth_wire::RECEIPT_CONTEXT`] and the body?
    fn is_of_hub(&self, receipt: &Signed) -> bool;
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this, then call again.
    Send(Outgoing),
    /// Work was done and nothing came of it yet. Call again.
    Working,
    /// Only a message of the hub brings it on (or, within a second or so, the time: call again now and then).
    Wait,
    /// The hub signed for the complete set, and the laptop's state is durable.
    Done(Box<Summary>),
}

/// Something for the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A control message.
    Control(ToHub),
    /// Bytes of an upload; at most [`berth_wire::DATA_SIZE_BYTES_MAX`].
    Data {
        /// Which upload.
        upload: UploadId,
        /// The bytes.
        bytes: Bytes,
    },
}

/// Where a visit is. Counts only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The scan is over: what changed is known.
    pub scanned: bool,
    /// Files found by the scan.
    pub files_scanned: u64,
    /// Bytes of these files.
    pub bytes_scanned: u64,
    /// Files among them that are new or changed.
    pub files_changed: u64,
    /// Bytes of these.
    pub bytes_changed: u64,
    /// New or changed files read to their end.
    pub files_done: u64,
    /// Bytes of new or changed files that were read.
    pub bytes_done: u64,
    /// Bytes given to the link: uploads and control messages.
    pub bytes_sent: u64,
    /// Bytes of new or changed files that are on the hub, synced: all chunks of these bytes were sent before a mark
    /// that the hub has acknowledged, or were there before. Counts bytes of files, not of chunks on the wire: a
    /// chunk that two files share counts for both.
    pub bytes_acknowledged: u64,
    /// Of these, the bytes that a cut now would leave restorable: covered by an acknowledged checkpoint.
    pub bytes_restorable: u64,
    /// What is being read.
    pub path: PathBuf,
    /// The mark asked for with [`crate::Visit::request_mark`] is acknowledged.
    pub requested_mark_done: bool,
    /// What the laptop remembered did not fit what the hub holds: it was dropped and rebuilt from the hub's index.
    pub rebuilt: bool,
    /// Signed words of the hub that came with its welcome or its goodbye, genuine ones only.
    pub receipts: Vec<Signed>,
    /// Number of the set that this visit makes, once the hub has given it.
    pub set: Option<SetSeq>,
    /// The newest sealed set at this hub, if laptop and hub agree on it.
    pub last: Option<SealedSet>,
    /// Packs of sets up to this one may be upstream only, as the hub says.
    pub reclaimed_through: Option<SetSeq>,
    /// What the hub was found to have lost or changed, as far as its own words show it.
    pub findings: Vec<Finding>,
    /// What the newest checkpoint makes of this visit, if the hub seals that one: its receipt says so.
    pub checkpoint: Option<SealedSet>,
}

/// A set as the laptop made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedSet {
    /// Which.
    pub set: SetRef,
    /// Its snapshot.
    pub snapshot: Option<Id>,
    /// How far it came; `None`: the laptop has lost what it knew of it.
    pub kind: Option<SetKind>,
}

/// How a visit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Number of the set.
    pub set: SetSeq,
    /// How far it came.
    pub kind: SetKind,
    /// Its snapshot.
    pub snapshot: Id,
    /// Files in the set.
    pub files: u64,
    /// Bytes of these files.
    pub bytes_scanned: u64,
    /// Bytes given to the link.
    pub bytes_sent: u64,
    /// Raw bytes of the chunks that the hub did not have.
    pub bytes_new: u64,
    /// Files that were opened to read their content.
    pub content_files_read: u64,
    /// Sockets left out.
    pub sockets: u64,
    /// Entries not read as they should be, at most [`NOT_READ_NAMED_MAX`] of them by name.
    pub not_read: Vec<NotRead>,
    /// How many there were.
    pub not_read_count: u64,
    /// The hub's receipt.
    pub receipt: Signed,
}

/// Entries that a summary names; a broken disk must not fill the memory.
pub const NOT_READ_NAMED_MAX: usize = 10_000;

/// An entry that was not read as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// Which.
    pub path: PathBuf,
    /// What happened.
    pub why: NotReadReason,
}

/// What happened to an entry, and what is in the set in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReadReason {
    /// It was there in the scan.
    #[error("it vanished before it was read; it is not in this set")]
    Vanished,
    /// The set has it as it was read, which may mix old and new content.
    #[error("it changed while it was read; it is read again at the next visit")]
    Changed,
    /// The system's error. Content and all else are in the set.
    #[error("its extended attributes could not be read ({error}); all else is in this set")]
    Attributes {
        /// As the system put it.
        error: String,
    },
    /// The system's error.
    #[error("{error}; the set holds its previous version")]
    PreviousKept {
        /// As the system put it.
        error: String,
    },
    /// The system's error.
    #[error("{error}; it is not in this set")]
    LeftOut {
        /// As the system put it.
        error: String,
    },
}

/// Why a visit ended before its time. What was acknowledged stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisitError {
    /// Reading or writing the state folder failed.
    #[error("state folder: {0}")]
    Disk(#[from] std::io::Error),
    /// The hub ended it.
    #[error("{0}")]
    Refused(Refusal),
    /// The hub takes no set now. Nothing was sent.
    #[error("the hub is full")]
    Full(Full),
    /// The hub sent what does not belong here.
    #[error("the hub broke the protocol: {what}")]
    Protocol {
        /// What was wrong.
        what: &'static str,
    },
    /// The hub is there, but gives no answer.
    #[error("the hub gives no answer for {} s", crate::reading::ANSWER_MAX.as_secs())]
    Overdue,
    /// A pattern of the rules is not a gitignore line.
    #[error("pattern `{pattern}`: {error}")]
    Pattern {
        /// The line.
        pattern: String,
        /// What is wrong with it.
        error: String,
    },
    /// A folder with more entries than the format has room for (some hundred thousand), or no memory.
    #[error("{path}: {error}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: PackError,
    },
    /// A chunk or tree could not be sealed.
    #[error("{0}")]
    Seal(#[source] SealError),
    /// A folder's listing is impossible.
    #[error("{path}: {error}")]
    Tree {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: TreeError,
    },
    /// What the hub sent could not be opened.
    #[error("an object of the hub: {0}")]
    Object(#[source] OpenError),
}

impl VisitError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Disk(_) => {
                "Look at the laptop's disk: is it full? What was acknowledged is safe; the backup goes on."
            }
            Self::Refused(why) => why.advice(),
            Self::Full(full) => full.advice(),
            Self::Protocol { .. } => "Update both laptop and hub, then try again.",
            Self::Overdue => "Look at the hub's disk; see `berthctl status`. Then try again.",
            Self::Pattern { .. } => "Correct the pattern: `berth exclude list` shows all.",
            Self::Folder { error, .. } => error.advice(),
            Self::Seal(error) => error.advice(),
            Self::Tree { error, .. } => error.advice(),
            Self::Object(error) => error.advice(),
        }
    }
}
