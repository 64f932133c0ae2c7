//! Puts right what a crash left, and makes the journal say what the files say.
//!
//! Place: at every start for every laptop, and at every `Begin` for one. A journal that was lost, damaged or set back
//! to an older one is filled from the signed manifests by the same few lines.
//! Invariant: nothing here removes a sealed set or a byte of it.

use std::collections::BTreeSet;

use berth_wire::{RECEIPT_CONTEXT, Receipt, ReceiptLevel, SetRef, SetSeq, Signed};

use crate::names::Folders;
use crate::record::{Forward, SetRecord, SetState};
use crate::seal::Settled;
use crate::spool::{Repair, Spool, decoded};
use crate::{LaptopId, StoreError};

/// Largest receipt file.
const RECEIPT_SIZE_BYTES_MAX: u64 = 4 * 1024;

impl Spool {
    /// Settles every visit of a laptop that a crash left, and reconciles the journal with the spool.
    pub(crate) fn repair(
        &self,
        laptop: &LaptopId,
        now_ns: i64,
        repairs: &mut Vec<Repair>,
    ) -> Result<(), StoreError> {
        let folders = Folders::of(laptop);
        for set in self.numbers(&folders.incoming_all())? {
            let repair = match self.settle(laptop, set, now_ns) {
                Ok(Settled::Sealed(set, kind)) => Repair::Sealed {
                    laptop: *laptop,
                    set,
                    kind,
                },
                Ok(Settled::Kept) => Repair::Kept { laptop: *laptop, set },
                Ok(Settled::Nothing) => continue,
                Err(error) => unreadable(laptop, set, error)?,
            };
            repairs.push(repair);
        }
        let before = repairs.len();
        self.reconcile(laptop, now_ns, repairs)?;
        if repairs.len() > before {
            self.journal.sync()?;
        }
        Ok(())
    }

    fn reconcile(&self, laptop: &LaptopId, now_ns: i64, repairs: &mut Vec<Repair>) -> Result<(), StoreError> {
        let folders = Folders::of(laptop);
        let in_spool: BTreeSet<SetSeq> = self.numbers(&folders.sets())?.into_iter().collect();
        let under_way: BTreeSet<SetSeq> = self.numbers(&folders.incoming_all())?.into_iter().collect();
        for record in self.journal.sets(laptop)? {
            let there = match record.state {
                SetState::Open => under_way.contains(&record.seq),
                SetState::Sealed(_) => in_spool.contains(&record.seq),
            };
            if !there {
                self.journal.remove(laptop, record.seq)?;
                repairs.push(Repair::Forgotten {
                    laptop: *laptop,
                    set: record.seq,
                });
            }
        }
        for set in in_spool {
            let rebuilt = match self.rebuilt(laptop, set, now_ns) {
                Ok(None) => continue,
                Ok(Some(record)) => record,
                Err(error) => {
                    repairs.push(unreadable(laptop, set, error)?);
                    continue;
                }
            };
            self.journal.put(laptop, &rebuilt)?;
            repairs.push(Repair::Rebuilt { laptop: *laptop, set });
        }
        Ok(())
    }

    /// The record of a set as the spool tells it; `None` where the journal says the same already, or where sealing
    /// had only begun to make the folder.
    fn rebuilt(&self, laptop: &LaptopId, set: SetSeq, now_ns: i64) -> Result<Option<SetRecord>, StoreError> {
        let known = self.journal.set(laptop, set)?;
        let mut changed = false;
        let mut record = match known {
            Some(record) if record.sealed().is_some() => record,
            Some(_) | None => {
                let Some(signed) = self.manifest(laptop, set)? else {
                    return Ok(None);
                };
                let manifest = self.verified(laptop, &signed)?;
                if manifest.set != set || manifest.hub != self.signatures.hub() {
                    return Err(crate::visit::mismatch("manifest", "it is not of this set"));
                }
                changed = true;
                self.sealed_record(laptop, &manifest, signed.id(), now_ns)?
            }
        };
        let reference = record.set_ref();
        if let SetState::Sealed(sealed) = &mut record.state
            && !matches!(sealed.forward, Forward::Done { .. })
            && let Some(done) = self.forwarded(laptop, reference)?
        {
            sealed.forward = done;
            changed = true;
        }
        Ok(changed.then_some(record))
    }

    /// What the set's `upstream` receipt says, if there is one and it is the hub's own word about this very set.
    fn forwarded(&self, laptop: &LaptopId, set: Option<SetRef>) -> Result<Option<Forward>, StoreError> {
        let Some(set) = set else { return Ok(None) };
        let path = Folders::of(laptop).upstream_receipt(set.seq);
        let Some(bytes) = self.read_if_there(&path, RECEIPT_SIZE_BYTES_MAX)? else {
            return Ok(None);
        };
        let receipt: Signed = decoded(&bytes, "reading a receipt")?;
        let own = self
            .signatures
            .verify_own(RECEIPT_CONTEXT, &receipt.body, &receipt.signature);
        let said: Receipt = decoded(&receipt.body, "reading a receipt")?;
        let fits = own && said.laptop == laptop.0 && said.set == set && said.level == ReceiptLevel::Upstream;
        Ok(fits.then_some(Forward::Done {
            at_ns: said.at_ns,
            receipt,
        }))
    }

    /// The highest number that the spool or the journal has seen of a laptop, as a set, a visit or a tail.
    pub(crate) fn highest_seen(&self, laptop: &LaptopId) -> Result<SetSeq, StoreError> {
        let folders = Folders::of(laptop);
        let sets = self.numbers(&folders.sets())?;
        let visits = self.numbers(&folders.incoming_all())?;
        let tails = self.tail_names(&folders)?.into_iter().map(|tail| tail.upload.set);
        let records = self.journal.sets(laptop)?.into_iter().map(|record| record.seq);
        Ok(sets
            .into_iter()
            .chain(visits)
            .chain(tails)
            .chain(records)
            .max()
            .unwrap_or(SetSeq(0)))
    }

    fn numbers(&self, folder: &str) -> Result<Vec<SetSeq>, StoreError> {
        let names = self.list(folder)?;
        let mut numbers: Vec<SetSeq> = names
            .iter()
            .filter_map(|name| name.parse().ok().map(SetSeq))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// What lies in one set's files must not stop the others; a disk that fails must.
fn unreadable(laptop: &LaptopId, set: SetSeq, error: StoreError) -> Result<Repair, StoreError> {
    let harmless = match &error {
        StoreError::Mismatch { .. } => true,
        StoreError::Disk { source, .. } => source.kind() == std::io::ErrorKind::InvalidData,
        StoreError::Full
        | StoreError::Journal(_)
        | StoreError::OtherRepository
        | StoreError::Busy
        | StoreError::TooManyLaptops => false,
    };
    if !harmless {
        return Err(error);
    }
    let why = match &error {
        StoreError::Disk { doing, source } => format!("{doing}: {source}"),
        other => other.to_string(),
    };
    Ok(Repair::Unreadable {
        laptop: *laptop,
        set,
        why,
    })
}
