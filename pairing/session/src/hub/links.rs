//! The group and the streams in it: offers, who answers them, and the links that come of it.

use berth_pairing::{DeviceId, HANDSHAKE_MAX, HandshakeError, HubLink, LinkToken};
use berth_radio::{Command, GroupCredentials, StreamId, Time};
use bytes::BytesMut;

use super::{
    Awaited, Connection, Group, HubEffect, HubSession, LINKS_MAX, Out, Phase, SessionId, Stream, UNPROVEN_MAX,
};
use crate::control::{FromHub, Offer, Secret};
use crate::link::{self, Link, UNPROVEN_SIZE_BYTES_MAX};
use crate::{DIAL_MAX, JOIN_MAX, OFFER_MAX};

impl HubSession {
    /// Offers the link to those who want one; starts and stops the group.
    pub(super) fn serve_links(&mut self, now: Time, out: Out<'_>) {
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

    pub(super) fn offer(&mut self, now: Time, credentials: &GroupCredentials, links_max: usize) {
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

    pub(super) fn read(&mut self, stream: StreamId, piece: &[u8], out: Out<'_>) {
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
    pub(super) fn prove(&mut self, stream: StreamId, message: &[u8], rest: BytesMut, out: Out<'_>) -> bool {
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

    pub(super) fn send(&mut self, session: SessionId, frame: &[u8], out: Out<'_>) {
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

    pub(super) fn drop_device(&mut self, device: &DeviceId, out: Out<'_>) {
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

    pub(super) fn close_stream(&mut self, stream: StreamId, out: Out<'_>) {
        out.push(HubEffect::Radio(Command::CloseStream { stream }));
        self.stream_gone(stream, out);
    }

    pub(super) fn stream_gone(&mut self, stream: StreamId, out: Out<'_>) {
        if let Some(Stream::Up { session, laptop, .. }) = self.streams.remove(&stream) {
            let announced = self.connections.values().any(|connection| {
                matches!(&connection.phase, Phase::Admitted { laptop: other, leaving: true, .. } if other.device == laptop.device)
            });
            out.push(HubEffect::Down { session, announced });
        }
    }

    pub(super) fn adapter_gone(&mut self, out: Out<'_>) {
        self.group = Group::Off;
        self.awaited.clear();
        self.connections.clear();
        self.advertised = None;
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.stream_gone(stream, out);
        }
    }

    pub(super) fn stream_of(&self, session: SessionId) -> Option<StreamId> {
        self.streams.iter().find_map(|(id, stream)| match stream {
            Stream::Up { session: other, .. } if *other == session => Some(*id),
            Stream::Up { .. } | Stream::Unproven { .. } => None,
        })
    }

    pub(super) fn streams_of(&self, device: &DeviceId) -> impl Iterator<Item = StreamId> {
        self.streams.iter().filter_map(move |(id, stream)| match stream {
            Stream::Up { laptop, .. } if laptop.device == *device => Some(*id),
            Stream::Up { .. } | Stream::Unproven { .. } => None,
        })
    }
}
