//! Tails: bytes of cut uploads that belong to no set yet, and what a laptop makes of them in its next visit.
//!
//! Place: offered in `Welcome`; `Salvage` makes a pack of one, which a set of that visit lists like any other.
//! Invariant: an upload has one tail; it is given up only when a sealed set holds what it held, when a complete set was
//! sealed, or when its bytes are not what the laptop sent.

use std::collections::{BTreeMap, BTreeSet};

use berth_repository::Id;
use berth_wire::{Manifest, ObjectKind, OpenPack, TAILS_MAX, Tail, ToLaptop, UploadId};
use sha2::Digest;

use crate::names::{Folders, IncomingName, TailName};
use crate::seal::{Cut, Found};
use crate::visit::{Visit, mismatch};
use crate::{LaptopId, Spool, StoreError};

impl Spool {
    /// What a laptop can salvage, oldest first.
    pub(crate) fn tails(&self, laptop: &LaptopId) -> Result<Vec<Tail>, StoreError> {
        let folders = Folders::of(laptop);
        let mut tails = Vec::new();
        for name in self.tail_names(&folders)?.into_iter().take(TAILS_MAX) {
            if let Some(end) = self.len(&folders.tail(&name))? {
                tails.push(Tail {
                    upload: name.upload,
                    start: name.start,
                    end,
                });
            }
        }
        Ok(tails)
    }

    /// In the order in which they were uploaded.
    pub(crate) fn tail_names(&self, folders: &Folders) -> Result<Vec<TailName>, StoreError> {
        let names = self.list(&folders.tails())?;
        let mut tails: Vec<TailName> = names.iter().filter_map(|name| TailName::parse(name)).collect();
        tails.sort_unstable();
        Ok(tails)
    }

    /// Keeps the bytes of packs that belong to no set. True if there are any.
    pub(crate) fn keep_tails(&self, cut: &Cut, open: &[OpenPack]) -> Result<bool, StoreError> {
        let mut kept = false;
        let names = self.tail_names(&cut.folders)?;
        let before: BTreeSet<UploadId> = names.iter().map(|name| name.upload).collect();
        for Found { file, name, .. } in &cut.found {
            let IncomingName::Upload {
                number,
                kind: ObjectKind::Pack,
                provisional: false,
                ..
            } = name
            else {
                continue;
            };
            let path = format!("{}/{file}", cut.folder);
            let Some(end) = self.len(&path)? else {
                continue; // it became a pack of the set
            };
            let start = open
                .iter()
                .find(|pack| pack.upload.number == *number)
                .map_or(0, |pack| pack.length);
            if end <= start {
                continue;
            }
            let upload = UploadId {
                set: cut.set,
                number: *number,
            };
            if before.contains(&upload) {
                // The file has its old name too: settled before, without the power to forget it. What is under START was
                // known then, from a checkpoint that may be gone now.
                self.remove(&path)?;
                kept = true;
                continue;
            }
            let tail = TailName {
                upload,
                start,
                safe: cut.lengths.get(number).copied().unwrap_or(0).min(end),
            };
            self.rename(&path, &cut.folders.tail(&tail))?;
            kept = true;
        }
        // Also without a new one: a crash may have come between the renames and this.
        if !self.list(&cut.folders.tails())?.is_empty() {
            self.sync_dir(&cut.folders.tails())?;
        }
        Ok(kept)
    }

    /// The tails that this set's salvaged packs were made of have served.
    pub(crate) fn drop_salvaged(&self, cut: &Cut, manifest: &Manifest) -> Result<(), StoreError> {
        let made_of = |found: &Found| match found.name {
            IncomingName::Salvaged { tail, id } => Some((id, tail)),
            IncomingName::Upload { .. } => None,
        };
        let tail_of: BTreeMap<Id, UploadId> = cut.found.iter().filter_map(made_of).collect();
        let mut served = BTreeSet::new();
        self.for_each_object(&cut.laptop, manifest, |entry| {
            served.extend(tail_of.get(&entry.id).copied());
            Ok(())
        })?;
        self.remove_tails(cut, |tail| served.contains(&tail.upload))
    }

    /// A complete set holds all there is: older tails have served. Those of a later visit have not, should this set be
    /// settled a second time.
    pub(crate) fn drop_tails(&self, cut: &Cut) -> Result<(), StoreError> {
        self.remove_tails(cut, |tail| tail.upload.set <= cut.set)
    }

    fn remove_tails(&self, cut: &Cut, which: impl Fn(&TailName) -> bool) -> Result<(), StoreError> {
        for name in self.tail_names(&cut.folders)?.iter().filter(|name| which(name)) {
            let path = cut.folders.tail(name);
            // What is no file is none of ours.
            if self.len(&path)?.is_some() {
                self.remove(&path)?;
            }
        }
        Ok(())
    }
}

impl Visit {
    /// Makes a pack of a tail: checks `digest` over its first `length` bytes, copies those from its start on, appends
    /// `header`. The tail stays until a set that lists the pack is sealed.
    pub(crate) fn salvage(
        &mut self,
        upload: UploadId,
        length: u64,
        digest: &Id,
        header: &[u8],
    ) -> Result<ToLaptop, StoreError> {
        let gone = |length| ToLaptop::Salvaged {
            upload,
            pack: None,
            length,
        };
        let names = self.spool.tail_names(&self.folders)?;
        let Some(name) = names.into_iter().find(|name| name.upload == upload) else {
            return Ok(gone(0));
        };
        let path = self.folders.tail(&name);
        let end = self.spool.len(&path)?.unwrap_or(0);
        if length <= name.start || length > end {
            return Err(mismatch("salvage", "its length is not within the tail"));
        }
        let Ok(hash) = self.spool.hash_of(&path, length) else {
            // It can't be read now: no use to this visit, but no reason to give it up.
            return Ok(gone(0));
        };
        if Id::new(hash.finalize().into()) != *digest {
            return self.give_up(&name, length).map(gone);
        }
        let set = self.receiving()?.set;
        let folder = self.folders.incoming(set);
        let made = format!("{folder}/salvaging");
        let (id, file) = self.spool.copy_pack(&path, name.start..length, header, &made)?;
        let kept = IncomingName::Salvaged { tail: upload, id };
        self.spool.rename(&made, &format!("{folder}/{kept}"))?;
        let length = length - name.start + header.len() as u64;
        self.hold_salvaged(id, length, file)?;
        Ok(ToLaptop::Salvaged {
            upload,
            pack: Some(id),
            length,
        })
    }

    /// Its bytes are not what was sent. Those above `safe` may not have been synced when the power went: if only they
    /// are asked for less, what is below may still be whole. Returns how much of the tail is left.
    fn give_up(&self, name: &TailName, length: u64) -> Result<u64, StoreError> {
        let path = self.folders.tail(name);
        if name.safe <= name.start || name.safe >= length {
            self.spool.remove(&path)?;
            return Ok(0);
        }
        let doing = "shortening a tail";
        let mut file = self.spool.disk.open(&path).map_err(StoreError::disk(doing))?;
        file.truncate(name.safe)
            .and_then(|()| file.sync())
            .map_err(StoreError::disk(doing))?;
        Ok(name.safe)
    }
}
