//! What laptop and hub say to each other over BLE once the session's channel stands: where the link is, and goodbye.

use std::fmt;
use std::net::SocketAddr;

use berth_pairing::{BLE_MESSAGE_SIZE_BYTES_MAX, LinkToken};
use berth_radio::GroupCredentials;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Laptop to hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromLaptop {
    /// "I am here."
    KeepAlive,
    /// The laptop leaves: what follows is an end, not a cut.
    Leaving,
    /// The hub can't be reached as [`FromHub::Lan`] says: the laptop waits for an offer.
    NoLan,
}

/// Hub to laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromHub {
    /// The link may be had over a network that both are on; only after [`FromLaptop::NoLan`] there is an offer.
    Lan(Lan),
    /// Where the link is.
    Offer(Offer),
    /// No link can be opened now.
    NoLink,
    /// "I am here."
    KeepAlive,
}

/// Everything that a laptop needs to open the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// The group to join.
    pub(crate) credentials: GroupCredentials,
    /// Single use; with the hash of this session's handshake it makes the psk of the link's handshake.
    pub(crate) token: Secret,
}

/// Where the hub listens in networks that are there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lan {
    /// At most [`berth_radio::ENDPOINTS_MAX`] are tried.
    pub(crate) endpoints: Vec<SocketAddr>,
    /// As in [`Offer`].
    pub(crate) token: Secret,
}

/// 32 secret bytes, zeroed after use.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub(crate) struct Secret(pub(crate) [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<&LinkToken> for Secret {
    fn from(token: &LinkToken) -> Self {
        Self(*token.to_bytes())
    }
}

/// CBOR of a control message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Option<Vec<u8>> {
    serde_cbor::ser::to_vec_packed(message).ok()
}

/// `None`: not of this protocol.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    (bytes.len() <= BLE_MESSAGE_SIZE_BYTES_MAX)
        .then(|| serde_cbor::from_slice(bytes).ok())
        .flatten()
}
