//! What a tree says about one file, folder or other thing.

use std::ffi::OsString;
use std::path::PathBuf;

use berth_repository::Id;

/// A point in time: seconds since 1970 (negative before) and the nanoseconds that follow, 0 to 999,999,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// What is missing to the next second.
    pub nanoseconds: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// Its full name, such as `user.comment`.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: its chunks in order.
    File {
        /// Ids of the chunks whose contents, one after the other, are the file.
        content: Vec<Id>,
    },
    /// A folder.
    Folder {
        /// Id of the tree that lists its entries; a damaged snapshot may lack it.
        tree: Option<Id>,
    },
    /// A symbolic link and the path it holds.
    Symlink {
        /// Not followed by anything here.
        target: PathBuf,
    },
    /// A named pipe.
    Fifo,
    /// A character device: its number as `st_rdev` holds it.
    CharDevice(u64),
    /// A block device: its number as `st_rdev` holds it.
    BlockDevice(u64),
    /// A socket. Restoring leaves it out: it has no meaning without the program that made it.
    Socket,
}

/// One entry of a tree. Names and numbers are as the repository has them: nothing is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, any bytes.
    pub name: OsString,
    /// File, folder or other.
    pub kind: Kind,
    /// Permission bits with setuid (04000), setgid (02000) and sticky (01000).
    pub mode: u32,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// When the content was last changed.
    pub modified: Option<Time>,
    /// When the content was last read, as far as known.
    pub accessed: Option<Time>,
    /// Size of a file in bytes, as the tree says.
    pub size_bytes: u64,
    /// How many names the file had.
    pub links: u64,
    /// Number of the file on its device; entries with the same pair are names of one file.
    pub inode: u64,
    /// Number of the device.
    pub device: u64,
    /// Extended attributes.
    pub attributes: Vec<ExtendedAttribute>,
}

impl Entry {
    /// Whether it is a folder.
    #[must_use]
    pub const fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder { .. })
    }

    /// Whether it is a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File { .. })
    }

    /// The chunks of a file; nothing else has any.
    #[must_use]
    pub fn content(&self) -> &[Id] {
        match &self.kind {
            Kind::File { content } => content,
            _ => &[],
        }
    }

    /// Whether both are names of one and the same file, as far as the repository tells. A partial snapshot may hold an
    /// older version under one name and a newer one under the other: those are two files.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode
            && self.device == other.device
            && self.kind == other.kind
            && self.mode == other.mode
            && (self.uid, self.gid) == (other.uid, other.gid)
            && self.modified == other.modified
            && self.attributes == other.attributes
    }
}
