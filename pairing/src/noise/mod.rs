//! Noise handshakes by snow, with randomness passed in.
//!
//! Place: under the ceremony, sessions and the link. Specification: the Noise Protocol Framework, revision 34.
//! Hash and cipher are ring's. The Diffie-Hellman is x25519-dalek's, since it wipes its secrets and lets us refuse
//! low-order points; the one ephemeral key comes from the caller's generator, so a seed gives the same bytes.

#[cfg(test)]
mod tests;

use hkdf::Hkdf;
use rand_core::CryptoRngCore;
use sha2::Sha256;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::channel::{CipherKind, MESSAGE_SIZE_BYTES_MAX, TAG_SIZE_BYTES};
use crate::{Channel, NoiseKey};

/// Which side of a handshake: the laptop always begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Initiator,
    Responder,
}

/// One of the handshakes that Berth uses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pattern {
    Pairing,
    Session(CipherKind),
    Link(CipherKind),
}

impl Pattern {
    const fn name(self) -> &'static str {
        match self {
            Self::Pairing => "Noise_XXpsk0_25519_ChaChaPoly_SHA256",
            Self::Session(CipherKind::ChaChaPoly) => "Noise_IK_25519_ChaChaPoly_SHA256",
            Self::Session(CipherKind::AesGcm) => "Noise_IK_25519_AESGCM_SHA256",
            Self::Link(CipherKind::ChaChaPoly) => "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
            Self::Link(CipherKind::AesGcm) => "Noise_NNpsk0_25519_AESGCM_SHA256",
        }
    }

    const fn cipher(self) -> CipherKind {
        match self {
            Self::Pairing => CipherKind::ChaChaPoly,
            Self::Session(cipher) | Self::Link(cipher) => cipher,
        }
    }
}

/// The keys that a handshake starts from.
#[derive(Default)]
pub(crate) struct Keys<'a> {
    pub(crate) own: Option<&'a [u8; 32]>,
    pub(crate) remote: Option<&'a NoiseKey>,
    pub(crate) psk: Option<&'a [u8; 32]>,
}

/// A handshake under way.
pub(crate) struct Handshake {
    state: HandshakeState,
    side: Side,
    cipher: CipherKind,
}

impl Handshake {
    pub(crate) fn new(
        pattern: Pattern,
        side: Side,
        keys: &Keys<'_>,
        prologue: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, snow::Error> {
        Self::named(pattern.name(), pattern.cipher(), side, keys, prologue, rng)
    }

    fn named(
        name: &str,
        cipher: CipherKind,
        side: Side,
        keys: &Keys<'_>,
        prologue: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, snow::Error> {
        let mut ephemeral = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut ephemeral[..]);
        let mut builder =
            Builder::with_resolver(name.parse()?, Box::new(Resolver { ephemeral })).prologue(prologue)?;
        if let Some(own) = keys.own {
            builder = builder.local_private_key(own)?;
        }
        if let Some(remote) = keys.remote {
            builder = builder.remote_public_key(&remote.0)?;
        }
        if let Some(psk) = keys.psk {
            builder = builder.psk(0, psk)?;
        }
        let state = match side {
            Side::Initiator => builder.build_initiator()?,
            Side::Responder => builder.build_responder()?,
        };
        Ok(Self { state, side, cipher })
    }

    /// The next message, with a payload.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, snow::Error> {
        // An ephemeral key, a sealed static key and the payload's tag at the most.
        let mut message = vec![0; 32 + 32 + 2 * TAG_SIZE_BYTES + payload.len()];
        let length = self.state.write_message(payload, &mut message)?;
        message.truncate(length);
        Ok(message)
    }

    /// The payload of the peer's next message. After an error the state is as before.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, snow::Error> {
        if message.len() > MESSAGE_SIZE_BYTES_MAX {
            return Err(snow::Error::Input);
        }
        let mut payload = Zeroizing::new(vec![0; message.len()]);
        let length = self.state.read_message(message, &mut payload)?;
        payload.truncate(length);
        Ok(payload)
    }

    /// The peer's static key, once its message was read.
    pub(crate) fn remote(&self) -> Option<NoiseKey> {
        self.state
            .get_remote_static()
            .and_then(|key| key.try_into().ok())
            .map(NoiseKey)
    }

    /// The channel of a finished handshake.
    pub(crate) fn into_channel(mut self) -> Result<Channel, snow::Error> {
        if !self.state.is_handshake_finished() {
            return Err(snow::Error::State(
                snow::error::StateProblem::HandshakeNotFinished,
            ));
        }
        let hash = self
            .state
            .get_handshake_hash()
            .try_into()
            .map_err(|_| snow::Error::Input)?;
        let (to_responder, to_initiator) = self.state.dangerously_get_raw_split();
        let (to_responder, to_initiator) = (Zeroizing::new(to_responder), Zeroizing::new(to_initiator));
        Ok(match self.side {
            Side::Initiator => Channel::new(self.cipher, &to_responder, &to_initiator, hash),
            Side::Responder => Channel::new(self.cipher, &to_initiator, &to_responder, hash),
        })
    }
}

/// HKDF-SHA256 (RFC 5869) to one key.
pub(crate) fn derive(salt: &[u8], secret: &[u8], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(purpose, &mut key[..])
        .expect("32 bytes are within HKDF's limit");
    key
}

/// What snow builds a handshake from.
pub(crate) struct Resolver {
    pub(crate) ephemeral: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(OneKey(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519::default())),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// Randomness for exactly one ephemeral key: a handshake of Berth's never makes a second one.
struct OneKey(Option<Zeroizing<[u8; 32]>>);

impl Random for OneKey {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let key = self.0.take().ok_or(snow::Error::Rng)?;
        if dest.len() != key.len() {
            return Err(snow::Error::Rng);
        }
        dest.copy_from_slice(&key[..]);
        Ok(())
    }
}

struct X25519 {
    secret: StaticSecret,
    public: PublicKey,
}

impl Default for X25519 {
    fn default() -> Self {
        // Replaced before use: snow makes its Diffie-Hellman objects first and sets their keys later.
        Self {
            secret: StaticSecret::from([0; 32]),
            public: PublicKey::from([0; 32]),
        }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(privkey);
        self.secret = StaticSecret::from(*secret);
        self.public = PublicKey::from(&self.secret);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut secret[..])?;
        self.set(&secret[..]);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        // snow hands over its buffer for the longest key of any curve.
        let theirs = pubkey.first_chunk::<32>().ok_or(snow::Error::Dh)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(*theirs));
        // A point of low order would give the same secret to everybody (RFC 7748, 6.1).
        if !shared.was_contributory() {
            return Err(snow::Error::Dh);
        }
        out.get_mut(..32)
            .ok_or(snow::Error::Dh)?
            .copy_from_slice(shared.as_bytes());
        Ok(())
    }
}
