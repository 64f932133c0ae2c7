//! Why a pairing failed.

use crate::{CertificateError, window::Closed};

/// Why a pairing failed, on either side.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// The code was wrong; or, on the hub, the laptop's proof was damaged.
    #[error("wrong pairing code, {}", left(*guesses_left))]
    WrongCode {
        /// How many guesses the window has left.
        guesses_left: u8,
    },
    /// The hub's window is not open, or not any more.
    #[error("the pairing window is closed ({0:?})")]
    Closed(Closed),
    /// Laptop: what answered does not know the code, so it is not the hub that shows it.
    #[error("what answered does not know the pairing code")]
    ForeignHub,
    /// The peer's certificate proves nothing.
    #[error("the other side's certificate is worth nothing")]
    Certificate(#[from] CertificateError),
    /// The certificate is for another Noise key than the one used, or the peer presented our own.
    #[error("the other side's certificate is not for its own key")]
    OtherKey,
    /// Two laptops, or two hubs.
    #[error("the other side has the wrong role")]
    WrongRole,
    /// The peer speaks another version.
    #[error("the other side speaks version {version} of pairing")]
    Version {
        /// Its version.
        version: u8,
    },
    /// Not a message that may come now.
    #[error("not a message that may come now")]
    Malformed,
    /// The peer said nothing for [`crate::PAIRING_STEP_MAX`].
    #[error("the other side said nothing for {} s", super::PAIRING_STEP_MAX.as_secs())]
    Silent,
    /// The connection was lost.
    #[error("the connection was lost while pairing")]
    Lost,
    /// Our own trust list could not be written.
    #[error("the pairing could not be stored")]
    NotStored,
    /// Laptop: the hub refused, for a reason that its own log tells.
    #[error("the hub refused to pair")]
    Refused,
    /// Laptop: the hub could not store the pairing.
    #[error("the hub could not store the pairing")]
    HubNotStored,
    /// Hub: the laptop was stored, but did not say that it has stored the hub.
    #[error("the laptop did not confirm the pairing")]
    Unconfirmed,
    /// snow could not go on.
    #[error("the handshake could not go on")]
    Noise(#[from] snow::Error),
}

fn left(guesses: u8) -> String {
    match guesses {
        0 => "no guess left".to_owned(),
        1 => "1 guess left".to_owned(),
        guesses => format!("{guesses} guesses left"),
    }
}

impl PairingError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::WrongCode { guesses_left: 0 } => "Run `berthctl pair` on the hub for a new code.",
            Self::WrongCode { .. } => "Look at the hub and type it again.",
            Self::Closed(Closed::GuessesUsed) => {
                "Three wrong codes were tried, so this code is void. Run `berthctl pair` on the hub for a new one."
            }
            Self::Closed(Closed::Expired) => {
                "The code was good for two minutes and has expired. Run `berthctl pair` on the hub for a new one."
            }
            Self::Closed(Closed::NeverOpened | Closed::Paired | Closed::ByHand) => {
                "The hub is not waiting for a laptop. Run `berthctl pair` on the hub and type the code it shows."
            }
            Self::ForeignHub => {
                "Another hub than the one that shows the code answered. Move closer to yours, run `berthctl pair` on it \
                 again and type the new code."
            }
            Self::Certificate(error) => error.advice(),
            Self::OtherKey => "The other device is not what it says it is. Do not trust it.",
            Self::WrongRole => {
                "A laptop pairs with a hub: run `berthctl pair` there and `berth pair CODE` here."
            }
            Self::Version { .. } | Self::Malformed | Self::Noise(_) => {
                "Laptop and hub disagree. Update both, then pair again."
            }
            Self::Silent | Self::Lost => {
                "Keep laptop and hub near each other and try again; the code may need to be a new one."
            }
            Self::NotStored => "Look at the disk: the trust list could not be written. Then pair again.",
            Self::Refused => {
                "Look at the hub: it says why it refused. Then run `berthctl pair` there and try again."
            }
            Self::HubNotStored => "Look at the hub's disk: it could not store the pairing. Then pair again.",
            Self::Unconfirmed => "If the laptop says that it is paired, all is well. Else pair it again.",
        }
    }
}
