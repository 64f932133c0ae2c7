//! Brings the sealed sets of one laptop to the upstream, oldest first.
//!
//! Place: the daemon calls [`Forwarder::step`] when it suits the upstream, with the time; a step is one object, or one
//! look at what is there.
//! Invariant: a snapshot is written only after every pack and index of its set, and of the sets before it, was listed
//! upstream at its full length, with no young lock there; `upstream` is signed only after the same was seen again with
//! the snapshot there. Every step may be cut anywhere: a new forwarder looks and goes on.

mod look;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use berth_repository::Id;
use berth_wire::{Manifest, ObjectEntry, ObjectKind, ReceiptLevel, SetRef, SetSeq, Signed};
use look::Seen;

use crate::locks::LockWatch;
use crate::names::Folders;
use crate::record::{Forward, Reclaimed, SetState};
use crate::spool::{damaged, encoded};
use crate::spool_file::SpoolFile;
use crate::{LaptopId, Spool, StoreError, Upstream, UpstreamError};

/// Times that objects may be missing again after all were sent, before forwarding gives up until it is asked again.
const ROUNDS_MAX: u32 = 3;

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Every sealed set is upstream.
    Idle,
    /// What is to be sent of the set before its snapshot.
    Begun {
        /// The set.
        set: SetSeq,
        /// How many objects.
        objects: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// One object was sent.
    Sent {
        /// The set that is being forwarded.
        set: SetSeq,
        /// Its size in bytes.
        bytes: u64,
    },
    /// Something was looked at.
    Checked {
        /// The set that is being forwarded.
        set: SetSeq,
    },
    /// Somebody works on the upstream: look again then.
    Waiting {
        /// The set that is being forwarded.
        set: SetSeq,
        /// Wall clock, nanoseconds since 1970.
        until_ns: i64,
    },
    /// The upstream has the set, checked; the journal says so.
    Forwarded {
        /// Which.
        set: SetRef,
        /// The hub's `upstream` receipt.
        receipt: Signed,
    },
}

/// Why forwarding stopped. The next step begins it anew; what is upstream already is not sent again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The upstream failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] StoreError),
    /// The upstream folder holds another repository.
    #[error("the upstream holds another repository there")]
    OtherRepository,
    /// Other bytes lie under the name of an object. They are left as they are.
    #[error("the upstream holds other bytes under the name {id}")]
    Foreign {
        /// The name.
        id: Id,
    },
    /// An object in the spool is not what it was.
    #[error("the spool's {id} is damaged")]
    Damaged {
        /// Its name.
        id: Id,
    },
    /// An object is neither upstream nor in the spool: somebody removed it there after it was confirmed and reclaimed
    /// here, or here.
    #[error("neither the upstream nor the spool has {id} any more")]
    Gone {
        /// Its name.
        id: Id,
    },
    /// Objects keep vanishing upstream.
    #[error("objects vanish from the upstream as fast as they are sent")]
    Vanishing,
}

impl ForwardError {
    /// What the person at the hub can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Upstream(_) => {
                "Look whether the upstream can be reached and has room; the hub tries again by itself."
            }
            Self::Spool(error) => error.advice(),
            Self::OtherRepository => "Set another upstream folder, or rename the laptop.",
            Self::Foreign { .. } => "Remove that file at the upstream; the hub then sends its own.",
            Self::Damaged { .. } => {
                "Check the hub's disk, and put the file back from a copy of the spool; the sets wait until then."
            }
            Self::Gone { .. } => {
                "If the upstream was changed, copy the old one's folder to the new one. Else put the file back at the \
                 upstream from a copy of it; the sets wait until then."
            }
            Self::Vanishing => "Look who else deletes objects at the upstream.",
        }
    }
}

/// Forwards the sets of one laptop. Holds a few bytes for each object that is to be sent (a 1 TB set: 5 MB).
pub struct Forwarder {
    spool: Arc<Spool>,
    laptop: LaptopId,
    stage: Stage,
    locks: LockWatch,
    rounds: u32,
}

enum Stage {
    /// Find the oldest set that is not upstream.
    Find,
    /// Look what of it is missing upstream.
    Compare(Box<Set>),
    /// Send what is missing.
    Send(Box<Set>, VecDeque<Task>),
    /// Look once more, then publish the snapshot.
    Publish(Box<Set>),
    /// Look a last time, then sign.
    Confirm(Box<Set>),
}

enum Task {
    ReadBack(ObjectEntry),
    Send(ObjectEntry),
}

impl Task {
    const fn bytes_to_send(&self) -> Option<u64> {
        match self {
            Self::ReadBack(_) => None,
            Self::Send(entry) => Some(entry.length),
        }
    }
}

struct Set {
    reference: SetRef,
    manifest: Manifest,
    /// The laptop's sealed sets before this one.
    before: Vec<SetSeq>,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder")
            .field("laptop", &self.laptop)
            .finish_non_exhaustive()
    }
}

impl Forwarder {
    /// Forwards the sets of `laptop`.
    #[must_use]
    pub fn new(spool: Arc<Spool>, laptop: LaptopId) -> Self {
        Self {
            spool,
            laptop,
            stage: Stage::Find,
            locks: LockWatch::default(),
            rounds: 0,
        }
    }

    /// Does one thing. `now_ns` is the wall clock, nanoseconds since 1970. Call again until [`Progress::Idle`];
    /// after [`Progress::Waiting`] not before its time.
    ///
    /// # Errors
    /// [`ForwardError`]: nothing is lost, the next call begins by looking what is there.
    pub fn step(&mut self, upstream: &mut dyn Upstream, now_ns: i64) -> Result<Progress, ForwardError> {
        // What fails leaves `Find` behind: the upstream is looked at anew.
        match mem::replace(&mut self.stage, Stage::Find) {
            Stage::Find => self.find(now_ns),
            Stage::Compare(set) => self.compare(upstream, set, now_ns),
            Stage::Send(set, todo) => self.send(upstream, set, todo),
            Stage::Publish(set) => self.publish(upstream, set, now_ns),
            Stage::Confirm(set) => self.confirm(upstream, set, now_ns),
        }
    }

    fn find(&mut self, now_ns: i64) -> Result<Progress, ForwardError> {
        let mut before = Vec::new();
        for mut record in self.spool.sets(&self.laptop)? {
            let seq = record.seq;
            let reference = record.set_ref();
            let (SetState::Sealed(sealed), Some(reference)) = (&mut record.state, reference) else {
                continue;
            };
            if matches!(sealed.forward, Forward::Done { .. }) {
                before.push(seq);
                continue;
            }
            if matches!(sealed.forward, Forward::Waiting) {
                sealed.forward = Forward::Started { at_ns: now_ns };
                // Not synced: it promises nothing.
                self.spool
                    .journal
                    .put(&self.laptop, &record)
                    .map_err(StoreError::from)?;
            }
            let signed = self
                .spool
                .manifest(&self.laptop, seq)?
                .filter(|signed| signed.id() == reference.manifest)
                .ok_or_else(|| damaged("reading a manifest"))?;
            let manifest = Spool::decode_manifest(&signed)?;
            self.stage = Stage::Compare(Box::new(Set {
                reference,
                manifest,
                before,
            }));
            return Ok(Progress::Checked { set: seq });
        }
        Ok(Progress::Idle)
    }

    fn compare(
        &mut self,
        upstream: &mut dyn Upstream,
        set: Box<Set>,
        now_ns: i64,
    ) -> Result<Progress, ForwardError> {
        if let Some(until_ns) = self.locks.young(upstream.locks()?, now_ns) {
            return Ok(self.wait(Stage::Compare(set), until_ns));
        }
        let has_config = has_config(upstream, set.manifest.repository)?;
        upstream.prepare()?;
        let Seen { mut missing, there } = self.look(upstream, &set)?;
        if !has_config {
            missing.push(self.config_entry(&set)?);
        }
        // Config and keys, then packs, then index; the sets' order within each.
        missing.sort_by_key(|entry| send_rank(entry.kind));
        // What this run did not write itself is read back once, where that is cheap.
        let read_back = there.into_iter().filter(|_| self.rounds == 0);
        let todo = read_back
            .map(Task::ReadBack)
            .chain(missing.into_iter().map(Task::Send));
        let todo: VecDeque<Task> = todo.collect();
        let sizes = || todo.iter().filter_map(Task::bytes_to_send);
        let progress = Progress::Begun {
            set: set.reference.seq,
            objects: sizes().count() as u64,
            bytes: sizes().sum(),
        };
        self.stage = Stage::Send(set, todo);
        Ok(progress)
    }

    /// Where storage replaces files, another laptop's `config` may have come while the packs were sent.
    fn is_all_there(&self, upstream: &mut dyn Upstream, set: &Set) -> Result<bool, ForwardError> {
        Ok(has_config(upstream, set.manifest.repository)? && self.look(upstream, set)?.missing.is_empty())
    }

    /// Where the upstream lost its `config`, any set sends it again.
    fn config_entry(&self, set: &Set) -> Result<ObjectEntry, ForwardError> {
        let kind = ObjectKind::Config;
        let id = set.manifest.repository;
        let path = Folders::of(&self.laptop).object(set.reference.seq, kind, &id);
        let length = self.spool.len(&path)?.ok_or(ForwardError::Damaged { id })?;
        Ok(ObjectEntry { kind, id, length })
    }

    fn send(
        &mut self,
        upstream: &mut dyn Upstream,
        set: Box<Set>,
        mut todo: VecDeque<Task>,
    ) -> Result<Progress, ForwardError> {
        let seq = set.reference.seq;
        let progress = match todo.pop_front() {
            None => {
                self.stage = Stage::Publish(set);
                return Ok(Progress::Checked { set: seq });
            }
            Some(Task::ReadBack(ObjectEntry { kind, id, .. })) => {
                if upstream.digest(kind, &id)?.is_some_and(|found| found != id) {
                    return Err(ForwardError::Foreign { id });
                }
                Progress::Checked { set: seq }
            }
            Some(Task::Send(entry)) => {
                self.write(upstream, &entry)?;
                // Another laptop of the same name may have been first since the place was chosen: nothing of this one is
                // there yet.
                if entry.kind == ObjectKind::Config && !has_config(upstream, entry.id)? {
                    return Err(ForwardError::OtherRepository);
                }
                Progress::Sent {
                    set: seq,
                    bytes: entry.length,
                }
            }
        };
        self.stage = Stage::Send(set, todo);
        Ok(progress)
    }

    fn write(&self, upstream: &mut dyn Upstream, entry: &ObjectEntry) -> Result<(), ForwardError> {
        let path = Folders::of(&self.laptop).object(SetSeq(0), entry.kind, &entry.id);
        if self.spool.len(&path)?.is_none() {
            return Err(ForwardError::Gone { id: entry.id });
        }
        let mut source = SpoolFile::new(&self.spool, path, entry.id, entry.length);
        let written = upstream.write(entry.kind, &entry.id, entry.length, &mut source);
        if source.is_damaged() {
            return Err(ForwardError::Damaged { id: entry.id });
        }
        Ok(written?)
    }

    fn publish(
        &mut self,
        upstream: &mut dyn Upstream,
        set: Box<Set>,
        now_ns: i64,
    ) -> Result<Progress, ForwardError> {
        if let Some(until_ns) = self.locks.young(upstream.locks()?, now_ns) {
            return Ok(self.wait(Stage::Publish(set), until_ns));
        }
        if !self.is_all_there(upstream, &set)? {
            return self.another_round(set);
        }
        let id = set.manifest.snapshot;
        let kind = ObjectKind::Snapshot;
        let path = Folders::of(&self.laptop).object(set.reference.seq, kind, &id);
        let length = self.spool.len(&path)?.ok_or(ForwardError::Damaged { id })?;
        self.write(upstream, &ObjectEntry { kind, id, length })?;
        let seq = set.reference.seq;
        self.stage = Stage::Confirm(set);
        Ok(Progress::Sent {
            set: seq,
            bytes: length,
        })
    }

    fn confirm(
        &mut self,
        upstream: &mut dyn Upstream,
        set: Box<Set>,
        now_ns: i64,
    ) -> Result<Progress, ForwardError> {
        if let Some(until_ns) = self.locks.young(upstream.locks()?, now_ns) {
            return Ok(self.wait(Stage::Confirm(set), until_ns));
        }
        let snapshot = set.manifest.snapshot;
        let mut published = false;
        upstream.list(ObjectKind::Snapshot, &mut |id, _| published |= id == snapshot)?;
        if !published || !self.is_all_there(upstream, &set)? {
            return self.another_round(set);
        }
        let receipt = self.spool.sign_upstream(&self.laptop, set.reference, now_ns)?;
        self.rounds = 0;
        Ok(Progress::Forwarded {
            set: set.reference,
            receipt,
        })
    }

    fn another_round(&mut self, set: Box<Set>) -> Result<Progress, ForwardError> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            self.rounds = 0;
            return Err(ForwardError::Vanishing);
        }
        let seq = set.reference.seq;
        self.stage = Stage::Compare(set);
        Ok(Progress::Checked { set: seq })
    }

    fn wait(&mut self, stage: Stage, until_ns: i64) -> Progress {
        let set = match &stage {
            Stage::Compare(set) | Stage::Send(set, _) | Stage::Publish(set) | Stage::Confirm(set) => {
                set.reference.seq
            }
            Stage::Find => SetSeq(0),
        };
        self.stage = stage;
        Progress::Waiting { set, until_ns }
    }
}

/// Whether the upstream is this repository: there may be none yet, but not another one.
fn has_config(upstream: &mut dyn Upstream, repository: Id) -> Result<bool, ForwardError> {
    match upstream.config()? {
        Some(config) if Id::of(&config) == repository => Ok(true),
        Some(_) => Err(ForwardError::OtherRepository),
        None => Ok(false),
    }
}

impl Spool {
    /// Signs that the upstream has a set, and makes the word durable: first as a file of the set, so that a lost journal
    /// does not forget it. The caller has made sure that it is true, and that it is of every set before.
    ///
    /// # Errors
    /// [`StoreError`]: it may or may not be signed; do it again.
    pub fn sign_upstream(&self, laptop: &LaptopId, set: SetRef, now_ns: i64) -> Result<Signed, StoreError> {
        let receipt = self.receipt(laptop, set, ReceiptLevel::Upstream, now_ns)?;
        let doing = "writing a receipt";
        let path = Folders::of(laptop).upstream_receipt(set.seq);
        berth_disk::replace(&*self.disk, &path, &encoded(&receipt, doing)?)
            .map_err(StoreError::disk(doing))?;
        let record = self.journal.set(laptop, set.seq)?;
        let mut record = record.ok_or_else(|| damaged("reading the journal"))?;
        if let SetState::Sealed(sealed) = &mut record.state {
            sealed.forward = Forward::Done {
                at_ns: now_ns,
                receipt: receipt.clone(),
                reclaimed: Reclaimed::default(),
            };
        }
        self.journal.put(laptop, &record)?;
        self.journal.sync()?;
        Ok(receipt)
    }
}

pub(crate) const fn send_rank(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Config => 0,
        ObjectKind::Key => 1,
        ObjectKind::Pack => 2,
        ObjectKind::Index => 3,
        ObjectKind::Snapshot | ObjectKind::Page => 4,
    }
}
