//! The air for threads: one lock, a mailbox for each radio, and a clock from outside.
//!
//! Place: a thread that waits in [`Radio::event`] moves the air on when the next thing is due; no thread of the air's
//! own is needed. On a [`crate::VirtualClock`] waiting moves the clock instead, so that one thread can drive several
//! radios through a long time at once.
//! Invariant: a mailbox is bounded: stream bytes by the receive window, the rest by [`MAILBOX_EVENTS_MAX`].

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_radio::{Command, Event, Radio, Time, Waker};

use crate::{Air, AttachError, Clock, PortId};

/// Events other than stream bytes that may wait in a mailbox. A radio whose events nobody takes is reset: it sees
/// `AdapterGone` and `AdapterBack`.
pub const MAILBOX_EVENTS_MAX: usize = 16_384;

/// Longest single sleep: bounds what a lost wake-up could cost.
const SLEEP_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Mailbox {
    events: VecDeque<Event>,
    /// Those of them that are not stream bytes.
    others: usize,
    bell: Arc<Condvar>,
    waiting: bool,
    woken: bool,
    open: bool,
}

#[derive(Debug)]
struct State {
    air: Air,
    boxes: Vec<Mailbox>,
    fresh: Vec<(PortId, Event)>,
}

struct Inner {
    state: Mutex<State>,
    clock: Box<dyn Clock>,
}

/// An [`Air`] shared by threads. Clones are the same air.
#[derive(Clone)]
pub struct SharedAir(Arc<Inner>);

impl std::fmt::Debug for SharedAir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedAir").finish_non_exhaustive()
    }
}

impl SharedAir {
    /// Shares `air`, driven by `clock`: a closure over a real clock, or a [`crate::VirtualClock`] if all radios are
    /// used by one thread.
    #[must_use]
    pub fn new(air: Air, clock: impl Clock + 'static) -> Self {
        let state = State {
            air,
            boxes: Vec::new(),
            fresh: Vec::new(),
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            clock: Box::new(clock),
        }))
    }

    /// A new radio in this air, beside others of that name. It leaves the air when it is dropped.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn radio(&self, name: &str) -> Result<SimRadio, AttachError> {
        Ok(SimRadio {
            port: self.attach(name)?,
            air: self.clone(),
        })
    }

    /// Does something with the air at the present time (places, cuts, faults, the trace), then lets its events out.
    /// The air is locked meanwhile: `act` must not use a radio of it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Air, Time) -> T) -> T {
        let now = self.0.clock.now();
        let mut state = self.lock();
        state.turn(now);
        let result = act(&mut state.air, now);
        state.turn(now);
        state.ring_everyone();
        result
    }

    /// The time on this air's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.0.clock.now()
    }

    fn attach(&self, name: &str) -> Result<PortId, AttachError> {
        let mut state = self.lock();
        let port = state.air.attach_paced(name)?;
        while state.boxes.len() <= port.index() {
            state.boxes.push(Mailbox::default());
        }
        if let Some(mailbox) = state.boxes.get_mut(port.index()) {
            *mailbox = Mailbox {
                open: true,
                ..Mailbox::default()
            };
        }
        Ok(port)
    }

    fn detach(&self, port: PortId) {
        let now = self.0.clock.now();
        let mut state = self.lock();
        state.turn(now);
        state.air.detach(now, port);
        if let Some(mailbox) = state.boxes.get_mut(port.index()) {
            mailbox.open = false;
            mailbox.events.clear();
            mailbox.others = 0;
            mailbox.bell.notify_all();
        }
        state.turn(now);
        state.ring_everyone();
    }

    /// What [`Radio::command`] of the radio at `port` does, for another thread than that of its driver.
    pub fn command(&self, port: PortId, command: Command) {
        let now = self.0.clock.now();
        let mut state = self.lock();
        state.turn(now);
        let due_before = state.air.next_at();
        state.air.command(now, port, command);
        state.turn(now);
        state.ring_if_earlier(due_before);
    }

    /// The next event of a port; `None` at the deadline, or at once when the port has been detached.
    fn event(&self, port: PortId, deadline: Time) -> Option<Event> {
        let mut state = self.lock();
        loop {
            let now = self.0.clock.now();
            state.turn(now);
            if let Some(event) = state.take(port, now) {
                return Some(event);
            }
            let mailbox = state.boxes.get_mut(port.index()).filter(|mailbox| mailbox.open)?;
            if std::mem::take(&mut mailbox.woken) || now >= deadline {
                return None;
            }
            mailbox.waiting = true;
            let bell = Arc::clone(&mailbox.bell);
            let wake = state.air.next_at().map_or(deadline, |due| due.min(deadline));
            if !self.0.clock.skip_to(wake) {
                let sleep = wake.saturating_sub(now).min(SLEEP_MAX);
                state = bell
                    .wait_timeout(state, sleep)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            if let Some(mailbox) = state.boxes.get_mut(port.index()) {
                mailbox.waiting = false;
            }
        }
    }

    fn wake(&self, port: PortId) {
        let mut state = self.lock();
        if let Some(mailbox) = state.boxes.get_mut(port.index()) {
            mailbox.woken = true;
            mailbox.bell.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one radio's thread leaves the air usable for the others: no call leaves it half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets the time pass and puts events into mailboxes.
    fn turn(&mut self, now: Time) {
        let mut fresh = std::mem::take(&mut self.fresh);
        self.air.advance(now, &mut fresh);
        for (port, event) in fresh.drain(..) {
            self.put(port, event, now);
        }
        self.fresh = fresh;
    }

    fn put(&mut self, port: PortId, event: Event, now: Time) {
        let Some(mailbox) = self.boxes.get_mut(port.index()).filter(|mailbox| mailbox.open) else {
            return;
        };
        mailbox.bell.notify_all();
        if let Event::Read { .. } = event {
            return mailbox.events.push_back(event);
        }
        // Two drains of one stream are one.
        if let Event::Drained { stream, bytes } = event
            && let Some(Event::Drained {
                stream: last,
                bytes: sum,
            }) = mailbox.events.back_mut()
            && *last == stream
        {
            *sum = sum.saturating_add(bytes);
            return;
        }
        mailbox.events.push_back(event);
        mailbox.others += 1;
        if mailbox.others > MAILBOX_EVENTS_MAX {
            mailbox.events.clear();
            mailbox.others = 0;
            self.air.adapter_gone(now, port);
            self.air.adapter_back(now, port);
        }
    }

    fn take(&mut self, port: PortId, now: Time) -> Option<Event> {
        let mailbox = self.boxes.get_mut(port.index())?;
        let event = mailbox.events.pop_front()?;
        if let Event::Read { stream, piece } = &event {
            let due_before = self.air.next_at();
            self.air.taken(now, port, *stream, piece.len());
            self.turn(now);
            self.ring_if_earlier(due_before);
        } else {
            mailbox.others = mailbox.others.saturating_sub(1);
        }
        Some(event)
    }

    /// Something is due sooner than the waiting threads know: they have to look again. All of them, because the one
    /// that was told may stop waiting before it is due.
    fn ring_if_earlier(&self, due_before: Option<Time>) {
        let earlier = match (self.air.next_at(), due_before) {
            (Some(due), Some(before)) => due < before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if earlier {
            self.ring_everyone();
        }
    }

    fn ring_everyone(&self) {
        for mailbox in self.boxes.iter().filter(|mailbox| mailbox.waiting) {
            mailbox.bell.notify_all();
        }
    }
}

/// A radio in a [`SharedAir`], for one thread.
#[derive(Debug)]
pub struct SimRadio {
    air: SharedAir,
    port: PortId,
}

impl SimRadio {
    /// Its port, for [`SharedAir::with`].
    #[must_use]
    pub fn port(&self) -> PortId {
        self.port
    }
}

impl Radio for SimRadio {
    fn command(&mut self, command: Command) {
        self.air.command(self.port, command);
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        self.air.event(self.port, deadline)
    }

    fn waker(&self) -> Waker {
        let (air, port) = (self.air.clone(), self.port);
        Arc::new(move || air.wake(port))
    }

    fn now(&self) -> Time {
        self.air.now()
    }
}

impl Drop for SimRadio {
    fn drop(&mut self) {
        self.air.detach(self.port);
    }
}
