//! Peers that misbehave lose their own radio and harm nobody else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use berth_net::{AirError, AirRadio};
use berth_radio::{Command, Event, Radio, STREAM_PIECE_SIZE_BYTES_MAX, STREAM_WINDOW_BYTES, StreamId};
use berth_radio_sim::{Air, Profile, SharedAir};
use bytes::Bytes;
use lab::air::{Served, stream};
use lab::{SILENCE, expect, opened, pull, real_clock};
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

#[test]
fn nobody_gets_a_stream_without_its_token_and_those_who_try_harm_nobody() {
    let air = air();
    let (mut hub, mut laptop) = (air.radio("hub"), air.radio("laptop"));
    let (at_hub, at_laptop) = stream(&mut hub, &mut laptop);
    // Silent ones, one that tries tokens byte by byte, and more than may try at once.
    let silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(air.server.streams_at()).unwrap())
        .collect();
    for guess in 0..100_u8 {
        let mut peer = TcpStream::connect(air.server.streams_at()).unwrap();
        for byte in [guess; 64].chunks(7) {
            // It may have hung up by now.
            let _ = peer.write_all(byte);
        }
        let _ = peer.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer);
        assert!(answer.is_empty(), "a stream was given away");
    }
    let piece = Bytes::from_static(b"still ours");
    laptop.command(Command::Write {
        stream: at_laptop,
        piece: piece.clone(),
    });
    expect(
        &mut hub,
        &Event::Read {
            stream: at_hub,
            piece,
        },
    );
    // And new ones open.
    laptop.command(Command::Dial);
    opened(&mut laptop);
    opened(&mut hub);
    drop(silent);
}

#[test]
fn a_crowd_that_never_says_its_token_is_bounded() {
    let air = air();
    let crowd: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(air.server.streams_at()).unwrap())
        .collect();
    // The first of those that are too many is closed at once.
    let closed = crowd.iter().rev().take(100).all(|mut peer| {
        peer.set_read_timeout(Some(SOON)).unwrap();
        matches!(peer.read(&mut [0]), Ok(0) | Err(_))
    });
    assert!(closed);
    drop(crowd);
    let (mut hub, mut laptop) = (air.radio("hub"), air.radio("laptop"));
    stream(&mut hub, &mut laptop);
}

#[test]
fn a_radio_that_takes_nothing_from_its_stream_stops_its_sender_and_no_other() {
    let air = air();
    let (mut hub, mut laptop) = (air.radio("hub"), air.radio("laptop"));
    let (at_hub, at_laptop) = stream(&mut hub, &mut laptop);
    laptop.command(Command::Dial);
    let other_at_laptop = opened(&mut laptop);
    let other_at_hub = opened(&mut hub);
    hub.command(Command::Hold { stream: at_hub });
    let piece = Bytes::from(vec![1; STREAM_PIECE_SIZE_BYTES_MAX]);
    let (mut written, mut drained) = (0, 0);
    loop {
        while written + piece.len() - drained <= STREAM_WINDOW_BYTES {
            written += piece.len();
            laptop.command(Command::Write {
                stream: at_laptop,
                piece: piece.clone(),
            });
        }
        let until = laptop.now() + SILENCE;
        match laptop.event(until) {
            Some(Event::Drained { bytes, .. }) => drained += bytes,
            other => {
                assert_eq!(other, None);
                break;
            }
        }
        assert!(drained < 64 << 20, "nobody took it");
    }
    push_and_pull(&mut hub, &mut laptop, other_at_hub, other_at_laptop);
}

fn push_and_pull(hub: &mut AirRadio, laptop: &mut AirRadio, at_hub: StreamId, at_laptop: StreamId) {
    let piece = Bytes::from(vec![2; 100_000]);
    laptop.command(Command::Write {
        stream: at_laptop,
        piece,
    });
    pull(hub, at_hub, 100_000);
}
