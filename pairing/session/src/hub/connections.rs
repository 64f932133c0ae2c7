//! GATT connections: who is there, and what they say before and after they have proved it.

use berth_pairing::HANDSHAKE_MAX;
use berth_radio::{Command, ConnId, Time};
use bytes::Bytes;

use super::gate::{Entered, Entry, Guest};
use super::{CONNECTIONS_MAX, Connection, HubEffect, HubSession, Out, Phase, UNPROVEN_MAX};
use crate::ble::{Ble, Broken};
use crate::control::{self, FromHub, FromLaptop};
use crate::{LEAVE_MAX, OFFER_MAX};

impl HubSession {
    pub(super) fn connected(&mut self, now: Time, conn: ConnId, mtu_bytes: usize, out: Out<'_>) {
        let is_unproven = |connection: &&Connection| !matches!(connection.phase, Phase::Admitted { .. });
        let unproven = self.connections.values().filter(is_unproven).count();
        let room = unproven < UNPROVEN_MAX && self.connections.len() < CONNECTIONS_MAX;
        match Ble::new(now, conn, mtu_bytes) {
            Ok(ble) if room => {
                let until = now + HANDSHAKE_MAX;
                let phase = Phase::Entering(Entry::New { until });
                self.connections.insert(conn, Connection { ble, phase });
            }
            Ok(_) | Err(Broken) => out.push(HubEffect::Radio(Command::Disconnect { conn })),
        }
    }

    pub(super) fn received(
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
        let Some(entry) = connection.take_entry(now) else {
            return self.told(now, wall_ns, conn, message, out);
        };
        let mut say = Vec::new();
        let entered = self.gate.message(now, wall_ns, entry, message, &mut say, out)?;
        connection.entered(now, entered, say)?;
        self.invite(now, conn);
        Ok(())
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
                    told: beacon,
                    leaving,
                    tries_lan,
                    wants_link,
                },
        }) = self.connections.get_mut(&conn)
        else {
            return Ok(());
        };
        let told: FromLaptop = control::decode(&ble.open(message)?).ok_or(Broken)?;
        if let Some(beacon) = beacon.take() {
            self.gate.knows(&laptop.device, &beacon, wall_ns, out);
        }
        match told {
            FromLaptop::Leaving => *leaving = true,
            FromLaptop::KeepAlive => {}
            FromLaptop::NoLan => {
                if std::mem::take(tries_lan) {
                    *wants_link = Some(now + OFFER_MAX);
                }
            }
        }
        Ok(())
    }

    pub(super) fn tick_connection(
        &mut self,
        now: Time,
        wall_ns: i64,
        conn: ConnId,
        out: Out<'_>,
    ) -> Result<(), Broken> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        if let Some(entry) = connection.take_entry(now) {
            let mut say = Vec::new();
            let entered = self.gate.tick(now, wall_ns, entry, &mut say, out)?;
            return connection.entered(now, entered, say);
        }
        let Connection { ble, phase } = connection;
        match phase {
            Phase::Closing { until } if now >= *until => Err(Broken),
            Phase::Admitted { wants_link, .. } => {
                let (say_at, gone_at) = ble.liveness();
                if now >= gone_at {
                    return Err(Broken);
                }
                if wants_link.is_some_and(|until| now >= until) {
                    *wants_link = None;
                    ble.say(now, &FromHub::NoLink)?;
                } else if now >= say_at {
                    ble.say(now, &FromHub::KeepAlive)?;
                }
                Ok(())
            }
            Phase::Entering(_) | Phase::Closing { .. } => Ok(()),
        }
    }

    pub(super) fn drop_connection(&mut self, now: Time, conn: ConnId, tell_radio: bool, out: Out<'_>) {
        let Some(connection) = self.connections.remove(&conn) else {
            return;
        };
        if tell_radio {
            out.push(HubEffect::Radio(Command::Disconnect { conn }));
        }
        if let Phase::Entering(entry) = connection.phase {
            self.gate.closed(now, entry, out);
        }
    }
}

impl Connection {
    /// Takes out what is not proved yet; [`Connection::entered`] puts back what comes of it.
    fn take_entry(&mut self, now: Time) -> Option<Entry> {
        let closing = Phase::Closing {
            until: now + LEAVE_MAX,
        };
        match std::mem::replace(&mut self.phase, closing) {
            Phase::Entering(entry) => Some(entry),
            phase @ (Phase::Closing { .. } | Phase::Admitted { .. }) => {
                self.phase = phase;
                None
            }
        }
    }

    fn entered(&mut self, now: Time, entered: Entered, say: Vec<Bytes>) -> Result<(), Broken> {
        for message in say {
            self.ble.send(message)?;
        }
        match entered {
            Entered::Awaits(entry) => self.phase = Phase::Entering(entry),
            Entered::Admitted(guest) => {
                let Guest {
                    laptop,
                    channel,
                    told,
                } = *guest;
                self.ble.secure(channel);
                self.phase = Phase::Admitted {
                    laptop,
                    told: Some(told),
                    leaving: false,
                    tries_lan: false,
                    // That is what a laptop comes for: asking for it would take a round trip.
                    wants_link: Some(now + OFFER_MAX),
                };
            }
            // It is closing already.
            Entered::Over => {}
        }
        Ok(())
    }
}
