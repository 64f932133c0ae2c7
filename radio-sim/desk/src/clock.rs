//! The clocks that the machines are given.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use berth_radio::Time;

/// Monotonic time since the start of this process, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealClock {
    started: Instant,
}

impl RealClock {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.started.elapsed()
    }
}

/// Nanoseconds since 1970. A clock outside of 1678 to 2262 counts as its nearest end.
pub(crate) fn wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}
