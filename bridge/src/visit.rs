//! Executes what the receiver asks of one laptop's part of the spool.
//!
//! Place: [`StoreOp`] -> [`Visit::execute`] -> [`StoreDone`]; inline or on a thread of its own.
//! Invariant: whatever a [`StoreDone::Answer`] promises is durable when it is given. After the first failure nothing
//! but [`StoreOp::Leave`] is done any more.

mod receiving;

use std::sync::Arc;

use berth_repository::Id;
use berth_wire::{Mark, ObjectKind, PROTOCOL, RECEIPTS_MAX, SetKind, SetRef, SetSeq, Signed, ToLaptop};
use receiving::Receiving;

use crate::behind::{Behind, BehindVisit};
use crate::names::Folders;
use crate::record::{Forward, SetRecord, SetState};
use crate::seal::Settled;
use crate::spool::encoded;
use crate::{LaptopId, ROOM_SIZE_BYTES_MIN, Repair, SET_SEQ_MAX, Spool, StoreDone, StoreError, StoreOp};

/// One laptop's visit, as the spool sees it. Dropping it frees the laptop's place; what was not settled by
/// [`StoreOp::Leave`] is settled by the next `Begin` or the next [`Spool::open`], as after a crash.
pub struct Visit {
    pub(crate) spool: Arc<Spool>,
    pub(crate) laptop: LaptopId,
    pub(crate) folders: Folders,
    /// From `Begin`.
    begun: Option<Begun>,
    receiving: Option<Receiving>,
    behind: Option<BehindVisit>,
    failed: bool,
    disk_failed: bool,
    repairs: Vec<Repair>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    repository: Id,
    set: SetSeq,
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
            behind: None,
            failed: false,
            disk_failed: false,
            repairs: Vec::new(),
        }
    }

    /// Whose visit it is.
    #[must_use]
    pub const fn laptop(&self) -> &LaptopId {
        &self.laptop
    }

    /// Has packs that are not in the spool any more read from behind it.
    pub fn read_behind(&mut self, behind: Box<dyn Behind>) {
        self.behind = Some(BehindVisit::new(behind));
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
                knows_unavailable,
            } => {
                let fetched = self.spool.fetched(&self.laptop, kind, &id, offset, length)?;
                match (&fetched, kind, &mut self.behind) {
                    (ToLaptop::Missing, ObjectKind::Pack, Some(behind)) if knows_unavailable => behind
                        .fetched(&self.spool, &self.laptop, &id, (offset, length))
                        .map(Some),
                    _ => Ok(Some(fetched)),
                }
            }
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
        let room_bytes = self.spool.make_room(&self.laptop, ROOM_SIZE_BYTES_MIN)?;
        let is_full = room_bytes < ROOM_SIZE_BYTES_MIN;
        Ok(ToLaptop::Welcome {
            protocol: PROTOCOL,
            set,
            last: self.spool.last(&self.laptop)?,
            repository: held,
            tails: self.spool.tails(&self.laptop)?,
            room_bytes,
            receipts: self.receipts(SetSeq(named))?,
            full: is_full.then(|| self.spool.why_full(&self.laptop)).transpose()?,
            reclaimed: self.spool.has_reclaimed(&self.laptop)?,
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
        // Said in `Welcome` already: a laptop that did not understand it is stopped before it sends.
        if self.spool.make_room(&self.laptop, ROOM_SIZE_BYTES_MIN)? < ROOM_SIZE_BYTES_MIN {
            return Err(StoreError::Full);
        }
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
        self.measure();
        let receipt = self.receipt(set)?;
        Ok(ToLaptop::Receipt { receipt })
    }

    /// The receipt of a set that was just sealed.
    fn receipt(&self, set: SetSeq) -> Result<Signed, StoreError> {
        let record = self.spool.journal.set(&self.laptop, set)?;
        record
            .and_then(|record| match record.state {
                SetState::Open => None,
                SetState::Sealed(sealed) => Some(sealed.receipt),
            })
            .ok_or_else(|| crate::spool::damaged("reading the journal"))
    }

    fn measure(&self) {
        // What can't be looked at now is measured at the next `Begin`: the set is sealed all the same.
        let _ = self.spool.measure(&self.laptop);
    }

    fn leave(&mut self, now_ns: i64) -> Result<Option<(SetRef, Signed)>, StoreError> {
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
        let settled = self.spool.settle(&self.laptop, begun.set, now_ns)?;
        self.measure();
        match settled {
            Settled::Sealed(set, SetKind::Partial) => Ok(Some((set, self.receipt(set.seq)?))),
            Settled::Sealed(_, SetKind::Complete) | Settled::Kept | Settled::Nothing => Ok(None),
        }
    }
}

pub(crate) const fn mismatch(what: &'static str, why: &'static str) -> StoreError {
    StoreError::Mismatch { what, why }
}
