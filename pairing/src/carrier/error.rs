//! Why a connection carries no messages.

use super::{BLE_MESSAGE_SIZE_BYTES_MAX, GIVE_UP_AFTER, QUEUE_SIZE_BYTES_MAX};

/// Why a connection carries no messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// The connection's frames are smaller than Bluetooth LE's smallest.
    #[error("frames of {mtu_bytes} bytes are too small")]
    FrameTooSmall {
        /// As told by the radio.
        mtu_bytes: usize,
    },
    /// A message over the limit.
    #[error("a message of more than {BLE_MESSAGE_SIZE_BYTES_MAX} bytes")]
    TooLong,
    /// Too much waits to be sent.
    #[error("more than {QUEUE_SIZE_BYTES_MAX} bytes wait to be sent")]
    Full,
    /// No progress for [`GIVE_UP_AFTER`].
    #[error("no answer for {} s", GIVE_UP_AFTER.as_secs())]
    Lost,
}

impl CarrierError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::FrameTooSmall { .. } => "The Bluetooth adapter is too old, or broken. Try another one.",
            Self::TooLong | Self::Full => "Laptop and hub disagree. Update both.",
            Self::Lost => "Bring laptop and hub nearer to each other; the laptop tries again by itself.",
        }
    }
}
