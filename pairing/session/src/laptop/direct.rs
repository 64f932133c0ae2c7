//! Direct mode: a session or a pairing over one stream of a network that is already there, without BLE and group.
//!
//! Place: `Command::Dial` -> the stream carries the handshake, each message behind its length -> the session's own channel
//! carries the frames.
//! Invariant: an address does not say which hub is there, so the hubs are tried one after the other, each on a stream of
//! its own, twice at the most; until one has proved itself, no more than one message of a handshake and what came with it
//! in one piece is kept.

use std::sync::Arc;

use berth_pairing::{self as pairing, Channel, HandshakeError, Identity, Peer};
use berth_radio::{Command, Event, Time};
use bytes::BytesMut;
use rand_core::CryptoRngCore;

use super::steps::up;
use super::{Failure, Goal, LaptopEffect, LaptopEnd, LaptopSession, Obstacle, Out, Phase, linked, unwanted};
use crate::DIAL_MAX;
use crate::link::{self, Link};

/// What a direct session keeps of its stream.
#[derive(Default)]
pub(super) struct Direct {
    arrived: BytesMut,
    /// Whoever is there has said something on this stream.
    is_answered: bool,
}

impl LaptopSession {
    /// Begins a session, or a pairing, with the hub that [`Command::Dial`] reaches: no BLE, no group. It ends by itself
    /// after [`crate::DIRECT_ATTEMPTS_MAX`] failures. `fast_aes` and `rng`: as in [`LaptopSession::new`].
    pub fn direct(
        now: Time,
        identity: Arc<Identity>,
        goal: Goal,
        fast_aes: bool,
        rng: Box<dyn CryptoRngCore + Send>,
        out: &mut Vec<LaptopEffect>,
    ) -> Self {
        let mut session = Self::begun(identity, goal, fast_aes, rng);
        session.phase = match &session.goal {
            Goal::Visit { hubs } if hubs.is_empty() => {
                session.over(LaptopEnd::NoLink(Obstacle::Stranger), out)
            }
            Goal::Visit { .. } | Goal::Pair { .. } => session.call(now, out),
        };
        session
    }

    pub(super) fn call(&mut self, now: Time, out: Out<'_>) -> Phase {
        self.direct = Some(Direct::default());
        out.push(LaptopEffect::Radio(Command::Dial));
        Phase::Calling {
            until: now + DIAL_MAX,
        }
    }

    pub(super) fn direct_event(
        &mut self,
        now: Time,
        phase: Phase,
        event: Event,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        match (phase, event) {
            (Phase::Calling { .. }, Event::StreamOpened { stream }) => {
                self.radio.stream = Some(stream);
                let hub = self.hub_to_try();
                self.begin(now, hub, out)
            }
            (Phase::Calling { .. }, Event::StreamFailed) => Err(Failure::Again(Obstacle::Unreachable)),
            (phase @ (Phase::Pairing { .. } | Phase::Proving { .. }), Event::Read { stream, piece })
                if self.radio.stream == Some(stream) =>
            {
                self.heard(now, phase, &piece, out)
            }
            (phase @ (Phase::Pairing { .. } | Phase::Proving { .. }), Event::StreamClosed { .. })
                if self.radio.stream.is_none() =>
            {
                self.closed(now, phase, out)
            }
            (Phase::Up { link }, event) => linked(link, event, out),
            (phase, event) => {
                unwanted(&event, out);
                Ok(phase)
            }
        }
    }

    fn heard(&mut self, now: Time, mut phase: Phase, piece: &[u8], out: Out<'_>) -> Result<Phase, Failure> {
        if let Some(direct) = &mut self.direct {
            direct.arrived.extend_from_slice(piece);
        }
        while let (Phase::Pairing { .. } | Phase::Proving { .. }, Some(direct)) = (&phase, &mut self.direct) {
            match link::first_message(&mut direct.arrived) {
                Ok(None) => break,
                Ok(Some(message)) => {
                    direct.is_answered = true;
                    phase = self.message(now, phase, &message, out)?;
                }
                // Another program listens there.
                Err(_) => return Err(Failure::end(LaptopEnd::NoLink(Obstacle::Unanswered))),
            }
        }
        Ok(phase)
    }

    /// Both sides have proved who they are: the session's channel is the link.
    pub(super) fn direct_link(
        &mut self,
        hub: Peer,
        channel: Channel,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        match (self.radio.stream, &mut self.direct) {
            (Some(stream), Some(direct)) => {
                let arrived = std::mem::take(&mut direct.arrived);
                up(hub, Link::new(stream, channel, arrived), out)
            }
            (None, _) | (_, None) => Err(Failure::Again(Obstacle::Unanswered)),
        }
    }

    fn closed(&mut self, now: Time, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        match phase {
            Phase::Pairing { ceremony } => self.pairing_step(now, ceremony, pairing::Input::Closed, out),
            Phase::Proving { handshake, .. } if handshake.closed() == HandshakeError::Refused => {
                self.refused(now, out)
            }
            _ => Err(Failure::Again(Obstacle::Unanswered)),
        }
    }

    /// It is another hub, or it knows this laptop no longer: both look the same. A network may break off at this very
    /// moment too, so each hub is tried twice.
    fn refused(&mut self, now: Time, out: Out<'_>) -> Result<Phase, Failure> {
        self.refusals += 1;
        let hubs = self.hubs().len();
        let refusals = self.refusals as usize;
        if refusals >= 2 * hubs {
            Err(Failure::end(LaptopEnd::NoLink(Obstacle::Stranger)))
        } else if refusals == hubs {
            Err(Failure::Again(Obstacle::Stranger))
        } else {
            Ok(self.call(now, out))
        }
    }

    /// Nothing was heard on the stream that is the whole connection.
    pub(super) fn is_unanswered(&self) -> bool {
        self.direct.as_ref().is_some_and(|direct| !direct.is_answered)
    }

    fn hub_to_try(&self) -> Option<Peer> {
        self.hubs().iter().cycle().nth(self.refusals as usize).cloned()
    }

    fn hubs(&self) -> &[Peer] {
        match &self.goal {
            Goal::Visit { hubs } => hubs,
            Goal::Pair { .. } => &[],
        }
    }
}
