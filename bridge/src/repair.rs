//! Puts right what a crash left, and makes the journal say what the files say.
//!
//! Place: at every start for every laptop, and at every `Begin` for one. A journal that was lost, damaged or set back
//! to an older one is filled from the signed manifests by the same few lines.
//! Invariant: nothing here removes a sealed set or a byte of it.

use std::collections::BTreeSet;

use berth_wire::{RECEIPT_CONTEXT, Receipt, ReceiptLevel, SetKind, SetRef, SetSeq, Signed};

use crate::names::{Folders, set_seq};
use crate::record::{Forward, Reclaimed, SetRecord, SetState};
use crate::seal::Settled;
use crate::spool::{decoded, unless_damaged};
use crate::{LaptopId, Spool, StoreError};

/// Largest receipt file.
const RECEIPT_SIZE_BYTES_MAX: u64 = 4 * 1024;

/// What [`Spool::open`] and [`StoreOp::Begin`](crate::StoreOp::Begin) had to put right.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// A visit that a crash had cut was sealed.
    Sealed {
        /// Whose.
        laptop: LaptopId,
        /// Which set.
        set: SetRef,
        /// As what.
        kind: SetKind,
    },
    /// A visit that a crash had cut had no checkpoint; what arrived waits to be salvaged.
    Kept {
        /// Whose.
        laptop: LaptopId,
        /// The number it had.
        set: SetSeq,
    },
    /// The journal did not know a set that is in the spool, or did not know that it is upstream.
    Rebuilt {
        /// Whose.
        laptop: LaptopId,
        /// Which set.
        set: SetSeq,
    },
    /// The journal knew a set that is not in the spool; it forgot it.
    Forgotten {
        /// Whose.
        laptop: LaptopId,
        /// Which set.
        set: SetSeq,
    },
    /// A set in the spool cannot be read, and is left as it is; or what a crash left of a visit cannot: its packs wait
    /// to be salvaged, the rest was put into the folder `unreadable/`. Its number is not given again.
    Unreadable {
        /// Whose.
        laptop: LaptopId,
        /// Which set.
        set: SetSeq,
        /// Why.
        why: String,
    },
    /// A file lay where a folder belongs. It was put into the folder `unreadable/`.
    PutAside {
        /// Whose.
        laptop: LaptopId,
        /// Its name.
        name: &'static str,
    },
    /// The disk failed when this laptop's part of the spool was put right, or has no room for it. Nothing is lost; the
    /// laptop's visits are refused until it works, and each tries it again.
    Failed {
        /// Whose.
        laptop: LaptopId,
        /// Why.
        why: String,
    },
}

/// One line for the log: what happened, and what to do where something is to be done.
impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sealed { laptop, set, kind } => {
                let kind = match kind {
                    SetKind::Partial => "partial",
                    SetKind::Complete => "complete",
                };
                write!(
                    f,
                    "laptop {laptop}: set {} was under way and is now {kind}",
                    set.seq
                )
            }
            Self::Kept { laptop, set } => {
                write!(
                    f,
                    "laptop {laptop}: what arrived of set {set} waits for the laptop's next visit"
                )
            }
            Self::Rebuilt { laptop, set } => {
                write!(f, "laptop {laptop}: the journal knows set {set} again")
            }
            Self::Forgotten { laptop, set } => {
                write!(
                    f,
                    "laptop {laptop}: set {set} is not in the spool, the journal forgot it"
                )
            }
            Self::Unreadable { laptop, set, why } => write!(
                f,
                "laptop {laptop}: set {set} cannot be read ({why}); what it was is still there. Check the disk"
            ),
            Self::PutAside { laptop, name } => write!(
                f,
                "laptop {laptop}: `{name}` was a file and is now in `unreadable`. Look who else writes into the spool"
            ),
            Self::Failed { laptop, why } => write!(
                f,
                "laptop {laptop}: its visits are refused ({why}). Put the disk right; its next visit tries again"
            ),
        }
    }
}

impl Spool {
    /// Settles every visit of a laptop that a crash left, and reconciles the journal with the spool.
    pub(crate) fn repair(
        &self,
        laptop: &LaptopId,
        now_ns: i64,
        repairs: &mut Vec<Repair>,
    ) -> Result<(), StoreError> {
        let folders = Folders::of(laptop);
        self.clear_the_way(laptop, &folders, repairs)?;
        for set in self.numbers(&folders.incoming_all())? {
            let repair = match self.settle(laptop, set, now_ns) {
                Ok(Settled::Sealed(set, kind)) => Repair::Sealed {
                    laptop: *laptop,
                    set,
                    kind,
                },
                Ok(Settled::Kept) => Repair::Kept { laptop: *laptop, set },
                Ok(Settled::Nothing) => continue,
                Err(error) => {
                    let repair = unreadable(laptop, set, error)?;
                    self.give_up(laptop, set)?;
                    repair
                }
            };
            repairs.push(repair);
        }
        let before = repairs.len();
        self.reconcile(laptop, now_ns, repairs)?;
        if repairs.len() > before {
            self.journal.sync()?;
        }
        self.measure(laptop)
    }

    /// A file where a folder belongs would stop every visit.
    fn clear_the_way(
        &self,
        laptop: &LaptopId,
        folders: &Folders,
        repairs: &mut Vec<Repair>,
    ) -> Result<(), StoreError> {
        for name in ["incoming", "sets", "tails"] {
            if self.len(&format!("{}/{name}", folders.laptop()))?.is_some() {
                self.put_aside(folders, folders.laptop(), name)?;
                self.make_dir(&format!("{}/{name}", folders.laptop()))?;
                self.sync_dir(folders.laptop())?;
                repairs.push(Repair::PutAside {
                    laptop: *laptop,
                    name,
                });
            }
        }
        Ok(())
    }

    /// A visit that cannot be settled is no set; it must not stand in the way either. What its names alone tell is kept
    /// as tails, the rest is put aside.
    fn give_up(&self, laptop: &LaptopId, set: SetSeq) -> Result<(), StoreError> {
        let folders = Folders::of(laptop);
        match self.found(laptop, set) {
            Ok(cut) => drop(self.keep_tails(&cut, &[])?),
            Err(error) if error.is_damage() => {} // not even a folder
            Err(error) => return Err(error),
        }
        self.put_aside(&folders, &folders.incoming_all(), &set.to_string())?;
        self.forget_open(laptop, set)
    }

    /// Moves a file or folder of a laptop to where it is in nobody's way, under a name that is free.
    pub(crate) fn put_aside(&self, folders: &Folders, folder: &str, name: &str) -> Result<(), StoreError> {
        let aside = folders.unreadable();
        self.make_dir(&aside)?;
        self.sync_dir(folders.laptop())?;
        let taken = self.list(&aside)?;
        let free = (0..=taken.len())
            .map(|count| format!("{name}.{count}"))
            .find(|free| !taken.contains(free));
        let free = free.unwrap_or_else(|| name.to_owned()); // one more name than there are taken ones
        self.rename(&format!("{folder}/{name}"), &format!("{aside}/{free}"))?;
        self.sync_dir(&aside)?;
        self.sync_dir(folder)
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
            // Without it the upstream is looked at once more, and the hub signs again.
            && let Some(done) = unless_damaged(self.forwarded(laptop, reference))?
        {
            sealed.forward = done;
            changed = true;
        }
        let _not_reclaimed = self.nothing_is_reclaimed();
        let counted = unless_damaged(self.count_reclaimed(laptop, &record))?;
        if let Some(counted) = counted
            && let SetState::Sealed(sealed) = &mut record.state
            && let Forward::Done { reclaimed, .. } = &mut sealed.forward
        {
            changed |= *reclaimed != counted;
            *reclaimed = counted;
        }
        Ok(changed.then_some(record))
    }

    /// What the set's `upstream` receipt says, if there is one and it is the hub's own word about this very set.
    pub(crate) fn forwarded(
        &self,
        laptop: &LaptopId,
        set: Option<SetRef>,
    ) -> Result<Option<Forward>, StoreError> {
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
            reclaimed: Reclaimed::default(),
        }))
    }

    /// The highest number that the spool or the journal has seen of a laptop, as a set, a visit, a tail or what was put
    /// aside.
    pub(crate) fn highest_seen(&self, laptop: &LaptopId) -> Result<SetSeq, StoreError> {
        let folders = Folders::of(laptop);
        let sets = self.numbers(&folders.sets())?;
        let visits = self.numbers(&folders.incoming_all())?;
        let put_aside = self.list(&folders.unreadable())?;
        let put_aside = put_aside
            .iter()
            .filter_map(|name| set_seq(name.split('.').next()?));
        let tails = self.tail_names(&folders)?.into_iter().map(|tail| tail.upload.set);
        let records = self.journal.sets(laptop)?.into_iter().map(|record| record.seq);
        Ok(sets
            .into_iter()
            .chain(visits)
            .chain(put_aside)
            .chain(tails)
            .chain(records)
            .max()
            .unwrap_or(SetSeq(0)))
    }

    pub(crate) fn numbers(&self, folder: &str) -> Result<Vec<SetSeq>, StoreError> {
        let names = self.list(folder)?;
        let mut numbers: Vec<SetSeq> = names.iter().filter_map(|name| set_seq(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// What lies in one set's files must not stop the others; a disk that fails must.
fn unreadable(laptop: &LaptopId, set: SetSeq, error: StoreError) -> Result<Repair, StoreError> {
    if !error.is_damage() {
        return Err(error);
    }
    Ok(Repair::Unreadable {
        laptop: *laptop,
        set,
        why: error.with_cause(),
    })
}
