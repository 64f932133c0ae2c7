//! What a place far away is asked for.

use std::io;
use std::ops::Range;

use berth_bridge::repository_path;
use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::{Bytes, BytesMut};

/// restic's file of what a repository is.
pub(crate) const CONFIG: &str = "config";

/// restic's folders, as they are listed.
pub(crate) const DATA: &str = "data";
pub(crate) const LOCKS: &str = "locks";

/// What a listing tells of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Without its folder.
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    /// By the storage's clock, nanoseconds since 1970, where it says so.
    pub(crate) changed_at_ns: Option<i64>,
}

/// Takes what is found. Listings may have 100,000s of entries.
pub(crate) type Each<'a> = &'a mut (dyn FnMut(Found) + Send);

/// What is read of a file.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// All of one that is no larger than this.
    Whole { size_bytes_max: u64 },
    /// A part of it, of what there is of that; not empty.
    Part(Range<u64>),
}

impl Wanted {
    /// Most that comes of it.
    pub(crate) const fn size_bytes_max(&self) -> u64 {
        match self {
            Self::Whole { size_bytes_max } => *size_bytes_max,
            Self::Part(range) => range.end - range.start,
        }
    }

    /// Takes it out of pieces of the file, which come from `offset` on.
    pub(crate) fn from(&self, offset: u64) -> Pieces {
        let range = match self {
            // One byte more than may be there: what is larger shows.
            Self::Whole { size_bytes_max } => 0..size_bytes_max + 1,
            Self::Part(range) => range.clone(),
        };
        Pieces {
            range,
            offset,
            bytes: BytesMut::new(),
        }
    }
}

/// What is wanted, as it comes. Holds no more than that.
pub(crate) struct Pieces {
    range: Range<u64>,
    /// Where the next piece begins.
    offset: u64,
    bytes: BytesMut,
}

impl Pieces {
    /// Bytes until everything wanted is there.
    pub(crate) const fn missing_bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.offset)
    }

    pub(crate) fn add(&mut self, piece: &[u8]) {
        let ends_at = self.offset + piece.len() as u64;
        let within = |at: u64| {
            let at = at.clamp(self.offset, ends_at) - self.offset;
            usize::try_from(at).unwrap_or(piece.len())
        };
        let wanted = piece.get(within(self.range.start)..within(self.range.end));
        self.bytes.extend_from_slice(wanted.unwrap_or_default());
        self.offset = ends_at;
    }

    /// The file ends here, or everything is there.
    pub(crate) fn end(self) -> Bytes {
        self.bytes.freeze()
    }
}

/// Files of one repository, by their path below it. What one call leaves undone when it is dropped the next one can do.
pub(crate) trait Storage: Send {
    /// Whether a file is read back after it was written, as nothing else proves that it is there as it should be.
    const IS_READ_BACK: bool;

    /// Makes restic's folders, where there are folders.
    async fn prepare(&self) -> io::Result<()>;

    /// The files in a folder; those of [`DATA`] lie one deeper. None where there is no such folder.
    async fn list(&self, folder: &'static str, each: Each<'_>) -> io::Result<()>;

    /// What is wanted of a file, if the file is there.
    async fn read(&self, path: &str, wanted: &Wanted) -> io::Result<Option<Bytes>>;

    /// Writes a whole file, or nothing. Where the name is taken either may be there then.
    async fn write(&self, path: &str, bytes: Bytes) -> io::Result<()>;

    /// Removes a file that may not be there.
    async fn remove(&self, path: &str) -> io::Result<()>;
}

/// The folder whose files are objects of a kind.
pub(crate) const fn folder_of(kind: ObjectKind) -> Option<&'static str> {
    match kind {
        ObjectKind::Pack => Some(DATA),
        ObjectKind::Index => Some("index"),
        ObjectKind::Snapshot => Some("snapshots"),
        ObjectKind::Key => Some("keys"),
        ObjectKind::Config | ObjectKind::Page => None,
    }
}

/// The path of an object.
pub(crate) fn path_of(kind: ObjectKind, id: &Id) -> String {
    repository_path(kind, id)
}

pub(crate) fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the file there is larger than any of restic's",
    )
}
