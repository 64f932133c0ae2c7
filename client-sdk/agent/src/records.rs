//! What the laptop keeps of its visits: sets, receipts and how the last visit ended, one file for each hub.
//!
//! Place: written when a hub has welcomed a visit and when the visit is over; read by `berth status` and `berth sets`,
//! with no hub near. Invariant: replaced in one step and synced; receipts are kept as the hub signed them; a damaged file
//! is set aside, never overwritten. What it says is for people: a visit decides nothing by it.

use std::io;

use berth_client_sdk::{Finding, Progress, SealedSet, Summary};
use berth_disk::{Disk, replace};
use berth_radio::Joined;
use berth_repository::Id;
use berth_wire::{Receipt, ReceiptLevel, SetKind, SetRef, Signed, decode};
use serde::{Deserialize, Serialize};

use crate::Steps;

const FOLDER: &str = "visits";

/// Sets of one hub that are remembered: the newest. Three weeks of hourly sets, 300 KB.
pub const SETS_MAX: usize = 500;

/// Two receipts of some 250 bytes each and a hundred bytes more, for [`SETS_MAX`] sets.
const SIZE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What is kept of one hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubRecord {
    /// Ed25519 key of the hub, in hexadecimal digits.
    pub hub: String,
    /// What it calls itself.
    pub name: String,
    /// Ascending by number; at most [`SETS_MAX`].
    pub sets: Vec<SetRecord>,
    /// The newest visit.
    pub visit: Option<VisitRecord>,
    /// What this hub was last found to have lost or changed, although it had confirmed it.
    #[serde(default)]
    pub trouble: Option<Trouble>,
}

/// What a hub was found to have lost or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Wall clock of the laptop, nanoseconds since 1970.
    pub at_ns: i64,
    /// In words, without the hub's name and without advice.
    pub words: String,
}

/// Findings that are named one by one.
const FINDINGS_NAMED_MAX: usize = 3;

impl Trouble {
    /// `None`: nothing was found.
    fn of(findings: &[Finding], at_ns: i64) -> Option<Self> {
        let named = findings.iter().take(FINDINGS_NAMED_MAX).map(ToString::to_string);
        let mut words = named.collect::<Vec<_>>().join("; ");
        let more = findings.len().saturating_sub(FINDINGS_NAMED_MAX);
        if more > 0 {
            words += &format!("; and {more} more");
        }
        (!findings.is_empty()).then_some(Self { at_ns, words })
    }

    /// One line for a person.
    #[must_use]
    pub fn line(&self, hub: &str) -> String {
        format!(
            "The hub {hub} has lost or changed backups that it had confirmed: {}. {}",
            self.words,
            Finding::ADVICE
        )
    }
}

/// One set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRecord {
    /// Its number at this hub.
    pub set: u64,
    /// `None`: not made with this state folder.
    pub kind: Option<SetKind>,
    /// Its snapshot; of a partial set, once the hub has said which checkpoint it has sealed: after a cut, at the next visit.
    pub snapshot: Option<Id>,
    /// Wall clock of the laptop when the visit began, nanoseconds since 1970.
    pub created_at_ns: Option<i64>,
    /// Files in the set; of a partial one, those that the visit read.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// The hub's word that it survives a power cut there.
    pub on_hub: Option<Signed>,
    /// The hub's word that the upstream has it, checked.
    pub upstream: Option<Signed>,
}

/// One visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitRecord {
    /// Number of its set.
    pub set: u64,
    /// Wall clock, nanoseconds since 1970.
    pub began_at_ns: i64,
    /// The same; of a visit whose process was killed, that of its beginning.
    pub ended_at_ns: i64,
    /// How it ended.
    pub end: VisitEnd,
    /// Bytes of new and changed files.
    pub bytes_changed: u64,
    /// Of these, the bytes on the hub.
    pub bytes_acknowledged: u64,
    /// Of these, the bytes that can be restored at once.
    pub bytes_restorable: u64,
    /// Entries that could not be read as they should be.
    pub not_read: u64,
    /// How long it took to begin; empty while it has not ended, and from versions that did not keep it.
    #[serde(default)]
    pub steps: Steps,
    /// How it got into the hub's group, where it has ended and needed one.
    #[serde(default)]
    pub joined: Option<Joined>,
}

/// How a visit ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VisitEnd {
    /// It has not, or its process was killed.
    UnderWay,
    /// With a complete set.
    Complete,
    /// The person left, with a checkpoint and goodbye.
    Left,
    /// The link was cut.
    Cut,
    /// For this reason.
    Failed(String),
}

impl SetRecord {
    /// When the hub sealed the set, by the hub's clock in nanoseconds since 1970.
    #[must_use]
    pub fn sealed_at_ns(&self) -> Option<i64> {
        self.on_hub.as_ref().and_then(at_ns)
    }

    /// When the upstream was found to have it, the same way.
    #[must_use]
    pub fn forwarded_at_ns(&self) -> Option<i64> {
        self.upstream.as_ref().and_then(at_ns)
    }
}

fn at_ns(receipt: &Signed) -> Option<i64> {
    decode::<Receipt>(&receipt.body).ok().map(|receipt| receipt.at_ns)
}

/// The set that a receipt is for.
fn sealed(receipt: &Signed) -> Option<SetRef> {
    decode::<Receipt>(&receipt.body).ok().map(|receipt| receipt.set)
}

/// A hub's key as it names its file.
#[must_use]
pub fn hub_hex(hub: &[u8; 32]) -> String {
    Id::new(*hub).to_string()
}

impl HubRecord {
    /// Reads what is kept of a hub; empty where nothing is. A damaged file is renamed to `NAME.damaged` (`true` says so):
    /// the hub sends its receipts again.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(disk: &dyn Disk, hub: &[u8; 32]) -> io::Result<(Self, bool)> {
        let hub = hub_hex(hub);
        let path = format!("{FOLDER}/{hub}");
        let empty = || Self {
            hub: hub.clone(),
            ..Self::default()
        };
        match read(disk, &path) {
            Ok(record) => Ok((record.unwrap_or_else(empty), false)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                disk.rename(&path, &format!("{path}.damaged"))?;
                disk.sync_dir(FOLDER)?;
                Ok((empty(), true))
            }
            Err(error) => Err(error),
        }
    }

    /// What is kept of every hub. A damaged file is named in the second list, and left as it is.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read_all(disk: &dyn Disk) -> io::Result<(Vec<Self>, Vec<String>)> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for name in disk.list(FOLDER)? {
            let path = format!("{FOLDER}/{name}");
            // What `replace` or a person left beside them.
            if name.contains('.') {
                continue;
            }
            match read(disk, &path) {
                Ok(record) => records.extend(record),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => damaged.push(path),
                Err(error) => return Err(error),
            }
        }
        Ok((records, damaged))
    }

    /// Durable when this returns.
    ///
    /// # Errors
    /// Those of the disk; what was kept before is still there.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut bytes = serde_cbor::to_vec(self).map_err(io::Error::other)?;
        let check = Id::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        disk.create_dir(FOLDER)?;
        disk.sync_dir("")?;
        replace(disk, &format!("{FOLDER}/{}", self.hub), &bytes)
    }

    /// Takes in what the hub's welcome said: which set this visit makes, receipts, and what became of the set before.
    pub fn welcomed(&mut self, name: &str, progress: &Progress, began_at_ns: i64) {
        name.clone_into(&mut self.name);
        for receipt in &progress.receipts {
            self.signed(receipt);
        }
        if let Some(last) = &progress.last {
            let set = self.set(last.set.seq.0);
            set.kind = last.kind.or(set.kind);
            set.snapshot = last.snapshot.or(set.snapshot);
        }
        if let Some(set) = progress.set {
            self.visit = Some(VisitRecord {
                set: set.0,
                began_at_ns,
                ended_at_ns: began_at_ns,
                end: VisitEnd::UnderWay,
                bytes_changed: 0,
                bytes_acknowledged: 0,
                bytes_restorable: 0,
                not_read: 0,
                steps: Steps::default(),
                joined: None,
            });
        }
    }

    /// Takes in how the visit ended.
    pub fn ended(&mut self, progress: &Progress, end: VisitEnd, summary: Option<&Summary>, at_ns: i64) {
        for receipt in &progress.receipts {
            self.signed(receipt);
        }
        self.trouble = Trouble::of(&progress.findings, at_ns).or(self.trouble.take());
        let Some(visit) = &mut self.visit else { return };
        visit.ended_at_ns = at_ns;
        visit.end = end;
        visit.bytes_changed = progress.bytes_changed;
        visit.bytes_acknowledged = progress.bytes_acknowledged;
        visit.bytes_restorable = progress.bytes_restorable;
        visit.not_read = summary.map_or(0, |summary| summary.not_read_count);
        let (number, began_at_ns) = (visit.set, visit.began_at_ns);
        let is_sealed = self.sets.iter().any(|set| set.set == number);
        let has_partial = is_sealed || progress.bytes_restorable > 0;
        match summary {
            Some(summary) => {
                let set = self.set(number);
                set.kind = Some(summary.kind);
                set.snapshot = Some(summary.snapshot);
                set.created_at_ns = Some(began_at_ns);
                (set.files, set.bytes) = (summary.files, summary.bytes_scanned);
                self.signed(&summary.receipt);
            }
            // Sealed by the hub as it hears that we have gone; where its receipt was lost, the next visit brings it.
            None if has_partial => {
                let set = self.set(number);
                set.kind = Some(SetKind::Partial);
                set.created_at_ns = Some(began_at_ns);
                (set.files, set.bytes) = (progress.files_done, progress.bytes_restorable);
                let is_sealed = |made: &SealedSet| set.on_hub.as_ref().and_then(sealed) == Some(made.set);
                set.snapshot = progress
                    .checkpoint
                    .filter(is_sealed)
                    .and_then(|made| made.snapshot);
            }
            None => {}
        }
        let surplus = self.sets.len().saturating_sub(SETS_MAX);
        self.sets.drain(..surplus);
    }

    /// When a set was sealed, as [`SetRecord::sealed_at_ns`] has it.
    #[must_use]
    pub fn sealed_at_ns(&self, set: u64) -> Option<i64> {
        let place = self.sets.binary_search_by_key(&set, |set| set.set).ok()?;
        self.sets.get(place)?.sealed_at_ns()
    }

    /// The newest complete set that the hub has signed for.
    #[must_use]
    pub fn last_complete(&self) -> Option<&SetRecord> {
        let is_safe = |set: &&SetRecord| {
            set.kind == Some(SetKind::Complete) && (set.on_hub.is_some() || set.upstream.is_some())
        };
        self.sets.iter().rev().find(is_safe)
    }

    /// The oldest set that the hub had, and its upstream had not, at the last visit. They go up in order.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<&SetRecord> {
        let upstream = self.sets.iter().rposition(|set| set.upstream.is_some());
        let mut later = self.sets.iter().skip(upstream.map_or(0, |place| place + 1));
        later.find(|set| set.on_hub.is_some())
    }

    fn set(&mut self, number: u64) -> &mut SetRecord {
        let place = match self.sets.binary_search_by_key(&number, |set| set.set) {
            Ok(place) => place,
            Err(place) => {
                let set = SetRecord {
                    set: number,
                    ..SetRecord::default()
                };
                self.sets.insert(place, set);
                place
            }
        };
        &mut self.sets[place]
    }

    fn signed(&mut self, receipt: &Signed) {
        let Ok(told) = decode::<Receipt>(&receipt.body) else {
            return;
        };
        let set = self.set(told.set.seq.0);
        match told.level {
            ReceiptLevel::OnHub => set.on_hub = Some(receipt.clone()),
            ReceiptLevel::Upstream => set.upstream = Some(receipt.clone()),
        }
    }
}

/// [`io::ErrorKind::InvalidData`]: damaged.
fn read(disk: &dyn Disk, path: &str) -> io::Result<Option<HubRecord>> {
    if disk.len(path)?.is_none() {
        return Ok(None);
    }
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let bytes = disk.read(path, SIZE_BYTES_MAX)?;
    let (body, check) = bytes.split_last_chunk::<32>().ok_or_else(damaged)?;
    if Id::of(body).as_bytes() != check {
        return Err(damaged());
    }
    serde_cbor::from_slice(body).map(Some).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use berth_disk::OsDisk;
    use berth_wire::{SetSeq, encode};

    use super::*;

    fn receipt(set: u64, level: ReceiptLevel) -> Signed {
        let body = encode(&Receipt {
            hub: [1; 32],
            laptop: [2; 32],
            set: SetRef {
                seq: SetSeq(set),
                manifest: Id::new([3; 32]),
            },
            level,
            at_ns: 7_000_000_000,
        });
        Signed {
            body: body.unwrap(),
            signature: vec![4; 64],
        }
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let mut record = HubRecord::default();
        let progress = Progress {
            set: Some(SetSeq(4)),
            ..Progress::default()
        };
        record.welcomed("desk", &progress, 1);
        let mut old = serde_json::to_value(&record).unwrap();
        for newer in ["steps", "joined"] {
            assert!(old["visit"].as_object_mut().unwrap().remove(newer).is_some());
        }
        assert!(old.as_object_mut().unwrap().remove("trouble").is_some());
        let old = serde_cbor::to_vec(&old).unwrap();
        assert_eq!(serde_cbor::from_slice::<HubRecord>(&old).unwrap(), record);
    }

    #[test]
    fn receipts_and_ends_of_visits_come_back_from_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let (mut record, _) = HubRecord::read(&disk, &[1; 32]).unwrap();
        let mut progress = Progress {
            set: Some(SetSeq(4)),
            receipts: vec![
                receipt(2, ReceiptLevel::Upstream),
                receipt(3, ReceiptLevel::OnHub),
            ],
            ..Progress::default()
        };
        record.welcomed("desk", &progress, 1);
        progress.bytes_restorable = 10;
        record.ended(&progress, VisitEnd::Cut, None, 2);
        record.write(&disk).unwrap();
        let (read, was_damaged) = HubRecord::read(&disk, &[1; 32]).unwrap();
        assert!(!was_damaged);
        assert_eq!(read, record);
        let numbers: Vec<u64> = read.sets.iter().map(|set| set.set).collect();
        assert_eq!(numbers, [2, 3, 4]);
        assert_eq!(read.sets[0].forwarded_at_ns(), Some(7_000_000_000));
        assert_eq!(read.sets[2].kind, Some(SetKind::Partial));
        assert_eq!(read.last_complete(), None);
    }

    #[test]
    fn a_partial_set_has_the_snapshot_of_the_checkpoint_that_the_hub_has_signed_for() {
        let snapshot = Id::new([9; 32]);
        let made = |manifest| SealedSet {
            set: SetRef {
                seq: SetSeq(4),
                manifest: Id::new([manifest; 32]),
            },
            snapshot: Some(snapshot),
            kind: Some(SetKind::Partial),
        };
        let signed = vec![receipt(4, ReceiptLevel::OnHub)];
        // Sealed; an older checkpoint was; nothing is known.
        for (manifest, receipts, known) in [
            (3, signed.clone(), Some(snapshot)),
            (5, signed, None),
            (3, Vec::new(), None),
        ] {
            let mut record = HubRecord::default();
            let mut progress = Progress {
                set: Some(SetSeq(4)),
                checkpoint: Some(made(manifest)),
                bytes_restorable: 10,
                ..Progress::default()
            };
            record.welcomed("desk", &progress, 1);
            progress.receipts = receipts;
            record.ended(&progress, VisitEnd::Left, None, 2);
            assert_eq!(record.sets[0].snapshot, known, "{:?}", progress.receipts);
        }
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let record = HubRecord {
            hub: hub_hex(&[1; 32]),
            ..HubRecord::default()
        };
        record.write(&disk).unwrap();
        let path = format!("{FOLDER}/{}", record.hub);
        replace(&disk, &path, b"rotten").unwrap();
        assert_eq!(
            HubRecord::read_all(&disk).unwrap(),
            (Vec::new(), vec![path.clone()])
        );
        let (empty, was_damaged) = HubRecord::read(&disk, &[1; 32]).unwrap();
        assert!(was_damaged && empty == record);
        assert_eq!(disk.read(&format!("{path}.damaged"), 100).unwrap(), b"rotten");
    }

    #[test]
    fn what_a_hub_has_lost_is_kept_over_visits_that_find_nothing() {
        let mut record = HubRecord::default();
        let set = SetSeq(4);
        let found = Progress {
            findings: (1..=5).map(|set| Finding::Set { set: SetSeq(set) }).collect(),
            set: Some(set),
            ..Progress::default()
        };
        record.welcomed("desk", &found, 1);
        record.ended(&found, VisitEnd::Complete, None, 2);
        let nothing = Progress {
            set: Some(set),
            ..Progress::default()
        };
        record.ended(&nothing, VisitEnd::Complete, None, 3);
        let trouble = record.trouble.unwrap();
        assert_eq!(trouble.at_ns, 2);
        assert_eq!(
            trouble.words,
            "it no longer knows set 1; it no longer knows set 2; it no longer knows set 3; and 2 more"
        );
        assert!(trouble.line("desk").contains("hub desk has lost or changed"));
    }

    #[test]
    fn only_the_newest_sets_are_kept() {
        let mut record = HubRecord::default();
        for set in 1..=SETS_MAX as u64 + 3 {
            let progress = Progress {
                set: Some(SetSeq(set)),
                bytes_restorable: 1,
                ..Progress::default()
            };
            record.welcomed("desk", &progress, 0);
            record.ended(&progress, VisitEnd::Left, None, 0);
        }
        assert_eq!((record.sets.len(), record.sets[0].set), (SETS_MAX, 4));
    }
}
