//! Whose sets are forwarded when: who is next, what holds it back, when it is tried again.
//!
//! Place: [`super::Forwarding`]'s thread asks [`Schedule::next`] until it says to sleep, has the steps done by other
//! threads, and tells [`Schedule::did`] what came of them.
//! Invariant: a laptop has one step under way at the most, so its sets go up in order; all laptops together have
//! [`LAPTOPS_AT_ONCE`]. What failed is tried again later and later, but never given up; what waits for a lock does not
//! hold the other laptops up.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_bridge::{LaptopId, Progress};
use berth_radio::Time;

use super::{ByItself, ForwardFailure, Forwarded};
use crate::{Opening, RETRY_MAX, RETRY_MIN, VISITS_WAIT_MAX};

/// Laptops whose sets are on their way at once: while one waits for the upstream's answer another one sends. An upstream
/// over a network has the object that it sends in memory, about 17 MB of a pack and 32 MiB at the most: two leave room
/// for the visits in the hub's 64 MiB.
pub const LAPTOPS_AT_ONCE: usize = 2;

/// The longest sleep until a window opens: a wall clock that is set meanwhile is seen by then.
const WINDOW_LOOK: Duration = Duration::from_secs(15 * 60);

/// What the clocks and the dice show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Monotonic.
    pub(super) time: Time,
    /// Nanoseconds since 1970.
    pub(super) wall_ns: i64,
    /// Any number as likely as any other.
    pub(super) dice: u32,
}

impl Now {
    /// A pause of which the half is left to chance.
    fn pause(self, longest: Duration) -> Duration {
        let half_ms = u64::try_from(longest.as_millis() / 2).unwrap_or(0);
        longest / 2 + Duration::from_millis((half_ms * u64::from(self.dice)) >> 32)
    }
}

/// The laptops that have, or may have, something to send. `W` is what a laptop's steps are done with.
pub(super) struct Schedule<W> {
    by_itself: ByItself,
    jobs: BTreeMap<LaptopId, Job<W>>,
    failed: BTreeMap<LaptopId, ForwardFailure>,
    visiting_since: Option<Time>,
}

struct Job<W> {
    /// When the oldest set that it had when it came was sealed.
    waits_since_ns: i64,
    not_before: Time,
    retry: Duration,
    /// Somebody asked: visits and hours do not hold it back.
    asked: bool,
    /// It goes on before others begin.
    begun: bool,
    step: Step<W>,
}

enum Step<W> {
    /// None is under way. What was opened for the last one is kept.
    None(Option<W>),
    UnderWay {
        /// A set may have been sealed since it began.
        look_again: bool,
        /// The upstream is another one since it began.
        is_stale: bool,
    },
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<W> {
    /// A step for this laptop. Without `W` it is opened first.
    Step(LaptopId, Option<W>),
    /// Nothing until then, or until something happens.
    Sleep(Option<Time>),
}

impl<W> Job<W> {
    const fn is_under_way(&self) -> bool {
        matches!(self.step, Step::UnderWay { .. })
    }

    /// When its next step may be done, with what is not asked for held until then.
    fn at(&self, held_until: Option<Time>) -> Time {
        match held_until {
            Some(until) if !self.asked => self.not_before.max(until),
            Some(_) | None => self.not_before,
        }
    }
}

impl<W> Schedule<W> {
    pub(super) const fn new(by_itself: ByItself) -> Self {
        Self {
            by_itself,
            jobs: BTreeMap::new(),
            failed: BTreeMap::new(),
            visiting_since: None,
        }
    }

    pub(super) fn goes_by_itself(&self) -> bool {
        self.by_itself != ByItself::Never
    }

    /// A laptop has sets that wait, the oldest sealed then (nanoseconds since 1970).
    pub(super) fn look(&mut self, laptop: LaptopId, waits_since_ns: i64) {
        if self.goes_by_itself() {
            self.job(laptop, waits_since_ns);
        }
    }

    /// The same, and somebody asks for them: what waits for a lock goes on waiting, what failed is tried again.
    pub(super) fn asked(&mut self, now: Now, laptop: LaptopId, waits_since_ns: i64) {
        let job = self.job(laptop, waits_since_ns);
        job.asked = true;
        if matches!(job.step, Step::None(None)) {
            job.not_before = now.time;
        }
    }

    /// So many visits are under way.
    pub(super) fn visits(&mut self, now: Now, count: usize) {
        if count == 0 {
            self.visiting_since = None;
        } else {
            self.visiting_since.get_or_insert(now.time);
        }
    }

    /// The upstream is another one: what was opened does not count any more, nor what failed.
    pub(super) fn anew(&mut self) {
        self.failed.clear();
        for job in self.jobs.values_mut() {
            job.not_before = Time::ZERO;
            job.retry = RETRY_MIN;
            match &mut job.step {
                Step::None(work) => *work = None,
                Step::UnderWay { is_stale, .. } => *is_stale = true,
            }
        }
    }

    /// What to do: a step is under way from here on until [`Schedule::did`].
    pub(super) fn next(&mut self, now: Now) -> Next<W> {
        let under_way = self.jobs.values().filter(|job| job.is_under_way()).count();
        if under_way >= LAPTOPS_AT_ONCE {
            return Next::Sleep(None);
        }
        let held_until = self.held_until(now);
        let mut others: Vec<_> = self.jobs.iter_mut().collect();
        others.retain(|(_, job)| !job.is_under_way());
        let soonest = others.iter().map(|(_, job)| job.at(held_until)).min();
        let due = others
            .into_iter()
            .filter(|(_, job)| job.at(held_until) <= now.time);
        // Who is asked for goes first, then who has begun, then who has the oldest set.
        let first = due.min_by_key(|(_, job)| (!job.asked, !job.begun, job.waits_since_ns));
        let Some((laptop, job)) = first else {
            return Next::Sleep(soonest);
        };
        job.begun = true;
        let step = Step::UnderWay {
            look_again: false,
            is_stale: false,
        };
        match std::mem::replace(&mut job.step, step) {
            Step::None(work) => Next::Step(*laptop, work),
            Step::UnderWay { .. } => Next::Step(*laptop, None),
        }
    }

    /// What came of a step: what to tell of it, if anything.
    pub(super) fn did(
        &mut self,
        now: Now,
        laptop: LaptopId,
        work: Option<W>,
        outcome: Result<Progress, ForwardFailure>,
    ) -> Option<Forwarded> {
        let by_itself = self.goes_by_itself();
        let job = self.jobs.get_mut(&laptop)?;
        let Step::UnderWay { look_again, is_stale } = job.step else {
            return None;
        };
        job.step = Step::None(work.filter(|_| !is_stale));
        let told = match outcome {
            Ok(Progress::Idle) if look_again => return None,
            Ok(Progress::Idle) => {
                self.jobs.remove(&laptop);
                self.failed.remove(&laptop);
                Forwarded::All
            }
            Ok(Progress::Begun { set, objects, bytes }) => Forwarded::Begun { set, objects, bytes },
            Ok(Progress::Sent { set, bytes }) => Forwarded::Sent { set, bytes },
            Ok(Progress::Waiting { set, until_ns }) => {
                let left_ns = until_ns.saturating_sub(now.wall_ns);
                let wait = Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0));
                // A wall clock that jumps must not hold the sets for ever.
                job.not_before = now.time + wait.clamp(Duration::from_secs(1), RETRY_MIN);
                job.begun = false;
                Forwarded::Waiting { set }
            }
            Ok(Progress::Forwarded { set, .. }) => {
                job.retry = RETRY_MIN;
                self.failed.remove(&laptop);
                Forwarded::Set(set)
            }
            Ok(_) => return None,
            // Of the upstream before: the one of now is tried at once.
            Err(_) if is_stale => return None,
            Err(failure) => {
                if by_itself {
                    job.not_before = now.time + now.pause(job.retry);
                    job.retry = (job.retry * 2).min(RETRY_MAX);
                    job.asked = false;
                    job.begun = false;
                    job.step = Step::None(None);
                } else {
                    self.jobs.remove(&laptop);
                }
                self.failed.insert(laptop, failure.clone());
                Forwarded::Failed(failure)
            }
        };
        Some(told)
    }

    /// Whose sets are on their way.
    pub(super) fn under_way(&self) -> impl Iterator<Item = LaptopId> {
        let under_way = self.jobs.iter().filter(|(_, job)| job.is_under_way());
        under_way.map(|(laptop, _)| *laptop)
    }

    /// Whose last try failed, and why.
    pub(super) const fn failed(&self) -> &BTreeMap<LaptopId, ForwardFailure> {
        &self.failed
    }

    fn job(&mut self, laptop: LaptopId, waits_since_ns: i64) -> &mut Job<W> {
        let job = self.jobs.entry(laptop).or_insert_with(|| Job {
            waits_since_ns,
            not_before: Time::ZERO,
            retry: RETRY_MIN,
            asked: false,
            begun: false,
            step: Step::None(None),
        });
        if let Step::UnderWay { look_again, .. } = &mut job.step {
            *look_again = true;
        }
        job
    }

    /// Until when visits, and the upstream's hours, hold back what nobody asked for.
    fn held_until(&self, now: Now) -> Option<Time> {
        let visited_until = self.visiting_since.map(|since| since + VISITS_WAIT_MAX);
        visited_until.max(self.opens_at(now))
    }

    /// When to look at the windows again, if none is open.
    fn opens_at(&self, now: Now) -> Option<Time> {
        let ByItself::In(windows) = &self.by_itself else {
            return None;
        };
        let Opening::At(at_ns) = windows.opens(now.wall_ns) else {
            return None;
        };
        let wait = Duration::from_nanos(u64::try_from(at_ns.saturating_sub(now.wall_ns)).unwrap_or(0));
        Some(now.time + wait.min(WINDOW_LOOK))
    }
}

#[cfg(test)]
mod tests;
