//! Files of blocks: the catalogue of the last set and the scan of this visit. A block holds the entries of one folder;
//! a folder's block is written after those of its folders, which it names by offset.
//!
//! Place: scan and archiver <-> [`BlockFile`] <-> the laptop's state folder.
//! Invariant: written bytes never change. What counts is what a synced record elsewhere points to; anything after
//! that is cut off when the file is opened. So a new catalogue shares the blocks of folders that did not change with
//! the one before, and costs only what changed.

mod compact;

use std::io;

use berth_disk::{Disk, DiskFile, SharedDisk};
use berth_repository::Id;

use crate::encoding::{Damaged, Reader, put_number};

pub(crate) use compact::{compact, is_due};

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRef {
    pub(crate) offset: u64,
    /// With its check bytes.
    pub(crate) length: u64,
}

impl BlockRef {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        put_number(out, self.offset);
        put_number(out, self.length);
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            offset: reader.number()?,
            length: reader.number()?,
        })
    }
}

/// First bytes of a block's SHA-256 at its end: a disk that forgot a write is noticed.
const CHECK_BYTES: usize = 8;

/// Bytes gathered before they are written.
const BUFFER_SIZE_BYTES: usize = 256 * 1024;

/// Largest block that is read: the entries of one folder with millions of files. A bound for damaged references.
const BLOCK_SIZE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// An append-only file of blocks.
pub(crate) struct BlockFile {
    disk: SharedDisk,
    path: String,
    file: Box<dyn DiskFile>,
    written: u64,
    buffer: Vec<u8>,
}

impl BlockFile {
    /// A new, empty file in place of any other at `path`.
    pub(crate) fn create(disk: SharedDisk, path: String) -> io::Result<Self> {
        remove_if_there(&*disk, &path)?;
        let file = disk.create(&path)?;
        Ok(Self {
            disk,
            path,
            file,
            written: 0,
            buffer: Vec::new(),
        })
    }

    /// Opens the file and cuts off what lies after `length`. [`io::ErrorKind::UnexpectedEof`] if it is shorter.
    pub(crate) fn open(disk: SharedDisk, path: String, length: u64) -> io::Result<Self> {
        let there = disk.len(&path)?.unwrap_or(0);
        if there < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut file = disk.open(&path)?;
        if there > length {
            file.truncate(length)?;
        }
        Ok(Self {
            disk,
            path,
            file,
            written: length,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends a block. Durable after [`BlockFile::sync`].
    pub(crate) fn append(&mut self, entries: &[u8]) -> io::Result<BlockRef> {
        let offset = self.length();
        let check = Id::of(entries);
        self.buffer.extend_from_slice(entries);
        self.buffer
            .extend_from_slice(check.as_bytes().get(..CHECK_BYTES).unwrap_or_default());
        if self.buffer.len() >= BUFFER_SIZE_BYTES {
            self.flush()?;
        }
        Ok(BlockRef {
            offset,
            length: (entries.len() + CHECK_BYTES) as u64,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()?;
        self.disk.sync_dir(berth_disk::parent(&self.path))
    }

    /// The entries of a block. [`io::ErrorKind::InvalidData`] if it is not as it was written.
    pub(crate) fn read(&mut self, block: BlockRef) -> io::Result<Vec<u8>> {
        if block.offset.saturating_add(block.length) > self.written {
            self.flush()?;
        }
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, Damaged);
        let length = usize::try_from(block.length.min(BLOCK_SIZE_BYTES_MAX)).map_err(|_| damaged())?;
        if block.length > BLOCK_SIZE_BYTES_MAX || block.offset.saturating_add(block.length) > self.written {
            return Err(damaged());
        }
        let mut bytes = self.disk.read_range(&self.path, block.offset, length)?;
        let entries = length.checked_sub(CHECK_BYTES).ok_or_else(damaged)?;
        let check = bytes.split_off(entries);
        if Id::of(&bytes).as_bytes().starts_with(&check) {
            Ok(bytes)
        } else {
            Err(damaged())
        }
    }
}

/// Removes a file; a missing one is no error.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &str) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use berth_disk::OsDisk;

    use super::*;

    #[test]
    fn blocks_come_back_also_after_the_file_was_opened_again_and_its_end_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let mut file = BlockFile::create(disk.clone(), "c".into()).unwrap();
        let one = file.append(b"one").unwrap();
        assert_eq!(file.read(one).unwrap(), b"one");
        let two = file.append(b"").unwrap();
        let length = file.length();
        file.append(b"never recorded").unwrap();
        file.sync().unwrap();
        drop(file);
        let mut file = BlockFile::open(disk.clone(), "c".into(), length).unwrap();
        assert_eq!(file.read(two).unwrap(), b"");
        let three = file.append(b"three").unwrap();
        assert_eq!(file.read(three).unwrap(), b"three");
        assert_eq!(file.read(one).unwrap(), b"one");
    }

    #[test]
    fn a_damaged_block_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let mut file = BlockFile::create(disk.clone(), "c".into()).unwrap();
        let block = file.append(b"one").unwrap();
        file.sync().unwrap();
        std::fs::write(folder.path().join("c"), b"One12345678").unwrap();
        assert!(file.read(block).is_err());
        let wrong = BlockRef {
            offset: 5,
            length: u64::MAX,
        };
        assert!(file.read(wrong).is_err());
        assert!(BlockFile::open(disk, "c".into(), 1000).is_err());
    }
}
