//! A hub on the other end of a link as a place to restore from.
//!
//! Place: `berth_restore::Repository` -> [`LinkSource`] -> questions -> [`berth_client_sdk::Reading`] in the thread that
//! drives the session -> hub.
//! Invariant: nothing the hub says is taken at its word. Whole objects are checked against their ids here; ranges of
//! packs by their MAC and the id of what they hold, by whoever opens them. Nobody waits beyond the end of the session:
//! the machine that would answer is dropped then, and it gives up on a hub that does not answer.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use berth_client_sdk::{Answer, Ask, Question, Reading};
use berth_radio::Waker;
use berth_repository::Id;
use berth_restore::{CONFIG_ID, ObjectKind, ObjectSource, Pending};
use berth_wire::{FETCH_SIZE_BYTES_MAX, OBJECT_SIZE_BYTES_MAX, ObjectKind as WireKind, WHY_SIZE_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::{Begin, Errand};

/// Objects of one kind that are listed. A repository of 64 TiB has some thousand index files.
const LISTED_MAX: usize = 1024 * 1024;

/// Objects that are asked for beyond the one that is read: snapshots and indexes are read one after the other, in the
/// order of the list.
const EARLY_MAX: usize = 8;

/// What a hub holds of this laptop, read over the link. Dropping it ends the visit.
pub struct LinkSource {
    repository: Id,
    /// `None` only while it is dropped.
    questions: Option<Sender<Question>>,
    wake: Waker,
    seen: Arc<Seen>,
    early: Mutex<Early>,
}

/// What is known of the hub that is read from, or of the upstream, and what it cost so far.
#[derive(Debug, Default)]
pub struct Seen {
    hub: OnceLock<String>,
    pub(crate) bytes: AtomicU64,
    questions: AtomicU64,
    reclaimed: AtomicBool,
    unavailable: Mutex<Option<String>>,
    pub(crate) lost: OnceLock<String>,
}

impl Seen {
    /// The hub's name, once it is reached.
    #[must_use]
    pub fn hub(&self) -> Option<&str> {
        self.hub.get().map(String::as_str)
    }

    /// Bytes that the hub gave.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Something was asked for that the hub has removed, because room was needed, and has not found upstream.
    #[must_use]
    pub fn reclaimed(&self) -> bool {
        self.reclaimed.load(Ordering::Relaxed)
    }

    /// The same, where the hub could not look upstream: why, in one line of its own words.
    #[must_use]
    pub fn unavailable(&self) -> Option<String> {
        let why = self.unavailable.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
    }

    /// Why nothing more comes from the upstream that is read from without a hub: in one line.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Questions that the hub was asked.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }
}

/// Beginnings of objects that will be asked for.
#[derive(Default)]
struct Early {
    listed: BTreeMap<ObjectKind, Vec<Id>>,
    asked: BTreeMap<(ObjectKind, Id), Receiver<Answer>>,
}

/// Runs `work` on a thread of its own with what the hub holds of `repository`
/// ([`berth_client_sdk::LaptopRepository::id`]), while `meet` drives the session that it is given the beginning of, on
/// the caller's. `wake` is that of the radio that is driven. The session ends when `work` has dropped its source; where
/// it ends before, everything that `work` asks for is [`io::ErrorKind::ConnectionAborted`].
pub fn read_back<T: Send, L>(
    repository: Id,
    wake: Waker,
    meet: impl FnOnce(Begin) -> L,
    work: impl FnOnce(LinkSource) -> T + Send,
) -> (thread::Result<T>, L) {
    let (questions, asked) = unbounded();
    let seen = Arc::new(Seen::default());
    let source = LinkSource {
        repository,
        questions: Some(questions),
        wake,
        seen: Arc::clone(&seen),
        early: Mutex::default(),
    };
    let begin: Begin = Box::new(move |hub| {
        // One session has one hub.
        let _ = seen.hub.set(hub.name.to_string());
        Ok(Errand::from(Reading::new(repository, asked)))
    });
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(source));
        let left = meet(begin);
        (worker.join(), left)
    })
}

impl LinkSource {
    /// What is known of the hub, and what it cost so far.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    fn question(&self, ask: Ask) -> io::Result<Receiver<Answer>> {
        let (answer, answered) = bounded(1);
        let questions = self.questions.as_ref().ok_or_else(gone)?;
        questions.send(Question { ask, answer }).map_err(|_| gone())?;
        self.seen.questions.fetch_add(1, Ordering::Relaxed);
        (self.wake)();
        Ok(answered)
    }

    fn fetch(&self, kind: ObjectKind, id: Id, range: Range<u64>) -> io::Result<Vec<Receiver<Answer>>> {
        let part = u64::from(FETCH_SIZE_BYTES_MAX);
        if range.start > range.end || range.end - range.start > OBJECT_SIZE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "no object is so large",
            ));
        }
        let (kind, id) = self.on_wire(kind, id);
        let mut answers = Vec::new();
        let mut offset = range.start;
        while offset < range.end {
            let size = part.min(range.end - offset);
            answers.push(self.question(Ask::Fetch {
                kind,
                id,
                offset,
                length: u32::try_from(size).unwrap_or(FETCH_SIZE_BYTES_MAX),
            })?);
            offset += size;
        }
        Ok(answers)
    }

    /// What the hub calls an object.
    fn on_wire(&self, kind: ObjectKind, id: Id) -> (WireKind, Id) {
        match kind {
            ObjectKind::Config => (WireKind::Config, self.repository),
            ObjectKind::Key => (WireKind::Key, id),
            ObjectKind::Snapshot => (WireKind::Snapshot, id),
            ObjectKind::Index => (WireKind::Index, id),
            ObjectKind::Pack => (WireKind::Pack, id),
        }
    }

    fn whole(&self, kind: ObjectKind, id: Id) -> io::Result<Bytes> {
        let first = self.first(kind, id)?;
        let (bytes, object_length) = self.received(&first)?;
        if object_length > OBJECT_SIZE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "no object is so large",
            ));
        }
        let mut whole = BytesMut::from(bytes);
        for part in self.fetch(kind, id, whole.len() as u64..object_length)? {
            whole.extend_from_slice(&self.received(&part)?.0);
        }
        let (_, name) = self.on_wire(kind, id);
        if Id::of(&whole) == name {
            Ok(whole.freeze())
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the hub gave other bytes than the name says",
            ))
        }
    }

    /// The first part of an object, and those of some after it.
    fn first(&self, kind: ObjectKind, id: Id) -> io::Result<Receiver<Answer>> {
        let part = 0..u64::from(FETCH_SIZE_BYTES_MAX);
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let Early { listed, asked } = &mut *early;
        let mut first = asked.remove(&(kind, id));
        if first.is_none() {
            first = self.fetch(kind, id, part.clone())?.pop();
        }
        let ids = listed.get(&kind).map_or(&[][..], Vec::as_slice);
        let next = ids.partition_point(|one| *one <= id);
        for next in ids.iter().skip(next).take(EARLY_MAX) {
            if asked.len() >= 4 * EARLY_MAX {
                break;
            }
            if !asked.contains_key(&(kind, *next))
                && let Some(answer) = self.fetch(kind, *next, part.clone())?.pop()
            {
                asked.insert((kind, *next), answer);
            }
        }
        first.ok_or_else(gone)
    }

    fn received(&self, answered: &Receiver<Answer>) -> io::Result<(Bytes, u64)> {
        received(answered, &self.seen)
    }
}

impl Drop for LinkSource {
    fn drop(&mut self) {
        self.questions = None;
        (self.wake)();
    }
}

impl ObjectSource for LinkSource {
    fn location(&self) -> String {
        match self.seen.hub() {
            Some(hub) => format!("the hub {hub}"),
            None => "the hub".to_owned(),
        }
    }

    fn list(&self, kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>> {
        let (wire, _) = self.on_wire(kind, CONFIG_ID);
        let mut listed = Vec::new();
        loop {
            let after = listed.last().copied();
            match self
                .question(Ask::List { kind: wire, after })?
                .recv()
                .map_err(|_| gone())?
            {
                Answer::Ids { ids, more } => {
                    listed.extend(ids);
                    if !more {
                        break;
                    }
                }
                Answer::Bytes { .. } | Answer::Missing | Answer::Reclaimed | Answer::Unavailable(_) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            if listed.len() > LISTED_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the hub lists without end",
                ));
            }
        }
        if kind == ObjectKind::Config {
            let is_there = listed.contains(&self.repository);
            return Ok(is_there.then_some((CONFIG_ID, None)).into_iter().collect());
        }
        let found = listed.iter().map(|id| (*id, None)).collect();
        if kind != ObjectKind::Pack {
            let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
            early.listed.insert(kind, listed);
        }
        Ok(found)
    }

    fn read(&self, kind: ObjectKind, id: Id, range: Option<Range<u64>>) -> io::Result<Bytes> {
        match range {
            None => self.whole(kind, id),
            Some(range) => self
                .ask(kind, id, range)
                .map_or_else(|| Err(gone()), |read| read()),
        }
    }

    fn ask(&self, kind: ObjectKind, id: Id, range: Range<u64>) -> Option<Pending> {
        let size = range.end.saturating_sub(range.start);
        let asked = self.fetch(kind, id, range);
        let seen = Arc::clone(&self.seen);
        Some(Box::new(move || {
            let parts = asked?
                .iter()
                .map(|answered| Ok(received(answered, &seen)?.0))
                .collect::<io::Result<Vec<Bytes>>>()?;
            let bytes = match <[Bytes; 1]>::try_from(parts) {
                Ok([one]) => one,
                Err(parts) => parts.concat().into(),
            };
            if bytes.len() as u64 == size {
                Ok(bytes)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }))
    }
}

fn received(answered: &Receiver<Answer>, seen: &Seen) -> io::Result<(Bytes, u64)> {
    match answered.recv().map_err(|_| gone())? {
        Answer::Bytes { bytes, object_length } => {
            seen.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok((bytes, object_length))
        }
        Answer::Missing => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the hub does not hold it (any more)",
        )),
        Answer::Reclaimed => {
            seen.reclaimed.store(true, Ordering::Relaxed);
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the hub has removed it, because room was needed, and did not find it upstream",
            ))
        }
        Answer::Unavailable(why) => {
            let why = one_line(&why);
            let said = format!("it is upstream only, and the hub can't read it there now: {why}");
            *seen.unavailable.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            Err(io::Error::other(said))
        }
        Answer::Ids { .. } => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A hub's own words, as a terminal may have them.
fn one_line(why: &str) -> String {
    let shown = why.chars().filter(|char| !char.is_control());
    shown.take(WHY_SIZE_BYTES_MAX).collect()
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the link to the hub is gone")
}
