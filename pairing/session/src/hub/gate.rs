//! The way in, the same for a GATT connection and for a direct stream: a session's handshake, or a pairing.
//!
//! Invariant: what is refused a session gets no word; a pairing's refusals are the ceremony's own.

use std::sync::Arc;

use berth_pairing::{
    self as pairing, BeaconKey, Channel, DeviceId, HubHandshake, HubPairing, Identity, Name, Opening, Peer,
    TrustList, Window,
};
use berth_radio::Time;
use bytes::Bytes;
use rand_core::CryptoRngCore;

use super::{HubEffect, Out};
use crate::ble::Broken;

/// What decides who comes in.
pub(super) struct Gate {
    pub(super) identity: Arc<Identity>,
    pub(super) name: Name,
    pub(super) trust: TrustList,
    pub(super) window: Window,
    pub(super) fast_aes: bool,
    pub(super) rng: Box<dyn CryptoRngCore + Send>,
}

/// Somebody who has not proved who it is.
pub(super) enum Entry {
    /// It has said nothing yet.
    New { until: Time },
    /// It wants a session.
    Proving {
        handshake: Box<HubHandshake>,
        until: Time,
    },
    /// It wants to be paired.
    Pairing { ceremony: Box<HubPairing> },
}

impl Entry {
    /// When [`Gate::tick`] is due.
    pub(super) fn next_at(&self) -> Option<Time> {
        match self {
            Self::New { until } | Self::Proving { until, .. } => Some(*until),
            Self::Pairing { ceremony } => ceremony.next_at(),
        }
    }
}

/// What comes of a message, or of time.
pub(super) enum Entered {
    /// Another message is awaited.
    Awaits(Entry),
    /// It has proved who it is.
    Admitted(Box<Guest>),
    /// The pairing has ended, well or not: close when the last words have left.
    Over,
}

/// A laptop that has come in.
pub(super) struct Guest {
    pub(super) laptop: Peer,
    pub(super) channel: Channel,
    /// The beacon key that the handshake's answer holds.
    pub(super) told: BeaconKey,
}

impl Gate {
    /// Takes a message; appends the answers to `say`. `Err`: close without a word.
    pub(super) fn message(
        &mut self,
        now: Time,
        wall_ns: i64,
        entry: Entry,
        message: &Bytes,
        say: &mut Vec<Bytes>,
        out: Out<'_>,
    ) -> Result<Entered, Broken> {
        let not_admitted = |error, out: Out<'_>| {
            out.push(HubEffect::NotAdmitted(error));
            Broken
        };
        match entry {
            Entry::New { until } => match Opening::of(message).ok_or(Broken)? {
                Opening::Session => {
                    let (handshake, fresh) =
                        HubHandshake::answer(&self.identity, message, self.fast_aes, &mut *self.rng)
                            .map_err(|error| not_admitted(error, out))?;
                    say.push(fresh);
                    let handshake = Box::new(handshake);
                    Ok(Entered::Awaits(Entry::Proving { handshake, until }))
                }
                Opening::Pairing => {
                    let beacon = self.trust.beacon_keys(wall_ns).ok_or(Broken)?.current;
                    let identity = Arc::clone(&self.identity);
                    let ceremony = Box::new(HubPairing::new(identity, self.name.clone(), beacon, now));
                    let input = pairing::Input::Message(message.clone());
                    Ok(self.pairing(now, wall_ns, ceremony, input, say, out))
                }
            },
            Entry::Proving { handshake, .. } => {
                let told = self.trust.beacon_keys(wall_ns).ok_or(Broken)?.current;
                let admitted = handshake
                    .finish(message, &told, |noise| self.trust.standing_of(noise))
                    .map_err(|error| not_admitted(error, out))?;
                say.push(admitted.answer);
                Ok(Entered::Admitted(Box::new(Guest {
                    laptop: admitted.laptop,
                    channel: admitted.channel,
                    told,
                })))
            }
            Entry::Pairing { ceremony } => {
                let input = pairing::Input::Message(message.clone());
                Ok(self.pairing(now, wall_ns, ceremony, input, say, out))
            }
        }
    }

    /// Lets time pass. `Err`: too late, close without a word.
    pub(super) fn tick(
        &mut self,
        now: Time,
        wall_ns: i64,
        entry: Entry,
        say: &mut Vec<Bytes>,
        out: Out<'_>,
    ) -> Result<Entered, Broken> {
        match entry {
            Entry::New { until } | Entry::Proving { until, .. } if now >= until => Err(Broken),
            Entry::Pairing { ceremony } => {
                Ok(self.pairing(now, wall_ns, ceremony, pairing::Input::Tick, say, out))
            }
            entry @ (Entry::New { .. } | Entry::Proving { .. }) => Ok(Entered::Awaits(entry)),
        }
    }

    /// The connection is gone: a guess that was taken is given up.
    pub(super) fn closed(&mut self, now: Time, entry: Entry, out: Out<'_>) {
        if let Entry::Pairing { ceremony } = entry {
            // Nobody hears the answer any more, and nothing is stored without a message.
            self.pairing(now, 0, ceremony, pairing::Input::Closed, &mut Vec::new(), out);
        }
    }

    /// A laptop that has sealed a message or answered an offer has read the handshake's answer: it knows the beacon key
    /// in it.
    pub(super) fn knows(&mut self, laptop: &DeviceId, told: &BeaconKey, wall_ns: i64, out: Out<'_>) {
        if let Err(error) = self.trust.set_beacon(laptop, told, wall_ns) {
            out.push(HubEffect::TrustFailed(error));
        }
    }

    fn pairing(
        &mut self,
        now: Time,
        wall_ns: i64,
        mut ceremony: Box<HubPairing>,
        input: pairing::Input,
        say: &mut Vec<Bytes>,
        out: Out<'_>,
    ) -> Entered {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            let mut effects = Vec::new();
            ceremony.handle(now, next, &mut self.window, &mut *self.rng, &mut effects);
            for effect in effects {
                match effect {
                    pairing::Effect::Send(message) => say.push(message),
                    pairing::Effect::Store(laptop) => {
                        input = Some(match self.trust.pair(&laptop, wall_ns) {
                            Ok(()) => pairing::Input::Stored,
                            Err(error) => {
                                out.push(HubEffect::TrustFailed(error));
                                pairing::Input::NotStored
                            }
                        });
                    }
                    pairing::Effect::Paired(laptop) => {
                        out.push(HubEffect::Paired(laptop));
                        return Entered::Over;
                    }
                    pairing::Effect::Failed(error) => {
                        out.push(HubEffect::PairingFailed(error));
                        return Entered::Over;
                    }
                }
            }
        }
        Entered::Awaits(Entry::Pairing { ceremony })
    }
}
