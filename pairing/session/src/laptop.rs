//! The laptop's side: seek a hub, prove, join, and carry frames until somebody leaves.
//!
//! Place: see the crate. Invariant: whatever happens, the radio is told to leave what it joined before the session is
//! over, so that the person's own network is back.

mod contract;
mod direct;
mod end;
mod parting;
mod steps;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use berth_pairing::{self as pairing, HandshakeError, Identity, LaptopHandshake, LaptopPairing, Peer};
use berth_radio::{Address, Command, ConnId, Event, StreamId, Time};
use bytes::BytesMut;
use rand_core::CryptoRngCore;

pub use contract::{Goal, LaptopEffect, LaptopInput, LaptopStep};
pub use end::{LaptopEnd, Obstacle};

use crate::DIAL_MAX;
use crate::ble::{Ble, Broken};
use crate::control::{FromLaptop, Offer, Secret};
use crate::link::Link;
use direct::Direct;

/// The machine of one session, from seeking to its end.
pub struct LaptopSession {
    identity: Arc<Identity>,
    goal: Goal,
    fast_aes: bool,
    rng: Box<dyn CryptoRngCore + Send>,
    seek_until: Option<Time>,
    phase: Phase,
    ble: Option<Ble>,
    /// Without BLE, over one stream.
    direct: Option<Direct>,
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
    /// A stream whose last words are leaving.
    closing: Option<StreamId>,
}

enum Phase {
    Seeking,
    /// Direct: a stream is asked for.
    Calling {
        until: Time,
    },
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
    Awaiting {
        hub: Peer,
        until: Time,
    },
    /// A stream over the LAN is asked for.
    Reaching {
        hub: Peer,
        token: Secret,
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
    Securing(Securing),
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

/// A stream whose handshake is under way.
struct Securing {
    hub: Peer,
    stream: StreamId,
    handshake: Box<pairing::LaptopLink>,
    arrived: BytesMut,
    until: Time,
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
    /// Begins to seek. `fast_aes`: AES-256-GCM is faster than ChaCha20-Poly1305 on this machine. `seek_max`: give up when
    /// no hub was heard for this long (`None`: never). `rng`: for nonces and ephemeral keys.
    pub fn new(
        now: Time,
        identity: Arc<Identity>,
        goal: Goal,
        fast_aes: bool,
        seek_max: Option<Duration>,
        rng: Box<dyn CryptoRngCore + Send>,
        out: &mut Vec<LaptopEffect>,
    ) -> Self {
        let mut session = Self::begun(identity, goal, fast_aes, rng);
        session.seek_until = seek_max.map(|seek_max| now + seek_max);
        session.phase = session.seek(out);
        session
    }

    fn begun(
        identity: Arc<Identity>,
        goal: Goal,
        fast_aes: bool,
        rng: Box<dyn CryptoRngCore + Send>,
    ) -> Self {
        Self {
            identity,
            goal,
            fast_aes,
            rng,
            seek_until: None,
            phase: Phase::Seeking,
            ble: None,
            direct: None,
            attempts: 0,
            refusals: 0,
            obstacle: Obstacle::NotHeard,
            radio: Held::default(),
        }
    }

    /// Bytes of frames that may be sent now; 0 while the link is not up.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        match &self.phase {
            Phase::Up { link } => link.room(),
            _ => 0,
        }
    }

    /// How far it has come; `None` while it seeks or rests, and once it leaves.
    #[must_use]
    pub fn step(&self) -> Option<LaptopStep> {
        match &self.phase {
            Phase::Connecting { .. } => Some(LaptopStep::Found),
            Phase::Pairing { .. } | Phase::Paired { .. } | Phase::Proving { .. } => {
                Some(LaptopStep::Connected)
            }
            Phase::Awaiting { .. } | Phase::Reaching { .. } => Some(LaptopStep::Proved),
            Phase::Joining { .. } => Some(LaptopStep::Offered),
            Phase::Dialing { .. } => Some(LaptopStep::Joined),
            Phase::Securing { .. } if self.radio.network => Some(LaptopStep::Joined),
            Phase::Securing { .. } if self.direct.is_none() => Some(LaptopStep::Proved),
            Phase::Up { .. } => Some(LaptopStep::Up),
            Phase::Seeking
            | Phase::Calling { .. }
            | Phase::Securing { .. }
            | Phase::Leaving { .. }
            | Phase::Resting { .. }
            | Phase::Over => None,
        }
    }

    /// When a [`LaptopInput::Tick`] is due, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let phase = match &self.phase {
            Phase::Seeking => self.seek_until,
            Phase::Pairing { ceremony } => ceremony.next_at(),
            Phase::Calling { until }
            | Phase::Connecting { until, .. }
            | Phase::Paired { until, .. }
            | Phase::Proving { until, .. }
            | Phase::Awaiting { until, .. }
            | Phase::Reaching { until, .. }
            | Phase::Joining { until, .. }
            | Phase::Dialing { until, .. }
            | Phase::Securing(Securing { until, .. })
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

    fn seek(&mut self, out: Out<'_>) -> Phase {
        self.radio.scanning = true;
        out.push(LaptopEffect::Radio(Command::Scan));
        Phase::Seeking
    }

    fn event(&mut self, now: Time, phase: Phase, event: Event, out: Out<'_>) -> Result<Phase, Failure> {
        if let Event::StreamClosed { stream } = event {
            self.radio.stream.take_if(|ours| *ours == stream);
            self.radio.closing.take_if(|ours| *ours == stream);
        }
        if self.direct.is_some() {
            return self.direct_event(now, phase, event, out);
        }
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
            (Phase::Reaching { hub, token, until }, Event::StreamOpened { stream }) => {
                self.opened(hub, &token, stream, until, out)
            }
            (Phase::Reaching { hub, .. }, Event::StreamFailed) => self.without_lan(now, hub, out),
            (Phase::Joining { hub, offer, .. }, Event::Joined(_)) => {
                out.push(LaptopEffect::Radio(Command::Dial));
                Ok(Phase::Dialing {
                    hub,
                    offer,
                    until: now + DIAL_MAX,
                })
            }
            (Phase::Joining { .. }, Event::JoinFailed | Event::Left) => Err(Failure::Again(Obstacle::Join)),
            (Phase::Dialing { hub, offer, until }, Event::StreamOpened { stream }) => {
                self.opened(hub, &offer.token, stream, until, out)
            }
            (Phase::Dialing { .. }, Event::StreamFailed | Event::Left) => {
                Err(Failure::Again(Obstacle::Stream))
            }
            (Phase::Securing(mut securing), Event::Read { stream, piece }) if stream == securing.stream => {
                securing.arrived.extend_from_slice(&piece);
                self.secured(now, securing, out)
            }
            (Phase::Securing(securing), Event::StreamClosed { stream }) if stream == securing.stream => {
                self.no_link_there(now, securing.hub, out)
            }
            (Phase::Up { .. }, Event::Left) if self.radio.network => {
                self.radio.network = false;
                Err(Failure::end(LaptopEnd::Cut))
            }
            (Phase::Up { .. }, Event::AdapterGone) if self.radio.network => Err(Failure::end(LaptopEnd::Cut)),
            (phase @ Phase::Up { .. }, Event::AdapterGone) => {
                self.ble = None;
                Ok(phase)
            }
            (Phase::Up { link }, event) => linked(link, event, out),
            (
                phase @ (Phase::Resting { .. } | Phase::Paired { .. } | Phase::Leaving { .. }),
                Event::AdapterGone,
            ) => Ok(phase),
            (_, Event::AdapterGone) => Err(Failure::Again(Obstacle::Adapter)),
            (phase, event) => {
                unwanted(&event, out);
                Ok(phase)
            }
        }
    }

    fn is_ours(&self, conn: ConnId) -> bool {
        self.ble.as_ref().is_some_and(|ble| ble.conn == conn)
    }

    /// BLE is gone: once the link is up it can do without.
    fn without_ble(&mut self, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        self.drop_ble(out);
        match phase {
            phase @ (Phase::Up { .. }
            | Phase::Securing { .. }
            | Phase::Resting { .. }
            | Phase::Paired { .. }
            | Phase::Leaving { .. }) => Ok(phase),
            _ => Err(Failure::Again(Obstacle::Bluetooth)),
        }
    }

    fn disconnected(&mut self, now: Time, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        match phase {
            Phase::Pairing { ceremony } => self.pairing_step(now, ceremony, pairing::Input::Closed, out),
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

    fn tick(&mut self, now: Time, phase: Phase, out: Out<'_>) -> Result<Phase, Failure> {
        let phase = self.keep_alive(now, phase, out)?;
        match phase {
            Phase::Seeking if self.seek_until.is_some_and(|until| now >= until) => {
                Err(Failure::end(LaptopEnd::NoLink(self.obstacle)))
            }
            Phase::Pairing { ceremony } => self.pairing_step(now, ceremony, pairing::Input::Tick, out),
            Phase::Paired { hub, until } if now >= until => Err(Failure::end(LaptopEnd::Paired(hub))),
            Phase::Leaving { until } if now >= until => Err(Failure::end(LaptopEnd::Left)),
            Phase::Calling { until } if now >= until => Err(Failure::Again(Obstacle::Unreachable)),
            Phase::Connecting { until, .. } | Phase::Proving { until, .. } if now >= until => {
                Err(Failure::Again(if self.direct.is_some() {
                    Obstacle::Unanswered
                } else {
                    Obstacle::Bluetooth
                }))
            }
            Phase::Awaiting { until, .. } if now >= until => Err(Failure::Again(Obstacle::NoGroup)),
            Phase::Joining { until, .. } if now >= until => Err(Failure::Again(Obstacle::Join)),
            Phase::Reaching { hub, until, .. } if now >= until => self.without_lan(now, hub, out),
            Phase::Dialing { until, .. } if now >= until => Err(Failure::Again(Obstacle::Stream)),
            Phase::Securing(securing) if now >= securing.until => self.no_link_there(now, securing.hub, out),
            Phase::Resting { until } if now >= until && self.direct.is_some() => Ok(self.call(now, out)),
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
}

/// What happens on a link that stands.
fn linked(mut link: Box<Link>, event: Event, out: Out<'_>) -> Result<Phase, Failure> {
    let fine = match event {
        Event::Read { stream, piece } if stream == link.stream => {
            let frame = |frame| out.push(LaptopEffect::Frame(frame));
            link.arrived(&piece, frame).is_ok()
        }
        Event::Drained { stream, bytes } if stream == link.stream => {
            link.drained(bytes);
            out.push(LaptopEffect::Room);
            true
        }
        Event::StreamClosed { stream } => stream != link.stream,
        event => {
            unwanted(&event, out);
            true
        }
    };
    if fine {
        Ok(Phase::Up { link })
    } else {
        Err(Failure::end(LaptopEnd::Cut))
    }
}

/// Late answers to what was given up, and what other devices do: what nobody wants any more is closed.
fn unwanted(event: &Event, out: Out<'_>) {
    out.extend(match *event {
        Event::StreamOpened { stream } => Some(LaptopEffect::Radio(Command::CloseStream { stream })),
        Event::Connected { conn, .. } => Some(LaptopEffect::Radio(Command::Disconnect { conn })),
        _ => None,
    });
}
