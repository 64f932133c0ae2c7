//! From a beacon to a secured link, and back: the machines of laptop and hub that drive their radios.
//!
//! Place: [`berth_radio::Event`] -> [`LaptopSession`] / [`HubSession`] -> [`berth_radio::Command`]; above them, frames of
//! `berth-wire` in and out.
//! ```text
//! beacon heard -> GATT connection -> session handshake (IK)
//!              -> Lan, sealed, over BLE -> stream -> link handshake (NNpsk0) -> frames, or else
//!              -> Offer, sealed, over BLE -> group joined -> stream -> link handshake (NNpsk0) -> frames
//! ```
//! Direct, over a network that is already there: stream -> session handshake (IK) or pairing -> frames.
//! The BLE connection stays: keep-alives and "I am leaving" go over it, so that a hub knows a cut from an end.
//! Invariant: every wait has a deadline, every queue a limit, and only a peer that has proved who it is gets beyond the
//! handshake.

mod ble;
mod control;
mod hub;
mod laptop;
mod link;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use hub::{HubEffect, HubInput, HubSession, HubSetup, LINKS_MAX, SessionId, UNPROVEN_MAX};
pub use laptop::{Goal, LaptopEffect, LaptopEnd, LaptopInput, LaptopSession, LaptopStep, Obstacle};
pub use link::FRAME_SIZE_BYTES_MAX;

/// Silence over BLE after which a side says "I am here".
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(3);

/// Silence over BLE after which the other side is taken for gone: three keep-alives may get lost.
pub const SILENCE_MAX: Duration = Duration::from_secs(12);

/// Opening a GATT connection takes 0.3 s (measured with BlueZ); beyond this it will not come.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);

/// From the session to a link over a network that is already there: it answers at once, or it will not.
pub const LAN_MAX: Duration = Duration::from_secs(2);

/// From the session to the hub's offer: a group is up in 2 to 6 s.
pub const OFFER_MAX: Duration = Duration::from_secs(20);

/// Joining takes 1 to 11 s, depending on the scan.
pub const JOIN_MAX: Duration = Duration::from_secs(25);

/// Opening a stream and the link's handshake.
pub const DIAL_MAX: Duration = Duration::from_secs(10);

/// Saying goodbye: the last frames leave, then the connection is closed.
pub const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Pause before the laptop tries again after a failure, times the number of failures.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Failures in a row after which a laptop gives this visit up.
pub const ATTEMPTS_MAX: u32 = 8;

/// The same for a direct session: whoever gave the address waits for the answer.
pub const DIRECT_ATTEMPTS_MAX: u32 = 4;
