//! A disk in memory that forgets what was not synced.
//!
//! Place: whatever takes a `berth_disk::SharedDisk`; tests cut its power at every sync and look what is left.
//! The model (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014; `fsync(2)`):
//! - Bytes of a file are durable after a sync of the file; a name after a sync of its folder (and of those above it,
//!   if they are new). A sync of the file does not make its name durable, nor the other way round.
//! - At a cut, [`CutPolicy::LoseAll`] forgets everything else. [`CutPolicy::Random`] keeps some of it: a prefix of the
//!   unsynced tail, perhaps followed by zeros or garbage; some of the name changes, in order or not. So a rename
//!   before the sync of its data can leave an empty, short or garbled file under the final name.
//! - A sync that fails (injected) has not written its bytes and never will: a later sync that succeeds does not bring
//!   them back.
//! - Assumed: a rename replaces its target in whole or not at all, and never loses the file; what was synced stays
//!   unless a bit is flipped on purpose; a truncation is not durable before a sync, but no block of it is lost alone.
//!
//! Invariant: the same calls and seeds leave the same bytes.

mod file;
mod tree;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_disk::{Disk, DiskFile, checked};

use crate::chance::Chance;
use file::FileRef;
use tree::{Node, Tree};

/// Room on a disk without a limit, as [`Disk::free_bytes`] tells it.
const UNLIMITED_BYTES: u64 = 1 << 50;

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutPolicy {
    /// Nothing.
    LoseAll,
    /// Some of it, drawn from this seed.
    Random(u64),
    /// All of it: what a killed process leaves on a running machine.
    KeepAll,
}

/// Errors that happen now and then, in parts per million of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskFaults {
    /// An append writes a part and fails.
    pub append_failed_ppm: u32,
    /// A sync of a file or folder fails.
    pub sync_failed_ppm: u32,
    /// A read fails.
    pub read_failed_ppm: u32,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    used_bytes: u64,
    capacity_bytes: Option<u64>,
    syncs: u64,
    changes: u64,
    cut_at_sync: Option<u64>,
    cut_at_change: Option<u64>,
    fail_at_change: Option<u64>,
    policy: CutPolicy,
    off: bool,
    /// Grows at every restart; a file opened before it is no longer there.
    lives: u64,
    faults: DiskFaults,
    chance: Chance,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk without limits and faults.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            tree: Tree::new(),
            used_bytes: 0,
            capacity_bytes: None,
            syncs: 0,
            changes: 0,
            cut_at_sync: None,
            cut_at_change: None,
            fail_at_change: None,
            policy: CutPolicy::LoseAll,
            off: false,
            lives: 0,
            faults: DiskFaults::default(),
            chance: Chance::new(0, 200),
        })))
    }

    /// Syncs of files and folders that have succeeded since the disk was made.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Changing calls (create, append, truncate, sync, rename, remove, ...) since the disk was made.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Cuts the power now. Every call fails until [`Self::restart`].
    pub fn cut_power(&self, policy: CutPolicy) {
        let mut state = self.lock();
        state.policy = policy;
        state.off = true;
    }

    /// Cuts the power instead of doing sync number `at` (the first is 0; see [`Self::syncs`]): `at` syncs succeed.
    pub fn cut_power_at_sync(&self, at: u64, policy: CutPolicy) {
        let mut state = self.lock();
        state.policy = policy;
        state.cut_at_sync = Some(at);
    }

    /// Cuts the power instead of doing change number `at` (the first is 0; see [`Self::changes`]).
    pub fn cut_power_at_change(&self, at: u64, policy: CutPolicy) {
        let mut state = self.lock();
        state.policy = policy;
        state.cut_at_change = Some(at);
    }

    /// The power is off, asked for or because a planned cut has come.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// The machine starts again: what the cut left is there, files opened before are not, planned cuts are forgotten.
    /// With the power on, only the process starts again: nothing is lost.
    pub fn restart(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.off) {
            let policy = state.policy;
            state.lose(policy);
        }
        state.lives += 1;
        state.cut_at_sync = None;
        state.cut_at_change = None;
    }

    /// Room for so many bytes of files; then [`io::ErrorKind::StorageFull`], after a part of the bytes was written.
    pub fn capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// Bytes of all files that have a name.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes
    }

    /// Errors from now on, drawn from `seed`.
    pub fn faults(&self, seed: u64, faults: DiskFaults) {
        let mut state = self.lock();
        state.faults = faults;
        state.chance = Chance::new(seed, 200);
    }

    /// Change number `at` (see [`Self::changes`]) fails, once; the disk goes on.
    pub fn fail_at_change(&self, at: u64) {
        self.lock().fail_at_change = Some(at);
    }

    /// Turns over bit `bit` of a file, as failing hardware does: no error tells. Past the end nothing happens.
    ///
    /// # Errors
    /// No such file.
    pub fn flip_bit(&self, path: &str, bit: u64) -> io::Result<()> {
        self.lock().tree.file(checked(path)?)?.lock().flip(bit);
        Ok(())
    }

    /// Paths of all files, sorted, with what is in them: for tests that search the whole disk.
    #[must_use]
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let files = self.lock().tree.files();
        files
            .into_iter()
            .map(|(path, file)| (path, file.lock().bytes().to_vec()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked, powered, and counted as one change.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.cut_at_change.is_some_and(|at| state.changes >= at) {
            state.off = true;
        }
        state.powered()?;
        if state.counts_and_fails() {
            Err(broken())
        } else {
            Ok(state)
        }
    }

    /// As [`Self::change`], for a sync of `file`, or of a folder.
    fn sync_change(&self, file: Option<&FileRef>) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        let cut = state.cut_at_sync.is_some_and(|at| state.syncs >= at)
            || state.cut_at_change.is_some_and(|at| state.changes >= at);
        state.off |= cut;
        state.powered()?;
        let ppm = state.faults.sync_failed_ppm;
        let drawn = state.chance.happens(ppm);
        if state.counts_and_fails() || drawn {
            if let Some(file) = file {
                file.lock().sync_failed();
            }
            return Err(broken());
        }
        state.syncs += 1;
        Ok(state)
    }

    fn reading(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.powered()?;
        let ppm = state.faults.read_failed_ppm;
        if state.chance.happens(ppm) {
            Err(broken())
        } else {
            Ok(state)
        }
    }

    fn handle(&self, file: FileRef, lives: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile {
            disk: self.clone(),
            file,
            lives,
        })
    }
}

impl State {
    fn powered(&self) -> io::Result<()> {
        if self.off {
            Err(io::Error::other("the power is off"))
        } else {
            Ok(())
        }
    }

    /// Counts a change. `true`: it is the one that has to fail.
    fn counts_and_fails(&mut self) -> bool {
        let number = self.changes;
        self.changes += 1;
        self.fail_at_change == Some(number)
    }

    fn lose(&mut self, policy: CutPolicy) {
        let mut chance = Chance::new(
            if let CutPolicy::Random(seed) = policy {
                seed
            } else {
                0
            },
            201,
        );
        match policy {
            CutPolicy::LoseAll => self.tree.lose_all(),
            CutPolicy::Random(_) => self.tree.lose_some(&mut chance),
            CutPolicy::KeepAll => self.tree.keep_all(),
        }
        self.used_bytes = 0;
        let files = self.tree.files();
        // A file with two names after a cut is lost once: the second time everything of it is durable.
        for (_, file) in files {
            let mut content = file.lock();
            match policy {
                CutPolicy::LoseAll => content.lose_all(),
                CutPolicy::Random(_) => content.lose_some(&mut chance),
                CutPolicy::KeepAll => content.keep_all(),
            }
            content.linked = true;
            self.used_bytes += content.bytes().len() as u64;
        }
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes
            .unwrap_or(UNLIMITED_BYTES)
            .saturating_sub(self.used_bytes)
    }

    fn unlink(&mut self, file: &FileRef) {
        let mut content = file.lock();
        if std::mem::take(&mut content.linked) {
            self.used_bytes = self.used_bytes.saturating_sub(content.bytes().len() as u64);
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("input/output error (injected)")
}

impl Disk for SimDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.change()?;
        let file = state.tree.create(checked(path)?)?;
        file.lock().linked = true;
        Ok(self.handle(file, state.lives))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.reading()?;
        let file = state.tree.file(checked(path)?)?;
        Ok(self.handle(file, state.lives))
    }

    fn read(&self, path: &str, size_bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.reading()?.tree.file(checked(path)?)?;
        let content = file.lock();
        if content.bytes().len() as u64 > size_bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("over {size_bytes_max} bytes"),
            ));
        }
        Ok(content.bytes().to_vec())
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.reading()?.tree.file(checked(path)?)?;
        let content = file.lock();
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| content.bytes().get(start..start.checked_add(length)?));
        range
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        Ok(match self.reading()?.tree.node(checked(path)?) {
            Some(Node::File(file)) => Some(file.lock().bytes().len() as u64),
            Some(Node::Folder(_)) | None => None,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        if let Some(replaced) = state.tree.rename(checked(from)?, checked(to)?)? {
            state.unlink(&replaced);
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.tree.remove(checked(path)?)?;
        state.unlink(&file);
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.change()?.tree.create_folders(checked(path)?)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        match state.tree.remove_folder(checked(path)?) {
            Ok(files) => files.iter().for_each(|file| state.unlink(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.reading()?;
        match state.tree.folder(checked(path)?) {
            Ok(folder) => Ok(state.tree.names(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        // A missing folder is the caller's mistake, not a sync.
        self.reading()?.tree.folder(checked(path)?)?;
        let mut state = self.sync_change(None)?;
        let folder = state.tree.folder(path)?;
        state.tree.sync(folder);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.reading()?;
        Ok(state.free_bytes())
    }
}

struct SimFile {
    disk: SimDisk,
    file: FileRef,
    lives: u64,
}

impl SimFile {
    /// The file is of this life of the machine.
    fn is_current(&self) -> io::Result<()> {
        if self.disk.lock().lives == self.lives {
            Ok(())
        } else {
            Err(io::Error::other("the file was opened before a restart"))
        }
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.is_current()?;
        let mut state = self.disk.change()?;
        let (ppm, linked) = (state.faults.append_failed_ppm, self.file.lock().linked);
        let fails = state.chance.happens(ppm);
        let cut_in = usize::try_from(state.chance.below(bytes.len() as u64 + 1)).unwrap_or(0);
        let room = usize::try_from(state.free_bytes()).unwrap_or(usize::MAX);
        let full = linked && bytes.len() > room;
        let fits = match (fails, full) {
            (true, _) => cut_in.min(room),
            (false, true) => room,
            (false, false) => bytes.len(),
        };
        let written = bytes.get(..fits).unwrap_or(bytes);
        self.file.lock().append(written);
        if linked {
            state.used_bytes += written.len() as u64;
        }
        match (fails, full) {
            (true, _) => Err(broken()),
            (false, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.is_current()?;
        let _state = self.disk.sync_change(Some(&self.file))?;
        self.file.lock().sync();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.is_current()?;
        let mut state = self.disk.change()?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut content = self.file.lock();
        let before = content.bytes().len();
        if content.linked {
            let grows = length.saturating_sub(before) as u64;
            if grows > state.free_bytes() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.used_bytes =
                (state.used_bytes + grows).saturating_sub(before.saturating_sub(length) as u64);
        }
        content.truncate(length);
        Ok(())
    }
}
