//! The hub's side: advertise, admit, open a group, and carry frames of several laptops.
//!
//! Place: see the crate. Invariant: nobody unproven holds more than one of [`UNPROVEN_MAX`] connections or streams, for
//! [`berth_pairing::HANDSHAKE_MAX`] at the most; a revoked laptop's connections end with the revocation.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_pairing::{
    self as pairing, Beacons, CipherKind, Closed, DeviceId, HANDSHAKE_MAX, HandshakeError, HubHandshake,
    HubLink, HubPairing, Identity, LinkToken, Name, Opening, PairingCode, PairingError, Peer, TrustError,
    TrustList, Window,
};
use berth_radio::{Command, ConnId, Event, GroupCredentials, StreamId, Time};
use bytes::{Bytes, BytesMut};
use rand_core::CryptoRngCore;

use crate::ble::{Ble, Broken};
use crate::control::{self, FromHub, FromLaptop, Offer, Secret};
use crate::link::{self, Link, UNPROVEN_SIZE_BYTES_MAX};
use crate::{DIAL_MAX, JOIN_MAX, OFFER_MAX};

/// Connections, and streams, that have not proved who they are (DESIGN.md, section 7).
pub const UNPROVEN_MAX: usize = 4;

/// Links at once: more laptops than that wait for their turn.
pub const LINKS_MAX: usize = 16;

/// GATT connections at once: one a link, and the unproven.
const CONNECTIONS_MAX: usize = LINKS_MAX + UNPROVEN_MAX;

/// One link, from its handshake to its end. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What the machine is told.
#[derive(Debug)]
pub enum HubInput {
    /// Something happened in the air.
    Radio(Event),
    /// Time has passed; due at [`HubSession::next_at`].
    Tick,
    /// Send this frame. Ignored if the session has ended.
    Frame {
        /// On which link.
        session: SessionId,
        /// At most [`crate::FRAME_SIZE_BYTES_MAX`] bytes.
        frame: Bytes,
    },
    /// Close this link.
    End {
        /// Which link.
        session: SessionId,
    },
    /// The hub stops: give everything back.
    Stop,
}

/// What the machine asks for, and what it tells.
#[derive(Debug)]
pub enum HubEffect {
    /// For the radio.
    Radio(Command),
    /// A laptop was paired and stored in the trust list.
    Paired(Peer),
    /// A pairing failed; the window may still be open.
    PairingFailed(PairingError),
    /// The pairing window has closed.
    WindowClosed(Closed),
    /// Somebody was not let in. For the log.
    NotAdmitted(HandshakeError),
    /// A link is up.
    Up {
        /// Its number.
        session: SessionId,
        /// Whose it is.
        laptop: Peer,
    },
    /// A frame arrived.
    Frame {
        /// On which link.
        session: SessionId,
        /// The frame.
        frame: Bytes,
    },
    /// There may be more room to send.
    Room {
        /// On which link.
        session: SessionId,
    },
    /// A link is gone.
    Down {
        /// Its number.
        session: SessionId,
        /// The laptop had said that it leaves.
        announced: bool,
    },
    /// The trust list could not be written.
    TrustFailed(TrustError),
}

/// What a hub's sessions start from.
pub struct HubSetup {
    /// The hub's keys.
    pub identity: Arc<Identity>,
    /// What it calls itself.
    pub name: Name,
    /// Whom it trusts.
    pub trust: TrustList,
    /// This machine has AES instructions.
    pub fast_aes: bool,
    /// For nonces, tokens and ephemeral keys.
    pub rng: Box<dyn CryptoRngCore + Send>,
}

/// The machine of all sessions of one hub.
pub struct HubSession {
    identity: Arc<Identity>,
    name: Name,
    trust: TrustList,
    fast_aes: bool,
    rng: Box<dyn CryptoRngCore + Send>,
    window: Window,
    window_was_open: bool,
    beacons: Beacons,
    advertised: Option<Bytes>,
    connections: BTreeMap<ConnId, Connection>,
    streams: BTreeMap<StreamId, Stream>,
    awaited: Vec<Awaited>,
    group: Group,
    next_session: u64,
}

struct Connection {
    ble: Ble,
    phase: Phase,
}

enum Phase {
    Unproven {
        until: Time,
    },
    Pairing {
        ceremony: Box<HubPairing>,
    },
    /// Its last messages leave.
    Closing {
        until: Time,
    },
    Proving {
        handshake: Option<Box<HubHandshake>>,
        until: Time,
    },
    Admitted {
        laptop: Peer,
        leaving: bool,
        wants_link: Option<WantsLink>,
    },
}

#[derive(Clone, Copy)]
struct WantsLink {
    cipher: CipherKind,
    until: Time,
}

/// An offer that nobody has answered yet.
struct Awaited {
    laptop: Peer,
    link: HubLink,
    until: Time,
}

enum Stream {
    Unproven {
        arrived: BytesMut,
        until: Time,
    },
    Up {
        session: SessionId,
        laptop: Peer,
        link: Box<Link>,
    },
}

enum Group {
    Off,
    Starting { until: Time },
    On(GroupCredentials),
}

type Out<'a> = &'a mut Vec<HubEffect>;

impl HubSession {
    /// Makes the hub visible. `wall_ns`: nanoseconds since 1970.
    ///
    /// # Errors
    /// [`TrustError`]: the trust list could not take the hub's beacon key.
    pub fn new(
        now: Time,
        wall_ns: i64,
        setup: HubSetup,
        out: &mut Vec<HubEffect>,
    ) -> Result<Self, TrustError> {
        let HubSetup {
            identity,
            name,
            mut trust,
            fast_aes,
            mut rng,
        } = setup;
        trust.ensure_beacon(wall_ns, &mut *rng)?;
        let mut session = Self {
            identity,
            name,
            trust,
            fast_aes,
            rng,
            window: Window::default(),
            window_was_open: false,
            beacons: Beacons::default(),
            advertised: None,
            connections: BTreeMap::new(),
            streams: BTreeMap::new(),
            awaited: Vec::new(),
            group: Group::Off,
            next_session: 1,
        };
        session.advertise(now, wall_ns, out);
        Ok(session)
    }

    /// Opens the pairing window for two minutes and gives the code to show.
    pub fn open_window(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubEffect>) -> PairingCode {
        let code = self.window.open(now, &mut *self.rng);
        self.window_was_open = true;
        self.advertise(now, wall_ns, out);
        code
    }

    /// Closes the pairing window.
    pub fn close_window(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubEffect>) {
        self.window.close();
        self.watch_window(now, wall_ns, out);
    }

    /// Revokes a laptop, and ends what it has open.
    ///
    /// # Errors
    /// [`TrustError`]: see [`TrustList::revoke`]; its connections are ended all the same.
    pub fn revoke(
        &mut self,
        now: Time,
        wall_ns: i64,
        device: &DeviceId,
        out: &mut Vec<HubEffect>,
    ) -> Result<(), TrustError> {
        let revoked = self.trust.revoke(device, wall_ns, &mut *self.rng);
        self.drop_device(device, out);
        self.advertise(now, wall_ns, out);
        revoked
    }

    /// Who is trusted.
    #[must_use]
    pub const fn trust(&self) -> &TrustList {
        &self.trust
    }

    /// Bytes of frames that may be sent on a link now; 0 if it is gone.
    #[must_use]
    pub fn room_bytes(&self, session: SessionId) -> usize {
        self.streams
            .values()
            .find_map(|stream| match stream {
                Stream::Up {
                    session: other, link, ..
                } if *other == session => Some(link.room()),
                Stream::Up { .. } | Stream::Unproven { .. } => None,
            })
            .unwrap_or(0)
    }

    /// When a [`HubInput::Tick`] is due, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let connections = self.connections.values().flat_map(|connection| {
            let phase = match &connection.phase {
                Phase::Unproven { until } | Phase::Proving { until, .. } | Phase::Closing { until } => {
                    Some(*until)
                }
                Phase::Pairing { ceremony } => ceremony.next_at(),
                Phase::Admitted { wants_link, .. } => {
                    let (say_at, gone_at) = connection.ble.liveness();
                    wants_link
                        .map(|wants| wants.until)
                        .into_iter()
                        .chain([say_at, gone_at])
                        .min()
                }
            };
            phase.into_iter().chain(connection.ble.next_at())
        });
        let streams = self.streams.values().filter_map(|stream| match stream {
            Stream::Unproven { until, .. } => Some(*until),
            Stream::Up { .. } => None,
        });
        let group = match &self.group {
            Group::Starting { until } => Some(*until),
            Group::Off | Group::On(_) => None,
        };
        let awaited = self.awaited.iter().map(|awaited| awaited.until);
        let own = self
            .beacons
            .next_at()
            .into_iter()
            .chain(self.window.next_at())
            .chain(group);
        own.chain(connections).chain(streams).chain(awaited).min()
    }

    /// Takes one input; appends what is to be done.
    pub fn handle(&mut self, now: Time, wall_ns: i64, input: HubInput, out: &mut Vec<HubEffect>) {
        match input {
            HubInput::Radio(event) => self.event(now, wall_ns, event, out),
            HubInput::Tick => self.tick(now, wall_ns, out),
            HubInput::Frame { session, frame } => self.send(session, &frame, out),
            HubInput::End { session } => {
                if let Some(stream) = self.stream_of(session) {
                    self.close_stream(stream, out);
                }
            }
            HubInput::Stop => self.stop(out),
        }
        self.settle(now, wall_ns, out);
    }

    /// What follows from any change: frames leave, the beacon is what it should be, a group nobody needs is closed.
    fn settle(&mut self, now: Time, wall_ns: i64, out: Out<'_>) {
        let mut broken = Vec::new();
        for (conn, connection) in &mut self.connections {
            let is_done = matches!(connection.phase, Phase::Closing { .. }) && connection.ble.is_drained();
            let sent = connection
                .ble
                .transmit(now, |command| out.push(HubEffect::Radio(command)));
            if is_done || sent.is_err() {
                broken.push(*conn);
            }
        }
        broken
            .into_iter()
            .for_each(|conn| self.drop_connection(now, conn, true, out));
        self.watch_window(now, wall_ns, out);
        self.advertise(now, wall_ns, out);
        self.serve_links(now, out);
    }

    fn event(&mut self, now: Time, wall_ns: i64, event: Event, out: Out<'_>) {
        match event {
            Event::Connected { conn, mtu_bytes } => self.connected(now, conn, mtu_bytes, out),
            Event::Received { conn, frame } => {
                if self.received(now, wall_ns, conn, frame, out).is_err() {
                    self.drop_connection(now, conn, true, out);
                }
            }
            Event::Disconnected { conn } => self.drop_connection(now, conn, false, out),
            Event::GroupStarted { credentials } => match self.group {
                Group::Starting { .. } => self.group = Group::On(credentials),
                // Given up in the meantime.
                Group::Off | Group::On(_) => out.push(HubEffect::Radio(Command::StopGroup)),
            },
            Event::GroupFailed => self.no_group(now),
            Event::GroupStopped => {
                if let Group::On(_) = self.group {
                    self.group = Group::Off;
                }
            }
            Event::StreamOpened { stream } => self.opened(now, stream, out),
            Event::Read { stream, piece } => self.read(stream, &piece, out),
            Event::Drained { stream, bytes } => {
                if let Some(Stream::Up { session, link, .. }) = self.streams.get_mut(&stream) {
                    link.drained(bytes);
                    out.push(HubEffect::Room { session: *session });
                }
            }
            Event::StreamClosed { stream } => self.stream_gone(stream, out),
            Event::AdapterGone => self.adapter_gone(out),
            Event::AdapterBack => self.advertised = None,
            // What concerns laptops only.
            Event::Sighted { .. }
            | Event::ConnectFailed { .. }
            | Event::Joined
            | Event::JoinFailed
            | Event::Left
            | Event::StreamFailed => {}
        }
    }

    fn connected(&mut self, now: Time, conn: ConnId, mtu_bytes: usize, out: Out<'_>) {
        let is_unproven = |connection: &&Connection| !matches!(connection.phase, Phase::Admitted { .. });
        let unproven = self.connections.values().filter(is_unproven).count();
        let room = unproven < UNPROVEN_MAX && self.connections.len() < CONNECTIONS_MAX;
        match Ble::new(now, conn, mtu_bytes) {
            Ok(ble) if room => {
                let phase = Phase::Unproven {
                    until: now + HANDSHAKE_MAX,
                };
                self.connections.insert(conn, Connection { ble, phase });
            }
            Ok(_) | Err(Broken) => out.push(HubEffect::Radio(Command::Disconnect { conn })),
        }
    }

    fn received(
        &mut self,
        now: Time,
        wall_ns: i64,
        conn: ConnId,
        frame: Bytes,
        out: Out<'_>,
    ) -> Result<(), Broken> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        for message in connection.ble.receive(now, frame)? {
            self.message(now, wall_ns, conn, &message, out)?;
        }
        Ok(())
    }

    fn message(
        &mut self,
        now: Time,
        wall_ns: i64,
        conn: ConnId,
        message: &Bytes,
        out: Out<'_>,
    ) -> Result<(), Broken> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        match &mut connection.phase {
            Phase::Unproven { until } => match Opening::of(message) {
                Some(Opening::Session) => {
                    let (handshake, answer) = HubHandshake::answer(&self.identity, message, &mut *self.rng)
                        .map_err(|error| not_admitted(error, out))?;
                    connection.ble.send(answer)?;
                    connection.phase = Phase::Proving {
                        handshake: Some(Box::new(handshake)),
                        until: *until,
                    };
                    Ok(())
                }
                Some(Opening::Pairing) => {
                    let beacon = self.trust.beacon_keys(wall_ns).ok_or(Broken)?.current;
                    let identity = Arc::clone(&self.identity);
                    let ceremony = Box::new(HubPairing::new(identity, self.name.clone(), beacon, now));
                    connection.phase = Phase::Pairing { ceremony };
                    self.pairing(now, wall_ns, conn, pairing::Input::Message(message.clone()), out)
                }
                None => Err(Broken),
            },
            Phase::Pairing { .. } => {
                self.pairing(now, wall_ns, conn, pairing::Input::Message(message.clone()), out)
            }
            Phase::Proving { handshake, .. } => {
                let handshake = handshake.take().ok_or(Broken)?;
                let admitted = handshake
                    .finish(message, |noise| self.trust.standing_of(noise))
                    .map_err(|error| not_admitted(error, out))?;
                connection.ble.send(admitted.answer)?;
                connection.ble.secure(admitted.channel);
                if let Some(key) = self.trust.beacon_to_tell(&admitted.laptop.device).cloned() {
                    connection
                        .ble
                        .say(now, &FromHub::BeaconKey(Secret(*key.to_bytes())))?;
                }
                connection.phase = Phase::Admitted {
                    laptop: admitted.laptop,
                    leaving: false,
                    wants_link: None,
                };
                Ok(())
            }
            Phase::Admitted { .. } => self.told(now, wall_ns, conn, message, out),
            Phase::Closing { .. } => Ok(()),
        }
    }

    /// A sealed message of an admitted laptop.
    fn told(
        &mut self,
        now: Time,
        wall_ns: i64,
        conn: ConnId,
        message: &[u8],
        out: Out<'_>,
    ) -> Result<(), Broken> {
        let Some(Connection {
            ble,
            phase:
                Phase::Admitted {
                    laptop,
                    leaving,
                    wants_link,
                },
        }) = self.connections.get_mut(&conn)
        else {
            return Ok(());
        };
        let told: FromLaptop = control::decode(&ble.open(message)?).ok_or(Broken)?;
        // Whatever it says, it has read what was sealed before: it knows the beacon key.
        if let Some(key) = self.trust.beacon_to_tell(&laptop.device).cloned()
            && let Err(error) = self.trust.set_beacon(&laptop.device, &key, wall_ns)
        {
            out.push(HubEffect::TrustFailed(error));
        }
        match told {
            FromLaptop::OpenLink { fast_aes } => {
                let aes = fast_aes && self.fast_aes;
                let cipher = if aes {
                    CipherKind::AesGcm
                } else {
                    CipherKind::ChaChaPoly
                };
                *wants_link = Some(WantsLink {
                    cipher,
                    until: now + OFFER_MAX,
                });
            }
            FromLaptop::Leaving => *leaving = true,
            FromLaptop::KeepAlive => {}
        }
        Ok(())
    }

    fn pairing(
        &mut self,
        now: Time,
        wall_ns: i64,
        conn: ConnId,
        input: pairing::Input,
        out: Out<'_>,
    ) -> Result<(), Broken> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(Connection { ble, phase }) = self.connections.get_mut(&conn) else {
                return Ok(());
            };
            let Phase::Pairing { ceremony } = phase else {
                return Ok(());
            };
            let mut effects = Vec::new();
            ceremony.handle(now, input, &mut self.window, &mut *self.rng, &mut effects);
            for effect in effects {
                match effect {
                    pairing::Effect::Send(message) => ble.send(message)?,
                    pairing::Effect::Store(laptop) => inputs.push(match self.trust.pair(&laptop, wall_ns) {
                        Ok(()) => pairing::Input::Stored,
                        Err(error) => {
                            out.push(HubEffect::TrustFailed(error));
                            pairing::Input::NotStored
                        }
                    }),
                    pairing::Effect::Paired(laptop) => {
                        out.push(HubEffect::Paired(laptop));
                        *phase = Phase::Closing {
                            until: now + crate::LEAVE_MAX,
                        };
                        break;
                    }
                    pairing::Effect::Failed(error) => {
                        out.push(HubEffect::PairingFailed(error));
                        *phase = Phase::Closing {
                            until: now + crate::LEAVE_MAX,
                        };
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Offers the link to those who want one; starts and stops the group.
    fn serve_links(&mut self, now: Time, out: Out<'_>) {
        let links = self.streams.len() + self.awaited.len();
        let wanted = self.connections.values().any(|connection| {
            matches!(
                connection.phase,
                Phase::Admitted {
                    wants_link: Some(_),
                    ..
                }
            )
        });
        match &self.group {
            Group::Off if wanted => {
                self.group = Group::Starting {
                    until: now + OFFER_MAX,
                };
                out.push(HubEffect::Radio(Command::StartGroup));
            }
            Group::On(credentials) if wanted => {
                let credentials = credentials.clone();
                self.offer(now, &credentials, LINKS_MAX.saturating_sub(links));
            }
            // A fresh group for every visit.
            Group::On(_) if links == 0 => {
                self.group = Group::Off;
                out.push(HubEffect::Radio(Command::StopGroup));
            }
            Group::Off | Group::Starting { .. } | Group::On(_) => return,
        }
        for connection in self.connections.values_mut() {
            // A failure shows at the connection's next deadline.
            let _ = connection
                .ble
                .transmit(now, |command| out.push(HubEffect::Radio(command)));
        }
    }

    fn offer(&mut self, now: Time, credentials: &GroupCredentials, links_max: usize) {
        let wanting = self
            .connections
            .values_mut()
            .filter_map(|Connection { ble, phase }| match phase {
                Phase::Admitted {
                    laptop, wants_link, ..
                } => wants_link.map(|wants| (ble, laptop, wants, wants_link)),
                _ => None,
            });
        for (ble, laptop, wants, wants_link) in wanting.take(links_max) {
            *wants_link = None;
            let Some(hash) = ble.handshake_hash() else {
                continue;
            };
            let token = LinkToken::generate(&mut *self.rng);
            let offer = Offer {
                credentials: credentials.clone(),
                token: Secret::from(&token),
                cipher: wants.cipher,
            };
            self.awaited
                .retain(|awaited| awaited.laptop.device != laptop.device);
            if ble.say(now, &FromHub::Offer(offer)).is_ok() {
                self.awaited.push(Awaited {
                    laptop: laptop.clone(),
                    link: HubLink::new(token, &hash, wants.cipher),
                    until: now + JOIN_MAX + DIAL_MAX,
                });
            }
        }
    }

    fn no_group(&mut self, now: Time) {
        self.group = Group::Off;
        for Connection { ble, phase } in self.connections.values_mut() {
            if let Phase::Admitted { wants_link, .. } = phase
                && wants_link.take().is_some()
            {
                // A connection that cannot be told is noticed by its own deadlines.
                let _ = ble.say(now, &FromHub::NoLink);
            }
        }
    }

    fn opened(&mut self, now: Time, stream: StreamId, out: Out<'_>) {
        let unproven = self
            .streams
            .values()
            .filter(|stream| matches!(stream, Stream::Unproven { .. }))
            .count();
        if unproven < UNPROVEN_MAX {
            self.streams.insert(
                stream,
                Stream::Unproven {
                    arrived: BytesMut::new(),
                    until: now + HANDSHAKE_MAX,
                },
            );
        } else {
            out.push(HubEffect::Radio(Command::CloseStream { stream }));
        }
    }

    fn read(&mut self, stream: StreamId, piece: &[u8], out: Out<'_>) {
        let fine = match self.streams.get_mut(&stream) {
            Some(Stream::Up { session, link, .. }) => {
                let session = *session;
                link.arrived(piece, |frame| out.push(HubEffect::Frame { session, frame }))
                    .is_ok()
            }
            Some(Stream::Unproven { arrived, .. }) => {
                arrived.extend_from_slice(piece);
                match link::first_message(arrived) {
                    Ok(None) => arrived.len() <= UNPROVEN_SIZE_BYTES_MAX,
                    Ok(Some(message)) => {
                        let rest = std::mem::take(arrived);
                        self.prove(stream, &message, rest, out)
                    }
                    Err(_) => false,
                }
            }
            None => true,
        };
        if !fine {
            self.close_stream(stream, out);
        }
    }

    /// The first message of a stream: it must answer one of the offers.
    fn prove(&mut self, stream: StreamId, message: &[u8], rest: BytesMut, out: Out<'_>) -> bool {
        let mut proved = None;
        for (place, awaited) in self.awaited.iter_mut().enumerate() {
            if let Ok(done) = awaited.link.answer(message, &mut *self.rng) {
                proved = Some((place, done));
                break;
            }
        }
        let Some((place, (answer, channel))) = proved else {
            out.push(HubEffect::NotAdmitted(HandshakeError::ForeignLink));
            return false;
        };
        let laptop = self.awaited.swap_remove(place).laptop;
        // It is back before we noticed that it was gone.
        let before: Vec<StreamId> = self.streams_of(&laptop.device).collect();
        before
            .into_iter()
            .for_each(|stream| self.close_stream(stream, out));
        let session = SessionId(self.next_session);
        self.next_session += 1;
        out.push(HubEffect::Radio(Command::Write {
            stream,
            piece: link::framed(&answer),
        }));
        out.push(HubEffect::Up {
            session,
            laptop: laptop.clone(),
        });
        let mut link = Box::new(Link::new(stream, channel, rest));
        let fine = link
            .arrived(&[], |frame| out.push(HubEffect::Frame { session, frame }))
            .is_ok();
        self.streams.insert(
            stream,
            Stream::Up {
                session,
                laptop,
                link,
            },
        );
        fine
    }

    fn send(&mut self, session: SessionId, frame: &[u8], out: Out<'_>) {
        let Some(stream) = self.stream_of(session) else {
            return;
        };
        let Some(Stream::Up { link, .. }) = self.streams.get_mut(&stream) else {
            return;
        };
        match link.send(frame) {
            Ok(command) => out.push(HubEffect::Radio(command)),
            Err(_) => self.close_stream(stream, out),
        }
    }

    fn tick(&mut self, now: Time, wall_ns: i64, out: Out<'_>) {
        self.window.tick(now);
        if matches!(self.group, Group::Starting { until } if now >= until) {
            out.push(HubEffect::Radio(Command::StopGroup));
            self.no_group(now);
        }
        self.awaited.retain(|awaited| now < awaited.until);
        let late = |stream: &Stream| matches!(stream, Stream::Unproven { until, .. } if now >= *until);
        let late: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, s)| late(s))
            .map(|(id, _)| *id)
            .collect();
        late.into_iter().for_each(|stream| self.close_stream(stream, out));
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            if self.tick_connection(now, wall_ns, conn, out).is_err() {
                self.drop_connection(now, conn, true, out);
            }
        }
    }

    fn tick_connection(&mut self, now: Time, wall_ns: i64, conn: ConnId, out: Out<'_>) -> Result<(), Broken> {
        let Some(Connection { ble, phase }) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        match phase {
            Phase::Unproven { until } | Phase::Proving { until, .. } if now >= *until => Err(Broken),
            Phase::Closing { until } if now >= *until => Err(Broken),
            Phase::Pairing { .. } => self.pairing(now, wall_ns, conn, pairing::Input::Tick, out),
            Phase::Admitted { wants_link, .. } => {
                let (say_at, gone_at) = ble.liveness();
                if now >= gone_at {
                    return Err(Broken);
                }
                if wants_link.is_some_and(|wants| now >= wants.until) {
                    *wants_link = None;
                    ble.say(now, &FromHub::NoLink)?;
                } else if now >= say_at {
                    ble.say(now, &FromHub::KeepAlive)?;
                }
                Ok(())
            }
            Phase::Unproven { .. } | Phase::Proving { .. } | Phase::Closing { .. } => Ok(()),
        }
    }

    fn watch_window(&mut self, now: Time, wall_ns: i64, out: Out<'_>) {
        if self.window_was_open
            && let Some(why) = self.window.closed(now)
        {
            self.window_was_open = false;
            out.push(HubEffect::WindowClosed(why));
            self.advertise(now, wall_ns, out);
        }
    }

    fn advertise(&mut self, now: Time, wall_ns: i64, out: Out<'_>) {
        let Some(keys) = self.trust.beacon_keys(wall_ns) else {
            return;
        };
        let open = self.window.closed(now).is_none();
        let beacon = Bytes::copy_from_slice(&self.beacons.at(now, &keys, open, &mut *self.rng));
        if self.advertised.as_ref() != Some(&beacon) {
            self.advertised = Some(beacon.clone());
            out.push(HubEffect::Radio(Command::Advertise { beacon }));
        }
    }

    fn drop_connection(&mut self, now: Time, conn: ConnId, tell_radio: bool, out: Out<'_>) {
        let Some(mut connection) = self.connections.remove(&conn) else {
            return;
        };
        if tell_radio {
            out.push(HubEffect::Radio(Command::Disconnect { conn }));
        }
        if let Phase::Pairing { ceremony } = &mut connection.phase {
            let mut effects = Vec::new();
            ceremony.handle(
                now,
                pairing::Input::Closed,
                &mut self.window,
                &mut *self.rng,
                &mut effects,
            );
            for effect in effects {
                if let pairing::Effect::Failed(error) = effect {
                    out.push(HubEffect::PairingFailed(error));
                }
            }
        }
    }

    fn drop_device(&mut self, device: &DeviceId, out: Out<'_>) {
        self.awaited.retain(|awaited| awaited.laptop.device != *device);
        let streams: Vec<StreamId> = self.streams_of(device).collect();
        streams
            .into_iter()
            .for_each(|stream| self.close_stream(stream, out));
        self.connections.retain(|conn, connection| {
            let is_theirs =
                matches!(&connection.phase, Phase::Admitted { laptop, .. } if laptop.device == *device);
            if is_theirs {
                out.push(HubEffect::Radio(Command::Disconnect { conn: *conn }));
            }
            !is_theirs
        });
    }

    fn close_stream(&mut self, stream: StreamId, out: Out<'_>) {
        out.push(HubEffect::Radio(Command::CloseStream { stream }));
        self.stream_gone(stream, out);
    }

    fn stream_gone(&mut self, stream: StreamId, out: Out<'_>) {
        if let Some(Stream::Up { session, laptop, .. }) = self.streams.remove(&stream) {
            let announced = self.connections.values().any(|connection| {
                matches!(&connection.phase, Phase::Admitted { laptop: other, leaving: true, .. } if other.device == laptop.device)
            });
            out.push(HubEffect::Down { session, announced });
        }
    }

    fn adapter_gone(&mut self, out: Out<'_>) {
        self.group = Group::Off;
        self.awaited.clear();
        self.connections.clear();
        self.advertised = None;
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.stream_gone(stream, out);
        }
    }

    fn stop(&mut self, out: Out<'_>) {
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.close_stream(stream, out);
        }
        for conn in std::mem::take(&mut self.connections).into_keys() {
            out.push(HubEffect::Radio(Command::Disconnect { conn }));
        }
        out.push(HubEffect::Radio(Command::StopAdvertising));
        out.push(HubEffect::Radio(Command::StopGroup));
    }

    fn stream_of(&self, session: SessionId) -> Option<StreamId> {
        self.streams.iter().find_map(|(id, stream)| match stream {
            Stream::Up { session: other, .. } if *other == session => Some(*id),
            Stream::Up { .. } | Stream::Unproven { .. } => None,
        })
    }

    fn streams_of(&self, device: &DeviceId) -> impl Iterator<Item = StreamId> {
        self.streams.iter().filter_map(move |(id, stream)| match stream {
            Stream::Up { laptop, .. } if laptop.device == *device => Some(*id),
            Stream::Up { .. } | Stream::Unproven { .. } => None,
        })
    }
}

fn not_admitted(error: HandshakeError, out: Out<'_>) -> Broken {
    out.push(HubEffect::NotAdmitted(error));
    Broken
}
