//! Learning anew which chunks a hub holds, from its index files: when laptop and hub do not remember the same sets.
//!
//! Place: after `Welcome` -> `List`, `Fetch` -> known chunks. The catalogue is not rebuilt: every file is read again, and
//! nothing that is known is sent again.

use std::collections::{BTreeSet, VecDeque};

use berth_repository::{Id, IndexFile, MasterKey};
use berth_wire::{FETCH_SIZE_BYTES_MAX, OBJECT_SIZE_BYTES_MAX, ObjectKind, ToHub, ToLaptop};

use super::VisitError;
use crate::known::Known;

/// Index files that are asked for. A repository of 64 TiB has some thousands.
const INDEXES_MAX: usize = 1024 * 1024;

/// What is left to ask for.
#[derive(Default)]
pub(super) struct Rebuild {
    listed: bool,
    after: Option<Id>,
    left: VecDeque<Id>,
    count: usize,
    /// The index that is being fetched, as far as it is there.
    bytes: Vec<u8>,
    is_waiting: bool,
    /// Packs that count for nothing.
    lost: BTreeSet<Id>,
}

impl Rebuild {
    pub(super) fn without(lost: BTreeSet<Id>) -> Self {
        Self {
            lost,
            ..Self::default()
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// The next question; `None`: everything is known.
    pub(super) fn ask(&mut self) -> Option<ToHub> {
        let message = if !self.listed {
            ToHub::List {
                kind: ObjectKind::Index,
                after: self.after,
            }
        } else {
            ToHub::Fetch {
                kind: ObjectKind::Index,
                id: *self.left.front()?,
                offset: self.bytes.len() as u64,
                length: FETCH_SIZE_BYTES_MAX,
                knows_unavailable: false,
            }
        };
        self.is_waiting = true;
        Some(message)
    }

    pub(super) fn answered(
        &mut self,
        message: ToLaptop,
        key: &MasterKey,
        known: &mut Known,
    ) -> Result<(), VisitError> {
        let wrong = VisitError::Protocol {
            what: "an answer to another question",
        };
        if !std::mem::take(&mut self.is_waiting) {
            return Err(wrong);
        }
        match message {
            ToLaptop::Listing { ids, more } if !self.listed => {
                self.count += ids.len();
                if self.count > INDEXES_MAX || (more && ids.last() <= self.after.as_ref()) {
                    return Err(wrong);
                }
                self.after = ids.last().copied();
                self.listed = !more;
                self.left.extend(ids);
            }
            ToLaptop::Fetched { bytes, object_length } if self.listed => {
                self.bytes.extend_from_slice(&bytes);
                let fetched = self.bytes.len() as u64;
                if object_length > OBJECT_SIZE_BYTES_MAX || fetched > object_length || bytes.is_empty() {
                    return Err(wrong);
                }
                if fetched == object_length {
                    self.index(key, known)?;
                }
            }
            // Gone since it was listed: its chunks are sent again.
            ToLaptop::Missing if self.listed => self.next(),
            _ => return Err(wrong),
        }
        Ok(())
    }

    fn next(&mut self) {
        self.left.pop_front();
        self.bytes.clear();
    }

    /// An index that is damaged tells nothing: its chunks are sent again.
    fn index(&mut self, key: &MasterKey, known: &mut Known) -> Result<(), VisitError> {
        let is_whole = self.left.front() == Some(&Id::of(&self.bytes));
        if let Some(index) = is_whole.then(|| IndexFile::open(key, &self.bytes).ok()).flatten() {
            let there = index.packs.iter().filter(|pack| !self.lost.contains(&pack.id));
            for blob in there.flat_map(|pack| &pack.blobs) {
                known.insert(blob.kind, blob.id)?;
            }
        }
        self.next();
        Ok(())
    }
}
