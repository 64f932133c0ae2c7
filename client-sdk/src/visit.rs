//! One visit: what the archiver does from `Begin` to the hub's receipt.
//!
//! Place: driver -> [`Visit::next`] / [`Visit::receive`] -> wire messages.
//! Calling contract: call [`Visit::next`] whenever the link takes more; on [`Step::Wait`] call it again after the next
//! [`Visit::receive`] or a second. Dropping the machine is a cut.
//! Invariant: the hub's word comes first. What the laptop remembers is used only where the hub's `Welcome` confirms it,
//! and changed only when the hub has signed for a set.

mod begin;
mod checkpoint;
mod contents;
mod end;
mod file;
mod first;
mod links;
mod log;
mod marks;
mod memory;
mod node;
mod options;
mod overlay;
mod rebuild;
mod report;
mod salvage;
mod settle;
mod sink;
mod stage;
mod work;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use berth_disk::SharedDisk;
use berth_radio::Time;
use berth_repository::Id;
use berth_wire::{SetRef, SetSeq, ToHub, ToLaptop, encode};

use self::checkpoint::{Budget, Reach};
use self::first::Newest;
use self::marks::{Due, LAST_CHANCE_BYTES_MIN, MarkKind, Marks};
use self::memory::CatalogueRef;
pub(crate) use self::memory::Memory;
use self::rebuild::Rebuild;
use self::salvage::Salvage;
use self::sink::Sink;
use self::work::Work;
use crate::catalogue::BlockFile;
use crate::claims::Claims;
use crate::rules::Matcher;
use crate::scan::Scan;
use crate::{LaptopRepository, Source};
pub use options::*;
pub use stage::SealStage;

/// The machine of one visit. Dropping it at any moment is a cut: nothing else is to be done.
pub struct Visit {
    base: Base,
    phase: Phase,
    queue: VecDeque<Outgoing>,
    marks: Marks,
    budget: Budget,
    leave_at: Option<u8>,
    leaving: bool,
    progress: Progress,
}

/// What stays the same for the whole visit.
struct Base {
    disk: SharedDisk,
    /// The part of the state folder that belongs to this hub.
    folder: String,
    repository: Arc<LaptopRepository>,
    keys: Box<dyn Keys>,
    matcher: Matcher,
    stage: SealStage,
    options: VisitOptions,
    /// When the visit began, on the clock that is passed in.
    began: Option<Time>,
}

/// What the hub's welcome and the laptop's memory have led to.
struct Prepared {
    source: Box<dyn Source>,
    sink: Sink,
    memory: Memory,
    set: SetSeq,
    previous: Option<SetRef>,
    hub_has_repository: bool,
    catalogue_number: u64,
    catalogue: BlockFile,
    claims: Claims,
    /// What is to be asked of the hub first.
    rebuild: Option<Rebuild>,
    salvage: Salvage,
}

/// What of that the end of the visit needs.
struct Opened {
    set: SetSeq,
    previous: Option<SetRef>,
    parent: Option<Id>,
}

/// A set that is on its way.
struct Closing {
    work: Box<Work>,
    opened: Opened,
    catalogue: CatalogueRef,
    snapshot: Id,
    manifest: Id,
}

enum Phase {
    Greet(Box<dyn Source>),
    Greeted(Box<dyn Source>),
    Ask(Box<Prepared>),
    Scan(Box<Prepared>, Box<Scan>, Newest),
    Work(Box<Work>, Opened),
    Close(Box<Closing>),
    Done(Box<Summary>),
    Over,
}

/// Pieces of work in one call of [`Visit::next`], so that the driver can look after its link in between.
const STEPS: usize = 64;

/// Raw bytes in one call, for the same reason: some milliseconds.
const STEP_BYTES: u64 = 1024 * 1024;

impl Visit {
    /// Prepares a visit; reads nothing yet. Call once the bulk link stands: the first [`Visit::next`] gives `Begin`.
    ///
    /// `disk` is the laptop's state folder. The archiver keeps `hubs/<hub id>/` in it.
    ///
    /// # Errors
    /// [`VisitError::Pattern`], [`VisitError::Disk`].
    pub fn new(
        disk: SharedDisk,
        source: Box<dyn Source>,
        repository: Arc<LaptopRepository>,
        keys: Box<dyn Keys>,
        stage: SealStage,
        options: VisitOptions,
    ) -> Result<Self, VisitError> {
        let matcher = Matcher::new(&options.rules)?;
        let folder = format!("hubs/{}", Id::new(options.hub));
        disk.create_dir(&folder)?;
        disk.sync_dir("")?;
        disk.sync_dir("hubs")?;
        Ok(Self {
            base: Base {
                disk,
                folder,
                repository,
                keys,
                matcher,
                stage,
                options,
                began: None,
            },
            phase: Phase::Greet(source),
            queue: VecDeque::new(),
            marks: Marks::default(),
            budget: Budget::default(),
            leave_at: None,
            leaving: false,
            progress: Progress::default(),
        })
    }

    /// Takes a message of the hub. Keep-alives may be given or not.
    ///
    /// # Errors
    /// The visit is over: [`VisitError::Refused`] and [`VisitError::Protocol`] are the hub's; drop the machine.
    pub fn receive(&mut self, now: Time, message: ToLaptop) -> Result<(), VisitError> {
        let phase = mem::replace(&mut self.phase, Phase::Over);
        self.phase = match (phase, message) {
            (phase, ToLaptop::KeepAlive | ToLaptop::Goodbye) => phase,
            (_, ToLaptop::Refused { why }) => return Err(VisitError::Refused(why)),
            (Phase::Greeted(source), message @ ToLaptop::Welcome { .. }) => {
                self.welcome(now, source, message)?
            }
            (phase @ (Phase::Work(..) | Phase::Close(_)), ToLaptop::Acknowledged { mark }) => {
                self.marks.answered(mark)?;
                phase
            }
            (
                Phase::Ask(mut prepared),
                ToLaptop::Salvaged {
                    upload, pack, length, ..
                },
            ) => {
                prepared.salvage.answered(upload, pack, length)?;
                Phase::Ask(prepared)
            }
            (
                Phase::Ask(mut prepared),
                message @ (ToLaptop::Listing { .. } | ToLaptop::Fetched { .. } | ToLaptop::Missing),
            ) => {
                let Some(rebuild) = &mut prepared.rebuild else {
                    return Err(VisitError::Protocol {
                        what: "an answer without a question",
                    });
                };
                rebuild.answered(message, self.base.repository.key(), &mut prepared.sink.known)?;
                Phase::Ask(prepared)
            }
            (Phase::Close(closing), ToLaptop::Receipt { receipt }) => self.signed(*closing, receipt)?,
            (
                Phase::Greet(_)
                | Phase::Greeted(_)
                | Phase::Ask(_)
                | Phase::Scan(..)
                | Phase::Work(..)
                | Phase::Close(_)
                | Phase::Done(_)
                | Phase::Over,
                _,
            ) => {
                return Err(VisitError::Protocol {
                    what: "a message that does not belong here",
                });
            }
        };
        self.look();
        Ok(())
    }

    /// Does the next piece of work (some milliseconds at most) and says what came of it. Call again at once after
    /// `Send` and `Working`, as soon as the link takes more.
    ///
    /// # Errors
    /// The visit is over; drop the machine.
    pub fn next(&mut self, now: Time) -> Result<Step, VisitError> {
        if let Some(outgoing) = self.queued() {
            self.progress.bytes_sent += size_bytes(&outgoing);
            return Ok(Step::Send(outgoing));
        }
        let now_ns = self.base.wall_clock_ns(now);
        let mut step = Step::Working;
        self.phase = match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Greet(source) => self.greet(now, source)?,
            Phase::Ask(prepared) => {
                let (phase, is_waiting) = self.ask(prepared)?;
                if is_waiting {
                    step = Step::Wait;
                }
                phase
            }
            Phase::Scan(prepared, scan, newest) => self.scan(now, prepared, scan, newest)?,
            Phase::Work(work, opened) if self.has_read_enough(now, &work) => {
                step = Step::Wait;
                Phase::Work(work, opened)
            }
            Phase::Work(work, opened) => self.work(now, now_ns, work, opened)?,
            phase @ (Phase::Greeted(_) | Phase::Close(_) | Phase::Over) => {
                step = Step::Wait;
                phase
            }
            Phase::Done(summary) => {
                step = Step::Done(summary.clone());
                Phase::Done(summary)
            }
        };
        self.look();
        Ok(step)
    }

    /// Asks for a checkpoint now (the user leaves). [`Progress::requested_mark_done`] turns true when it is
    /// acknowledged, or there is nothing to acknowledge.
    pub fn request_mark(&mut self) {
        self.marks.request();
        self.progress.requested_mark_done = false;
    }

    /// Leaves when this share of the changed bytes is read: [`Visit::request_mark`] then, and nothing is read beyond
    /// that mark, so that nothing is on its way when the user goes. There is no way back: cut the link or say goodbye
    /// once the mark is done.
    pub fn leave_at(&mut self, percent: u8) {
        self.leave_at = Some(percent);
    }

    fn is_time_to_leave(&self, work: &Work) -> bool {
        let share = |percent| u128::from(self.progress.bytes_changed) * u128::from(percent);
        let done = u128::from(work.report.progress.bytes_done) * 100;
        !self.leaving && self.leave_at.is_some_and(|percent| done >= share(percent))
    }

    fn has_read_enough(&mut self, now: Time, work: &Work) -> bool {
        let (queued, stored) = (work.sink.bytes_queued, work.report.bytes_stored);
        self.leaving
            && work.is_between_files()
            && (self.marks.request_done || self.marks.due(now, queued, stored).is_none())
    }

    /// Where the visit is.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    fn queued(&mut self) -> Option<Outgoing> {
        let first = self.queue.pop_front();
        first.or_else(|| match &mut self.phase {
            Phase::Ask(prepared) | Phase::Scan(prepared, ..) => prepared.sink.queue.pop_front(),
            Phase::Work(work, _) => work.sink.queue.pop_front(),
            Phase::Close(closing) => closing.work.sink.queue.pop_front(),
            Phase::Greet(_) | Phase::Greeted(_) | Phase::Done(_) | Phase::Over => None,
        })
    }

    /// Brings [`Progress`] up to date.
    fn look(&mut self) {
        let counts = match &self.phase {
            Phase::Work(work, _) => Some(&work.report.progress),
            Phase::Close(closing) => Some(&closing.work.report.progress),
            Phase::Scan(_, scan, _) => {
                self.progress.files_scanned = scan.counts.files;
                self.progress.bytes_scanned = scan.counts.bytes;
                self.progress.files_changed = scan.counts.files_changed;
                self.progress.bytes_changed = scan.counts.bytes_changed;
                scan.path().clone_into(&mut self.progress.path);
                None
            }
            Phase::Greet(_) | Phase::Greeted(_) | Phase::Ask(_) | Phase::Done(_) | Phase::Over => None,
        };
        if let Some(counts) = counts {
            self.progress.files_done = counts.files_done;
            self.progress.bytes_done = counts.bytes_done;
            if self.progress.path != counts.path {
                self.progress.path.clone_from(&counts.path);
            }
        }
        self.progress.bytes_acknowledged = self.marks.acknowledged;
        self.progress.bytes_restorable = self.marks.restorable;
        self.progress.requested_mark_done = self.marks.request_done;
    }

    fn work(
        &mut self,
        now: Time,
        now_ns: i128,
        mut work: Box<Work>,
        opened: Opened,
    ) -> Result<Phase, VisitError> {
        let bytes = work.report.bytes_stored + STEP_BYTES;
        for _ in 0..STEPS {
            if self.is_time_to_leave(&work) {
                self.leaving = true;
                self.request_mark();
            }
            if work.is_between_files()
                && let Some(due) = self.due(now, &mut work)?
            {
                self.mark(now, &mut work, &opened, due)?;
            }
            if self.has_read_enough(now, &work) {
                break;
            }
            if !work.sink.queue.is_empty() || work.report.bytes_stored > bytes {
                break;
            }
            if let Some(catalogue) = work.step(now_ns)? {
                return self.close(work, opened, catalogue);
            }
            self.budget.look(&mut work, self.progress.bytes_changed);
        }
        // Before any of it is sent: what arrives can be salvaged only if the log has it.
        work.sink.log.flush()?;
        Ok(Phase::Work(work, opened))
    }

    fn due(&mut self, now: Time, work: &mut Work) -> Result<Option<Due>, VisitError> {
        let (stored, changed) = (work.report.bytes_stored, self.progress.bytes_changed);
        let due = self.marks.due(now, work.sink.bytes_queued, stored);
        if due == Some(Due::Requested)
            || !self.marks.would_double(stored)
            || !self.budget.may_be_last_chance(work, changed)
        {
            return Ok(due);
        }
        // What is still being sealed is not counted yet, and the chance would pass unseen.
        work.sink.fill(true)?;
        let is_last =
            work.sink.bytes_queued >= LAST_CHANCE_BYTES_MIN && self.budget.is_last_chance(work, changed);
        Ok(if is_last { Some(Due::LastChance) } else { due })
    }

    /// Queues a checkpoint where the budget has room for it; else a flush, where that is honest or long overdue.
    fn mark(&mut self, now: Time, work: &mut Work, opened: &Opened, due: Due) -> Result<(), VisitError> {
        let (stored, changed) = (work.report.bytes_stored, self.progress.bytes_changed);
        if due == Due::Requested {
            work.sink.fill(true)?;
        }
        let reach = match due {
            Due::Requested => self.budget.reach(work, changed),
            Due::LastChance => Some(Reach::Now),
            Due::Regular | Due::Overdue => self.budget.allows(work, changed).then_some(Reach::Now),
        };
        let covered = match reach {
            Some(Reach::Now) => stored,
            Some(Reach::Earlier { bytes_stored, .. }) => bytes_stored,
            None => 0,
        };
        // The checkpoint that is there may be the better one.
        let reach = reach.filter(|_| covered > self.marks.restorable || covered == stored);
        if reach.is_none() && due == Due::Regular && !self.marks.flush_is_honest(stored) {
            return Ok(());
        }
        work.sink.fill(true)?;
        if reach.is_some() && matches!(due, Due::Requested | Due::LastChance) {
            work.sink.finish()?;
        }
        let kind = if reach.is_some() {
            MarkKind::Checkpoint
        } else {
            MarkKind::Flush
        };
        let mark = self
            .marks
            .begin(now, kind, work.sink.bytes_queued, stored, covered);
        if let Some(reach) = reach {
            let made = checkpoint::make(&self.base, work, opened, mark, reach, &mut self.budget)?;
            self.progress.checkpoint = Some(made);
        } else {
            work.sink.log.sync()?;
            work.sink.control(ToHub::Flush { mark });
        }
        Ok(())
    }
}

impl Base {
    /// The wall clock, carried on from the visit's beginning by the clock that is passed in.
    fn wall_clock_ns(&self, now: Time) -> i128 {
        let elapsed = now.saturating_sub(self.began.unwrap_or(now));
        i128::from(self.options.wall_clock_ns) + i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX / 2)
    }
}

/// Bytes of a message before it is framed and sealed.
fn size_bytes(outgoing: &Outgoing) -> u64 {
    match outgoing {
        Outgoing::Data { bytes, .. } => bytes.len() as u64,
        Outgoing::Control(message) => encode(message).map_or(0, |bytes| bytes.len() as u64),
    }
}
