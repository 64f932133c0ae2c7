//! When to ask the hub to make durable what it has, and what is known to be durable.
//!
//! Invariant: one mark is under way at a time; what an answer covers was all queued before that mark was.

use std::time::Duration;

use berth_radio::Time;
use berth_wire::Mark;

use super::VisitError;

/// The first mark of a visit, and the least between two: below it a mark costs more than it saves.
const DISTANCE_BYTES_MIN: u64 = 256 * 1024;

/// Bytes sent below which a cut is not worth a checkpoint that nobody asked for and that is dear.
pub(super) const LAST_CHANCE_BYTES_MIN: u64 = 64 * 1024;

/// Marks come further apart as the visit goes on, so that all together cost a constant share.
const DISTANCE_SHARE: u64 = 16;

/// But never further: what a cut of the hub's power can cost.
const DISTANCE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Nor later, while there is anything new.
const DISTANCE_TIME: Duration = Duration::from_secs(5);

/// Nor sooner after another, unless somebody asks: on a fast link the syncs of a mark would cost more than the bytes.
const DISTANCE_TIME_MIN: Duration = Duration::from_millis(200);

/// What a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkKind {
    Flush,
    Checkpoint,
}

struct Pending {
    mark: Mark,
    kind: MarkKind,
    bytes_stored: u64,
    /// With a checkpoint: of these, what it covers.
    bytes_covered: u64,
    was_requested: bool,
}

/// The marks of a visit.
#[derive(Default)]
pub(super) struct Marks {
    last: u32,
    pending: Option<Pending>,
    queued_at_last: u64,
    last_at: Time,
    requested: bool,
    /// Bytes of files under the last answered mark, and the last answered checkpoint.
    pub(super) acknowledged: u64,
    pub(super) restorable: u64,
    /// Of the last mark that was sent.
    stored_at_last: Option<(MarkKind, u64)>,
    pub(super) request_done: bool,
}

/// Why a mark would be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Requested,
    Regular,
    /// So much is at risk that a flush is better than nothing.
    Overdue,
    /// Little is restorable, and soon a checkpoint takes more than may be spent.
    LastChance,
}

impl Marks {
    pub(super) fn new(now: Time) -> Self {
        Self {
            last_at: now,
            ..Self::default()
        }
    }

    pub(super) fn request(&mut self) {
        (self.requested, self.request_done) = (true, false);
    }

    /// Whether a mark should be made, when `queued` bytes were queued and `stored` bytes of files read.
    pub(super) fn due(&mut self, now: Time, queued: u64, stored: u64) -> Option<Due> {
        if self.pending.is_some() {
            return None;
        }
        if self.requested {
            if self.stored_at_last == Some((MarkKind::Checkpoint, stored)) && queued == self.queued_at_last {
                (self.requested, self.request_done) = (false, true);
                return None;
            }
            return Some(Due::Requested);
        }
        let fresh = queued - self.queued_at_last;
        let elapsed = now.saturating_sub(self.last_at);
        let distance = (queued / DISTANCE_SHARE).max(DISTANCE_BYTES_MIN);
        // The first one is not behind all that the link's window holds by then: something is safe soon.
        let is_apart = self.last == 0 || elapsed >= DISTANCE_TIME_MIN;
        if fresh >= DISTANCE_BYTES_MAX {
            Some(Due::Overdue)
        } else if (fresh >= distance && is_apart) || (fresh > 0 && elapsed >= DISTANCE_TIME) {
            Some(Due::Regular)
        } else {
            None
        }
    }

    /// Whether a checkpoint would make at least twice as much restorable as the last one did.
    pub(super) fn would_double(&self, stored: u64) -> bool {
        self.pending.is_none() && stored >= (2 * self.restorable).max(1)
    }

    /// Whether a flush would leave enough of what it acknowledges restorable, though no checkpoint goes with it.
    pub(super) fn flush_is_honest(&self, stored: u64) -> bool {
        stored / 100 * 95 <= self.restorable
    }

    /// The number of the next mark, as it is queued. A checkpoint covers `covered` bytes of those stored.
    pub(super) fn begin(
        &mut self,
        now: Time,
        kind: MarkKind,
        queued: u64,
        stored: u64,
        covered: u64,
    ) -> Mark {
        self.last += 1;
        let mark = Mark(self.last);
        self.pending = Some(Pending {
            mark,
            kind,
            bytes_stored: stored,
            bytes_covered: covered,
            was_requested: self.requested,
        });
        (self.queued_at_last, self.last_at, self.stored_at_last) = (queued, now, Some((kind, stored)));
        mark
    }

    pub(super) fn answered(&mut self, mark: Mark) -> Result<(), VisitError> {
        let pending = self.pending.take().filter(|pending| pending.mark == mark);
        let Some(pending) = pending else {
            return Err(VisitError::Protocol {
                what: "it acknowledged a mark that is not under way",
            });
        };
        self.acknowledged = pending.bytes_stored;
        if pending.kind == MarkKind::Checkpoint {
            self.restorable = pending.bytes_covered;
        }
        if pending.was_requested {
            (self.requested, self.request_done) = (false, true);
        }
        Ok(())
    }
}
