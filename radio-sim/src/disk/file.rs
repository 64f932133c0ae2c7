//! The content of one file: what a program sees, and what would be left of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chance::{Chance, PPM};

/// A file is known by name, by handles and by what may be left of old names.
#[derive(Debug, Clone)]
pub(super) struct FileRef(Arc<Mutex<Content>>);

impl FileRef {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Content::default())))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Content {
    /// As programs see it.
    bytes: Vec<u8>,
    /// So much of `bytes` was there at the last sync, unless `before` says otherwise.
    synced_bytes: usize,
    /// The content at the last sync, kept when the file has been cut below it since.
    before: Option<Vec<u8>>,
    /// A sync of this range has failed. The kernel then takes the pages for clean (`fsync(2)`; Rebello et al., "Can
    /// Applications Recover from fsync Failures?", ATC 2020): a later sync that succeeds does not write them.
    unwritten: Option<(usize, usize)>,
    /// It has a name, so its bytes count as used.
    pub(super) linked: bool,
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if length < self.synced_bytes && self.before.is_none() {
            self.before = Some(self.durable());
        }
        self.synced_bytes = self.synced_bytes.min(length);
        self.unwritten = self
            .unwritten
            .and_then(|(from, to)| (from < length).then_some((from, to.min(length))));
        self.bytes.resize(length, 0);
    }

    pub(super) fn sync(&mut self) {
        self.before = None;
        self.synced_bytes = self.bytes.len();
    }

    pub(super) fn sync_failed(&mut self) {
        if self.synced_bytes < self.bytes.len() {
            let from = self
                .unwritten
                .map_or(self.synced_bytes, |(from, _)| from.min(self.synced_bytes));
            self.unwritten = Some((from, self.bytes.len()));
        }
    }

    /// What was there at the last sync.
    pub(super) fn durable(&self) -> Vec<u8> {
        self.before
            .clone()
            .unwrap_or_else(|| self.written(self.synced_bytes))
    }

    /// The first `length` bytes, with zeros where a write back failed.
    fn written(&self, length: usize) -> Vec<u8> {
        let mut bytes = self.bytes.get(..length).unwrap_or(&self.bytes).to_vec();
        if let Some((from, to)) = self.unwritten
            && let Some(range) = bytes.get_mut(from..to.min(length))
        {
            range.fill(0);
        }
        bytes
    }

    /// The power goes: only what was synced is left.
    pub(super) fn lose_all(&mut self) {
        let left = self.durable();
        self.become_durable(left);
    }

    /// The power goes: of what was not synced, some is left. A prefix of the tail has been written; its length may
    /// have been written without its bytes, which are then zeros or what lay there before.
    pub(super) fn lose_some(&mut self, chance: &mut Chance) {
        let keeps_old = chance.happens(PPM / 2);
        let left = match &self.before {
            Some(before) if keeps_old => before.clone(),
            Some(_) | None => self.draw_tail(chance),
        };
        self.become_durable(left);
    }

    fn draw_tail(&self, chance: &mut Chance) -> Vec<u8> {
        let tail = self.bytes.len() - self.synced_bytes;
        let below =
            |chance: &mut Chance, end: usize| usize::try_from(chance.below(end as u64 + 1)).unwrap_or(0);
        // Nothing and everything are the likeliest ends of a write back.
        let written = match chance.below(4) {
            0 => 0,
            1 => tail,
            _ => below(chance, tail),
        };
        let mut left = self.written(self.synced_bytes + written);
        let blank = below(chance, tail - written);
        match chance.below(3) {
            0 => {}
            1 => left.resize(left.len() + blank, 0),
            _ => {
                let mut stale = vec![0; blank];
                chance.fill(&mut stale);
                left.extend_from_slice(&stale);
            }
        }
        left
    }

    /// The power goes, and the disk had written everything back in time.
    pub(super) fn keep_all(&mut self) {
        let left = self.written(self.bytes.len());
        self.become_durable(left);
    }

    fn become_durable(&mut self, bytes: Vec<u8>) {
        self.synced_bytes = bytes.len();
        self.bytes = bytes;
        self.before = None;
        self.unwritten = None;
    }

    /// Turns one bit over, in what is seen and in what is durable.
    pub(super) fn flip(&mut self, bit: u64) {
        let (at, mask) = (usize::try_from(bit / 8).unwrap_or(usize::MAX), 1 << (bit % 8));
        for bytes in [Some(&mut self.bytes), self.before.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
    }
}
