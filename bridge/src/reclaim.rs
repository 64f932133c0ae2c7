//! Makes room: packs that the upstream has are removed from the spool, oldest set first, when room is needed.
//!
//! Place: a visit that finds little room, and forwarding after each confirmed set -> [`Spool::make_room`].
//! Invariant: a pack is removed only when every sealed set that lists it has the hub's `upstream` receipt as a file, and
//! after `sets/N/reclaimed` says durably that packs of that set may be missing. Only packs go: config, keys, index,
//! snapshots and manifests stay, so the laptop's questions what is there, and a rebuild of the journal, are answered as
//! before.

use std::collections::BTreeSet;

use berth_disk::parent;
use berth_repository::Id;
use berth_wire::{Manifest, ObjectKind, SetKind, SetSeq};

use crate::names::Folders;
use crate::record::{Forward, Reclaimed, SetRecord, SetState};
use crate::room::Excess;
use crate::spool::{damaged, unless_damaged};
use crate::{LaptopId, Spool, StoreError};

/// Room, in bytes, that is made for a visit when it begins and while it goes on, where it can be made: four packs.
pub const ROOM_SIZE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// A set that is upstream, and of which packs may still be here.
struct Candidate {
    laptop: LaptopId,
    seq: SetSeq,
    sealed_at_ns: i64,
    is_newest_complete: bool,
}

impl Spool {
    /// Sees to it that `laptop` has room for `wanted_bytes`, as far as removing packs that are upstream can do it, and no
    /// further. Returns the room that there is then.
    ///
    /// The oldest set goes first, pack by pack; those that the newest complete set of a laptop lists go last. (Which
    /// packs of older sets it takes chunks from, the hub cannot read.) For the laptop's quota only its own sets go.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Journal`]: what was removed until then is upstream; the next
    /// [`StoreOp::Begin`](crate::StoreOp::Begin) of that laptop makes the journal say so.
    pub fn make_room(&self, laptop: &LaptopId, wanted_bytes: u64) -> Result<u64, StoreError> {
        if self.room_bytes(laptop)? < wanted_bytes {
            let _no_seal = self.nothing_is_sealed();
            // Counted, not asked of the disk each time: some file systems free later, and everything would go.
            let mut excess = self.excess(laptop, wanted_bytes)?;
            let mut any = false;
            for one in self.candidates()? {
                let for_laptop = if one.laptop == *laptop {
                    excess.of_laptop
                } else {
                    0
                };
                let missing_bytes = excess.of_all.max(for_laptop);
                if missing_bytes == 0 {
                    continue;
                }
                let freed_bytes = self.reclaim(&one, missing_bytes)?;
                excess.of_all = excess.of_all.saturating_sub(freed_bytes);
                if one.laptop == *laptop {
                    excess.of_laptop = excess.of_laptop.saturating_sub(freed_bytes);
                }
                any |= freed_bytes > 0;
            }
            if any {
                self.journal.sync()?;
            }
        }
        self.room_bytes(laptop)
    }

    /// There are sets whose packs may go, of this laptop where only that helps.
    pub(crate) fn may_make_room(&self, excess: Excess, laptop: &LaptopId) -> Result<bool, StoreError> {
        let helps = |one: &Candidate| excess.of_laptop == 0 || one.laptop == *laptop;
        Ok(self.candidates()?.iter().any(helps))
    }

    /// Packs of this laptop were removed: what is missing is upstream.
    pub(crate) fn has_reclaimed(&self, laptop: &LaptopId) -> Result<bool, StoreError> {
        let any = |record: &SetRecord| {
            let forward = record.sealed().map(|sealed| &sealed.forward);
            matches!(forward, Some(Forward::Done { reclaimed, .. }) if reclaimed.bytes > 0)
        };
        Ok(self.sets(laptop)?.iter().any(any))
    }

    /// In the order in which they go.
    fn candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let mut candidates = Vec::new();
        let Some(since_ns) = self.upstream_since_ns() else {
            return Ok(candidates);
        };
        for laptop in self.laptops()? {
            let records = self.sets(&laptop)?;
            let newest = newest_complete(&records);
            // With a set all those before it were seen at the same upstream.
            let mut is_at_this_upstream = false;
            for record in records.iter().rev() {
                let Some(sealed) = record.sealed() else { continue };
                let Forward::Done { at_ns, reclaimed, .. } = &sealed.forward else {
                    continue;
                };
                is_at_this_upstream |= *at_ns >= since_ns;
                if is_at_this_upstream && !reclaimed.is_all {
                    candidates.push(Candidate {
                        laptop,
                        seq: record.seq,
                        sealed_at_ns: sealed.sealed_at_ns,
                        is_newest_complete: newest == Some(record.seq),
                    });
                }
            }
        }
        candidates.sort_by_key(|one| (one.is_newest_complete, one.sealed_at_ns, one.laptop, one.seq));
        Ok(candidates)
    }

    /// Removes packs of a set until `missing_bytes` are freed or none is left. Returns how many were freed.
    ///
    /// A set of which something is damaged is left alone: what else needs its packs cannot be told.
    fn reclaim(&self, one: &Candidate, missing_bytes: u64) -> Result<u64, StoreError> {
        let Candidate { laptop, seq, .. } = one;
        let Some(mut record) = self.journal.set(laptop, *seq)? else {
            return Ok(0);
        };
        let receipt = unless_damaged(self.forwarded(laptop, record.set_ref()))?;
        let manifest = unless_damaged(self.manifest_of(laptop, &record).map(Some))?;
        let kept = unless_damaged(self.needed_by_others(one).map(Some))?;
        let (Some(_), Some(manifest), Some(kept)) = (receipt, manifest, kept) else {
            return Ok(0);
        };
        let folders = Folders::of(laptop);
        let doing = "writing that a set is reclaimed";
        berth_disk::replace(&*self.disk, &folders.reclaimed(*seq), b"").map_err(StoreError::disk(doing))?;
        // Packs go in the order of the manifest: those after the last one that is looked at are all there.
        let (mut freed_bytes, mut gone_bytes, mut is_all) = (0, 0, true);
        let mut touched = BTreeSet::new();
        let walked = self.for_each_object(laptop, &manifest, |entry| {
            if entry.kind != ObjectKind::Pack {
                return Ok(());
            }
            let path = folders.object(*seq, entry.kind, &entry.id);
            if freed_bytes >= missing_bytes || kept.contains(&entry.id) {
                is_all = false;
                return Ok(());
            }
            if let Some(length) = self.len(&path)? {
                self.remove(&path)?;
                freed_bytes += length;
            }
            gone_bytes += entry.length;
            touched.insert(parent(&path).to_owned());
            Ok(())
        });
        // A damaged page: its packs stay.
        is_all &= unless_damaged(walked.map(Some))?.is_some();
        if is_all {
            // Never looked at again: from here on a power cut may not bring one back.
            touched.iter().try_for_each(|folder| self.sync_dir(folder))?;
        }
        if let SetState::Sealed(sealed) = &mut record.state
            && let Forward::Done { reclaimed, .. } = &mut sealed.forward
        {
            *reclaimed = Reclaimed {
                bytes: gone_bytes,
                is_all,
            };
        }
        self.journal.put(laptop, &record)?;
        self.count_gone(laptop, freed_bytes);
        Ok(freed_bytes)
    }

    /// Packs that are listed by another set of the laptop which is not upstream, or is its newest complete one.
    fn needed_by_others(&self, one: &Candidate) -> Result<BTreeSet<Id>, StoreError> {
        let mut needed = BTreeSet::new();
        let records = self.sets(&one.laptop)?;
        let newest = newest_complete(&records);
        for record in &records {
            let Some(sealed) = record.sealed() else { continue };
            let may_go = matches!(sealed.forward, Forward::Done { .. }) && newest != Some(record.seq);
            if may_go || record.seq == one.seq {
                continue;
            }
            let manifest = self.manifest_of(&one.laptop, record)?;
            self.for_each_object(&one.laptop, &manifest, |entry| {
                if entry.kind == ObjectKind::Pack {
                    needed.insert(entry.id);
                }
                Ok(())
            })?;
        }
        Ok(needed)
    }

    pub(crate) fn manifest_of(&self, laptop: &LaptopId, record: &SetRecord) -> Result<Manifest, StoreError> {
        let signed = self
            .manifest(laptop, record.seq)?
            .filter(|signed| record.set_ref().is_some_and(|set| set.manifest == signed.id()))
            .ok_or_else(|| damaged("reading a manifest"))?;
        Self::decode_manifest(&signed)
    }

    /// Packs of this set may be missing: the upstream has them.
    pub(crate) fn is_reclaimed(&self, laptop: &LaptopId, set: SetSeq) -> Result<bool, StoreError> {
        Ok(self.len(&Folders::of(laptop).reclaimed(set))?.is_some())
    }

    /// Counts what is missing of a forwarded set; `None` where the journal is right: it says that all is reclaimed only
    /// when that is durable.
    pub(crate) fn count_reclaimed(
        &self,
        laptop: &LaptopId,
        record: &SetRecord,
    ) -> Result<Option<Reclaimed>, StoreError> {
        let may_be_wrong = record.sealed().is_some_and(
            |sealed| matches!(&sealed.forward, Forward::Done { reclaimed, .. } if !reclaimed.is_all),
        );
        if !may_be_wrong || !self.is_reclaimed(laptop, record.seq)? {
            return Ok(None);
        }
        let (folders, mut reclaimed) = (Folders::of(laptop), Reclaimed::default());
        let manifest = self.manifest_of(laptop, record)?;
        self.for_each_object(laptop, &manifest, |entry| {
            let path = folders.object(record.seq, entry.kind, &entry.id);
            if entry.kind == ObjectKind::Pack && self.len(&path)?.is_none() {
                reclaimed.bytes += entry.length;
            }
            Ok(())
        })?;
        Ok(Some(reclaimed))
    }
}

fn newest_complete(records: &[SetRecord]) -> Option<SetSeq> {
    let is_complete = |record: &&SetRecord| {
        record
            .sealed()
            .is_some_and(|sealed| sealed.kind == SetKind::Complete)
    };
    records.iter().rev().find(is_complete).map(|record| record.seq)
}
