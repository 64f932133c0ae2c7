//! When it suits the upstream's server: hours of the week in which a hub forwards by itself.
//!
//! Place: settings -> [`Windows::parse`]; [`crate::Forwarding`] asks [`Windows::opens`] with the wall clock.
//! Invariant: hubs with the same windows begin spread over the first half of each, every hub at another moment every day,
//! and the same hub on the same day always at the same one: a restart does not move it.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use sha2::{Digest, Sha256};

/// A week is described by that many lines.
const WINDOWS_MAX: usize = 64;

/// Names of days, Monday first (as [`Weekday::to_monday_zero_offset`] counts).
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const MINUTES_A_DAY: u32 = 24 * 60;

/// Days ahead at which some window begins, if there is any.
const DAYS_AHEAD: i64 = 8;

/// The windows of one hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    windows: Vec<Window>,
    zone: TimeZone,
    /// What makes this hub begin at another moment than others: its key.
    hub: [u8; 32],
}

/// Hours of some days of the week. It belongs to the day on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// Monday first.
    days: [bool; 7],
    from_minute: u32,
    /// Above a day's minutes where it ends on the next one.
    to_minute: u32,
}

/// Whether a hub may forward now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It may.
    Open,
    /// Not before this: wall clock, nanoseconds since 1970.
    At(i64),
}

/// A window that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no window: {why}")]
pub struct WindowError {
    text: String,
    why: &'static str,
}

impl Windows {
    /// Reads lines like `01:00-05:00`, `mon-fri 22:00-06:00` or `sat,sun 00:00-24:00`: days (all of them unless named),
    /// begin and end. A window that ends before it begins goes on into the next day.
    /// They are hours of UTC until [`Windows::of`].
    ///
    /// # Errors
    /// [`WindowError`] for the first line that is none; no line and more than 64 of them are none either.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Self, WindowError> {
        if lines.is_empty() || lines.len() > WINDOWS_MAX {
            return Err(WindowError {
                text: String::new(),
                why: "give 1 to 64 of them",
            });
        }
        let windows = lines.iter().map(|line| line.as_ref().parse());
        Ok(Self {
            windows: windows.collect::<Result<_, _>>()?,
            zone: TimeZone::UTC,
            hub: [0; 32],
        })
    }

    /// As hours of a time zone, for the hub with this key.
    #[must_use]
    pub fn of(self, zone: TimeZone, hub: [u8; 32]) -> Self {
        Self { zone, hub, ..self }
    }

    /// Whether the hub may forward at `now_ns` (wall clock, nanoseconds since 1970), else when next. A clock out of all
    /// bounds opens every window.
    #[must_use]
    pub fn opens(&self, now_ns: i64) -> Opening {
        let now = Timestamp::from_nanosecond(i128::from(now_ns)).ok();
        let next = now.and_then(|now| self.next(now));
        match (now, next) {
            (Some(now), Some(next)) if next > now => {
                Opening::At(i64::try_from(next.as_nanosecond()).unwrap_or(i64::MAX))
            }
            _ => Opening::Open,
        }
    }

    /// The first moment from `now` on in which a window is open.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-1..=DAYS_AHEAD).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        let of_days = days.flat_map(|day| self.windows.iter().filter_map(move |window| self.on(window, day)));
        of_days
            .filter(|(_, end)| *end > now)
            .map(|(begin, _)| begin.max(now))
            .min()
    }

    /// When this hub begins and ends on a day in a window, if that has the day.
    fn on(&self, window: &Window, day: Date) -> Option<(Timestamp, Timestamp)> {
        let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).ok()?;
        if !*window.days.get(weekday)? {
            return None;
        }
        let at = |minute: u32| {
            let day = day.checked_add(i64::from(minute / MINUTES_A_DAY).days()).ok()?;
            let (hour, minute) = (minute % MINUTES_A_DAY / 60, minute % 60);
            let time = Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()?;
            // An hour that a change of clocks leaves out comes later, one that comes twice is the first: as in RFC 5545.
            Some(
                day.to_datetime(time)
                    .to_zoned(self.zone.clone())
                    .ok()?
                    .timestamp(),
            )
        };
        let (begin, end) = (at(window.from_minute)?, at(window.to_minute)?);
        if window.to_minute - window.from_minute == MINUTES_A_DAY {
            return Some((begin, end));
        }
        let half_ms = u64::try_from(end.as_millisecond().checked_sub(begin.as_millisecond())? / 2).ok()?;
        let shift_ms = (u64::from(self.share(day)) * half_ms) >> 32;
        let shift = jiff::SignedDuration::from_millis(i64::try_from(shift_ms).ok()?);
        Some((begin.checked_add(shift).ok()?, end))
    }

    /// This hub's place among all on a day: evenly spread over all values.
    fn share(&self, day: Date) -> u32 {
        let hash = Sha256::new()
            .chain_update(self.hub)
            .chain_update(day.to_string())
            .finalize();
        hash.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        read(text).map_err(|why| WindowError {
            text: text.chars().take(80).collect(),
            why,
        })
    }
}

fn read(text: &str) -> Result<Window, &'static str> {
    let (days, hours) = match text.trim().rsplit_once(char::is_whitespace) {
        Some((days, hours)) => (read_days(days)?, hours),
        None => ([true; 7], text.trim()),
    };
    let (from, to) = hours.split_once('-').ok_or("write it as 01:00-05:00")?;
    let (from_minute, to_minute) = (read_minute(from)?, read_minute(to)?);
    if from_minute == to_minute || from_minute == MINUTES_A_DAY {
        return Err("it has no length; a whole day is 00:00-24:00");
    }
    Ok(Window {
        days,
        from_minute,
        to_minute: to_minute + if to_minute < from_minute { MINUTES_A_DAY } else { 0 },
    })
}

fn read_minute(text: &str) -> Result<u32, &'static str> {
    let why = "hours are 00:00 to 24:00";
    let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let two = |text: &str| is_number(text).then(|| text.parse::<u32>().ok()).flatten();
    let (hour, minute) = text.split_once(':').ok_or(why)?;
    let (hour, minute) = (two(hour).ok_or(why)?, two(minute).ok_or(why)?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= MINUTES_A_DAY).then_some(all).ok_or(why)
}

fn read_days(text: &str) -> Result<[bool; 7], &'static str> {
    let why = "days are mon, tue, wed, thu, fri, sat, sun, with commas between, or mon-fri";
    let number = |name: &str| {
        DAYS.iter()
            .position(|day| day.eq_ignore_ascii_case(name))
            .ok_or(why)
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (first, last) = (number(first)?, number(last)?);
        let count = (last + 7 - first) % 7 + 1;
        for day in (0..7).cycle().skip(first).take(count) {
            *days.get_mut(day).ok_or(why)? = true;
        }
    }
    Ok(days)
}

impl fmt::Display for Windows {
    /// As [`Windows::parse`] reads it, with commas between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, window) in self.windows.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{window}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let named = DAYS
                .iter()
                .zip(self.days)
                .filter_map(|(day, is_in)| is_in.then_some(*day));
            write!(f, "{} ", named.collect::<Vec<_>>().join(","))?;
        }
        let hour = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let to = match self.to_minute {
            next_day if next_day > MINUTES_A_DAY => next_day - MINUTES_A_DAY,
            same_day => same_day,
        };
        write!(f, "{}-{}", hour(self.from_minute), hour(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: i64 = 60 * 1_000_000_000;
    const DAY_NS: i64 = MINUTES_A_DAY as i64 * MINUTE_NS;

    fn windows(lines: &[&str], hub: u8) -> Windows {
        Windows::parse(lines).unwrap().of(TimeZone::UTC, [hub; 32])
    }

    fn ns(time: &str) -> i64 {
        let time: Timestamp = time.parse().unwrap();
        i64::try_from(time.as_nanosecond()).unwrap()
    }

    #[test]
    fn windows_are_read_as_they_are_written() {
        for (line, same) in [
            ("01:00-05:00", "01:00-05:00"),
            ("22:30-06:00", "22:30-06:00"),
            ("sat,sun 00:00-24:00", "sat,sun 00:00-24:00"),
            ("Mon-Fri 18:00-24:00", "mon,tue,wed,thu,fri 18:00-24:00"),
            ("sun-mon, wed 01:00-02:00", "mon,wed,sun 01:00-02:00"),
            ("mon-sun 01:00-02:00", "01:00-02:00"),
        ] {
            let read = windows(&[line], 0);
            assert_eq!(read.to_string(), same);
            assert_eq!(windows(&[same], 0), read);
        }
    }

    #[test]
    fn what_is_no_window_is_refused_with_the_reason() {
        for line in [
            "",
            "1",
            "01:00",
            "01:00-",
            "1:00-05:00",
            "01:00-05:60",
            "01:00-24:01",
            "24:00-05:00",
            "05:00-05:00",
            "+1:00-05:00",
            "mo 01:00-05:00",
            "mon, 01:00-05:00",
            "mon- 01:00-05:00",
            "01:00-05:00 mon",
            "é-ü:ö",
        ] {
            let error = Windows::parse(&[line]).unwrap_err().to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert!(Windows::parse::<&str>(&[]).is_err());
        assert!(Windows::parse(&["01:00-05:00"; 65]).is_err());
    }

    #[test]
    fn a_hub_waits_for_its_window_and_no_longer() {
        // 2026-11-23 is a Monday.
        let windows = windows(&["tue 22:00-02:00", "fri 12:00-13:00"], 7);
        let from = ns("2026-11-23T00:00:00Z");
        for minute in 0..14 * 24 * 60 {
            let now_ns = from + minute * MINUTE_NS;
            let in_window =
                [("24T22:00", "25T02:00"), ("27T12:00", "27T13:00")]
                    .iter()
                    .any(|(begin, end)| {
                        let at = |text: &str| ns(&format!("2026-11-{text}:00Z"));
                        let week_ns = 7 * DAY_NS;
                        let now_ns = from + (now_ns - from) % week_ns;
                        (at(begin)..at(end)).contains(&now_ns)
                    });
            match windows.opens(now_ns) {
                Opening::Open => assert!(in_window, "minute {minute}"),
                Opening::At(at_ns) => {
                    assert!(at_ns > now_ns && at_ns - now_ns <= 5 * DAY_NS);
                    assert_eq!(windows.opens(at_ns), Opening::Open);
                    assert_eq!(windows.opens(at_ns - 1), Opening::At(at_ns));
                }
            }
        }
    }

    #[test]
    fn a_fleet_begins_spread_over_the_first_half_and_each_hub_keeps_its_moment() {
        let midnight = ns("2026-11-23T00:00:00Z");
        let begin = |hub, day: i64| match windows(&["01:00-05:00"], hub).opens(midnight + day * DAY_NS) {
            Opening::At(at_ns) => at_ns - midnight - day * DAY_NS,
            Opening::Open => panic!("open at midnight"),
        };
        let mut quarters = [0; 4];
        for hub in 0..=255 {
            let at_ns = begin(hub, 0) - 60 * MINUTE_NS;
            assert_eq!(begin(hub, 0), begin(hub, 0));
            quarters[usize::try_from(at_ns / (30 * MINUTE_NS)).unwrap()] += 1;
        }
        assert!(
            quarters.iter().all(|count| (40..90).contains(count)),
            "{quarters:?}"
        );
        assert_ne!(begin(1, 0), begin(1, 1));
    }

    #[test]
    fn a_whole_day_is_all_of_it() {
        let windows = windows(&["sat,sun 00:00-24:00"], 3);
        let saturday = ns("2026-11-28T00:00:00Z");
        assert_eq!(windows.opens(saturday - 1), Opening::At(saturday));
        for hour in 0..48 {
            assert_eq!(windows.opens(saturday + hour * 60 * MINUTE_NS), Opening::Open);
        }
        assert_eq!(
            windows.opens(saturday + 2 * DAY_NS),
            Opening::At(saturday + 7 * DAY_NS)
        );
    }

    #[test]
    fn a_change_of_clocks_costs_no_night() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // Where 02:00 to 03:00 is missing, and where it is there twice.
        for noon in ["2026-03-28T11:00:00Z", "2026-10-24T10:00:00Z"] {
            let windows = Windows::parse(&["02:00-03:00"])
                .unwrap()
                .of(zone.clone(), [5; 32]);
            match windows.opens(ns(noon)) {
                Opening::At(at_ns) => assert!(at_ns - ns(noon) < DAY_NS),
                Opening::Open => panic!("open at noon"),
            }
        }
    }

    #[test]
    fn a_clock_out_of_all_bounds_stops_nothing() {
        let windows = windows(&["01:00-05:00"], 0);
        for now_ns in [i64::MIN, i64::MAX] {
            let _ = windows.opens(now_ns);
        }
    }
}
