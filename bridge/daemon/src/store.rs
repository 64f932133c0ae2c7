//! Where the spool's work is done: inline, or on a thread of its own for each visit.

use std::sync::Arc;
use std::thread;

use berth_bridge::{StoreDone, StoreOp, Visit};
use berth_session::SessionId;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Operations that wait for a visit's thread, at most 64 KiB each: 2 MiB a visit keep the disk busy while frames are
/// opened, and 16 visits within the hub's memory. A full queue holds the hub's thread up, and with it every other visit,
/// until the disk has taken one operation.
const OPS_WAITING_MAX: usize = 32;

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
    done_in: Sender<(SessionId, StoreDone)>,
    done_out: Receiver<(SessionId, StoreDone)>,
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
            done_in,
            done_out,
        }
    }

    pub(crate) fn done(&self) -> Option<(SessionId, StoreDone)> {
        self.done_out.try_recv().ok()
    }
}

/// One visit's way to the spool.
pub(crate) enum Store {
    Inline(Box<Visit>),
    Thread(Sender<StoreOp>),
}

impl Stores {
    pub(crate) fn start(&self, session: SessionId, visit: Visit) -> Store {
        match self {
            Self::Inline => Store::Inline(Box::new(visit)),
            Self::Threads(threads) => {
                let (ops_in, ops_out) = bounded(OPS_WAITING_MAX);
                let (clock, wake, done_in) = (
                    Arc::clone(&threads.clock),
                    Arc::clone(&threads.wake),
                    threads.done_in.clone(),
                );
                thread::spawn(move || {
                    let report = |done| {
                        // Nobody listens once the hub has stopped.
                        let _ = done_in.send((session, done));
                        wake();
                    };
                    run(visit, &ops_out, &clock, report);
                });
                Store::Thread(ops_in)
            }
        }
    }
}

/// Executes operations until the visit is left, and frees the laptop's place before it says so.
fn run(mut visit: Visit, ops: &Receiver<StoreOp>, clock: &Clock, report: impl Fn(StoreDone)) {
    for op in ops {
        match visit.execute(op, clock()) {
            Some(done @ StoreDone::Left { .. }) => {
                drop(visit);
                return report(done);
            }
            Some(done) => report(done),
            None => {}
        }
    }
}
