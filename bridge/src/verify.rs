//! Reads the spool again and compares every object with its name.
//!
//! Place: `berthctl verify`, on a thread of its own, beside visits and forwarding: what is sealed does not change.
//! Invariant: nothing is changed. An object that several sets need is read once.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;

use berth_repository::Id;
use berth_wire::{ObjectEntry, ObjectKind, SetSeq};
use sha2::{Digest, Sha256};

use crate::check::PIECE_SIZE_BYTES;
use crate::names::Folders;
use crate::{LaptopId, SetRecord, Spool, StoreError};

/// What came of reading one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It is what its name says.
    Whole {
        /// Its size.
        bytes: u64,
    },
    /// It is not there.
    Missing {
        /// The first set that needs it.
        set: SetSeq,
        /// Below the spool's root.
        path: String,
    },
    /// It is upstream only: it was removed here when room was needed.
    Reclaimed,
    /// It is not what its name says.
    Damaged {
        /// The first set that needs it.
        set: SetSeq,
        /// Below the spool's root.
        path: String,
    },
}

impl Spool {
    /// Reads every object of a laptop's sealed sets. `each` hears of every object, and may break it off.
    ///
    /// # Errors
    /// [`StoreError`]: the disk or the journal failed otherwise than by lost or changed bytes.
    pub fn verify(
        &self,
        laptop: &LaptopId,
        each: &mut dyn FnMut(Verified) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut seen = BTreeSet::new();
        for record in self.sets(laptop)? {
            if self.verify_set(laptop, &record, &mut seen, each)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn verify_set(
        &self,
        laptop: &LaptopId,
        record: &SetRecord,
        seen: &mut BTreeSet<(ObjectKind, Id)>,
        each: &mut dyn FnMut(Verified) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let Some(sealed) = record.sealed() else {
            return Ok(ControlFlow::Continue(()));
        };
        let (set, folders) = (record.seq, Folders::of(laptop));
        let path = folders.manifest(set);
        let signed = match readable(self.manifest(laptop, set))? {
            Some(Some(signed)) if signed.id() == sealed.manifest => signed,
            Some(None) => return Ok(each(Verified::Missing { set, path })),
            Some(Some(_)) | None => return Ok(each(Verified::Damaged { set, path })),
        };
        let Some(manifest) = readable(Self::decode_manifest(&signed))? else {
            return Ok(each(Verified::Damaged { set, path }));
        };
        // Page by page: one that is damaged does not hide the others.
        let mut flow = ControlFlow::Continue(());
        for page in &manifest.pages {
            let path = format!("{}/{page}", folders.pages(set));
            let entries = match self.len(&path)? {
                Some(_) => readable(self.page(&path, page))?.ok_or(Verified::Damaged { set, path }),
                None => Err(Verified::Missing { set, path }),
            };
            flow = match entries {
                Ok(entries) => self.verify_objects(laptop, set, &entries, seen, each)?,
                Err(fault) => each(fault),
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        if flow.is_continue() {
            flow = self.verify_objects(laptop, set, &manifest.tail, seen, each)?;
        }
        Ok(flow)
    }

    fn verify_objects(
        &self,
        laptop: &LaptopId,
        set: SetSeq,
        entries: &[ObjectEntry],
        seen: &mut BTreeSet<(ObjectKind, Id)>,
        each: &mut dyn FnMut(Verified) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        for entry in entries {
            if !seen.insert((entry.kind, entry.id)) {
                continue;
            }
            let path = Folders::of(laptop).object(set, entry.kind, &entry.id);
            let verified = match self.len(&path)? {
                None if entry.kind == ObjectKind::Pack && self.is_reclaimed(laptop, set)? => {
                    Verified::Reclaimed
                }
                None => Verified::Missing { set, path },
                Some(length) if length == entry.length && self.hashes_to(&path, length, &entry.id)? => {
                    Verified::Whole { bytes: length }
                }
                Some(_) => Verified::Damaged { set, path },
            };
            if each(verified).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn hashes_to(&self, path: &str, length: u64, id: &Id) -> Result<bool, StoreError> {
        let (mut hash, mut at) = (Sha256::new(), 0);
        while at < length {
            let size = usize::try_from((length - at).min(PIECE_SIZE_BYTES)).unwrap_or_default();
            match self.disk.read_range(path, at, size) {
                Ok(piece) => hash.update(&piece),
                // A sector that cannot be read any more (EIO) is damage, and what this looks for.
                Err(_) => return Ok(false),
            }
            at += size as u64;
        }
        Ok(Id::new(hash.finalize().into()) == *id)
    }
}

/// `None`: there, but not what was written there.
fn readable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(StoreError::Disk { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
