//! A hub, a laptop and the connection between them, driven as a real driver would.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use berth_radio::Time;
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::super::{Effect, HubPairing, Input, LaptopPairing, PairingError};
use crate::{BeaconKey, Identity, Name, PairingCode, Peer, Role, Window};

/// A hub with its window, on one clock with whoever comes.
pub(super) struct Hub {
    pub(super) now: Time,
    pub(super) rng: ChaCha20Rng,
    pub(super) identity: Arc<Identity>,
    pub(super) window: Window,
    pub(super) code: PairingCode,
}

/// How a ceremony went.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) sent: Vec<Bytes>,
    pub(super) hub_stored: Option<Peer>,
    pub(super) laptop_stored: Option<Peer>,
    pub(super) hub: Option<Result<Peer, PairingError>>,
    pub(super) laptop: Option<Result<Peer, PairingError>>,
}

/// What happens besides on the way.
#[derive(Clone, Copy, Default)]
pub(super) struct Fate {
    /// The connection breaks instead of delivering this message.
    pub(super) cut_at: Option<usize>,
    pub(super) hub_cannot_store: bool,
    pub(super) laptop_cannot_store: bool,
}

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl Hub {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let identity = Arc::new(Identity::generate(&mut rng));
        let (mut window, now) = (Window::default(), Duration::from_secs(1000));
        let code = window.open(now, &mut rng);
        Self {
            now,
            rng,
            identity,
            window,
            code,
        }
    }

    pub(super) fn beacon() -> BeaconKey {
        BeaconKey::from_bytes([9; 32])
    }

    pub(super) fn connection(&self) -> HubPairing {
        HubPairing::new(self.identity.clone(), name("desk"), Self::beacon(), self.now)
    }

    pub(super) fn wrong_code(&self) -> PairingCode {
        let right = self.code.to_text();
        let digit = if right.starts_with('1') { "2" } else { "1" };
        PairingCode::parse(&format!("{digit}{}", &right[1..])).unwrap()
    }

    pub(super) fn hear(&mut self, connection: &mut HubPairing, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        connection.handle(self.now, input, &mut self.window, &mut self.rng, &mut out);
        out
    }

    pub(super) fn meet(&mut self, code: &PairingCode) -> Outcome {
        self.meet_with(code, Fate::default())
    }

    pub(super) fn meet_with(&mut self, code: &PairingCode, fate: Fate) -> Outcome {
        let mut meeting = Meeting::begin(self, code);
        while let Some((from, effect)) = meeting.queue.pop_front() {
            meeting.perform(self, fate, from, effect);
            if meeting.queue.is_empty() && !meeting.is_closed && meeting.has_ended() {
                meeting.close(self);
            }
        }
        meeting.outcome
    }
}

/// One connection between the hub and a laptop, both driven as a real driver would.
pub(super) struct Meeting {
    pub(super) hub: HubPairing,
    pub(super) laptop: LaptopPairing,
    pub(super) queue: VecDeque<(Role, Effect)>,
    pub(super) is_closed: bool,
    pub(super) outcome: Outcome,
}

impl Meeting {
    pub(super) fn begin(hub: &mut Hub, code: &PairingCode) -> Self {
        let identity = Arc::new(Identity::generate(&mut hub.rng));
        let mut out = Vec::new();
        let laptop = LaptopPairing::begin(identity, name("ada"), code, hub.now, &mut hub.rng, &mut out);
        Self {
            hub: hub.connection(),
            laptop,
            queue: out.into_iter().map(|effect| (Role::Laptop, effect)).collect(),
            is_closed: false,
            outcome: Outcome::default(),
        }
    }

    pub(super) fn tell(&mut self, hub: &mut Hub, whom: Role, input: Input) {
        let mut out = Vec::new();
        match whom {
            Role::Hub => out = hub.hear(&mut self.hub, input),
            Role::Laptop => self.laptop.handle(hub.now, input, &mut hub.rng, &mut out),
        }
        self.queue.extend(out.into_iter().map(|effect| (whom, effect)));
    }

    pub(super) fn perform(&mut self, hub: &mut Hub, fate: Fate, from: Role, effect: Effect) {
        let (other, stored, cannot_store, result) = match from {
            Role::Laptop => (
                Role::Hub,
                &mut self.outcome.laptop_stored,
                fate.laptop_cannot_store,
                &mut self.outcome.laptop,
            ),
            Role::Hub => (
                Role::Laptop,
                &mut self.outcome.hub_stored,
                fate.hub_cannot_store,
                &mut self.outcome.hub,
            ),
        };
        match effect {
            Effect::Send(_) if self.is_closed => {}
            Effect::Send(_) if fate.cut_at == Some(self.outcome.sent.len()) => self.close(hub),
            Effect::Send(message) => {
                self.outcome.sent.push(message.clone());
                self.tell(hub, other, Input::Message(message));
            }
            Effect::Store(_) if cannot_store => self.tell(hub, from, Input::NotStored),
            Effect::Store(peer) => {
                *stored = Some(peer);
                self.tell(hub, from, Input::Stored);
            }
            Effect::Paired(peer) => *result = Some(Ok(peer)),
            Effect::Failed(error) => *result = Some(Err(error)),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.outcome.hub.is_some() || self.outcome.laptop.is_some()
    }

    pub(super) fn close(&mut self, hub: &mut Hub) {
        self.is_closed = true;
        self.tell(hub, Role::Hub, Input::Closed);
        self.tell(hub, Role::Laptop, Input::Closed);
    }
}
