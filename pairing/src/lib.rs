//! Who may talk to whom: identities, the pairing ceremony, sessions, the trust list, the beacon.
//!
//! Place: the session machines of laptop and hub -> this crate -> messages and frames. Everything here is told the time
//! and given its randomness; nothing here owns a socket or a thread.
//! Invariant: nobody gets a [`Channel`] without having proved to own a key that the [`TrustList`] names, except for the
//! minutes of a pairing [`Window`], where it takes the code. All of it fails closed.

mod beacon;
mod carrier;
mod ceremony;
mod certificate;
mod channel;
mod code;
mod identity;
mod identity_file;
mod link;
mod name;
mod noise;
mod peer;
mod session;
mod trust;
mod window;

pub use beacon::*;
pub use carrier::*;
pub use ceremony::{Effect, HubPairing, Input, LaptopPairing, PAIRING_STEP_MAX, PairingError};
pub use certificate::*;
pub use channel::*;
pub use code::*;
pub use identity::*;
pub use identity_file::{IDENTITY_FILE, IdentityFileError};
pub use link::*;
pub use name::*;
pub use peer::*;
pub use session::*;
pub use trust::{OLD_BEACON_KEYS_MAX, PEERS_MAX, RECORDS_MAX, TrustError, TrustList};
pub use window::{Closed, GUESSES_MAX, WINDOW_MAX, Window};
