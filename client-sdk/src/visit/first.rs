//! The newest work first: small files that changed last.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::PathBuf;

use crate::scan::Changed;
use crate::{Metadata, Timestamp};

/// Files read first: their entries stay in memory until the second pass comes by, some hundred bytes each.
const FILES_MAX: usize = 4096;

/// Bytes of these files: two seconds of a typical link.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A small file: what a person writes, rather than what a program keeps.
const FILE_SIZE_BYTES_MAX: u64 = 1024 * 1024;

/// A file to be read first.
#[derive(Debug, Clone)]
pub(super) struct FirstFile {
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
}

/// Keeps the newest of the small files that the scan finds.
#[derive(Default)]
pub(super) struct Newest {
    /// The oldest of them on top, to be dropped for a newer one.
    heap: BinaryHeap<Reverse<(Timestamp, PathBuf)>>,
    metadata: std::collections::BTreeMap<PathBuf, Metadata>,
}

impl Newest {
    pub(super) fn offer(&mut self, changed: &Changed<'_>) {
        if changed.metadata.size > FILE_SIZE_BYTES_MAX {
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
                self.metadata.remove(&path);
            }
        }
        self.metadata.insert(changed.path.to_owned(), *changed.metadata);
        self.heap
            .push(Reverse((changed.metadata.modified, changed.path.to_owned())));
    }

    /// The files, newest first.
    pub(super) fn into_files(mut self) -> VecDeque<FirstFile> {
        let mut bytes = 0;
        let mut files = VecDeque::new();
        // Ascending order of `Reverse` is descending order of times.
        for Reverse((_, path)) in self.heap.into_sorted_vec() {
            if let Some(metadata) = self.metadata.remove(&path) {
                bytes += metadata.size;
                if bytes > BYTES_MAX {
                    break;
                }
                files.push_back(FirstFile { path, metadata });
            }
        }
        files
    }
}
