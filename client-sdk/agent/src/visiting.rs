//! A visit on the session's own thread, or on one of its own: then scan and chunks never hold up the link.
//!
//! Place: [`crate::Laptop`] -> [`Visiting`] -> [`Visit`]. Between the threads are two bounded channels: what the visit
//! sends, and what the hub answers.
//! Invariant: what a visit sends leaves in the order in which it was made; a visit's thread has ended before
//! [`Stopping::wait`] returns, so that no two visits write to one state folder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_client_sdk::{Outgoing, Progress, Step, Summary, Visit, VisitError};
use berth_radio::{Time, Waker};
use berth_wire::ToLaptop;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// Pieces of at most 64 KiB that wait for the link: 2 MiB keep it busy while a chunk is read, and little waits behind a
/// wish to leave.
const SAID_MAX: usize = 32;

/// Messages of the hub that wait for the visit. It asks one thing at a time: more is a fault of the hub's.
const TOLD_MAX: usize = 64;

/// A waiting visit looks at the time now and then ([`Step::Wait`]).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Progress is passed on this often, and whenever the visit waits.
const TELL_EVERY: Duration = Duration::from_millis(20);

/// What a thread of a visit is given.
#[derive(Clone)]
pub struct VisitThread {
    /// Any monotonic clock.
    pub clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Wakes the driver: there is something for [`crate::Laptop::work`].
    pub wake: Waker,
    /// Called first on the new thread: sets its priority, which the threads that it starts inherit.
    pub prepare: Arc<dyn Fn() + Send + Sync>,
}

/// A visit, wherever it runs.
pub enum Visiting {
    /// On the caller's thread: what it is told and when decides what it does.
    Inline(Box<Visit>),
    /// On its own.
    Thread(Box<VisitLine>),
}

/// The session's end of the line to a visit's thread.
pub struct VisitLine {
    said: Receiver<Said>,
    told: Sender<Told>,
    shared: Arc<Shared>,
    seen: Progress,
    thread: JoinHandle<()>,
}

/// A visit's thread that is no longer wanted.
#[must_use]
pub(crate) struct Stopping(Option<JoinHandle<()>>);

impl Stopping {
    /// Waits until it has ended: the piece of work that it is at, some milliseconds.
    pub(crate) fn wait(self) {
        if let Some(thread) = self.0 {
            // One that failed has said so by ending.
            let _ = thread.join();
        }
    }
}

enum Said {
    Send(Outgoing),
    Over(Result<Box<Summary>, VisitError>),
}

enum Told {
    Message(ToLaptop),
    Mark,
    LeaveAt(u8),
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    has_progress: AtomicBool,
    /// The session has nothing to send: it is to be woken.
    is_hungry: AtomicBool,
}

impl Visiting {
    /// Starts a thread for the visit that `begin` makes there.
    ///
    /// # Errors
    /// [`VisitError::Disk`]: no thread can be had.
    pub fn start(
        thread: &VisitThread,
        begin: impl FnOnce() -> Result<Visit, VisitError> + Send + 'static,
    ) -> Result<Self, VisitError> {
        let (said_in, said) = bounded(SAID_MAX);
        let (told, told_out) = bounded(TOLD_MAX);
        let shared = Arc::new(Shared::default());
        let port = Port {
            said: said_in,
            told: told_out,
            shared: Arc::clone(&shared),
            wake: Arc::clone(&thread.wake),
        };
        let (clock, prepare) = (Arc::clone(&thread.clock), Arc::clone(&thread.prepare));
        let thread = thread::Builder::new()
            .name("berth-visit".to_owned())
            .spawn(move || {
                prepare();
                let ended = begin().and_then(|mut visit| {
                    let ended = port.run(&mut visit, &*clock);
                    port.shared.lock().clone_from(visit.progress());
                    ended
                });
                match ended {
                    Ok(Some(summary)) => port.say(Said::Over(Ok(summary))),
                    Ok(None) => {}
                    Err(error) => port.say(Said::Over(Err(error))),
                }
            })?;
        Ok(Self::Thread(Box::new(VisitLine {
            said,
            told,
            shared,
            seen: Progress::default(),
            thread,
        })))
    }

    pub(crate) fn next(&mut self, now: Time) -> Result<Step, VisitError> {
        match self {
            Self::Inline(visit) => visit.next(now),
            Self::Thread(line) => line.next(),
        }
    }

    pub(crate) fn receive(&mut self, now: Time, message: ToLaptop) -> Result<(), VisitError> {
        match (self, message) {
            (Self::Inline(visit), message) => visit.receive(now, message),
            (Self::Thread(_), ToLaptop::KeepAlive) => Ok(()),
            (Self::Thread(line), message) => line.tell(Told::Message(message)),
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        match self {
            Self::Inline(visit) => visit.progress(),
            Self::Thread(line) => &line.seen,
        }
    }

    pub(crate) fn request_mark(&mut self) {
        match self {
            Self::Inline(visit) => visit.request_mark(),
            Self::Thread(line) => drop(line.tell(Told::Mark)),
        }
    }

    pub(crate) fn leave_at(&mut self, percent: u8) {
        match self {
            Self::Inline(visit) => visit.leave_at(percent),
            Self::Thread(line) => drop(line.tell(Told::LeaveAt(percent))),
        }
    }

    /// The visit is over, wherever it is, and where it was.
    pub(crate) fn stop(mut self) -> (Progress, Stopping) {
        if let Self::Thread(line) = &mut self {
            line.look();
        }
        let progress = self.progress().clone();
        match self {
            Self::Inline(_) => (progress, Stopping(None)),
            Self::Thread(line) => (progress, Stopping(Some(line.thread))),
        }
    }

    /// The session is over: waits for the visit's end, as [`Stopping::wait`] does. It may have heard the hub's last word
    /// (a receipt, a refusal) before the link went, and its end is what that says.
    pub(crate) fn finish(self) -> (Progress, Option<Result<Box<Summary>, VisitError>>) {
        let mut line = match self {
            Self::Inline(visit) => return (visit.progress().clone(), None),
            Self::Thread(line) => *line,
        };
        drop(line.told);
        let end = line.said.iter().fold(None, |end, said| match said {
            Said::Send(_) => end,
            Said::Over(over) => Some(over),
        });
        // One that failed has said so by ending.
        let _ = line.thread.join();
        line.seen.clone_from(&line.shared.lock());
        (line.seen, end)
    }
}

impl VisitLine {
    fn next(&mut self) -> Result<Step, VisitError> {
        if self.shared.has_progress.load(Ordering::Acquire) {
            self.look();
        }
        let said = self.said.try_recv().or_else(|_| {
            // Said first, looked at after: what comes in between wakes the session.
            self.shared.is_hungry.store(true, Ordering::SeqCst);
            self.said.try_recv()
        });
        match said {
            Ok(Said::Send(outgoing)) => Ok(Step::Send(outgoing)),
            Ok(Said::Over(Ok(summary))) => {
                self.look();
                Ok(Step::Done(summary))
            }
            Ok(Said::Over(Err(error))) => Err(error),
            Err(TryRecvError::Empty) => Ok(Step::Wait),
            Err(TryRecvError::Disconnected) => Err(VisitError::Disk(std::io::Error::other(
                "the visit's thread ended",
            ))),
        }
    }

    fn tell(&self, told: Told) -> Result<(), VisitError> {
        // A thread that has ended has said why.
        match self.told.try_send(told) {
            Err(crossbeam_channel::TrySendError::Full(_)) => Err(VisitError::Protocol {
                what: "it says more than it was asked",
            }),
            Ok(()) | Err(crossbeam_channel::TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    fn look(&mut self) {
        self.shared.has_progress.store(false, Ordering::Release);
        self.seen.clone_from(&self.shared.lock());
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The visit's end of the line.
struct Port {
    said: Sender<Said>,
    told: Receiver<Told>,
    shared: Arc<Shared>,
    wake: Waker,
}

impl Port {
    /// Until the visit is over. `None`: the session has gone.
    fn run(&self, visit: &mut Visit, clock: &dyn Fn() -> Time) -> Result<Option<Box<Summary>>, VisitError> {
        let mut told_at = clock();
        loop {
            loop {
                match self.told.try_recv() {
                    Ok(told) => take(visit, clock(), told)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(done(visit.next(clock())?)),
                }
            }
            let step = visit.next(clock())?;
            if step == Step::Wait || clock() >= told_at + TELL_EVERY {
                told_at = clock();
                self.shared.lock().clone_from(visit.progress());
                self.shared.has_progress.store(true, Ordering::Release);
            }
            match step {
                Step::Send(outgoing) => self.say(Said::Send(outgoing)),
                Step::Working => {}
                Step::Wait => {
                    // Somebody may wait for a mark that has just been answered.
                    (self.wake)();
                    match self.told.recv_timeout(LOOK_EVERY) {
                        Ok(told) => take(visit, clock(), told)?,
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => return Ok(done(visit.next(clock())?)),
                    }
                }
                Step::Done(summary) => return Ok(Some(summary)),
            }
        }
    }

    /// Waits for room. Where nobody listens any more, the next look at `told` says so.
    fn say(&self, said: Said) {
        let _ = self.said.send(said);
        if self.shared.is_hungry.swap(false, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

fn done(step: Step) -> Option<Box<Summary>> {
    match step {
        Step::Done(summary) => Some(summary),
        Step::Send(_) | Step::Working | Step::Wait => None,
    }
}

fn take(visit: &mut Visit, now: Time, told: Told) -> Result<(), VisitError> {
    match told {
        Told::Message(message) => visit.receive(now, message)?,
        Told::Mark => visit.request_mark(),
        Told::LeaveAt(percent) => visit.leave_at(percent),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use berth_wire::Refusal;

    use super::*;

    #[test]
    fn a_refusal_that_was_heard_before_the_link_went_is_how_the_visit_ended() {
        let thread = VisitThread {
            clock: Arc::new(|| Time::ZERO),
            wake: Arc::new(|| {}),
            prepare: Arc::new(|| {}),
        };
        let visiting = Visiting::start(&thread, || Err(VisitError::Refused(Refusal::Full))).unwrap();
        let (_, end) = visiting.finish();
        assert!(matches!(end, Some(Err(VisitError::Refused(Refusal::Full)))));
    }
}
