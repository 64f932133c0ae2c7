//! Points in time as restic writes them: RFC 3339, nanoseconds without trailing zeros.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time to the nanosecond, from the year 0 to the end of 9999 (Go writes no others). Written in UTC. The
/// default is the start of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(jiff::Timestamp);

const NANOSECONDS: i128 = 1_000_000_000;

/// 0000-01-01T00:00:00Z.
const SECONDS_MIN: i64 = -62_167_219_200;

impl Timestamp {
    /// The earliest: the start of the year 0.
    pub const MIN: Self = Self(jiff::Timestamp::constant(SECONDS_MIN, 0));
    /// The latest: 22:00 UTC of the last but one day of 9999, from where on it would be 10000 in some place.
    pub const MAX: Self = Self(jiff::Timestamp::MAX);

    /// From what `stat` gives: seconds since 1970, which may be negative, and nanoseconds to add to them. Times beyond
    /// [`Timestamp::MIN`] and [`Timestamp::MAX`] become these: such a file is backed up with the nearest time that can
    /// be written, as restic does.
    #[must_use]
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        Self::from_nanoseconds(i128::from(seconds) * NANOSECONDS + i128::from(nanoseconds))
    }

    /// From nanoseconds since 1970.
    #[must_use]
    pub fn from_unix_ns(nanoseconds: i64) -> Self {
        Self::from_nanoseconds(nanoseconds.into())
    }

    /// Seconds since 1970, rounded down, and the nanoseconds (below 1,000,000,000) to add to them.
    #[must_use]
    pub fn to_unix(self) -> (i64, u32) {
        let nanoseconds = self.0.as_nanosecond();
        (
            i64::try_from(nanoseconds.div_euclid(NANOSECONDS)).expect("within the years 0 to 9999"),
            u32::try_from(nanoseconds.rem_euclid(NANOSECONDS)).expect("below one second"),
        )
    }

    fn from_nanoseconds(nanoseconds: i128) -> Self {
        let clamped = nanoseconds.clamp(Self::MIN.0.as_nanosecond(), Self::MAX.0.as_nanosecond());
        Self(jiff::Timestamp::from_nanosecond(clamped).expect("clamped to the years 0 to 9999"))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as in RFC 3339")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                match text.parse::<jiff::Timestamp>() {
                    Ok(time) => Ok(Timestamp::from_nanoseconds(time.as_nanosecond())),
                    Err(_) if is_in_the_last_year(text) => Ok(Timestamp::MAX),
                    Err(error) => Err(E::custom(error)),
                }
            }
        }
        from.deserialize_str(Text).map_err(D::Error::custom)
    }
}

/// Whether `text` is in 9999, whose last hours restic can write and we can't.
fn is_in_the_last_year(text: &str) -> bool {
    const UP_TO_SECONDS: usize = "9999-12-31T23:59:59".len();
    text.get(..UP_TO_SECONDS)
        .and_then(|text| text.parse::<jiff::civil::DateTime>().ok())
        .is_some_and(|time| time.year() == 9999)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (0, 500_000_000, "1970-01-01T00:00:00.5Z"),
            (-157_668_955, 500_000_001, "1965-01-02T03:04:05.500000001Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
            (4_102_444_800, 120, "2100-01-01T00:00:00.00000012Z"),
        ] {
            let time = Timestamp::from_unix(seconds, nanoseconds);
            assert_eq!(time.to_string(), text);
            assert_eq!(time.to_unix(), (seconds, nanoseconds));
        }
    }

    #[test]
    fn times_out_of_range_become_the_nearest_that_can_be_written() {
        assert_eq!(
            Timestamp::from_unix(i64::MIN, 0).to_string(),
            "0000-01-01T00:00:00Z"
        );
        assert_eq!(
            Timestamp::from_unix(i64::MAX, 0).to_string(),
            "9999-12-30T22:00:00.999999999Z"
        );
        let late: Timestamp = json::from_slice(b"\"9999-12-30T21:59:59Z\"").unwrap();
        assert_eq!(late.to_unix().0, 253_402_207_199);
        let last: Timestamp = json::from_slice(b"\"9999-12-31T23:59:59.5Z\"").unwrap();
        assert_eq!(last, Timestamp::MAX);
    }

    #[test]
    fn offsets_are_understood() {
        let time: Timestamp = json::from_slice(b"\"2022-09-01T12:00:00.25+02:00\"").unwrap();
        assert_eq!(time.to_string(), "2022-09-01T10:00:00.25Z");
        assert!(json::from_slice::<Timestamp>(b"\"yesterday\"").is_err());
        assert!(json::from_slice::<Timestamp>(b"5").is_err());
    }

    proptest! {
        #[test]
        fn every_time_comes_back(seconds in SECONDS_MIN..253_402_207_200, nanoseconds in 0_u32..1_000_000_000) {
            let time = Timestamp::from_unix(seconds, nanoseconds);
            prop_assert_eq!(time.to_unix(), (seconds, nanoseconds));
            prop_assert_eq!(json::from_slice::<Timestamp>(&json::to_vec(&time)).unwrap(), time);
        }
    }
}
