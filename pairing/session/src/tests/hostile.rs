//! What comes over the plain network from whoever likes: limits, deadlines, and closed streams.

use std::time::Duration;

use berth_pairing::{HANDSHAKE_MAX, PAIRING_STEP_MAX, PairingError, Peer};
use berth_radio::StreamId;
use berth_radio_sim::Faults;
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::desk::Desk;
use super::pipes::Party;
use crate::link::{HANDSHAKE_SIZE_BYTES_MAX, framed};
use crate::{Goal, HubEffect, LaptopEffect, LaptopEnd, UNPROVEN_MAX};

/// Length, tag, version, cipher and 16 fresh bytes.
const FRESH_SIZE_BYTES: usize = 2 + 3 + 16;

impl Desk {
    /// An outsider's stream to the hub.
    fn intrude(&mut self) -> StreamId {
        self.pipes.dial(Party::Test).unwrap()
    }

    fn say(&mut self, stream: StreamId, bytes: &[u8]) {
        self.pipes.write(Party::Test, stream, bytes);
        self.settle();
    }

    /// Lets everything under way arrive.
    fn settle(&mut self) {
        self.wait(Duration::ZERO);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        // The last event at `end` may cause more.
        self.run_until(|desk| desk.pipes.is_idle() && desk.next_at().is_none_or(|at| at > end));
        self.now = end;
        self.tell_hub(crate::HubInput::Tick);
        self.run_until(|desk| desk.pipes.is_idle());
    }

    /// What an outsider heard, if its stream was closed after it.
    fn refused(&self, stream: StreamId) -> Option<&[u8]> {
        let heard = self.pipes.heard.get(&stream)?;
        heard.is_closed.then_some(&heard.bytes)
    }

    fn nobody_came_in(&self) {
        let is_in = |told: &HubEffect| matches!(told, HubEffect::Up { .. } | HubEffect::Paired(_));
        assert!(!self.hub_told.iter().any(is_in), "SEED={}", self.seed);
    }
}

fn desk(seed: u64) -> (Desk, Peer) {
    let mut desk = Desk::new(seed, Faults::none());
    let hub = desk.pair_direct();
    desk.settle();
    desk.hub_told.clear();
    (desk, hub)
}

/// The messages of a whole visit's handshake, as they went to the hub.
fn recorded(desk: &mut Desk, hub: &Peer) -> Vec<Bytes> {
    desk.pipes.to_hub.clear();
    desk.open_direct_link(vec![hub.clone()]).unwrap();
    desk.pipes.cut();
    desk.end();
    desk.hub_told.clear();
    desk.laptop = None;
    desk.pipes.to_hub.iter().map(|(_, piece)| piece.clone()).collect()
}

#[test]
fn an_outsider_learns_nothing_but_a_closed_stream() {
    let (mut desk, hub) = desk(1);
    let recorded = recorded(&mut desk, &hub);
    let pairing: Bytes = [&[0x02, 1][..], &[0x41; 33]].concat().into();
    let silent: [&[u8]; 7] = [
        &framed(b"\x16\x03\x01"),
        &framed(b""),
        &framed(&pairing),
        // Another version.
        &framed(b"\x01\x02\x00"),
        // Another cipher.
        &framed(b"\x01\x01\x02"),
        // Longer than any message of a handshake.
        &(HANDSHAKE_SIZE_BYTES_MAX as u16 + 1).to_be_bytes(),
        // More than the one message that may come now.
        &[&recorded[0][..], b"\0"].concat(),
    ];
    for bytes in silent {
        let stream = desk.intrude();
        desk.say(stream, bytes);
        assert_eq!(desk.refused(stream), Some(&b""[..]), "{bytes:x?}");
    }
    // Replayed, made up, cut short, empty: after the fresh bytes it is all the same.
    let made_up = framed(&[0x42; 96]);
    for message in [
        &recorded[1][..],
        &made_up,
        &framed(&recorded[1][2..50]),
        &framed(b""),
    ] {
        let stream = desk.intrude();
        desk.say(stream, &recorded[0]);
        desk.say(stream, message);
        assert_eq!(
            desk.refused(stream).map(<[u8]>::len),
            Some(FRESH_SIZE_BYTES),
            "{message:x?}"
        );
    }
    desk.nobody_came_in();
}

#[test]
fn half_open_streams_are_few_and_short_lived_however_slowly_they_talk() {
    let (mut desk, hub) = desk(2);
    desk.settle();
    let begun = desk.now;
    let streams: Vec<StreamId> = (0..UNPROVEN_MAX).map(|_| desk.intrude()).collect();
    desk.settle();
    let one_more = desk.intrude();
    desk.settle();
    assert_eq!(desk.refused(one_more), Some(&b""[..]));
    // A byte a second keeps none of them open.
    let hello = [1, 0xff, 0x01, 1];
    for second in 0..HANDSHAKE_MAX.as_secs() as usize {
        for stream in &streams {
            let byte = [hello.get(second).copied().unwrap_or(0)];
            desk.pipes.write(Party::Test, *stream, &byte);
        }
        assert_eq!(desk.pipes.open(), UNPROVEN_MAX, "after {second} s");
        desk.wait(Duration::from_secs(1));
    }
    assert_eq!(desk.now, begun + HANDSHAKE_MAX);
    assert_eq!(desk.pipes.open(), 0);
    assert!(desk.open_direct_link(vec![hub]).is_some());
}

#[test]
fn a_pairing_that_falls_silent_is_closed_and_its_guess_is_used() {
    let (mut desk, _) = desk(3);
    desk.open_window();
    let stream = desk.intrude();
    // What any outsider can make: the generator's own bytes as a point.
    let mut hello = vec![0x02, 1, 0x41];
    hello.extend_from_slice(&[0x58]);
    hello.extend_from_slice(&[0x66; 31]);
    desk.say(stream, &framed(&hello));
    assert!(desk.hub.is_pairing(), "{:?}", desk.hub_told);
    assert_eq!(desk.hub.guesses_left(), 2);
    desk.wait(PAIRING_STEP_MAX);
    assert!(!desk.hub.is_pairing());
    assert!(desk.refused(stream).is_some());
    let silent = |told: &HubEffect| matches!(told, HubEffect::PairingFailed(PairingError::Silent));
    assert!(desk.hub_told.iter().any(silent), "{:?}", desk.hub_told);
    assert_eq!(desk.hub.guesses_left(), 2);
    desk.nobody_came_in();
}

#[test]
fn whatever_outsiders_send_nobody_comes_in_and_the_next_laptop_does() {
    for seed in 0..40 {
        let (mut desk, hub) = desk(seed);
        let recorded = recorded(&mut desk, &hub);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut streams: Vec<StreamId> = Vec::new();
        if seed % 2 == 0 {
            desk.open_window();
        }
        for _ in 0..200 {
            let pick = rng.next_u32() as usize;
            match rng.next_u32() % 8 {
                0 | 1 => streams.push(desk.intrude()),
                2 if !streams.is_empty() => desk.pipes.close(streams.swap_remove(pick % streams.len())),
                3 => desk.wait(Duration::from_millis(u64::from(rng.next_u32() % 3_000))),
                _ if !streams.is_empty() => {
                    let bytes = nonsense(&mut rng, &recorded);
                    desk.say(streams[pick % streams.len()], &bytes);
                }
                _ => {}
            }
            desk.settle();
            assert!(desk.pipes.open() <= UNPROVEN_MAX, "SEED={seed}");
        }
        desk.wait(4 * PAIRING_STEP_MAX);
        assert_eq!(desk.pipes.open(), 0, "SEED={seed}");
        desk.nobody_came_in();
        assert!(desk.open_direct_link(vec![hub]).is_some(), "SEED={seed}");
    }
}

#[test]
fn whatever_poses_as_a_hub_gets_no_link_and_the_session_ends() {
    for seed in 0..40 {
        let (mut desk, hub) = desk(seed);
        let recorded = recorded(&mut desk, &hub);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        desk.pipes.listener = Some(Party::Test);
        desk.laptop_told.clear();
        let goal = if seed % 2 == 0 {
            Goal::Visit { hubs: vec![hub] }
        } else {
            let code = desk.open_window();
            let name = berth_pairing::Name::reduce("laptop");
            Goal::Pair { code, name }
        };
        desk.begin_direct(goal);
        let is_over = |told: &LaptopEffect| matches!(told, LaptopEffect::Over(_));
        let ended = desk.run_until(|desk| {
            let open = desk.pipes.heard.iter().filter(|(_, heard)| !heard.is_closed);
            if let Some(stream) = open.map(|(stream, _)| *stream).max() {
                match rng.next_u32() % 6 {
                    0 => desk.pipes.close(stream),
                    // As a hub answers a hello.
                    1 => desk.pipes.write(
                        Party::Test,
                        stream,
                        &framed(&[[0x11, 1, 0].as_slice(), &[7; 16]].concat()),
                    ),
                    _ => desk
                        .pipes
                        .write(Party::Test, stream, &nonsense(&mut rng, &recorded)),
                }
            }
            desk.laptop_told.iter().any(is_over)
        });
        assert!(ended, "SEED={seed}");
        let is_fooled = |told: &LaptopEffect| {
            matches!(
                told,
                LaptopEffect::Up { .. }
                    | LaptopEffect::BeaconKey { .. }
                    | LaptopEffect::Over(LaptopEnd::Paired(_))
            )
        };
        assert!(!desk.laptop_told.iter().any(is_fooled), "SEED={seed}");
    }
}

/// Random bytes, now and then with a true length, or what a laptop once sent, whole, cut or changed.
fn nonsense(rng: &mut ChaCha20Rng, recorded: &[Bytes]) -> Vec<u8> {
    let mut bytes = vec![0; rng.next_u32() as usize % 600];
    rng.fill_bytes(&mut bytes);
    match rng.next_u32() % 6 {
        0 => bytes,
        1 => {
            bytes.truncate(HANDSHAKE_SIZE_BYTES_MAX);
            framed(&bytes).to_vec()
        }
        2 => {
            bytes.truncate(100);
            bytes.splice(0..bytes.len().min(1), [(rng.next_u32() % 5) as u8]);
            framed(&bytes).to_vec()
        }
        3 => {
            let mut message = recorded[rng.next_u32() as usize % recorded.len()].to_vec();
            let place = rng.next_u32() as usize % message.len();
            message[place] ^= 1 << (rng.next_u32() % 8);
            message
        }
        4 => {
            let mut message = recorded[rng.next_u32() as usize % recorded.len()].to_vec();
            message.truncate(rng.next_u32() as usize % message.len());
            message
        }
        _ => recorded[rng.next_u32() as usize % recorded.len()].to_vec(),
    }
}
