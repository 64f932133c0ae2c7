//! When the agent visits: on arrival, then at most once in an interval, and not too soon after a failure.
//!
//! Place: beacons heard -> [`Presence::heard`] -> a visit -> [`Presence::ended`]. Only what is heard wakes anybody: no
//! timer runs while the hub is away, or near and not due.
//! Invariant: a hub that answers every visit with a failure is visited less and less often, [`PAUSE_MAX`] at the least.

use std::time::Duration;

use berth_radio::Time;
use rand_core::RngCore;

/// Not heard for so long: the laptop was away, and its next sighting is an arrival.
pub const AWAY_AFTER: Duration = Duration::from_secs(180);

/// Pause after a first failure; it doubles with each one after it.
pub const PAUSE_MIN: Duration = Duration::from_secs(5);

/// Longest pause between failures.
pub const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// What the agent knows of coming and going.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    heard_at: Option<Time>,
    /// Not before this.
    not_before: Time,
    failures: u32,
}

impl Presence {
    /// A hub of this laptop was heard. `true`: visit it now.
    pub fn heard(&mut self, now: Time) -> bool {
        let has_arrived = match self.heard_at.replace(now) {
            Some(before) => now.saturating_sub(before) >= AWAY_AFTER,
            None => true,
        };
        if has_arrived {
            self.failures = 0;
            return true;
        }
        now >= self.not_before
    }

    /// When a visit is due where no beacon tells that the hub is near.
    #[must_use]
    pub const fn due_at(&self) -> Time {
        self.not_before
    }

    /// A visit ended. `is_done`: it did what it came for, or the person ended it; the next one is due after `interval`,
    /// counted from when it began. `rng` spreads what would else fall together.
    pub fn ended(
        &mut self,
        began: Time,
        now: Time,
        is_done: bool,
        interval: Duration,
        rng: &mut dyn RngCore,
    ) {
        self.heard_at = Some(now);
        if is_done {
            self.failures = 0;
            self.not_before = (began + interval).max(now + PAUSE_MIN);
            return;
        }
        let pause = PAUSE_MIN
            .saturating_mul(1 << self.failures.min(16))
            .min(PAUSE_MAX);
        self.failures += 1;
        // Up to a quarter less: the longest pause stays the longest.
        let spread = pause / 4;
        let less = spread * (rng.next_u32() % 1000) / 1000;
        self.not_before = now + pause - less;
    }

    /// Another command took a visit's place: it goes on as soon as that has ended.
    pub fn interrupted(&mut self, now: Time) {
        (self.heard_at, self.not_before) = (Some(now), now);
    }

    /// Failures since the last visit that did what it came for.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_arrival_is_visited_at_once_and_then_once_in_the_interval() {
        let mut presence = Presence::default();
        assert!(presence.heard(seconds(100)));
        presence.ended(seconds(100), seconds(130), true, HOUR, &mut OsRng);
        for second in (131..3700).step_by(60) {
            assert!(!presence.heard(seconds(second)), "at {second} s");
        }
        assert!(presence.heard(seconds(3701)));
        presence.ended(seconds(3701), seconds(3710), true, HOUR, &mut OsRng);
        assert!(!presence.heard(seconds(3720)));
        assert!(presence.heard(seconds(3720) + AWAY_AFTER), "it was away");
    }

    #[test]
    fn failures_are_tried_again_less_and_less_often() {
        let mut presence = Presence::default();
        let (mut now, mut visits) = (Time::ZERO, 0);
        while now < 24 * HOUR {
            if presence.heard(now) {
                visits += 1;
                presence.ended(now, now + SECOND, false, HOUR, &mut OsRng);
            }
            now += SECOND;
        }
        let per_day = 24 * 3600 / PAUSE_MAX.as_secs();
        assert!((per_day..per_day * 3 / 2 + 10).contains(&visits), "{visits}");
        let last = presence.due_at();
        presence.ended(now, now, true, HOUR, &mut OsRng);
        assert!(presence.failures() == 0 && presence.due_at() > last);
    }
}
