//! Peers that misbehave lose their own radio and harm nobody else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use berth_net::{AirError, AirRadio};
use berth_radio::{Command, Event, Radio};
use berth_radio_sim::{Air, Profile, SharedAir};
use bytes::Bytes;
use lab::air::Served;
use lab::real_clock;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

const SOON: Duration = Duration::from_secs(20);

fn air() -> Served {
    Served::new(Air::new(5, Profile::PERFECT))
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
    let radio = thread::spawn(move || AirRadio::connect(near_end, "pest", real_clock()).is_err());
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
        let (mut peer, server) = air.link();
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
    assert_unharmed(&air.air);
}

#[test]
fn a_bad_name_is_refused_with_the_reason() {
    let air = air();
    let (peer, server) = air.link();
    match AirRadio::connect(peer, "a b", real_clock()) {
        Err(AirError::Refused(why)) => assert!(why.contains("printable"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(server.join().unwrap().is_err());
    assert_unharmed(&air.air);
}

#[test]
fn a_radio_whose_air_is_gone_sees_its_adapter_gone_and_then_nothing() {
    let air = air();
    let (peer, server) = air.link();
    let kept = peer.try_clone().unwrap();
    let mut radio = AirRadio::connect(peer, "hub", real_clock()).unwrap();
    kept.shutdown(std::net::Shutdown::Both).unwrap();
    let deadline = radio.now() + SOON;
    assert_eq!(radio.event(deadline), Some(Event::AdapterGone));
    radio.command(Command::StartGroup);
    let soon = radio.now() + Duration::from_millis(50);
    assert_eq!(radio.event(soon), None);
    let _ = server.join().unwrap();
}

#[test]
fn a_dropped_radio_ends_its_server() {
    let air = air();
    let (peer, server) = air.link();
    drop(AirRadio::connect(peer, "hub", real_clock()).unwrap());
    server.join().unwrap().unwrap();
}

#[test]
fn a_machine_beyond_the_contract_keeps_its_remote_radio() {
    let air = air();
    let (peer, _server) = air.link();
    let mut radio = AirRadio::connect(peer, "hub", real_clock()).unwrap();
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
