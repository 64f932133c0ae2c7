//! GATT connections: who is there, and what they say before and after they have proved it.

use std::sync::Arc;

use berth_pairing::{
    self as pairing, CipherKind, HANDSHAKE_MAX, HandshakeError, HubHandshake, HubPairing, Opening,
};
use berth_radio::{Command, ConnId, Time};
use bytes::Bytes;

use super::{CONNECTIONS_MAX, Connection, HubEffect, HubSession, Out, Phase, UNPROVEN_MAX, WantsLink};
use crate::OFFER_MAX;
use crate::ble::{Ble, Broken};
use crate::control::{self, FromHub, FromLaptop, Secret};

impl HubSession {
    pub(super) fn connected(&mut self, now: Time, conn: ConnId, mtu_bytes: usize, out: Out<'_>) {
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

    pub(super) fn message(
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
    pub(super) fn told(
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

    pub(super) fn pairing(
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

    pub(super) fn tick_connection(
        &mut self,
        now: Time,
        wall_ns: i64,
        conn: ConnId,
        out: Out<'_>,
    ) -> Result<(), Broken> {
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

    pub(super) fn drop_connection(&mut self, now: Time, conn: ConnId, tell_radio: bool, out: Out<'_>) {
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
}

fn not_admitted(error: HandshakeError, out: Out<'_>) -> Broken {
    out.push(HubEffect::NotAdmitted(error));
    Broken
}
