//! What a hub has signed for and can be asked to show: one small file for each hub.
//!
//! Place: [`crate::LookBack`] extends it and writes down what was found; the next [`crate::Visit`] makes up for that.
//! Invariant: replaced in one step and synced. What was found lost is never relied on again. A damaged file counts as
//! none: the sets are learned anew from the hub's manifests.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use berth_disk::Disk;
use berth_repository::Id;
use berth_wire::{SetRef, SetSeq};

use crate::encoding::{Damaged, Reader, put_number};

/// First bytes of the file.
const MAGIC: &[u8] = b"berth claims 1\0";

/// Sets that are kept, the newest: two years of hourly ones, 900 KB.
const SETS_MAX: usize = 20_000;

/// Objects that are kept as lost. A hub that loses more is caught again.
const LOST_MAX: usize = 4_096;

const SIZE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A sealed set, and how many objects it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) set: SetRef,
    pub(crate) objects: u64,
}

/// What the next visit does because of what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Remedy {
    #[default]
    None,
    /// Learns the known chunks anew from the hub's index, without those of lost packs.
    Rebuild,
    /// Counts no chunk at this hub as known.
    SendAll,
}

/// See the module's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Ascending, each the `previous` of the next.
    pub(crate) sets: VecDeque<Claim>,
    /// The set before the oldest of these, if it is not looked up yet.
    pub(crate) older: Option<SetRef>,
    /// Sets up to this number are not relied on.
    pub(crate) floor: u64,
    /// Objects that the hub has lost or changed.
    pub(crate) lost: BTreeSet<Id>,
    pub(crate) remedy: Remedy,
    /// Complete visits since the hub last showed anything.
    pub(crate) unseen: u64,
}

fn path(folder: &str) -> String {
    format!("{folder}/claims")
}

impl Claims {
    pub(crate) fn read(disk: &dyn Disk, folder: &str) -> io::Result<Self> {
        let path = path(folder);
        if disk.len(&path)?.is_none() {
            return Ok(Self::default());
        }
        let bytes = disk.read(&path, SIZE_BYTES_MAX)?;
        Ok(Self::decode(&bytes).unwrap_or_default())
    }

    /// Durable when this returns.
    pub(crate) fn write(&mut self, disk: &dyn Disk, folder: &str) -> io::Result<()> {
        let surplus = self.sets.len().saturating_sub(SETS_MAX);
        self.sets.drain(..surplus);
        if surplus > 0 {
            self.older = None;
        }
        while self.lost.len() > LOST_MAX {
            self.lost.pop_first();
        }
        berth_disk::replace(disk, &path(folder), &self.encoded())
    }

    /// The last set is `last`, and none before it counts any more.
    pub(crate) fn forget(&mut self, last: Option<SetRef>) {
        self.floor = last.map_or(self.floor, |last| last.seq.0);
        self.sets.clear();
        self.older = None;
    }

    fn encoded(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(match self.remedy {
            Remedy::None => 0,
            Remedy::Rebuild => 1,
            Remedy::SendAll => 2,
        });
        put_number(&mut bytes, self.unseen);
        put_number(&mut bytes, self.floor);
        put_number(&mut bytes, self.lost.len() as u64);
        for id in &self.lost {
            bytes.extend_from_slice(id.as_bytes());
        }
        let older = self.older.map(|set| Claim { set, objects: 0 });
        bytes.push(older.is_some().into());
        for claim in older.iter().chain(&self.sets) {
            put_number(&mut bytes, claim.set.seq.0);
            bytes.extend_from_slice(claim.set.manifest.as_bytes());
            put_number(&mut bytes, claim.objects);
        }
        let check = Id::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (body, check) = bytes.split_last_chunk::<32>().ok_or(Damaged)?;
        if Id::of(body).as_bytes() != check {
            return Err(Damaged);
        }
        let mut reader = Reader(body.strip_prefix(MAGIC).ok_or(Damaged)?);
        let remedy = match reader.byte()? {
            0 => Remedy::None,
            1 => Remedy::Rebuild,
            2 => Remedy::SendAll,
            _ => return Err(Damaged),
        };
        let (unseen, floor) = (reader.number()?, reader.number()?);
        let lost = (0..reader.number()?)
            .map(|_| reader.id())
            .collect::<Result<_, _>>()?;
        let has_older = reader.byte()? != 0;
        let mut sets = VecDeque::new();
        while !reader.is_empty() {
            let seq = SetSeq(reader.number()?);
            let manifest = reader.id()?;
            sets.push_back(Claim {
                set: SetRef { seq, manifest },
                objects: reader.number()?,
            });
        }
        let older = if has_older { sets.pop_front() } else { None };
        Ok(Self {
            sets,
            older: older.map(|claim| claim.set),
            floor,
            lost,
            remedy,
            unseen,
        })
    }
}

#[cfg(test)]
mod tests {
    use berth_disk::OsDisk;

    use super::*;

    fn claim(number: u64) -> Claim {
        let set = SetRef {
            seq: SetSeq(number),
            manifest: Id::of(&number.to_le_bytes()),
        };
        Claim { set, objects: number }
    }

    #[test]
    fn what_was_found_comes_back_from_the_disk_and_a_damaged_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        assert_eq!(Claims::read(&disk, "hub").unwrap(), Claims::default());
        disk.create_dir("hub").unwrap();
        for older in [None, Some(claim(2).set)] {
            let mut claims = Claims {
                sets: (3..9).map(claim).collect(),
                older,
                floor: 1,
                lost: [Id::of(b"a"), Id::of(b"b")].into(),
                remedy: Remedy::Rebuild,
                unseen: 300,
            };
            claims.write(&disk, "hub").unwrap();
            assert_eq!(Claims::read(&disk, "hub").unwrap(), claims);
        }
        let path = path("hub");
        let mut bytes = disk.read(&path, 1 << 20).unwrap();
        bytes[20] ^= 1;
        berth_disk::replace(&disk, &path, &bytes).unwrap();
        assert_eq!(Claims::read(&disk, "hub").unwrap(), Claims::default());
    }
}
