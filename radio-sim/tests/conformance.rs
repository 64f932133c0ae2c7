//! The simulated radios hold what every radio promises: on virtual time, in threads, and through a socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_radio::Radio;
use berth_radio::conformance::{Bench, Broken, Role, check_all};
use berth_radio_sim::{Air, Clock, Faults, Profile, RemoteRadio, SharedAir, VirtualClock, serve};

struct InAir<R> {
    air: SharedAir,
    hub: R,
    laptop: R,
    servers: Vec<JoinHandle<()>>,
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
        servers: Vec::new(),
        silence: Duration::from_millis(silence_ms),
    }
}

fn through_sockets(air: Air, silence_ms: u64) -> InAir<RemoteRadio<UnixStream>> {
    let clock = real_clock();
    let air = SharedAir::new(air, clock.clone());
    let mut servers = Vec::new();
    let [hub, laptop] = ["hub", "laptop"].map(|name| {
        let (near_end, far_end) = UnixStream::pair().unwrap();
        let served = air.clone();
        servers.push(thread::spawn(move || serve(&served, far_end).unwrap()));
        RemoteRadio::connect(near_end, name, clock.clone()).unwrap()
    });
    InAir {
        air,
        hub,
        laptop,
        servers,
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
fn radios_of_other_processes_hold_every_promise() {
    let seed = 2;
    let fresh = || through_sockets(Air::new(seed, Profile::PERFECT), 200);
    assert_all_held(check_all(fresh), seed);
}

#[test]
fn a_dropped_remote_radio_ends_its_server() {
    let bench = through_sockets(Air::new(3, Profile::PERFECT), 200);
    drop((bench.hub, bench.laptop));
    for server in bench.servers {
        server.join().unwrap();
    }
    assert!(bench.air.radio("hub").is_ok(), "the name is not free again");
}
