//! Does a laptop's manifest say what the spool holds?
//!
//! Place: before a checkpoint or a commit is written. What passes here can be sealed whatever happens later.
//! Invariant: every entry names an object that was received whole and verified, or an open pack whose resulting id was
//! checked with the running hash. Nothing is believed of a laptop but its signature on its own words.

use berth_repository::Id;
use berth_wire::{
    MANIFEST_CONTEXT, Manifest, Mark, ObjectEntry, ObjectKind, OpenPack, PAGE_ENTRIES, PAGES_MAX, SetKind,
    Signed, TAIL_ENTRIES_MAX,
};
use sha2::{Digest, Sha256};

use crate::names::IncomingName;
use crate::spool::Spool;
use crate::visit::{Visit, mismatch};
use crate::{LaptopId, StoreError};

const WHAT: &str = "manifest";

/// Format of a manifest.
pub(crate) const MANIFEST_FORMAT: u16 = 1;

/// The pages of this visit's manifests that were checked: a page is final, so each is read once.
#[derive(Debug, Default)]
pub(crate) struct PagesChecked {
    ids: Vec<Id>,
    /// Sums of the pages up to each of `ids`.
    sums: Vec<Sum>,
}

/// Objects and bytes of them; snapshots that are not the manifest's own are not allowed.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    objects: u64,
    bytes: u64,
    snapshots: u64,
}

impl Visit {
    /// Checks a manifest of this visit.
    pub(crate) fn check(
        &mut self,
        signed: &Signed,
        kind: SetKind,
        mark: Mark,
        open: &[OpenPack],
    ) -> Result<(), StoreError> {
        let laptop = self.laptop;
        let hub = self.spool.signatures.hub();
        let manifest = self.spool.verified(&laptop, signed)?;
        let receiving = self.receiving()?;
        let fits = manifest.hub == hub
            && manifest.set == receiving.set
            && manifest.repository == receiving.repository
            && manifest.kind == kind
            && manifest.mark == mark.0
            && manifest
                .previous
                .is_none_or(|previous| previous.seq < manifest.set);
        if !fits {
            return Err(mismatch(WHAT, "it is not of this visit"));
        }
        if manifest.pages.len() > PAGES_MAX || manifest.tail.len() > TAIL_ENTRIES_MAX {
            return Err(mismatch(WHAT, "it is too long"));
        }
        for pack in open {
            self.check_open_pack(pack)?;
        }
        let mut sum = self.check_pages(&manifest.pages)?;
        for entry in &manifest.tail {
            if !self.holds_for(entry, kind, open)? {
                return Err(mismatch(WHAT, "it names what is not here"));
            }
            sum.add(entry, &manifest.snapshot)?;
        }
        if (sum.objects, sum.bytes, sum.snapshots) != (manifest.objects, manifest.bytes, 1) {
            return Err(mismatch(WHAT, "its sums are wrong"));
        }
        Ok(())
    }

    /// Pages that earlier checkpoints of this visit had in the same places are not read again.
    fn check_pages(&mut self, pages: &[Id]) -> Result<Sum, StoreError> {
        let receiving = self.receiving()?;
        let known = pages
            .iter()
            .zip(&receiving.pages.ids)
            .take_while(|(new, old)| new == old)
            .count();
        receiving.pages.ids.truncate(known);
        receiving.pages.sums.truncate(known);
        let set = receiving.set;
        let mut sum = receiving.pages.sums.last().copied().unwrap_or_default();
        for id in pages.iter().skip(known) {
            let receiving = self.receiving()?;
            let number = receiving
                .held
                .get(&(ObjectKind::Page, *id))
                .map(|held| held.number)
                .ok_or_else(|| mismatch(WHAT, "a page is not here"))?;
            let name = IncomingName::Upload {
                number,
                kind: ObjectKind::Page,
                provisional: false,
                id: Some(*id),
            };
            let path = format!("{}/{name}", self.folders.incoming(set));
            let entries = self.spool.page(&path, id).map_err(|error| match error {
                StoreError::Disk { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
                    mismatch(WHAT, "a page does not decode")
                }
                other => other,
            })?;
            if entries.len() != PAGE_ENTRIES {
                return Err(mismatch(WHAT, "a page is not full"));
            }
            for entry in &entries {
                // A page stays in every later manifest: it may name only what is final.
                if !self.holds_final(entry)? || entry.kind == ObjectKind::Snapshot {
                    return Err(mismatch(WHAT, "a page names what is not here for good"));
                }
                sum.add(entry, id)?;
            }
            let receiving = self.receiving()?;
            receiving.pages.ids.push(*id);
            receiving.pages.sums.push(sum);
        }
        Ok(sum)
    }

    fn check_open_pack(&mut self, pack: &OpenPack) -> Result<(), StoreError> {
        let receiving = self.receiving()?;
        let set = receiving.set;
        let running = receiving.running_hash(pack.upload.number, pack.length);
        let mut hash = match running {
            Some(hash) => hash,
            None => {
                let name = IncomingName::Upload {
                    number: pack.upload.number,
                    kind: ObjectKind::Pack,
                    provisional: false,
                    id: None,
                };
                let path = format!("{}/{name}", self.folders.incoming(set));
                self.spool.hash_of(&path, pack.length)?
            }
        };
        hash.update(&pack.header);
        if Id::new(hash.finalize().into()) == pack.pack {
            Ok(())
        } else {
            Err(mismatch("open pack", "it would not hash to its id"))
        }
    }

    fn holds_for(
        &mut self,
        entry: &ObjectEntry,
        kind: SetKind,
        open: &[OpenPack],
    ) -> Result<bool, StoreError> {
        if kind == SetKind::Partial {
            let as_open_pack = entry.kind == ObjectKind::Pack
                && open.iter().any(|pack| {
                    pack.pack == entry.id && pack.length + pack.header.len() as u64 == entry.length
                });
            let receiving = self.receiving()?;
            let provisional = receiving.provisional.get(&(entry.kind, entry.id));
            if as_open_pack || provisional.is_some_and(|held| held.length == entry.length) {
                return Ok(true);
            }
        }
        self.holds_final(entry)
    }

    /// Received in this visit for good; what is no pack may also be in a sealed set.
    fn holds_final(&mut self, entry: &ObjectEntry) -> Result<bool, StoreError> {
        if entry.kind == ObjectKind::Page {
            return Ok(false); // pages are named in `pages`
        }
        let receiving = self.receiving()?;
        let set = receiving.set;
        if let Some(held) = receiving.held.get(&(entry.kind, entry.id)) {
            return Ok(held.length == entry.length);
        }
        if entry.kind == ObjectKind::Pack {
            return Ok(false); // one of a set before might be reclaimed until this one is sealed
        }
        if entry.kind == ObjectKind::Config && self.spool.repository(&self.laptop)? != Some(entry.id) {
            return Ok(false);
        }
        let path = self.folders.object(set, entry.kind, &entry.id);
        Ok(self.spool.len(&path)? == Some(entry.length))
    }
}

impl Sum {
    fn add(&mut self, entry: &ObjectEntry, snapshot: &Id) -> Result<(), StoreError> {
        self.objects += 1;
        self.bytes = self
            .bytes
            .checked_add(entry.length)
            .ok_or_else(|| mismatch(WHAT, "its sums are wrong"))?;
        if entry.kind == ObjectKind::Snapshot {
            if entry.id != *snapshot {
                return Err(mismatch(WHAT, "it names another snapshot"));
            }
            self.snapshots += 1;
        }
        Ok(())
    }
}

impl Spool {
    /// Checks who signed a manifest, and decodes it.
    pub(crate) fn verified(&self, laptop: &LaptopId, signed: &Signed) -> Result<Manifest, StoreError> {
        if !self
            .signatures
            .verify(laptop, MANIFEST_CONTEXT, &signed.body, &signed.signature)
        {
            return Err(mismatch(WHAT, "its signature is wrong"));
        }
        let manifest: Manifest =
            serde_cbor::from_slice(&signed.body).map_err(|_| mismatch(WHAT, "it does not decode"))?;
        if manifest.format != MANIFEST_FORMAT || manifest.laptop != laptop.0 {
            return Err(mismatch(WHAT, "it is not of this laptop"));
        }
        Ok(manifest)
    }

    /// SHA-256 of the first `length` bytes of a file, ready to be gone on with.
    pub(crate) fn hash_of(&self, path: &str, length: u64) -> Result<Sha256, StoreError> {
        let mut hash = Sha256::new();
        self.pieces(path, 0, length, |piece| {
            hash.update(piece);
            Ok(())
        })?;
        Ok(hash)
    }

    /// Reads `start..end` of a file in pieces.
    pub(crate) fn pieces(
        &self,
        path: &str,
        start: u64,
        end: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut at = start;
        while at < end {
            let size = usize::try_from((end - at).min(PIECE_SIZE_BYTES)).unwrap_or_default();
            let piece = self
                .disk
                .read_range(path, at, size)
                .map_err(StoreError::disk("reading a file"))?;
            each(&piece)?;
            at += size as u64;
        }
        Ok(())
    }
}

/// Bytes that are read at once, where a file is read from end to end.
pub(crate) const PIECE_SIZE_BYTES: u64 = 1024 * 1024;
