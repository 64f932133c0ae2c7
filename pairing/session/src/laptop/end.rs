//! How a session of a laptop ends, and what stood in its way.

use berth_pairing::{HandshakeError, PairingError, Peer};

/// How a session ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaptopEnd {
    /// Paired with this hub.
    #[error("paired with {}", .0.name)]
    Paired(Peer),
    /// The laptop left on purpose.
    #[error("left the hub")]
    Left,
    /// The link was up and is gone.
    #[error("the link to the hub was cut")]
    Cut,
    /// No hub, or no link to it, after [`crate::ATTEMPTS_MAX`] attempts or until the deadline.
    #[error("no link to a hub: {0}")]
    NoLink(Obstacle),
    /// The hub, or what poses as it, did not prove what it should.
    #[error("{0}")]
    Handshake(HandshakeError),
    /// The pairing failed.
    #[error("{0}")]
    Pairing(PairingError),
}

impl LaptopEnd {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Paired(_) => "From now on the laptop is backed up whenever it is near the hub.",
            Self::Left => "You may go.",
            Self::Cut => "What has arrived is safe. Come back, and the backup goes on where it stopped.",
            Self::NoLink(obstacle) => obstacle.advice(),
            Self::Handshake(error) => error.advice(),
            Self::Pairing(error) => error.advice(),
        }
    }
}

/// What stood in the way of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// No beacon of a hub that this laptop knows, or none with its pairing window open.
    #[error("no such hub was heard")]
    NotHeard,
    /// A hub was heard, but none that this laptop knows.
    #[error("the hub that is here is none that this laptop is paired with")]
    Stranger,
    /// Bluetooth did not connect, or broke off.
    #[error("the Bluetooth connection failed")]
    Bluetooth,
    /// The hub could open no group.
    #[error("the hub could not open a Wi-Fi Direct group")]
    NoGroup,
    /// The group could not be joined.
    #[error("the hub's Wi-Fi Direct group could not be joined")]
    Join,
    /// No stream to the hub in the group.
    #[error("no stream to the hub")]
    Stream,
    /// Direct: nothing takes a stream at the address.
    #[error("nothing answers at the hub's address")]
    Unreachable,
    /// Direct: the stream was closed, or stayed silent, before anything was proved.
    #[error("what is at the hub's address did not answer as a hub does")]
    Unanswered,
    /// The adapter is gone.
    #[error("the radio adapter is gone")]
    Adapter,
}

impl Obstacle {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotHeard => {
                "Take the laptop near the hub and see that the hub is on. To pair, run `berthctl pair` on it first."
            }
            Self::Stranger => {
                "If it is your hub, it has revoked this laptop or was set up anew: run `berthctl pair` on it and `berth \
                 pair CODE` here."
            }
            Self::Bluetooth => "Take the laptop nearer to the hub; it tries again by itself.",
            Self::NoGroup => "Look at the hub's Wi-Fi; see `berthctl status`.",
            Self::Join | Self::Stream => "Take the laptop nearer to the hub, or look at its Wi-Fi.",
            Self::Unreachable => {
                "See that the hub is on, that `berthd` runs with `--listen`, and that `--via` names that address and \
                 port."
            }
            Self::Unanswered => {
                "See that `--via` names the address and port of `berthd --listen`. To pair, run `berthctl pair` on the \
                 hub first. A hub with many laptops at once may need another try."
            }
            Self::Adapter => "Switch the laptop's Bluetooth and Wi-Fi on.",
        }
    }
}
