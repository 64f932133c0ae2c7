//! How visits end, and what a laptop can do wrong.

use berth_wire::{PROTOCOL, Refusal, SILENCE_MAX_MS, SetRef, UploadId};

use crate::StoreError;

/// How a visit ended.
#[derive(Debug)]
pub struct End {
    /// Why.
    pub why: Ended,
    /// The set that was sealed as partial because of it.
    pub sealed: Option<SetRef>,
}

/// Why a visit ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The laptop said goodbye.
    #[error("the laptop said goodbye")]
    Goodbye,
    /// The link was lost.
    #[error("the link was cut")]
    Cut,
    /// The laptop fell silent.
    #[error("nothing heard for {} s", SILENCE_MAX_MS / 1000)]
    Silent,
    /// The hub ended it.
    #[error("ended by the hub: {0}")]
    Stopped(Refusal),
    /// The laptop broke the protocol.
    #[error("the laptop broke the protocol")]
    Broken(#[from] ReceiveError),
    /// The spool failed.
    #[error("the spool failed")]
    Store(#[from] StoreError),
}

/// What a laptop did wrong. Only its own visit ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A newer protocol than this hub's.
    #[error("protocol {protocol}, this hub speaks {PROTOCOL}")]
    Protocol {
        /// The laptop's.
        protocol: u16,
    },
    /// This message has no place here.
    #[error("{what} has no place in this state of the visit")]
    Unexpected {
        /// Which message.
        what: &'static str,
    },
    /// An upload that is not open, or whose number does not grow, or of another set.
    #[error("upload {}.{} does not fit", upload.set, upload.number)]
    Upload {
        /// Which.
        upload: UploadId,
    },
    /// Over a limit.
    #[error("more than {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Lengths, marks or ids that contradict what was sent.
    #[error("{what} contradicts what was sent")]
    Contradiction {
        /// What does.
        what: &'static str,
    },
}

impl ReceiveError {
    pub(crate) const fn refusal(&self) -> Refusal {
        match self {
            Self::Protocol { .. } => Refusal::Protocol,
            Self::Unexpected { .. }
            | Self::Upload { .. }
            | Self::Limit { .. }
            | Self::Contradiction { .. } => Refusal::Disagree,
        }
    }
}

pub(crate) const fn limit(what: &'static str, found: u64, max: u64) -> Result<(), ReceiveError> {
    if found > max {
        Err(ReceiveError::Limit { what, max })
    } else {
        Ok(())
    }
}

pub(crate) const fn unexpected(what: &'static str) -> ReceiveError {
    ReceiveError::Unexpected { what }
}

pub(crate) const fn contradiction(what: &'static str) -> ReceiveError {
    ReceiveError::Contradiction { what }
}
