//! What laptop and hub ask of a disk: files that are there after a power cut once they were synced.
//!
//! Place: spool, trust list, receipts and the laptop's state are written through [`Disk`]; [`OsDisk`] is the real
//! one, `berth-radio-sim` has one in memory that forgets what was not synced.
//! Invariant: nothing here hides a missing sync. Data is durable after [`DiskFile::sync`], a name (new, renamed or
//! removed) after [`Disk::sync_dir`] of its folder. Source of the model: Pillai et al., "All File Systems Are Not
//! Created Equal" (OSDI 2014), and `fsync(2)`.

mod os;

use std::io;
use std::sync::Arc;

pub use os::{FolderLock, OsDisk};

/// A disk shared by the parts of one program.
pub type SharedDisk = Arc<dyn Disk>;

/// Files below one root folder.
///
/// Paths are relative to the root, `/`-separated, without `.`, `..` or a leading `/`; anything else is
/// [`io::ErrorKind::InvalidInput`]. The empty path is the root itself. No call follows a symlink out of the root on
/// purpose: the folders belong to the program alone (mode 0700).
pub trait Disk: Send + Sync {
    /// Makes a new, empty file, open for appending. [`io::ErrorKind::AlreadyExists`] if the name is taken.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for appending.
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// The whole file. Refuses files over `size_bytes_max` with [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &str, size_bytes_max: u64) -> io::Result<Vec<u8>>;
    /// `length` bytes from `offset`; fewer than that is [`io::ErrorKind::UnexpectedEof`].
    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Size in bytes, or `None` where no such file is.
    fn len(&self, path: &str) -> io::Result<Option<u64>>;
    /// Renames a file, replacing the target in one step. Durable after `sync_dir` of both folders.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. A missing one is [`io::ErrorKind::NotFound`].
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes a folder and those above it. An existing one is no error. Durable once the folders above are synced.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Removes a folder with everything in it. A missing one is no error.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// Names of the entries (files and folders) of a folder, sorted; a missing folder has none.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Makes the folder's entries durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Room left, in bytes.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// One open file. It follows its file through a rename.
pub trait DiskFile: Send {
    /// Appends at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended so far durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Writes a small file so that after any power cut either the old or the new content is there, whole.
///
/// Writes `PATH.new`, syncs it, renames it over `path`, syncs the folder.
///
/// # Errors
/// Those of the disk; the old content is untouched then.
pub fn replace(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = format!("{path}.new");
    match disk.remove(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = disk.create(&fresh)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&fresh, path)?;
    disk.sync_dir(parent(path))
}

/// The folder of `path`: what stands before its last `/`, or the root.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Checks a path against the rules of [`Disk`].
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for an empty component, `.`, `..`, a leading `/` or a NUL byte.
pub fn checked(path: &str) -> io::Result<&str> {
    let fine = path.is_empty()
        || path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
    if fine {
        Ok(path)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a path that leaves its folder",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_climbs_is_refused() {
        for path in ["../x", "a/../b", "/etc", "a//b", "a/", "./a", "a\0b"] {
            assert!(checked(path).is_err(), "{path:?} was taken");
        }
        assert!(checked("").is_ok() && checked("a/b.c").is_ok());
    }

    #[test]
    fn parent_of_a_top_level_file_is_the_root() {
        assert_eq!(parent("a"), "");
        assert_eq!(parent("a/b/c"), "a/b");
    }
}
