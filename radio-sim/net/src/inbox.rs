//! Where everything that a radio of sockets will tell its machine waits, under one lock.
//!
//! Place: threads of sockets put in, [`berth_radio::Radio::event`] takes out. Streams take turns: one piece each.
//! Invariant: a stream has at most one place in the queue; once it has ended, what is left of it comes before anything
//! that was put in later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_radio::{Event, StreamId, Waker};

use crate::stream::{Limits, Pipe};

/// Longest single sleep: bounds what a lost wake-up could cost, and what a clock that is no real one could.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug)]
enum Entry {
    Event(Event),
    /// This stream has something to tell.
    Stream(StreamId),
}

/// Events that may wait for a machine that takes none; whoever brings more waits too.
const EVENTS_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct State {
    queue: VecDeque<Entry>,
    pub(crate) pipes: BTreeMap<StreamId, Pipe>,
    waiting: bool,
    woken: bool,
    /// Nothing is opened any more.
    pub(crate) is_shut: bool,
}

impl State {
    pub(crate) fn put(&mut self, event: Event) {
        self.queue.push_back(Entry::Event(event));
    }

    /// Makes sure that the stream gets its turn if it has something to tell.
    pub(crate) fn queue_stream(&mut self, id: StreamId) {
        if let Some(pipe) = self.pipes.get_mut(&id)
            && pipe.has_news()
            && !std::mem::replace(&mut pipe.is_queued, true)
        {
            self.queue.push_back(Entry::Stream(id));
        }
    }

    fn take(&mut self) -> Option<Event> {
        while let Some(entry) = self.queue.pop_front() {
            let id = match entry {
                Entry::Event(event) => return Some(event),
                Entry::Stream(id) => id,
            };
            let Some(pipe) = self.pipes.get_mut(&id) else {
                continue;
            };
            pipe.is_queued = false;
            let event = pipe.take_news(id);
            if matches!(event, Some(Event::StreamClosed { .. })) {
                self.pipes.remove(&id);
            } else if pipe.has_news() {
                pipe.is_queued = true;
                if pipe.ended {
                    self.queue.push_front(Entry::Stream(id));
                } else {
                    self.queue.push_back(Entry::Stream(id));
                }
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }
}

/// The queue and its bell.
pub(crate) struct Inbox {
    pub(crate) limits: Limits,
    state: Mutex<State>,
    came: Condvar,
    /// A stream has ended, or there is room for events again.
    pub(crate) changed: Condvar,
    /// Ends the wait of a driver that waits in another radio.
    outer: Option<Waker>,
}

/// What a look into the queue gave.
pub(crate) enum Look {
    Event(Event),
    /// Somebody rang.
    Woken,
    /// Nothing. Whatever comes from now on rings.
    Empty,
}

impl Inbox {
    pub(crate) fn new(limits: Limits, outer: Option<Waker>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
            came: Condvar::new(),
            changed: Condvar::new(),
            outer,
        })
    }

    /// Changes the state, then rings if there is news for somebody who waits.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        self.ring(state);
        result
    }

    /// Like [`Self::with`], for whoever goes on with the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one thread leaves the radio usable: no change is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring(&self, mut state: MutexGuard<'_, State>) {
        if !state.waiting || (state.queue.is_empty() && !state.woken) {
            return;
        }
        state.waiting = false;
        drop(state);
        self.came.notify_all();
        if let Some(outer) = &self.outer {
            outer();
        }
    }

    pub(crate) fn wake(&self) {
        self.with(|state| state.woken = true);
    }

    /// For a driver that is about to wait elsewhere.
    pub(crate) fn look(&self) -> Look {
        let mut state = self.lock();
        state.waiting = false;
        if let Some(event) = self.take(&mut state) {
            return Look::Event(event);
        }
        if std::mem::take(&mut state.woken) {
            return Look::Woken;
        }
        state.waiting = true;
        Look::Empty
    }

    /// The next event, at most until `left` says that no time is left.
    pub(crate) fn wait(&self, left: impl Fn() -> Duration) -> Option<Event> {
        let mut state = self.lock();
        loop {
            state.waiting = false;
            if let Some(event) = self.take(&mut state) {
                return Some(event);
            }
            let left = left();
            if std::mem::take(&mut state.woken) || left == Duration::ZERO {
                return None;
            }
            state.waiting = true;
            state = self
                .came
                .wait_timeout(state, left.min(SLEEP_MAX))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn take(&self, state: &mut State) -> Option<Event> {
        let was_full = state.queue.len() >= EVENTS_MAX;
        let event = state.take();
        if was_full && state.queue.len() < EVENTS_MAX {
            self.changed.notify_all();
        }
        event
    }

    /// Puts in an event as soon as there is room for it.
    pub(crate) fn put_waiting(&self, event: Event) {
        let mut state = self.lock();
        while state.queue.len() >= EVENTS_MAX && !state.is_shut {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.is_shut {
            state.put(event);
        }
        self.ring(state);
    }

    /// Waits until the state is so, or `wait` is over.
    pub(crate) fn wait_until(&self, wait: Duration, is_so: impl Fn(&State) -> bool) {
        let _ = self
            .changed
            .wait_timeout_while(self.lock(), wait, |state| !is_so(state));
    }
}
