//! Radios to try out, and waiting for what they tell.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub(crate) mod air;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use berth_net::{NetRadio, NoRadio};
use berth_radio::{
    Address, Command, Event, GroupCredentials, Joined, Radio, STREAM_WINDOW_BYTES, StreamId, Time, Waker,
};
use bytes::Bytes;

/// Longest wait for what must come.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// How long nothing must come until it counts as silence.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

#[allow(clippy::disallowed_methods, reason = "sockets need real time")]
pub(crate) fn real_clock() -> impl Fn() -> Time + Clone + Send + Sync {
    let start = std::time::Instant::now();
    move || start.elapsed()
}

/// Says yes to groups and joins, so that checks that need them come to their streams; and can lose its adapter.
pub(crate) struct Agreeing {
    told: VecDeque<Event>,
    rest: NoRadio,
}

impl Agreeing {
    pub(crate) fn new() -> Self {
        Self {
            told: VecDeque::new(),
            rest: NoRadio::new(real_clock()),
        }
    }
}

impl Radio for Agreeing {
    fn command(&mut self, command: Command) {
        match command {
            Command::StartGroup => self.told.push_back(Event::GroupStarted {
                credentials: GroupCredentials {
                    ssid: "DIRECT-xy".to_owned(),
                    passphrase: "passphrase".to_owned(),
                    frequency_mhz: 5180,
                    endpoint: "[fe80::1]:1".to_owned(),
                    device: Address(0x0200_0000_0001),
                },
            }),
            Command::Join { .. } => self.told.push_back(Event::Joined(Joined::DIRECTLY)),
            // Stands for an adapter that is pulled out.
            Command::StopGroup => self.told.push_back(Event::AdapterGone),
            other => self.rest.command(other),
        }
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        self.told.pop_front().or_else(|| self.rest.event(deadline))
    }

    fn waker(&self) -> Waker {
        self.rest.waker()
    }

    fn now(&self) -> Time {
        self.rest.now()
    }
}

pub(crate) fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A hub that listens and a laptop that knows where.
pub(crate) fn pair() -> (NetRadio, NetRadio) {
    let mut hub = NetRadio::new(Box::new(Agreeing::new()));
    let address = hub.listen(local()).unwrap();
    let mut laptop = NetRadio::new(Box::new(Agreeing::new()));
    laptop.via(&address.to_string()).unwrap();
    (hub, laptop)
}

#[track_caller]
pub(crate) fn pick<T>(radio: &mut impl Radio, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let deadline = radio.now() + WAIT;
    loop {
        let event = radio.event(deadline).expect("it never came");
        if let Some(picked) = wanted(event) {
            return picked;
        }
    }
}

#[track_caller]
pub(crate) fn expect(radio: &mut impl Radio, wanted: &Event) {
    pick(radio, |event| (event == *wanted).then_some(()));
}

/// Nothing comes for a while.
#[track_caller]
pub(crate) fn quiet(radio: &mut impl Radio) {
    let until = radio.now() + SILENCE;
    assert_eq!(radio.event(until), None);
}

#[track_caller]
pub(crate) fn opened(radio: &mut impl Radio) -> StreamId {
    pick(radio, |event| match event {
        Event::StreamOpened { stream } => Some(stream),
        Event::StreamFailed => panic!("the dial failed"),
        _ => None,
    })
}

/// A stream between the two.
#[track_caller]
pub(crate) fn link(hub: &mut impl Radio, laptop: &mut impl Radio) -> (StreamId, StreamId) {
    laptop.command(Command::Dial);
    let at_laptop = opened(laptop);
    (opened(hub), at_laptop)
}

/// Writes `total` bytes in pieces of `size`, keeping the window full; returns when all have left.
pub(crate) fn push(radio: &mut impl Radio, stream: StreamId, total: usize, size: usize) {
    let piece = Bytes::from(vec![7; size]);
    let (mut written, mut drained) = (0, 0);
    while drained < total {
        while written < total && written - drained + size <= STREAM_WINDOW_BYTES {
            let piece = piece.slice(..size.min(total - written));
            written += piece.len();
            radio.command(Command::Write { stream, piece });
        }
        drained += pick(radio, |event| match event {
            Event::Drained { stream: of, bytes } if of == stream => Some(bytes),
            Event::StreamClosed { stream: of } if of == stream => panic!("closed after {drained} bytes"),
            _ => None,
        });
    }
}

/// Reads `total` bytes of a stream.
pub(crate) fn pull(radio: &mut impl Radio, stream: StreamId, total: usize) {
    let mut read = 0;
    while read < total {
        read += pick(radio, |event| match event {
            Event::Read { stream: of, piece } if of == stream => Some(piece.len()),
            Event::StreamClosed { stream: of } if of == stream => panic!("closed after {read} bytes"),
            _ => None,
        });
    }
}
