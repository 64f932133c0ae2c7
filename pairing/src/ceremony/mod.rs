//! The pairing ceremony: a laptop and a hub that share nothing but a short code come to know each other's keys.
//!
//! Place: any carrier of messages -> [`HubPairing`] / [`LaptopPairing`] -> [`Effect`], performed by the session's driver.
//! ```text
//! laptop -> hub   0x02, version, SPAKE2 A (33 bytes)
//! hub -> laptop   0x12, SPAKE2 B (33)               a guess is used before this leaves
//! laptop -> hub   0x03, XXpsk0 message 1            proves that the laptop knows the code
//! hub -> laptop   0x03, XXpsk0 message 2: certificate of the hub, its beacon key
//! laptop -> hub   0x03, XXpsk0 message 3: certificate of the laptop
//! hub -> laptop   0x04, sealed: the hub has stored the laptop
//! laptop -> hub   0x04, sealed: the laptop has stored the hub
//! hub -> laptop   0x1f, reason, guesses left        instead of any of its messages: refused
//! ```
//! Specification: SPAKE2 as in magic-wormhole (crate `spake2`, Ed25519); its key becomes the psk through HKDF; both
//! SPAKE2 messages are the prologue of Noise.
//! Invariant: a laptop believes that it is paired only if the hub has stored it durably, and a hub reports a pairing
//! only if the laptop has stored it as well. Where the very last message is lost, the hub trusts a laptop that may not
//! know it ([`PairingError::Unconfirmed`]): harmless, since that laptop knew the code.

mod error;
mod hub;
mod laptop;
mod message;
#[cfg(test)]
mod tests;

use std::time::Duration;

use berth_radio::Time;
use bytes::Bytes;

use crate::Peer;

pub use error::PairingError;
pub use hub::HubPairing;
pub use laptop::LaptopPairing;
pub(crate) use message::HELLO;

/// A step that takes longer ends the ceremony: an unproven connection gets no more (DESIGN.md, section 7).
pub const PAIRING_STEP_MAX: Duration = Duration::from_secs(10);

/// What a ceremony is told.
#[derive(Debug)]
pub enum Input {
    /// A message of the peer.
    Message(Bytes),
    /// The peer of [`Effect::Store`] is in the trust list, durably.
    Stored,
    /// The peer of [`Effect::Store`] could not be stored.
    NotStored,
    /// The connection is gone.
    Closed,
    /// Time has passed, see `next_at`.
    Tick,
}

impl Input {
    /// What it comes to at this time: a tick before the deadline is nothing, a message after it comes too late.
    fn by(self, now: Time, deadline: Time) -> Option<Self> {
        let is_late = now >= deadline;
        match self {
            Self::Tick if !is_late => None,
            Self::Message(_) if is_late => Some(Self::Tick),
            Self::Tick | Self::Message(_) | Self::Stored | Self::NotStored | Self::Closed => Some(self),
        }
    }
}

/// What a ceremony asks for.
#[derive(Debug)]
pub enum Effect {
    /// Send this message.
    Send(Bytes),
    /// Put this peer into the trust list ([`crate::TrustList::pair`]), then say [`Input::Stored`] or
    /// [`Input::NotStored`].
    Store(Peer),
    /// Both sides have stored each other. The ceremony has ended; send what is queued, then close the connection.
    Paired(Peer),
    /// The ceremony has ended; send what is queued, then close the connection.
    Failed(PairingError),
}
