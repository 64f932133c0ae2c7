//! The hub's side: advertise, admit, open a group, and carry frames of several laptops.
//!
//! Place: see the crate. Invariant: nobody unproven holds more than one of [`UNPROVEN_MAX`] connections or streams, for
//! [`berth_pairing::HANDSHAKE_MAX`] at the most; a revoked laptop's connections end with the revocation.

mod connections;
mod contract;
mod direct;
mod gate;
mod links;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use berth_pairing::{
    BeaconKey, Beacons, DeviceId, HubLink, PairingCode, Peer, TrustError, TrustList, Window,
};
use berth_radio::{Command, ConnId, ENDPOINTS_MAX, Event, GroupCredentials, StreamId, Time};
use bytes::{Bytes, BytesMut};

pub use contract::{HubEffect, HubInput, HubSetup, SessionId};

use crate::ble::Ble;
use crate::link::Link;
use gate::{Entry, Gate};

/// Connections, and streams, that have not proved who they are (DESIGN.md, section 7).
pub const UNPROVEN_MAX: usize = 4;

/// Links at once: more laptops than that wait for their turn.
pub const LINKS_MAX: usize = 16;

/// GATT connections at once: one a link, and the unproven.
const CONNECTIONS_MAX: usize = LINKS_MAX + UNPROVEN_MAX;

/// The machine of all sessions of one hub.
pub struct HubSession {
    gate: Gate,
    window_was_open: bool,
    beacons: Beacons,
    advertised: Option<Bytes>,
    connections: BTreeMap<ConnId, Connection>,
    streams: BTreeMap<StreamId, Stream>,
    /// Streams of the group whose last words are leaving, and until when they may: the group waits for them.
    closing: BTreeMap<StreamId, Time>,
    /// One of a laptop.
    awaited: BTreeMap<DeviceId, Awaited>,
    group: Group,
    lan: Vec<SocketAddr>,
    next_session: u64,
}

struct Connection {
    ble: Ble,
    phase: Phase,
}

enum Phase {
    Entering(Entry),
    /// Its last messages leave.
    Closing {
        until: Time,
    },
    Admitted {
        laptop: Peer,
        /// Told with the handshake's answer; not known yet to have been read.
        told: Option<BeaconKey>,
        leaving: bool,
        /// It was told how to reach the hub over the LAN, and has not said that it can't.
        tries_lan: bool,
        /// Until when; `None` once it has its answer.
        wants_link: Option<Time>,
    },
}

/// An offer that nobody has answered yet.
struct Awaited {
    laptop: Peer,
    /// As in [`Phase::Admitted`].
    told: Option<BeaconKey>,
    link: HubLink,
    medium: Medium,
    until: Time,
}

/// Over what a stream comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    /// The group.
    Group,
    /// A network that was there already.
    Lan,
}

enum Stream {
    Entering {
        entry: Entry,
        /// Less than one message.
        arrived: BytesMut,
    },
    Up(Box<Up>),
}

/// A link that stands.
struct Up {
    session: SessionId,
    laptop: Peer,
    link: Link,
    medium: Medium,
    /// As in [`Phase::Admitted`].
    told: Option<BeaconKey>,
    leaving: bool,
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
            gate: Gate {
                identity,
                name,
                trust,
                window: Window::default(),
                fast_aes,
                rng,
            },
            window_was_open: false,
            beacons: Beacons::default(),
            advertised: None,
            connections: BTreeMap::new(),
            streams: BTreeMap::new(),
            closing: BTreeMap::new(),
            awaited: BTreeMap::new(),
            group: Group::Off,
            lan: Vec::new(),
            next_session: 1,
        };
        session.advertise(now, wall_ns, out);
        Ok(session)
    }

    /// Opens the pairing window for two minutes and gives the code to show.
    pub fn open_window(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubEffect>) -> PairingCode {
        let code = self.gate.window.open(now, &mut *self.gate.rng);
        self.window_was_open = true;
        self.advertise(now, wall_ns, out);
        code
    }

    /// Closes the pairing window.
    pub fn close_window(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubEffect>) {
        self.gate.window.close();
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
        let revoked = self.gate.trust.revoke(device, wall_ns, &mut *self.gate.rng);
        self.drop_device(now, device, out);
        self.advertise(now, wall_ns, out);
        revoked
    }

    /// When the pairing window closes by itself; `None` while it is closed.
    #[must_use]
    pub const fn window_closes_at(&self) -> Option<Time> {
        self.gate.window.next_at()
    }

    /// Guesses that the pairing window has left; 0 while it is closed.
    #[must_use]
    pub const fn guesses_left(&self) -> u8 {
        self.gate.window.guesses_left()
    }

    /// A pairing is under way: its outcome follows as [`HubEffect::Paired`] or [`HubEffect::PairingFailed`].
    #[must_use]
    pub fn is_pairing(&self) -> bool {
        let over_ble = self
            .connections
            .values()
            .any(|connection| matches!(connection.phase, Phase::Entering(Entry::Pairing { .. })));
        let is_pairing = |stream: &Stream| {
            matches!(
                stream,
                Stream::Entering {
                    entry: Entry::Pairing { .. },
                    ..
                }
            )
        };
        over_ble || self.streams.values().any(is_pairing)
    }

    /// Who is trusted.
    #[must_use]
    pub const fn trust(&self) -> &TrustList {
        &self.gate.trust
    }

    /// Bytes of frames that may be sent on a link now; 0 if it is gone.
    #[must_use]
    pub fn room_bytes(&self, session: SessionId) -> usize {
        let mut links = self.streams.values().filter_map(Stream::up);
        links
            .find(|up| up.session == session)
            .map_or(0, |up| up.link.room())
    }

    /// When a [`HubInput::Tick`] is due, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let connections = self.connections.values().flat_map(|connection| {
            let phase = match &connection.phase {
                Phase::Entering(entry) => entry.next_at(),
                Phase::Closing { until } => Some(*until),
                Phase::Admitted { wants_link, .. } => {
                    let (say_at, gone_at) = connection.ble.liveness();
                    [say_at, gone_at].into_iter().chain(*wants_link).min()
                }
            };
            phase.into_iter().chain(connection.ble.next_at())
        });
        let streams = self.streams.values().filter_map(|stream| match stream {
            Stream::Entering { entry, .. } => entry.next_at(),
            Stream::Up(_) => None,
        });
        let group = match &self.group {
            Group::Starting { until } => Some(*until),
            Group::Off | Group::On(_) => None,
        };
        let awaited = self.awaited.values().map(|awaited| awaited.until);
        let own = self
            .beacons
            .next_at()
            .into_iter()
            .chain(self.gate.window.next_at())
            .chain(group);
        let closing = self.closing.values().copied();
        own.chain(connections)
            .chain(streams)
            .chain(closing)
            .chain(awaited)
            .min()
    }

    /// Takes one input; appends what is to be done.
    pub fn handle(&mut self, now: Time, wall_ns: i64, input: HubInput, out: &mut Vec<HubEffect>) {
        match input {
            HubInput::Radio(event) => self.event(now, wall_ns, event, out),
            HubInput::Lan(mut endpoints) => {
                endpoints.truncate(ENDPOINTS_MAX);
                self.lan = endpoints;
            }
            HubInput::Tick => self.tick(now, wall_ns, out),
            HubInput::Frame { session, frame } => self.send(now, session, &frame, out),
            HubInput::Hold { session } => {
                let hold = self.stream_of(session).map(|stream| Command::Hold { stream });
                out.extend(hold.map(HubEffect::Radio));
            }
            HubInput::Resume { session } => {
                let resume = self.stream_of(session).map(|stream| Command::Resume { stream });
                out.extend(resume.map(HubEffect::Radio));
            }
            HubInput::End { session } => {
                if let Some(stream) = self.stream_of(session) {
                    self.close_stream(now, stream, out);
                }
            }
            HubInput::Stop => self.stop(now, out),
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
            Event::Read { stream, piece } => self.read(now, wall_ns, stream, &piece, out),
            Event::Drained { stream, bytes } => {
                if let Some(Stream::Up(up)) = self.streams.get_mut(&stream) {
                    up.link.drained(bytes);
                    out.push(HubEffect::Room { session: up.session });
                }
            }
            Event::StreamClosed { stream } => {
                self.closing.remove(&stream);
                self.stream_gone(now, stream, out);
            }
            Event::AdapterGone => self.adapter_gone(now, out),
            Event::AdapterBack => self.advertised = None,
            // What concerns laptops only.
            Event::Sighted { .. }
            | Event::ConnectFailed { .. }
            | Event::Joined(_)
            | Event::JoinFailed
            | Event::Left
            | Event::StreamFailed => {}
        }
    }

    fn tick(&mut self, now: Time, wall_ns: i64, out: Out<'_>) {
        self.gate.window.tick(now);
        if matches!(self.group, Group::Starting { until } if now >= until) {
            out.push(HubEffect::Radio(Command::StopGroup));
            self.no_group(now);
        }
        self.awaited.retain(|_, awaited| now < awaited.until);
        self.closing.retain(|_, until| now < *until);
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.tick_stream(now, wall_ns, stream, out);
        }
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            if self.tick_connection(now, wall_ns, conn, out).is_err() {
                self.drop_connection(now, conn, true, out);
            }
        }
    }

    fn watch_window(&mut self, now: Time, wall_ns: i64, out: Out<'_>) {
        if self.window_was_open
            && let Some(why) = self.gate.window.closed(now)
        {
            self.window_was_open = false;
            out.push(HubEffect::WindowClosed(why));
            self.advertise(now, wall_ns, out);
        }
    }

    fn advertise(&mut self, now: Time, wall_ns: i64, out: Out<'_>) {
        let Some(keys) = self.gate.trust.beacon_keys(wall_ns) else {
            return;
        };
        let open = self.gate.window.closed(now).is_none();
        let beacon = Bytes::copy_from_slice(&self.beacons.at(now, &keys, open, &mut *self.gate.rng));
        if self.advertised.as_ref() != Some(&beacon) {
            self.advertised = Some(beacon.clone());
            out.push(HubEffect::Radio(Command::Advertise { beacon }));
        }
    }

    fn stop(&mut self, now: Time, out: Out<'_>) {
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.close_stream(now, stream, out);
        }
        for conn in std::mem::take(&mut self.connections).into_keys() {
            out.push(HubEffect::Radio(Command::Disconnect { conn }));
        }
        out.push(HubEffect::Radio(Command::StopAdvertising));
        out.push(HubEffect::Radio(Command::StopGroup));
    }
}
