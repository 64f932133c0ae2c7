//! A set on its way in: uploads, and the marks that make them durable.
//!
//! Place: the part of a [`Visit`] between `OpenSet` and `Commit`. Order of syncs, and why: `docs/spool-and-journal.md`.
//! Invariant: a mark is answered only after the data, the word how far it reaches, and the names are synced.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use berth_disk::DiskFile;
use berth_repository::Id;
use berth_wire::{Mark, ObjectKind, SetKind, SetSeq, ToLaptop};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Visit, mismatch};
use crate::check::PagesChecked;
use crate::names::IncomingName;
use crate::spool::{CheckpointFile, SyncedLength, encoded};
use crate::{Checkpoint, ROOM_SIZE_BYTES_MIN, StoreError};

/// Closed uploads that wait for the next mark with their file open. So many are synced before it.
const UNSYNCED_MAX: usize = 32;

/// The free room is asked for once in so many bytes.
const ROOM_CHECK_SIZE_BYTES: u64 = 8 * 1024 * 1024;

/// A set that is being received.
pub(crate) struct Receiving {
    pub(crate) set: SetSeq,
    pub(crate) repository: Id,
    pub(crate) uploads: BTreeMap<u32, Upload>,
    /// Closed, verified, final.
    pub(crate) held: BTreeMap<(ObjectKind, Id), Held>,
    /// Closed and verified, for the next checkpoint.
    pub(crate) provisional: BTreeMap<(ObjectKind, Id), Held>,
    /// Files of the acknowledged checkpoint's provisional objects.
    replaced: Vec<String>,
    /// Closed, with their file open until the next mark syncs it. At most [`UNSYNCED_MAX`].
    unsynced: Vec<Unsynced>,
    /// Synced since the last mark.
    synced: Vec<SyncedLength>,
    /// `lengths`, once a flush was asked for.
    lengths: Option<Box<dyn DiskFile>>,
    pub(crate) pages: PagesChecked,
    room_checked_bytes: u64,
}

/// A closed upload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Its upload's number; a salvaged pack has none (0).
    pub(crate) number: u32,
    pub(crate) length: u64,
}

pub(crate) struct Upload {
    kind: ObjectKind,
    provisional: bool,
    file: Box<dyn DiskFile>,
    hash: Sha256,
    length: u64,
    synced_length: u64,
}

struct Unsynced {
    number: Option<u32>,
    length: u64,
    file: Box<dyn DiskFile>,
}

impl Visit {
    /// The set that is being received; its folders are made when it is first asked for.
    pub(crate) fn receiving(&mut self) -> Result<&mut Receiving, StoreError> {
        if self.receiving.is_none() {
            let begun = self.begun.ok_or_else(|| mismatch("visit", "it did not begin"))?;
            self.spool.make_folders(&self.folders, begun.set)?;
            self.receiving = Some(Receiving {
                set: begun.set,
                repository: begun.repository,
                uploads: BTreeMap::new(),
                held: BTreeMap::new(),
                provisional: BTreeMap::new(),
                replaced: Vec::new(),
                unsynced: Vec::new(),
                synced: Vec::new(),
                lengths: None,
                pages: PagesChecked::default(),
                room_checked_bytes: 0,
            });
        }
        self.receiving
            .as_mut()
            .ok_or_else(|| mismatch("visit", "no set is open"))
    }

    pub(super) fn open(
        &mut self,
        number: u32,
        kind: ObjectKind,
        provisional: bool,
    ) -> Result<(), StoreError> {
        let name = IncomingName::Upload {
            number,
            kind,
            provisional,
            id: None,
        };
        let set = self.receiving()?.set;
        let path = format!("{}/{name}", self.folders.incoming(set));
        let file = self
            .spool
            .disk
            .create(&path)
            .map_err(StoreError::disk("making an upload's file"))?;
        let upload = Upload {
            kind,
            provisional,
            file,
            hash: Sha256::new(),
            length: 0,
            synced_length: 0,
        };
        self.receiving()?.uploads.insert(number, upload);
        Ok(())
    }

    pub(super) fn append(&mut self, number: u32, bytes: &Bytes) -> Result<(), StoreError> {
        let receiving = self
            .receiving
            .as_mut()
            .ok_or_else(|| mismatch("upload", "no set is open"))?;
        receiving.room_checked_bytes = receiving.room_checked_bytes.saturating_sub(bytes.len() as u64);
        if receiving.room_checked_bytes == 0 {
            let room_bytes = self.spool.room_bytes(&self.laptop)?;
            if room_bytes < 2 * ROOM_CHECK_SIZE_BYTES
                && self.spool.make_room(&self.laptop, ROOM_SIZE_BYTES_MIN)? < 2 * ROOM_CHECK_SIZE_BYTES
            {
                return Err(StoreError::Full);
            }
            receiving.room_checked_bytes = ROOM_CHECK_SIZE_BYTES;
        }
        let upload = receiving
            .uploads
            .get_mut(&number)
            .ok_or_else(|| mismatch("upload", "it is not open"))?;
        upload
            .file
            .append(bytes)
            .map_err(StoreError::disk("writing an upload"))?;
        upload.hash.update(bytes);
        upload.length += bytes.len() as u64;
        self.spool.count_come(&self.laptop, bytes.len() as u64);
        Ok(())
    }

    pub(super) fn close(&mut self, number: u32, id: Id) -> Result<(), StoreError> {
        let receiving = self.receiving()?;
        let set = receiving.set;
        let upload = receiving
            .uploads
            .remove(&number)
            .ok_or_else(|| mismatch("upload", "it is not open"))?;
        if Id::new(upload.hash.finalize().into()) != id {
            return Err(mismatch("upload", "its bytes do not hash to its id"));
        }
        let held = Held {
            number,
            length: upload.length,
        };
        let kept = if upload.provisional {
            &mut receiving.provisional
        } else {
            &mut receiving.held
        };
        kept.insert((upload.kind, id), held);
        receiving.keep_unsynced(Unsynced {
            number: Some(number),
            length: upload.length,
            file: upload.file,
        })?;
        let name = |id| IncomingName::Upload {
            number,
            kind: upload.kind,
            provisional: upload.provisional,
            id,
        };
        let folder = self.folders.incoming(set);
        self.spool.rename(
            &format!("{folder}/{}", name(None)),
            &format!("{folder}/{}", name(Some(id))),
        )
    }

    /// Adds a pack that was made of a tail; its file is whole and verified, but not synced.
    pub(crate) fn hold_salvaged(
        &mut self,
        id: Id,
        length: u64,
        file: Box<dyn DiskFile>,
    ) -> Result<(), StoreError> {
        let receiving = self.receiving()?;
        receiving
            .held
            .insert((ObjectKind::Pack, id), Held { number: 0, length });
        receiving.keep_unsynced(Unsynced {
            number: None,
            length,
            file,
        })
    }

    pub(super) fn mark(
        &mut self,
        mark: Mark,
        checkpoint: Option<Checkpoint>,
    ) -> Result<ToLaptop, StoreError> {
        if let Some(checkpoint) = &checkpoint {
            self.check(&checkpoint.manifest, SetKind::Partial, mark, &checkpoint.open)?;
        }
        match checkpoint {
            None => self.flush()?,
            Some(checkpoint) => self.write_checkpoint(checkpoint)?,
        }
        Ok(ToLaptop::Acknowledged { mark })
    }

    /// Syncs the data of everything that came, closed and open, and says how far each upload is durable then.
    pub(super) fn sync_data(&mut self) -> Result<Vec<SyncedLength>, StoreError> {
        let receiving = self.receiving()?;
        receiving.sync_closed()?;
        let mut lengths = mem::take(&mut receiving.synced);
        for (number, upload) in &mut receiving.uploads {
            if upload.synced_length < upload.length {
                upload
                    .file
                    .sync()
                    .map_err(StoreError::disk("syncing an upload"))?;
                upload.synced_length = upload.length;
            }
            lengths.push(SyncedLength {
                number: *number,
                length: upload.length,
            });
        }
        Ok(lengths)
    }

    /// Makes all that came durable: the data, then the word how far it reaches, then the names.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        let lengths = self.sync_data()?;
        let disk = Arc::clone(&self.spool.disk);
        let set = self.receiving()?.set;
        let folder = self.folders.incoming(set);
        let doing = "writing how far the uploads reach";
        let receiving = self.receiving()?;
        let file = match &mut receiving.lengths {
            Some(file) => file,
            none => none.insert(
                disk.create(&format!("{folder}/lengths"))
                    .map_err(StoreError::disk(doing))?,
            ),
        };
        file.append(&crate::lengths::record(&lengths))
            .and_then(|()| file.sync())
            .map_err(StoreError::disk(doing))?;
        self.spool.sync_dir(&folder)
    }

    /// Makes the checkpoint durable after everything that it names.
    fn write_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let lengths = self.sync_data()?;
        let receiving = self.receiving()?;
        let provisional = mem::take(&mut receiving.provisional);
        let set = receiving.set;
        let folder = self.folders.incoming(set);
        // Names before the checkpoint: were both synced by one call, a power cut in it could leave the new checkpoint
        // in the place of the old one without what it names.
        self.spool.sync_dir(&folder)?;
        let doing = "writing a checkpoint";
        let file = CheckpointFile {
            open: checkpoint.open,
            manifest: checkpoint.manifest,
            lengths,
        };
        let bytes = encoded(&file, doing)?;
        berth_disk::replace(&*self.spool.disk, &format!("{folder}/checkpoint"), &bytes)
            .map_err(StoreError::disk(doing))?;
        let names = provisional.iter().map(|((kind, id), held)| {
            let name = IncomingName::Upload {
                number: held.number,
                kind: *kind,
                provisional: true,
                id: Some(*id),
            };
            format!("{folder}/{name}")
        });
        let replaced = mem::replace(&mut self.receiving()?.replaced, names.collect());
        replaced.iter().try_for_each(|path| self.spool.remove(path))
    }
}

impl Receiving {
    fn keep_unsynced(&mut self, one: Unsynced) -> Result<(), StoreError> {
        self.unsynced.push(one);
        if self.unsynced.len() >= UNSYNCED_MAX {
            self.sync_closed()?;
        }
        Ok(())
    }

    fn sync_closed(&mut self) -> Result<(), StoreError> {
        for mut one in mem::take(&mut self.unsynced) {
            one.file.sync().map_err(StoreError::disk("syncing an upload"))?;
            self.synced.extend(one.number.map(|number| SyncedLength {
                number,
                length: one.length,
            }));
        }
        Ok(())
    }

    /// SHA-256 of the first `length` bytes of an open upload, ready to be gone on with; `None`: it is not open, or has
    /// another length, and its file must be read.
    pub(crate) fn running_hash(&self, number: u32, length: u64) -> Option<Sha256> {
        self.uploads
            .get(&number)
            .filter(|upload| upload.length == length)
            .map(|upload| upload.hash.clone())
    }
}
