//! Executes what the receiver asks of one laptop's part of the spool.
//!
//! Place: [`StoreOp`] -> [`Visit::execute`] -> [`StoreDone`]; inline or on a thread of its own.
//! Invariant: whatever a [`StoreDone::Answer`] promises is durable when it is given. After the first failure nothing
//! but [`StoreOp::Leave`] is done any more.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use berth_disk::DiskFile;
use berth_repository::Id;
use berth_wire::{Mark, ObjectKind, PROTOCOL, RECEIPTS_MAX, SetKind, SetRef, SetSeq, Signed, ToLaptop};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::check::PagesChecked;
use crate::names::{Folders, IncomingName};
use crate::record::{Forward, SetRecord, SetState};
use crate::seal::Settled;
use crate::spool::{CheckpointFile, SyncedLength, encoded};
use crate::{Checkpoint, LaptopId, Repair, SET_SEQ_MAX, Spool, StoreDone, StoreError, StoreOp};

/// Closed uploads that wait for the next mark with their file open. So many are synced before it.
const UNSYNCED_MAX: usize = 32;

/// The free room is asked for once in so many bytes.
const ROOM_CHECK_SIZE_BYTES: u64 = 8 * 1024 * 1024;

/// One laptop's visit, as the spool sees it. Dropping it frees the laptop's place; what was not settled by
/// [`StoreOp::Leave`] is settled by the next `Begin` or the next [`Spool::open`], as after a crash.
pub struct Visit {
    pub(crate) spool: Arc<Spool>,
    pub(crate) laptop: LaptopId,
    pub(crate) folders: Folders,
    /// From `Begin`.
    begun: Option<Begun>,
    receiving: Option<Receiving>,
    failed: bool,
    disk_failed: bool,
    repairs: Vec<Repair>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    repository: Id,
    set: SetSeq,
}

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

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit")
            .field("laptop", &self.laptop)
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.spool.release(&self.laptop);
    }
}

impl Visit {
    pub(crate) fn new(spool: Arc<Spool>, laptop: LaptopId) -> Self {
        let folders = Folders::of(&laptop);
        Self {
            spool,
            laptop,
            folders,
            begun: None,
            receiving: None,
            failed: false,
            disk_failed: false,
            repairs: Vec::new(),
        }
    }

    /// What `Begin` had to put right of this laptop: for the log.
    #[must_use]
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    /// Executes one operation; `now_ns` is the hub's wall clock, nanoseconds since 1970. `None` where there is nothing
    /// to say: the operation is not asked and went well, or the visit had failed before.
    pub fn execute(&mut self, op: StoreOp, now_ns: i64) -> Option<StoreDone> {
        if matches!(op, StoreOp::Leave) {
            let sealed = self.leave(now_ns);
            return Some(StoreDone::Left { sealed });
        }
        if self.failed {
            return None;
        }
        match self.step(op, now_ns) {
            Ok(answer) => answer.map(StoreDone::Answer),
            Err(error) => {
                self.failed = true;
                self.disk_failed = matches!(error, StoreError::Disk { .. } | StoreError::Full);
                Some(StoreDone::Failed(error))
            }
        }
    }

    fn step(&mut self, op: StoreOp, now_ns: i64) -> Result<Option<ToLaptop>, StoreError> {
        match op {
            StoreOp::Begin { repository, last } => self.begin(repository, last, now_ns).map(Some),
            StoreOp::OpenSet { set, created_at_ns } => self.open_set(set, created_at_ns).map(|()| None),
            StoreOp::Salvage {
                upload,
                length,
                digest,
                header,
            } => self.salvage(upload, length, &digest, &header).map(Some),
            StoreOp::Open {
                number,
                kind,
                provisional,
            } => self.open(number, kind, provisional).map(|()| None),
            StoreOp::Append { number, bytes } => self.append(number, &bytes).map(|()| None),
            StoreOp::Close { number, id } => self.close(number, id).map(|()| None),
            StoreOp::Mark { mark, checkpoint } => self.mark(mark, checkpoint).map(Some),
            StoreOp::Commit { manifest } => self.commit(&manifest, now_ns).map(Some),
            StoreOp::List { kind, after } => self.spool.listing(&self.laptop, kind, after).map(Some),
            StoreOp::Fetch {
                kind,
                id,
                offset,
                length,
            } => self
                .spool
                .fetched(&self.laptop, kind, &id, offset, length)
                .map(Some),
            StoreOp::FetchManifest { set } => Ok(Some(
                self.spool
                    .manifest(&self.laptop, set)?
                    .map_or(ToLaptop::Missing, |manifest| ToLaptop::ManifestOf { manifest }),
            )),
            StoreOp::Leave => Ok(None), // done by `execute`
        }
    }

    fn begin(&mut self, repository: Id, last: Option<SetRef>, now_ns: i64) -> Result<ToLaptop, StoreError> {
        self.spool.repair(&self.laptop, now_ns, &mut self.repairs)?;
        let held = self.spool.repository(&self.laptop)?;
        if held.is_some_and(|held| held != repository) {
            return Err(StoreError::OtherRepository);
        }
        let named = last.map_or(0, |last| last.seq.0);
        let set = SetSeq(1 + named.max(self.spool.highest_seen(&self.laptop)?.0));
        if set.0 > SET_SEQ_MAX {
            return Err(mismatch("last set", "its number is absurd"));
        }
        self.begun = Some(Begun { repository, set });
        Ok(ToLaptop::Welcome {
            protocol: PROTOCOL,
            set,
            last: self.spool.last(&self.laptop)?,
            repository: held,
            tails: self.spool.tails(&self.laptop)?,
            room_bytes: self.spool.room_bytes()?,
            receipts: self.receipts(SetSeq(named))?,
        })
    }

    /// Receipts for `Welcome`: of the newest sets, in their order.
    fn receipts(&self, last: SetSeq) -> Result<Vec<Signed>, StoreError> {
        let mut receipts: Vec<Signed> = Vec::new();
        for record in self.spool.sets(&self.laptop)?.into_iter().rev() {
            let seq = record.seq;
            let SetState::Sealed(sealed) = record.state else {
                continue;
            };
            if let Forward::Done { receipt, .. } = sealed.forward {
                receipts.push(receipt);
            }
            if seq > last {
                receipts.push(sealed.receipt);
            }
            if receipts.len() >= RECEIPTS_MAX {
                break;
            }
        }
        receipts.truncate(RECEIPTS_MAX);
        receipts.reverse();
        Ok(receipts)
    }

    fn open_set(&mut self, set: SetSeq, created_at_ns: i64) -> Result<(), StoreError> {
        self.receiving()?;
        let record = SetRecord {
            seq: set,
            created_at_ns,
            state: SetState::Open,
        };
        // Not synced: it promises nothing, the folder in `incoming/` says the same.
        self.spool.journal.put(&self.laptop, &record)?;
        Ok(())
    }

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

    fn open(&mut self, number: u32, kind: ObjectKind, provisional: bool) -> Result<(), StoreError> {
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

    fn append(&mut self, number: u32, bytes: &Bytes) -> Result<(), StoreError> {
        let receiving = self
            .receiving
            .as_mut()
            .ok_or_else(|| mismatch("upload", "no set is open"))?;
        receiving.room_checked_bytes = receiving.room_checked_bytes.saturating_sub(bytes.len() as u64);
        if receiving.room_checked_bytes == 0 {
            if self.spool.room_bytes()? < 2 * ROOM_CHECK_SIZE_BYTES {
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
        Ok(())
    }

    fn close(&mut self, number: u32, id: Id) -> Result<(), StoreError> {
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

    fn mark(&mut self, mark: Mark, checkpoint: Option<Checkpoint>) -> Result<ToLaptop, StoreError> {
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
    fn sync_data(&mut self) -> Result<Vec<SyncedLength>, StoreError> {
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
    fn flush(&mut self) -> Result<(), StoreError> {
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

    fn commit(&mut self, signed: &Signed, now_ns: i64) -> Result<ToLaptop, StoreError> {
        self.check(signed, SetKind::Complete, Mark(0), &[])?;
        self.sync_data()?;
        let set = self.receiving()?.set;
        let folder = self.folders.incoming(set);
        self.spool.sync_dir(&folder)?;
        let doing = "writing a commit";
        // From here on a crash ends in the complete set: packs that were moved away could not be made a partial one.
        berth_disk::replace(
            &*self.spool.disk,
            &format!("{folder}/commit"),
            &encoded(signed, doing)?,
        )
        .map_err(StoreError::disk(doing))?;
        self.receiving = None;
        self.spool.settle(&self.laptop, set, now_ns)?;
        let record = self.spool.journal.set(&self.laptop, set)?;
        let receipt = record
            .and_then(|record| match record.state {
                SetState::Open => None,
                SetState::Sealed(sealed) => Some(sealed.receipt),
            })
            .ok_or_else(|| crate::spool::damaged("reading the journal"))?;
        Ok(ToLaptop::Receipt { receipt })
    }

    fn leave(&mut self, now_ns: i64) -> Result<Option<SetRef>, StoreError> {
        if self.receiving.is_some() && !self.disk_failed {
            // What arrived after the last mark is worth keeping, but if it can't be synced the rest still is. After a
            // failed sync a second one may succeed without the bytes (PostgreSQL's "fsyncgate"): then nothing more is
            // called durable.
            let _ = self.flush();
        }
        let Some(begun) = self.begun.take() else {
            return Ok(None);
        };
        self.receiving = None;
        match self.spool.settle(&self.laptop, begun.set, now_ns)? {
            Settled::Sealed(set, SetKind::Partial) => Ok(Some(set)),
            Settled::Sealed(_, SetKind::Complete) | Settled::Kept | Settled::Nothing => Ok(None),
        }
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

pub(crate) const fn mismatch(what: &'static str, why: &'static str) -> StoreError {
    StoreError::Mismatch { what, why }
}
