//! The clocks that the machines are given. The only place of this program that asks for the time.
#![expect(
    clippy::disallowed_methods,
    reason = "a program has the clocks that libraries are given"
)]

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use berth_radio::Time;

/// Monotonic time since it was first asked for.
pub(crate) fn monotonic() -> Time {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    STARTED.get_or_init(Instant::now).elapsed()
}

/// Nanoseconds since 1970. A clock outside of 1678 to 2262 counts as its nearest end.
pub(crate) fn wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}
