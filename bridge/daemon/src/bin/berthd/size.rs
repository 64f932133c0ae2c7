//! Sizes as people write them.

use bytesize::ByteSize;
use serde::Deserialize;

/// With less a laptop's visit would hardly begin: 64 MiB must be free when it does.
const SIZE_BYTES_MIN: u64 = 256_000_000;

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
}
