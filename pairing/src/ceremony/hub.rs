//! The hub's side of the ceremony.

use std::sync::Arc;

use berth_radio::Time;
use bytes::Bytes;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::message::{self, Message, STORED, Spake, VERSION, check_certificate};
use super::{Effect, Input, PAIRING_STEP_MAX, PairingError};
use crate::noise::{Handshake, Keys, Pattern, Side};
use crate::window::{Guess, Window};
use crate::{BeaconKey, Channel, Identity, Name, Peer, Role};

/// Pairs this hub with the laptop on one connection. One value for each connection; the guesses are the [`Window`]'s.
/// The messages are described at the head of `ceremony/mod.rs`.
pub struct HubPairing {
    identity: Arc<Identity>,
    name: Name,
    beacon: BeaconKey,
    state: State,
    deadline: Time,
}

enum State {
    AwaitHello,
    AwaitProof(Attempt),
    AwaitLaptop(Attempt),
    Storing { laptop: Peer, channel: Box<Channel> },
    AwaitStored { laptop: Peer, channel: Box<Channel> },
    Over,
}

/// A laptop under way that has used a guess.
struct Attempt {
    handshake: Box<Handshake>,
    guess: Guess,
}

impl HubPairing {
    /// Waits for the hello of a laptop. `beacon` is the hub's current beacon key.
    #[must_use]
    pub fn new(identity: Arc<Identity>, name: Name, beacon: BeaconKey, now: Time) -> Self {
        Self {
            identity,
            name,
            beacon,
            state: State::AwaitHello,
            deadline: now + PAIRING_STEP_MAX,
        }
    }

    /// When to say [`Input::Tick`]; `None` once the ceremony has ended.
    #[must_use]
    pub const fn next_at(&self) -> Option<Time> {
        match self.state {
            State::Over => None,
            State::AwaitHello
            | State::AwaitProof(_)
            | State::AwaitLaptop(_)
            | State::Storing { .. }
            | State::AwaitStored { .. } => Some(self.deadline),
        }
    }

    /// Takes one input. Fails closed: whatever may not come now ends the ceremony, and a guess that was taken stays used.
    pub fn handle(
        &mut self,
        now: Time,
        input: Input,
        window: &mut Window,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Effect>,
    ) {
        let Some(input) = input.by(now, self.deadline) else {
            return;
        };
        if matches!(self.state, State::Over) {
            return;
        }
        let is_connected = !matches!(input, Input::Closed);
        let state = std::mem::replace(&mut self.state, State::Over);
        match self.step(state, now, input, window, rng, out) {
            Ok(state) => {
                self.state = state;
                self.deadline = now + PAIRING_STEP_MAX;
            }
            Err(error) => {
                if is_connected {
                    out.push(Effect::Send(message::refused(&error)));
                }
                out.push(Effect::Failed(error));
            }
        }
    }

    fn step(
        &self,
        state: State,
        now: Time,
        input: Input,
        window: &mut Window,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Effect>,
    ) -> Result<State, PairingError> {
        match (state, input) {
            (State::AwaitHello, Input::Message(bytes)) => self.hello(now, &bytes, window, rng, out),
            (State::AwaitProof(attempt), Input::Message(bytes)) => {
                self.proof(attempt.unless_closed(now, window)?, &bytes, window, out)
            }
            (State::AwaitLaptop(attempt), Input::Message(bytes)) => {
                self.laptop(attempt.unless_closed(now, window)?, &bytes, window, out)
            }
            (State::Storing { laptop, mut channel }, Input::Stored) => {
                let sealed = channel.seal(STORED).map_err(|_| PairingError::Unconfirmed)?;
                out.push(Effect::Send(message::sealed(&sealed)));
                Ok(State::AwaitStored { laptop, channel })
            }
            (State::Storing { .. }, Input::NotStored) => Err(PairingError::NotStored),
            (State::AwaitStored { laptop, mut channel }, Input::Message(bytes)) => {
                let said = match Message::parse(&bytes) {
                    Ok(Message::Sealed(message)) => channel.open(message).ok(),
                    Ok(
                        Message::Hello { .. }
                        | Message::Answer { .. }
                        | Message::Noise(_)
                        | Message::Refused(_),
                    )
                    | Err(_) => None,
                };
                if said.is_some_and(|said| said == STORED) {
                    out.push(Effect::Paired(laptop));
                    Ok(State::Over)
                } else {
                    Err(PairingError::Unconfirmed)
                }
            }
            // From here on the laptop is in the trust list, or will be.
            (
                State::Storing { .. } | State::AwaitStored { .. },
                Input::Message(_) | Input::Stored | Input::NotStored | Input::Closed | Input::Tick,
            ) => Err(PairingError::Unconfirmed),
            (state, Input::Closed) => Err(end(state, window, PairingError::Lost)),
            (state, Input::Tick) => Err(end(state, window, PairingError::Silent)),
            (state, Input::Message(_) | Input::Stored | Input::NotStored) => {
                Err(end(state, window, PairingError::Malformed))
            }
        }
    }

    fn hello(
        &self,
        now: Time,
        bytes: &Bytes,
        window: &mut Window,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Effect>,
    ) -> Result<State, PairingError> {
        let theirs = match Message::parse(bytes)? {
            Message::Hello {
                version: VERSION,
                spake2,
            } => spake2,
            Message::Hello { version, .. } => return Err(PairingError::Version { version }),
            Message::Answer { .. } | Message::Noise(_) | Message::Sealed(_) | Message::Refused(_) => {
                return Err(PairingError::Malformed);
            }
        };
        let spake = Spake::start(Role::Hub, window.code(now).map_err(PairingError::Closed)?, rng);
        let answer = message::answer(spake.ours());
        let (psk, prologue) = spake.finish(theirs)?;
        let keys = Keys {
            own: Some(self.identity.noise_secret()),
            remote: None,
            psk: Some(&psk),
        };
        let handshake = Box::new(Handshake::new(
            Pattern::Pairing,
            Side::Responder,
            &keys,
            &prologue,
            rng,
        )?);
        let guess = window.guess(now).map_err(PairingError::Closed)?;
        out.push(Effect::Send(answer));
        Ok(State::AwaitProof(Attempt { handshake, guess }))
    }

    fn proof(
        &self,
        Attempt { mut handshake, guess }: Attempt,
        bytes: &Bytes,
        window: &mut Window,
        out: &mut Vec<Effect>,
    ) -> Result<State, PairingError> {
        if read(&mut handshake, bytes).is_err() {
            let guesses_left = window.guesses_left();
            window.failed(guess);
            return Err(PairingError::WrongCode { guesses_left });
        }
        let own = self.identity.certificate(Role::Hub, &self.name).to_bytes();
        let payload = Zeroizing::new([&self.beacon.to_bytes()[..], &own].concat());
        out.push(Effect::Send(message::noise(&handshake.write(&payload)?)));
        Ok(State::AwaitLaptop(Attempt { handshake, guess }))
    }

    fn laptop(
        &self,
        Attempt { mut handshake, guess }: Attempt,
        bytes: &Bytes,
        window: &mut Window,
        out: &mut Vec<Effect>,
    ) -> Result<State, PairingError> {
        let certificate = read(&mut handshake, bytes).and_then(|payload| {
            check_certificate(&payload, Role::Laptop, handshake.remote(), &self.identity)
        });
        match certificate {
            Ok(certificate) => {
                let laptop = Peer::new(&certificate, Some(self.beacon.clone()));
                let channel = Box::new(handshake.into_channel()?);
                window.succeeded(guess);
                out.push(Effect::Store(laptop.clone()));
                Ok(State::Storing { laptop, channel })
            }
            Err(error) => {
                window.failed(guess);
                Err(error)
            }
        }
    }
}

impl Attempt {
    fn unless_closed(self, now: Time, window: &mut Window) -> Result<Self, PairingError> {
        match window.holds(now, &self.guess) {
            Ok(()) => Ok(self),
            Err(why) => Err(PairingError::Closed(why)),
        }
    }
}

/// The payload of a Noise message.
fn read(handshake: &mut Handshake, bytes: &Bytes) -> Result<Zeroizing<Vec<u8>>, PairingError> {
    match Message::parse(bytes)? {
        Message::Noise(message) => Ok(handshake.read(message)?),
        Message::Hello { .. } | Message::Answer { .. } | Message::Sealed(_) | Message::Refused(_) => {
            Err(PairingError::Malformed)
        }
    }
}

/// Gives back what a state holds of the window.
fn end(state: State, window: &mut Window, error: PairingError) -> PairingError {
    match state {
        State::AwaitProof(attempt) | State::AwaitLaptop(attempt) => window.failed(attempt.guess),
        State::AwaitHello | State::Storing { .. } | State::AwaitStored { .. } | State::Over => {}
    }
    error
}

impl std::fmt::Debug for HubPairing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubPairing")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
