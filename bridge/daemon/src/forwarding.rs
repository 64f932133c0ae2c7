//! Forwarding, on a thread of its own: one laptop after the other, the one with the oldest set first.
//!
//! Place: a program tells [`Forwarding`] when sets were sealed, when visits run, and when somebody asks; the thread
//! drives one [`Forwarder`] for each laptop that has something to send.
//! Invariant: the radio's thread never waits for the upstream. What failed is tried again later and later, but never
//! given up; what waits for a lock does not hold the other laptops up. With nothing to send the thread sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use berth_bridge::{
    Forward, ForwardError, Forwarder, LaptopId, Progress, SetRecord, Spool, StoreError, Upstream,
};
use berth_radio::Time;
use berth_wire::{SetRef, SetSeq};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::{Clock, Opening, Windows};

/// Wait after a failure; twice as long after each further one.
pub const RETRY_MIN: Duration = Duration::from_secs(30);

/// Longest wait between two tries.
pub const RETRY_MAX: Duration = Duration::from_secs(30 * 60);

/// Visits hold forwarding back for this long at the most: a hub where somebody always visits forwards too.
pub const VISITS_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// The longest sleep until a window opens: a wall clock that is set meanwhile is seen by then.
const WINDOW_LOOK: Duration = Duration::from_secs(15 * 60);

/// Monotonic time.
pub type Monotonic = Arc<dyn Fn() -> Time + Send + Sync>;

/// Opens the repository of a laptop at the upstream.
pub type OpenUpstream = Box<dyn FnMut(&LaptopId) -> Result<Box<dyn Upstream>, ForwardFailure> + Send>;

/// What forwarding starts from.
pub struct ForwardingParts {
    /// Where the sets are.
    pub spool: Arc<Spool>,
    /// Where they go.
    pub open: OpenUpstream,
    /// For retries.
    pub now: Monotonic,
    /// For receipts and locks.
    pub wall_ns: Clock,
    /// When it is forwarded without being asked.
    pub by_itself: ByItself,
}

/// When sets are forwarded without being asked. Visits go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByItself {
    /// Never.
    Never,
    /// As soon as there are any.
    AtOnce,
    /// At hours that suit the upstream's server. What is under way when they end goes on in the next.
    In(Windows),
}

/// One thing that happened to somebody's sets.
#[derive(Debug, Clone)]
pub struct ForwardNews {
    /// Whose.
    pub laptop: LaptopId,
    /// What.
    pub what: Forwarded,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Forwarded {
    /// What of a set is to be sent is known.
    Begun {
        /// The set.
        set: SetSeq,
        /// Objects.
        objects: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// One object was sent.
    Sent {
        /// The set.
        set: SetSeq,
        /// Its bytes.
        bytes: u64,
    },
    /// Somebody works on the upstream; it goes on when they are done.
    Waiting {
        /// The set.
        set: SetSeq,
    },
    /// A set is upstream, checked.
    Set(SetRef),
    /// Nothing of this laptop waits any more.
    All,
    /// It stopped; the rest waits.
    Failed(ForwardFailure),
}

/// Why forwarding stopped, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ForwardFailure {
    /// One line: what happened and what to do.
    pub why: String,
}

impl From<&ForwardError> for ForwardFailure {
    fn from(error: &ForwardError) -> Self {
        let cause = match error {
            ForwardError::Upstream(error) => format!(" ({})", error.source),
            ForwardError::Spool(StoreError::Disk { source, .. }) => format!(" ({source})"),
            _ => String::new(),
        };
        Self {
            why: format!("{error}{cause}. {}", error.advice()),
        }
    }
}

/// Where forwarding is.
#[derive(Debug, Clone, Default)]
pub struct ForwardStatus {
    /// Whose set is on its way.
    pub current: Option<LaptopId>,
    /// Whose last try failed, and why.
    pub failed: BTreeMap<LaptopId, ForwardFailure>,
}

/// The way to the forwarding thread. Dropping it does not stop the thread: [`Forwarding::stop`] does.
pub struct Forwarding {
    wishes: Sender<Wish>,
    stop: Arc<AtomicBool>,
    status: Arc<Mutex<ForwardStatus>>,
    ended: Receiver<()>,
}

enum Wish {
    /// A set of this laptop may have been sealed.
    Look(LaptopId),
    /// So many visits are under way.
    Visits(usize),
    /// Somebody asks.
    Now {
        laptop: Option<LaptopId>,
        news: Sender<ForwardNews>,
    },
    /// The upstream is another one now.
    Anew,
    /// [`Forwarding::stop`] was called.
    Stop,
}

impl Forwarding {
    /// Starts the thread. `tell` is called on it with everything that happens.
    #[must_use]
    pub fn start(parts: ForwardingParts, tell: Box<dyn FnMut(&ForwardNews) + Send>) -> Self {
        // Wishes are a handful a visit; the thread looks at them between any two objects.
        let (wishes_in, wishes_out) = unbounded();
        let (ended_in, ended_out) = bounded(0);
        let (stop, status) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let worker = Worker {
            parts,
            tell,
            wishes: wishes_out,
            stop: Arc::clone(&stop),
            status: Arc::clone(&status),
            jobs: BTreeMap::new(),
            watchers: Vec::new(),
            visiting_since: None,
            current: None,
        };
        thread::spawn(move || {
            worker.run();
            drop(ended_in);
        });
        Self {
            wishes: wishes_in,
            stop,
            status,
            ended: ended_out,
        }
    }

    /// A visit of this laptop is over: something may wait now.
    pub fn look(&self, laptop: LaptopId) {
        self.wish(Wish::Look(laptop));
    }

    /// So many visits are under way: forwarding that nobody asked for waits for them.
    pub fn visits(&self, count: usize) {
        self.wish(Wish::Visits(count));
    }

    /// Forwards at once what waits of a laptop, or of all; a failure before does not count. The news end when all of it
    /// is upstream or has failed.
    #[must_use]
    pub fn now(&self, laptop: Option<LaptopId>) -> Receiver<ForwardNews> {
        // One piece of news for each object; it ends with whoever listens.
        let (news_in, news_out) = unbounded();
        self.wish(Wish::Now {
            laptop,
            news: news_in,
        });
        news_out
    }

    /// The upstream is another one now: begin again.
    pub fn anew(&self) {
        self.wish(Wish::Anew);
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> ForwardStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops after the object that is under way, waiting for `wait_max` at the most. `false`: it is still under way; what
    /// ends with the process is begun again after the next start.
    pub fn stop(&self, wait_max: Duration) -> bool {
        self.stop.store(true, Ordering::SeqCst);
        self.wish(Wish::Stop);
        matches!(
            self.ended.recv_timeout(wait_max),
            Err(RecvTimeoutError::Disconnected)
        )
    }

    fn wish(&self, wish: Wish) {
        // After a stop nobody takes it.
        let _ = self.wishes.send(wish);
    }
}

/// A laptop that has, or may have, something to send.
struct Job {
    not_before: Time,
    retry: Duration,
    /// Somebody asked: visits do not hold it back.
    asked: bool,
    work: Option<(Forwarder, Box<dyn Upstream>)>,
}

struct Watcher {
    laptops: BTreeSet<LaptopId>,
    news: Sender<ForwardNews>,
}

struct Worker {
    parts: ForwardingParts,
    tell: Box<dyn FnMut(&ForwardNews) + Send>,
    wishes: Receiver<Wish>,
    stop: Arc<AtomicBool>,
    status: Arc<Mutex<ForwardStatus>>,
    jobs: BTreeMap<LaptopId, Job>,
    watchers: Vec<Watcher>,
    visiting_since: Option<Time>,
    current: Option<LaptopId>,
}

impl Worker {
    fn run(mut self) {
        if self.goes_by_itself() {
            self.look_at_all();
        }
        while !self.stop.load(Ordering::SeqCst) {
            let go_on_at = self.work();
            let now = (self.parts.now)();
            let wish = match go_on_at {
                Some(at) => self.wishes.recv_timeout(at.saturating_sub(now)),
                None => self.wishes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match wish {
                Ok(wish) => self.take(wish),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, wish: Wish) {
        match wish {
            Wish::Look(laptop) if self.goes_by_itself() => drop(self.job(laptop)),
            Wish::Look(_) | Wish::Stop => {}
            Wish::Visits(0) => self.visiting_since = None,
            Wish::Visits(_) => {
                self.visiting_since.get_or_insert((self.parts.now)());
            }
            Wish::Now { laptop, news } => self.now(laptop, news),
            Wish::Anew => {
                let asked = |(laptop, job): (&LaptopId, &Job)| job.asked.then_some(*laptop);
                let asked: Vec<LaptopId> = self.jobs.iter().filter_map(asked).collect();
                self.jobs.clear();
                self.current = None;
                if self.goes_by_itself() {
                    self.look_at_all();
                }
                for laptop in asked {
                    self.job(laptop).asked = true;
                }
            }
        }
    }

    fn now(&mut self, laptop: Option<LaptopId>, news: Sender<ForwardNews>) {
        let wanted = match laptop {
            Some(laptop) => vec![laptop],
            None => self.laptops(),
        };
        let now = (self.parts.now)();
        let mut watcher = Watcher {
            laptops: BTreeSet::new(),
            news,
        };
        for laptop in wanted {
            if waits_since(&self.parts.spool, &laptop).is_some() {
                let job = self.job(laptop);
                // What waits for a lock goes on waiting; what failed is tried again.
                if job.work.is_none() {
                    job.not_before = now;
                }
                job.asked = true;
                watcher.laptops.insert(laptop);
            }
        }
        if !watcher.laptops.is_empty() {
            self.watchers.push(watcher);
        }
    }

    fn look_at_all(&mut self) {
        for laptop in self.laptops() {
            self.job(laptop);
        }
    }

    fn laptops(&self) -> Vec<LaptopId> {
        // A spool that can't be listed now shows at the next visit.
        self.parts.spool.laptops().unwrap_or_default()
    }

    fn job(&mut self, laptop: LaptopId) -> &mut Job {
        self.jobs.entry(laptop).or_insert_with(|| Job {
            not_before: Time::ZERO,
            retry: RETRY_MIN,
            asked: false,
            work: None,
        })
    }

    /// Does one step, and says when to go on; `None`: when a wish comes.
    fn work(&mut self) -> Option<Time> {
        let now = (self.parts.now)();
        let visited_until = self.visiting_since.map(|since| since + VISITS_WAIT_MAX);
        let held_until = visited_until.max(self.opens_at(now));
        let at = |job: &Job| match held_until {
            Some(until) if !job.asked => job.not_before.max(until),
            Some(_) | None => job.not_before,
        };
        let runs_on = |laptop: &LaptopId| self.jobs.get(laptop).is_some_and(|job| at(job) <= now);
        let current = self.current.filter(runs_on).or_else(|| {
            let due = self.jobs.iter().filter(|(_, job)| at(job) <= now);
            let oldest = |laptop: &LaptopId| waits_since(&self.parts.spool, laptop).unwrap_or(i64::MIN);
            due.map(|(laptop, _)| *laptop).min_by_key(oldest)
        });
        self.set_current(current);
        let Some(laptop) = current else {
            return self.jobs.values().map(at).min();
        };
        match self.step(&laptop) {
            Ok(progress) => self.went(laptop, progress),
            Err(failure) => self.failed(laptop, failure),
        }
        Some(now)
    }

    fn goes_by_itself(&self) -> bool {
        self.parts.by_itself != ByItself::Never
    }

    /// When to look at the windows again, if none is open.
    fn opens_at(&self, now: Time) -> Option<Time> {
        let ByItself::In(windows) = &self.parts.by_itself else {
            return None;
        };
        let wall_ns = (self.parts.wall_ns)();
        let Opening::At(at_ns) = windows.opens(wall_ns) else {
            return None;
        };
        let wait = Duration::from_nanos(u64::try_from(at_ns.saturating_sub(wall_ns)).unwrap_or(0));
        Some(now + wait.min(WINDOW_LOOK))
    }

    fn step(&mut self, laptop: &LaptopId) -> Result<Progress, ForwardFailure> {
        let parts = &mut self.parts;
        let Some(job) = self.jobs.get_mut(laptop) else {
            return Ok(Progress::Idle);
        };
        let (forwarder, upstream) = match &mut job.work {
            Some(work) => work,
            None if waits_since(&parts.spool, laptop).is_none() => return Ok(Progress::Idle),
            none => {
                let forwarder = Forwarder::new(Arc::clone(&parts.spool), *laptop);
                none.insert((forwarder, (parts.open)(laptop)?))
            }
        };
        forwarder
            .step(&mut **upstream, (parts.wall_ns)())
            .map_err(|error| ForwardFailure::from(&error))
    }

    fn went(&mut self, laptop: LaptopId, progress: Progress) {
        let what = match progress {
            Progress::Idle => {
                self.jobs.remove(&laptop);
                self.set_current(None);
                self.note(laptop, None);
                Forwarded::All
            }
            Progress::Begun { set, objects, bytes } => Forwarded::Begun { set, objects, bytes },
            Progress::Sent { set, bytes } => Forwarded::Sent { set, bytes },
            Progress::Waiting { set, until_ns } => {
                let left_ns = until_ns.saturating_sub((self.parts.wall_ns)());
                let wait = Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0));
                // A wall clock that jumps must not hold the sets for ever.
                let wait = wait.clamp(Duration::from_secs(1), RETRY_MIN);
                let now = (self.parts.now)();
                self.job(laptop).not_before = now + wait;
                self.set_current(None);
                Forwarded::Waiting { set }
            }
            Progress::Forwarded { set, .. } => {
                self.job(laptop).retry = RETRY_MIN;
                self.note(laptop, None);
                Forwarded::Set(set)
            }
            _ => return,
        };
        self.news(laptop, what);
    }

    fn failed(&mut self, laptop: LaptopId, failure: ForwardFailure) {
        self.set_current(None);
        if self.goes_by_itself() {
            let now = (self.parts.now)();
            let job = self.job(laptop);
            job.not_before = now + job.retry;
            job.retry = (job.retry * 2).min(RETRY_MAX);
            job.asked = false;
            job.work = None;
        } else {
            self.jobs.remove(&laptop);
        }
        self.note(laptop, Some(failure.clone()));
        self.news(laptop, Forwarded::Failed(failure));
    }

    /// Tells everybody; those who waited for this laptop, and no other, are done with its last word.
    fn news(&mut self, laptop: LaptopId, what: Forwarded) {
        let is_last = matches!(what, Forwarded::All | Forwarded::Failed(_));
        let news = ForwardNews { laptop, what };
        (self.tell)(&news);
        self.watchers.retain_mut(|watcher| {
            if !watcher.laptops.contains(&laptop) {
                return true;
            }
            if is_last {
                watcher.laptops.remove(&laptop);
            }
            watcher.news.send(news.clone()).is_ok() && !watcher.laptops.is_empty()
        });
    }

    fn set_current(&mut self, laptop: Option<LaptopId>) {
        if self.current != laptop {
            self.current = laptop;
            self.status.lock().unwrap_or_else(PoisonError::into_inner).current = laptop;
        }
    }

    fn note(&self, laptop: LaptopId, failure: Option<ForwardFailure>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) => drop(status.failed.insert(laptop, failure)),
            None => drop(status.failed.remove(&laptop)),
        }
    }
}

/// When the oldest sealed set of a laptop that is not upstream was sealed; `None`: nothing waits, or the journal can't
/// be read, which the next start puts right.
fn waits_since(spool: &Spool, laptop: &LaptopId) -> Option<i64> {
    let sets = spool.sets(laptop).unwrap_or_default();
    let waiting = sets.iter().filter_map(SetRecord::sealed);
    waiting
        .filter(|sealed| !matches!(sealed.forward, Forward::Done { .. }))
        .map(|sealed| sealed.sealed_at_ns)
        .next()
}
