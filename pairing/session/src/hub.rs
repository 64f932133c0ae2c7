//! The hub's side: advertise, admit, open a group, and carry frames of several laptops.
//!
//! Place: see the crate. Invariant: nobody unproven holds more than one of [`UNPROVEN_MAX`] connections or streams, for
//! [`berth_pairing::HANDSHAKE_MAX`] at the most; a revoked laptop's connections end with the revocation.

mod connections;
mod links;

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_pairing::{
    Beacons, CipherKind, Closed, DeviceId, HandshakeError, HubHandshake, HubLink, HubPairing, Identity, Name,
    PairingCode, PairingError, Peer, TrustError, TrustList, Window,
};
use berth_radio::{Command, ConnId, Event, GroupCredentials, StreamId, Time};
use bytes::{Bytes, BytesMut};
use rand_core::CryptoRngCore;

use crate::ble::Ble;
use crate::link::Link;

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
}
