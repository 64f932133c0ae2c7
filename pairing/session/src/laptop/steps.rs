//! The steps from a beacon to a link, in their order.

use std::sync::Arc;

use berth_pairing::{
    self as pairing, BeaconKey, Channel, LaptopHandshake, LaptopPairing, LaptopStep, LinkToken, PairingError,
    Peer, Sighting,
};
use berth_radio::{Address, Command, ConnId, ENDPOINTS_MAX, StreamId, Time};
use bytes::{Bytes, BytesMut};

use super::{Failure, Goal, LaptopEffect, LaptopEnd, LaptopSession, Obstacle, Out, Phase, Securing};
use crate::ble::{Ble, Broken};
use crate::control::{self, FromHub, FromLaptop, Lan, Secret};
use crate::link::{self, Link};
use crate::{CONNECT_MAX, JOIN_MAX, LAN_MAX, LEAVE_MAX, OFFER_MAX};

impl LaptopSession {
    pub(super) fn sighted(&mut self, now: Time, peer: Address, beacon: &[u8], out: Out<'_>) -> Phase {
        let Some(sighting) = Sighting::of(beacon) else {
            return Phase::Seeking;
        };
        let hub = match &self.goal {
            Goal::Pair { .. } if sighting.is_window_open() => None,
            Goal::Pair { .. } => return Phase::Seeking,
            Goal::Visit { hubs } => {
                let known: Vec<&Peer> = hubs.iter().filter(|hub| hub.beacon.is_some()).collect();
                let keys = known.iter().filter_map(|hub| hub.beacon.as_ref());
                match sighting.recognise(keys).and_then(|place| known.get(place)) {
                    Some(hub) => Some((*hub).clone()),
                    None => {
                        if self.obstacle == Obstacle::NotHeard {
                            self.obstacle = Obstacle::Stranger;
                        }
                        return Phase::Seeking;
                    }
                }
            }
        };
        self.radio.scanning = false;
        out.push(LaptopEffect::Radio(Command::StopScanning));
        out.push(LaptopEffect::Radio(Command::Connect { peer }));
        Phase::Connecting {
            peer,
            hub,
            until: now + CONNECT_MAX,
        }
    }

    pub(super) fn connected(
        &mut self,
        now: Time,
        hub: Option<Peer>,
        conn: ConnId,
        mtu_bytes: usize,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        self.ble = Some(Ble::new(now, conn, mtu_bytes)?);
        self.begin(now, hub, out)
    }

    /// The first message, over whatever there is now.
    pub(super) fn begin(&mut self, now: Time, hub: Option<Peer>, out: Out<'_>) -> Result<Phase, Failure> {
        match (&self.goal, hub) {
            (Goal::Pair { code, name }, _) => {
                let mut effects = Vec::new();
                let identity = Arc::clone(&self.identity);
                let ceremony =
                    LaptopPairing::begin(identity, name.clone(), code, now, &mut *self.rng, &mut effects);
                self.pairing(now, Box::new(ceremony), effects, out)
            }
            (Goal::Visit { .. }, Some(hub)) => {
                let (handshake, hello) = LaptopHandshake::begin(&self.identity, &hub, self.fast_aes);
                self.send(hello, out)?;
                Ok(Phase::Proving {
                    handshake: Box::new(handshake),
                    hub,
                    until: now + pairing::HANDSHAKE_MAX,
                })
            }
            (Goal::Visit { .. }, None) => Err(Failure::Again(Obstacle::NotHeard)),
        }
    }

    /// Sends a message of a handshake, over BLE or over the stream that is the whole connection.
    fn send(&mut self, message: Bytes, out: Out<'_>) -> Result<(), Failure> {
        match (&mut self.ble, self.radio.stream) {
            (Some(ble), _) => ble.send(message)?,
            (None, Some(stream)) => out.push(LaptopEffect::Radio(Command::Write {
                stream,
                piece: link::framed(&message),
            })),
            // It is gone, and its end is on its way here.
            (None, None) => {}
        }
        Ok(())
    }

    pub(super) fn received(
        &mut self,
        now: Time,
        mut phase: Phase,
        frame: Bytes,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        let Some(ble) = &mut self.ble else {
            return Ok(phase);
        };
        let messages = match ble.receive(now, frame) {
            Ok(messages) => messages,
            Err(Broken) => return self.without_ble(phase, out),
        };
        for message in messages {
            phase = self.message(now, phase, &message, out)?;
        }
        Ok(phase)
    }

    pub(super) fn message(
        &mut self,
        now: Time,
        phase: Phase,
        message: &Bytes,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        match phase {
            Phase::Pairing { ceremony } => {
                self.pairing_step(now, ceremony, pairing::Input::Message(message.clone()), out)
            }
            Phase::Proving {
                mut handshake,
                hub,
                until,
            } => match handshake.handle(message, &mut *self.rng) {
                Ok(LaptopStep::Send(answer)) => {
                    self.send(answer, out)?;
                    Ok(Phase::Proving {
                        handshake,
                        hub,
                        until,
                    })
                }
                Ok(LaptopStep::Done { channel, beacon }) => self.proved(now, hub, channel, beacon, out),
                Err(error) => Err(Failure::end(LaptopEnd::Handshake(error))),
            },
            phase @ (Phase::Awaiting { .. }
            | Phase::Reaching { .. }
            | Phase::Joining { .. }
            | Phase::Dialing { .. }
            | Phase::Securing { .. }
            | Phase::Up { .. }
            | Phase::Leaving { .. }) => self.told(now, phase, message, out),
            phase @ (Phase::Seeking
            | Phase::Calling { .. }
            | Phase::Connecting { .. }
            | Phase::Paired { .. }
            | Phase::Resting { .. }
            | Phase::Over) => Ok(phase),
        }
    }

    /// Both sides have proved who they are.
    fn proved(
        &mut self,
        now: Time,
        hub: Peer,
        channel: Channel,
        beacon: BeaconKey,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        if hub.beacon.as_ref() != Some(&beacon) {
            out.push(LaptopEffect::BeaconKey {
                hub: hub.device,
                key: beacon,
            });
        }
        let Some(ble) = &mut self.ble else {
            return self.direct_link(hub, channel, out);
        };
        ble.secure(channel);
        Ok(Phase::Awaiting {
            hub,
            until: now + OFFER_MAX,
        })
    }

    /// A sealed message of the hub.
    fn told(&mut self, now: Time, phase: Phase, message: &[u8], out: Out<'_>) -> Result<Phase, Failure> {
        let opened = self.ble.as_mut().ok_or(Broken).and_then(|ble| ble.open(message));
        let Some(told) = opened.ok().and_then(|plain| control::decode::<FromHub>(&plain)) else {
            return self.without_ble(phase, out);
        };
        match (phase, told) {
            (Phase::Awaiting { hub, .. }, FromHub::Offer(offer)) => {
                self.radio.network = true;
                let credentials = offer.credentials.clone();
                out.push(LaptopEffect::Radio(Command::Join { credentials }));
                Ok(Phase::Joining {
                    hub,
                    offer: Box::new(offer),
                    until: now + JOIN_MAX,
                })
            }
            (Phase::Awaiting { hub, .. }, FromHub::Lan(Lan { mut endpoints, token })) => {
                endpoints.truncate(ENDPOINTS_MAX);
                out.push(LaptopEffect::Radio(Command::Reach { endpoints }));
                Ok(Phase::Reaching {
                    hub,
                    token,
                    until: now + LAN_MAX,
                })
            }
            (Phase::Awaiting { .. }, FromHub::NoLink) => Err(Failure::Again(Obstacle::NoGroup)),
            (phase, FromHub::KeepAlive | FromHub::NoLink | FromHub::Lan(_) | FromHub::Offer(_)) => Ok(phase),
        }
    }

    pub(super) fn pairing_step(
        &mut self,
        now: Time,
        mut ceremony: Box<LaptopPairing>,
        input: pairing::Input,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        let mut effects = Vec::new();
        ceremony.handle(now, input, &mut *self.rng, &mut effects);
        self.pairing(now, ceremony, effects, out)
    }

    fn pairing(
        &mut self,
        now: Time,
        ceremony: Box<LaptopPairing>,
        effects: Vec<pairing::Effect>,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        let mut next = Phase::Pairing { ceremony };
        for effect in effects {
            match effect {
                pairing::Effect::Send(message) => self.send(message, out)?,
                pairing::Effect::Store(hub) => out.push(LaptopEffect::Store(hub)),
                pairing::Effect::Paired(hub) => {
                    self.close_stream(out);
                    next = Phase::Paired {
                        hub,
                        until: now + LEAVE_MAX,
                    }
                }
                pairing::Effect::Failed(PairingError::Lost | PairingError::Silent)
                    if self.is_unanswered() =>
                {
                    return Err(Failure::end(LaptopEnd::NoLink(Obstacle::Unanswered)));
                }
                pairing::Effect::Failed(error) => return Err(Failure::end(LaptopEnd::Pairing(error))),
            }
        }
        Ok(next)
    }

    pub(super) fn stored(
        &mut self,
        now: Time,
        phase: Phase,
        is_stored: bool,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        match phase {
            Phase::Pairing { ceremony } => {
                let input = if is_stored {
                    pairing::Input::Stored
                } else {
                    pairing::Input::NotStored
                };
                self.pairing_step(now, ceremony, input, out)
            }
            phase => Ok(phase),
        }
    }

    pub(super) fn opened(
        &mut self,
        hub: Peer,
        token: &Secret,
        stream: StreamId,
        until: Time,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        self.radio.stream = Some(stream);
        let session = self.ble.as_ref().and_then(Ble::channel).ok_or(Broken)?;
        let token = LinkToken::from_bytes(token.0);
        let (hash, cipher) = (session.handshake_hash(), session.cipher());
        match pairing::LaptopLink::begin(token, hash, cipher, &mut *self.rng) {
            Ok((handshake, first)) => {
                out.push(LaptopEffect::Radio(Command::Write {
                    stream,
                    piece: link::framed(&first),
                }));
                Ok(Phase::Securing(Securing {
                    hub,
                    stream,
                    handshake: Box::new(handshake),
                    arrived: BytesMut::new(),
                    until,
                }))
            }
            Err(error) => Err(Failure::end(LaptopEnd::Handshake(error))),
        }
    }

    /// The hub can't be reached over the LAN: another network, or a wall in it. The group is left.
    pub(super) fn without_lan(&mut self, now: Time, hub: Peer, out: Out<'_>) -> Result<Phase, Failure> {
        self.close_stream(out);
        let ble = self.ble.as_mut().ok_or(Broken)?;
        ble.say(now, &FromLaptop::NoLan)?;
        Ok(Phase::Awaiting {
            hub,
            until: now + OFFER_MAX,
        })
    }

    /// Whoever took the stream is not the hub, or it went. In a LAN another device may have the hub's address.
    pub(super) fn no_link_there(&mut self, now: Time, hub: Peer, out: Out<'_>) -> Result<Phase, Failure> {
        if self.radio.network {
            Err(Failure::Again(Obstacle::Stream))
        } else {
            self.without_lan(now, hub, out)
        }
    }

    pub(super) fn secured(
        &mut self,
        now: Time,
        mut securing: Securing,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        match link::first_message(&mut securing.arrived) {
            Ok(None) => Ok(Phase::Securing(securing)),
            Ok(Some(answer)) => {
                let Securing {
                    hub,
                    stream,
                    handshake,
                    arrived,
                    ..
                } = securing;
                match handshake.finish(&answer) {
                    Ok(channel) => up(hub, Link::new(stream, channel, arrived), out),
                    // Somebody else answered; the hub may be reached at the next attempt.
                    Err(_) => self.no_link_there(now, hub, out),
                }
            }
            Err(_) => self.no_link_there(now, securing.hub, out),
        }
    }
}

/// The link stands; frames may have come with the handshake's last message.
pub(super) fn up(hub: Peer, mut link: Link, out: Out<'_>) -> Result<Phase, Failure> {
    out.push(LaptopEffect::Up { hub });
    match link.arrived(&[], |frame| out.push(LaptopEffect::Frame(frame))) {
        Ok(()) => Ok(Phase::Up { link: Box::new(link) }),
        Err(_) => Err(Failure::end(LaptopEnd::Cut)),
    }
}
