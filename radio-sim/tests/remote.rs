//! Peers that misbehave lose their own radio and harm nobody else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use berth_radio::{Command, Event, Radio, Time};
use berth_radio_sim::{Air, Clock, Faults, Profile, RemoteError, RemoteRadio, SharedAir, serve};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

const SOON: Duration = Duration::from_secs(20);

#[allow(
    clippy::disallowed_methods,
    reason = "the driver is for real time, so its test reads it"
)]
fn real_clock() -> impl Clock + Clone {
    let start = std::time::Instant::now();
    move || start.elapsed()
}

fn air() -> SharedAir {
    let mut air = Air::new(5, Profile::PERFECT);
    air.faults(Faults::none());
    SharedAir::new(air, real_clock())
}

fn served(air: &SharedAir) -> (UnixStream, thread::JoinHandle<Result<(), RemoteError>>) {
    let (near_end, far_end) = UnixStream::pair().unwrap();
    let air = air.clone();
    (near_end, thread::spawn(move || serve(&air, far_end)))
}

/// The air still works for others.
fn assert_unharmed(air: &SharedAir) {
    let (mut hub, mut laptop) = (air.radio("hub").unwrap(), air.radio("laptop").unwrap());
    hub.command(Command::Advertise {
        beacon: Bytes::from_static(b"beacon"),
    });
    laptop.command(Command::Scan);
    let deadline = laptop.now() + SOON;
    assert!(matches!(laptop.event(deadline), Some(Event::Sighted { .. })));
}

/// The first message of a radio, as it goes over the socket.
fn hello() -> Vec<u8> {
    let (near_end, mut far_end) = UnixStream::pair().unwrap();
    let radio = thread::spawn(move || RemoteRadio::connect(near_end, "pest", real_clock()).is_err());
    let mut length = [0; 4];
    far_end.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    far_end.read_exact(&mut body).unwrap();
    drop(far_end);
    assert!(radio.join().unwrap(), "it took silence for a welcome");
    [length.to_vec(), body].concat()
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let air = air();
    let hello = hello();
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut peer, server) = served(&air);
        let mut bytes = vec![0; 1 + rng.next_u32() as usize % 300];
        rng.fill_bytes(&mut bytes);
        match seed % 4 {
            0 => {}
            // Attached; then nonsense, also in a frame of the right length, as a message and as a piece.
            1 => bytes.splice(..0, hello.clone()).for_each(drop),
            kind => {
                let length = u32::try_from(bytes.len() + 1).unwrap().to_le_bytes();
                let tag = [u8::from(kind == 3)];
                let junk = [1, 0, 0, 0, 9];
                bytes = [&hello[..], &length, &tag, &bytes, &junk].concat();
            }
        }
        // The server may have hung up in the middle of it.
        let _ = peer.write_all(&bytes);
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer);
        assert!(
            server.join().unwrap().is_err(),
            "seed {seed} was taken for a radio"
        );
    }
    assert_unharmed(&air);
}

#[test]
fn a_taken_or_bad_name_is_refused_with_the_reason() {
    let air = air();
    let hub = air.radio("hub").unwrap();
    for (name, reason) in [
        ("hub", "a radio of that name is in the air"),
        ("a b", "printable"),
    ] {
        let (peer, server) = served(&air);
        match RemoteRadio::connect(peer, name, real_clock()) {
            Err(RemoteError::Refused(why)) => assert!(why.contains(reason), "{why}"),
            other => panic!("{name:?}: {other:?}"),
        }
        assert!(server.join().unwrap().is_err());
    }
    drop(hub);
    assert_unharmed(&air);
}

#[test]
fn a_radio_whose_air_is_gone_sees_its_adapter_gone_and_then_nothing() {
    let (peer, far_end) = UnixStream::pair().unwrap();
    let air = air();
    let kept = far_end.try_clone().unwrap();
    let server = thread::spawn(move || serve(&air, far_end));
    let mut radio = RemoteRadio::connect(peer, "hub", real_clock()).unwrap();
    kept.shutdown(std::net::Shutdown::Both).unwrap();
    let deadline = radio.now() + SOON;
    assert_eq!(radio.event(deadline), Some(Event::AdapterGone));
    radio.command(Command::StartGroup);
    let soon = radio.now() + Duration::from_millis(50);
    assert_eq!(radio.event(soon), None);
    let _ = server.join().unwrap();
}

#[test]
fn a_machine_beyond_the_contract_keeps_its_remote_radio() {
    let air = air();
    let (peer, _server) = served(&air);
    let mut radio = RemoteRadio::connect(peer, "hub", real_clock()).unwrap();
    let stream = berth_radio::StreamId(1);
    radio.command(Command::Advertise {
        beacon: Bytes::from(vec![0; 100_000]),
    });
    radio.command(Command::Send {
        conn: berth_radio::ConnId(1),
        frame: Bytes::from(vec![0; 100_000]),
    });
    radio.command(Command::Write {
        stream,
        piece: Bytes::from(vec![0; 1_000_000]),
    });
    radio.command(Command::Write {
        stream,
        piece: Bytes::new(),
    });
    radio.command(Command::StartGroup);
    let deadline = radio.now() + SOON;
    assert!(matches!(radio.event(deadline), Some(Event::GroupStarted { .. })));
}

#[test]
fn a_radio_whose_events_nobody_takes_is_reset_and_harms_nobody() {
    let air = air();
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
    assert_unharmed(&air);
}
