//! The laptop's side of the ceremony.

use std::sync::Arc;

use berth_radio::Time;
use bytes::Bytes;
use rand_core::CryptoRngCore;

use super::message::{self, Message, Spake, check_certificate};
use super::{Effect, Input, PAIRING_STEP_MAX, PairingError};
use crate::noise::{Handshake, Keys, Pattern, Side};
use crate::{BEACON_KEY_SIZE_BYTES, BeaconKey, Channel, Identity, Name, PairingCode, Peer, Role};

/// Pairs this laptop with the hub that shows a code. One value for each attempt. The messages are described at the head
/// of `ceremony/mod.rs`.
pub struct LaptopPairing {
    identity: Arc<Identity>,
    name: Name,
    state: State,
    deadline: Time,
}

enum State {
    AwaitAnswer { spake: Box<Spake> },
    AwaitHub { handshake: Box<Handshake> },
    AwaitStored { hub: Peer, channel: Box<Channel> },
    Storing { hub: Peer, channel: Box<Channel> },
    Over,
}

impl LaptopPairing {
    /// Begins; the first effect sends the hello.
    pub fn begin(
        identity: Arc<Identity>,
        name: Name,
        code: &PairingCode,
        now: Time,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Effect>,
    ) -> Self {
        let spake = Spake::start(Role::Laptop, code, rng);
        out.push(Effect::Send(message::hello(spake.ours())));
        Self {
            identity,
            name,
            state: State::AwaitAnswer {
                spake: Box::new(spake),
            },
            deadline: now + PAIRING_STEP_MAX,
        }
    }

    /// When to say [`Input::Tick`]; `None` once the ceremony has ended.
    #[must_use]
    pub const fn next_at(&self) -> Option<Time> {
        match self.state {
            State::Over => None,
            State::AwaitAnswer { .. }
            | State::AwaitHub { .. }
            | State::AwaitStored { .. }
            | State::Storing { .. } => Some(self.deadline),
        }
    }

    /// Takes one input. Fails closed: whatever may not come now ends the ceremony.
    pub fn handle(&mut self, now: Time, input: Input, rng: &mut dyn CryptoRngCore, out: &mut Vec<Effect>) {
        let Some(input) = input.by(now, self.deadline) else {
            return;
        };
        if matches!(self.state, State::Over) {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        match self.step(state, input, rng, out) {
            Ok(state) => {
                self.state = state;
                self.deadline = now + PAIRING_STEP_MAX;
            }
            Err(error) => out.push(Effect::Failed(error)),
        }
    }

    fn step(
        &self,
        state: State,
        input: Input,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Effect>,
    ) -> Result<State, PairingError> {
        match (state, input) {
            (_, Input::Closed) => Err(PairingError::Lost),
            (_, Input::Tick) => Err(PairingError::Silent),
            (state, Input::Message(bytes)) => self.message(state, &bytes, rng, out),
            (State::Storing { hub, mut channel }, Input::Stored) => {
                let sealed = channel
                    .seal(message::STORED)
                    .map_err(|_| PairingError::Malformed)?;
                out.push(Effect::Send(message::sealed(&sealed)));
                out.push(Effect::Paired(hub));
                Ok(State::Over)
            }
            (State::Storing { .. }, Input::NotStored) => Err(PairingError::NotStored),
            (
                State::AwaitAnswer { .. } | State::AwaitHub { .. } | State::AwaitStored { .. } | State::Over,
                Input::Stored | Input::NotStored,
            ) => Err(PairingError::Malformed),
        }
    }

    fn message(
        &self,
        state: State,
        bytes: &Bytes,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Effect>,
    ) -> Result<State, PairingError> {
        match (state, Message::parse(bytes)?) {
            (_, Message::Refused(error)) => Err(error),
            (State::AwaitAnswer { spake }, Message::Answer { spake2 }) => {
                let (psk, prologue) = spake.finish(spake2)?;
                let keys = Keys {
                    own: Some(self.identity.noise_secret()),
                    remote: None,
                    psk: Some(&psk),
                };
                let mut handshake = Handshake::new(Pattern::Pairing, Side::Initiator, &keys, &prologue, rng)?;
                out.push(Effect::Send(message::noise(&handshake.write(&[])?)));
                Ok(State::AwaitHub {
                    handshake: Box::new(handshake),
                })
            }
            (State::AwaitHub { mut handshake }, Message::Noise(message)) => {
                let payload = handshake.read(message).map_err(|_| PairingError::ForeignHub)?;
                let (beacon, certificate) = payload
                    .split_first_chunk::<BEACON_KEY_SIZE_BYTES>()
                    .ok_or(PairingError::Malformed)?;
                let certificate =
                    check_certificate(certificate, Role::Hub, handshake.remote(), &self.identity)?;
                let hub = Peer::new(&certificate, Some(BeaconKey::from_bytes(*beacon)));
                let own = self.identity.certificate(Role::Laptop, &self.name).to_bytes();
                out.push(Effect::Send(message::noise(&handshake.write(&own)?)));
                let channel = Box::new(handshake.into_channel()?);
                Ok(State::AwaitStored { hub, channel })
            }
            (State::AwaitStored { hub, mut channel }, Message::Sealed(message)) => {
                let said = channel.open(message).map_err(|_| PairingError::ForeignHub)?;
                if said != message::STORED {
                    return Err(PairingError::Malformed);
                }
                out.push(Effect::Store(hub.clone()));
                Ok(State::Storing { hub, channel })
            }
            (
                State::AwaitAnswer { .. }
                | State::AwaitHub { .. }
                | State::AwaitStored { .. }
                | State::Storing { .. }
                | State::Over,
                Message::Hello { .. } | Message::Answer { .. } | Message::Noise(_) | Message::Sealed(_),
            ) => Err(PairingError::Malformed),
        }
    }
}

impl std::fmt::Debug for LaptopPairing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaptopPairing")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
