//! The entries of one folder in the catalogue, read side by side with the names that are there now.

use std::io;

use crate::catalogue::{BlockFile, BlockRef};
use crate::encoding::{Damaged, Reader};
use crate::entry::Entry;

/// Entries in ascending order of names, decoded one at a time.
#[derive(Default)]
pub(crate) struct OldEntries {
    bytes: Vec<u8>,
    at: usize,
    next: Option<Entry>,
    passed_over: bool,
}

impl OldEntries {
    /// `None` where there is no block, or a damaged one: then everything counts as changed.
    pub(crate) fn read(catalogue: &mut BlockFile, block: Option<BlockRef>) -> io::Result<Option<Self>> {
        let Some(block) = block else {
            return Ok(None);
        };
        match catalogue.read(block) {
            Ok(bytes) => {
                let mut entries = Self {
                    bytes,
                    ..Self::default()
                };
                entries.advance();
                Ok(Some(entries))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn advance(&mut self) {
        let mut reader = Reader(self.bytes.get(self.at..).unwrap_or_default());
        let before = reader.0.len();
        let entry = if reader.is_empty() {
            Err(Damaged)
        } else {
            Entry::take(&mut reader)
        };
        self.next = entry.ok();
        self.at += before - reader.0.len();
    }

    /// The entry of this name, which must be above all asked for before.
    pub(crate) fn find(&mut self, name: &[u8]) -> Option<Entry> {
        while let Some(next) = &self.next {
            match next.name.as_slice().cmp(name) {
                std::cmp::Ordering::Less => {
                    self.passed_over = true;
                    self.advance();
                }
                std::cmp::Ordering::Equal => {
                    let found = self.next.take();
                    self.advance();
                    return found;
                }
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }

    /// Goes past this name without looking at its entry.
    pub(crate) fn skip(&mut self, name: &[u8]) {
        let _ = self.find(name);
    }

    /// The next entry whose name is below `name` (or any, without one).
    pub(crate) fn next_below(&mut self, name: Option<&[u8]>) -> Option<Entry> {
        let is_below = self
            .next
            .as_ref()
            .is_some_and(|next| name.is_none_or(|name| next.name.as_slice() < name));
        let found = if is_below { self.next.take() } else { None };
        if found.is_some() {
            self.advance();
        }
        found
    }

    /// Every entry was found: none was removed since.
    pub(crate) fn is_used_up(&self) -> bool {
        !self.passed_over && self.next.is_none()
    }
}
