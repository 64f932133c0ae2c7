//! An upstream that takes nothing: for how long, why, and when it is tried next.
//!
//! Place: a part of the schedule.
//! Invariant: an outage begins with a failure of the upstream and ends when something goes up. Only one that every laptop
//! meets that has something to send is told, and paces all of them: a laptop that fails alone holds nobody up.

use std::time::Duration;

use berth_radio::Time;

use super::ForwardFailure;
use super::schedule::Now;
use crate::{RETRY_MAX, RETRY_MIN};

/// An upstream that takes nothing, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// How long that has been so.
    pub lasts: Duration,
    /// Tries that failed, since the hub was started.
    pub tries: u64,
    /// What the last one failed with.
    pub why: ForwardFailure,
    /// How long until the next; `None`: until somebody asks.
    pub next_in: Option<Duration>,
}

/// The same, as it is kept.
pub(super) struct Down {
    /// The first failure.
    since: Time,
    /// It had lasted as long by then, in an earlier run of the hub.
    before: Duration,
    tries: u64,
    why: ForwardFailure,
    retry: Duration,
    /// When the next laptop tries it, where it was told.
    pub(super) not_before: Time,
    /// Nobody got through.
    pub(super) is_told: bool,
}

impl Down {
    pub(super) const fn new(now: Now, before: Duration, why: ForwardFailure) -> Self {
        Self {
            since: now.time,
            before,
            tries: 0,
            why,
            retry: RETRY_MIN,
            not_before: now.time,
            is_told: false,
        }
    }

    /// A try failed, through the upstream's fault or not.
    pub(super) fn failed(&mut self, now: Now, why: &ForwardFailure) {
        if why.is_upstream {
            self.tries += 1;
            self.why.clone_from(why);
        }
        self.not_before = now.time + now.pause(self.retry);
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    pub(super) fn has_failed_with(&self, why: &ForwardFailure) -> bool {
        self.why == *why
    }

    pub(super) fn lasts(&self, now: Now) -> Duration {
        self.before + now.time.saturating_sub(self.since)
    }

    /// As it is told. `next_at`: when it is tried by itself.
    pub(super) fn told(&self, now: Now, next_at: Option<Time>) -> Outage {
        Outage {
            lasts: self.lasts(now),
            tries: self.tries,
            why: self.why.clone(),
            next_in: next_at.map(|at| at.saturating_sub(now.time)),
        }
    }
}
