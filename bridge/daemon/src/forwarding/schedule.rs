//! Whose sets are forwarded when: who is next, what holds it back, when it is tried again.
//!
//! Place: [`super::Forwarding`]'s thread asks [`Schedule::next`] until it says to sleep, has the steps done by other
//! threads, and tells [`Schedule::did`] what came of them.
//! Invariant: a laptop has one step under way at the most, so its sets go up in order; all laptops together have
//! [`LAPTOPS_AT_ONCE`]. What failed is tried again later and later, but never given up; what waits for a lock does not
//! hold the other laptops up. An upstream that fails all of them is tried by one at a time, in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_bridge::{LaptopId, Progress};
use berth_radio::Time;

use super::outage::{Down, Outage};
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
    pub(super) fn pause(self, longest: Duration) -> Duration {
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
    down: Option<Down>,
    /// When an upstream took something in an earlier run of the hub, nanoseconds since 1970, until it does in this one.
    taken_before_ns: Option<i64>,
}

struct Job<W> {
    /// When the oldest set that it had when it came was sealed.
    waits_since_ns: i64,
    not_before: Time,
    retry: Duration,
    /// Zero: it never did.
    failed_at: Time,
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

    /// When its next step may be done, with what is not asked for held until then, and tried then where the upstream is
    /// down for all.
    fn at(&self, held_until: Time, tried_at: Option<Time>) -> Time {
        match tried_at {
            _ if self.asked => self.not_before,
            Some(tried_at) => held_until.max(tried_at),
            None => held_until.max(self.not_before),
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
            down: None,
            taken_before_ns: None,
        }
    }

    /// The hub ran before: then an upstream took a set (nanoseconds since 1970), if it ever did. An outage that is found
    /// now began no earlier.
    pub(super) fn resumed(&mut self, taken_ns: Option<i64>) {
        self.taken_before_ns = Some(taken_ns.unwrap_or(i64::MIN));
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
        self.down = None;
        self.taken_before_ns = None;
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
        let held_until = self.held_until(now).unwrap_or_default();
        let tried_at = self.told_down().map(|down| down.not_before);
        let is_tried = tried_at.is_some() && under_way > 0;
        let mut others: Vec<_> = self.jobs.iter_mut().collect();
        others.retain(|(_, job)| !job.is_under_way() && (job.asked || !is_tried));
        let at = |job: &Job<W>| job.at(held_until, tried_at);
        let soonest = others.iter().map(|(_, job)| at(job)).min();
        let due = others.into_iter().filter(|(_, job)| at(job) <= now.time);
        // Who is asked for goes first, then who has begun, then who has the oldest set; where the upstream is down, who
        // failed the longest ago.
        let first = due.min_by_key(|(_, job)| {
            let in_turn = tried_at.map(|_| job.failed_at);
            (!job.asked, !job.begun, in_turn, job.waits_since_ns)
        });
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
    ) -> Vec<Forwarded> {
        let Some(job) = self.jobs.get_mut(&laptop) else {
            return Vec::new();
        };
        let Step::UnderWay { look_again, is_stale } = job.step else {
            return Vec::new();
        };
        job.step = Step::None(work.filter(|_| !is_stale));
        // That it can be looked at proves little: where it is full it answers that too.
        let again = match outcome {
            Ok(Progress::Sent { .. } | Progress::Waiting { .. }) if !is_stale => self.answered(now, laptop),
            Ok(_) | Err(_) => None,
        };
        let told = match outcome {
            Ok(Progress::Idle) if look_again => None,
            Ok(progress) => self.went(now, laptop, progress),
            // Of the upstream before: the one of now is tried at once.
            Err(_) if is_stale => None,
            Err(failure) => Some(self.failed_with(now, laptop, failure)),
        };
        again.into_iter().chain(told).collect()
    }

    /// A laptop's step did what it should.
    fn went(&mut self, now: Now, laptop: LaptopId, progress: Progress) -> Option<Forwarded> {
        let job = self.jobs.get_mut(&laptop)?;
        Some(match progress {
            Progress::Idle => {
                self.jobs.remove(&laptop);
                self.failed.remove(&laptop);
                Forwarded::All
            }
            Progress::Begun { set, objects, bytes } => Forwarded::Begun { set, objects, bytes },
            Progress::Sent { set, bytes } => Forwarded::Sent { set, bytes },
            Progress::Waiting { set, until_ns } => {
                let left_ns = until_ns.saturating_sub(now.wall_ns);
                let wait = Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0));
                // A wall clock that jumps must not hold the sets for ever.
                job.not_before = now.time + wait.clamp(Duration::from_secs(1), RETRY_MIN);
                job.begun = false;
                Forwarded::Waiting { set }
            }
            Progress::Forwarded { set, .. } => {
                job.retry = RETRY_MIN;
                self.failed.remove(&laptop);
                Forwarded::Set(set)
            }
            _ => return None,
        })
    }

    /// A laptop's step failed.
    fn failed_with(&mut self, now: Now, laptop: LaptopId, failure: ForwardFailure) -> Forwarded {
        let is_news = self.failed.get(&laptop) != Some(&failure)
            && !matches!(&self.down, Some(down) if down.has_failed_with(&failure));
        let before = self.lasted_before(now);
        if !self.goes_by_itself() {
            self.jobs.remove(&laptop);
        } else if let Some(job) = self.jobs.get_mut(&laptop) {
            job.not_before = now.time + now.pause(job.retry);
            job.retry = (job.retry * 2).min(RETRY_MAX);
            job.failed_at = now.time;
            job.asked = false;
            job.begun = false;
            job.step = Step::None(None);
        }
        self.failed.insert(laptop, failure.clone());
        if failure.is_upstream {
            let begin = || Down::new(now, before, failure.clone());
            self.down.get_or_insert_with(begin);
        }
        if let Some(down) = &mut self.down {
            down.failed(now, &failure);
            down.is_told |= self.jobs.keys().all(|laptop| self.failed.contains_key(laptop));
        }
        Forwarded::Failed { failure, is_news }
    }

    /// The upstream took something of a laptop. If it was down for all, they all go on at once.
    fn answered(&mut self, now: Now, laptop: LaptopId) -> Option<Forwarded> {
        self.taken_before_ns = None;
        let down = self.down.take().filter(|down| down.is_told);
        for (other, job) in &mut self.jobs {
            let is_over = *other == laptop || down.is_some();
            if is_over && self.failed.get(other).is_some_and(|failure| failure.is_upstream) {
                self.failed.remove(other);
                job.not_before = now.time;
                job.retry = RETRY_MIN;
            }
        }
        let after = down?.lasts(now);
        Some(Forwarded::Again { after })
    }

    /// How long an outage has lasted that shows now: since the oldest set waits, or something else was taken. Before the
    /// hub was started, that is; nobody knows when it was tried then.
    fn lasted_before(&self, now: Now) -> Duration {
        let taken_ns = self.taken_before_ns.filter(|_| self.goes_by_itself());
        let waits_since_ns = self.jobs.values().map(|job| job.waits_since_ns).min();
        let since_ns = taken_ns
            .zip(waits_since_ns)
            .map(|(taken, waits)| taken.max(waits));
        let lasted_ns = since_ns.map_or(0, |since_ns| now.wall_ns.saturating_sub(since_ns));
        Duration::from_nanos(u64::try_from(lasted_ns).unwrap_or(0))
    }

    /// An upstream that takes nothing of anybody.
    pub(super) fn outage(&self, now: Now) -> Option<Outage> {
        let down = self.told_down()?;
        let next_at = down.not_before.max(self.held_until(now).unwrap_or_default());
        Some(down.told(now, self.goes_by_itself().then_some(next_at)))
    }

    fn told_down(&self) -> Option<&Down> {
        self.down.as_ref().filter(|down| down.is_told)
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
            failed_at: Time::ZERO,
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
