//! The simulated radios hold what every radio promises: on virtual time, and in threads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use berth_radio::conformance::{Bench, Broken, Role, check_all};
use berth_radio::{Command, Event, Radio, Time};
use berth_radio_sim::{Air, Clock, Faults, Profile, SharedAir, VirtualClock};

struct InAir<R> {
    air: SharedAir,
    hub: R,
    laptop: R,
    silence: Duration,
}

impl<R: Radio> Bench for InAir<R> {
    fn radio(&mut self, role: Role) -> &mut dyn Radio {
        match role {
            Role::Hub => &mut self.hub,
            Role::Laptop => &mut self.laptop,
        }
    }

    fn silence(&self) -> Duration {
        self.silence
    }

    fn laptop_near(&mut self, near: bool) -> bool {
        self.air.with(|air, now| {
            let laptop = air.named("laptop").unwrap();
            if near {
                air.near(now, laptop)
            } else {
                air.away(now, laptop)
            }
        });
        true
    }

    fn adapter(&mut self, role: Role, there: bool) -> bool {
        self.air.with(|air, now| {
            let port = air
                .named(if role == Role::Hub { "hub" } else { "laptop" })
                .unwrap();
            if there {
                air.adapter_back(now, port)
            } else {
                air.adapter_gone(now, port)
            }
        });
        true
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the driver is for real time, so its test reads it"
)]
fn real_clock() -> impl Clock + Clone {
    let start = std::time::Instant::now();
    move || start.elapsed()
}

fn in_threads(air: Air, clock: impl Clock + 'static, silence_ms: u64) -> InAir<berth_radio_sim::SimRadio> {
    let air = SharedAir::new(air, clock);
    let (hub, laptop) = (air.radio("hub").unwrap(), air.radio("laptop").unwrap());
    InAir {
        air,
        hub,
        laptop,
        silence: Duration::from_millis(silence_ms),
    }
}

fn assert_all_held(result: Result<Vec<&'static str>, Broken>, seed: u64) {
    match result {
        Ok(skipped) => assert_eq!(skipped, [""; 0], "skipped with seed {seed}"),
        Err(broken) => panic!("seed {seed}: {broken}"),
    }
}

#[test]
fn the_air_holds_every_promise_on_every_profile_in_virtual_time() {
    for profile in Profile::ALL {
        for seed in 0..5 {
            let fresh = || in_threads(Air::new(seed, profile), VirtualClock::new(), 5_000);
            assert_all_held(check_all(fresh), seed);
        }
    }
}

#[test]
fn the_air_holds_every_promise_while_things_go_wrong() {
    for seed in 0..20 {
        let fresh = || {
            let mut air = Air::new(seed, Profile::WFD_TYPICAL);
            air.faults(Faults {
                report_missed_ppm: 500_000,
                frame_lost_ppm: 100_000,
                ..Faults::everyday()
            });
            in_threads(air, VirtualClock::new(), 20_000)
        };
        assert_all_held(check_all(fresh), seed);
    }
}

#[test]
fn radios_of_threads_hold_every_promise_in_real_time() {
    let seed = 1;
    let fresh = || in_threads(Air::new(seed, Profile::PERFECT), real_clock(), 150);
    assert_all_held(check_all(fresh), seed);
}

#[test]
fn a_radio_whose_events_nobody_takes_is_reset_and_harms_nobody() {
    let air = SharedAir::new(Air::new(5, Profile::PERFECT), real_clock());
    let mut lazy = air.radio("lazy").unwrap();
    for _ in 0..20_000 {
        // Two events each.
        lazy.command(Command::StartGroup);
        lazy.command(Command::StopGroup);
    }
    let mut events = Vec::new();
    while let Some(event) = lazy.event(Time::ZERO) {
        events.push(event);
    }
    assert!(events.len() <= berth_radio_sim::MAILBOX_EVENTS_MAX);
    assert!(
        events
            .windows(2)
            .any(|two| two == [Event::AdapterGone, Event::AdapterBack]),
        "{}",
        events.len()
    );
    let (mut hub, mut laptop) = (air.radio("hub").unwrap(), air.radio("laptop").unwrap());
    hub.command(Command::StartGroup);
    laptop.command(Command::Dial);
    let deadline = hub.now() + Duration::from_secs(20);
    assert!(matches!(hub.event(deadline), Some(Event::GroupStarted { .. })));
    assert_eq!(laptop.event(deadline), Some(Event::StreamFailed));
}
