//! Sessions: laptop and hub that are paired prove to each other who they are.
//!
//! Place: any carrier of messages (GATT frames, a TCP stream) -> [`LaptopHandshake`] / [`HubHandshake`] -> [`Channel`].
//! ```text
//! laptop -> hub   hello: 0x01, version, AES: 1 if AES-256-GCM is faster here than ChaCha20-Poly1305, else 0
//! hub -> laptop   0x11, version, AES: 1 if both are so, else 0; 16 fresh bytes
//! laptop -> hub   Noise IK, message 1
//! hub -> laptop   Noise IK, message 2: the hub's beacon key    (or it closes the connection, whatever the reason)
//! ```
//! The answer chooses the cipher of Noise IK and of the session: what the weaker of the two machines does faster.
//! Prologue: [`PROTOCOL_NAME`], hello, the hub's answer, so that nobody can change that choice on the way. The fresh bytes
//! make a recorded message 1 worthless: it opens for this one connection only. What an outsider gets is the same in every
//! case: a closed connection.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::noise::{Handshake, Keys, Pattern, Side};
use crate::{
    BEACON_KEY_SIZE_BYTES, BeaconKey, Channel, CipherKind, DeviceId, Identity, NoiseKey, Peer, Standing,
};

/// Version of the handshakes.
pub const HANDSHAKE_VERSION: u8 = 1;

/// A connection that has not proved who it is within this time is closed (DESIGN.md, section 7).
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

const PROTOCOL_NAME: &[u8] = b"berth session\0";
pub(crate) const HELLO: u8 = 0x01;
const FRESH: u8 = 0x11;
const FRESH_SIZE_BYTES: usize = 16;

/// What a connection is for, told by its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Hand the message to [`HubHandshake::answer`].
    Session,
    /// Hand the message to [`crate::HubPairing`].
    Pairing,
}

impl Opening {
    /// `None`: neither; close the connection.
    #[must_use]
    pub fn of(first_message: &[u8]) -> Option<Self> {
        match first_message.first() {
            Some(&HELLO) => Some(Self::Session),
            Some(&crate::ceremony::HELLO) => Some(Self::Pairing),
            Some(_) | None => None,
        }
    }
}

/// The laptop's side of a session handshake.
pub struct LaptopHandshake {
    state: LaptopState,
}

enum LaptopState {
    AwaitFresh {
        own: Zeroizing<[u8; 32]>,
        hub: NoiseKey,
        fast_aes: bool,
    },
    AwaitAnswer {
        handshake: Box<Handshake>,
    },
    Over,
}

/// What the laptop does next.
#[derive(Debug)]
pub enum LaptopStep {
    /// Send this and wait.
    Send(Bytes),
    /// Both sides have proved who they are.
    Done {
        /// The session.
        channel: Channel,
        /// The key of the hub's beacons from now on.
        beacon: BeaconKey,
    },
}

impl LaptopHandshake {
    /// Begins a session with a hub that this laptop is paired with. Send the hello first. `fast_aes`: AES-256-GCM is
    /// faster than ChaCha20-Poly1305 on this machine.
    #[must_use]
    pub fn begin(identity: &Identity, hub: &Peer, fast_aes: bool) -> (Self, Bytes) {
        let state = LaptopState::AwaitFresh {
            own: Zeroizing::new(*identity.noise_secret()),
            hub: hub.noise,
            fast_aes,
        };
        (Self { state }, Bytes::copy_from_slice(&hello(fast_aes)))
    }

    /// Takes the hub's next message.
    ///
    /// # Errors
    /// [`HandshakeError`]: close the connection; every further call fails as well.
    pub fn handle(
        &mut self,
        message: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<LaptopStep, HandshakeError> {
        match std::mem::replace(&mut self.state, LaptopState::Over) {
            LaptopState::AwaitFresh { own, hub, fast_aes } => {
                let cipher = chosen(message, fast_aes)?;
                let keys = Keys {
                    own: Some(&own),
                    remote: Some(&hub),
                    psk: None,
                };
                let prologue = prologue(&hello(fast_aes), message);
                let pattern = Pattern::Session(cipher);
                let mut handshake = Handshake::new(pattern, Side::Initiator, &keys, &prologue, rng)?;
                let first = handshake.write(&[])?;
                self.state = LaptopState::AwaitAnswer {
                    handshake: Box::new(handshake),
                };
                Ok(LaptopStep::Send(first.into()))
            }
            LaptopState::AwaitAnswer { mut handshake } => {
                let payload = handshake.read(message).map_err(|_| HandshakeError::ForeignHub)?;
                let beacon: [u8; BEACON_KEY_SIZE_BYTES] =
                    payload[..].try_into().map_err(|_| HandshakeError::Malformed)?;
                Ok(LaptopStep::Done {
                    channel: handshake.into_channel()?,
                    beacon: BeaconKey::from_bytes(beacon),
                })
            }
            LaptopState::Over => Err(HandshakeError::Over),
        }
    }

    /// What it means that the hub closed the connection now.
    #[must_use]
    pub const fn closed(&self) -> HandshakeError {
        match self.state {
            LaptopState::AwaitAnswer { .. } => HandshakeError::Refused,
            LaptopState::AwaitFresh { .. } | LaptopState::Over => HandshakeError::Lost,
        }
    }
}

/// The hub's side of a session handshake.
pub struct HubHandshake {
    handshake: Handshake,
}

/// A laptop that may come in.
#[derive(Debug)]
pub struct Admitted {
    /// Who it is.
    pub laptop: Peer,
    /// To be sent before anything is sealed.
    pub answer: Bytes,
    /// The session.
    pub channel: Channel,
}

impl HubHandshake {
    /// Answers a hello with the session's cipher and fresh bytes; send the second value. `fast_aes`: AES-256-GCM is faster
    /// than ChaCha20-Poly1305 on this machine.
    ///
    /// # Errors
    /// [`HandshakeError`]: close the connection without a word.
    pub fn answer(
        identity: &Identity,
        hello: &[u8],
        fast_aes: bool,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Self, Bytes), HandshakeError> {
        let laptop_fast_aes = match hello {
            [HELLO, HANDSHAKE_VERSION, aes @ (0 | 1)] => *aes == 1,
            [HELLO, version, ..] if *version != HANDSHAKE_VERSION => {
                return Err(HandshakeError::Version { version: *version });
            }
            _ => return Err(HandshakeError::Malformed),
        };
        let aes = laptop_fast_aes && fast_aes;
        let cipher = if aes {
            CipherKind::AesGcm
        } else {
            CipherKind::ChaChaPoly
        };
        let mut fresh = [0; 3 + FRESH_SIZE_BYTES];
        fresh[..3].copy_from_slice(&[FRESH, HANDSHAKE_VERSION, aes.into()]);
        rng.fill_bytes(&mut fresh[3..]);
        let keys = Keys {
            own: Some(identity.noise_secret()),
            remote: None,
            psk: None,
        };
        let prologue = prologue(hello, &fresh);
        let pattern = Pattern::Session(cipher);
        let handshake = Handshake::new(pattern, Side::Responder, &keys, &prologue, rng)?;
        Ok((Self { handshake }, Bytes::copy_from_slice(&fresh)))
    }

    /// Takes the laptop's first Noise message, and asks `standing` (see [`crate::TrustList::standing_of`]) about the key
    /// that it proved to own. The answer holds `beacon`, the hub's current key: a laptop that seals a message after it
    /// knows that key.
    ///
    /// # Errors
    /// [`HandshakeError`]: close the connection without a word. The error is for the hub's own log.
    pub fn finish(
        mut self,
        message: &[u8],
        beacon: &BeaconKey,
        standing: impl FnOnce(&NoiseKey) -> Standing,
    ) -> Result<Admitted, HandshakeError> {
        self.handshake.read(message).map_err(|_| HandshakeError::Stale)?;
        let noise = self.handshake.remote().ok_or(HandshakeError::Malformed)?;
        let laptop = match standing(&noise) {
            Standing::Trusted(peer) => peer,
            Standing::Revoked(device) => return Err(HandshakeError::Revoked { device }),
            Standing::Unknown => return Err(HandshakeError::Unknown),
        };
        let answer = self.handshake.write(&beacon.to_bytes()[..])?.into();
        let channel = self.handshake.into_channel()?;
        Ok(Admitted {
            laptop,
            answer,
            channel,
        })
    }
}

fn hello(fast_aes: bool) -> [u8; 3] {
    [HELLO, HANDSHAKE_VERSION, fast_aes.into()]
}

/// The cipher that the hub's answer to `hello(fast_aes)` names.
fn chosen(message: &[u8], fast_aes: bool) -> Result<CipherKind, HandshakeError> {
    match message {
        [FRESH, HANDSHAKE_VERSION, aes, fresh @ ..] if fresh.len() == FRESH_SIZE_BYTES => {
            match (aes, fast_aes) {
                (0, _) => Ok(CipherKind::ChaChaPoly),
                (1, true) => Ok(CipherKind::AesGcm),
                // An unknown cipher, or one that was not offered.
                (_, _) => Err(HandshakeError::Malformed),
            }
        }
        [FRESH, version, ..] if *version != HANDSHAKE_VERSION => {
            Err(HandshakeError::Version { version: *version })
        }
        _ => Err(HandshakeError::Malformed),
    }
}

fn prologue(hello: &[u8], answer: &[u8]) -> Vec<u8> {
    [PROTOCOL_NAME, hello, answer].concat()
}

impl fmt::Debug for LaptopHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            LaptopState::AwaitFresh { .. } => "LaptopHandshake::AwaitFresh",
            LaptopState::AwaitAnswer { .. } => "LaptopHandshake::AwaitAnswer",
            LaptopState::Over => "LaptopHandshake::Over",
        })
    }
}

impl fmt::Debug for HubHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubHandshake")
    }
}

/// Why no session or link came about.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not a message of this handshake.
    #[error("not a message of this handshake")]
    Malformed,
    /// The other side speaks another version.
    #[error("the other side speaks version {version} of the handshake, not {HANDSHAKE_VERSION}")]
    Version {
        /// Its version.
        version: u8,
    },
    /// Hub: the message was not made for this connection.
    #[error("a first message that was not made for this connection: replayed, damaged, or for another hub")]
    Stale,
    /// Hub: a key that is not on the trust list.
    #[error("an unknown laptop")]
    Unknown,
    /// Hub: a laptop that was revoked.
    #[error("laptop {device} was revoked")]
    Revoked {
        /// Which.
        device: DeviceId,
    },
    /// Laptop: what answered does not own the key of the hub that this laptop is paired with.
    #[error("what answered is not the hub that this laptop is paired with")]
    ForeignHub,
    /// Laptop: the hub closed the connection after it learned who asks.
    #[error("the hub refused this laptop")]
    Refused,
    /// The connection was lost before it mattered who asks.
    #[error("the connection was lost during the handshake")]
    Lost,
    /// Link: the other side does not know this visit's token, or spoke to another visit.
    #[error("the other side of the link does not belong to this visit")]
    ForeignLink,
    /// Link: the token was used already.
    #[error("the token of this visit was used already")]
    TokenUsed,
    /// The handshake has ended before.
    #[error("the handshake has ended")]
    Over,
    /// snow could not go on.
    #[error("the handshake could not go on")]
    Noise(#[from] snow::Error),
}

impl HandshakeError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Malformed | Self::Version { .. } | Self::Over | Self::Noise(_) => {
                "Laptop and hub disagree. Update both, then try again."
            }
            Self::Stale => {
                "Nothing to do: nobody was let in. If it comes again and again, somebody near replays old messages."
            }
            Self::Unknown => {
                "Nothing to do: nobody was let in. To let this laptop in, pair it with `berthctl pair`."
            }
            Self::Revoked { .. } => {
                "Nothing to do: it was not let in. To take it back, run `berthctl pair` and pair it again."
            }
            Self::ForeignHub => {
                "Do not trust this hub. If yours was set up anew, run `berthctl pair` on it and `berth pair CODE` here."
            }
            Self::Refused => {
                "The hub no longer knows this laptop: it was revoked, or the hub was set up anew. Run `berthctl pair` on \
                 the hub and `berth pair CODE` here."
            }
            Self::Lost => "Stay near the hub; the laptop tries again by itself.",
            Self::ForeignLink | Self::TokenUsed => {
                "Somebody else answered on the Wi-Fi link. The laptop tries again by itself at the next visit."
            }
        }
    }
}
