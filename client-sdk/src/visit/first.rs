//! The newest work first: small files that changed last.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::path::PathBuf;

use crate::scan::Changed;
use crate::{Metadata, Timestamp};

/// Files read first: their entries stay in memory until the second pass comes by, some hundred bytes each.
const FILES_MAX: usize = 4096;

/// One such file for this many changed bytes: until the second pass comes by, every checkpoint has its folder's tree.
const BYTES_PER_FILE: u64 = 4 * 1024 * 1024;

/// In any visit.
const FILES_MIN: usize = 16;

/// Entries of the last set's catalogue in its folder and those above it, in bytes, for the same reason.
const FOLDERS_SIZE_BYTES_MAX: u64 = 32 * 1024;

/// Bytes of these files: two seconds of a typical link.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A small file: what a person writes, rather than what a program keeps.
const FILE_SIZE_BYTES_MAX: u64 = 1024 * 1024;

/// A file to be read first.
#[derive(Debug, Clone)]
pub(super) struct FirstFile {
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
    /// What its folder and those above take in the catalogue.
    pub(super) folders_size_bytes: u64,
}

/// Keeps the newest of the small files that the scan finds.
#[derive(Default)]
pub(super) struct Newest {
    /// The oldest of them on top, to be dropped for a newer one.
    heap: BinaryHeap<Reverse<(Timestamp, PathBuf)>>,
    found: BTreeMap<PathBuf, (Metadata, u64)>,
}

impl Newest {
    pub(super) fn offer(&mut self, changed: &Changed<'_>) {
        if changed.metadata.size > FILE_SIZE_BYTES_MAX || changed.folders_size_bytes > FOLDERS_SIZE_BYTES_MAX
        {
            return;
        }
        let is_newer = self
            .heap
            .peek()
            .is_none_or(|Reverse((oldest, _))| changed.metadata.modified > *oldest);
        if self.heap.len() >= FILES_MAX {
            if !is_newer {
                return;
            }
            if let Some(Reverse((_, path))) = self.heap.pop() {
                self.found.remove(&path);
            }
        }
        let found = (*changed.metadata, changed.folders_size_bytes);
        self.found.insert(changed.path.to_owned(), found);
        self.heap
            .push(Reverse((changed.metadata.modified, changed.path.to_owned())));
    }

    /// The files, newest first.
    pub(super) fn into_files(mut self, bytes_changed: u64) -> VecDeque<FirstFile> {
        let count = usize::try_from(bytes_changed / BYTES_PER_FILE).unwrap_or(FILES_MAX);
        let count = count.clamp(FILES_MIN, FILES_MAX);
        let mut bytes = 0;
        let mut files = VecDeque::new();
        // Ascending order of `Reverse` is descending order of times.
        for Reverse((_, path)) in self.heap.into_sorted_vec() {
            if let Some((metadata, folders_size_bytes)) = self.found.remove(&path) {
                bytes += metadata.size;
                if bytes > BYTES_MAX || files.len() >= count {
                    break;
                }
                files.push_back(FirstFile {
                    path,
                    metadata,
                    folders_size_bytes,
                });
            }
        }
        files
    }
}
