//! The same seed and the same inputs give the same trace, and whatever happens keeps the contract.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use berth_radio::{Address, Command, ConnId, Event, GroupCredentials, STREAM_WINDOW_BYTES, StreamId, Time};
use berth_radio_sim::{Air, Cut, Faults, Place, PortId, Profile, TraceTo};
use bytes::Bytes;
use lab::pattern;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// What one machine may believe from the events so far; it asserts what the contract says about each.
#[derive(Default)]
struct Believes {
    heard: Vec<Address>,
    conns: BTreeMap<ConnId, usize>,
    /// Written, drained, read.
    streams: BTreeMap<StreamId, [usize; 3]>,
    conns_ever: BTreeSet<ConnId>,
    streams_ever: u32,
    group: bool,
    joined: bool,
    gone: bool,
    open_ever: usize,
}

impl Believes {
    fn hear(&mut self, event: &Event, credentials: &mut Option<GroupCredentials>) {
        assert!(
            !self.gone || *event == Event::AdapterBack,
            "{event:?} from a lost adapter"
        );
        match event {
            Event::Sighted { peer, .. } => self.heard.push(*peer),
            Event::Connected { conn, mtu_bytes } => {
                assert!(self.conns_ever.insert(*conn) && (20..=512).contains(mtu_bytes));
                self.conns.insert(*conn, *mtu_bytes);
                self.open_ever += 1;
            }
            Event::Received { conn, .. } => assert!(self.conns.contains_key(conn)),
            Event::Disconnected { conn } => assert!(self.conns.remove(conn).is_some(), "ended twice"),
            Event::GroupStarted { credentials: told } => {
                assert!(!std::mem::replace(&mut self.group, true), "two groups");
                *credentials = Some(told.clone());
            }
            Event::GroupStopped => assert!(std::mem::take(&mut self.group), "ended twice"),
            Event::Joined(_) => assert!(!std::mem::replace(&mut self.joined, true), "joined twice"),
            Event::Left => assert!(std::mem::take(&mut self.joined), "left twice"),
            Event::StreamOpened { stream } => {
                assert!(stream.0 > self.streams_ever);
                self.streams_ever = stream.0;
                self.streams.insert(*stream, [0; 3]);
                self.open_ever += 1;
            }
            Event::Read { stream, piece } => {
                let [_, _, read] = self.streams.get_mut(stream).expect("bytes of no stream");
                assert_eq!(*piece, pattern(*read, piece.len()), "a gap or another order");
                *read += piece.len();
            }
            Event::Drained { stream, bytes } => {
                let [written, drained, _] = self.streams.get_mut(stream).expect("drained of no stream");
                *drained += bytes;
                assert!(drained <= written, "more drained than was written");
            }
            Event::StreamClosed { stream } => assert!(self.streams.remove(stream).is_some(), "ended twice"),
            Event::AdapterGone => {
                *self = Self {
                    gone: true,
                    conns_ever: std::mem::take(&mut self.conns_ever),
                    streams_ever: self.streams_ever,
                    open_ever: self.open_ever,
                    ..Self::default()
                };
            }
            Event::AdapterBack => assert!(std::mem::take(&mut self.gone)),
            Event::ConnectFailed { .. } | Event::GroupFailed | Event::JoinFailed | Event::StreamFailed => {}
        }
    }

    fn something(&mut self, rng: &mut ChaCha8Rng, credentials: &Option<GroupCredentials>) -> Option<Command> {
        let pick = rng.next_u32() as usize;
        let conn = self
            .conns
            .iter()
            .nth(pick % self.conns.len().max(1))
            .map(|(conn, mtu)| (*conn, *mtu));
        let stream = self.streams.keys().nth(pick % self.streams.len().max(1)).copied();
        match rng.next_u32() % 24 {
            0 => Some(Command::Advertise {
                beacon: lab::beacon(pick as u8),
            }),
            1 if pick.is_multiple_of(4) => Some(Command::StopAdvertising),
            1 | 2 => Some(Command::Scan),
            3 if pick.is_multiple_of(4) => Some(Command::StopScanning),
            3 | 4 => self.heard.last().map(|peer| Command::Connect { peer: *peer }),
            5..=8 => conn.map(|(conn, mtu)| Command::Send {
                conn,
                frame: pattern(pick, pick % (mtu + 2)),
            }),
            9 if pick.is_multiple_of(4) => conn.map(|(conn, _)| Command::Disconnect { conn }),
            9 | 10 => (!self.group).then_some(Command::StartGroup),
            11 if pick.is_multiple_of(8) => Some(Command::StopGroup),
            11 | 12 => credentials
                .clone()
                .map(|credentials| Command::Join { credentials }),
            13 if pick.is_multiple_of(8) => Some(Command::Leave),
            13..=15 => Some(Command::Dial),
            16 if pick.is_multiple_of(8) => stream.map(|stream| Command::CloseStream { stream }),
            _ => stream.and_then(|stream| self.write(stream, pick % 100_000 + 1)),
        }
    }

    fn write(&mut self, stream: StreamId, size: usize) -> Option<Command> {
        let [written, drained, _] = self.streams.get_mut(&stream)?;
        if *written - *drained + size > STREAM_WINDOW_BYTES {
            return None;
        }
        let piece = pattern(*written, size);
        *written += size;
        Some(Command::Write { stream, piece })
    }
}

struct Run {
    trace: String,
    digest: (u64, u32),
    opened: usize,
}

/// Three radios do something at random for a while.
fn run(seed: u64, faults: Faults) -> Run {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let profile = Profile::ALL[seed as usize % 4];
    let mut air = Air::new(seed, profile);
    air.trace_to(TraceTo::Memory);
    air.faults(faults);
    let ports: Vec<PortId> = ["hub", "laptop", "other"]
        .iter()
        .map(|name| air.attach(name).unwrap())
        .collect();
    let mut believe: BTreeMap<PortId, Believes> =
        ports.iter().map(|port| (*port, Believes::default())).collect();
    let (mut now, mut credentials) = (Time::ZERO, None);
    let mut events = Vec::new();
    for _ in 0..3_000 {
        now += Duration::from_micros(u64::from(rng.next_u32() % 100_000));
        air.advance(now, &mut events);
        for (port, event) in events.drain(..) {
            believe.get_mut(&port).unwrap().hear(&event, &mut credentials);
        }
        let port = ports[rng.next_u32() as usize % ports.len()];
        if let Some(command) = believe.get_mut(&port).unwrap().something(&mut rng, &credentials) {
            air.command(now, port, command);
        }
        match rng.next_u32() % 600 {
            0 => air.away(now, port),
            1..=5 => air.near(now, port),
            6 => air.place(now, port, Some(Place(1))),
            7 => air.cut(now, port),
            8 => air.adapter_gone(now, port),
            9..=14 => air.adapter_back(now, port),
            15 => air.cut_after(now, port, u64::from(rng.next_u32() % 1_000_000), Cut::Range),
            16 => air.cut_stream_after(now, port, u64::from(rng.next_u32() % 1_000_000)),
            _ => {}
        }
    }
    let opened = believe.values().map(|it| it.open_ever).sum();
    Run {
        trace: air.trace().text(),
        digest: air.trace().digest(),
        opened,
    }
}

#[test]
fn the_contract_holds_and_the_same_seed_gives_the_same_trace_whatever_goes_wrong() {
    let mut opened = 0;
    for seed in 0..100 {
        let faults = if seed % 3 == 0 {
            Faults::none()
        } else {
            Faults::swarm(seed)
        };
        let (one, two) = (run(seed, faults), run(seed, faults));
        assert!(one.trace == two.trace, "seed {seed}: two traces");
        assert_eq!(one.digest, two.digest);
        opened += one.opened;
    }
    assert!(
        opened > 2_000,
        "only {opened} connections and streams: this test tests nothing"
    );
}

#[test]
fn another_seed_gives_another_trace() {
    let faults = Faults::everyday();
    assert_ne!(run(1, faults).trace, run(5, faults).trace);
}

#[test]
fn switching_one_fault_off_leaves_the_draws_of_the_others() {
    let mut traces = Vec::new();
    for frame_lost_ppm in [0, 1] {
        let mut lab = lab::Lab::new(
            3,
            Profile::WFD_GOOD,
            Faults {
                frame_lost_ppm,
                ..Faults::swarm(3)
            },
        );
        lab.command(
            lab.hub,
            Command::Advertise {
                beacon: lab::beacon(1),
            },
        );
        lab.command(lab.laptop, Command::Scan);
        lab.run_for(Duration::from_secs(600));
        traces.push(lab.air.trace().text());
    }
    assert!(traces[0] == traces[1]);
}

#[test]
fn the_trace_tells_what_happened_and_no_secret() {
    let mut lab = lab::Lab::linked(4, Profile::WFD_TYPICAL, Faults::none());
    let credentials = lab.credentials();
    let conn = lab.connect();
    lab.command(
        lab.laptop,
        Command::Send {
            conn,
            frame: Bytes::from_static(b"secret in a frame"),
        },
    );
    lab.write(lab.laptop, Bytes::from_static(b"secret in a stream"));
    lab.air.away(lab.now, lab.laptop);
    lab.run_for(Duration::from_secs(30));
    let text = lab.air.trace().text();
    for secret in [credentials.passphrase.as_str(), "secret"] {
        assert!(!text.contains(secret), "{secret} is in the trace");
    }
    for told in [
        "hub ! attached",
        "laptop > connect",
        "laptop < Joined",
        "> send conn",
        "laptop ! away",
        "laptop < Left",
    ] {
        assert!(text.contains(told), "{told} is not in the trace:\n{text}");
    }
}

#[test]
fn the_trace_tells_carried_bytes_apart() {
    let mut traces = Vec::new();
    for last in [0_u8, 1] {
        let mut lab = lab::Lab::linked(6, Profile::PERFECT, Faults::none());
        lab.write(lab.laptop, Bytes::from(vec![0, 0, 0, 0, last]));
        lab.run_for(Duration::from_secs(1));
        lab.air.cut(lab.now, lab.hub);
        traces.push(lab.air.trace().text());
    }
    let differ: Vec<_> = traces[0]
        .lines()
        .zip(traces[1].lines())
        .filter(|(one, two)| one != two)
        .collect();
    assert_eq!(differ.len(), 1, "{differ:?}");
    assert!(
        differ[0].0.contains("laptop = stream 1 carried 5 bytes"),
        "{}",
        differ[0].0
    );
}
