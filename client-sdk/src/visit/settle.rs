//! Which of what the laptop remembers of a hub is true, now that the hub has said what it holds.
//!
//! Place: `Welcome` -> [`settle`] -> known chunks and catalogue of this visit.
//! Invariant: a chunk becomes known here only if the set that lists it is sealed, as its manifest's id shows.

use std::io;

use berth_disk::SharedDisk;
use berth_repository::Id;
use berth_wire::SetRef;

use super::log::{LogReader, Record};
use super::memory::{CatalogueRef, Memory};
use crate::catalogue::{BlockFile, compact, is_due, remove_if_there};
use crate::claims::Remedy;
use crate::known::Known;

/// What of the memory counts.
pub(super) struct Settled {
    pub(super) memory: Memory,
    pub(super) known: Known,
    /// The hub holds sets that the laptop does not know, or not those that it knows: the known chunks must be asked for.
    pub(super) rebuild: bool,
}

/// Compares the memory with the hub's newest sealed set and takes over what a cut visit left.
pub(super) fn settle(
    disk: &SharedDisk,
    folder: &str,
    repository: Id,
    sealed: Option<SetRef>,
    remedy: Remedy,
) -> io::Result<Settled> {
    let memory = Memory::read(&**disk, folder, repository)?;
    let known = |runs: &[u64]| Known::open(disk.clone(), format!("{folder}/known"), runs);
    // Else what is remembered rests on what the hub has lost.
    if remedy == Remedy::None {
        if memory.last == sealed {
            match known(&memory.runs) {
                Ok(known) => {
                    return Ok(Settled {
                        memory,
                        known,
                        rebuild: false,
                    });
                }
                // A damaged run: all of them are asked for anew.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        } else if let Some(sealed) = sealed
            && let Some(settled) = take_over(disk, folder, repository, memory, sealed)?
        {
            return Ok(settled);
        }
    }
    Ok(Settled {
        memory: Memory::default(),
        known: known(&[])?,
        rebuild: sealed.is_some() && remedy != Remedy::SendAll,
    })
}

/// The set was begun by a visit of ours that was cut: its log says what was in it.
fn take_over(
    disk: &SharedDisk,
    folder: &str,
    repository: Id,
    memory: Memory,
    sealed: SetRef,
) -> io::Result<Option<Settled>> {
    let Some((records, snapshot, catalogue)) = find(disk, folder, sealed)? else {
        return Ok(None);
    };
    let opened = Known::open(disk.clone(), format!("{folder}/known"), &memory.runs);
    let mut known = match opened {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        opened => opened?,
    };
    if let Some(mut log) = LogReader::open(&**disk, folder, sealed.seq)? {
        for _ in 0..records {
            match log.next()? {
                Some(Record::Chunk { blob, .. }) => known.insert(blob.kind, blob.id)?,
                Some(Record::Salvaged { kind, id }) => known.insert(kind, id)?,
                Some(Record::Manifest { .. } | Record::Closed { .. }) => {}
                None => break,
            }
        }
    }
    let memory = Memory {
        last: Some(sealed),
        snapshot: Some(snapshot),
        catalogue: Some(catalogue),
        runs: known.keep()?,
    };
    memory.write(&**disk, folder, repository)?;
    Ok(Some(Settled {
        memory,
        known,
        rebuild: false,
    }))
}

/// How many records of the log come before the manifest of that set.
fn find(disk: &SharedDisk, folder: &str, sealed: SetRef) -> io::Result<Option<(u64, Id, CatalogueRef)>> {
    let Some(mut log) = LogReader::open(&**disk, folder, sealed.seq)? else {
        return Ok(None);
    };
    let mut records = 0;
    while let Some(record) = log.next()? {
        match record {
            Record::Manifest {
                id,
                snapshot,
                catalogue,
            } if id == sealed.manifest => return Ok(Some((records, snapshot, catalogue))),
            Record::Manifest { .. }
            | Record::Chunk { .. }
            | Record::Closed { .. }
            | Record::Salvaged { .. } => records += 1,
        }
    }
    Ok(None)
}

/// Opens the catalogue that goes with the memory, or a new one where there is none that can be used.
pub(super) fn open_catalogue(
    disk: &SharedDisk,
    folder: &str,
    memory: &mut Memory,
) -> io::Result<(u64, BlockFile)> {
    if let Some(catalogue) = memory.catalogue {
        match BlockFile::open(
            disk.clone(),
            catalogue_path(folder, catalogue.number),
            catalogue.length,
        ) {
            Ok(file) if is_due(catalogue.length, catalogue.weight) => {
                return copied(disk, folder, file, memory, catalogue);
            }
            Ok(file) => return Ok((catalogue.number, file)),
            // It was lost; every file is read again.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => memory.catalogue = None,
            Err(error) => return Err(error),
        }
    }
    new_catalogue(disk, folder)
}

fn new_catalogue(disk: &SharedDisk, folder: &str) -> io::Result<(u64, BlockFile)> {
    let number = catalogue_numbers(disk, folder)?.last().map_or(1, |last| last + 1);
    let file = BlockFile::create(disk.clone(), catalogue_path(folder, number))?;
    Ok((number, file))
}

/// A copy without what is of no use. The old file stays until a set that goes with the copy is sealed.
fn copied(
    disk: &SharedDisk,
    folder: &str,
    mut old: BlockFile,
    memory: &mut Memory,
    catalogue: CatalogueRef,
) -> io::Result<(u64, BlockFile)> {
    let (number, mut file) = new_catalogue(disk, folder)?;
    match compact(&mut old, catalogue.block, &mut file) {
        Ok(block) => {
            memory.catalogue = Some(CatalogueRef {
                number,
                length: file.length(),
                block,
                ..catalogue
            });
        }
        // A damaged block: every file is read again.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => memory.catalogue = None,
        Err(error) => return Err(error),
    }
    Ok((number, file))
}

/// Removes all catalogues but one.
pub(super) fn remove_other_catalogues(disk: &SharedDisk, folder: &str, keep: u64) -> io::Result<()> {
    for number in catalogue_numbers(disk, folder)? {
        if number != keep {
            remove_if_there(&**disk, &catalogue_path(folder, number))?;
        }
    }
    Ok(())
}

fn catalogue_path(folder: &str, number: u64) -> String {
    format!("{folder}/catalogue-{number}")
}

fn catalogue_numbers(disk: &SharedDisk, folder: &str) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk
        .list(folder)?
        .iter()
        .filter_map(|name| name.strip_prefix("catalogue-")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}
