//! The list of a set's objects, in full pages and a tail, as its manifest has them.

use berth_repository::Id;
use berth_wire::{ObjectEntry, ObjectKind, PAGE_ENTRIES, encode};

use super::VisitError;

/// Objects of the set so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub(super) pages: Vec<Id>,
    pub(super) tail: Vec<ObjectEntry>,
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Contents {
    /// Adds an object. `Some`: a page is full; its bytes must be sent under this id.
    pub(super) fn add(
        &mut self,
        kind: ObjectKind,
        id: Id,
        length: u64,
    ) -> Result<Option<(Id, Vec<u8>)>, VisitError> {
        self.objects += 1;
        self.bytes += length;
        self.tail.push(ObjectEntry { kind, id, length });
        if self.tail.len() < PAGE_ENTRIES {
            return Ok(None);
        }
        let bytes = encode(&self.tail).map_err(|_| VisitError::Protocol {
            what: "a page of a manifest is too long",
        })?;
        let id = Id::of(&bytes);
        self.tail.clear();
        self.pages.push(id);
        Ok(Some((id, bytes)))
    }
}
