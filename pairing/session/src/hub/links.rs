//! The group and the streams in it: offers, who answers them, and the links that come of it.

use std::time::Duration;

use berth_pairing::{BeaconKey, Channel, DeviceId, HANDSHAKE_MAX, HubLink, LinkToken, Peer};
use berth_radio::{Command, ConnId, GroupCredentials, StreamId, Time};
use bytes::{Bytes, BytesMut};
use rand_core::CryptoRngCore;

use super::gate::{Entry, Gate};
use super::{
    Awaited, Connection, Group, HubEffect, HubSession, LINKS_MAX, Medium, Out, Phase, SessionId, Stream,
    UNPROVEN_MAX, Up,
};
use crate::ble::Broken;
use crate::control::{FromHub, Lan, Offer, Secret};
use crate::link::{self, Link};
use crate::{DIAL_MAX, JOIN_MAX, LAN_MAX, LEAVE_MAX, OFFER_MAX};

/// Whoever has proved who it is on a stream.
pub(super) struct Proved {
    pub(super) laptop: Peer,
    pub(super) channel: Channel,
    /// The beacon key that went with a direct link's handshake.
    pub(super) told: Option<BeaconKey>,
}

impl HubSession {
    /// Offers the link to those who want one; starts and stops the group.
    pub(super) fn serve_links(&mut self, now: Time, out: Out<'_>) {
        let links = self.links();
        let wanted = self.connections.values().any(Connection::wants_link);
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
            Group::On(_) if !self.group_is_used() => {
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

    /// Links there are and may come of what is under way.
    pub(super) fn links(&self) -> usize {
        self.streams.len() + self.awaited.len()
    }

    fn group_is_used(&self) -> bool {
        let is_awaited = |awaited: &Awaited| awaited.medium == Medium::Group;
        self.awaited.values().any(is_awaited)
            || !self.closing.is_empty()
            || !self.streams.values().all(Stream::is_over_lan)
    }

    /// Tells a laptop that was just admitted where the hub can be reached without a group, if anywhere: the group waits
    /// until that has failed.
    pub(super) fn invite(&mut self, now: Time, conn: ConnId) {
        if self.lan.is_empty() || self.links() >= LINKS_MAX {
            return;
        }
        let endpoints = self.lan.clone();
        let say = |token| FromHub::Lan(Lan { endpoints, token });
        if let Some(connection) = self.connections.get_mut(&conn) {
            self.awaited
                .extend(connection.offer(now, Medium::Lan, &mut *self.gate.rng, say));
        }
    }

    fn offer(&mut self, now: Time, credentials: &GroupCredentials, links_max: usize) {
        let wanting = self.connections.values_mut().filter(|it| it.wants_link());
        for connection in wanting.take(links_max) {
            let credentials = credentials.clone();
            let say = |token| FromHub::Offer(Offer { credentials, token });
            self.awaited
                .extend(connection.offer(now, Medium::Group, &mut *self.gate.rng, say));
        }
    }

    pub(super) fn no_group(&mut self, now: Time) {
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

    pub(super) fn opened(&mut self, now: Time, stream: StreamId, out: Out<'_>) {
        let is_unproven = |stream: &&Stream| matches!(stream, Stream::Entering { .. });
        let unproven = self.streams.values().filter(is_unproven).count();
        if unproven < UNPROVEN_MAX {
            let until = now + HANDSHAKE_MAX;
            self.streams.insert(
                stream,
                Stream::Entering {
                    entry: Entry::New { until },
                    arrived: BytesMut::new(),
                },
            );
        } else {
            out.push(HubEffect::Radio(Command::CloseStream { stream }));
        }
    }

    pub(super) fn read(&mut self, now: Time, wall_ns: i64, stream: StreamId, piece: &[u8], out: Out<'_>) {
        let read = match self.streams.get_mut(&stream) {
            Some(Stream::Up(up)) => up.arrived(piece, &mut self.gate, wall_ns, out),
            Some(Stream::Entering { arrived, .. }) => match link::next_message(arrived, piece) {
                Ok(None) => Ok(()),
                Ok(Some(message)) => self.prove(now, wall_ns, stream, &message, out),
                Err(_) => Err(Broken),
            },
            None => Ok(()),
        };
        if read.is_err() {
            self.close_stream(now, stream, out);
        }
    }

    /// A message of somebody unproven: the answer to an offer, or a part of what is under way on this very stream.
    fn prove(
        &mut self,
        now: Time,
        wall_ns: i64,
        stream: StreamId,
        message: &Bytes,
        out: Out<'_>,
    ) -> Result<(), Broken> {
        let is_new = matches!(
            self.streams.get(&stream),
            Some(Stream::Entering {
                entry: Entry::New { .. },
                ..
            })
        );
        if is_new && let Some((awaited, answer, channel)) = self.answer_offer(message) {
            let Awaited {
                laptop, told, medium, ..
            } = awaited;
            if let Some(told) = told {
                self.gate.knows(&laptop.device, &told, wall_ns, out);
            }
            out.push(HubEffect::Radio(Command::Write {
                stream,
                piece: link::framed(&answer),
            }));
            let told = None;
            let proved = Proved {
                laptop,
                channel,
                told,
            };
            self.up(now, stream, medium, proved, out);
            return Ok(());
        }
        self.direct(now, wall_ns, stream, message, out)
    }

    fn answer_offer(&mut self, message: &[u8]) -> Option<(Awaited, Bytes, Channel)> {
        let rng = &mut *self.gate.rng;
        let (device, (answer, channel)) = self
            .awaited
            .iter_mut()
            .find_map(|(device, awaited)| Some((*device, awaited.link.answer(message, rng).ok()?)))?;
        Some((self.awaited.remove(&device)?, answer, channel))
    }

    /// A link stands.
    pub(super) fn up(&mut self, now: Time, stream: StreamId, medium: Medium, proved: Proved, out: Out<'_>) {
        let Proved {
            laptop,
            channel,
            told,
        } = proved;
        // It is back before we noticed that it was gone.
        for before in self.streams_of(&laptop.device) {
            self.close_stream(now, before, out);
        }
        let session = SessionId(self.next_session);
        self.next_session += 1;
        out.push(HubEffect::Up {
            session,
            laptop: laptop.clone(),
        });
        let up = Up {
            session,
            laptop,
            link: Link::new(stream, channel, BytesMut::new()),
            medium,
            told,
            leaving: false,
        };
        self.streams.insert(stream, Stream::Up(Box::new(up)));
    }

    pub(super) fn send(&mut self, now: Time, session: SessionId, frame: &[u8], out: Out<'_>) {
        let Some(stream) = self.stream_of(session) else {
            return;
        };
        let Some(Stream::Up(up)) = self.streams.get_mut(&stream) else {
            return;
        };
        match up.link.send(frame) {
            Ok(command) => out.push(HubEffect::Radio(command)),
            Err(_) => self.close_stream(now, stream, out),
        }
    }

    pub(super) fn drop_device(&mut self, now: Time, device: &DeviceId, out: Out<'_>) {
        self.awaited.remove(device);
        for stream in self.streams_of(device) {
            self.close_stream(now, stream, out);
        }
        self.connections.retain(|conn, connection| {
            let is_theirs =
                matches!(&connection.phase, Phase::Admitted { laptop, .. } if laptop.device == *device);
            if is_theirs {
                out.push(HubEffect::Radio(Command::Disconnect { conn: *conn }));
            }
            !is_theirs
        });
    }

    pub(super) fn close_stream(&mut self, now: Time, stream: StreamId, out: Out<'_>) {
        out.push(HubEffect::Radio(Command::CloseStream { stream }));
        if self
            .streams
            .get(&stream)
            .and_then(Stream::up)
            .is_some_and(|up| up.medium == Medium::Group)
        {
            self.closing.insert(stream, now + LEAVE_MAX);
        }
        self.stream_gone(now, stream, out);
    }

    pub(super) fn stream_gone(&mut self, now: Time, stream: StreamId, out: Out<'_>) {
        match self.streams.remove(&stream) {
            Some(Stream::Up(up)) => {
                let announced = up.leaving
                    || self.connections.values().any(|connection| {
                        matches!(&connection.phase, Phase::Admitted { laptop, leaving: true, .. } if laptop.device == up.laptop.device)
                    });
                let session = up.session;
                out.push(HubEffect::Down { session, announced });
            }
            Some(Stream::Entering { entry, .. }) => self.gate.closed(now, entry, out),
            None => {}
        }
    }

    /// Links over the LAN need no adapter; whatever else there was is gone, or nobody's yet.
    pub(super) fn adapter_gone(&mut self, now: Time, out: Out<'_>) {
        self.group = Group::Off;
        self.awaited.clear();
        self.advertised = None;
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            self.drop_connection(now, conn, false, out);
        }
        let gone = self.streams.iter().filter(|(_, stream)| !stream.is_over_lan());
        for stream in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close_stream(now, stream, out);
        }
        self.closing.clear();
    }

    pub(super) fn stream_of(&self, session: SessionId) -> Option<StreamId> {
        let mut links = self
            .streams
            .iter()
            .filter_map(|(id, stream)| Some((id, stream.up()?)));
        links.find(|(_, up)| up.session == session).map(|(id, _)| *id)
    }

    fn streams_of(&self, device: &DeviceId) -> Vec<StreamId> {
        let links = self
            .streams
            .iter()
            .filter_map(|(id, stream)| Some((id, stream.up()?)));
        links
            .filter(|(_, up)| up.laptop.device == *device)
            .map(|(id, _)| *id)
            .collect()
    }
}

impl Connection {
    fn wants_link(&self) -> bool {
        matches!(&self.phase, Phase::Admitted { wants_link, .. } if wants_link.is_some())
    }

    /// Tells an admitted laptop of a way to a link, and gives it the token for one.
    fn offer(
        &mut self,
        now: Time,
        medium: Medium,
        rng: &mut dyn CryptoRngCore,
        say: impl FnOnce(Secret) -> FromHub,
    ) -> Option<(DeviceId, Awaited)> {
        let Self {
            ble,
            phase:
                Phase::Admitted {
                    laptop,
                    told,
                    tries_lan,
                    wants_link,
                    ..
                },
        } = self
        else {
            return None;
        };
        let session = ble.channel()?;
        let token = LinkToken::generate(rng);
        let message = say(Secret::from(&token));
        let link = HubLink::new(token, session.handshake_hash(), session.cipher());
        (*tries_lan, *wants_link) = (medium == Medium::Lan, None);
        // A connection that can't be told is noticed by its own deadlines.
        ble.say(now, &message).ok()?;
        let awaited = Awaited {
            laptop: laptop.clone(),
            told: told.clone(),
            link,
            medium,
            until: now + medium.answer_max(),
        };
        Some((laptop.device, awaited))
    }
}

impl Medium {
    /// From an offer to its answer.
    fn answer_max(self) -> Duration {
        match self {
            Self::Group => JOIN_MAX + DIAL_MAX,
            Self::Lan => LAN_MAX + LAN_MAX,
        }
    }
}

impl Stream {
    pub(super) fn up(&self) -> Option<&Up> {
        match self {
            Self::Up(up) => Some(up),
            Self::Entering { .. } => None,
        }
    }

    fn is_over_lan(&self) -> bool {
        self.up().is_some_and(|up| up.medium == Medium::Lan)
    }
}

impl Up {
    fn arrived(&mut self, piece: &[u8], gate: &mut Gate, wall_ns: i64, out: Out<'_>) -> Result<(), Broken> {
        let (session, leaving, mut has_spoken) = (self.session, &mut self.leaving, false);
        let arrived = self.link.arrived(piece, |frame| {
            has_spoken = true;
            if frame.is_empty() {
                *leaving = true;
            } else {
                out.push(HubEffect::Frame { session, frame });
            }
        });
        if has_spoken && let Some(told) = self.told.take() {
            gate.knows(&self.laptop.device, &told, wall_ns, out);
        }
        Ok(arrived?)
    }
}
