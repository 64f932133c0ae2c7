//! The messages of the ceremony: a tag and a body, see the module above.

use bytes::Bytes;
use spake2::{Ed25519Group, Identity as Side, Password, Spake2};
use zeroize::Zeroizing;

use super::PairingError;
use crate::noise::derive;
use crate::window::Closed;
use crate::{Certificate, Identity, NoiseKey, PairingCode, Role};

/// Version of the ceremony.
pub(crate) const VERSION: u8 = 1;

/// First byte of a laptop's first message.
pub(crate) const HELLO: u8 = 0x02;
const NOISE: u8 = 0x03;
const SEALED: u8 = 0x04;
const ANSWER: u8 = 0x12;
const REFUSED: u8 = 0x1f;

const SPAKE2_SIZE_BYTES: usize = 33;
const PROLOGUE: &[u8] = b"berth pairing 1\0";
const PSK_PURPOSE: &[u8] = b"berth pairing psk 1\0";
const LAPTOP_SIDE: &[u8] = b"berth pairing 1 laptop";
const HUB_SIDE: &[u8] = b"berth pairing 1 hub";

/// Sealed by a side that has stored the other.
pub(crate) const STORED: &[u8] = b"stored";

/// A message taken apart.
pub(crate) enum Message<'a> {
    Hello { version: u8, spake2: &'a [u8] },
    Answer { spake2: &'a [u8] },
    Noise(&'a [u8]),
    Sealed(&'a [u8]),
    Refused(PairingError),
}

impl<'a> Message<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, PairingError> {
        match bytes {
            [HELLO, version, spake2 @ ..] => Ok(Self::Hello {
                version: *version,
                spake2,
            }),
            [ANSWER, spake2 @ ..] => Ok(Self::Answer { spake2 }),
            [NOISE, message @ ..] => Ok(Self::Noise(message)),
            [SEALED, message @ ..] => Ok(Self::Sealed(message)),
            [REFUSED, reason, guesses_left] => Ok(Self::Refused(refusal(*reason, *guesses_left))),
            _ => Err(PairingError::Malformed),
        }
    }
}

pub(crate) fn hello(spake2: &[u8]) -> Bytes {
    [&[HELLO, VERSION], spake2].concat().into()
}

pub(crate) fn answer(spake2: &[u8]) -> Bytes {
    [&[ANSWER], spake2].concat().into()
}

pub(crate) fn noise(message: &[u8]) -> Bytes {
    [&[NOISE], message].concat().into()
}

pub(crate) fn sealed(message: &[u8]) -> Bytes {
    [&[SEALED], message].concat().into()
}

const REASON_OTHER: u8 = 0;
const REASON_WRONG_CODE: u8 = 1;
const REASON_GUESSES_USED: u8 = 2;
const REASON_EXPIRED: u8 = 3;
const REASON_NOT_OPEN: u8 = 4;
const REASON_VERSION: u8 = 5;
const REASON_NOT_STORED: u8 = 6;
const REASON_SILENT: u8 = 7;

/// Tells the laptop why it is refused. The window is open or was a moment ago, which the beacon says as well.
pub(crate) fn refused(error: &PairingError) -> Bytes {
    let (reason, detail) = match error {
        PairingError::WrongCode { guesses_left } => (REASON_WRONG_CODE, *guesses_left),
        PairingError::Closed(Closed::GuessesUsed) => (REASON_GUESSES_USED, 0),
        PairingError::Closed(Closed::Expired) => (REASON_EXPIRED, 0),
        PairingError::Closed(Closed::NeverOpened | Closed::Paired | Closed::ByHand) => (REASON_NOT_OPEN, 0),
        PairingError::Version { .. } => (REASON_VERSION, VERSION),
        PairingError::NotStored => (REASON_NOT_STORED, 0),
        PairingError::Silent => (REASON_SILENT, 0),
        PairingError::ForeignHub
        | PairingError::Certificate(_)
        | PairingError::OtherKey
        | PairingError::WrongRole
        | PairingError::Malformed
        | PairingError::Refused
        | PairingError::Lost
        | PairingError::HubNotStored
        | PairingError::Unconfirmed
        | PairingError::Noise(_) => (REASON_OTHER, 0),
    };
    Bytes::copy_from_slice(&[REFUSED, reason, detail])
}

fn refusal(reason: u8, detail: u8) -> PairingError {
    match reason {
        REASON_WRONG_CODE => PairingError::WrongCode { guesses_left: detail },
        REASON_GUESSES_USED => PairingError::Closed(Closed::GuessesUsed),
        REASON_EXPIRED => PairingError::Closed(Closed::Expired),
        REASON_NOT_OPEN => PairingError::Closed(Closed::ByHand),
        REASON_VERSION => PairingError::Version { version: detail },
        REASON_NOT_STORED => PairingError::HubNotStored,
        REASON_SILENT => PairingError::Silent,
        _ => PairingError::Refused,
    }
}

/// One side of SPAKE2 under way.
pub(crate) struct Spake {
    state: Spake2<Ed25519Group>,
    side: Role,
    ours: Vec<u8>,
}

impl Spake {
    pub(crate) fn start(side: Role, code: &PairingCode, rng: &mut dyn rand_core::CryptoRngCore) -> Self {
        let password = Password::new(code.digits());
        let (laptop, hub) = (Side::new(LAPTOP_SIDE), Side::new(HUB_SIDE));
        let (state, ours) = match side {
            Role::Laptop => Spake2::start_a_with_rng(&password, &laptop, &hub, rng),
            Role::Hub => Spake2::start_b_with_rng(&password, &laptop, &hub, rng),
        };
        Self { state, side, ours }
    }

    pub(crate) fn ours(&self) -> &[u8] {
        &self.ours
    }

    /// The psk and prologue of the Noise handshake that follows.
    pub(crate) fn finish(self, theirs: &[u8]) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), PairingError> {
        if theirs.len() != SPAKE2_SIZE_BYTES {
            return Err(PairingError::Malformed);
        }
        let prologue = match self.side {
            Role::Laptop => [PROLOGUE, &self.ours, theirs].concat(),
            Role::Hub => [PROLOGUE, theirs, &self.ours].concat(),
        };
        let key = self.state.finish(theirs).map_err(|_| PairingError::Malformed)?;
        Ok((derive(&[], &Zeroizing::new(key), PSK_PURPOSE), prologue))
    }
}

/// Checks that a certificate is of the role that belongs on the other side, for the key that was used, and not ours.
pub(crate) fn check_certificate(
    bytes: &[u8],
    role: Role,
    used: Option<NoiseKey>,
    own: &Identity,
) -> Result<Certificate, PairingError> {
    let certificate = Certificate::from_bytes(bytes)?;
    if certificate.role() != role {
        return Err(PairingError::WrongRole);
    }
    if used != Some(certificate.noise()) || certificate.device() == own.device() {
        return Err(PairingError::OtherKey);
    }
    Ok(certificate)
}
