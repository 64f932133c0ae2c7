//! What can go wrong: an end of the whole ([`RestoreError`]) or of one entry ([`Trouble`]).

use std::error::Error;
use std::io;
use std::path::PathBuf;

use berth_repository::Id;

use crate::ObjectKind;

/// Ends the whole operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// No key file of the repository opens with this password.
    #[error("the recovery key does not open the repository {location}")]
    WrongKey {
        /// Where the repository lies.
        location: String,
    },
    /// The place holds no repository.
    #[error("there is no repository in {location}")]
    NoRepository {
        /// The place.
        location: String,
    },
    /// An object is missing, damaged or can't be read.
    #[error("can't read {what}")]
    Unreadable {
        /// What was to be read.
        what: String,
        /// Why, in one line.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nothing more comes from the place. What was restored before is whole.
    #[error("lost the connection to {location}")]
    Lost {
        /// The place.
        location: String,
    },
    /// The snapshot has no such path.
    #[error("{} is not in the snapshot", .path.display())]
    NotInSnapshot {
        /// The path, as asked for.
        path: PathBuf,
    },
    /// A file was needed, but the path is something else.
    #[error("{} is not a file", .path.display())]
    NotAFile {
        /// The path, as asked for.
        path: PathBuf,
    },
    /// A path with `..` in it.
    #[error("{} climbs with `..`", .path.display())]
    BadPath {
        /// The path, as asked for.
        path: PathBuf,
    },
    /// The folder to restore into can't be used, or its disk is full.
    #[error("can't write into {}", .path.display())]
    Target {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The receiver of a file's content did not take it.
    #[error("can't pass the content on")]
    Output(#[source] io::Error),
}

impl RestoreError {
    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::WrongKey { .. } => "Check the recovery key. Every group of it counts, case too.",
            Self::NoRepository { .. } => "Name the folder that holds `config`, `keys`, `data`.",
            Self::Unreadable { .. } => LeftOut::ADVICE,
            Self::Lost { .. } => "Do the same again: it goes on where it stopped.",
            Self::NotInSnapshot { .. } => "List the snapshot to see its paths; they are absolute.",
            Self::NotAFile { .. } => "Restore a folder, or name a file in it.",
            Self::BadPath { .. } => "Name the path without `..`.",
            Self::Target { .. } => "Make room or choose another folder. What is restored already is whole.",
            Self::Output(_) => "Run it again; nothing was changed.",
        }
    }
}

/// A snapshot, index or key file that is damaged, or that is listed and not given, and was done without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("can't read {} {id} ({why})", self.what())]
pub struct LeftOut {
    /// [`ObjectKind::Snapshot`]: it is not in [`Repository::snapshots`](crate::Repository::snapshots).
    /// [`ObjectKind::Index`]: what no other index file finds counts as missing. [`ObjectKind::Key`]: another one has opened
    /// the repository.
    pub kind: ObjectKind,
    /// Its name.
    pub id: Id,
    /// Why, in one line.
    pub why: String,
}

impl LeftOut {
    /// What the person can do about it.
    pub const ADVICE: &str = "`berthctl verify` on the hub names what is damaged there, `restic check --read-data` what \
        is damaged upstream. What is damaged on one side may be whole on the other.";

    const fn what(&self) -> &'static str {
        match self.kind {
            ObjectKind::Config => "the config",
            ObjectKind::Key => "the key file",
            ObjectKind::Snapshot => "the snapshot",
            ObjectKind::Index => "the index file",
            ObjectKind::Pack => "the pack",
        }
    }
}

/// Why one entry is not restored, or not wholly. The others are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// A name that is empty, `.`, `..` or has a slash or a zero byte in it: nobody's file has one.
    #[error("a name that no file can have; left out")]
    BadName,
    /// Something of another kind has this name in the target; nothing of the user's is removed to make room.
    #[error("something else has this name in the target; left out")]
    Occupied,
    /// A folder without a list of its entries.
    #[error("the repository does not say what is in this folder")]
    NoTree,
    /// A chunk or a tree is missing or damaged.
    #[error("can't read its content; left out")]
    Content(#[source] Box<dyn Error + Send + Sync>),
    /// The file was there before, and is not what the snapshot has. It was not touched.
    #[error("is there already and differs; left as it is")]
    Exists,
    /// Content and size do not go together. The file is restored with all of its content.
    #[error("has {actual_bytes} bytes of content, {expected_bytes} were announced")]
    Size {
        /// What the chunks add up to.
        actual_bytes: u64,
        /// What the tree says.
        expected_bytes: u64,
    },
    /// Only root can make device nodes.
    #[error("making a device node needs root; left out")]
    NeedsRoot,
    /// The file of which this is another name is not there.
    #[error("can't be linked to {}", .first.display())]
    Link {
        /// Its first name.
        first: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The entry is there, but without this extended attribute.
    #[error("the extended attribute {name} can't be set")]
    Attribute {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operating system refused.
    #[error("can't be written")]
    Disk(#[source] io::Error),
}

/// An entry that is not, or not wholly, restored.
#[derive(Debug, thiserror::Error)]
#[error("{}: {trouble}{}", .path.display(), cause(.trouble))]
pub struct Problem {
    /// Its path in the snapshot.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub trouble: Trouble,
}

fn cause(trouble: &Trouble) -> String {
    trouble
        .source()
        .map_or_else(String::new, |source| format!(" ({source})"))
}
