//! The clocks that the machines are given. The only place of this program that asks for the time.
#![expect(
    clippy::disallowed_methods,
    reason = "a program has the clocks that libraries are given"
)]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// `6 d 23 h`: how long something lasted, for people.
pub(crate) fn lasted(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (days, hours, minutes) = (minutes / (24 * 60), minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => "less than a minute".to_owned(),
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_two_largest_units() {
        for (minutes, words) in [
            (0, "less than a minute"),
            (59, "59 min"),
            (60, "1 h 0 min"),
            (24 * 60 - 1, "23 h 59 min"),
            (7 * 24 * 60 - 1, "6 d 23 h"),
        ] {
            assert_eq!(lasted(Duration::from_secs(minutes * 60)), words);
        }
    }
}
