//! The air is never what slows a backup down.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;
use std::time::Duration;

use berth_radio::{Command, Event, Radio, STREAM_WINDOW_BYTES, StreamId};
use berth_radio_sim::{Air, Clock, Profile, SharedAir};
use bytes::Bytes;

const PIECE_SIZE_BYTES: usize = 65_519;
const WAIT: Duration = Duration::from_secs(60);

#[allow(clippy::disallowed_methods, reason = "speed is measured in real time")]
fn real_clock() -> impl Clock + Clone {
    let start = std::time::Instant::now();
    move || start.elapsed()
}

fn await_event<T>(radio: &mut impl Radio, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let deadline = radio.now() + WAIT;
    loop {
        let event = radio.event(deadline).expect("an event that never came");
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}

fn open(hub: &mut impl Radio, laptop: &mut impl Radio) -> StreamId {
    hub.command(Command::StartGroup);
    let credentials = await_event(hub, |event| match event {
        Event::GroupStarted { credentials } => Some(credentials),
        _ => None,
    });
    laptop.command(Command::Join { credentials });
    await_event(laptop, |event| matches!(event, Event::Joined(_)).then_some(()));
    laptop.command(Command::Dial);
    await_event(laptop, |event| match event {
        Event::StreamOpened { stream } => Some(stream),
        _ => None,
    })
}

/// Bytes a second from a laptop's thread to a hub's.
fn rate(mut hub: impl Radio + Send + 'static, mut laptop: impl Radio + Send, total: usize) -> f64 {
    let stream = open(&mut hub, &mut laptop);
    let started = laptop.now();
    let reader = thread::spawn(move || {
        let mut read = 0;
        while read < total {
            read += await_event(&mut hub, |event| match event {
                Event::Read { piece, .. } => Some(piece.len()),
                _ => None,
            });
        }
        hub.now()
    });
    let piece = Bytes::from(vec![7; PIECE_SIZE_BYTES]);
    let (mut written, mut drained) = (0, 0);
    while written < total {
        while written - drained + PIECE_SIZE_BYTES <= STREAM_WINDOW_BYTES {
            laptop.command(Command::Write {
                stream,
                piece: piece.clone(),
            });
            written += PIECE_SIZE_BYTES;
        }
        drained += await_event(&mut laptop, |event| match event {
            Event::Drained { bytes, .. } => Some(bytes),
            _ => None,
        });
    }
    let ended = reader.join().unwrap();
    total as f64 / (ended - started).as_secs_f64()
}

#[test]
fn the_perfect_profile_carries_a_gigabyte_a_second_between_threads() {
    let air = SharedAir::new(Air::new(1, Profile::PERFECT), real_clock());
    let (hub, laptop) = (air.radio("hub").unwrap(), air.radio("laptop").unwrap());
    let rate = rate(hub, laptop, 2_000_000_000);
    println!("threads: {:.0} MB/s", rate / 1e6);
    assert!(rate > 1e9, "{:.0} MB/s", rate / 1e6);
}
