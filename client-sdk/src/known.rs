//! Which chunks need not be sent: those that this hub holds in sealed sets, and those of this visit.
//!
//! Place: chunk -> [`Known::contains`] -> sealed or only named. Kept in runs: files of sorted ids with a small index at
//! their end. One run is added by a visit; small runs are merged, so that there are few.
//! Memory: 8 bytes for 128 ids of the runs (0.5 MB for 1 TB in chunks of 128 KiB; their ids are 256 MB on the disk), and
//! at most [`FRESH_IDS_MAX`] ids of this visit (about 6 MB); what is more is spilled to a run.
//! Invariant: runs are immutable; those not named in the laptop's record of this hub are removed.

mod run;

use std::collections::BTreeSet;
use std::io;

use berth_disk::SharedDisk;
use berth_repository::{BlobKind, Id};

use crate::catalogue::remove_if_there;
pub(crate) use run::{Run, RunWriter};

/// Ids of this visit kept in memory: 16 GiB of chunks.
const FRESH_IDS_MAX: usize = 128 * 1024;

/// A chunk's or tree's id as it stands in the runs. That of a tree is complemented: a file that holds the JSON of a tree
/// has the same id, but must be stored as data too.
pub(crate) fn key(kind: BlobKind, id: Id) -> [u8; 32] {
    match kind {
        BlobKind::Data => *id.as_bytes(),
        BlobKind::Tree => id.as_bytes().map(|byte| !byte),
    }
}

/// The set of known chunks of one hub.
pub(crate) struct Known {
    disk: SharedDisk,
    folder: String,
    /// Of sealed sets.
    runs: Vec<Run>,
    /// Of this visit.
    spilled: Vec<Run>,
    fresh: BTreeSet<[u8; 32]>,
    next_run: u64,
}

impl Known {
    /// Opens the runs of these numbers and removes all others.
    pub(crate) fn open(disk: SharedDisk, folder: String, numbers: &[u64]) -> io::Result<Self> {
        disk.create_dir(&folder)?;
        let mut next_run = 1;
        for name in disk.list(&folder)? {
            let number = name.parse::<u64>().ok();
            match number.filter(|number| numbers.contains(number)) {
                Some(number) => next_run = next_run.max(number + 1),
                None => remove_if_there(&*disk, &format!("{folder}/{name}"))?,
            }
        }
        let runs = numbers
            .iter()
            .map(|number| Run::open(&disk, &folder, *number))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            disk,
            folder,
            runs,
            spilled: Vec::new(),
            fresh: BTreeSet::new(),
            next_run,
        })
    }

    pub(crate) fn contains(&self, kind: BlobKind, id: Id) -> io::Result<bool> {
        let key = key(kind, id);
        if self.fresh.contains(&key) {
            return Ok(true);
        }
        for run in self.runs.iter().chain(&self.spilled) {
            if run.contains(&*self.disk, &key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds a chunk of this visit. It is kept for the next one only by [`Known::keep`].
    pub(crate) fn insert(&mut self, kind: BlobKind, id: Id) -> io::Result<()> {
        self.fresh.insert(key(kind, id));
        if self.fresh.len() >= FRESH_IDS_MAX {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer()?;
        for key in std::mem::take(&mut self.fresh) {
            writer.push(key)?;
        }
        self.spilled.push(writer.finish()?);
        Ok(())
    }

    fn writer(&mut self) -> io::Result<RunWriter> {
        let number = self.next_run;
        self.next_run += 1;
        RunWriter::create(&self.disk, &self.folder, number)
    }

    /// Makes the chunks of this visit durable beside the others and merges small runs. Gives the numbers of all runs,
    /// for the record; files of runs that are no longer needed are removed at the next [`Known::open`].
    pub(crate) fn keep(&mut self) -> io::Result<Vec<u64>> {
        self.spill()?;
        self.runs.append(&mut self.spilled);
        self.runs.sort_by_key(|run| std::cmp::Reverse(run.count()));
        // From the smallest up: merged until each run is at least twice the size of the next.
        while let [.., large, small] = self.runs.as_slice()
            && large.count() < 2 * small.count()
        {
            let (small, large) = (self.runs.pop(), self.runs.pop());
            let mut writer = self.writer()?;
            if let (Some(small), Some(large)) = (small, large) {
                run::merge(&*self.disk, &small, &large, &mut writer)?;
            }
            self.runs.push(writer.finish()?);
            self.runs.sort_by_key(|run| std::cmp::Reverse(run.count()));
        }
        self.disk.sync_dir(&self.folder)?;
        Ok(self.runs.iter().map(Run::number).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use berth_disk::OsDisk;

    use super::*;

    #[test]
    fn what_was_kept_is_known_again_and_what_was_not_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let id = |number: u32| Id::of(&number.to_le_bytes());
        let mut numbers = Vec::new();
        for visit in 0..20_u32 {
            let mut known = Known::open(disk.clone(), "known".into(), &numbers).unwrap();
            for number in 0..1000 {
                known.insert(BlobKind::Data, id(visit * 1000 + number)).unwrap();
            }
            known.insert(BlobKind::Tree, id(1_000_000 + visit)).unwrap();
            numbers = known.keep().unwrap();
            known
                .insert(BlobKind::Data, Id::of(b"of a visit that was cut"))
                .unwrap();
        }
        assert!(numbers.len() <= 6, "{} runs", numbers.len());
        let known = Known::open(disk.clone(), "known".into(), &numbers).unwrap();
        for number in 0..20_000 {
            assert!(known.contains(BlobKind::Data, id(number)).unwrap(), "{number}");
        }
        assert!(!known.contains(BlobKind::Tree, id(5)).unwrap());
        assert!(known.contains(BlobKind::Tree, id(1_000_007)).unwrap());
        assert!(!known.contains(BlobKind::Data, id(20_000)).unwrap());
        assert!(
            !known
                .contains(BlobKind::Data, Id::of(b"of a visit that was cut"))
                .unwrap()
        );
        assert_eq!(disk.list("known").unwrap().len(), numbers.len());
    }

    #[test]
    fn a_run_cut_short_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let mut known = Known::open(disk.clone(), "known".into(), &[]).unwrap();
        known.insert(BlobKind::Data, Id::of(b"x")).unwrap();
        let numbers = known.keep().unwrap();
        let path = format!("known/{}", numbers[0]);
        disk.open(&path).unwrap().truncate(10).unwrap();
        assert!(Known::open(disk, "known".into(), &numbers).is_err());
    }
}
