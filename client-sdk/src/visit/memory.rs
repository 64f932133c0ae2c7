//! What the laptop remembers of one hub: one small file that names the others.
//!
//! Place: read when a visit begins, replaced when a set is known to be sealed.
//! Invariant: replaced in one step and synced, after everything it names was synced. What it does not name is garbage.

use std::io;

use berth_disk::Disk;
use berth_repository::Id;
use berth_wire::{SetKind, SetRef, SetSeq};

use crate::catalogue::BlockRef;
use crate::encoding::{Damaged, Reader, put_number};

/// First bytes of the file.
const MAGIC: &[u8] = b"berth hub 1\0";

/// Some hundred bytes, and a number for each run of known chunks.
const SIZE_BYTES_MAX: u64 = 64 * 1024;

/// Where the catalogue of a set ends, and its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CatalogueRef {
    /// Which file: `catalogue-<number>`.
    pub(crate) number: u64,
    /// Bytes of the file that count.
    pub(crate) length: u64,
    pub(crate) tree: Id,
    pub(crate) block: BlockRef,
    /// Bytes of all blocks that are still in use.
    pub(crate) weight: u64,
    /// Of a visit that was cut: its tree may hold what no folder holds.
    pub(crate) is_partial: bool,
}

impl CatalogueRef {
    /// Of the set that it goes with.
    pub(crate) fn kind(&self) -> SetKind {
        if self.is_partial {
            SetKind::Partial
        } else {
            SetKind::Complete
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.number);
        put_number(out, self.length);
        out.extend_from_slice(self.tree.as_bytes());
        self.block.put(out);
        put_number(out, self.weight);
        out.push(self.is_partial.into());
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            number: reader.number()?,
            length: reader.number()?,
            tree: reader.id()?,
            block: BlockRef::take(reader)?,
            weight: reader.number()?,
            is_partial: reader.byte()? != 0,
        })
    }
}

/// What is remembered of a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The newest set that is known to be sealed there.
    pub(crate) last: Option<SetRef>,
    /// Its snapshot.
    pub(crate) snapshot: Option<Id>,
    /// The catalogue that goes with it.
    pub(crate) catalogue: Option<CatalogueRef>,
    /// Runs of known chunks.
    pub(crate) runs: Vec<u64>,
}

fn path(folder: &str) -> String {
    format!("{folder}/last")
}

impl Memory {
    /// Nothing is remembered where there is no file, where it is damaged, or where it is about another repository: then
    /// the visit rebuilds from the hub's index.
    pub(crate) fn read(disk: &dyn Disk, folder: &str, repository: Id) -> io::Result<Self> {
        let path = path(folder);
        if disk.len(&path)?.is_none() {
            return Ok(Self::default());
        }
        let bytes = disk.read(&path, SIZE_BYTES_MAX)?;
        Ok(Self::decode(&bytes, repository).unwrap_or_default())
    }

    fn decode(bytes: &[u8], repository: Id) -> Result<Self, Damaged> {
        let (body, check) = bytes.split_last_chunk::<32>().ok_or(Damaged)?;
        if Id::of(body).as_bytes() != check {
            return Err(Damaged);
        }
        let mut reader = Reader(body.strip_prefix(MAGIC).ok_or(Damaged)?);
        if reader.id()? != repository {
            return Err(Damaged);
        }
        let last = optional(&mut reader, |reader| {
            Ok(SetRef {
                seq: SetSeq(reader.number()?),
                manifest: reader.id()?,
            })
        })?;
        let snapshot = optional(&mut reader, |reader| reader.id())?;
        let catalogue = optional(&mut reader, CatalogueRef::take)?;
        let mut runs = Vec::new();
        while !reader.is_empty() {
            runs.push(reader.number()?);
        }
        Ok(Self {
            last,
            snapshot,
            catalogue,
            runs,
        })
    }

    /// Durable when this returns.
    pub(crate) fn write(&self, disk: &dyn Disk, folder: &str, repository: Id) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(repository.as_bytes());
        bytes.push(self.last.is_some().into());
        if let Some(last) = self.last {
            put_number(&mut bytes, last.seq.0);
            bytes.extend_from_slice(last.manifest.as_bytes());
        }
        bytes.push(self.snapshot.is_some().into());
        if let Some(snapshot) = self.snapshot {
            bytes.extend_from_slice(snapshot.as_bytes());
        }
        bytes.push(self.catalogue.is_some().into());
        if let Some(catalogue) = &self.catalogue {
            catalogue.put(&mut bytes);
        }
        for run in &self.runs {
            put_number(&mut bytes, *run);
        }
        let check = Id::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        berth_disk::replace(disk, &path(folder), &bytes)
    }
}

fn optional<T>(
    reader: &mut Reader<'_>,
    take: impl FnOnce(&mut Reader<'_>) -> Result<T, Damaged>,
) -> Result<Option<T>, Damaged> {
    match reader.byte()? {
        0 => Ok(None),
        1 => take(reader).map(Some),
        _ => Err(Damaged),
    }
}
