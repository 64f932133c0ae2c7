//! What is behind the spool: packs that were removed to make room, and that the upstream has.
//!
//! Place: a laptop asks for a pack -> [`crate::Visit`] -> the spool or, where it is not there, [`Behind`].
//! Invariant: a laptop gets only packs that its own sealed sets list, and of those as many bytes as the lists say. Whether
//! they are the right ones the laptop finds out: the hub can't read them, and a range has no hash.

use std::collections::BTreeMap;
use std::ops::Range;

use berth_repository::Id;
use berth_wire::{ObjectKind, ToLaptop};
use bytes::Bytes;

use crate::spool::unless_damaged;
use crate::{LaptopId, Spool, StoreError};

/// The repository of one laptop, wherever its objects are when the spool has them no more.
pub trait Behind: Send {
    /// The bytes of an object that `range`, which is not empty, names: fewer where it ends before. `None` where there is
    /// no such object. It waits for less time than a laptop does.
    ///
    /// # Errors
    /// Why it can't be told now, in one line for people.
    fn read(&mut self, kind: ObjectKind, id: &Id, range: Range<u64>) -> Result<Option<Bytes>, String>;
}

/// What a visit reads from behind the spool.
pub(crate) struct BehindVisit {
    behind: Box<dyn Behind>,
    /// Looked up when the first pack is not in the spool. No set is sealed while its laptop visits but the visit's own, and
    /// that one is in the spool.
    packs: Option<BTreeMap<Id, u64>>,
}

impl BehindVisit {
    pub(crate) const fn new(behind: Box<dyn Behind>) -> Self {
        let packs = None;
        Self { behind, packs }
    }

    /// Answers for a pack that the spool does not hold.
    pub(crate) fn fetched(
        &mut self,
        spool: &Spool,
        laptop: &LaptopId,
        id: &Id,
        (offset, length): (u64, u32),
    ) -> Result<ToLaptop, StoreError> {
        if self.packs.is_none() {
            self.packs = Some(spool.packs(laptop)?);
        }
        let Some(&object_length) = self.packs.as_ref().and_then(|packs| packs.get(id)) else {
            return Ok(ToLaptop::Missing);
        };
        let end = offset.saturating_add(u64::from(length)).min(object_length);
        let size_bytes = end.saturating_sub(offset);
        let read = match size_bytes {
            0 => Ok(Some(Bytes::new())),
            _ => self.behind.read(ObjectKind::Pack, id, offset..end),
        };
        Ok(match read {
            Ok(Some(bytes)) if bytes.len() as u64 == size_bytes => ToLaptop::Fetched { bytes, object_length },
            Ok(Some(_)) => ToLaptop::Unavailable {
                why: "a pack there is shorter than it was: run `restic check` on the upstream".to_owned(),
            },
            Ok(None) => ToLaptop::Missing,
            Err(why) => ToLaptop::Unavailable { why },
        })
    }
}

impl Spool {
    /// The packs that the sealed sets of a laptop list, with their sizes in bytes, on the hub or not any more. What a damaged
    /// manifest lists is left out. They take about 60 bytes each: 4 MB for a laptop of 1 TB.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Journal`].
    pub fn packs(&self, laptop: &LaptopId) -> Result<BTreeMap<Id, u64>, StoreError> {
        let mut packs = BTreeMap::new();
        for record in self
            .sets(laptop)?
            .iter()
            .filter(|record| record.sealed().is_some())
        {
            let Some(manifest) = unless_damaged(self.manifest_of(laptop, record).map(Some))? else {
                continue;
            };
            let listed = self.for_each_object(laptop, &manifest, |entry| {
                if entry.kind == ObjectKind::Pack {
                    packs.insert(entry.id, entry.length);
                }
                Ok(())
            });
            unless_damaged(listed.map(Some))?;
        }
        Ok(packs)
    }
}
