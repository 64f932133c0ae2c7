//! What goes wrong with the machines, and how they come back.

use std::time::Duration;

use berth_radio_sim::{Cut, CutPolicy, Faults};
use berth_session::LaptopInput;

use super::{Outcome, World, edit};

/// What can go wrong with the machines, beside what the air does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The link is cut once the hub has heard so many bytes more from the laptop.
    CutAfter(u64, Cut),
    /// The laptop is carried away, and back after this time.
    Away(Duration),
    /// The hub's process is killed, and starts again after this time.
    KillHub(Duration),
    /// The hub's power is cut, and is back after this time.
    CutHub(CutPolicy, Duration),
    /// The laptop's process is killed, and starts again after this time.
    KillLaptop(Duration),
    /// The laptop's power is cut, and is back after this time.
    CutLaptop(CutPolicy, Duration),
    /// The user asks for a checkpoint, to leave.
    AskMark,
    /// The laptop says goodbye and leaves.
    Leave,
    /// The adapter of the hub goes, and comes back after this time.
    HubAdapter(Duration),
    /// The user edits files in the middle: drawn from this seed.
    Edit(u64),
    /// The hub's power goes at the sync that is so many ahead.
    CutHubAtSync(u64, CutPolicy),
    /// The laptop's power goes at the sync that is so many ahead.
    CutLaptopAtSync(u64, CutPolicy),
    /// The hub forwards so many steps.
    Forward(u32),
}

/// What is to happen later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Later {
    Near,
    HubStarts,
    LaptopStarts,
    HubAdapterBack,
}

impl World {
    /// Lets something go wrong, now.
    pub fn mishap(&mut self, mishap: Mishap) {
        let now = self.now();
        self.note(format!("{mishap:?}"));
        match mishap {
            Mishap::CutAfter(bytes, cut) => self.air.cut_after(now, self.laptop.port, bytes, cut),
            Mishap::Away(back) => {
                self.air.away(now, self.laptop.port);
                self.later.push((now + back, Later::Near));
            }
            Mishap::KillHub(back) => self.hub_gone(None, back),
            Mishap::CutHub(policy, back) => self.hub_gone(Some(policy), back),
            Mishap::KillLaptop(back) => self.laptop_gone(None, back),
            Mishap::CutLaptop(policy, back) => self.laptop_gone(Some(policy), back),
            Mishap::AskMark => self.request_mark(),
            Mishap::Leave => {
                let mut out = Vec::new();
                if let Some(laptop) = &mut self.laptop.session {
                    laptop.handle(now, LaptopInput::Leave, &mut out);
                }
                self.laptop_did(out);
            }
            Mishap::HubAdapter(back) => {
                self.air.adapter_gone(now, self.hub.port);
                self.later.push((now + back, Later::HubAdapterBack));
            }
            Mishap::Edit(seed) => edit(&self.laptop.files, self.wall_ns(), seed),
            Mishap::CutHubAtSync(ahead, policy) => {
                let at = self.hub.disk.syncs() + ahead;
                self.hub.disk.cut_power_at_sync(at, policy);
            }
            Mishap::CutLaptopAtSync(ahead, policy) => {
                let at = self.laptop.disk.syncs() + ahead;
                self.laptop.disk.cut_power_at_sync(at, policy);
            }
            Mishap::Forward(steps) => {
                self.forward(steps);
            }
        }
    }

    /// From here on nothing goes wrong.
    pub fn heal(&mut self) {
        let now = self.now();
        self.air.faults(Faults::none());
        self.air.near(now, self.laptop.port);
        self.air.cut_after(now, self.laptop.port, u64::MAX, Cut::Stream);
        for disk in [&self.hub.disk, &self.laptop.disk] {
            disk.cut_power_at_sync(u64::MAX, CutPolicy::LoseAll);
        }
        self.upstream.heal();
        self.wait(Duration::from_secs(60));
        if self.hub.running.is_none() {
            self.start_hub();
        }
        assert!(self.hub.running.is_some(), "the hub does not start");
        assert!(self.laptop.is_on(), "the laptop does not start");
    }

    pub(super) fn do_later(&mut self) {
        let now = self.now();
        let due: Vec<_> = self
            .later
            .iter()
            .filter(|(at, _)| *at <= now)
            .map(|(_, what)| *what)
            .collect();
        self.later.retain(|(at, _)| *at > now);
        for what in due {
            match what {
                Later::Near => self.air.near(now, self.laptop.port),
                Later::HubStarts => self.start_hub(),
                Later::HubAdapterBack => self.air.adapter_back(now, self.hub.port),
                Later::LaptopStarts => {
                    if self.laptop.start() {
                        self.air.attach("laptop").unwrap();
                    } else {
                        self.laptop_gone(None, self.power_back_after);
                    }
                }
            }
        }
    }

    /// A disk that has lost its power takes its machine with it.
    pub(super) fn look_at_power(&mut self) {
        if self.hub.disk.is_off() {
            self.power_cuts += 1;
            self.hub_gone(Some(CutPolicy::LoseAll), self.power_back_after);
        }
        if self.laptop.disk.is_off() {
            self.power_cuts += 1;
            self.laptop_gone(Some(CutPolicy::LoseAll), self.power_back_after);
        }
    }

    fn hub_gone(&mut self, power: Option<CutPolicy>, back: Duration) {
        let now = self.now();
        self.air.detach(now, self.hub.port);
        match power {
            None => self.hub.kill(),
            Some(policy) => self.hub.cut_power(policy),
        }
        self.later.retain(|(_, what)| !matches!(what, Later::HubStarts));
        self.later.push((now + back, Later::HubStarts));
    }

    fn laptop_gone(&mut self, power: Option<CutPolicy>, back: Duration) {
        let now = self.now();
        self.air.detach(now, self.laptop.port);
        if self.laptop.session.is_some() {
            self.outcomes.push(Outcome {
                summary: None,
                how: "the laptop went off".into(),
                watched: self.laptop.watched,
                picture: None,
                findings: Vec::new(),
            });
        }
        self.laptop.kill(power);
        self.later
            .retain(|(_, what)| !matches!(what, Later::LaptopStarts));
        self.later.push((now + back, Later::LaptopStarts));
    }
}
