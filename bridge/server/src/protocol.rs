//! What is asked and answered below `/~berth/`, as JSON. Ids are 64 hexadecimal digits.
//!
//! | request | answer |
//! |---|---|
//! | `GET waiting` | [`Waiting`] |
//! | `POST forward` | 202 |
//! | `GET KEY/sets` | [`ListedSet`]s, oldest first |
//! | `GET KEY/sets/N` | its [`Object`]s in the order of writing: config and keys, packs, index, snapshot |
//! | `GET KEY/sets/N/before` | the packs and the index of the sets before it: its snapshot may need them |
//! | `POST KEY/sets/N/confirm` with [`Confirm`] | [`Confirming`] |

use berth_repository::Id;
use berth_wire::{ObjectEntry, ObjectKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How the upstream is written that a server pulls for.
pub const PULL: &str = "pull:";

/// What waits to go upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What the hub is called.
    pub hub: String,
    /// Where its sets go: a URL, or `pull:SERVER`.
    pub upstream: Option<String>,
    /// Every laptop that has sets here.
    pub laptops: Vec<WaitingLaptop>,
}

/// What waits of one laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingLaptop {
    /// Its name; not unique.
    pub laptop: String,
    /// Its key.
    pub key: String,
    /// SHA-256 of its repository's `config`.
    pub repository: Option<Id>,
    /// Sets that are not upstream.
    pub sets_waiting: u64,
    /// Bytes of them.
    pub bytes_waiting: u64,
    /// When the oldest of them was sealed.
    pub waiting_since: Option<Timestamp>,
}

/// A sealed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSet {
    /// Its number.
    pub set: u64,
    /// Its snapshot.
    pub snapshot: Id,
    /// The upstream of now has confirmed it.
    pub confirmed: bool,
}

/// An object of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// `config`, `keys`, `data`, `index` or `snapshots`, as the REST protocol has it.
    pub kind: String,
    /// SHA-256 of its bytes.
    pub id: Id,
    /// How many.
    pub size: u64,
}

const KINDS: [(ObjectKind, &str); 5] = [
    (ObjectKind::Config, "config"),
    (ObjectKind::Key, "keys"),
    (ObjectKind::Pack, "data"),
    (ObjectKind::Index, "index"),
    (ObjectKind::Snapshot, "snapshots"),
];

/// The kind of an object by the name of its folder.
pub(crate) fn kind_of(word: &str) -> Option<ObjectKind> {
    KINDS.iter().find(|(_, one)| *one == word).map(|(kind, _)| *kind)
}

impl From<&ObjectEntry> for Object {
    fn from(entry: &ObjectEntry) -> Self {
        let word = KINDS.iter().find(|(kind, _)| *kind == entry.kind);
        Self {
            kind: word.map_or("", |(_, word)| word).to_owned(),
            id: entry.id,
            size: entry.length,
        }
    }
}

impl Object {
    /// `None`: a kind that there is not.
    pub(crate) fn entry(&self) -> Option<ObjectEntry> {
        Some(ObjectEntry {
            kind: kind_of(&self.kind)?,
            id: self.id,
            length: self.size,
        })
    }
}

/// A step of confirming a set. The first one is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// That of [`Confirming::Prove`].
    pub nonce: Option<Id>,
    /// HMAC-SHA256 with the nonce as its key, of each object that was asked for.
    pub proofs: Vec<Id>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum Confirming {
    /// Prove that these objects are there; the nonce is good for one try.
    Prove {
        /// The HMAC's key: 32 bytes, written as an id is.
        nonce: Id,
        /// The first one, in their order, counted from 0.
        from: usize,
        /// How many.
        count: usize,
    },
    /// All of the set is there, and so are those before: the hub counts it as upstream.
    Confirmed,
}
