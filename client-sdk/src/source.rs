//! What the archiver asks of the user's files.
//!
//! Place: [`crate::Visit`] -> [`Source`]; [`OsSource`] is the real one, tests have one in memory.
//! Invariant: nothing here follows a symlink in the last component or blocks on what is not a regular file.

mod os;

use std::io;
use std::path::Path;

pub use os::OsSource;

/// A point in time as file systems keep it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// 0 to 999,999,999, counted forward from `seconds` also before 1970.
    pub nanoseconds: u32,
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket: left out and counted.
    Socket,
    /// What this system has and we do not know: left out and named.
    Unknown,
}

/// What `lstat` tells of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky: `st_mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes; meaningful for regular files.
    pub size: u64,
    /// When the content last changed.
    pub modified: Timestamp,
    /// When content, owner, mode or xattrs last changed; cannot be set by programs.
    pub changed: Timestamp,
    /// Number of the inode.
    pub inode: u64,
    /// The file system it lies on.
    pub device: u64,
    /// Names of this inode.
    pub links: u64,
    /// Device number of a device node, as in `st_rdev`.
    pub device_number: u64,
}

/// Extended attributes: names with their name space, and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The user's files. Paths are absolute; names are bytes, not always UTF-8.
pub trait Source: Send {
    /// What the entry itself is; symlinks are not followed.
    ///
    /// # Errors
    /// Those of the system. [`io::ErrorKind::NotFound`]: it vanished.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Names of a folder's entries in any order, without `.` and `..`.
    ///
    /// # Errors
    /// As [`Source::metadata`].
    fn read_folder(&self, path: &Path) -> io::Result<Vec<Vec<u8>>>;
    /// Opens a regular file for reading. Never blocks, never follows a symlink in the last component.
    ///
    /// # Errors
    /// As [`Source::metadata`]; an error too if it is not a regular file any more.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SourceFile>>;
    /// Where a symlink points.
    ///
    /// # Errors
    /// As [`Source::metadata`].
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Extended attributes of the entry itself, sorted by name.
    ///
    /// # Errors
    /// As [`Source::metadata`]. A file system without extended attributes has none: no error.
    fn xattrs(&self, path: &Path) -> io::Result<Xattrs>;
    /// Name of a user, empty if it has none.
    fn user_name(&self, uid: u32) -> String;
    /// Name of a group, empty if it has none.
    fn group_name(&self, gid: u32) -> String;
}

/// One open regular file, read from its start to its end.
pub trait SourceFile: Send {
    /// Metadata of the open file.
    ///
    /// # Errors
    /// Those of the system.
    fn metadata(&self) -> io::Result<Metadata>;
    /// The next bytes; 0 at the end. Holes read as zeros.
    ///
    /// # Errors
    /// Those of the system.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}
