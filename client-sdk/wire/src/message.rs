//! Every message of a visit, in the order in which a visit uses them.

use berth_repository::Id;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{SetRef, SetSeq, Signed};

/// Version of this protocol. Both sides send theirs; a hub serves its own and older ones, a laptop of a newer one is
/// told to wait for the hub's update.
pub const PROTOCOL: u16 = 1;

/// Open packs in one checkpoint: one of data, one of trees, and room for more.
pub const OPEN_PACKS_MAX: usize = 4;

/// Tails in one `Welcome`, 1,024 packs of 16 MiB: what a visit can leave behind that had no budget for a checkpoint.
pub const TAILS_MAX: usize = 1_024;

/// Largest object in one upload: a pack (DESIGN.md, section 7).
pub const OBJECT_SIZE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Blobs in one pack, so that its header (41 bytes a blob) always fits a control message.
pub const PACK_BLOBS_MAX: usize = 8_192;

/// Bytes in one answer to [`ToHub::Fetch`].
pub const FETCH_SIZE_BYTES_MAX: u32 = 512 * 1024;

/// Ids in one [`ToLaptop::Listing`]; more are asked for with `after`.
pub const LISTING_IDS_MAX: usize = 8_192;

/// What an object is, and so where the spool keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// `data/xx/ID`, data blobs or tree blobs.
    Pack,
    /// `index/ID`.
    Index,
    /// `snapshots/ID`.
    Snapshot,
    /// A full page of a manifest (`Vec<ObjectEntry>` as CBOR), named by its SHA-256. Never forwarded.
    Page,
    /// `keys/ID`: how to open the repository with the recovery key.
    Key,
    /// `config`. Its id is the SHA-256 of its bytes.
    Config,
}

/// Names one upload of a laptop: never used twice, since `set` grows and `number` grows within a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UploadId {
    /// The set it was begun for.
    pub set: SetSeq,
    /// Counts the uploads of a set from 0.
    pub number: u32,
}

/// Counts the marks (flushes and checkpoints) of one visit, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark(pub u32);

/// Laptop to hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHub {
    /// First message of a visit. Answer: `Welcome` or `Refused`.
    Begin {
        /// [`PROTOCOL`] of the laptop.
        protocol: u16,
        /// SHA-256 of the laptop's `config` file: which repository this is.
        repository: Id,
        /// The newest set that the laptop knows this hub to hold.
        last: Option<SetRef>,
    },
    /// Begins a set; the hub gave its number in `Welcome`. Where the hub has no repository of this laptop yet, `Key` and
    /// `Config` objects are the first uploads.
    OpenSet {
        /// Wall clock of the laptop, nanoseconds since 1970.
        created_at_ns: i64,
    },
    /// Keep the bytes `start..length` of a cut upload as a pack of their own: the hub takes the first `length` bytes of
    /// the upload (those below `start` from the pack they became), checks their SHA-256 against `digest`, appends
    /// `header` to the bytes from `start` on, and answers `Salvaged`. Only between `Welcome` and `OpenSet`. The pack is
    /// durable after the set's next mark; until a set that lists it is sealed the tail stays, so a cut loses nothing.
    Salvage {
        /// From [`Tail`].
        upload: UploadId,
        /// End of the last whole chunk, counted from the start of the upload. `start < length <= end`.
        length: u64,
        /// SHA-256 of the first `length` bytes of the upload.
        digest: Id,
        /// Sealed pack header with its length field, for the blobs from `start` to `length`. Empty: the bytes end with their own,
        /// as those of a pack do that was closed before the cut (`start` is 0 then).
        #[serde(with = "serde_bytes")]
        header: Vec<u8>,
    },
    /// Begins an upload; its bytes follow in [`crate::Frame::Data`], mixed with those of other uploads.
    Open {
        /// A new one.
        upload: UploadId,
        /// What it will be.
        kind: ObjectKind,
        /// Belongs to the next checkpoint only: kept beside the repository, dropped when the next checkpoint or the
        /// commit is acknowledged, made a real object if the visit is cut.
        provisional: bool,
    },
    /// Ends an upload. The hub checks length and SHA-256; a mismatch ends the visit.
    Close {
        /// The upload.
        upload: UploadId,
        /// SHA-256 of all its bytes.
        id: Id,
        /// How many.
        length: u64,
    },
    /// Make everything sent so far durable, then answer `Acknowledged`.
    Flush {
        /// Greater than the last.
        mark: Mark,
    },
    /// Like `Flush`, and from the answer on the set can be sealed as partial with exactly this content.
    Checkpoint {
        /// Greater than the last.
        mark: Mark,
        /// At most [`OPEN_PACKS_MAX`].
        open: Vec<OpenPack>,
        /// What the set's manifest is if the visit is cut now: kind `Partial`.
        manifest: Signed,
    },
    /// Ends the set. The hub checks that it holds every object, then answers `Receipt`.
    Commit {
        /// Kind `Complete`.
        manifest: Signed,
    },
    /// Asks which objects of a kind the hub holds of this laptop. Answer: `Listing`.
    List {
        /// Which kind.
        kind: ObjectKind,
        /// Only ids above this one.
        after: Option<Id>,
    },
    /// Asks for a range of an object. Answer: `Fetched`, `Missing` or `Unavailable`.
    Fetch {
        /// Which kind.
        kind: ObjectKind,
        /// Which object.
        id: Id,
        /// First byte.
        offset: u64,
        /// At most [`FETCH_SIZE_BYTES_MAX`].
        length: u32,
        /// The laptop waits for the upstream, and understands `Unavailable`: else the answer is `Missing` where the hub does
        /// not hold it. Laptops before this field do not.
        #[serde(default)]
        knows_unavailable: bool,
    },
    /// Asks for the signed manifest of a sealed set. Answer: `ManifestOf`.
    FetchManifest {
        /// Which set.
        set: SetSeq,
    },
    /// "I am here"; sent when nothing else was for [`KEEP_ALIVE_MS`].
    KeepAlive,
    /// The laptop leaves on purpose; an open set is sealed as partial.
    Goodbye,
}

/// Silence after which a side says [`ToHub::KeepAlive`], in milliseconds.
pub const KEEP_ALIVE_MS: u64 = 2_000;

/// Silence after which a side takes the other for gone, in milliseconds.
pub const SILENCE_MAX_MS: u64 = 10_000;

/// A pack under way at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPack {
    /// Its upload.
    pub upload: UploadId,
    /// Bytes of it that belong to the checkpoint: ends at a chunk's end.
    pub length: u64,
    /// Sealed header with its length field: with it the first `length` bytes are a whole pack.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// SHA-256 of the first `length` bytes and `header`.
    pub pack: Id,
}

/// Bytes of a cut upload that belong to no object yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// The upload.
    pub upload: UploadId,
    /// Bytes below this became a pack of a partial set (0: none did).
    pub start: u64,
    /// Bytes that are there, counted from the start of the upload.
    pub end: u64,
}

/// Hub to laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToLaptop {
    /// Answer to `Begin`.
    Welcome {
        /// [`PROTOCOL`] of the hub.
        protocol: u16,
        /// Number of the set that this visit makes. Above every one that the hub holds, has tails of, or the laptop
        /// named in `last`; a number under which bytes arrived is never given again, so there may be gaps.
        set: SetSeq,
        /// The newest sealed set of this laptop.
        last: Option<SetRef>,
        /// SHA-256 of the `config` that the hub holds for this laptop.
        repository: Option<Id>,
        /// What was cut and can be salvaged, oldest first; at most [`TAILS_MAX`].
        tails: Vec<Tail>,
        /// Room left for this laptop, in bytes.
        room_bytes: u64,
        /// Signed words on the newest sets, in the order of the sets: `on-hub` for those above the laptop's `last`,
        /// `upstream` for every one that is forwarded. At most [`RECEIPTS_MAX`], the newest.
        receipts: Vec<Signed>,
        /// The hub takes no set now: `OpenSet` would be refused. It may be read from. Hubs before this field say nothing.
        #[serde(default)]
        full: Option<Full>,
        /// Packs of this laptop were removed because room was needed: one that is `Missing` is upstream only. Hubs before
        /// this field remove none.
        #[serde(default)]
        reclaimed: bool,
    },
    /// Answer to `Salvage`.
    Salvaged {
        /// Which tail.
        upload: UploadId,
        /// The pack it became; `None`: the bytes are not what the laptop sent, they are dropped.
        pack: Option<Id>,
        /// The pack's size in bytes, header included. Without a pack: 0, or the end of what is left of the tail, which
        /// was synced before the hub's power went and may be salvaged by a second `Salvage`.
        length: u64,
    },
    /// Everything sent before this mark is durable: data and folder entries are synced.
    Acknowledged {
        /// The mark.
        mark: Mark,
    },
    /// Answer to `Commit`: the set is complete and on the hub; before `Goodbye`: the visit's set is, as a partial one. A
    /// signed [`crate::Receipt`].
    Receipt {
        /// The hub's signed word.
        receipt: Signed,
    },
    /// Answer to `List`: ids in ascending order.
    Listing {
        /// At most [`LISTING_IDS_MAX`].
        ids: Vec<Id>,
        /// More follow after the last one.
        more: bool,
    },
    /// Answer to `Fetch`. Fewer bytes than asked for: the object ends here.
    Fetched {
        /// The bytes.
        bytes: Bytes,
        /// Size of the whole object.
        object_length: u64,
    },
    /// Answer to `Fetch` or `FetchManifest`: not here.
    Missing,
    /// Answer to `FetchManifest`.
    ManifestOf {
        /// As the laptop signed it.
        manifest: Signed,
    },
    /// The visit ends here.
    Refused {
        /// Why.
        why: Refusal,
    },
    /// "I am here."
    KeepAlive,
    /// Answer to `Goodbye`: what is to be sealed is sealed.
    Goodbye,
    /// Answer to `Fetch`, where the laptop knows it: the pack was removed because room was needed, and what is upstream
    /// can't be read now.
    Unavailable {
        /// One line for people; at most [`WHY_SIZE_BYTES_MAX`] bytes count.
        why: String,
    },
}

/// Of [`ToLaptop::Unavailable`]: a server's own words may be among it.
pub const WHY_SIZE_BYTES_MAX: usize = 512;

/// Receipts in one `Welcome`.
pub const RECEIPTS_MAX: usize = 64;

/// What a hub that takes no set now waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// This laptop's quota is used up; the hub itself has room.
    pub is_quota: bool,
    /// Bytes of sealed sets that are not upstream: of all laptops, or, where the quota is used up, of this one.
    pub waiting_bytes: u64,
    /// When the oldest of these was sealed, by the hub's wall clock, nanoseconds since 1970. `None`: there are none.
    pub waiting_since_ns: Option<i64>,
    /// There is an upstream that these wait for.
    pub has_upstream: bool,
}

impl Full {
    /// One line for a person, given how they write sizes and times.
    #[must_use]
    pub fn in_words(&self, size: impl Fn(u64) -> String, time: impl Fn(i64) -> String) -> String {
        let what = if self.is_quota {
            "this laptop's quota on the hub is used up"
        } else {
            "the hub is full"
        };
        let waiting = size(self.waiting_bytes);
        match (self.waiting_since_ns.map(time), self.has_upstream) {
            (None, _) => format!("{what}, and nothing there waits for the upstream"),
            (Some(_), false) => format!("{what}: {waiting} wait there, and no upstream is set"),
            (Some(since), true) => {
                format!("{what}: {waiting} have waited for the upstream since {since}")
            }
        }
    }

    /// What the person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match (self.waiting_since_ns, self.has_upstream) {
            (None, _) => "Give the hub's disk room, or raise `spool_max` or `quota` in its settings.",
            (Some(_), false) => "Set one on the hub: `berthctl upstream set URL`.",
            (Some(_), true) => {
                "Nothing is lost: backups go on by themselves once the upstream has them; `berthctl status` on the hub \
                 says what that waits for."
            }
        }
    }
}

/// Why a hub ends a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The laptop speaks a newer protocol.
    #[error("this hub speaks an older protocol")]
    Protocol,
    /// Revoked, possibly in the middle of a visit.
    #[error("this hub no longer knows this laptop")]
    Revoked,
    /// No room.
    #[error("the hub is full")]
    Full,
    /// The hub's disk failed; nothing that was acknowledged is lost.
    #[error("the hub cannot write to its disk")]
    Disk,
    /// The laptop broke the protocol.
    #[error("laptop and hub disagree")]
    Disagree,
    /// Another visit of this laptop is under way.
    #[error("another visit of this laptop is under way")]
    Busy,
    /// The hub stops.
    #[error("the hub is stopping")]
    Stopping,
    /// The laptop came with another repository than before, or the hub's copy of its `config` has changed: the hub, which
    /// can't open it, sees no difference.
    #[error("this hub holds another repository of this laptop, or a damaged one")]
    OtherRepository,
}

impl Refusal {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Protocol => "Update the hub, then come back.",
            Self::Revoked => "Pair again: run `berthctl pair` on the hub and `berth pair CODE` here.",
            Self::Full => {
                "Nothing is lost. Give the hub's disk room (see `berthctl status`); the backup then goes on where it \
                 stopped."
            }
            Self::Disk => {
                "Nothing that was acknowledged is lost. Look at the hub's disk; see `berthctl status`."
            }
            Self::Disagree => "Update both laptop and hub, then try again.",
            Self::Busy => "Wait for the other visit to end, or stop the other program.",
            Self::Stopping => "The hub will be back; the backup then goes on where it stopped.",
            Self::OtherRepository => {
                "Run `berthctl verify` on the hub: if it names a damaged config, put the upstream's copy in its place. Else \
                 restore the laptop's old state folder, or revoke the laptop on the hub and pair again."
            }
        }
    }
}
