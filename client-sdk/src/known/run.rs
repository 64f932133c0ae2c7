//! One run: sorted keys of 32 bytes, then the first 8 bytes of the first key of each page, then the number of keys.

use std::io;

use berth_disk::{Disk, DiskFile, SharedDisk};

const KEY_BYTES: usize = 32;

/// Keys read for one look-up: 4 KiB, a page of the system's cache.
const PAGE_KEYS: usize = 128;

/// Keys written or merged at a time.
const BUFFER_KEYS: usize = 8 * 1024;

/// Marks the end of a whole run.
const MAGIC: &[u8; 8] = b"berthrun";

/// Magic and count.
const TRAILER_BYTES: u64 = 16;

fn prefix(key: &[u8; KEY_BYTES]) -> u64 {
    key.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// A run that is open for reading.
pub(crate) struct Run {
    path: String,
    number: u64,
    count: u64,
    /// Of the first key of each page.
    prefixes: Vec<u64>,
}

impl Run {
    pub(super) fn open(disk: &SharedDisk, folder: &str, number: u64) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a run of known chunks is damaged");
        let path = format!("{folder}/{number}");
        let length = disk.len(&path)?.ok_or_else(damaged)?;
        let trailer_at = length.checked_sub(TRAILER_BYTES).ok_or_else(damaged)?;
        let trailer = disk.read_range(&path, trailer_at, TRAILER_BYTES as usize)?;
        let count = trailer
            .strip_prefix(MAGIC)
            .and_then(|count| count.try_into().ok())
            .map(u64::from_le_bytes)
            .ok_or_else(damaged)?;
        let pages = count.div_ceil(PAGE_KEYS as u64);
        let keys_bytes = count.checked_mul(KEY_BYTES as u64).ok_or_else(damaged)?;
        if keys_bytes.checked_add(pages * 8) != Some(trailer_at) {
            return Err(damaged());
        }
        let bytes = disk.read_range(&path, keys_bytes, (trailer_at - keys_bytes) as usize)?;
        let (prefixes, _) = bytes.as_chunks::<8>();
        let prefixes = prefixes.iter().copied().map(u64::from_be_bytes).collect();
        Ok(Self {
            path,
            number,
            count,
            prefixes,
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn contains(&self, disk: &dyn Disk, key: &[u8; KEY_BYTES]) -> io::Result<bool> {
        let wanted = prefix(key);
        // The page before the first that begins above, and those before it that begin with the very same bytes.
        let mut page = self.prefixes.partition_point(|first| *first <= wanted);
        while page > 0 {
            page -= 1;
            let keys = self.page(disk, page)?;
            let (keys, _) = keys.as_chunks::<KEY_BYTES>();
            if keys.binary_search(key).is_ok() {
                return Ok(true);
            }
            if self.prefixes.get(page) != Some(&wanted) {
                break;
            }
        }
        Ok(false)
    }

    fn page(&self, disk: &dyn Disk, page: usize) -> io::Result<Vec<u8>> {
        let first = page as u64 * PAGE_KEYS as u64;
        let keys = self.count.saturating_sub(first).min(PAGE_KEYS as u64) as usize;
        disk.read_range(&self.path, first * KEY_BYTES as u64, keys * KEY_BYTES)
    }
}

/// Writes a run, key by key in ascending order.
pub(crate) struct RunWriter {
    path: String,
    number: u64,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    count: u64,
    prefixes: Vec<u64>,
}

impl RunWriter {
    pub(super) fn create(disk: &SharedDisk, folder: &str, number: u64) -> io::Result<Self> {
        let path = format!("{folder}/{number}");
        Ok(Self {
            file: disk.create(&path)?,
            path,
            number,
            buffer: Vec::with_capacity(BUFFER_KEYS * KEY_BYTES),
            count: 0,
            prefixes: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, key: [u8; KEY_BYTES]) -> io::Result<()> {
        if self.count.is_multiple_of(PAGE_KEYS as u64) {
            self.prefixes.push(prefix(&key));
        }
        self.count += 1;
        self.buffer.extend_from_slice(&key);
        if self.buffer.len() >= BUFFER_KEYS * KEY_BYTES {
            self.file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// The file is synced, its folder is not.
    pub(super) fn finish(mut self) -> io::Result<Run> {
        for prefix in &self.prefixes {
            self.buffer.extend_from_slice(&prefix.to_be_bytes());
        }
        self.buffer.extend_from_slice(MAGIC);
        self.buffer.extend_from_slice(&self.count.to_le_bytes());
        self.file.append(&self.buffer)?;
        self.file.sync()?;
        Ok(Run {
            path: self.path,
            number: self.number,
            count: self.count,
            prefixes: self.prefixes,
        })
    }
}

/// Reads a run from its start to its end.
struct Keys<'a> {
    disk: &'a dyn Disk,
    run: &'a Run,
    read: u64,
    buffer: std::vec::IntoIter<[u8; KEY_BYTES]>,
}

impl<'a> Keys<'a> {
    fn new(disk: &'a dyn Disk, run: &'a Run) -> Self {
        Self {
            disk,
            run,
            read: 0,
            buffer: Vec::new().into_iter(),
        }
    }

    fn next(&mut self) -> io::Result<Option<[u8; KEY_BYTES]>> {
        if self.buffer.as_slice().is_empty() && self.read < self.run.count {
            let keys = (self.run.count - self.read).min(BUFFER_KEYS as u64) as usize;
            let offset = self.read * KEY_BYTES as u64;
            let bytes = self.disk.read_range(&self.run.path, offset, keys * KEY_BYTES)?;
            self.read += keys as u64;
            self.buffer = bytes.as_chunks::<KEY_BYTES>().0.to_vec().into_iter();
        }
        Ok(self.buffer.next())
    }
}

/// Merges two runs into one, without repeats. Holds one buffer of each.
pub(super) fn merge(disk: &dyn Disk, one: &Run, two: &Run, out: &mut RunWriter) -> io::Result<()> {
    let (mut left, mut right) = (Keys::new(disk, one), Keys::new(disk, two));
    let (mut a, mut b) = (left.next()?, right.next()?);
    loop {
        let least = match (a, b) {
            (Some(x), Some(y)) => x.min(y),
            (Some(x), None) | (None, Some(x)) => x,
            (None, None) => return Ok(()),
        };
        out.push(least)?;
        if a == Some(least) {
            a = left.next()?;
        }
        if b == Some(least) {
            b = right.next()?;
        }
    }
}
