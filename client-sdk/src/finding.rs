//! What a hub was found to have lost, changed or held back, although it had signed for it.

use berth_repository::Id;
use berth_wire::{ObjectKind, SetSeq};

/// One thing that was found. `Display` is a part of a sentence: "the hub has lost or changed ...: it shows set 3 ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// Its newest set is older than one that it has confirmed.
    #[error("it had confirmed set {confirmed}, and now {} is its newest", shown.map_or_else(|| "none".to_owned(), |set| format!("set {set}")))]
    OldState {
        /// The newest set that the laptop knows it to have confirmed.
        confirmed: SetSeq,
        /// The newest that it shows.
        shown: Option<SetSeq>,
    },
    /// It does not know what this set is made of, or names something else.
    #[error("it no longer knows set {set}")]
    Set {
        /// Which.
        set: SetSeq,
    },
    /// It has not got this object.
    #[error("{} {id} of set {set} is missing", noun(*kind))]
    Missing {
        /// What kind of object.
        kind: ObjectKind,
        /// Its id.
        id: Id,
        /// The set that has it.
        set: SetSeq,
    },
    /// What it has under this name is not what it was given.
    #[error("{} {id} of set {set} is damaged", noun(*kind))]
    Changed {
        /// What kind of object.
        kind: ObjectKind,
        /// Its id.
        id: Id,
        /// The set that has it.
        set: SetSeq,
    },
    /// A receipt that it gave does not bear its signature, or is for something else.
    #[error("its receipt for a set is not signed by it")]
    Receipt,
    /// It shows nothing.
    #[error("for {visits} complete visits it has shown nothing of what it has confirmed")]
    Unseen {
        /// Complete visits in a row.
        visits: u64,
    },
}

const fn noun(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Pack => "pack",
        ObjectKind::Index => "index",
        ObjectKind::Snapshot => "snapshot",
        ObjectKind::Page => "page",
        ObjectKind::Key => "key file",
        ObjectKind::Config => "config",
    }
}

impl Finding {
    /// What the person can do about all of these.
    pub const ADVICE: &'static str = "The next backup sends again what is still on this laptop. Look at the hub's disk: \
        `berthctl verify`; until it is well, do not rely on that hub alone.";
}
