//! What other threads want of the one that drives the radio, and what it tells them.
//!
//! Place: control socket and signals -> [`Orders`] -> agent or backup; the driver's progress -> [`Orders`] -> followers.
//! Invariant: whoever waits here is woken by what it waits for, never by a timer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_agent::{Estimate, Leave, progress_fields};
use berth_client_sdk::Progress;
use berth_radio::{Time, Waker};
use serde_json::{Value, json};

/// Followers are told this often.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// See the module's header.
#[derive(Default)]
pub(crate) struct Orders {
    state: Mutex<State>,
    changed: Condvar,
    /// Nobody is asked to step aside: there is nothing to come back to.
    is_once: bool,
}

#[derive(Default)]
struct State {
    is_stopping: bool,
    /// Connections that want the folder for themselves.
    pauses: usize,
    has_stepped_aside: bool,
    /// Wakes whoever waits for the radio.
    wake: Option<Waker>,
    visit: Option<Visit>,
    /// Counts what followers see.
    version: u64,
    ended: Value,
    /// Counts visits that have ended.
    visits: u64,
    failures: u32,
}

struct Visit {
    leave: Leave,
    progress: Value,
    estimate: Estimate,
    told_at: Time,
}

/// What a follower learns.
pub(crate) enum Change {
    Progress(Value),
    Ended(Value),
    Idle,
}

/// Keeps the agent aside until it is dropped.
pub(crate) struct Paused<'a>(&'a Orders);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.pauses -= 1);
    }
}

impl Orders {
    /// For a program that makes one visit.
    pub(crate) fn once() -> Self {
        Self {
            is_once: true,
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        state.version += 1;
        let (wake, leave) = (
            state.wake.clone(),
            state.visit.as_ref().map(|visit| visit.leave.clone()),
        );
        let must_leave = state.is_stopping || state.pauses > 0;
        drop(state);
        self.changed.notify_all();
        if let Some(wake) = wake {
            wake();
        }
        if let Some(leave) = leave.filter(|_| must_leave) {
            leave.ask();
        }
        changed
    }

    /// Ends everything: a visit with a checkpoint and goodbye.
    pub(crate) fn stop(&self) {
        self.change(|state| state.is_stopping = true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    /// Somebody wants the folder.
    pub(crate) fn is_pausing(&self) -> bool {
        self.lock().pauses > 0
    }

    /// The folder is free. Returns when nobody wants it any more (`true`), or when all is to end.
    pub(crate) fn step_aside(&self) -> bool {
        let mut state = self.lock();
        (state.has_stepped_aside, state.wake) = (true, None);
        self.changed.notify_all();
        while state.pauses > 0 && !state.is_stopping {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.has_stepped_aside = false;
        !state.is_stopping
    }

    /// Waits, but not longer than `wait`, for something to change. For times without a radio.
    pub(crate) fn wait(&self, wait: Duration) {
        let state = self.lock();
        if !state.is_stopping && state.pauses == 0 {
            drop(self.changed.wait_timeout(state, wait));
        }
    }

    /// From now on the radio is waited for.
    pub(crate) fn attach(&self, wake: Waker) {
        self.lock().wake = Some(wake);
    }

    /// A visit is under way; it ends when `leave` is asked.
    pub(crate) fn begins(&self, leave: &Leave, now: Time) {
        self.change(|state| {
            state.visit = Some(Visit {
                leave: leave.clone(),
                progress: Value::Null,
                estimate: Estimate::new(now),
                told_at: now,
            });
        });
    }

    /// Where it is. Cheap where there is nothing to tell yet.
    pub(crate) fn progress(&self, now: Time, progress: &Progress) {
        let mut state = self.lock();
        let Some(visit) = state
            .visit
            .as_mut()
            .filter(|visit| now >= visit.told_at + TELL_EVERY)
        else {
            return;
        };
        let (rate, seconds_left) = visit.estimate.at(now, progress);
        visit.told_at = now;
        visit.progress = progress_fields(progress, rate, seconds_left);
        visit.progress["words"] = berth_agent::in_words(progress, rate, seconds_left).into();
        state.version += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// It has ended like this.
    pub(crate) fn ended(&self, ended: Value, failures: u32) {
        self.change(|state| {
            (state.visit, state.ended, state.failures) = (None, ended, failures);
            state.visits += 1;
        });
    }

    /// For `status`.
    pub(crate) fn status(&self) -> Value {
        let state = self.lock();
        let what = match &state.visit {
            Some(_) => "visiting",
            None if state.has_stepped_aside => "paused",
            None => "waiting",
        };
        let program = if self.is_once { "backup" } else { "agent" };
        json!({
            "program": program, "doing": what, "failures": state.failures,
            "visit": state.visit.as_ref().map(|visit| &visit.progress),
        })
    }

    /// Asks the visit that is under way to end, and waits for that, but not longer than `wait`.
    pub(crate) fn leave(&self, wait: Duration) -> Change {
        let state = self.lock();
        let Some(leave) = state.visit.as_ref().map(|visit| visit.leave.clone()) else {
            return Change::Idle;
        };
        let visits = state.visits;
        drop(state);
        leave.ask();
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, wait, |state| state.visits == visits);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.visits == visits {
            Change::Progress(Value::Null)
        } else {
            Change::Ended(state.ended.clone())
        }
    }

    /// Waits for the next thing to tell somebody who follows; `seen` begins with 0.
    pub(crate) fn follow(&self, seen: &mut u64) -> Change {
        let mut state = self.lock();
        if *seen == 0 && state.visit.is_none() {
            return Change::Idle;
        }
        let visits = state.visits;
        while *seen == state.version && state.visits == visits && state.visit.is_some() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *seen = state.version;
        match &state.visit {
            Some(visit) if state.visits == visits => Change::Progress(visit.progress.clone()),
            Some(_) | None => Change::Ended(state.ended.clone()),
        }
    }

    /// Asks the agent to step aside, and waits until it has, but not longer than `wait`.
    pub(crate) fn pause(&self, wait: Duration) -> Option<Paused<'_>> {
        if self.is_once {
            return None;
        }
        self.change(|state| state.pauses += 1);
        let paused = Paused(self);
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, wait, |state| {
            !state.has_stepped_aside && !state.is_stopping
        });
        let is_free = waited.unwrap_or_else(PoisonError::into_inner).0.has_stepped_aside;
        is_free.then_some(paused)
    }
}
