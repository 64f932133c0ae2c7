//! The conformance suite finds what it is there to find: radios that break one promise each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use berth_radio::conformance::{Bench, PROMISES, Role, check_all};
use berth_radio::{Command, Event, Joined, Radio, Time, Waker};
use berth_radio_sim::{Air, Profile, SharedAir, SimRadio, VirtualClock};
use bytes::Bytes;

/// What becomes of a command or an event.
type Bend<T> = fn(T) -> Vec<T>;

struct Bent {
    radio: SimRadio,
    commands: Bend<Command>,
    events: Bend<Event>,
    ready: VecDeque<Event>,
}

impl Radio for Bent {
    fn command(&mut self, command: Command) {
        (self.commands)(command)
            .into_iter()
            .for_each(|command| self.radio.command(command));
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        while self.ready.is_empty() {
            self.ready.extend((self.events)(self.radio.event(deadline)?));
        }
        self.ready.pop_front()
    }

    fn waker(&self) -> Waker {
        self.radio.waker()
    }

    fn now(&self) -> Time {
        self.radio.now()
    }
}

struct BentPair {
    air: SharedAir,
    hub: Bent,
    laptop: Bent,
}

impl BentPair {
    fn new(commands: Bend<Command>, events: Bend<Event>) -> Self {
        let air = SharedAir::new(Air::new(1, Profile::PERFECT), VirtualClock::new());
        let bend = |name| Bent {
            radio: air.radio(name).unwrap(),
            commands,
            events,
            ready: VecDeque::new(),
        };
        Self {
            hub: bend("hub"),
            laptop: bend("laptop"),
            air,
        }
    }
}

impl Bench for BentPair {
    fn radio(&mut self, role: Role) -> &mut dyn Radio {
        match role {
            Role::Hub => &mut self.hub,
            Role::Laptop => &mut self.laptop,
        }
    }

    fn silence(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn laptop_near(&mut self, near: bool) -> bool {
        let port = self.laptop.radio.port();
        self.air.with(|air, now| {
            if near {
                air.near(now, port)
            } else {
                air.away(now, port)
            }
        });
        true
    }

    fn adapter(&mut self, role: Role, there: bool) -> bool {
        let bent = if role == Role::Hub {
            &self.hub
        } else {
            &self.laptop
        };
        let port = bent.radio.port();
        self.air.with(|air, now| {
            if there {
                air.adapter_back(now, port)
            } else {
                air.adapter_gone(now, port)
            }
        });
        true
    }
}

fn as_it_is<T>(it: T) -> Vec<T> {
    vec![it]
}

fn none_if<T>(gone: bool, it: T) -> Vec<T> {
    if gone { Vec::new() } else { vec![it] }
}

/// Promises and radios that break them.
const BENT: &[(&str, Bend<Command>, Bend<Event>)] = &[
    (
        "a_beacon_is_heard_as_it_was_sent",
        as_it_is,
        |event| match event {
            Event::Sighted { peer, rssi_dbm, .. } => vec![Event::Sighted {
                peer,
                rssi_dbm,
                beacon: Bytes::new(),
            }],
            other => vec![other],
        },
    ),
    (
        "nothing_is_heard_after_advertising_stopped",
        |it| none_if(it == Command::StopAdvertising, it),
        as_it_is,
    ),
    (
        "nothing_is_reported_after_scanning_stopped",
        |it| none_if(it == Command::StopScanning, it),
        as_it_is,
    ),
    ("nobody_answers_at_an_unknown_address", as_it_is, |event| {
        none_if(matches!(event, Event::ConnectFailed { .. }), event)
    }),
    (
        "a_connection_tells_a_frame_limit_within_the_contract",
        as_it_is,
        |event| match event {
            Event::Connected { conn, .. } => vec![Event::Connected { conn, mtu_bytes: 517 }],
            other => vec![other],
        },
    ),
    (
        "frames_of_every_size_go_both_ways_whole",
        as_it_is,
        |event| match event {
            Event::Received { conn, frame } if frame.len() == 512 => {
                vec![Event::Received {
                    conn,
                    frame: frame.slice(..511),
                }]
            }
            other => vec![other],
        },
    ),
    (
        "a_frame_over_the_limit_is_never_delivered",
        |command| match command {
            Command::Send { conn, frame } if frame.len() > 512 => {
                vec![Command::Send {
                    conn,
                    frame: frame.slice(..512),
                }]
            }
            other => vec![other],
        },
        as_it_is,
    ),
    ("a_disconnect_is_seen_by_both_sides", as_it_is, |event| {
        none_if(matches!(event, Event::Disconnected { .. }), event)
    }),
    (
        "a_disconnect_is_seen_by_both_sides",
        as_it_is,
        |event| match event {
            Event::Disconnected { .. } => vec![event.clone(), event],
            other => vec![other],
        },
    ),
    (
        "a_group_tells_credentials_within_the_contract",
        as_it_is,
        |event| match event {
            Event::GroupStarted { mut credentials } => {
                credentials.passphrase.truncate(7);
                vec![Event::GroupStarted { credentials }]
            }
            other => vec![other],
        },
    ),
    ("a_wrong_passphrase_is_refused", as_it_is, |event| match event {
        Event::JoinFailed => vec![Event::Joined(Joined::DIRECTLY)],
        other => vec![other],
    }),
    ("nobody_dials_without_a_group", as_it_is, |event| {
        none_if(event == Event::StreamFailed, event)
    }),
    (
        "a_stream_carries_both_ways_in_order",
        as_it_is,
        |event| match event {
            Event::Read { .. } => vec![event.clone(), event],
            other => vec![other],
        },
    ),
    (
        "a_stream_carries_both_ways_in_order",
        as_it_is,
        |event| match event {
            Event::Read { stream, piece } if piece.len() == 1400 => {
                vec![Event::Read {
                    stream,
                    piece: Bytes::from(vec![0; 1400]),
                }]
            }
            other => vec![other],
        },
    ),
    ("drained_adds_up_to_what_was_written", as_it_is, |event| {
        none_if(matches!(event, Event::Drained { .. }), event)
    }),
    (
        "drained_adds_up_to_what_was_written",
        as_it_is,
        |event| match event {
            Event::Drained { stream, bytes } => vec![Event::Drained {
                stream,
                bytes: bytes * 2,
            }],
            other => vec![other],
        },
    ),
    (
        "a_closed_stream_delivers_what_was_written_first",
        as_it_is,
        |event| none_if(matches!(event, Event::StreamClosed { .. }), event),
    ),
    (
        "a_held_stream_waits_alone_and_loses_nothing",
        |command| none_if(matches!(command, Command::Hold { .. }), command),
        as_it_is,
    ),
    (
        "a_held_stream_waits_alone_and_loses_nothing",
        |command| none_if(matches!(command, Command::Resume { .. }), command),
        as_it_is,
    ),
    (
        "a_piece_over_the_limit_ends_the_stream",
        |command| match command {
            Command::Write { stream, piece } => {
                let size = piece.len().min(128 * 1024);
                vec![Command::Write {
                    stream,
                    piece: piece.slice(..size),
                }]
            }
            other => vec![other],
        },
        as_it_is,
    ),
    (
        "stopping_the_group_ends_streams_and_membership",
        as_it_is,
        |event| none_if(event == Event::GroupStopped, event),
    ),
    (
        "leaving_ends_the_streams_and_joining_again_works",
        |it| none_if(it == Command::Leave, it),
        as_it_is,
    ),
    (
        "out_of_range_ends_connection_stream_and_membership",
        as_it_is,
        |it| none_if(it == Event::Left, it),
    ),
    (
        "a_lost_adapter_is_told_and_works_again_when_back",
        as_it_is,
        |it| none_if(it == Event::AdapterGone, it),
    ),
];

#[test]
fn each_bent_radio_fails_the_promise_it_breaks() {
    for (number, (name, commands, events)) in BENT.iter().enumerate() {
        let promise = PROMISES.iter().find(|promise| promise.name == *name).unwrap();
        let result = promise.check(&mut BentPair::new(*commands, *events));
        let broken = result.expect_err(&format!("bent radio {number} held {name}"));
        assert_eq!(broken.promise, *name);
        assert!(promise.check(&mut BentPair::new(as_it_is, as_it_is)).is_ok());
    }
}

#[test]
fn the_suite_ends_at_the_first_broken_promise_and_names_it() {
    let broken = check_all(|| BentPair::new(|_| Vec::new(), as_it_is)).unwrap_err();
    assert_eq!(
        broken.to_string(),
        "a_beacon_is_heard_as_it_was_sent: Laptop never saw the beacon"
    );
}

#[test]
fn every_promise_has_a_name_of_its_own() {
    let names: BTreeSet<_> = PROMISES.iter().map(|promise| promise.name).collect();
    assert_eq!(names.len(), PROMISES.len());
}
