//! An air for radios of other processes, its server's threads in this one.

use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use berth_net::{AirError, AirRadio, AirServer};
use berth_radio::{Command, Event, Joined, Radio, StreamId};
use berth_radio_sim::{Air, SharedAir};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{opened, pick, real_clock};

pub(crate) type Serving = JoinHandle<Result<(), AirError>>;

pub(crate) struct Served {
    pub(crate) air: SharedAir,
    pub(crate) server: AirServer,
}

impl Served {
    pub(crate) fn new(air: Air) -> Self {
        let air = SharedAir::new(air, real_clock());
        let server = AirServer::open(air.clone(), Box::new(ChaCha8Rng::seed_from_u64(1))).unwrap();
        Self { air, server }
    }

    /// A connection to the air, as a process gets it from its socket.
    pub(crate) fn link(&self) -> (UnixStream, Serving) {
        let (near_end, far_end) = UnixStream::pair().unwrap();
        let server = self.server.clone();
        (near_end, thread::spawn(move || server.serve(&far_end)))
    }

    pub(crate) fn radio(&self, name: &str) -> AirRadio {
        AirRadio::connect(self.link().0, name, real_clock()).unwrap()
    }
}

/// A group, joined, and a stream in it: its numbers at the hub and at the laptop.
#[track_caller]
pub(crate) fn stream(hub: &mut impl Radio, laptop: &mut impl Radio) -> (StreamId, StreamId) {
    hub.command(Command::StartGroup);
    let credentials = pick(hub, |event| match event {
        Event::GroupStarted { credentials } => Some(credentials),
        _ => None,
    });
    laptop.command(Command::Join { credentials });
    super::expect(laptop, &Event::Joined(Joined::DIRECTLY));
    laptop.command(Command::Dial);
    let at_laptop = opened(laptop);
    (opened(hub), at_laptop)
}
