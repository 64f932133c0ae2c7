//! The clocks that the library is given.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use berth_radio::Time;

static STARTED: LazyLock<Instant> = LazyLock::new(started);

#[expect(clippy::disallowed_methods, reason = "the program owns the clock")]
fn started() -> Instant {
    Instant::now()
}

/// Monotonic time since the start of this process.
pub(crate) fn now() -> Time {
    STARTED.elapsed()
}

/// Nanoseconds since 1970. A clock outside of 1678 to 2262 counts as its nearest end.
#[expect(clippy::disallowed_methods, reason = "the program owns the clock")]
pub(crate) fn wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}
