//! What a visit counts and names, for the summary and for who watches it.

use std::path::PathBuf;

use super::{NOT_READ_NAMED_MAX, NotRead, NotReadReason, Progress};
use crate::Metadata;

/// Counts of a visit.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) progress: Progress,
    pub(super) content_files_read: u64,
    pub(super) sockets: u64,
    pub(super) not_read: Vec<NotRead>,
    pub(super) not_read_count: u64,
    /// Bytes of new and changed files whose chunks are stored or being sealed.
    pub(super) bytes_stored: u64,
    /// Of these, what belongs to the file being read.
    pub(super) bytes_of_file: u64,
}

impl Report {
    pub(super) fn not_read(&mut self, path: PathBuf, why: NotReadReason) {
        self.not_read_count += 1;
        if self.not_read.len() < NOT_READ_NAMED_MAX {
            self.not_read.push(NotRead { path, why });
        }
    }

    /// A chunk of a file was read.
    pub(super) fn read(&mut self, length: u64) {
        self.bytes_of_file += length;
        self.bytes_stored += length;
        self.progress.bytes_done += length;
    }

    /// The file that was being read has ended: as the scan counted it, however long it turned out to be.
    pub(super) fn finished(&mut self, scanned: &Metadata, read: u64) {
        self.progress.files_done += 1;
        let surplus = self.bytes_of_file.saturating_sub(scanned.size);
        self.progress.bytes_done =
            self.progress.bytes_done - surplus + scanned.size.saturating_sub(read.max(self.bytes_of_file));
        self.bytes_of_file = 0;
    }

    /// The file that was being read is read again later: it does not count yet.
    pub(super) fn given_up(&mut self) {
        self.bytes_stored -= self.bytes_of_file;
        self.progress.bytes_done -= self.bytes_of_file;
        self.bytes_of_file = 0;
    }

    /// A file is done without being read; `stored` bytes of it are there.
    pub(super) fn done(&mut self, scanned: &Metadata, stored: u64) {
        self.progress.files_done += 1;
        self.progress.bytes_done += scanned.size;
        self.bytes_stored += stored;
    }
}
