//! The bulk link: a second handshake, bound to the session's, so that knowing the Wi-Fi passphrase is worth nothing.
//!
//! Place: the hub makes a [`LinkToken`] for a visit and tells it over the session's [`Channel`]; the laptop dials, sends
//! message 1, the hub answers message 2 (NNpsk0), and a faster [`Channel`] is there.
//! Invariant: psk = HKDF-SHA256(salt: the session's handshake hash, secret: the token), so both must be of this visit;
//! a token opens one link.

use std::fmt;

use bytes::Bytes;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::channel::CipherKind;
use crate::noise::{Handshake, Keys, Pattern, Side, derive};
use crate::{Channel, HandshakeError};

/// Size of a token.
pub const LINK_TOKEN_SIZE_BYTES: usize = 32;

const PROLOGUE: &[u8] = b"berth link 1\0";
const PSK_PURPOSE: &[u8] = b"berth link psk 1\0";

/// The secret of one link. It travels over the session's channel only.
pub struct LinkToken(Zeroizing<[u8; LINK_TOKEN_SIZE_BYTES]>);

impl LinkToken {
    /// Hub: a new token for this visit.
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        let mut token = Zeroizing::new([0; LINK_TOKEN_SIZE_BYTES]);
        rng.fill_bytes(&mut token[..]);
        Self(token)
    }

    /// Laptop: the token as told by the hub.
    #[must_use]
    pub fn from_bytes(bytes: [u8; LINK_TOKEN_SIZE_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// For the message to the laptop.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; LINK_TOKEN_SIZE_BYTES]> {
        self.0.clone()
    }

    fn psk(self, session_hash: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        derive(session_hash, &self.0[..], PSK_PURPOSE)
    }
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken(..)")
    }
}

/// The laptop's side of a link's handshake.
pub struct LaptopLink {
    handshake: Handshake,
}

impl LaptopLink {
    /// Begins; send the second value as the link's first message.
    ///
    /// # Errors
    /// [`HandshakeError::Noise`]: there is no link.
    pub fn begin(
        token: LinkToken,
        session_hash: &[u8; 32],
        cipher: CipherKind,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Self, Bytes), HandshakeError> {
        let psk = token.psk(session_hash);
        let mut handshake = new_handshake(Side::Initiator, &psk, cipher, rng)?;
        let first = handshake.write(&[])?;
        Ok((Self { handshake }, first.into()))
    }

    /// Takes the hub's answer.
    ///
    /// # Errors
    /// [`HandshakeError::ForeignLink`]: whoever answered is not the hub of this visit; close the link.
    pub fn finish(mut self, answer: &[u8]) -> Result<Channel, HandshakeError> {
        self.handshake
            .read(answer)
            .map_err(|_| HandshakeError::ForeignLink)?;
        Ok(self.handshake.into_channel()?)
    }
}

/// The hub's side: stays until the laptop of this visit has come, whoever else dials.
pub struct HubLink {
    psk: Option<Zeroizing<[u8; 32]>>,
    cipher: CipherKind,
}

impl HubLink {
    /// Waits for the laptop that was told the token.
    #[must_use]
    pub fn new(token: LinkToken, session_hash: &[u8; 32], cipher: CipherKind) -> Self {
        Self {
            psk: Some(token.psk(session_hash)),
            cipher,
        }
    }

    /// Takes the first message of a stream. On success the token is used up, and the first value is to be sent.
    ///
    /// # Errors
    /// [`HandshakeError::ForeignLink`]: close that stream without a word and go on waiting.
    /// [`HandshakeError::TokenUsed`]: the laptop is here already.
    pub fn answer(
        &mut self,
        message: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Bytes, Channel), HandshakeError> {
        let psk = self.psk.as_ref().ok_or(HandshakeError::TokenUsed)?;
        let mut handshake = new_handshake(Side::Responder, psk, self.cipher, rng)?;
        handshake.read(message).map_err(|_| HandshakeError::ForeignLink)?;
        self.psk = None;
        let answer = handshake.write(&[])?;
        Ok((answer.into(), handshake.into_channel()?))
    }
}

fn new_handshake(
    side: Side,
    psk: &[u8; 32],
    cipher: CipherKind,
    rng: &mut dyn CryptoRngCore,
) -> Result<Handshake, snow::Error> {
    let keys = Keys {
        psk: Some(psk),
        ..Keys::default()
    };
    Handshake::new(Pattern::Link(cipher), side, &keys, PROLOGUE, rng)
}

impl fmt::Debug for LaptopLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaptopLink")
    }
}

impl fmt::Debug for HubLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubLink")
            .field("used", &self.psk.is_none())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    const HASH: [u8; 32] = [7; 32];

    fn token(byte: u8) -> LinkToken {
        LinkToken::from_bytes([byte; LINK_TOKEN_SIZE_BYTES])
    }

    fn laptop(token: LinkToken, hash: &[u8; 32], cipher: CipherKind) -> (LaptopLink, Bytes) {
        LaptopLink::begin(token, hash, cipher, &mut ChaCha20Rng::seed_from_u64(1)).unwrap()
    }

    #[test]
    fn a_link_with_this_visits_token_carries_messages_with_either_cipher() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for cipher in [CipherKind::ChaChaPoly, CipherKind::AesGcm] {
            let (link, first) = laptop(token(1), &HASH, cipher);
            let (answer, mut hub) = HubLink::new(token(1), &HASH, cipher)
                .answer(&first, &mut rng)
                .unwrap();
            let mut laptop = link.finish(&answer).unwrap();
            assert_eq!(hub.open(&laptop.seal(b"up").unwrap()).unwrap(), "up");
            assert_eq!(laptop.open(&hub.seal(b"down").unwrap()).unwrap(), "down");
            assert_eq!(hub.handshake_hash(), laptop.handshake_hash());
        }
    }

    #[test]
    fn a_link_of_another_token_visit_or_cipher_is_refused_and_the_laptop_is_still_awaited() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let mut hub = HubLink::new(token(1), &HASH, CipherKind::ChaChaPoly);
        for (_, first) in [
            laptop(token(2), &HASH, CipherKind::ChaChaPoly),
            laptop(token(1), &[8; 32], CipherKind::ChaChaPoly),
            laptop(token(1), &HASH, CipherKind::AesGcm),
        ] {
            assert_eq!(
                hub.answer(&first, &mut rng).unwrap_err(),
                HandshakeError::ForeignLink
            );
        }
        assert_eq!(
            hub.answer(b"", &mut rng).unwrap_err(),
            HandshakeError::ForeignLink
        );
        let (link, first) = laptop(token(1), &HASH, CipherKind::ChaChaPoly);
        let (answer, _) = hub.answer(&first, &mut rng).unwrap();
        assert!(link.finish(&answer).is_ok());
    }

    #[test]
    fn a_token_opens_one_link() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let mut hub = HubLink::new(token(1), &HASH, CipherKind::ChaChaPoly);
        let (_, first) = laptop(token(1), &HASH, CipherKind::ChaChaPoly);
        assert!(hub.answer(&first, &mut rng).is_ok());
        assert_eq!(
            hub.answer(&first, &mut rng).unwrap_err(),
            HandshakeError::TokenUsed
        );
    }

    #[test]
    fn a_hub_that_does_not_know_the_token_is_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let (_, foreign_first) = laptop(token(2), &HASH, CipherKind::ChaChaPoly);
        let (link, _) = laptop(token(1), &HASH, CipherKind::ChaChaPoly);
        let mut foreign = HubLink::new(token(2), &HASH, CipherKind::ChaChaPoly);
        let (answer, _) = foreign.answer(&foreign_first, &mut rng).unwrap();
        assert_eq!(link.finish(&answer).unwrap_err(), HandshakeError::ForeignLink);
    }

    #[test]
    fn debug_shows_no_token() {
        assert_eq!(format!("{:?}", token(0x41)), "LinkToken(..)");
    }
}
