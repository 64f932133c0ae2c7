//! The tree of a visit that is not over: the last set's tree, with what was done so far laid over it.
//!
//! Place: [`super::checkpoint`] -> [`Overlay`] -> provisional trees, and blocks of the catalogue that would go with them.
//! Invariant: what was not reached keeps its previous version; a file in the middle is there under a marked name, never
//! under its own; nothing of the work under way is changed. Where an earlier moment is asked for, all is as it was then.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use berth_repository::{Id, TreeWriter};

use super::VisitError;
use super::file::xattrs_of;
use super::node::node;
use super::work::{Frame, Moment, Reading, Work};
use crate::catalogue::BlockRef;
use crate::encoding::Reader;
use crate::entry::{Content, Entry};
use crate::scan::{Found, OldEntries};
use crate::{Metadata, Source};

/// Put after the name of a file of which only the beginning is there.
const PARTIAL: &[u8] = b".berth-partial";

/// Folders that the second pass has not reached are opened up to this depth for what the first pass did in them. Deeper
/// ones keep their previous version: the stack is bounded.
const DEPTH_MAX: usize = 64;

/// The trees of a checkpoint.
pub(super) struct Overlay {
    /// Trees that may be new, with their ids.
    pub(super) trees: Vec<(Id, Vec<u8>)>,
    /// Of `/`.
    pub(super) tree: Id,
    pub(super) block: BlockRef,
    pub(super) weight: u64,
}

/// A folder that is being put together.
struct Folder {
    out: Vec<u8>,
    tree: TreeWriter,
    weight: u64,
    /// The beginning of a file, to be put in where its name belongs.
    beginning: Option<Entry>,
}

/// What is done of a folder, up to where.
struct Start {
    folder: Folder,
    last: Vec<u8>,
    at: usize,
}

impl Start {
    fn now(frame: &Frame, beginning: Option<Entry>) -> Self {
        let folder = Folder {
            out: frame.out.clone(),
            tree: frame.tree.clone(),
            weight: frame.weight,
            beginning,
        };
        Self {
            folder,
            last: frame.last.clone(),
            at: frame.at,
        }
    }

    fn earlier(frame: &Frame, moment: Moment, source: &dyn Source) -> Result<Self, VisitError> {
        let mut folder = Folder {
            out: Vec::with_capacity(moment.out),
            tree: TreeWriter::new(),
            weight: 0,
            beginning: None,
        };
        let mut last = Vec::new();
        let mut done = Reader(frame.out.get(..moment.out).unwrap_or_default());
        while !done.is_empty() {
            let entry = Entry::take(&mut done)
                .map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))?;
            folder.push(&entry, source, &frame.path)?;
            last = entry.name;
        }
        Ok(Self {
            folder,
            last,
            at: moment.at,
        })
    }
}

impl Overlay {
    /// Of what is done now or, with `depth`, of what was at the affordable moment of the folder that deep.
    pub(super) fn make(work: &mut Work, depth: Option<usize>) -> Result<Self, VisitError> {
        let frames = std::mem::take(&mut work.frames);
        let made = match depth.and_then(|depth| frames.get(..=depth)) {
            None => {
                let beginning = work.reading.as_ref().and_then(beginning_of);
                Self::of_frames(work, &frames, None, beginning)
            }
            Some(frames) => {
                let moment = frames.last().and_then(|frame| frame.affordable);
                Self::of_frames(work, frames, moment, None)
            }
        };
        work.frames = frames;
        made
    }

    fn of_frames(
        work: &mut Work,
        frames: &[Frame],
        mut moment: Option<Moment>,
        mut beginning: Option<Entry>,
    ) -> Result<Self, VisitError> {
        let mut overlay = Self {
            trees: Vec::new(),
            tree: Id::of(b""),
            block: BlockRef { offset: 0, length: 0 },
            weight: 0,
        };
        let mut below: Option<Entry> = None;
        for frame in frames.iter().rev() {
            let start = match moment.take() {
                Some(moment) => Start::earlier(frame, moment, &*work.source)?,
                None => Start::now(frame, beginning.take()),
            };
            let done = overlay.folder(work, frame, start, below.take(), 0)?;
            match frame.metadata {
                Some(metadata) => below = Some(overlay.entry(work, frame, metadata, done)?),
                None => {
                    let (tree, block, weight) = overlay.close(work, done)?;
                    (overlay.tree, overlay.block, overlay.weight) = (tree, block, weight);
                }
            }
        }
        Ok(overlay)
    }

    /// What is done of a folder, then `below` (the folder in it that is under way), then what is not reached.
    fn folder(
        &mut self,
        work: &mut Work,
        frame: &Frame,
        start: Start,
        mut below: Option<Entry>,
        depth: usize,
    ) -> Result<Folder, VisitError> {
        let mut folder = start.folder;
        let mut old = OldEntries::read(&mut work.catalogue, frame.old)?.unwrap_or_default();
        old.skip(&start.last);
        let mut rest = frame.rest(start.at);
        loop {
            let (name, found) = match (below.take(), rest.next()?) {
                (Some(below), next) => {
                    rest.put_back(next);
                    (below.name.clone(), Ok(below))
                }
                (None, Some(found)) => (found.name().to_vec(), Err(found)),
                (None, None) => break,
            };
            while let Some(previous) = old.next_below(Some(&name)) {
                folder.push(&previous, &*work.source, &frame.path)?;
            }
            let previous = old.find(&name);
            let entry = match found {
                Ok(below) => Some(below),
                Err(found) => self.unreached(work, &frame.path, found, previous, depth)?,
            };
            if let Some(entry) = entry {
                folder.push(&entry, &*work.source, &frame.path)?;
            }
        }
        while let Some(previous) = old.next_below(None) {
            folder.push(&previous, &*work.source, &frame.path)?;
        }
        folder.put_beginning(None, &*work.source, &frame.path)?;
        Ok(folder)
    }

    fn unreached(
        &mut self,
        work: &mut Work,
        path: &Path,
        found: Found,
        previous: Option<Entry>,
        depth: usize,
    ) -> Result<Option<Entry>, VisitError> {
        match found {
            Found::Same(entry) => Ok(Some(entry)),
            Found::Failed { .. } => Ok(previous),
            Found::New { name, .. } => {
                let done = work.done_first.get(&path.join(OsStr::from_bytes(&name)));
                Ok(done.cloned().or(previous))
            }
            Found::Folder {
                name,
                metadata,
                block,
                old,
            } => {
                let path = path.join(OsStr::from_bytes(&name));
                let first = work.done_first.range(path.clone()..).next();
                if depth >= DEPTH_MAX || !first.is_some_and(|(done, _)| done.starts_with(&path)) {
                    return Ok(previous);
                }
                let records = work.scan.read(block)?;
                let frame = Frame::new(path, name, Some(metadata), records, old);
                let folder = self.folder(work, &frame, Start::now(&frame, None), None, depth + 1)?;
                self.entry(work, &frame, metadata, folder).map(Some)
            }
        }
    }

    fn close(&mut self, work: &mut Work, folder: Folder) -> Result<(Id, BlockRef, u64), VisitError> {
        let json = folder.tree.finish();
        let tree = Id::of(&json);
        self.trees.push((tree, json));
        let block = work.catalogue.append(&folder.out)?;
        Ok((tree, block, block.length + folder.weight))
    }

    fn entry(
        &mut self,
        work: &mut Work,
        frame: &Frame,
        metadata: Metadata,
        folder: Folder,
    ) -> Result<Entry, VisitError> {
        let (tree, block, weight) = self.close(work, folder)?;
        let (xattrs, _) = xattrs_of(&*work.source, &frame.path);
        Ok(Entry {
            name: frame.name.clone(),
            metadata,
            xattrs,
            content: Content::Folder { tree, block, weight },
            // The next visit must not take such a folder over whole.
            unclean: true,
        })
    }
}

impl Folder {
    fn push(&mut self, entry: &Entry, source: &dyn Source, path: &Path) -> Result<(), VisitError> {
        self.put_beginning(Some(&entry.name), source, path)?;
        self.put_node(entry, source, path)?;
        if let Content::Folder { weight, .. } = &entry.content {
            self.weight += weight;
        }
        entry.put(&mut self.out);
        Ok(())
    }

    /// Puts the beginning of a file into the tree if its name is below `next`. The catalogue does not have it.
    fn put_beginning(
        &mut self,
        next: Option<&[u8]>,
        source: &dyn Source,
        path: &Path,
    ) -> Result<(), VisitError> {
        let Some(mut beginning) = self.beginning.take() else {
            return Ok(());
        };
        match next.map(|next| beginning.name.as_slice().cmp(next)) {
            None | Some(std::cmp::Ordering::Less) => return self.put_node(&beginning, source, path),
            // The name is taken by a file of the user's.
            Some(std::cmp::Ordering::Equal) => beginning.name.extend_from_slice(PARTIAL),
            Some(std::cmp::Ordering::Greater) => {}
        }
        self.beginning = Some(beginning);
        Ok(())
    }

    fn put_node(&mut self, entry: &Entry, source: &dyn Source, path: &Path) -> Result<(), VisitError> {
        self.tree
            .push(&node(entry, source))
            .map_err(|error| VisitError::Tree {
                path: path.to_owned(),
                error,
            })
    }
}

/// A file in the middle, under its marked name. Files of the first pass are small: they are not worth it.
fn beginning_of(reading: &Reading) -> Option<Entry> {
    if reading.is_first || reading.file.chunks.is_empty() {
        return None;
    }
    let file = &reading.file;
    Some(Entry {
        name: [&file.name, PARTIAL].concat(),
        metadata: Metadata {
            links: 1,
            ..file.metadata
        },
        xattrs: Vec::new(),
        content: Content::File {
            size: file.size,
            chunks: file.chunks.clone(),
        },
        unclean: true,
    })
}
