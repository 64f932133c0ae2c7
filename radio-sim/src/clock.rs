//! Time as an argument, and one clock for a whole simulated world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use berth_radio::Time;

/// Where a driver reads the time. Programs give a closure over their monotonic clock, tests a [`VirtualClock`].
pub trait Clock: Send + Sync {
    /// Time since an arbitrary start; it never goes back.
    fn now(&self) -> Time;
    /// Moves a clock that only moves when somebody waits. `false`: this one moves by itself, so wait for it.
    fn skip_to(&self, _until: Time) -> bool {
        false
    }
}

impl<F: Fn() -> Time + Send + Sync> Clock for F {
    fn now(&self) -> Time {
        self()
    }
}

/// A clock that stands still until it is moved. Clones show the same time.
///
/// It counts nanoseconds in 64 bits: 584 years.
#[derive(Debug, Clone, Default)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// A clock at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward to `at`; an earlier time changes nothing.
    pub fn advance_to(&self, at: Time) {
        self.0.fetch_max(nanos(at), Ordering::SeqCst);
    }

    /// Moves the clock forward by `by` and returns the new time.
    pub fn advance_by(&self, by: Duration) -> Time {
        let at = self.now().saturating_add(by);
        self.advance_to(at);
        at
    }

    /// Wall-clock time in ns since 1970, if this clock was started at `started_ns`.
    #[must_use]
    pub fn wall_ns(&self, started_ns: i64) -> i64 {
        started_ns.saturating_add_unsigned(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Time {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn skip_to(&self, until: Time) -> bool {
        self.advance_to(until);
        true
    }
}

fn nanos(at: Time) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_is_shared_and_never_goes_back() {
        let clock = VirtualClock::new();
        let same = clock.clone();
        same.advance_to(Duration::from_secs(5));
        clock.advance_to(Duration::from_secs(3));
        assert_eq!(clock.now(), Duration::from_secs(5));
        assert_eq!(clock.advance_by(Duration::from_secs(1)), Duration::from_secs(6));
        assert_eq!(same.wall_ns(10), 6_000_000_010);
    }
}
