//! What the hub's machine is told, and what it asks for.

use std::net::SocketAddr;
use std::sync::Arc;

use berth_pairing::{Closed, HandshakeError, Identity, Name, PairingError, Peer, TrustError, TrustList};
use berth_radio::{Command, Event};
use bytes::Bytes;
use rand_core::CryptoRngCore;

/// One link, from its handshake to its end. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What the machine is told.
#[derive(Debug)]
pub enum HubInput {
    /// Something happened in the air.
    Radio(Event),
    /// Where the hub takes streams in networks that are there already, from now on; nowhere to begin with. At most
    /// [`berth_radio::ENDPOINTS_MAX`] are told to laptops.
    Lan(Vec<SocketAddr>),
    /// Time has passed; due at [`super::HubSession::next_at`].
    Tick,
    /// Send this frame. Ignored if the session has ended.
    Frame {
        /// On which link.
        session: SessionId,
        /// One to [`crate::FRAME_SIZE_BYTES_MAX`] bytes.
        frame: Bytes,
    },
    /// Take nothing from this link for now: what has come already may still follow. Ignored if the session has ended.
    Hold {
        /// Which link.
        session: SessionId,
    },
    /// Take from it again.
    Resume {
        /// Which link.
        session: SessionId,
    },
    /// Close this link.
    End {
        /// Which link.
        session: SessionId,
    },
    /// The hub stops: give everything back.
    Stop,
}

/// What the machine asks for, and what it tells.
#[derive(Debug)]
pub enum HubEffect {
    /// For the radio.
    Radio(Command),
    /// A laptop was paired and stored in the trust list.
    Paired(Peer),
    /// A pairing failed; the window may still be open.
    PairingFailed(PairingError),
    /// The pairing window has closed.
    WindowClosed(Closed),
    /// Somebody was not let in. For the log.
    NotAdmitted(HandshakeError),
    /// A link is up.
    Up {
        /// Its number.
        session: SessionId,
        /// Whose it is.
        laptop: Peer,
    },
    /// A frame arrived.
    Frame {
        /// On which link.
        session: SessionId,
        /// The frame.
        frame: Bytes,
    },
    /// There may be more room to send.
    Room {
        /// On which link.
        session: SessionId,
    },
    /// A link is gone.
    Down {
        /// Its number.
        session: SessionId,
        /// The laptop had said that it leaves, over the link or over BLE.
        announced: bool,
    },
    /// The trust list could not be written.
    TrustFailed(TrustError),
}

/// What a hub's sessions start from.
pub struct HubSetup {
    /// The hub's keys.
    pub identity: Arc<Identity>,
    /// What it calls itself.
    pub name: Name,
    /// Whom it trusts.
    pub trust: TrustList,
    /// AES-256-GCM is faster than ChaCha20-Poly1305 on this machine.
    pub fast_aes: bool,
    /// For nonces, tokens and ephemeral keys.
    pub rng: Box<dyn CryptoRngCore + Send>,
}
