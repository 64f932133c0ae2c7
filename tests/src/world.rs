//! A whole world on one thread: a laptop, a hub, the air between them and an upstream, on one virtual clock.
//!
//! Place: `tests/` drive it; nothing here is simplified but radio, disk, clock, the user's files and the upstream.
//! Invariant: the same seed and the same calls give the same trace of the air, the same bytes on both disks and the same
//! upstream. Whatever is random is drawn from the seed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a world that goes wrong is a failed test"
)]

mod draw;
mod hub;
mod judge;
mod laptop;
mod liar;
mod mishap;
mod source;
mod story;
mod upstream;

use std::time::Duration;

use berth_agent::{LaptopOutput, Work};
use berth_daemon::{HubEvent, HubOutput};
use berth_radio::{Event, Time};
use berth_radio_sim::{Air, Clock as _, PortId, Profile, TraceTo, VirtualClock};
use berth_repository::Id;
use berth_session::{HubInput, LaptopInput};
use mishap::Later;

pub use draw::{edit, noise, words};
pub use hub::{HUB_NAME, SimHub};
pub use judge::{Judge, Objects};
pub use laptop::{LAPTOP_NAME, Outcome, SimLaptop, Watched};
pub use mishap::Mishap;
pub use source::{Files, Picture, ROOT, Shown, What};
pub use story::{Story, seeds, tell};
pub use upstream::MemoryUpstream;

/// When every world begins, in nanoseconds since 1970.
pub const BEGIN_NS: i64 = 1_700_000_000_000_000_000;

/// A link so slow that the send window is the smaller part of a visit, with next to no delay: some MiB take seconds, and
/// marks are made as in a visit of many GB.
pub const SLOW: Profile = Profile {
    name: "slow",
    bandwidth_bytes_per_second: Some(3_000_000),
    ..Profile::PERFECT
};

/// Turns without time passing: more is a livelock.
const TURNS_AT_ONCE_MAX: u32 = 200_000;

/// The world.
pub struct World {
    /// The air.
    pub air: Air,
    /// The hub.
    pub hub: SimHub,
    /// The laptop.
    pub laptop: SimLaptop,
    /// The upstream.
    pub upstream: MemoryUpstream,
    /// What a power cut that came from the disk itself leaves is the disk's own policy; the machine is back after this.
    pub power_back_after: Duration,
    /// Messages that a hub whose disk has lost its power has ready still leave, or do not.
    pub last_words_leave: bool,
    /// Starts of the hub whose disk was still failing, and cuts that came from the disks.
    pub power_cuts: u32,
    /// How sessions ended since this was last emptied.
    pub outcomes: Vec<Outcome>,
    /// Visits that the hub has seen end.
    pub visits_ended: u32,
    /// What the machines told, with the time; shown when a test fails.
    pub news: Vec<String>,
    /// Bytes of all frames and stream pieces, once somebody listens.
    heard: Option<Vec<u8>>,
    liar: Option<liar::Liar>,
    clock: VirtualClock,
    later: Vec<(Time, Later)>,
    turns_at_once: u32,
}

impl World {
    /// Both near each other, not paired; all air faults are off.
    #[must_use]
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut air = Air::new(seed, profile);
        air.trace_to(TraceTo::Memory);
        let hub_port = air.attach("hub").unwrap();
        let laptop_port = air.attach("laptop").unwrap();
        let mut world = Self {
            air,
            hub: SimHub::new(seed, hub_port),
            laptop: SimLaptop::new(seed, laptop_port, BEGIN_NS),
            upstream: MemoryUpstream::new(seed, 0),
            power_back_after: Duration::from_secs(3),
            last_words_leave: false,
            power_cuts: 0,
            outcomes: Vec::new(),
            visits_ended: 0,
            news: Vec::new(),
            heard: None,
            liar: None,
            clock: VirtualClock::new(),
            later: Vec::new(),
            turns_at_once: 0,
        };
        world.start_hub();
        world
    }

    /// The time of the world.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The wall clock of the world, nanoseconds since 1970.
    #[must_use]
    pub fn wall_ns(&self) -> i64 {
        self.clock.wall_ns(BEGIN_NS)
    }

    /// Pairs the two, trying again until it works.
    pub fn pair(&mut self) {
        for _ in 0..100 {
            let (now, wall_ns) = (self.now(), self.wall_ns());
            let mut out = Vec::new();
            let Some(hub) = &mut self.hub.running else {
                self.wait(Duration::from_secs(5));
                continue;
            };
            let code = hub.open_window(now, wall_ns, &mut out);
            self.hub_did(out);
            let mut out = Vec::new();
            self.laptop.pair(now, code, &mut out);
            self.laptop_did(out);
            self.run_until(Duration::from_secs(300), |world| world.laptop.session.is_none());
            self.outcomes.clear();
            if self.laptop.is_paired() {
                return;
            }
            // The window of the failed attempt closes.
            self.wait(Duration::from_secs(130));
        }
        panic!("not paired after 100 attempts");
    }

    /// Begins a visit, if the laptop is on and has none.
    pub fn begin_visit(&mut self) {
        if self.laptop.is_on() && self.laptop.session.is_none() {
            let mut out = Vec::new();
            self.laptop.visit(self.now(), self.wall_ns(), &mut out);
            self.laptop_did(out);
        }
    }

    /// One visit, whatever comes of it.
    ///
    /// # Panics
    /// If it does not end within an hour.
    pub fn visit(&mut self) -> Outcome {
        self.outcomes.clear();
        self.begin_visit();
        let ended = self.run_until(Duration::from_secs(3600), |world| !world.outcomes.is_empty());
        assert!(ended, "a visit has not ended after an hour");
        self.outcomes.pop().unwrap()
    }

    /// Visits until a set is complete, as the agent does: after a failed one it waits and tries again.
    pub fn visit_until_complete(&mut self, within: Duration) -> Option<Outcome> {
        let until = self.now() + within;
        while self.now() < until {
            self.begin_visit();
            let left = until.saturating_sub(self.now());
            self.run_until(left, |world| {
                world.laptop.session.is_none() && world.laptop.is_on()
            });
            let complete = self.outcomes.iter().position(|one| one.summary.is_some());
            if let Some(at) = complete {
                return Some(self.outcomes.swap_remove(at));
            }
            self.wait(Duration::from_secs(1));
        }
        None
    }

    /// Lets time pass until `done`. `false`: it was not within this time.
    pub fn run_until(&mut self, within: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now() + within;
        loop {
            if done(self) {
                return true;
            }
            if self.now() >= until {
                return false;
            }
            self.turn(until);
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// One turn: what is due, and the time moves on, to `until` at the most.
    pub fn turn(&mut self, until: Time) {
        self.work();
        let later = self.later.iter().map(|(at, _)| *at);
        let hub = self.hub.running.as_ref().and_then(|hub| hub.next_at());
        let laptop = self.laptop.session.as_ref().and_then(|laptop| laptop.next_at());
        let liar = self.liar.as_ref().and_then(liar::Liar::next_at);
        let next = self.air.next_at().into_iter();
        let next = next.chain(hub).chain(laptop).chain(liar).chain(later);
        let next = next
            .min()
            .unwrap_or(until)
            .clamp(self.now(), until.max(self.now()));
        self.turns_at_once = if next > self.now() {
            0
        } else {
            self.turns_at_once + 1
        };
        assert!(
            self.turns_at_once < TURNS_AT_ONCE_MAX,
            "the world stands still at {next:?}"
        );
        self.clock.advance_to(next);
        self.do_later();
        let mut events = Vec::new();
        self.air.advance(next, &mut events);
        for (port, event) in events {
            self.event(port, event);
        }
        self.ticks();
    }

    /// The laptop is revoked on the hub, now.
    pub fn revoke(&mut self) {
        let (now, wall_ns) = (self.now(), self.wall_ns());
        let device = self.laptop.identity.device();
        let mut out = Vec::new();
        self.hub
            .running
            .as_mut()
            .unwrap()
            .revoke(now, wall_ns, &device, &mut out)
            .unwrap();
        self.hub_did(out);
    }

    /// From now on somebody in the air keeps all that is sent.
    pub fn listen(&mut self) {
        self.heard = Some(Vec::new());
    }

    /// What was sent since [`World::listen`].
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        self.heard.clone().unwrap_or_default()
    }

    /// Asks the laptop's visit for a checkpoint.
    pub fn request_mark(&mut self) {
        if let Some(laptop) = &mut self.laptop.session {
            laptop.request_mark();
        }
    }

    /// Forwards up to so many steps. `true`: nothing is left.
    pub fn forward(&mut self, steps: u32) -> bool {
        let wall_ns = self.wall_ns();
        let idle = self.hub.forward(&self.upstream, wall_ns, steps);
        self.look_at_power();
        idle
    }

    /// What must be equal in two runs of one seed: the air's trace, and a digest of both disks and the upstream.
    #[must_use]
    pub fn record(&self) -> (String, Id) {
        let mut all = Vec::new();
        for (path, bytes) in self
            .hub
            .disk
            .contents()
            .into_iter()
            .chain(self.laptop.disk.contents())
        {
            all.extend(path.into_bytes());
            all.extend(bytes);
        }
        for id in self.upstream.snapshots() {
            all.extend(id.as_bytes());
        }
        (self.air.trace().text(), Id::of(&all))
    }

    fn note(&mut self, what: String) {
        self.news
            .push(format!("{:>12.6} {what}", self.now().as_secs_f64()));
    }

    fn work(&mut self) {
        loop {
            let mut out = Vec::new();
            let Some(laptop) = &mut self.laptop.session else {
                return;
            };
            let work = laptop.work(self.clock.now(), &mut out);
            self.laptop.watch();
            self.laptop_did(out);
            if work == Work::Wait {
                return;
            }
        }
    }

    fn event(&mut self, port: PortId, event: Event) {
        let (now, wall_ns) = (self.now(), self.wall_ns());
        if let (Some(heard), Event::Read { piece: bytes, .. } | Event::Received { frame: bytes, .. }) =
            (&mut self.heard, &event)
        {
            heard.extend_from_slice(bytes);
        }
        if port == self.hub.port {
            let Some(hub) = &mut self.hub.running else { return };
            if let Event::Read { piece, .. } = &event {
                self.hub.heard_bytes += piece.len() as u64;
            }
            let mut out = Vec::new();
            hub.handle(now, wall_ns, HubInput::Radio(event), &mut out);
            self.hub_did(out);
        } else if let Some(liar) = &mut self.liar {
            let mut commands = Vec::new();
            liar.handle(now, LaptopInput::Radio(event), &mut commands);
            self.laptop_commands(commands);
        } else {
            let Some(laptop) = &mut self.laptop.session else {
                return;
            };
            let mut out = Vec::new();
            laptop.handle(now, LaptopInput::Radio(event), &mut out);
            self.laptop.watch();
            self.laptop_did(out);
        }
    }

    fn ticks(&mut self) {
        let (now, wall_ns) = (self.now(), self.wall_ns());
        if let Some(hub) = &mut self.hub.running
            && hub.next_at().is_some_and(|at| at <= now)
        {
            let mut out = Vec::new();
            hub.handle(now, wall_ns, HubInput::Tick, &mut out);
            self.hub_did(out);
        }
        if let Some(liar) = &mut self.liar
            && liar.next_at().is_some_and(|at| at <= now)
        {
            let mut commands = Vec::new();
            liar.handle(now, LaptopInput::Tick, &mut commands);
            self.laptop_commands(commands);
        }
        if let Some(laptop) = &mut self.laptop.session
            && laptop.next_at().is_some_and(|at| at <= now)
        {
            let mut out = Vec::new();
            laptop.handle(now, LaptopInput::Tick, &mut out);
            self.laptop.watch();
            self.laptop_did(out);
        }
    }

    fn start_hub(&mut self) {
        if self.hub.running.is_some() {
            return;
        }
        let (now, wall_ns) = (self.now(), self.wall_ns());
        let mut out = Vec::new();
        match self.hub.start(now, wall_ns, &mut out) {
            Ok(()) => {
                // The name is free: the process before is gone. At the very first start it is taken.
                let _ = self.air.attach("hub");
                self.hub_did(out);
            }
            Err(error) => {
                assert!(self.hub.disk.is_off(), "the hub does not start: {error}");
                self.look_at_power();
            }
        }
    }

    fn hub_did(&mut self, out: Vec<HubOutput>) {
        let now = self.now();
        let off = self.hub.disk.is_off();
        for output in out {
            if let HubOutput::Event(event) = &output {
                self.note(format!("hub {event:?}"));
            }
            match output {
                HubOutput::Radio(command) if !off || self.last_words_leave => {
                    self.air.command(now, self.hub.port, command);
                }
                HubOutput::Event(HubEvent::VisitEnded { .. }) => {
                    self.visits_ended += 1;
                    self.hub.look_at_sets();
                }
                HubOutput::Radio(_) | HubOutput::Event(_) => {}
            }
        }
        self.look_at_power();
    }

    fn laptop_did(&mut self, mut out: Vec<LaptopOutput>) {
        let (now, wall_ns) = (self.now(), self.wall_ns());
        while !out.is_empty() && !self.laptop.disk.is_off() {
            for output in std::mem::take(&mut out) {
                match output {
                    LaptopOutput::Radio(command) => self.air.command(now, self.laptop.port, command),
                    LaptopOutput::Store(hub) => {
                        let stored = self
                            .laptop
                            .trust()
                            .is_some_and(|trust| trust.pair(&hub, wall_ns).is_ok());
                        if let Some(session) = &mut self.laptop.session {
                            session.handle(now, LaptopInput::Stored(stored), &mut out);
                        }
                    }
                    LaptopOutput::BeaconKey { hub, key } => {
                        // A key that could not be kept is told again at the next visit.
                        let _ = self
                            .laptop
                            .trust()
                            .map(|trust| trust.set_beacon(&hub, &key, wall_ns));
                    }
                    LaptopOutput::Up(_) => {}
                    LaptopOutput::Over(ended) => {
                        let outcome = self.laptop.ended(ended);
                        self.note(format!("laptop {}, {:?}", outcome.how, outcome.watched));
                        let found = &outcome.findings;
                        assert!(found.is_empty(), "an honest hub is found at fault: {found:?}");
                        self.outcomes.push(outcome);
                    }
                }
            }
        }
        self.look_at_power();
    }
}

/// Lines that a failed test shows of each record.
const SHOWN_LINES: usize = 40;

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let trace: Vec<_> = self.air.trace().lines().collect();
            for line in &trace[trace.len().saturating_sub(SHOWN_LINES)..] {
                eprintln!("{line}");
            }
            for line in &self.news[self.news.len().saturating_sub(SHOWN_LINES)..] {
                eprintln!("{line}");
            }
        }
    }
}
