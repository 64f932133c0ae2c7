//! Both machines against the simulated air.

use std::sync::Arc;
use std::time::Duration;

use berth_pairing::{Identity, Name, PairingCode, Peer, TrustList};
use berth_radio::Time;
use berth_radio_sim::{Air, Faults, PortId, Profile, SimDisk};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRngCore, SeedableRng};

use crate::{
    Goal, HubEffect, HubInput, HubSession, HubSetup, LaptopEffect, LaptopEnd, LaptopInput, LaptopSession,
    SessionId,
};

const WALL_NS: i64 = 1_700_000_000_000_000_000;

fn rng(seed: u64) -> Box<dyn CryptoRngCore + Send> {
    Box::new(ChaCha20Rng::seed_from_u64(seed))
}

/// A hub, a laptop and the air between them.
struct Desk {
    air: Air,
    now: Time,
    hub_port: PortId,
    laptop_port: PortId,
    hub: HubSession,
    laptop_identity: Arc<Identity>,
    laptop: Option<LaptopSession>,
    hub_told: Vec<HubEffect>,
    laptop_told: Vec<LaptopEffect>,
    seed: u64,
}

impl Desk {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut air = Air::new(seed, Profile::by_name("wfd-typical").unwrap());
        air.faults(faults);
        let hub_port = air.attach("hub").unwrap();
        let laptop_port = air.attach("laptop").unwrap();
        let disk = Arc::new(SimDisk::new());
        let mut hub_told = Vec::new();
        let setup = HubSetup {
            identity: Arc::new(Identity::generate(&mut *rng(seed + 1))),
            name: Name::reduce("hub"),
            trust: TrustList::open(disk, "trust").unwrap(),
            fast_aes: true,
            rng: rng(seed + 2),
        };
        let hub = HubSession::new(Duration::ZERO, WALL_NS, setup, &mut hub_told).unwrap();
        let mut desk = Self {
            air,
            now: Duration::ZERO,
            hub_port,
            laptop_port,
            hub,
            laptop_identity: Arc::new(Identity::generate(&mut *rng(seed + 3))),
            laptop: None,
            hub_told: Vec::new(),
            laptop_told: Vec::new(),
            seed,
        };
        desk.hub_did(hub_told);
        desk
    }

    fn begin(&mut self, goal: Goal) {
        let mut out = Vec::new();
        let identity = Arc::clone(&self.laptop_identity);
        let seek_max = Some(Duration::from_secs(60));
        let rng = rng(self.seed + 4 + self.now.as_nanos() as u64);
        self.laptop = Some(LaptopSession::new(
            self.now, identity, goal, true, seek_max, rng, &mut out,
        ));
        self.laptop_did(out);
    }

    fn hub_did(&mut self, effects: Vec<HubEffect>) {
        for effect in effects {
            match effect {
                HubEffect::Radio(command) => self.air.command(self.now, self.hub_port, command),
                told => self.hub_told.push(told),
            }
        }
    }

    fn laptop_did(&mut self, effects: Vec<LaptopEffect>) {
        for effect in effects {
            match effect {
                LaptopEffect::Radio(command) => self.air.command(self.now, self.laptop_port, command),
                LaptopEffect::Store(_) => self.tell_laptop(LaptopInput::Stored(true)),
                told => self.laptop_told.push(told),
            }
        }
    }

    fn tell_laptop(&mut self, input: LaptopInput) {
        let mut out = Vec::new();
        if let Some(laptop) = &mut self.laptop {
            laptop.handle(self.now, input, &mut out);
        }
        self.laptop_did(out);
    }

    fn tell_hub(&mut self, input: HubInput) {
        let mut out = Vec::new();
        self.hub.handle(self.now, WALL_NS, input, &mut out);
        self.hub_did(out);
    }

    /// Lets time pass until `done`, or for two minutes.
    fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + Duration::from_secs(120);
        while !done(self) {
            let laptop_at = self.laptop.as_ref().and_then(LaptopSession::next_at);
            let Some(at) = self
                .air
                .next_at()
                .into_iter()
                .chain(laptop_at)
                .chain(self.hub.next_at())
                .min()
            else {
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

    fn end(&mut self) -> LaptopEnd {
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

    fn pair(&mut self) -> Peer {
        let mut out = Vec::new();
        let code = self.hub.open_window(self.now, WALL_NS, &mut out);
        self.hub_did(out);
        let name = Name::reduce("laptop");
        self.begin(Goal::Pair { code, name });
        match self.end() {
            LaptopEnd::Paired(hub) => hub,
            other => panic!("SEED={}: {other}", self.seed),
        }
    }

    fn open_link(&mut self, hub: Peer) -> Option<SessionId> {
        self.hub_told.clear();
        self.begin(Goal::Visit { hubs: vec![hub] });
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
}

#[test]
fn a_paired_laptop_gets_a_link_that_carries_frames_both_ways_under_everyday_faults() {
    for seed in 0..30 {
        let mut desk = Desk::new(seed, Faults::everyday());
        let hub = desk.pair();
        let session = desk
            .open_link(hub)
            .unwrap_or_else(|| panic!("SEED={seed}: no link, {:?}", desk.laptop_told));
        desk.tell_laptop(LaptopInput::Frame(Bytes::from(vec![7; 60_000])));
        desk.tell_hub(HubInput::Frame {
            session,
            frame: Bytes::from_static(b"hello"),
        });
        let both = |desk: &mut Desk| {
            let up = desk
                .laptop_told
                .iter()
                .any(|told| matches!(told, LaptopEffect::Frame(f) if &f[..] == b"hello"));
            let down = desk
                .hub_told
                .iter()
                .any(|told| matches!(told, HubEffect::Frame { frame, .. } if frame.len() == 60_000));
            up && down
        };
        assert!(desk.run_until(both), "SEED={seed}");
        desk.tell_laptop(LaptopInput::Leave);
        assert!(matches!(desk.end(), LaptopEnd::Left), "SEED={seed}");
        let down = |desk: &mut Desk| {
            desk.hub_told
                .iter()
                .any(|told| matches!(told, HubEffect::Down { .. }))
        };
        assert!(desk.run_until(down), "SEED={seed}: the hub did not notice");
    }
}

#[test]
fn a_wrong_code_is_refused_and_says_what_to_do() {
    let mut desk = Desk::new(1, Faults::none());
    let mut out = Vec::new();
    let code = desk.hub.open_window(desk.now, WALL_NS, &mut out);
    desk.hub_did(out);
    let other = if code.to_text().starts_with('1') {
        "22222222"
    } else {
        "11111111"
    };
    let wrong = PairingCode::parse(other).unwrap();
    desk.begin(Goal::Pair {
        code: wrong,
        name: Name::reduce("laptop"),
    });
    match desk.end() {
        LaptopEnd::Pairing(error) => assert!(
            error.advice().contains("not the code"),
            "{error}: {}",
            error.advice()
        ),
        other => panic!("{other}"),
    }
    assert_eq!(desk.hub.trust().peers().count(), 0);
}

#[test]
fn a_revoked_laptop_is_cut_off_in_the_middle_of_a_visit_and_refused_afterwards() {
    let mut desk = Desk::new(2, Faults::none());
    let hub = desk.pair();
    desk.open_link(hub.clone()).unwrap();
    let mut out = Vec::new();
    let device = desk.laptop_identity.device();
    desk.hub.revoke(desk.now, WALL_NS, &device, &mut out).unwrap();
    desk.hub_did(out);
    assert!(matches!(desk.end(), LaptopEnd::Cut));
    desk.begin(Goal::Visit { hubs: vec![hub] });
    match desk.end() {
        // The beacon has a new key, so that a revoked laptop no longer knows which hub this is.
        LaptopEnd::NoLink(obstacle @ crate::Obstacle::Stranger) => {
            assert!(obstacle.advice().contains("revoked"), "{}", obstacle.advice());
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_laptop_that_walks_away_is_told_and_comes_back_to_a_new_link() {
    let mut desk = Desk::new(3, Faults::none());
    let hub = desk.pair();
    let first = desk.open_link(hub.clone()).unwrap();
    desk.air.away(desk.now, desk.laptop_port);
    assert!(matches!(desk.end(), LaptopEnd::Cut));
    desk.air.near(desk.now, desk.laptop_port);
    let second = desk.open_link(hub).unwrap();
    assert_ne!(first, second);
}

#[test]
fn a_laptop_that_hears_no_hub_gives_up_and_says_so() {
    let mut desk = Desk::new(4, Faults::none());
    let hub = desk.pair();
    desk.air.away(desk.now, desk.laptop_port);
    desk.begin(Goal::Visit { hubs: vec![hub] });
    assert!(matches!(desk.end(), LaptopEnd::NoLink(crate::Obstacle::NotHeard)));
}
