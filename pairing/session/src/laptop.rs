//! The laptop's side: seek a hub, prove, join, and carry frames until somebody leaves.
//!
//! Place: see the crate. Invariant: whatever happens, the radio is told to leave what it joined before the session is
//! over, so that the person's own network is back.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use berth_pairing::{
    self as pairing, BeaconKey, HandshakeError, Identity, LaptopHandshake, LaptopPairing, LaptopStep,
    LinkToken, Name, PairingCode, PairingError, Peer, Sighting,
};
use berth_radio::{Address, Command, ConnId, Event, StreamId, Time};
use bytes::{Bytes, BytesMut};
use rand_core::CryptoRngCore;

use crate::ble::{Ble, Broken};
use crate::control::{self, FromHub, FromLaptop, Offer, Secret};
use crate::link::{self, Link};
use crate::{ATTEMPTS_MAX, CONNECT_MAX, DIAL_MAX, JOIN_MAX, LEAVE_MAX, OFFER_MAX, RETRY_AFTER};

/// What the laptop came for.
pub enum Goal {
    /// To be paired with a hub that shows this code.
    Pair {
        /// As typed by the person.
        code: PairingCode,
        /// What the laptop calls itself.
        name: Name,
    },
    /// To open a link to one of these hubs.
    Visit {
        /// Paired hubs.
        hubs: Vec<Peer>,
    },
}

/// What the machine is told.
#[derive(Debug)]
pub enum LaptopInput {
    /// Something happened in the air.
    Radio(Event),
    /// Time has passed; due at [`LaptopSession::next_at`].
    Tick,
    /// The peer of [`LaptopEffect::Store`] is stored durably (`false`: could not be).
    Stored(bool),
    /// Send this frame over the link. Only while it is up, and only within [`LaptopSession::room_bytes`].
    Frame(Bytes),
    /// End the session: say goodbye, give the network back.
    Leave,
}

/// What the machine asks for.
#[derive(Debug)]
pub enum LaptopEffect {
    /// For the radio.
    Radio(Command),
    /// Put this hub into the trust list, then say [`LaptopInput::Stored`].
    Store(Peer),
    /// The hub has a new beacon key; remember it.
    BeaconKey {
        /// Which hub.
        hub: pairing::DeviceId,
        /// The key.
        key: BeaconKey,
    },
    /// The link is up.
    Up {
        /// To this hub.
        hub: Peer,
    },
    /// A frame arrived.
    Frame(Bytes),
    /// There may be more room to send.
    Room,
    /// The session is over; nothing comes after this.
    Over(LaptopEnd),
}

/// How a session ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaptopEnd {
    /// Paired with this hub.
    #[error("paired with {}", .0.name)]
    Paired(Peer),
    /// The laptop left on purpose.
    #[error("left the hub")]
    Left,
    /// The link was up and is gone.
    #[error("the link to the hub was cut")]
    Cut,
    /// No hub, or no link to it, after [`ATTEMPTS_MAX`] attempts or until the deadline.
    #[error("no link to a hub: {0}")]
    NoLink(Obstacle),
    /// The hub, or what poses as it, did not prove what it should.
    #[error("{0}")]
    Handshake(HandshakeError),
    /// The pairing failed.
    #[error("{0}")]
    Pairing(PairingError),
}

impl LaptopEnd {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Paired(_) => "From now on the laptop is backed up whenever it is near the hub.",
            Self::Left => "You may go.",
            Self::Cut => "What has arrived is safe. Come back, and the backup goes on where it stopped.",
            Self::NoLink(obstacle) => obstacle.advice(),
            Self::Handshake(error) => error.advice(),
            Self::Pairing(error) => error.advice(),
        }
    }
}

/// What stood in the way of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// No beacon of a hub that this laptop knows, or none with its pairing window open.
    #[error("no such hub was heard")]
    NotHeard,
    /// A hub was heard, but none that this laptop knows.
    #[error("the hub that is here is none that this laptop is paired with")]
    Stranger,
    /// Bluetooth did not connect, or broke off.
    #[error("the Bluetooth connection failed")]
    Bluetooth,
    /// The hub could open no group.
    #[error("the hub could not open a Wi-Fi Direct group")]
    NoGroup,
    /// The group could not be joined.
    #[error("the hub's Wi-Fi Direct group could not be joined")]
    Join,
    /// No stream to the hub in the group.
    #[error("no stream to the hub")]
    Stream,
    /// The adapter is gone.
    #[error("the radio adapter is gone")]
    Adapter,
}

impl Obstacle {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotHeard => {
                "Take the laptop near the hub and see that the hub is on. To pair, run `berthctl pair` on it first."
            }
            Self::Stranger => {
                "If it is your hub, it has revoked this laptop or was set up anew: run `berthctl pair` on it and `berth \
                 pair CODE` here."
            }
            Self::Bluetooth => "Take the laptop nearer to the hub; it tries again by itself.",
            Self::NoGroup => "Look at the hub's Wi-Fi; see `berthctl status`.",
            Self::Join | Self::Stream => "Take the laptop nearer to the hub, or look at its Wi-Fi.",
            Self::Adapter => "Switch the laptop's Bluetooth and Wi-Fi on.",
        }
    }
}

/// The machine of one session, from seeking to its end.
pub struct LaptopSession {
    identity: Arc<Identity>,
    goal: Goal,
    fast_aes: bool,
    rng: Box<dyn CryptoRngCore + Send>,
    seek_until: Option<Time>,
    phase: Phase,
    ble: Option<Ble>,
    attempts: u32,
    refusals: u32,
    obstacle: Obstacle,
    radio: Held,
}

/// What the radio was asked for and must give back.
#[derive(Default)]
struct Held {
    scanning: bool,
    network: bool,
    stream: Option<StreamId>,
}

enum Phase {
    Seeking,
    Connecting {
        peer: Address,
        hub: Option<Peer>,
        until: Time,
    },
    Pairing {
        ceremony: Box<LaptopPairing>,
    },
    Paired {
        hub: Peer,
        until: Time,
    },
    Proving {
        handshake: Box<LaptopHandshake>,
        hub: Peer,
        until: Time,
    },
    Asking {
        hub: Peer,
        until: Time,
    },
    Joining {
        hub: Peer,
        offer: Box<Offer>,
        until: Time,
    },
    Dialing {
        hub: Peer,
        offer: Box<Offer>,
        until: Time,
    },
    Securing {
        hub: Peer,
        stream: StreamId,
        handshake: Box<pairing::LaptopLink>,
        arrived: BytesMut,
        until: Time,
    },
    Up {
        link: Box<Link>,
    },
    Leaving {
        until: Time,
    },
    Resting {
        until: Time,
    },
    Over,
}

/// Why a phase cannot go on.
enum Failure {
    /// Start over after a pause.
    Again(Obstacle),
    /// Nothing will help.
    End(Box<LaptopEnd>),
}

impl Failure {
    fn end(end: LaptopEnd) -> Self {
        Self::End(Box::new(end))
    }
}

impl From<Broken> for Failure {
    fn from(_: Broken) -> Self {
        Self::Again(Obstacle::Bluetooth)
    }
}

type Out<'a> = &'a mut Vec<LaptopEffect>;

impl LaptopSession {
    /// Begins to seek. `fast_aes`: this machine has AES instructions. `seek_max`: give up when no hub was heard for this
    /// long (`None`: never). `rng`: for nonces and ephemeral keys.
    pub fn new(
        now: Time,
        identity: Arc<Identity>,
        goal: Goal,
        fast_aes: bool,
        seek_max: Option<Duration>,
        rng: Box<dyn CryptoRngCore + Send>,
        out: &mut Vec<LaptopEffect>,
    ) -> Self {
        let mut session = Self {
            identity,
            goal,
            fast_aes,
            rng,
            seek_until: seek_max.map(|seek_max| now + seek_max),
            phase: Phase::Seeking,
            ble: None,
            attempts: 0,
            refusals: 0,
            obstacle: Obstacle::NotHeard,
            radio: Held::default(),
        };
        session.phase = session.seek(out);
        session
    }

    /// Bytes of frames that may be sent now; 0 while the link is not up.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        match &self.phase {
            Phase::Up { link } => link.room(),
            _ => 0,
        }
    }

    /// When a [`LaptopInput::Tick`] is due, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let phase = match &self.phase {
            Phase::Seeking => self.seek_until,
            Phase::Pairing { ceremony } => ceremony.next_at(),
            Phase::Connecting { until, .. }
            | Phase::Paired { until, .. }
            | Phase::Proving { until, .. }
            | Phase::Asking { until, .. }
            | Phase::Joining { until, .. }
            | Phase::Dialing { until, .. }
            | Phase::Securing { until, .. }
            | Phase::Leaving { until }
            | Phase::Resting { until } => Some(*until),
            Phase::Up { .. } | Phase::Over => None,
        };
        let ble = self.ble.as_ref();
        let alive = ble
            .filter(|ble| ble.is_secured())
            .map(|ble| ble.liveness().0.min(ble.liveness().1));
        phase
            .into_iter()
            .chain(ble.and_then(Ble::next_at))
            .chain(alive)
            .min()
    }

    /// Takes one input; appends what is to be done.
    pub fn handle(&mut self, now: Time, input: LaptopInput, out: &mut Vec<LaptopEffect>) {
        let phase = mem::replace(&mut self.phase, Phase::Over);
        let next = match (phase, input) {
            (Phase::Over, _) => return,
            (phase, LaptopInput::Leave) => Ok(self.leave(now, phase, out)),
            (phase, LaptopInput::Radio(event)) => self.event(now, phase, event, out),
            (phase, LaptopInput::Tick) => self.tick(now, phase, out),
            (phase, LaptopInput::Stored(is_stored)) => self.stored(now, phase, is_stored, out),
            (Phase::Up { mut link }, LaptopInput::Frame(frame)) => match link.send(&frame) {
                Ok(command) => {
                    out.push(LaptopEffect::Radio(command));
                    Ok(Phase::Up { link })
                }
                Err(_) => Err(Failure::end(LaptopEnd::Cut)),
            },
            // The link went while the frame was on its way here.
            (phase, LaptopInput::Frame(_)) => Ok(phase),
        };
        self.phase = match next {
            Ok(phase) => phase,
            Err(Failure::End(end)) => self.over(*end, out),
            Err(Failure::Again(obstacle)) => self.rest(now, obstacle, out),
        };
        self.transmit(now, out);
    }

    fn transmit(&mut self, now: Time, out: Out<'_>) {
        self.part_if_drained(out);
        let Some(ble) = &mut self.ble else { return };
        if ble
            .transmit(now, |command| out.push(LaptopEffect::Radio(command)))
            .is_err()
        {
            self.drop_ble(out);
            if !matches!(self.phase, Phase::Up { .. } | Phase::Leaving { .. } | Phase::Over) {
                self.phase = self.rest(now, Obstacle::Bluetooth, out);
            }
        }
    }

    /// The last words have arrived: there is nothing more to wait for.
    fn part_if_drained(&mut self, out: Out<'_>) {
        if !self.ble.as_ref().is_none_or(Ble::is_drained) {
            return;
        }
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Paired { hub, .. } => self.phase = self.over(LaptopEnd::Paired(hub), out),
            Phase::Leaving { .. } => self.phase = self.over(LaptopEnd::Left, out),
            phase => self.phase = phase,
        }
    }

    fn seek(&mut self, out: Out<'_>) -> Phase {
        self.radio.scanning = true;
        out.push(LaptopEffect::Radio(Command::Scan));
        Phase::Seeking
    }

    fn event(&mut self, now: Time, phase: Phase, event: Event, out: Out<'_>) -> Result<Phase, Failure> {
        match (phase, event) {
            (Phase::Seeking, Event::Sighted { peer, beacon, .. }) => {
                Ok(self.sighted(now, peer, &beacon, out))
            }
            (Phase::Connecting { hub, .. }, Event::Connected { conn, mtu_bytes }) => {
                self.connected(now, hub, conn, mtu_bytes, out)
            }
            (Phase::Connecting { peer, .. }, Event::ConnectFailed { peer: failed }) if peer == failed => {
                Err(Failure::Again(Obstacle::Bluetooth))
            }
            (phase, Event::Received { conn, frame }) if self.is_ours(conn) => {
                self.received(now, phase, frame, out)
            }
            (phase, Event::Disconnected { conn }) if self.is_ours(conn) => {
                self.ble = None;
                self.disconnected(now, phase, out)
            }
            (Phase::Joining { hub, offer, .. }, Event::Joined) => {
                out.push(LaptopEffect::Radio(Command::Dial));
                Ok(Phase::Dialing {
                    hub,
                    offer,
                    until: now + DIAL_MAX,
                })
            }
            (Phase::Joining { .. }, Event::JoinFailed | Event::Left) => Err(Failure::Again(Obstacle::Join)),
            (Phase::Dialing { hub, offer, until }, Event::StreamOpened { stream }) => {
                self.opened(hub, &offer, stream, until, out)
            }
            (Phase::Dialing { .. }, Event::StreamFailed | Event::Left) => {
                Err(Failure::Again(Obstacle::Stream))
            }
            (
                Phase::Securing {
                    hub,
                    stream,
                    handshake,
                    mut arrived,
                    until,
                },
                Event::Read { stream: from, piece },
            ) if from == stream => {
                arrived.extend_from_slice(&piece);
                Self::secured(hub, stream, handshake, arrived, until, out)
            }
            (Phase::Securing { stream, .. }, Event::StreamClosed { stream: closed }) if closed == stream => {
                self.radio.stream = None;
                Err(Failure::Again(Obstacle::Stream))
            }
            (Phase::Up { mut link }, Event::Read { stream, piece }) if stream == link.stream => {
                match link.arrived(&piece, |frame| out.push(LaptopEffect::Frame(frame))) {
                    Ok(()) => Ok(Phase::Up { link }),
                    Err(_) => Err(Failure::end(LaptopEnd::Cut)),
                }
            }
            (Phase::Up { mut link }, Event::Drained { stream, bytes }) if stream == link.stream => {
                link.drained(bytes);
                out.push(LaptopEffect::Room);
                Ok(Phase::Up { link })
            }
            (Phase::Up { link }, Event::StreamClosed { stream }) if stream == link.stream => {
                self.radio.stream = None;
                Err(Failure::end(LaptopEnd::Cut))
            }
            (Phase::Up { .. }, Event::Left) => {
                self.radio.network = false;
                Err(Failure::end(LaptopEnd::Cut))
            }
            (Phase::Up { .. }, Event::AdapterGone) => Err(Failure::end(LaptopEnd::Cut)),
            (phase @ (Phase::Resting { .. } | Phase::Leaving { .. }), Event::AdapterGone) => Ok(phase),
            (_, Event::AdapterGone) => Err(Failure::Again(Obstacle::Adapter)),
            // Late answers to what was given up, and what other devices do.
            (phase, _) => Ok(phase),
        }
    }

    fn is_ours(&self, conn: ConnId) -> bool {
        self.ble.as_ref().is_some_and(|ble| ble.conn == conn)
    }

    fn sighted(&mut self, now: Time, peer: Address, beacon: &[u8], out: Out<'_>) -> Phase {
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

    fn connected(
        &mut self,
        now: Time,
        hub: Option<Peer>,
        conn: ConnId,
        mtu_bytes: usize,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        let ble = self.ble.insert(Ble::new(now, conn, mtu_bytes)?);
        match (&self.goal, hub) {
            (Goal::Pair { code, name }, _) => {
                let mut effects = Vec::new();
                let identity = Arc::clone(&self.identity);
                let ceremony =
                    LaptopPairing::begin(identity, name.clone(), code, now, &mut *self.rng, &mut effects);
                self.pairing(now, Box::new(ceremony), effects, out)
            }
            (Goal::Visit { .. }, Some(hub)) => {
                let (handshake, hello) = LaptopHandshake::begin(&self.identity, &hub);
                ble.send(hello)?;
                Ok(Phase::Proving {
                    handshake: Box::new(handshake),
                    hub,
                    until: now + pairing::HANDSHAKE_MAX,
                })
            }
            (Goal::Visit { .. }, None) => Err(Failure::Again(Obstacle::NotHeard)),
        }
    }

    fn received(
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

    fn message(&mut self, now: Time, phase: Phase, message: &Bytes, out: Out<'_>) -> Result<Phase, Failure> {
        match phase {
            Phase::Pairing { mut ceremony } => {
                let mut effects = Vec::new();
                let input = pairing::Input::Message(message.clone());
                ceremony.handle(now, input, &mut *self.rng, &mut effects);
                self.pairing(now, ceremony, effects, out)
            }
            Phase::Proving {
                mut handshake,
                hub,
                until,
            } => {
                let ble = self.ble.as_mut().ok_or(Broken)?;
                match handshake.handle(message, &mut *self.rng) {
                    Ok(LaptopStep::Send(answer)) => {
                        ble.send(answer)?;
                        Ok(Phase::Proving {
                            handshake,
                            hub,
                            until,
                        })
                    }
                    Ok(LaptopStep::Done(channel)) => {
                        ble.secure(channel);
                        ble.say(
                            now,
                            &FromLaptop::OpenLink {
                                fast_aes: self.fast_aes,
                            },
                        )?;
                        Ok(Phase::Asking {
                            hub,
                            until: now + OFFER_MAX,
                        })
                    }
                    Err(error) => Err(Failure::end(LaptopEnd::Handshake(error))),
                }
            }
            phase @ (Phase::Asking { .. }
            | Phase::Joining { .. }
            | Phase::Dialing { .. }
            | Phase::Securing { .. }
            | Phase::Up { .. }
            | Phase::Leaving { .. }) => self.told(now, phase, message, out),
            phase @ (Phase::Seeking
            | Phase::Connecting { .. }
            | Phase::Paired { .. }
            | Phase::Resting { .. }
            | Phase::Over) => Ok(phase),
        }
    }

    /// A sealed message of the hub.
    fn told(&mut self, now: Time, phase: Phase, message: &[u8], out: Out<'_>) -> Result<Phase, Failure> {
        let opened = self.ble.as_mut().ok_or(Broken).and_then(|ble| ble.open(message));
        let Some(told) = opened.ok().and_then(|plain| control::decode::<FromHub>(&plain)) else {
            return self.without_ble(phase, out);
        };
        match (phase, told) {
            (Phase::Asking { hub, .. }, FromHub::Offer(offer)) => {
                self.radio.network = true;
                let credentials = offer.credentials.clone();
                out.push(LaptopEffect::Radio(Command::Join { credentials }));
                Ok(Phase::Joining {
                    hub,
                    offer: Box::new(offer),
                    until: now + JOIN_MAX,
                })
            }
            (Phase::Asking { .. }, FromHub::NoLink) => Err(Failure::Again(Obstacle::NoGroup)),
            (Phase::Asking { hub, until }, FromHub::BeaconKey(Secret(key))) => {
                out.push(LaptopEffect::BeaconKey {
                    hub: hub.device,
                    key: BeaconKey::from_bytes(key),
                });
                Ok(Phase::Asking { hub, until })
            }
            (phase, FromHub::KeepAlive | FromHub::NoLink | FromHub::Offer(_) | FromHub::BeaconKey(_)) => {
                Ok(phase)
            }
        }
    }

    /// BLE is gone: once the link is up it can do without.
    fn without_ble(&mut self, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        self.drop_ble(out);
        match phase {
            phase @ (Phase::Up { .. } | Phase::Securing { .. } | Phase::Resting { .. }) => Ok(phase),
            Phase::Leaving { .. } => Err(Failure::end(LaptopEnd::Left)),
            _ => Err(Failure::Again(Obstacle::Bluetooth)),
        }
    }

    fn disconnected(&mut self, now: Time, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        match phase {
            Phase::Pairing { mut ceremony } => {
                let mut effects = Vec::new();
                ceremony.handle(now, pairing::Input::Closed, &mut *self.rng, &mut effects);
                self.pairing(now, ceremony, effects, out)
            }
            Phase::Paired { hub, .. } => Err(Failure::end(LaptopEnd::Paired(hub))),
            Phase::Proving { handshake, .. } => match handshake.closed() {
                // Radio may break off at this very moment too: believe it the second time.
                error @ HandshakeError::Refused if self.refusals > 0 => {
                    Err(Failure::end(LaptopEnd::Handshake(error)))
                }
                error => {
                    self.refusals += u32::from(matches!(error, HandshakeError::Refused));
                    Err(Failure::Again(Obstacle::Bluetooth))
                }
            },
            phase => self.without_ble(phase, out),
        }
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
                pairing::Effect::Send(message) => {
                    if let Some(ble) = &mut self.ble {
                        ble.send(message)?;
                    }
                }
                pairing::Effect::Store(hub) => out.push(LaptopEffect::Store(hub)),
                pairing::Effect::Paired(hub) => {
                    next = Phase::Paired {
                        hub,
                        until: now + LEAVE_MAX,
                    }
                }
                pairing::Effect::Failed(error) => return Err(Failure::end(LaptopEnd::Pairing(error))),
            }
        }
        Ok(next)
    }

    fn stored(&mut self, now: Time, phase: Phase, is_stored: bool, out: Out<'_>) -> Result<Phase, Failure> {
        match phase {
            Phase::Pairing { mut ceremony } => {
                let mut effects = Vec::new();
                let input = if is_stored {
                    pairing::Input::Stored
                } else {
                    pairing::Input::NotStored
                };
                ceremony.handle(now, input, &mut *self.rng, &mut effects);
                self.pairing(now, ceremony, effects, out)
            }
            phase => Ok(phase),
        }
    }

    fn opened(
        &mut self,
        hub: Peer,
        offer: &Offer,
        stream: StreamId,
        until: Time,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        self.radio.stream = Some(stream);
        let session = self.ble.as_ref().and_then(Ble::handshake_hash).ok_or(Broken)?;
        let token = LinkToken::from_bytes(offer.token.0);
        match pairing::LaptopLink::begin(token, &session, offer.cipher, &mut *self.rng) {
            Ok((handshake, first)) => {
                out.push(LaptopEffect::Radio(Command::Write {
                    stream,
                    piece: link::framed(&first),
                }));
                Ok(Phase::Securing {
                    hub,
                    stream,
                    handshake: Box::new(handshake),
                    arrived: BytesMut::new(),
                    until,
                })
            }
            Err(error) => Err(Failure::end(LaptopEnd::Handshake(error))),
        }
    }

    fn secured(
        hub: Peer,
        stream: StreamId,
        handshake: Box<pairing::LaptopLink>,
        mut arrived: BytesMut,
        until: Time,
        out: Out<'_>,
    ) -> Result<Phase, Failure> {
        match link::first_message(&mut arrived) {
            Ok(None) => Ok(Phase::Securing {
                hub,
                stream,
                handshake,
                arrived,
                until,
            }),
            Ok(Some(answer)) => match handshake.finish(&answer) {
                Ok(channel) => {
                    let mut link = Box::new(Link::new(stream, channel, arrived));
                    out.push(LaptopEffect::Up { hub });
                    match link.arrived(&[], |frame| out.push(LaptopEffect::Frame(frame))) {
                        Ok(()) => Ok(Phase::Up { link }),
                        Err(_) => Err(Failure::end(LaptopEnd::Cut)),
                    }
                }
                // Somebody else in the group answered; the hub may be reached at the next attempt.
                Err(_) => Err(Failure::Again(Obstacle::Stream)),
            },
            Err(_) => Err(Failure::Again(Obstacle::Stream)),
        }
    }

    fn tick(&mut self, now: Time, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        let phase = self.keep_alive(now, phase, out)?;
        match phase {
            Phase::Seeking if self.seek_until.is_some_and(|until| now >= until) => {
                Err(Failure::end(LaptopEnd::NoLink(self.obstacle)))
            }
            Phase::Pairing { mut ceremony } => {
                let mut effects = Vec::new();
                ceremony.handle(now, pairing::Input::Tick, &mut *self.rng, &mut effects);
                self.pairing(now, ceremony, effects, out)
            }
            Phase::Paired { hub, until } if now >= until => Err(Failure::end(LaptopEnd::Paired(hub))),
            Phase::Leaving { until } if now >= until => Err(Failure::end(LaptopEnd::Left)),
            Phase::Connecting { until, .. } | Phase::Proving { until, .. } if now >= until => {
                Err(Failure::Again(Obstacle::Bluetooth))
            }
            Phase::Asking { until, .. } if now >= until => Err(Failure::Again(Obstacle::NoGroup)),
            Phase::Joining { until, .. } if now >= until => Err(Failure::Again(Obstacle::Join)),
            Phase::Dialing { until, .. } | Phase::Securing { until, .. } if now >= until => {
                Err(Failure::Again(Obstacle::Stream))
            }
            Phase::Resting { until } if now >= until => Ok(self.seek(out)),
            phase => Ok(phase),
        }
    }

    fn keep_alive(&mut self, now: Time, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        let Some(ble) = self.ble.as_mut().filter(|ble| ble.is_secured()) else {
            return Ok(phase);
        };
        let (say_at, gone_at) = ble.liveness();
        if now >= gone_at || (now >= say_at && ble.say(now, &FromLaptop::KeepAlive).is_err()) {
            return self.without_ble(phase, out);
        }
        Ok(phase)
    }

    fn leave(&mut self, now: Time, phase: Phase, out: Out<'_>) -> Phase {
        if matches!(phase, Phase::Leaving { .. }) {
            return phase;
        }
        let secured = self.ble.as_mut().filter(|ble| ble.is_secured());
        if secured.is_some_and(|ble| ble.say(now, &FromLaptop::Leaving).is_ok()) {
            self.close_stream(out);
            return Phase::Leaving {
                until: now + LEAVE_MAX,
            };
        }
        self.over(LaptopEnd::Left, out)
    }

    fn rest(&mut self, now: Time, obstacle: Obstacle, out: Out<'_>) -> Phase {
        self.obstacle = obstacle;
        self.attempts += 1;
        if self.attempts >= ATTEMPTS_MAX || self.seek_until.is_some_and(|until| now >= until) {
            return self.over(LaptopEnd::NoLink(obstacle), out);
        }
        self.release(out);
        Phase::Resting {
            until: now + RETRY_AFTER * self.attempts,
        }
    }

    fn over(&mut self, end: LaptopEnd, out: Out<'_>) -> Phase {
        self.release(out);
        out.push(LaptopEffect::Over(end));
        Phase::Over
    }

    /// Gives back everything that the radio was asked for.
    fn release(&mut self, out: Out<'_>) {
        self.close_stream(out);
        self.drop_ble(out);
        let held = mem::take(&mut self.radio);
        if held.scanning {
            out.push(LaptopEffect::Radio(Command::StopScanning));
        }
        if held.network {
            out.push(LaptopEffect::Radio(Command::Leave));
        }
    }

    fn close_stream(&mut self, out: Out<'_>) {
        if let Some(stream) = self.radio.stream.take() {
            out.push(LaptopEffect::Radio(Command::CloseStream { stream }));
        }
    }

    fn drop_ble(&mut self, out: Out<'_>) {
        if let Some(ble) = self.ble.take() {
            out.push(LaptopEffect::Radio(Command::Disconnect { conn: ble.conn }));
        }
    }
}
