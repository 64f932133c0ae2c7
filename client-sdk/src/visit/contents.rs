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
    /// Adds an object that stays in every later manifest of the set. `Some`: what was there before it makes a page, whose
    /// bytes must be sent under this id. The object itself is never in it: the snapshot, which comes last, stays in the
    /// tail.
    pub(super) fn add(
        &mut self,
        kind: ObjectKind,
        id: Id,
        length: u64,
    ) -> Result<Option<(Id, Vec<u8>)>, VisitError> {
        let page = (self.tail.len() >= PAGE_ENTRIES)
            .then(|| self.turn_page())
            .transpose()?;
        self.add_provisional(kind, id, length);
        Ok(page)
    }

    /// Adds an object that only this checkpoint names. A page stays in every later manifest: such an object is in none.
    pub(super) fn add_provisional(&mut self, kind: ObjectKind, id: Id, length: u64) {
        self.objects += 1;
        self.bytes += length;
        self.tail.push(ObjectEntry { kind, id, length });
    }

    fn turn_page(&mut self) -> Result<(Id, Vec<u8>), VisitError> {
        let bytes = encode(&self.tail).map_err(|_| VisitError::Protocol {
            what: "a page of a manifest is too long",
        })?;
        let id = Id::of(&bytes);
        self.tail.clear();
        self.pages.push(id);
        Ok((id, bytes))
    }
}

#[cfg(test)]
mod tests {
    use berth_wire::TAIL_ENTRIES_MAX;

    use super::*;

    fn id(number: usize) -> Id {
        Id::of(&number.to_be_bytes())
    }

    #[test]
    fn pages_name_only_what_stays_and_neither_a_checkpoints_objects_nor_the_snapshot() {
        let mut contents = Contents::default();
        for number in 0..3 * PAGE_ENTRIES {
            let page = contents.add(ObjectKind::Pack, id(number), 1).unwrap();
            assert_eq!(page.is_some(), number > 0 && number % PAGE_ENTRIES == 0);
            let before = contents.pages.clone();
            let mut checkpoint = contents.clone();
            for number in 0..6 {
                checkpoint.add_provisional(ObjectKind::Index, id(1_000_000 + number), 1);
            }
            assert_eq!(checkpoint.pages, before);
            assert!(checkpoint.tail.len() <= TAIL_ENTRIES_MAX);
            let mut complete = contents.clone();
            complete.add(ObjectKind::Snapshot, id(2_000_000), 1).unwrap();
            assert_eq!(complete.tail.last().unwrap().kind, ObjectKind::Snapshot);
        }
    }
}
