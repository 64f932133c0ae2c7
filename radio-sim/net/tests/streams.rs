//! Streams over TCP hold what the contract says of streams.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use berth_net::{ACCEPTED_MAX, NetRadio, NoRadio, TCP_STREAMS_FROM};
use berth_radio::conformance::{Bench, Held, PROMISES, Role};
use berth_radio::{Address, Command, Event, Radio, STREAM_PIECE_SIZE_BYTES_MAX, STREAM_WINDOW_BYTES, Time};
use bytes::Bytes;
use lab::{Agreeing, SILENCE, expect, link, local, opened, pair, pick, pull, push, quiet, real_clock};

struct OverTcp(NetRadio, NetRadio);

impl Bench for OverTcp {
    fn radio(&mut self, role: Role) -> &mut dyn Radio {
        match role {
            Role::Hub => &mut self.0,
            Role::Laptop => &mut self.1,
        }
    }

    fn silence(&self) -> Duration {
        SILENCE
    }
}

#[test]
fn streams_over_tcp_hold_every_promise_about_streams() {
    let names = [
        "a_wait_without_events_ends_at_its_deadline",
        "a_waker_ends_one_wait_and_no_more",
        "a_stream_carries_both_ways_in_order",
        "drained_adds_up_to_what_was_written",
        "a_whole_window_is_taken_at_once",
        "a_receiver_that_stops_reading_stops_its_sender",
        "a_closed_stream_delivers_what_was_written_first",
        "a_piece_over_the_limit_ends_the_stream",
    ];
    for name in names {
        let promise = PROMISES.iter().find(|promise| promise.name == name).unwrap();
        let (hub, laptop) = pair();
        assert_eq!(promise.check(&mut OverTcp(hub, laptop)), Ok(Held::Yes));
    }
}

#[test]
fn streams_over_tcp_have_numbers_of_their_own_that_are_not_used_again() {
    let (mut hub, mut laptop) = pair();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (at_hub, at_laptop) = link(&mut hub, &mut laptop);
        assert!(at_hub.0 >= TCP_STREAMS_FROM && at_laptop.0 >= TCP_STREAMS_FROM);
        assert!(!seen.contains(&at_hub), "{at_hub:?} was used before");
        seen.push(at_hub);
        laptop.command(Command::CloseStream { stream: at_laptop });
        expect(&mut hub, &Event::StreamClosed { stream: at_hub });
    }
}

#[test]
fn without_a_radio_everything_that_is_asked_fails_at_once_and_nothing_is_heard() {
    let mut radio = NoRadio::new(real_clock());
    let peer = Address(7);
    let mut agreeing = Agreeing::new();
    agreeing.command(Command::StartGroup);
    let credentials = pick(&mut agreeing, |event| match event {
        Event::GroupStarted { credentials } => Some(credentials),
        _ => None,
    });
    for (command, answer) in [
        (Command::Connect { peer }, Event::ConnectFailed { peer }),
        (Command::StartGroup, Event::GroupFailed),
        (Command::Join { credentials }, Event::JoinFailed),
        (Command::Dial, Event::StreamFailed),
    ] {
        radio.command(command);
        assert_eq!(radio.event(Time::ZERO), Some(answer));
    }
    radio.command(Command::Scan);
    radio.command(Command::StopGroup);
    quiet(&mut radio);
}

#[test]
fn a_dial_that_nobody_answers_fails() {
    let listener = TcpListener::bind(local()).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut laptop = NetRadio::new(Box::new(NoRadio::new(real_clock())));
    for address in [address.to_string(), "no-such-host.invalid:7700".to_owned()] {
        laptop.via(&address).unwrap();
        laptop.command(Command::Dial);
        pick(&mut laptop, |event| (event == Event::StreamFailed).then_some(()));
        quiet(&mut laptop);
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let mut laptop = NetRadio::new(Box::new(NoRadio::new(real_clock())));
    for address in ["", "desk", ":7700", "desk:", "desk:0", "desk:65536", "desk:x"] {
        assert!(laptop.via(address).is_err(), "{address:?}");
    }
    laptop.via("[::1]:7700").unwrap();
    laptop.via("desk.local:7700").unwrap();
}

#[test]
fn two_hubs_can_not_listen_at_the_same_address() {
    let (hub, _laptop) = pair();
    let mut other = NetRadio::new(Box::new(NoRadio::new(real_clock())));
    let error = other.listen(hub.listening().unwrap()).unwrap_err();
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    assert_eq!(other.listening(), None);
}

#[test]
fn more_connections_than_the_limit_are_closed_and_the_others_go_on() {
    let (mut hub, mut laptop) = pair();
    let (at_hub, at_laptop) = link(&mut hub, &mut laptop);
    let address = hub.listening().unwrap();
    let crowd: Vec<TcpStream> = (0..2 * ACCEPTED_MAX)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    // Closed ones are at their end; the others have nothing to read.
    for peer in &crowd {
        peer.set_nonblocking(true).unwrap();
    }
    let mut streams = 1;
    while streams < ACCEPTED_MAX {
        opened(&mut hub);
        streams += 1;
    }
    quiet(&mut hub);
    let closed = crowd
        .iter()
        .filter(|peer| matches!((&**peer).read(&mut [0]), Ok(0)))
        .count();
    assert_eq!(closed, ACCEPTED_MAX + 1);
    let piece = Bytes::from_static(b"still here");
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
    // There is room again when they have gone.
    drop(crowd);
    for _ in 1..ACCEPTED_MAX {
        pick(&mut hub, |event| {
            matches!(event, Event::StreamClosed { .. }).then_some(())
        });
    }
    let room_again = (0..100).any(|_| {
        laptop.command(Command::Dial);
        opened(&mut laptop);
        let until = hub.now() + SILENCE;
        matches!(hub.event(until), Some(Event::StreamOpened { .. }))
    });
    assert!(room_again);
}

#[test]
fn a_peer_that_floods_is_stopped_until_its_bytes_are_taken() {
    let (mut hub, _laptop) = pair();
    let peer = TcpStream::connect(hub.listening().unwrap()).unwrap();
    let stream = opened(&mut hub);
    peer.set_nonblocking(true).unwrap();
    let junk = vec![1; 1 << 20];
    let mut sent = 0;
    loop {
        match (&peer).write(&junk) {
            Ok(bytes) => sent += bytes,
            // Full for good, or the hub's reader is just slow.
            Err(_) => {
                let before = sent;
                thread::park_timeout(SILENCE);
                sent += (&peer).write(&junk).unwrap_or(0);
                if sent == before {
                    break;
                }
            }
        }
        assert!(sent < 256 << 20, "it takes everything");
    }
    // Nothing of it is lost.
    drop(peer);
    let mut read = 0;
    while read < sent {
        read += pick(&mut hub, |event| match event {
            Event::Read { piece, .. } => {
                assert!(piece.len() <= STREAM_PIECE_SIZE_BYTES_MAX);
                Some(piece.len())
            }
            _ => None,
        });
    }
    expect(&mut hub, &Event::StreamClosed { stream });
}

#[test]
fn last_words_leave_before_a_radio_is_dropped() {
    let (mut hub, mut laptop) = pair();
    let (at_hub, at_laptop) = link(&mut hub, &mut laptop);
    let total = STREAM_WINDOW_BYTES;
    let dropping = thread::spawn(move || {
        for _ in 0..total / STREAM_PIECE_SIZE_BYTES_MAX {
            let piece = Bytes::from(vec![3; STREAM_PIECE_SIZE_BYTES_MAX]);
            laptop.command(Command::Write {
                stream: at_laptop,
                piece,
            });
        }
    });
    pull(&mut hub, at_hub, total);
    expect(&mut hub, &Event::StreamClosed { stream: at_hub });
    dropping.join().unwrap();
}

#[test]
fn a_peer_that_sends_to_the_end_gets_the_last_words_of_the_other_side() {
    let (mut hub, _laptop) = pair();
    let mut peer = TcpStream::connect(hub.listening().unwrap()).unwrap();
    let stream = opened(&mut hub);
    // It has unread bytes when it closes: a plain close would take its words back.
    peer.write_all(&vec![1; 3 << 20]).unwrap();
    let piece = Bytes::from(vec![2; 100_000]);
    hub.command(Command::Write { stream, piece });
    hub.command(Command::CloseStream { stream });
    expect(&mut hub, &Event::StreamClosed { stream });
    peer.write_all(&vec![1; 3 << 20]).unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, vec![2; 100_000]);
}

#[test]
fn a_lost_adapter_leaves_streams_over_tcp_alone() {
    let (mut hub, mut laptop) = pair();
    let (at_hub, at_laptop) = link(&mut hub, &mut laptop);
    laptop.command(Command::StopGroup);
    expect(&mut laptop, &Event::AdapterGone);
    let piece = Bytes::from_static(b"still here");
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
}

#[test]
fn a_dropped_radio_listens_no_more_and_its_streams_end() {
    let (mut hub, mut laptop) = pair();
    let (_, at_laptop) = link(&mut hub, &mut laptop);
    let address = hub.listening().unwrap();
    drop(hub);
    expect(&mut laptop, &Event::StreamClosed { stream: at_laptop });
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_stream_that_sends_much_does_not_keep_others_or_the_radio_waiting() {
    let (mut hub, mut laptop) = pair();
    let (loud, at_loud) = link(&mut hub, &mut laptop);
    let mut shy = NetRadio::new(Box::new(Agreeing::new()));
    shy.via(&hub.listening().unwrap().to_string()).unwrap();
    let (at_hub, at_shy) = link(&mut hub, &mut shy);
    let total = 64 << 20;
    let sender = thread::spawn(move || push(&mut laptop, at_loud, total, STREAM_PIECE_SIZE_BYTES_MAX));
    let mut loud_bytes = 0;
    let mut take = |event| match event {
        Event::Read { stream, piece } if stream == loud => {
            loud_bytes += piece.len();
            None
        }
        other => Some(other),
    };
    let piece = Bytes::from_static(b"me too");
    shy.command(Command::Write {
        stream: at_shy,
        piece: piece.clone(),
    });
    assert_eq!(
        pick(&mut hub, &mut take),
        Event::Read {
            stream: at_hub,
            piece
        }
    );
    hub.command(Command::StartGroup);
    assert!(matches!(pick(&mut hub, &mut take), Event::GroupStarted { .. }));
    assert!(loud_bytes < total, "they had to wait for all of it");
    pull(&mut hub, loud, total - loud_bytes);
    sender.join().unwrap();
}
