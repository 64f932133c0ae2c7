//! Forwarding, on threads of its own: a few laptops at once, those with the oldest sets first.
//!
//! Place: a program tells [`Forwarding`] when sets were sealed, when visits run, and when somebody asks; its thread asks
//! the schedule what to do, and others drive one [`Forwarder`] for each laptop that has something to send.
//! Invariant: neither the radio's thread nor that of the schedule waits for the upstream. With nothing to send all
//! threads sleep.

mod news;
mod outage;
mod rate;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use berth_bridge::{Forward, Forwarder, LaptopId, Progress, ROOM_SIZE_BYTES_MIN, SetRecord, Spool, Upstream};
use berth_radio::Time;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use rand_core::RngCore;

use crate::{Clock, Windows};
use news::Watchers;
pub use news::{ForwardFailure, ForwardNews, Forwarded};
pub use outage::Outage;
use rate::{Pace, Paced, Rate};
pub use schedule::LAPTOPS_AT_ONCE;
use schedule::{Next, Now, Schedule};

/// Longest pause after a first failure, twice as long after each further one. Half of each is left to chance: hubs that an
/// upstream failed at the same time do not all come back at the same time.
pub const RETRY_MIN: Duration = Duration::from_secs(30);

/// Longest pause between two tries. Chance only makes it shorter.
pub const RETRY_MAX: Duration = Duration::from_secs(30 * 60);

/// Visits hold forwarding back for this long at the most: a hub where somebody always visits forwards too.
pub const VISITS_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// Monotonic time.
pub type Monotonic = Arc<dyn Fn() -> Time + Send + Sync>;

/// Opens the repository of a laptop at the upstream; `None`: nothing is sent there, it comes for it. Called on several
/// threads at once.
pub type OpenUpstream =
    Arc<dyn Fn(&LaptopId) -> Result<Option<Box<dyn Upstream>>, ForwardFailure> + Send + Sync>;

/// What forwarding starts from.
pub struct ForwardingParts {
    /// Where the sets are.
    pub spool: Arc<Spool>,
    /// Where they go.
    pub open: OpenUpstream,
    /// For retries.
    pub now: Monotonic,
    /// For their pauses.
    pub rng: Box<dyn RngCore + Send>,
    /// For receipts and locks.
    pub wall_ns: Clock,
    /// When it is forwarded without being asked.
    pub by_itself: ByItself,
    /// At most so many bytes of objects go up in a second, on average; `None`: as many as will.
    pub bytes_per_second: Option<NonZeroU64>,
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

/// Where forwarding is.
#[derive(Debug, Clone, Default)]
pub struct ForwardStatus {
    /// Whose sets are on their way: [`LAPTOPS_AT_ONCE`] at the most.
    pub under_way: Vec<LaptopId>,
    /// Whose last try failed, and why.
    pub failed: BTreeMap<LaptopId, ForwardFailure>,
    /// The upstream takes nothing of anybody.
    pub outage: Option<Outage>,
}

/// The way to the forwarding threads. Dropping it does not stop them: [`Forwarding::stop`] does.
pub struct Forwarding {
    events: Sender<Event>,
    schedule: SharedSchedule,
    now: Monotonic,
    wall_ns: Clock,
    ended: Receiver<()>,
}

/// Held for as long as a decision takes, never for IO.
type SharedSchedule = Arc<Mutex<Schedule<Work>>>;

/// What a laptop's steps are done with.
type Work = (Forwarder, Box<dyn Upstream>);

enum Event {
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
    /// A step was done.
    Did(Did),
    /// [`Forwarding::stop`] was called.
    Stop,
}

/// A step that is to be done.
struct Task {
    laptop: LaptopId,
    work: Option<Work>,
}

/// What came of it.
struct Did {
    laptop: LaptopId,
    work: Option<Work>,
    outcome: Result<Progress, ForwardFailure>,
}

impl Forwarding {
    /// Starts the threads. `tell` is called on one of them with everything that happens.
    #[must_use]
    pub fn start(parts: ForwardingParts, tell: Box<dyn FnMut(&ForwardNews) + Send>) -> Self {
        // Events are a handful a visit, and one for each object that was sent.
        let (events_in, events_out) = unbounded();
        let (ended_in, ended_out) = bounded(0);
        // At most one for each thread.
        let (tasks_in, tasks_out) = bounded(LAPTOPS_AT_ONCE);
        let schedule = Arc::new(Mutex::new(Schedule::new(parts.by_itself)));
        let open = parts.open;
        // Nothing is sent on it: it is dropped.
        let (stop, stopped) = bounded(0);
        let pace = parts.bytes_per_second.map(|bytes_per_second| {
            Arc::new(Pace {
                rate: Mutex::new(Rate::new(bytes_per_second)),
                now: Arc::clone(&parts.now),
                stopped,
            })
        });
        let senders = (0..LAPTOPS_AT_ONCE).map(|_| {
            let sender = StepThread {
                spool: Arc::clone(&parts.spool),
                open: Arc::clone(&open),
                pace: pace.clone(),
                wall_ns: Arc::clone(&parts.wall_ns),
                tasks: tasks_out.clone(),
                events: events_in.clone(),
            };
            thread::spawn(move || sender.run())
        });
        let senders: Vec<_> = senders.collect();
        let (now, wall_ns) = (Arc::clone(&parts.now), Arc::clone(&parts.wall_ns));
        let planner = Planner {
            spool: parts.spool,
            now: parts.now,
            rng: parts.rng,
            wall_ns: parts.wall_ns,
            tell,
            events: events_out,
            tasks: tasks_in,
            schedule: Arc::clone(&schedule),
            watchers: Watchers::default(),
        };
        thread::spawn(move || {
            planner.run();
            drop(stop);
            // The planner is gone, and so are the tasks: each thread ends with what it is doing.
            for sender in senders {
                let _ = sender.join();
            }
            drop(ended_in);
        });
        Self {
            events: events_in,
            schedule,
            now,
            wall_ns,
            ended: ended_out,
        }
    }

    /// A visit of this laptop is over: something may wait now.
    pub fn look(&self, laptop: LaptopId) {
        self.send(Event::Look(laptop));
    }

    /// So many visits are under way: forwarding that nobody asked for waits for them.
    pub fn visits(&self, count: usize) {
        self.send(Event::Visits(count));
    }

    /// Forwards at once what waits of a laptop, or of all; a failure before does not count. The news end when all of it
    /// is upstream or has failed.
    #[must_use]
    pub fn now(&self, laptop: Option<LaptopId>) -> Receiver<ForwardNews> {
        // One piece of news for each object; it ends with whoever listens.
        let (news_in, news_out) = unbounded();
        self.send(Event::Now {
            laptop,
            news: news_in,
        });
        news_out
    }

    /// The upstream is another one now: begin again.
    pub fn anew(&self) {
        self.send(Event::Anew);
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> ForwardStatus {
        let now = Now {
            time: (self.now)(),
            wall_ns: (self.wall_ns)(),
            dice: 0,
        };
        let schedule = lock(&self.schedule);
        ForwardStatus {
            under_way: schedule.under_way().collect(),
            failed: schedule.failed().clone(),
            outage: schedule.outage(now),
        }
    }

    /// Stops after the objects that are under way (in the middle of them where their rate is limited), waiting for `wait_max` at the most. `false`: some still are; what ends
    /// with the process is begun again after the next start.
    pub fn stop(&self, wait_max: Duration) -> bool {
        self.send(Event::Stop);
        matches!(
            self.ended.recv_timeout(wait_max),
            Err(RecvTimeoutError::Disconnected)
        )
    }

    fn send(&self, event: Event) {
        // After a stop nobody takes it.
        let _ = self.events.send(event);
    }
}

/// Does what the schedule says.
struct Planner {
    spool: Arc<Spool>,
    now: Monotonic,
    rng: Box<dyn RngCore + Send>,
    wall_ns: Clock,
    tell: Box<dyn FnMut(&ForwardNews) + Send>,
    events: Receiver<Event>,
    tasks: Sender<Task>,
    schedule: SharedSchedule,
    watchers: Watchers,
}

impl Planner {
    fn run(mut self) {
        self.resume();
        self.look_at_all();
        loop {
            let now = self.now();
            // Bound first: its lock is not held while a task is handed over.
            let next = lock(&self.schedule).next(now);
            let event = match next {
                Next::Step(laptop, work) => {
                    if self.tasks.send(Task { laptop, work }).is_err() {
                        return;
                    }
                    continue;
                }
                Next::Sleep(Some(at)) => self.events.recv_timeout(at.saturating_sub(now.time)),
                Next::Sleep(None) => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Look(laptop) => self.look(laptop),
            Event::Visits(count) => lock(&self.schedule).visits(now, count),
            Event::Now { laptop, news } => self.ask(now, laptop, news),
            Event::Anew => {
                lock(&self.schedule).anew();
                self.look_at_all();
            }
            Event::Did(Did {
                laptop,
                work,
                outcome,
            }) => {
                let told = lock(&self.schedule).did(now, laptop, work, outcome);
                for what in told {
                    let news = ForwardNews { laptop, what };
                    (self.tell)(&news);
                    self.watchers.tell(&news);
                }
            }
            Event::Stop => {}
        }
    }

    fn ask(&mut self, now: Now, laptop: Option<LaptopId>, news: Sender<ForwardNews>) {
        let mut waiting = BTreeSet::new();
        for laptop in laptop.map_or_else(|| self.laptops(), |laptop| vec![laptop]) {
            if let Some(since_ns) = waits_since(&self.spool, &laptop) {
                lock(&self.schedule).asked(now, laptop, since_ns);
                waiting.insert(laptop);
            }
        }
        self.watchers.add(waiting, news);
    }

    fn resume(&self) {
        let laptops = self.laptops();
        let sets = laptops
            .iter()
            .flat_map(|laptop| self.spool.sets(laptop).unwrap_or_default());
        let taken_ns = sets.filter_map(|set| match set.sealed()?.forward {
            Forward::Done { at_ns, .. } => Some(at_ns),
            Forward::Waiting | Forward::Started { .. } => None,
        });
        let taken_ns = taken_ns.max();
        lock(&self.schedule).resumed(taken_ns);
    }

    fn look_at_all(&self) {
        for laptop in self.laptops() {
            self.look(laptop);
        }
    }

    fn look(&self, laptop: LaptopId) {
        if let Some(since_ns) = waits_since(&self.spool, &laptop) {
            lock(&self.schedule).look(laptop, since_ns);
        }
    }

    fn laptops(&self) -> Vec<LaptopId> {
        // A spool that can't be listed now shows at the next visit.
        self.spool.laptops().unwrap_or_default()
    }

    fn now(&mut self) -> Now {
        Now {
            time: (self.now)(),
            wall_ns: (self.wall_ns)(),
            dice: self.rng.next_u32(),
        }
    }
}

/// Does the steps that waiting for an upstream is a part of.
struct StepThread {
    spool: Arc<Spool>,
    open: OpenUpstream,
    pace: Option<Arc<Pace>>,
    wall_ns: Clock,
    tasks: Receiver<Task>,
    events: Sender<Event>,
}

impl StepThread {
    fn run(self) {
        for Task { laptop, mut work } in &self.tasks {
            let outcome = self.step(&laptop, &mut work);
            let did = Did {
                laptop,
                work,
                outcome,
            };
            if self.events.send(Event::Did(did)).is_err() {
                return;
            }
        }
    }

    fn step(&self, laptop: &LaptopId, work: &mut Option<Work>) -> Result<Progress, ForwardFailure> {
        let (forwarder, upstream) = match work {
            Some(work) => work,
            None if waits_since(&self.spool, laptop).is_none() => return Ok(Progress::Idle),
            none => {
                let Some(mut upstream) = (self.open)(laptop)? else {
                    return Ok(Progress::Idle);
                };
                if let Some(pace) = self.pace.clone() {
                    upstream = Box::new(Paced { upstream, pace });
                }
                none.insert((Forwarder::new(Arc::clone(&self.spool), *laptop), upstream))
            }
        };
        let progress = forwarder
            .step(&mut **upstream, (self.wall_ns)())
            .map_err(|error| ForwardFailure::from(&error))?;
        if matches!(progress, Progress::Forwarded { .. }) {
            // What goes wrong here goes wrong again at the next visit, which says so.
            let _ = self.spool.make_room(laptop, ROOM_SIZE_BYTES_MIN);
        }
        Ok(progress)
    }
}

fn lock(schedule: &SharedSchedule) -> MutexGuard<'_, Schedule<Work>> {
    schedule.lock().unwrap_or_else(PoisonError::into_inner)
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
