//! Sizes and rates as people write them.

use std::num::NonZeroU64;

use bytesize::ByteSize;
use serde::Deserialize;

/// With less a laptop's visit would hardly begin: 64 MiB must be free when it does.
const SIZE_BYTES_MIN: u64 = 256_000_000;

/// A pack takes half an hour then; anything slower is a typing error.
const RATE_BYTES_MIN: u64 = 10_000;

/// `500 GB`, or `500 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size {
    pub(crate) bytes: u64,
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Ok(ByteSize(bytes)) = text.parse() else {
            return Err(format!("{text:?} is no size: give one like \"500 GB\""));
        };
        if bytes < SIZE_BYTES_MIN {
            return Err(format!(
                "{text:?} is too little for a visit: give at least {} MB",
                SIZE_BYTES_MIN / 1_000_000
            ));
        }
        Ok(Self { bytes })
    }
}

/// `2 MB/s`: bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Rate(pub(crate) NonZeroU64);

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // A b is a bit to many: only what can't be misread is read.
        let bytes = text
            .strip_suffix("B/s")
            .and_then(|bytes| format!("{bytes}B").parse::<ByteSize>().ok());
        let bytes = bytes.filter(|bytes| bytes.as_u64() >= RATE_BYTES_MIN);
        let bytes = bytes.and_then(|bytes| NonZeroU64::new(bytes.as_u64()));
        bytes.map(Self).ok_or_else(|| {
            format!("{text:?} is no rate: write bytes a second, as in \"2 MB/s\", and at least \"10 kB/s\"")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_unless_they_say_otherwise() {
        let bytes = |text: &str| Size::try_from(text.to_owned()).map(|size| size.bytes);
        assert_eq!(bytes("500 GB"), Ok(500_000_000_000));
        assert_eq!(bytes("1.5TB"), Ok(1_500_000_000_000));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        for text in ["", "much", "5 parrots", "-5 GB", "5 MB", "500"] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rate_is_bytes_a_second_and_nothing_that_could_be_bits() {
        let bytes = |text: &str| Rate::try_from(text.to_owned()).map(|rate| rate.0.get());
        assert_eq!(bytes("2 MB/s"), Ok(2_000_000));
        assert_eq!(bytes("1.5MB/s"), Ok(1_500_000));
        assert_eq!(bytes("1 MiB/s"), Ok(1 << 20));
        assert_eq!(bytes("10000 B/s"), Ok(10_000));
        for text in [
            "",
            "B/s",
            "2 MB",
            "20 Mb/s",
            "20 Mbit/s",
            "-2 MB/s",
            "9 kB/s",
            "2",
        ] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }
}
