//! Streams of anybody on a plain network: the hub keeps its limits, lets nobody in, and closes them all in time.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use berth_pairing::{Identity, Name, TrustList};
use berth_radio::{Command, Event, StreamId};
use berth_radio_sim::SimDisk;
use berth_session::{HubEffect, HubInput, HubSession, HubSetup, UNPROVEN_MAX};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const WALL_NS: i64 = 1_700_000_000_000_000_000;
/// No handshake and no step of a pairing lasts longer; each may follow on the other.
const CLOSED_AFTER: Duration = Duration::from_secs(60);

fuzz_target!(|data: &[u8]| {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let setup = HubSetup {
        identity: Arc::new(Identity::generate(&mut rng)),
        name: Name::reduce("hub"),
        trust: TrustList::open(Arc::new(SimDisk::new()), "trust").expect("an empty disk"),
        fast_aes: false,
        rng: Box::new(rng),
    };
    let (mut now, mut out) = (Duration::ZERO, Vec::new());
    let mut hub = HubSession::new(now, WALL_NS, setup, &mut out).expect("an empty disk");
    hub.open_window(now, WALL_NS, &mut out);
    let mut open: Vec<StreamId> = Vec::new();
    let mut next = 0;
    let mut rest = data;
    // What happens, on which stream, and how many bytes.
    while let Some((&[what, on, length], after)) = rest.split_first_chunk() {
        let (piece, after) = after.split_at(after.len().min(usize::from(length)));
        rest = after;
        let on = open.get(usize::from(on) % open.len().max(1)).copied();
        let input = match (what % 8, on) {
            (0, _) | (_, None) => {
                next += 1;
                let stream = StreamId(next);
                open.push(stream);
                HubInput::Radio(Event::StreamOpened { stream })
            }
            (1, Some(stream)) => {
                open.retain(|other| *other != stream);
                HubInput::Radio(Event::StreamClosed { stream })
            }
            (2, _) => {
                now += Duration::from_millis(u64::from(length) * 50);
                HubInput::Tick
            }
            (_, Some(stream)) => {
                let piece = Bytes::copy_from_slice(piece);
                HubInput::Radio(Event::Read { stream, piece })
            }
        };
        hub.handle(now, WALL_NS, input, &mut out);
        take(&mut open, &mut out);
        assert!(open.len() <= UNPROVEN_MAX);
    }
    now += CLOSED_AFTER;
    hub.handle(now, WALL_NS, HubInput::Tick, &mut out);
    take(&mut open, &mut out);
    assert!(open.is_empty());
});

/// What the hub has done about its streams.
fn take(open: &mut Vec<StreamId>, out: &mut Vec<HubEffect>) {
    for effect in out.drain(..) {
        match effect {
            HubEffect::Radio(Command::CloseStream { stream }) => open.retain(|other| *other != stream),
            HubEffect::Up { .. } | HubEffect::Paired(_) => panic!("somebody came in"),
            _ => {}
        }
    }
}
