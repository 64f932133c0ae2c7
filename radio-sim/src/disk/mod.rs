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

mod contract;
mod file;
mod tree;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_disk::checked;

use crate::chance::Chance;
use file::FileRef;
use tree::Tree;

/// Room on a disk without a limit, as `Disk::free_bytes` tells it.
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
