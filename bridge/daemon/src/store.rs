//! Where the spool's work is done: inline, or on a thread of its own for each visit.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread;

use berth_bridge::{StoreDone, StoreOp, Visit};
use berth_session::SessionId;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::behind::UpstreamReader;
use crate::forwarding::OpenUpstream;

/// As many operations wait for a visit's thread before its link is held, at most 64 KiB each: 2 MiB a visit keep the disk
/// busy while frames are opened, and 16 visits within the hub's memory. Beyond it comes only what the radio had on its
/// way: the hub's own thread never waits for a disk.
const OPS_WAITING_HIGH: usize = 32;

/// The link goes on when no more than this wait: half, so that the disk has work until the next bytes are there.
const OPS_WAITING_LOW: usize = OPS_WAITING_HIGH / 2;

/// Gives the wall clock, nanoseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How visits are executed.
pub enum Stores {
    /// At once, on the caller's thread.
    Inline,
    /// On threads.
    Threads(StoreThreads),
}

/// Starts threads for visits and hears what they have done.
pub struct StoreThreads {
    clock: Clock,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Where packs are read that are not in the spool any more.
    upstream: Option<OpenUpstream>,
    done_in: Sender<(SessionId, ThreadDone)>,
    done_out: Receiver<(SessionId, ThreadDone)>,
}

impl StoreThreads {
    /// `wake` is called from any thread when something was done; then call [`crate::Hub::stores_done`].
    #[must_use]
    pub fn new(clock: Clock, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        // Each visit asks for at most a handful of answers before it waits for one.
        let (done_in, done_out) = unbounded();
        Self {
            clock,
            wake,
            upstream: None,
            done_in,
            done_out,
        }
    }

    /// Has what laptops ask for, and what is not in the spool any more, read upstream.
    #[must_use]
    pub fn reading_upstream(self, open: OpenUpstream) -> Self {
        let upstream = Some(open);
        Self { upstream, ..self }
    }

    pub(crate) fn done(&self) -> Option<(SessionId, ThreadDone)> {
        self.done_out.try_recv().ok()
    }
}

/// What a visit's thread tells.
pub(crate) enum ThreadDone {
    /// One operation has an outcome.
    Store(StoreDone),
    /// [`OPS_WAITING_LOW`] operations are left.
    Some,
}

/// What a visit's link is to do.
pub(crate) enum Pace {
    Hold,
    Resume,
}

/// One visit's way to the spool.
pub(crate) enum Store {
    Inline(Box<Visit>),
    Thread {
        ops: Sender<StoreOp>,
        /// Its link is held.
        is_held: bool,
        /// Until the laptop leaves.
        stays: Option<Sender<Infallible>>,
    },
}

impl Store {
    /// Hands an operation to a visit's thread.
    pub(crate) fn send(ops: &Sender<StoreOp>, stays: &mut Option<Sender<Infallible>>, op: StoreOp) {
        if matches!(op, StoreOp::Leave) {
            // What is still read upstream is for nobody.
            *stays = None;
        }
        // A thread that is gone has reported that it left.
        let _ = ops.send(op);
    }

    /// What changes now, if anything.
    pub(crate) fn pace(&mut self) -> Option<Pace> {
        let Self::Thread { ops, is_held, .. } = self else {
            return None;
        };
        let pace = match ops.len() {
            OPS_WAITING_HIGH.. if !*is_held => Pace::Hold,
            0..=OPS_WAITING_LOW if *is_held => Pace::Resume,
            _ => return None,
        };
        *is_held = !*is_held;
        Some(pace)
    }

    pub(crate) const fn is_held(&self) -> bool {
        matches!(self, Self::Thread { is_held: true, .. })
    }
}

impl Stores {
    pub(crate) fn start(&self, session: SessionId, mut visit: Visit) -> Store {
        match self {
            Self::Inline => Store::Inline(Box::new(visit)),
            Self::Threads(threads) => {
                let (ops_in, ops_out) = unbounded();
                let (stays, left) = bounded(0);
                if let Some(open) = &threads.upstream {
                    let reader = UpstreamReader::new(Arc::clone(open), *visit.laptop(), left);
                    visit.read_behind(Box::new(reader));
                }
                let (clock, wake, done_in) = (
                    Arc::clone(&threads.clock),
                    Arc::clone(&threads.wake),
                    threads.done_in.clone(),
                );
                thread::spawn(move || {
                    let report = |done: ThreadDone| {
                        // Nobody listens once the hub has stopped.
                        let _ = done_in.send((session, done));
                        wake();
                    };
                    run(visit, &ops_out, &clock, report);
                });
                Store::Thread {
                    ops: ops_in,
                    is_held: false,
                    stays: Some(stays),
                }
            }
        }
    }
}

/// Executes operations until the visit is left, and frees the laptop's place before it says so.
fn run(mut visit: Visit, ops: &Receiver<StoreOp>, clock: &Clock, report: impl Fn(ThreadDone)) {
    for op in ops {
        if ops.len() == OPS_WAITING_LOW {
            report(ThreadDone::Some);
        }
        match visit.execute(op, clock()) {
            Some(done @ StoreDone::Left { .. }) => {
                drop(visit);
                return report(ThreadDone::Store(done));
            }
            Some(done) => report(ThreadDone::Store(done)),
            None => {}
        }
    }
}
