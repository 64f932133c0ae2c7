//! What a laptop may read back: ids and ranges of sealed objects, nothing of a visit under way.

use std::io;

use berth_repository::Id;
use berth_wire::{FETCH_SIZE_BYTES_MAX, LISTING_IDS_MAX, ObjectKind, SetSeq, ToLaptop};
use bytes::Bytes;

use crate::names::Folders;
use crate::{LaptopId, Spool, StoreError};

impl Spool {
    /// Ids of a kind above `after`, ascending, at most [`LISTING_IDS_MAX`]. Pages are read by their id only.
    pub(crate) fn listing(
        &self,
        laptop: &LaptopId,
        kind: ObjectKind,
        after: Option<Id>,
    ) -> Result<ToLaptop, StoreError> {
        let repository = Folders::of(laptop).repository();
        let mut ids = Vec::new();
        match kind {
            ObjectKind::Pack => {
                let first = after.map_or(0, |id| id.as_bytes().first().copied().unwrap_or(0));
                for first in first..=u8::MAX {
                    self.add_ids(&format!("{repository}/data/{first:02x}"), after, &mut ids)?;
                    if ids.len() > LISTING_IDS_MAX {
                        break;
                    }
                }
            }
            ObjectKind::Index => self.add_ids(&format!("{repository}/index"), after, &mut ids)?,
            ObjectKind::Snapshot => self.add_ids(&format!("{repository}/snapshots"), after, &mut ids)?,
            ObjectKind::Key => self.add_ids(&format!("{repository}/keys"), after, &mut ids)?,
            ObjectKind::Config => {
                let held = self.repository(laptop)?;
                ids.extend(held.filter(|held| after.is_none_or(|after| *held > after)));
            }
            ObjectKind::Page => {}
        }
        let more = ids.len() > LISTING_IDS_MAX;
        ids.truncate(LISTING_IDS_MAX);
        Ok(ToLaptop::Listing { ids, more })
    }

    fn add_ids(&self, folder: &str, after: Option<Id>, ids: &mut Vec<Id>) -> Result<(), StoreError> {
        let names = self.list(folder)?;
        let found = names.iter().filter_map(|name| Id::from_hex(name));
        ids.extend(found.filter(|id| after.is_none_or(|after| *id > after)));
        Ok(())
    }

    /// A range of a sealed object. Fewer bytes than asked for: it ends here.
    pub(crate) fn fetched(
        &self,
        laptop: &LaptopId,
        kind: ObjectKind,
        id: &Id,
        offset: u64,
        length: u32,
    ) -> Result<ToLaptop, StoreError> {
        let Some(path) = self.sealed_path(laptop, kind, id)? else {
            return Ok(ToLaptop::Missing);
        };
        let Some(object_length) = self.len(&path)? else {
            return Ok(ToLaptop::Missing);
        };
        let left = object_length.saturating_sub(offset);
        let size = left.min(u64::from(length.min(FETCH_SIZE_BYTES_MAX)));
        let size = usize::try_from(size).unwrap_or_default();
        match self.disk.read_range(&path, offset.min(object_length), size) {
            Ok(bytes) => Ok(ToLaptop::Fetched {
                bytes: Bytes::from(bytes),
                object_length,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ToLaptop::Missing),
            Err(error) => Err(StoreError::disk("reading an object")(error)),
        }
    }

    fn sealed_path(
        &self,
        laptop: &LaptopId,
        kind: ObjectKind,
        id: &Id,
    ) -> Result<Option<String>, StoreError> {
        let folders = Folders::of(laptop);
        match kind {
            ObjectKind::Page => {
                for set in self.sets(laptop)?.iter().rev() {
                    let path = folders.object(set.seq, kind, id);
                    if self.len(&path)?.is_some() {
                        return Ok(Some(path));
                    }
                }
                Ok(None)
            }
            ObjectKind::Config if self.repository(laptop)? != Some(*id) => Ok(None),
            ObjectKind::Config
            | ObjectKind::Pack
            | ObjectKind::Index
            | ObjectKind::Snapshot
            | ObjectKind::Key => Ok(Some(folders.object(SetSeq(0), kind, id))),
        }
    }
}
