//! Settles a visit that is over: its set is sealed as complete or partial, or what arrived is kept as tails.
//!
//! Place: after `Commit`, after a cut, and at every start for what a crash left. Order of syncs, and why:
//! `docs/spool-and-journal.md`.
//! Invariant: every step may be cut anywhere and made again. What decides lies in synced files: `sets/N/manifest` (the
//! set is sealed, only cleaning up may be left), else `incoming/N/commit`, else `incoming/N/checkpoint`, else nothing
//! of it is a set.

use std::collections::{BTreeMap, BTreeSet};

use berth_disk::parent;
use berth_repository::Id;
use berth_wire::{
    CONTROL_SIZE_BYTES_MAX, Manifest, ObjectKind, OpenPack, RECEIPT_CONTEXT, Receipt, ReceiptLevel, SetKind,
    SetRef, SetSeq, Signed,
};
use sha2::{Digest, Sha256};

use crate::names::{Folders, IncomingName, is_of_a_visit};
use crate::record::{Forward, Sealed, SetRecord, SetState};
use crate::signatures::signed;
use crate::spool::{CheckpointFile, Spool, SyncedLength, damaged, decoded, encoded, unless_damaged};
use crate::{LaptopId, StoreError};

/// What became of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is a set.
    Sealed(SetRef, SetKind),
    /// It is no set; something of it can be salvaged.
    Kept,
    /// Nothing of it was there.
    Nothing,
}

/// A visit's folder, as it was found.
pub(crate) struct Cut {
    pub(crate) laptop: LaptopId,
    pub(crate) folders: Folders,
    pub(crate) set: SetSeq,
    pub(crate) folder: String,
    pub(crate) found: Vec<Found>,
    /// Something lies there that no hub puts there. It is not deleted.
    pub(crate) is_foreign: bool,
    checkpoint: Option<CheckpointFile>,
    /// How far uploads are known to be durable.
    pub(crate) lengths: BTreeMap<u32, u64>,
}

/// A file of a visit.
pub(crate) struct Found {
    pub(crate) file: String,
    pub(crate) name: IncomingName,
    pub(crate) length: u64,
}

impl Spool {
    /// Settles a visit. Its files must not be open for writing any more.
    pub(crate) fn settle(&self, laptop: &LaptopId, set: SetSeq, now_ns: i64) -> Result<Settled, StoreError> {
        let decided = match self.manifest(laptop, set)? {
            Some(sealed) => Some(sealed),
            None => self.commit_file(laptop, set)?,
        };
        let cut = self.cut(laptop, set, decided.is_some())?;
        let manifest = decided.or_else(|| cut.checkpoint.as_ref().map(|file| file.manifest.clone()));
        let settled = if let Some(manifest) = manifest {
            let (set, kind) = self.seal(&cut, &manifest, now_ns)?;
            Settled::Sealed(set, kind)
        } else if self.keep_tails(&cut, &[])? {
            self.forget_open(laptop, set)?;
            Settled::Kept
        } else {
            self.forget_open(laptop, set)?;
            Settled::Nothing
        };
        if cut.is_foreign {
            self.put_aside(&cut.folders, &cut.folders.incoming_all(), &set.to_string())?;
        } else if !matches!(settled, Settled::Nothing) || !self.list(&cut.folder)?.is_empty() {
            self.disk
                .remove_dir(&cut.folder)
                .map_err(StoreError::disk("clearing a visit's folder"))?;
            // Were it to come back, it would be settled once more: harmless, but tails would come back with it.
            self.sync_dir(&cut.folders.incoming_all())?;
        }
        Ok(settled)
    }

    fn commit_file(&self, laptop: &LaptopId, set: SetSeq) -> Result<Option<Signed>, StoreError> {
        let path = format!("{}/commit", Folders::of(laptop).incoming(set));
        self.read_if_there(&path, CONTROL_SIZE_BYTES_MAX as u64)?
            .map(|bytes| decoded(&bytes, "reading a commit"))
            .transpose()
    }

    pub(crate) fn forget_open(&self, laptop: &LaptopId, set: SetSeq) -> Result<(), StoreError> {
        if let Some(record) = self.journal.set(laptop, set)?
            && record.state == SetState::Open
        {
            self.journal.remove(laptop, set)?;
        }
        Ok(())
    }

    /// Looks what there is of a visit. `is_decided`: what it becomes stands elsewhere, a damaged checkpoint changes nothing.
    fn cut(&self, laptop: &LaptopId, set: SetSeq, is_decided: bool) -> Result<Cut, StoreError> {
        let mut cut = self.found(laptop, set)?;
        let checkpoint = self
            .read_if_there(
                &format!("{}/checkpoint", cut.folder),
                4 * CONTROL_SIZE_BYTES_MAX as u64,
            )
            .and_then(|bytes| {
                bytes
                    .map(|bytes| decoded(&bytes, "reading a checkpoint"))
                    .transpose()
            });
        cut.checkpoint = if is_decided {
            unless_damaged(checkpoint)?
        } else {
            checkpoint?
        };
        for SyncedLength { number, length } in cut.checkpoint.iter().flat_map(|file| &file.lengths) {
            let known = cut.lengths.entry(*number).or_default();
            *known = (*known).max(*length);
        }
        Ok(cut)
    }

    /// The files of a visit by their names alone, and how far they are durable.
    pub(crate) fn found(&self, laptop: &LaptopId, set: SetSeq) -> Result<Cut, StoreError> {
        let folders = Folders::of(laptop);
        let folder = folders.incoming(set);
        let (mut found, mut is_foreign) = (Vec::new(), false);
        for file in self.list(&folder)? {
            match (IncomingName::parse(&file), self.len(&format!("{folder}/{file}"))?) {
                (Some(name), Some(length)) => found.push(Found { file, name, length }),
                (None, Some(_)) if is_of_a_visit(&file) => {}
                (_, None) | (None, Some(_)) => is_foreign = true,
            }
        }
        let mut lengths = BTreeMap::new();
        // Without it everything may be salvaged as well: only what is whole after a power cut is not known before.
        let path = format!("{folder}/lengths");
        let bytes = self.read_if_there(&path, crate::lengths::FILE_SIZE_BYTES_MAX);
        if let Some(bytes) = unless_damaged(bytes)? {
            crate::lengths::read(&bytes, &mut lengths);
        }
        Ok(Cut {
            laptop: *laptop,
            folders,
            set,
            folder,
            found,
            is_foreign,
            checkpoint: None,
            lengths,
        })
    }

    fn seal(&self, cut: &Cut, signed: &Signed, now_ns: i64) -> Result<(SetRef, SetKind), StoreError> {
        let _not_reclaimed = self.nothing_is_reclaimed();
        let manifest = Self::decode_manifest(signed)?;
        let set = SetRef {
            seq: cut.set,
            manifest: signed.id(),
        };
        if self.is_reclaimed(&cut.laptop, cut.set)? {
            // Sealed and forwarded long ago: only this folder came back.
            return Ok((set, manifest.kind));
        }
        let open: &[OpenPack] = match (&cut.checkpoint, manifest.kind) {
            (Some(checkpoint), SetKind::Partial) => &checkpoint.open,
            (_, SetKind::Complete) | (None, SetKind::Partial) => &[],
        };
        for pack in open {
            self.finish_pack(cut, pack)?;
        }
        let held = cut.held();
        self.place_pages(cut, &manifest, &held)?;
        for kinds in [
            &[ObjectKind::Config, ObjectKind::Key, ObjectKind::Pack][..],
            &[ObjectKind::Index],
        ] {
            self.place(cut, &manifest, kinds, &held)?;
        }
        let doing = "writing a manifest";
        let path = cut.folders.manifest(cut.set);
        if self.len(&path)?.is_none() {
            berth_disk::replace(&*self.disk, &path, &encoded(signed, doing)?)
                .map_err(StoreError::disk(doing))?;
        }
        self.sync_dir(&cut.folders.set(cut.set))?;
        self.place(cut, &manifest, &[ObjectKind::Snapshot], &held)?;
        match manifest.kind {
            SetKind::Partial => {
                self.keep_tails(cut, open)?;
                self.drop_salvaged(cut, &manifest)?;
            }
            SetKind::Complete => self.drop_tails(cut)?,
        }
        let record = self.sealed_record(&cut.laptop, &manifest, set.manifest, now_ns)?;
        self.journal.put(&cut.laptop, &record)?;
        self.journal.sync()?;
        Ok((set, manifest.kind))
    }

    /// What the journal says of a set that has just been sealed.
    pub(crate) fn sealed_record(
        &self,
        laptop: &LaptopId,
        manifest: &Manifest,
        id: Id,
        now_ns: i64,
    ) -> Result<SetRecord, StoreError> {
        if let Some(record) = self.journal.set(laptop, manifest.set)?
            && record.sealed().is_some_and(|sealed| sealed.manifest == id)
        {
            return Ok(record);
        }
        let set = SetRef {
            seq: manifest.set,
            manifest: id,
        };
        Ok(SetRecord {
            seq: manifest.set,
            created_at_ns: manifest.created_at_ns,
            state: SetState::Sealed(Box::new(Sealed {
                kind: manifest.kind,
                manifest: id,
                snapshot: manifest.snapshot,
                objects: manifest.objects,
                bytes: manifest.bytes,
                not_read: manifest.not_read,
                sealed_at_ns: now_ns,
                receipt: self.receipt(laptop, set, ReceiptLevel::OnHub, now_ns)?,
                forward: Forward::Waiting,
            })),
        })
    }

    /// The hub's signed word about a set. The caller has made sure that it is true.
    pub(crate) fn receipt(
        &self,
        laptop: &LaptopId,
        set: SetRef,
        level: ReceiptLevel,
        now_ns: i64,
    ) -> Result<Signed, StoreError> {
        let receipt = Receipt {
            hub: self.signatures.hub(),
            laptop: laptop.0,
            set,
            level,
            at_ns: now_ns,
        };
        let body = encoded(&receipt, "writing a receipt")?;
        Ok(signed(&*self.signatures, RECEIPT_CONTEXT, body))
    }

    /// Makes the pack that an open upload would be: its bytes are copied, so that nothing is lost if this is cut, and
    /// so that the upload stays whole as a tail.
    fn finish_pack(&self, cut: &Cut, pack: &OpenPack) -> Result<(), StoreError> {
        let length = pack.length + pack.header.len() as u64;
        let target = cut.folders.object(cut.set, ObjectKind::Pack, &pack.pack);
        if self.len(&target)? == Some(length) {
            return Ok(()); // and synced by `place`
        }
        let source = cut
            .upload(pack.upload.number)
            .ok_or_else(|| damaged("finishing a cut pack"))?;
        let made = format!("{}/finished", cut.folder);
        let (id, file) = self.copy_pack(&source, 0..pack.length, &pack.header, &made)?;
        sync(file)?;
        if id != pack.pack {
            return Err(damaged("finishing a cut pack"));
        }
        self.rename(&made, &target)
    }

    /// Writes `range` of a file and then `header` to a new file, which is not synced. Returns its SHA-256.
    pub(crate) fn copy_pack(
        &self,
        source: &str,
        range: std::ops::Range<u64>,
        header: &[u8],
        made: &str,
    ) -> Result<(Id, Box<dyn berth_disk::DiskFile>), StoreError> {
        let doing = "making a pack of a cut upload";
        self.remove(made)?;
        let mut file = self.disk.create(made).map_err(StoreError::disk(doing))?;
        let mut hash = Sha256::new();
        self.pieces(source, range.start, range.end, |piece| {
            hash.update(piece);
            file.append(piece).map_err(StoreError::disk(doing))
        })?;
        hash.update(header);
        file.append(header).map_err(StoreError::disk(doing))?;
        Ok((Id::new(hash.finalize().into()), file))
    }

    fn place_pages(
        &self,
        cut: &Cut,
        manifest: &Manifest,
        held: &BTreeMap<(ObjectKind, Id), &Found>,
    ) -> Result<(), StoreError> {
        let folder = cut.folders.pages(cut.set);
        self.make_dir(&folder)?;
        self.sync_dir(&cut.folders.sets())?;
        self.sync_dir(&cut.folders.set(cut.set))?;
        for page in &manifest.pages {
            if let Some(Found { file, .. }) = held.get(&(ObjectKind::Page, *page)) {
                self.rename(&format!("{}/{file}", cut.folder), &format!("{folder}/{page}"))?;
            }
        }
        self.sync_dir(&folder)
    }

    /// Moves the set's objects of some kinds to where they belong, and syncs every folder that holds one: a crash before
    /// may have moved them without that.
    fn place(
        &self,
        cut: &Cut,
        manifest: &Manifest,
        kinds: &[ObjectKind],
        held: &BTreeMap<(ObjectKind, Id), &Found>,
    ) -> Result<(), StoreError> {
        let mut touched = BTreeSet::new();
        self.for_each_object(&cut.laptop, manifest, |entry| {
            if !kinds.contains(&entry.kind) {
                return Ok(());
            }
            let target = cut.folders.object(cut.set, entry.kind, &entry.id);
            if self.len(&target)? != Some(entry.length) {
                let Found { file, .. } = held
                    .get(&(entry.kind, entry.id))
                    .filter(|found| found.length == entry.length)
                    .ok_or_else(|| damaged("sealing a set: an object is not there"))?;
                self.rename(&format!("{}/{file}", cut.folder), &target)?;
            }
            touched.insert(parent(&target).to_owned());
            Ok(())
        })?;
        touched.iter().try_for_each(|folder| self.sync_dir(folder))
    }
}

impl Cut {
    /// The closed objects, by what they are.
    fn held(&self) -> BTreeMap<(ObjectKind, Id), &Found> {
        let closed = |found: &Found| match found.name {
            IncomingName::Upload {
                kind, id: Some(id), ..
            } => Some((kind, id)),
            IncomingName::Salvaged { id, .. } => Some((ObjectKind::Pack, id)),
            IncomingName::Upload { id: None, .. } => None,
        };
        self.found
            .iter()
            .filter_map(|found| Some((closed(found)?, found)))
            .collect()
    }

    /// The file of an upload, closed meanwhile or not.
    fn upload(&self, wanted: u32) -> Option<String> {
        self.found.iter().find_map(|found| match found.name {
            IncomingName::Upload { number, .. } if number == wanted => {
                Some(format!("{}/{}", self.folder, found.file))
            }
            IncomingName::Upload { .. } | IncomingName::Salvaged { .. } => None,
        })
    }
}

pub(crate) fn sync(mut file: Box<dyn berth_disk::DiskFile>) -> Result<(), StoreError> {
    file.sync().map_err(StoreError::disk("syncing a pack"))
}
