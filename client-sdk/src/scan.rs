//! Walks the user's folders side by side with the catalogue of the last set and writes down what changed.
//!
//! Place: [`Source`] and catalogue -> [`Scan`] -> a file of blocks, one for each folder in which something changed. So
//! the number of files and bytes is known before anything is sent, and memory holds one folder for each level of depth.
//! Invariant: nothing is opened here but the mark of a cache folder. A file whose type, size, times, inode, owner and
//! mode are those of the catalogue is unchanged; a folder in which everything is unchanged is taken over whole.

mod old;
mod plan;
mod record;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::catalogue::{BlockFile, BlockRef};
use crate::entry::Entry;
use crate::rules::{CACHE_MARK, CACHE_MARK_NAME, Matcher};
use crate::{FileKind, Metadata, Source};
pub(crate) use old::OldEntries;
pub(crate) use plan::Plan;
pub(crate) use record::Found;

/// Entries looked at in one step: well under a millisecond each from a warm cache, some milliseconds from a slow disk.
const STEP_ENTRIES: usize = 64;

/// What a scan counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) files_changed: u64,
    pub(crate) bytes_changed: u64,
    pub(crate) sockets: u64,
}

/// A new or changed regular file, told to the caller as it is found.
pub(crate) struct Changed<'a> {
    pub(crate) path: &'a Path,
    pub(crate) metadata: &'a Metadata,
    /// What its folder and those above it take in the catalogue.
    pub(crate) folders_size_bytes: u64,
}

/// What a scan found at `/`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ScannedRoot {
    /// Nothing changed: the tree of the last set is the tree of this one.
    Same,
    /// The block of `/` in the scan's file.
    Changed(BlockRef),
}

/// A walk under way.
pub(crate) struct Scan {
    frames: Vec<Frame>,
    file: BlockFile,
    pub(crate) counts: Counts,
    root: Option<ScannedRoot>,
    /// Of the blocks of the folders that the walk is in.
    folders_size_bytes: u64,
}

/// One folder on the way from `/` to where the walk is.
struct Frame {
    path: PathBuf,
    name: Vec<u8>,
    /// `None`: the root of all, which has no node.
    metadata: Option<Metadata>,
    names: std::vec::IntoIter<Vec<u8>>,
    /// Folders above the roots: only what leads to a root is looked at.
    plan: Option<Plan>,
    /// The file system that is not left.
    device: Option<u64>,
    old: OldEntries,
    old_block: Option<BlockRef>,
    /// This folder's own entry in the catalogue.
    old_entry: Option<Entry>,
    out: Vec<u8>,
    same: bool,
}

impl Scan {
    /// Begins at `/`. `old` is the block of `/` in the catalogue; `is_whole`: its tree can be taken over.
    pub(crate) fn new(
        file: BlockFile,
        plan: Plan,
        old: Option<BlockRef>,
        is_whole: bool,
        catalogue: &mut BlockFile,
    ) -> io::Result<Self> {
        let (names, plan) = if plan.is_whole() {
            (None, None)
        } else {
            (Some(plan.names()), Some(plan))
        };
        let old_entries = OldEntries::read(catalogue, old)?;
        let mut scan = Self {
            frames: Vec::new(),
            file,
            counts: Counts::default(),
            root: None,
            folders_size_bytes: old.map_or(0, |old| old.length),
        };
        scan.frames.push(Frame {
            path: PathBuf::from("/"),
            name: Vec::new(),
            metadata: None,
            names: names.unwrap_or_default().into_iter(),
            same: is_whole && old_entries.is_some(),
            old: old_entries.unwrap_or_default(),
            plan,
            device: None,
            old_block: old,
            old_entry: None,
            out: Vec::new(),
        });
        Ok(scan)
    }

    /// Where `/` itself is a root its names are read with this, once.
    pub(crate) fn read_root(&mut self, source: &dyn Source, matcher: &Matcher) -> io::Result<()> {
        if let Some(frame) = self.frames.last_mut().filter(|frame| frame.plan.is_none()) {
            frame.names = folder_names(source, &frame.path, matcher)?.into_iter();
            if matcher.one_file_system {
                frame.device = Some(source.metadata(&frame.path)?.device);
            }
        }
        Ok(())
    }

    /// Where the walk is.
    pub(crate) fn path(&self) -> &Path {
        self.frames.last().map_or(Path::new("/"), |frame| &frame.path)
    }

    /// Looks at some entries. `Some`: the walk is over; the blocks are in the returned file.
    pub(crate) fn step(
        &mut self,
        source: &dyn Source,
        matcher: &Matcher,
        catalogue: &mut BlockFile,
        changed: &mut dyn FnMut(Changed<'_>),
    ) -> io::Result<Option<ScannedRoot>> {
        for _ in 0..STEP_ENTRIES {
            let Some(frame) = self.frames.last_mut() else {
                return Ok(self.root);
            };
            match frame.names.next() {
                Some(name) => self.entry(name, source, matcher, catalogue, changed)?,
                None => self.leave()?,
            }
        }
        Ok(None)
    }

    /// The scan's blocks, once the walk is over.
    pub(crate) fn into_file(self) -> BlockFile {
        self.file
    }

    fn entry(
        &mut self,
        name: Vec<u8>,
        source: &dyn Source,
        matcher: &Matcher,
        catalogue: &mut BlockFile,
        changed: &mut dyn FnMut(Changed<'_>),
    ) -> io::Result<()> {
        let folders_size_bytes = self.folders_size_bytes;
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let path = frame.path.join(OsStr::from_bytes(&name));
        if matcher.forbids(&path) {
            return Ok(());
        }
        let plan = frame.plan.as_mut().and_then(|plan| plan.take(&name));
        let found = match source.metadata(&path) {
            Ok(found) => found,
            // Gone between the listing and now: it was never there. A root that is missing is named.
            Err(error) if error.kind() == io::ErrorKind::NotFound && plan.is_none() => return Ok(()),
            Err(error) => {
                frame.old.skip(&name);
                frame.push(&Found::Failed {
                    name,
                    error: error.to_string(),
                });
                return Ok(());
            }
        };
        let mut metadata = found;
        let is_folder =
            metadata.kind == FileKind::Folder || plan.as_ref().is_some_and(|plan| !plan.is_whole());
        if plan.is_none() && matcher.ignores(&path, is_folder) {
            return Ok(());
        }
        if is_folder {
            // A symlink above a root: the way to the root leads through it, so the set has a folder there.
            metadata.kind = FileKind::Folder;
            metadata.size = 0;
            return self.enter(path, name, metadata, plan, source, matcher, catalogue);
        }
        match metadata.kind {
            FileKind::Socket => {
                self.counts.sockets += 1;
                return Ok(());
            }
            FileKind::Unknown => {
                frame.push(&Found::Failed {
                    name,
                    error: "not a kind of file that can be backed up".to_owned(),
                });
                return Ok(());
            }
            FileKind::File => {
                self.counts.files += 1;
                // Sparse files may say to have 2^63 bytes each.
                self.counts.bytes = self.counts.bytes.saturating_add(metadata.size);
            }
            FileKind::Folder
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::CharDevice
            | FileKind::BlockDevice => metadata.size = 0,
        }
        match frame.old.find(&name) {
            Some(old) if old.is_still(&metadata) => frame.push_same(&old),
            Some(_) | None => {
                if metadata.kind == FileKind::File {
                    self.counts.files_changed += 1;
                    self.counts.bytes_changed = self.counts.bytes_changed.saturating_add(metadata.size);
                    changed(Changed {
                        path: &path,
                        metadata: &metadata,
                        folders_size_bytes,
                    });
                }
                frame.push(&Found::New { name, metadata });
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // what one entry of a folder is about, each once
    fn enter(
        &mut self,
        path: PathBuf,
        name: Vec<u8>,
        metadata: Metadata,
        plan: Option<Plan>,
        source: &dyn Source,
        matcher: &Matcher,
        catalogue: &mut BlockFile,
    ) -> io::Result<()> {
        let Some(above) = self.frames.last_mut() else {
            return Ok(());
        };
        let is_root = plan.as_ref().is_some_and(Plan::is_whole);
        let device = match above.device {
            _ if is_root && matcher.one_file_system => Some(metadata.device),
            device => device,
        };
        let plan = plan.filter(|plan| !plan.is_whole());
        let names = match &plan {
            Some(plan) => Ok(plan.names()),
            // The mount point itself stays, empty.
            None if device.is_some_and(|device| device != metadata.device) => Ok(Vec::new()),
            None => folder_names(source, &path, matcher),
        };
        let names = match names {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                above.old.skip(&name);
                above.push(&Found::Failed {
                    name,
                    error: error.to_string(),
                });
                return Ok(());
            }
        };
        let old_entry = above.old.find(&name);
        let old_block = old_entry.as_ref().and_then(Entry::block);
        let old = OldEntries::read(catalogue, old_block)?;
        self.folders_size_bytes += old_block.map_or(0, |old| old.length);
        self.frames.push(Frame {
            path,
            name,
            metadata: Some(metadata),
            names: names.into_iter(),
            plan,
            device,
            same: old.is_some() && old_entry.as_ref().is_some_and(|old| old.is_still(&metadata)),
            old: old.unwrap_or_default(),
            old_block,
            old_entry,
            out: Vec::new(),
        });
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        self.folders_size_bytes -= frame.old_block.map_or(0, |old| old.length);
        let same = frame.same && frame.old.is_used_up();
        match (self.frames.last_mut(), frame.metadata, frame.old_entry) {
            (None, ..) if same => self.root = Some(ScannedRoot::Same),
            (None, ..) => self.root = Some(ScannedRoot::Changed(self.file.append(&frame.out)?)),
            (Some(above), Some(_), Some(old)) if same => above.push_same(&old),
            (Some(above), Some(metadata), _) => {
                let block = self.file.append(&frame.out)?;
                above.push(&Found::Folder {
                    name: frame.name,
                    metadata,
                    block,
                    old: frame.old_block,
                });
            }
            (Some(_), None, _) => {}
        }
        Ok(())
    }
}

impl Frame {
    fn push(&mut self, found: &Found) {
        self.same = false;
        found.put(&mut self.out);
    }

    fn push_same(&mut self, old: &Entry) {
        record::put_same(old, &mut self.out);
    }
}

/// Names of a folder in ascending order; of a cache folder only its mark, where caches are left out.
fn folder_names(source: &dyn Source, path: &Path, matcher: &Matcher) -> io::Result<Vec<Vec<u8>>> {
    let mut names = source.read_folder(path)?;
    names.sort_unstable();
    if matcher.skip_caches
        && names
            .binary_search_by(|name| name.as_slice().cmp(CACHE_MARK_NAME))
            .is_ok()
        && is_cache_mark(source, &path.join(OsStr::from_bytes(CACHE_MARK_NAME)))
    {
        names = vec![CACHE_MARK_NAME.to_vec()];
    }
    Ok(names)
}

fn is_cache_mark(source: &dyn Source, path: &Path) -> bool {
    let mut first = [0; CACHE_MARK.len()];
    let mut length = 0;
    let read = source.open(path).and_then(|mut file| {
        while let Some(room) = first.get_mut(length..).filter(|room| !room.is_empty()) {
            match file.read(room)? {
                0 => break,
                read => length += read,
            }
        }
        Ok(())
    });
    read.is_ok() && first == CACHE_MARK
}
