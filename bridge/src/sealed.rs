//! What a server that calls the hub may see of a laptop, and confirm: the objects of sealed sets.
//!
//! Place: `berth-server` lists, reads and compares with these; what reclaiming removed is listed, too, for it is
//! upstream.
//! Invariant: only what the manifests of sealed sets list is told, so nothing of a visit that is open or being sealed.
//! A set is told with every set before it: its snapshot may need their chunks.

use std::io;

use berth_wire::{Manifest, ObjectEntry, ObjectKind, SetRef, SetSeq};

use crate::forward::send_rank;
use crate::names::Folders;
use crate::record::Forward;
use crate::spool::{damaged, unless_damaged};
use crate::{LaptopId, SetRecord, Spool, StoreError};

impl Spool {
    /// Every object of the laptop's sealed sets once, by kind and id. It ends before the first set whose manifest is
    /// damaged; about 60 bytes an object.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sealed_objects(&self, laptop: &LaptopId) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut objects = Vec::new();
        for record in self.sets(laptop)? {
            let Some(set) = record.set_ref() else { continue };
            match unless_damaged(self.objects_of(laptop, set))? {
                Some(of_set) => objects.extend(of_set),
                None => break,
            }
        }
        objects.sort_unstable_by_key(|entry| (entry.kind, entry.id));
        objects.dedup_by_key(|entry| (entry.kind, entry.id));
        Ok(objects)
    }

    /// The objects of one sealed set in the order in which they go upstream: config and keys, packs, index, snapshot.
    /// The config is among them in every set. `None`: there is no such set.
    ///
    /// # Errors
    /// [`StoreError`]; also when the manifest is damaged.
    pub fn set_objects(
        &self,
        laptop: &LaptopId,
        set: SetSeq,
    ) -> Result<Option<(SetRef, Vec<ObjectEntry>)>, StoreError> {
        let record = self.journal.set(laptop, set)?;
        let Some(set) = record.as_ref().and_then(SetRecord::set_ref) else {
            return Ok(None);
        };
        let objects = self.objects_of(laptop, set)?;
        Ok(objects.map(|objects| (set, objects)))
    }

    fn objects_of(&self, laptop: &LaptopId, set: SetRef) -> Result<Option<Vec<ObjectEntry>>, StoreError> {
        let doing = "reading a manifest";
        let signed = self.manifest(laptop, set.seq)?;
        let signed = signed.filter(|signed| signed.id() == set.manifest);
        let manifest = Self::decode_manifest(&signed.ok_or_else(|| damaged(doing))?)?;
        let mut objects = Vec::new();
        self.for_each_object(laptop, &manifest, |entry| {
            objects.push(*entry);
            Ok(())
        })?;
        if objects.iter().all(|entry| entry.kind != ObjectKind::Config) {
            objects.push(self.config_of(laptop, &manifest)?);
        }
        objects.sort_by_key(|entry| send_rank(entry.kind));
        Ok(Some(objects))
    }

    fn config_of(&self, laptop: &LaptopId, manifest: &Manifest) -> Result<ObjectEntry, StoreError> {
        let (kind, id) = (ObjectKind::Config, manifest.repository);
        let path = Folders::of(laptop).object(manifest.set, kind, &id);
        let length = self.len(&path)?.ok_or_else(|| damaged("reading the config"))?;
        Ok(ObjectEntry { kind, id, length })
    }

    /// At most `size_bytes_max` bytes of an object that [`Spool::sealed_objects`] listed, from `offset` on. `None`:
    /// the spool has it no more; it is upstream.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    pub fn sealed_bytes(
        &self,
        laptop: &LaptopId,
        entry: &ObjectEntry,
        offset: u64,
        size_bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = Folders::of(laptop).object(SetSeq(0), entry.kind, &entry.id);
        let left = usize::try_from(entry.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        match self.disk.read_range(&path, offset, left.min(size_bytes_max)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::disk("reading an object")(error)),
        }
    }

    /// The oldest sealed set that the upstream of now has not confirmed; with a set those before it are. `None`: there
    /// is none, or no upstream.
    ///
    /// # Errors
    /// [`StoreError::Journal`].
    pub fn to_confirm(&self, laptop: &LaptopId) -> Result<Option<SetRef>, StoreError> {
        let Some(since_ns) = self.upstream_since_ns() else {
            return Ok(None);
        };
        let is_there = |record: &SetRecord| {
            let forward = record.sealed().map(|sealed| &sealed.forward);
            matches!(forward, Some(Forward::Done { at_ns, .. }) if *at_ns >= since_ns)
        };
        let sets = self.sets(laptop)?;
        let confirmed = sets.iter().rposition(is_there).map_or(0, |last| last + 1);
        Ok(sets.iter().skip(confirmed).find_map(SetRecord::set_ref))
    }
}
