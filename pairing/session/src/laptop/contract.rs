//! What the laptop's machine is told, and what it asks for.

use berth_pairing::{BeaconKey, DeviceId, Name, PairingCode, Peer};
use berth_radio::{Command, Event};
use bytes::Bytes;

use super::LaptopEnd;

/// What the laptop came for.
pub enum Goal {
    /// To be paired with a hub that shows this code.
    Pair {
        /// As typed by the person.
        code: PairingCode,
        /// What the laptop calls itself.
        name: Name,
    },
    /// To open a link to one of these hubs.
    Visit {
        /// Paired hubs.
        hubs: Vec<Peer>,
    },
}

/// What the machine is told.
#[derive(Debug)]
pub enum LaptopInput {
    /// Something happened in the air.
    Radio(Event),
    /// Time has passed; due at [`super::LaptopSession::next_at`].
    Tick,
    /// The peer of [`LaptopEffect::Store`] is stored durably (`false`: could not be).
    Stored(bool),
    /// Send this frame, of at least one byte, over the link. Only while it is up, and only within
    /// [`super::LaptopSession::room_bytes`].
    Frame(Bytes),
    /// End the session: say goodbye, give the network back.
    Leave,
}

/// How far a session has come on its way to a link. Over one stream, without radio, there is only the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaptopStep {
    /// A hub was heard, and Bluetooth connects.
    Found,
    /// It is connected; both prove who they are.
    Connected,
    /// Both have. The hub opens its group.
    Proved,
    /// The hub's group is known, and the radio joins it.
    Offered,
    /// The radio is in the group; the link is opened there.
    Joined,
    /// The link is up.
    Up,
}

/// What the machine asks for.
#[derive(Debug)]
pub enum LaptopEffect {
    /// For the radio.
    Radio(Command),
    /// Put this hub into the trust list, then say [`LaptopInput::Stored`].
    Store(Peer),
    /// The hub has a new beacon key; remember it.
    BeaconKey {
        /// Which hub.
        hub: DeviceId,
        /// The key.
        key: BeaconKey,
    },
    /// The link is up.
    Up {
        /// To this hub.
        hub: Peer,
    },
    /// A frame arrived.
    Frame(Bytes),
    /// There may be more room to send.
    Room,
    /// The session is over; nothing comes after this.
    Over(LaptopEnd),
}
