//! From what the scan found to chunks, trees and the new catalogue.
//!
//! Place: scan's file -> [`Work::step`] -> [`Sink`]. Two passes: a bounded number of small, recently changed files, whose
//! entries are kept; then all folders in tree order, which takes those entries where it comes by.
//! Memory: one folder for each level of depth (its entries in the scan, its new entries and its tree), the entries of the
//! first pass, and the buffer of the chunker.
//! Invariant: between two steps everything that was read is stored or being sealed: a checkpoint can be made there.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use berth_repository::{BlobKind, TreeWriter};

use super::file::{FileEnd, FileRead, is_fresh, xattrs_of};
use super::first::FirstFile;
use super::links::Links;
use super::memory::CatalogueRef;
use super::node::node;
use super::report::Report;
use super::sink::Sink;
use super::{NotReadReason, VisitError};
use crate::catalogue::{BlockFile, BlockRef};
use crate::chunker::Chunker;
use crate::encoding::Reader;
use crate::entry::{Content, Entry};
use crate::scan::{Found, OldEntries};
use crate::{FileKind, Metadata, Source};

/// The pipeline from files to packs.
pub(super) struct Work {
    pub(super) source: Box<dyn Source>,
    pub(super) sink: Sink,
    pub(super) catalogue: BlockFile,
    pub(super) catalogue_number: u64,
    pub(super) scan: BlockFile,
    pub(super) chunker: Chunker,
    pub(super) links: Links,
    pub(super) report: Report,
    /// Still to be read in the first pass.
    pub(super) first: VecDeque<FirstFile>,
    /// Read in the first pass, by path, and how many of them the second pass has not come by.
    pub(super) done_first: BTreeMap<PathBuf, Entry>,
    pub(super) first_left: usize,
    /// What their folders take in the catalogue, a folder counted for each of its files.
    pub(super) first_size_bytes: u64,
    /// From `/` to where the second pass is.
    pub(super) frames: Vec<Frame>,
    pub(super) reading: Option<Reading>,
}

/// A folder that the second pass is in.
pub(super) struct Frame {
    pub(super) path: PathBuf,
    pub(super) name: Vec<u8>,
    /// `None` for `/`.
    pub(super) metadata: Option<Metadata>,
    /// Its entries in the scan.
    pub(super) records: Vec<u8>,
    /// Up to where they are done.
    pub(super) at: usize,
    /// Its entries in the last catalogue.
    pub(super) old: Option<BlockRef>,
    /// Its entries in the new catalogue so far, and their tree.
    pub(super) out: Vec<u8>,
    pub(super) tree: TreeWriter,
    /// Bytes of the blocks below it.
    pub(super) weight: u64,
    /// Name of its last entry that is done.
    pub(super) last: Vec<u8>,
    /// The last moment in it at which the user could have left with all that was done.
    pub(super) affordable: Option<Moment>,
}

/// A moment of the visit, when the folder that has it was the one it was in, between two of its entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Bytes of the folder's entries in the new catalogue.
    pub(super) out: usize,
    /// As in the frame.
    pub(super) at: usize,
    pub(super) bytes_stored: u64,
    /// What its trees would take.
    pub(super) cost: u64,
}

/// A file being read, and what it counts for.
pub(super) struct Reading {
    pub(super) file: FileRead,
    pub(super) scanned: Metadata,
    pub(super) is_first: bool,
}

impl Frame {
    pub(super) fn new(
        path: PathBuf,
        name: Vec<u8>,
        metadata: Option<Metadata>,
        records: Vec<u8>,
        old: Option<BlockRef>,
    ) -> Self {
        Self {
            path,
            name,
            metadata,
            records,
            at: 0,
            old,
            out: Vec::new(),
            tree: TreeWriter::new(),
            weight: 0,
            last: Vec::new(),
            affordable: None,
        }
    }

    /// The next entry of the scan; `None` at the end.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Found>> {
        let mut reader = Reader(self.records.get(self.at..).unwrap_or_default());
        if reader.is_empty() {
            return Ok(None);
        }
        let before = reader.0.len();
        let found = Found::take(&mut reader)
            .map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))?;
        self.at += before - reader.0.len();
        Ok(Some(found))
    }

    /// The entries from `at` on.
    pub(super) fn rest(&self, at: usize) -> Rest<'_> {
        Rest {
            reader: Reader(self.records.get(at..).unwrap_or_default()),
            next: None,
        }
    }

    /// Adds an entry to the new catalogue and to the tree.
    pub(super) fn push(&mut self, entry: &Entry, source: &dyn Source) -> Result<(), VisitError> {
        self.tree
            .push(&node(entry, source))
            .map_err(|error| VisitError::Tree {
                path: self.path.clone(),
                error,
            })?;
        if let Content::Folder { weight, .. } = &entry.content {
            self.weight += weight;
        }
        entry.put(&mut self.out);
        self.last.clone_from(&entry.name);
        Ok(())
    }
}

/// Entries of the scan, read ahead of the work.
pub(super) struct Rest<'a> {
    reader: Reader<'a>,
    next: Option<Found>,
}

impl Rest<'_> {
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.next.is_some() || self.reader.is_empty() {
            return Ok(self.next.take());
        }
        let found = Found::take(&mut self.reader);
        found
            .map(Some)
            .map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))
    }

    pub(super) fn put_back(&mut self, found: Option<Found>) {
        self.next = found;
    }
}

impl Work {
    /// Does a small piece of work. `Some`: all is read and stored.
    pub(super) fn step(&mut self, now_ns: i128) -> Result<Option<CatalogueRef>, VisitError> {
        if let Some(reading) = self.reading.take() {
            self.read_on(reading)?;
            return Ok(None);
        }
        if let Some(next) = self.first.pop_front() {
            self.first_size_bytes += next.folders_size_bytes;
            let name = next.path.file_name().unwrap_or_default().as_bytes().to_vec();
            // One that fails is tried again, and told about, when the second pass comes by.
            if let Ok(entry) = self.open(next.path, name, next.metadata, true, now_ns) {
                self.file_done(entry, true)?;
            }
            return Ok(None);
        }
        let Some(frame) = self.frames.last_mut() else {
            return Ok(None);
        };
        match frame.next_record()? {
            None => return self.leave(),
            Some(Found::Same(entry)) => frame.push(&entry, &*self.source)?,
            Some(Found::New { name, metadata }) => self.entry(name, metadata, now_ns)?,
            Some(Found::Folder {
                name,
                metadata,
                block,
                old,
            }) => {
                let path = frame.path.join(OsStr::from_bytes(&name));
                let records = self.scan.read(block)?;
                self.frames
                    .push(Frame::new(path, name, Some(metadata), records, old));
            }
            Some(Found::Failed { name, error }) => {
                let path = frame.path.join(OsStr::from_bytes(&name));
                self.keep_previous(&path, &name, error)?;
            }
        }
        Ok(None)
    }

    /// A mark can be made now. In the first pass a file counts when it is done: until then no tree has any of it.
    pub(super) fn is_between_files(&self) -> bool {
        !self.reading.as_ref().is_some_and(|reading| reading.is_first)
    }

    fn entry(&mut self, name: Vec<u8>, metadata: Metadata, now_ns: i128) -> Result<(), VisitError> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let path = frame.path.join(OsStr::from_bytes(&name));
        if metadata.kind == FileKind::File {
            if let Some(entry) = self.done_first.get(&path) {
                self.first_left -= 1;
                return frame.push(entry, &*self.source);
            }
            return match self.open(path.clone(), name.clone(), metadata, false, now_ns) {
                Ok(entry) => self.file_done(entry, false),
                Err(error) => {
                    self.report.done(&metadata, 0);
                    self.failed(&path, &name, &error)
                }
            };
        }
        let content = if metadata.kind == FileKind::Symlink {
            match self.source.read_link(&path) {
                Ok(target) => Content::Symlink(target),
                Err(error) => return self.failed(&path, &name, &error),
            }
        } else {
            Content::Nothing
        };
        let (xattrs, why) = xattrs_of(&*self.source, &path);
        let entry = Entry {
            name,
            metadata,
            xattrs,
            content,
            unclean: is_fresh(&metadata, now_ns) || why.is_some(),
        };
        if let Some(why) = why {
            self.report.not_read(path, why);
        }
        frame.push(&entry, &*self.source)
    }

    /// Opens a file; `Some` if it is another name of one that was read already.
    fn open(
        &mut self,
        path: PathBuf,
        name: Vec<u8>,
        scanned: Metadata,
        is_first: bool,
        now_ns: i128,
    ) -> io::Result<Option<Entry>> {
        self.report.progress.path.clone_from(&path);
        if let Some(entry) = self.links.find(&name, &scanned) {
            self.report.done(&scanned, scanned.size);
            return Ok(Some(entry));
        }
        let file = FileRead::open(&*self.source, &mut self.chunker, path, name, now_ns)?;
        self.report.content_files_read += 1;
        self.reading = Some(Reading {
            file,
            scanned,
            is_first,
        });
        Ok(None)
    }

    fn read_on(&mut self, mut reading: Reading) -> Result<(), VisitError> {
        match reading.file.step(&mut self.chunker, &mut self.sink)? {
            Ok(Some(length)) => {
                self.report.read(length);
                self.reading = Some(reading);
                Ok(())
            }
            Ok(None) => self.finish_file(reading),
            Err(error) => self.reading_failed(&reading, &error),
        }
    }

    fn finish_file(&mut self, reading: Reading) -> Result<(), VisitError> {
        let Reading {
            file,
            scanned,
            is_first,
        } = reading;
        let path = file.path.clone();
        let name = file.name.clone();
        let size = file.size;
        match file.finish(&*self.source) {
            FileEnd::Done(entry, why) => {
                self.report.finished(&scanned, size);
                if let Some(why) = why {
                    self.report.not_read(path.clone(), why);
                }
                self.links.remember(&entry);
                self.report.progress.path = path;
                self.file_done(Some(*entry), is_first)
            }
            // It is tried again, and told about, in the second pass.
            FileEnd::Failed(_) if is_first => {
                self.report.given_up();
                Ok(())
            }
            FileEnd::Failed(error) => {
                self.report.finished(&scanned, size);
                self.failed(&path, &name, &error)
            }
        }
    }

    fn reading_failed(&mut self, reading: &Reading, error: &io::Error) -> Result<(), VisitError> {
        if reading.is_first {
            self.report.given_up();
            return Ok(());
        }
        self.report.finished(&reading.scanned, reading.file.size);
        let (path, name) = (reading.file.path.clone(), reading.file.name.clone());
        self.failed(&path, &name, error)
    }

    /// A file's entry is there (or, with `None`, is being read).
    fn file_done(&mut self, entry: Option<Entry>, is_first: bool) -> Result<(), VisitError> {
        match (entry, self.frames.last_mut()) {
            (Some(entry), _) if is_first => {
                self.done_first.insert(self.report.progress.path.clone(), entry);
                self.first_left += 1;
                Ok(())
            }
            (Some(entry), Some(frame)) => frame.push(&entry, &*self.source),
            (Some(_) | None, _) => Ok(()),
        }
    }

    fn failed(&mut self, path: &Path, name: &[u8], error: &io::Error) -> Result<(), VisitError> {
        if error.kind() == io::ErrorKind::NotFound {
            self.report.not_read(path.to_owned(), NotReadReason::Vanished);
            Ok(())
        } else {
            self.keep_previous(path, name, error.to_string())
        }
    }

    /// What cannot be read stays as it was in the last set; it is tried again at the next visit.
    fn keep_previous(&mut self, path: &Path, name: &[u8], error: String) -> Result<(), VisitError> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let previous = OldEntries::read(&mut self.catalogue, frame.old)?.and_then(|mut old| old.find(name));
        let why = match previous {
            Some(mut entry) => {
                entry.unclean = true;
                frame.push(&entry, &*self.source)?;
                NotReadReason::PreviousKept { error }
            }
            None => NotReadReason::LeftOut { error },
        };
        self.report.not_read(path.to_owned(), why);
        Ok(())
    }

    /// A folder is done: its tree is stored, its entry goes into the folder above.
    fn leave(&mut self) -> Result<Option<CatalogueRef>, VisitError> {
        let Some(frame) = self.frames.pop() else {
            return Ok(None);
        };
        let tree = self.sink.store(BlobKind::Tree, &frame.tree.finish())?;
        let block = self.catalogue.append(&frame.out)?;
        let weight = block.length + frame.weight;
        let (Some(above), Some(metadata)) = (self.frames.last_mut(), frame.metadata) else {
            return Ok(Some(CatalogueRef {
                number: self.catalogue_number,
                length: self.catalogue.length(),
                tree,
                block,
                weight,
                is_partial: false,
            }));
        };
        let (xattrs, why) = xattrs_of(&*self.source, &frame.path);
        let unclean = why.is_some();
        if let Some(why) = why {
            self.report.not_read(frame.path, why);
        }
        let entry = Entry {
            name: frame.name,
            metadata,
            xattrs,
            content: Content::Folder { tree, block, weight },
            unclean,
        };
        above.push(&entry, &*self.source)?;
        Ok(None)
    }
}
