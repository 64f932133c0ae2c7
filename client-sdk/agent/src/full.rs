//! What a person is told of a hub that takes no backup now.

use berth_agent::bytes;
use berth_wire::Full;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

use crate::clock;

/// One line: why, since when, and what to do.
pub(crate) fn words(full: &Full) -> String {
    let zone = TimeZone::system();
    let why = full.in_words(bytes, |at_ns| since(at_ns, clock::wall_ns(), &zone));
    format!("{why}. {}", full.advice())
}

/// As people say it: a time of today, a day of this week, else a date. Nanoseconds since 1970.
fn since(at_ns: i64, now_ns: i64, zone: &TimeZone) -> String {
    let zoned = |ns: i64| {
        let at = Timestamp::from_nanosecond(ns.into()).ok()?;
        Some(at.to_zoned(zone.clone()))
    };
    let (Some(at), Some(now)) = (zoned(at_ns), zoned(now_ns)) else {
        return "a day that is in no calendar".to_owned();
    };
    let days = at.date().until((Unit::Day, now.date()));
    let format = match days.map(|span| span.get_days()) {
        Ok(0) => "%H:%M",
        Ok(1..=6) => "%A",
        Ok(_) | Err(_) => "%Y-%m-%d",
    };
    at.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_when_is_told_as_people_say_it() {
        let ns = |text: &str| i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap();
        let told = |at: &str| since(ns(at), ns("2026-11-20T09:30:00Z"), &TimeZone::UTC);
        assert_eq!(told("2026-11-20T07:05:00Z"), "07:05");
        assert_eq!(told("2026-11-19T23:59:00Z"), "Thursday");
        assert_eq!(told("2026-11-17T10:00:00Z"), "Tuesday");
        assert_eq!(told("2026-11-13T10:00:00Z"), "2026-11-13");
        assert_eq!(told("2026-11-21T10:00:00Z"), "2026-11-21");
        assert!(!since(i64::MIN, i64::MAX, &TimeZone::UTC).is_empty());
    }

    #[test]
    fn what_a_full_hub_waits_for_is_one_line() {
        let full = Full {
            is_quota: false,
            waiting_bytes: 12_000_000_000,
            waiting_since_ns: Some(0),
            has_upstream: true,
        };
        let said = words(&full);
        assert!(
            said.starts_with(
                "the hub is full: 12.00 GB have waited for the upstream since 1970-01-01. Nothing is lost"
            ),
            "{said}"
        );
        let without = words(&Full {
            has_upstream: false,
            ..full
        });
        assert!(
            without.contains("12.00 GB wait there, and no upstream is set. Set one"),
            "{without}"
        );
        let quota = words(&Full {
            is_quota: true,
            ..full
        });
        assert!(
            quota.starts_with("this laptop's quota on the hub is used up: 12.00 GB"),
            "{quota}"
        );
        let nothing = words(&Full {
            waiting_since_ns: None,
            ..full
        });
        assert!(nothing.contains("nothing there waits"), "{nothing}");
    }
}
