//! A hub, a laptop, the simulated air and a plain network between them.

use std::sync::Arc;
use std::time::Duration;

use berth_pairing::{DeviceId, Identity, Name, PairingCode, Peer, TrustList};
use berth_radio::{Command, Time};
use berth_radio_sim::{Air, Faults, PortId, Profile, SimDisk};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRngCore, SeedableRng};

use super::pipes::{Party, Pipes};
use crate::{
    Goal, HubEffect, HubInput, HubSession, HubSetup, LaptopEffect, LaptopEnd, LaptopInput, LaptopSession,
    SessionId,
};

pub(super) const WALL_NS: i64 = 1_700_000_000_000_000_000;

pub(super) fn rng(seed: u64) -> Box<dyn CryptoRngCore + Send> {
    Box::new(ChaCha20Rng::seed_from_u64(seed))
}

/// A hub, a laptop and the air between them.
pub(super) struct Desk {
    pub(super) air: Air,
    pub(super) pipes: Pipes,
    /// What the laptop asked for in the LAN.
    pub(super) reached: Vec<Command>,
    is_direct: bool,
    pub(super) now: Time,
    pub(super) hub_port: PortId,
    pub(super) laptop_port: PortId,
    pub(super) hub: HubSession,
    pub(super) laptop_identity: Arc<Identity>,
    pub(super) laptop: Option<LaptopSession>,
    pub(super) hub_told: Vec<HubEffect>,
    pub(super) laptop_told: Vec<LaptopEffect>,
    pub(super) seed: u64,
    pub(super) fast_aes: FastAes,
}

/// Who says that it is fast at AES.
#[derive(Debug, Clone, Copy)]
pub(super) struct FastAes {
    pub(super) laptop: bool,
    pub(super) hub: bool,
}

impl Desk {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        // Four seeds in a row are all cases.
        let fast_aes = FastAes {
            laptop: seed & 1 == 0,
            hub: seed & 2 == 0,
        };
        let mut air = Air::new(seed, Profile::by_name("wfd-typical").unwrap());
        air.faults(faults);
        let hub_port = air.attach("hub").unwrap();
        let laptop_port = air.attach("laptop").unwrap();
        let disk = Arc::new(SimDisk::new());
        let mut hub_told = Vec::new();
        let setup = HubSetup {
            identity: Arc::new(Identity::generate(&mut *rng(10 * seed + 1))),
            name: Name::reduce("hub"),
            trust: TrustList::open(disk, "trust").unwrap(),
            fast_aes: fast_aes.hub,
            rng: rng(10 * seed + 2),
        };
        let hub = HubSession::new(Duration::ZERO, WALL_NS, setup, &mut hub_told).unwrap();
        let mut desk = Self {
            air,
            pipes: Pipes::default(),
            reached: Vec::new(),
            is_direct: false,
            now: Duration::ZERO,
            hub_port,
            laptop_port,
            hub,
            laptop_identity: Arc::new(Identity::generate(&mut *rng(10 * seed + 3))),
            laptop: None,
            hub_told: Vec::new(),
            laptop_told: Vec::new(),
            seed,
            fast_aes,
        };
        desk.hub_did(hub_told);
        desk
    }

    pub(super) fn begin(&mut self, goal: Goal) {
        self.is_direct = false;
        let mut out = Vec::new();
        let identity = Arc::clone(&self.laptop_identity);
        let seek_max = Some(Duration::from_secs(60));
        let rng = rng(10 * self.seed + 4 + self.now.as_nanos() as u64);
        let fast_aes = self.fast_aes.laptop;
        self.laptop = Some(LaptopSession::new(
            self.now, identity, goal, fast_aes, seek_max, rng, &mut out,
        ));
        self.laptop_did(out);
    }

    pub(super) fn begin_direct(&mut self, goal: Goal) {
        self.is_direct = true;
        let mut out = Vec::new();
        let identity = Arc::clone(&self.laptop_identity);
        let rng = rng(10 * self.seed + 5 + self.now.as_nanos() as u64);
        let fast_aes = self.fast_aes.laptop;
        self.laptop = Some(LaptopSession::direct(
            self.now, identity, goal, fast_aes, rng, &mut out,
        ));
        self.laptop_did(out);
    }

    pub(super) fn hub_did(&mut self, effects: Vec<HubEffect>) {
        for effect in effects {
            match effect {
                HubEffect::Radio(command) => {
                    if let Some(command) = self.pipes.command(Party::Hub, command) {
                        self.air.command(self.now, self.hub_port, command);
                    }
                }
                told => self.hub_told.push(told),
            }
        }
    }

    pub(super) fn laptop_did(&mut self, effects: Vec<LaptopEffect>) {
        for effect in effects {
            match effect {
                LaptopEffect::Radio(Command::Dial) if self.is_direct => {
                    self.pipes.dial(Party::Laptop);
                }
                LaptopEffect::Radio(command @ Command::Reach { .. }) => {
                    self.reached.push(command);
                    self.pipes.dial(Party::Laptop);
                }
                LaptopEffect::Radio(command) => {
                    if let Some(command) = self.pipes.command(Party::Laptop, command) {
                        self.air.command(self.now, self.laptop_port, command);
                    }
                }
                LaptopEffect::Store(_) => self.tell_laptop(LaptopInput::Stored(true)),
                told => self.laptop_told.push(told),
            }
        }
    }

    pub(super) fn tell_laptop(&mut self, input: LaptopInput) {
        let mut out = Vec::new();
        if let Some(laptop) = &mut self.laptop {
            laptop.handle(self.now, input, &mut out);
        }
        self.laptop_did(out);
    }

    pub(super) fn tell_hub(&mut self, input: HubInput) {
        let mut out = Vec::new();
        self.hub.handle(self.now, WALL_NS, input, &mut out);
        self.hub_did(out);
    }

    /// When something is due.
    pub(super) fn next_at(&self) -> Option<Time> {
        let laptop_at = self.laptop.as_ref().and_then(LaptopSession::next_at);
        let machines = laptop_at.into_iter().chain(self.hub.next_at());
        self.air.next_at().into_iter().chain(machines).min()
    }

    /// Lets time pass until `done`, or for two minutes.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + Duration::from_secs(120);
        while !done(self) {
            if let Some((party, event)) = self.pipes.event() {
                match party {
                    Party::Hub => self.tell_hub(HubInput::Radio(event)),
                    Party::Laptop => self.tell_laptop(LaptopInput::Radio(event)),
                    Party::Test => {}
                }
                continue;
            }
            let Some(at) = self.next_at() else {
                return false;
            };
            if at > end {
                return false;
            }
            self.now = self.now.max(at);
            let mut events = Vec::new();
            self.air.advance(self.now, &mut events);
            for (port, event) in events {
                if port == self.hub_port {
                    self.tell_hub(HubInput::Radio(event));
                } else {
                    self.tell_laptop(LaptopInput::Radio(event));
                }
            }
            self.tell_hub(HubInput::Tick);
            self.tell_laptop(LaptopInput::Tick);
        }
        true
    }

    pub(super) fn end(&mut self) -> LaptopEnd {
        assert!(self.run_until(|desk| {
            desk.laptop_told
                .iter()
                .any(|told| matches!(told, LaptopEffect::Over(_)))
        }));
        let told = std::mem::take(&mut self.laptop_told);
        told.into_iter()
            .find_map(|told| match told {
                LaptopEffect::Over(end) => Some(end),
                _ => None,
            })
            .unwrap()
    }

    pub(super) fn open_window(&mut self) -> PairingCode {
        let mut out = Vec::new();
        let code = self.hub.open_window(self.now, WALL_NS, &mut out);
        self.hub_did(out);
        code
    }

    pub(super) fn revoke(&mut self, device: &DeviceId) {
        let mut out = Vec::new();
        self.hub.revoke(self.now, WALL_NS, device, &mut out).unwrap();
        self.hub_did(out);
    }

    pub(super) fn pair(&mut self) -> Peer {
        let code = self.open_window();
        let name = Name::reduce("laptop");
        self.begin(Goal::Pair { code, name });
        match self.end() {
            LaptopEnd::Paired(hub) => hub,
            other => panic!("SEED={}: {other}", self.seed),
        }
    }

    pub(super) fn open_link(&mut self, hub: Peer) -> Option<SessionId> {
        self.hub_told.clear();
        self.laptop_told.clear();
        self.begin(Goal::Visit { hubs: vec![hub] });
        self.link()
    }

    pub(super) fn open_direct_link(&mut self, hubs: Vec<Peer>) -> Option<SessionId> {
        self.hub_told.clear();
        self.laptop_told.clear();
        self.begin_direct(Goal::Visit { hubs });
        self.link()
    }

    /// The link that comes of the laptop's session, if any does.
    fn link(&mut self) -> Option<SessionId> {
        self.run_until(|desk| {
            desk.laptop_told
                .iter()
                .any(|told| matches!(told, LaptopEffect::Up { .. } | LaptopEffect::Over(_)))
        });
        self.hub_told.iter().rev().find_map(|told| match told {
            HubEffect::Up { session, .. } => Some(*session),
            _ => None,
        })
    }

    /// Waits until the hub has said that a link is down; whether it was an announced end.
    pub(super) fn hub_down(&mut self, session: SessionId) -> bool {
        let mut found = None;
        self.run_until(|desk| {
            found = desk.hub_told.iter().find_map(|told| match told {
                HubEffect::Down {
                    session: down,
                    announced,
                } if *down == session => Some(*announced),
                _ => None,
            });
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("SEED={}: the hub did not notice", self.seed))
    }

    /// Lets a frame go each way.
    pub(super) fn exchange(&mut self, session: SessionId) {
        self.tell_laptop(LaptopInput::Frame(Bytes::from(vec![7; 60_000])));
        self.tell_hub(HubInput::Frame {
            session,
            frame: Bytes::from_static(b"hello"),
        });
        let both = |desk: &mut Self| {
            let up = desk
                .laptop_told
                .iter()
                .any(|told| matches!(told, LaptopEffect::Frame(f) if &f[..] == b"hello"));
            let down = desk.hub_told.iter().any(
                |told| matches!(told, HubEffect::Frame { session: on, frame } if *on == session && frame.len() == 60_000),
            );
            up && down
        };
        assert!(self.run_until(both), "SEED={}", self.seed);
    }
}
