//! Sessions and pairings over one stream: who gets in, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use berth_pairing::{BeaconKeys, Closed, HandshakeError, Identity, Name, PairingCode, PairingError, Peer};
use berth_radio_sim::Faults;

use super::desk::{Desk, FastAes, WALL_NS, rng};
use super::pipes::Party;
use super::wrong_code;
use crate::link::framed;
use crate::{
    DIRECT_ATTEMPTS_MAX, Goal, HubEffect, LINKS_MAX, LaptopEffect, LaptopEnd, LaptopInput, Obstacle,
};

fn desk(seed: u64) -> Desk {
    Desk::new(seed, Faults::none())
}

impl Desk {
    fn pair_direct_with(&mut self, code: PairingCode) -> LaptopEnd {
        let name = Name::reduce("laptop");
        self.begin_direct(Goal::Pair { code, name });
        self.end()
    }

    pub(super) fn pair_direct(&mut self) -> Peer {
        let code = self.open_window();
        match self.pair_direct_with(code) {
            LaptopEnd::Paired(hub) => hub,
            other => panic!("SEED={}: {other}", self.seed),
        }
    }

    fn visit_direct(&mut self, hubs: Vec<Peer>) -> LaptopEnd {
        self.laptop_told.clear();
        self.begin_direct(Goal::Visit { hubs });
        self.end()
    }

    pub(super) fn other_laptop(&mut self, number: u64) {
        self.laptop_identity = Arc::new(Identity::generate(&mut *rng(1_000 + number)));
    }

    fn beacon_keys(&self) -> BeaconKeys {
        self.hub.trust().beacon_keys(WALL_NS).unwrap()
    }
}

fn obstacle(end: &LaptopEnd) -> Obstacle {
    match end {
        LaptopEnd::NoLink(obstacle) => *obstacle,
        other => panic!("{other}"),
    }
}

#[test]
fn a_laptop_pairs_and_visits_over_streams_whatever_pieces_they_come_in() {
    for (seed, piece_size_bytes) in [(1, usize::MAX), (2, 1), (3, 2), (4, 100)] {
        let mut desk = desk(seed);
        desk.pipes.piece_size_bytes = piece_size_bytes;
        let hub = desk.pair_direct();
        assert!(desk.run_until(|desk| !desk.hub_told.is_empty()));
        assert!(
            desk.hub_told
                .iter()
                .any(|told| matches!(told, HubEffect::Paired(_)))
        );
        desk.pipes.piece_size_bytes = piece_size_bytes.max(100);
        let session = desk.open_direct_link(vec![hub]).unwrap();
        desk.exchange(session);
        desk.tell_laptop(LaptopInput::Leave);
        assert!(matches!(desk.end(), LaptopEnd::Left));
        assert!(desk.hub_down(session), "an end taken for a cut");
        assert_eq!(desk.pipes.open(), 0);
    }
}

#[test]
fn a_cut_link_is_a_cut_on_both_sides() {
    let mut desk = desk(5);
    let hub = desk.pair_direct();
    let session = desk.open_direct_link(vec![hub]).unwrap();
    desk.pipes.cut();
    assert!(matches!(desk.end(), LaptopEnd::Cut));
    assert!(!desk.hub_down(session), "a cut taken for an end");
}

#[test]
fn three_wrong_codes_close_the_window_and_the_fourth_guess_gets_no_answer() {
    let mut desk = desk(6);
    let code = desk.open_window();
    for guesses_left in [2, 1, 0] {
        assert_eq!(desk.hub.guesses_left(), guesses_left + 1);
        match desk.pair_direct_with(wrong_code(&code)) {
            LaptopEnd::Pairing(error) => assert_eq!(error, PairingError::WrongCode { guesses_left }),
            other => panic!("{other}"),
        }
    }
    let closed = |told: &HubEffect| matches!(told, HubEffect::WindowClosed(Closed::GuessesUsed));
    assert!(desk.hub_told.iter().any(closed));
    assert_eq!(desk.hub.window_closes_at(), None);
    let end = desk.pair_direct_with(code);
    assert_eq!(obstacle(&end), Obstacle::Unanswered);
    assert!(end.advice().contains("`berthctl pair`"), "{}", end.advice());
    assert_eq!(desk.hub.trust().peers().count(), 0);
}

#[test]
fn a_running_pairing_can_be_seen_until_it_has_ended() {
    let mut desk = desk(7);
    let code = desk.open_window();
    assert_eq!(
        desk.hub.window_closes_at(),
        Some(desk.now + berth_pairing::WINDOW_MAX)
    );
    let name = Name::reduce("laptop");
    assert!(!desk.hub.is_pairing());
    desk.begin_direct(Goal::Pair { code, name });
    assert!(desk.run_until(|desk| desk.hub.is_pairing()));
    assert!(matches!(desk.end(), LaptopEnd::Paired(_)));
    assert!(desk.run_until(|desk| !desk.hub.is_pairing()));
    assert!(
        desk.hub_told
            .iter()
            .any(|told| matches!(told, HubEffect::Paired(_)))
    );
}

#[test]
fn an_address_of_a_foreign_hub_is_told_as_such() {
    let mut own = desk(8);
    let hub = own.pair_direct();
    let mut other = desk(9);
    other.laptop_identity = Arc::clone(&own.laptop_identity);
    let end = other.visit_direct(vec![hub]);
    assert_eq!(obstacle(&end), Obstacle::Stranger);
    assert!(end.advice().contains("revoked"), "{}", end.advice());
    let stale = |told: &HubEffect| matches!(told, HubEffect::NotAdmitted(HandshakeError::Stale));
    assert!(other.hub_told.iter().any(stale));
}

#[test]
fn of_several_paired_hubs_the_one_at_the_address_is_found() {
    let mut first = desk(10);
    let mut hubs = vec![first.pair_direct()];
    for seed in [11, 12] {
        let mut next = desk(seed);
        next.laptop_identity = Arc::clone(&first.laptop_identity);
        hubs.push(next.pair_direct());
        first = next;
    }
    for turn in 0..hubs.len() {
        hubs.rotate_left(turn);
        let session = first.open_direct_link(hubs.clone()).unwrap();
        let here = first.hub.trust().peers().next().unwrap().device;
        assert_eq!(here, first.laptop_identity.device());
        first.exchange(session);
    }
}

#[test]
fn hubs_that_all_refuse_are_tried_twice_and_no_more() {
    let mut other = desk(13);
    let hubs: Vec<Peer> = (14..17)
        .map(|seed| {
            let mut own = desk(seed);
            own.laptop_identity = Arc::clone(&other.laptop_identity);
            own.pair_direct()
        })
        .collect();
    assert_eq!(obstacle(&other.visit_direct(hubs)), Obstacle::Stranger);
    let refusals = |told: &&HubEffect| matches!(told, HubEffect::NotAdmitted(HandshakeError::Stale));
    assert_eq!(other.hub_told.iter().filter(refusals).count(), 6);
    assert_eq!(obstacle(&other.visit_direct(Vec::new())), Obstacle::Stranger);
}

#[test]
fn where_nobody_listens_the_laptop_gives_up_soon_and_names_the_address() {
    let mut desk = desk(18);
    let hub = desk.pair_direct();
    desk.pipes.listener = None;
    let begun = desk.now;
    let end = desk.visit_direct(vec![hub]);
    assert_eq!(obstacle(&end), Obstacle::Unreachable);
    assert!(end.advice().contains("--listen") && end.advice().contains("--via"));
    assert!(desk.now - begun < Duration::from_secs(5));
}

#[test]
fn what_is_silent_or_another_program_is_given_up() {
    let mut desk = desk(19);
    let hub = desk.pair_direct();
    desk.pipes.listener = Some(Party::Test);
    let begun = desk.now;
    assert_eq!(
        obstacle(&desk.visit_direct(vec![hub.clone()])),
        Obstacle::Unanswered
    );
    assert_eq!(desk.pipes.heard.len(), DIRECT_ATTEMPTS_MAX as usize);
    assert!(desk.now - begun < Duration::from_secs(60));

    desk.laptop_told.clear();
    desk.pipes.heard.clear();
    desk.begin_direct(Goal::Visit { hubs: vec![hub] });
    assert!(desk.run_until(|desk| desk.pipes.heard.values().any(|heard| !heard.bytes.is_empty())));
    let stream = *desk.pipes.heard.keys().next().unwrap();
    desk.pipes.write(Party::Test, stream, b"SSH-2.0-OpenSSH_9.6\r\n");
    assert_eq!(obstacle(&desk.end()), Obstacle::Unanswered);
    assert_eq!(desk.pipes.heard.len(), 1);
}

#[test]
fn a_revoked_laptop_is_cut_off_and_refused() {
    let mut desk = desk(20);
    let hub = desk.pair_direct();
    desk.open_direct_link(vec![hub.clone()]).unwrap();
    let device = desk.laptop_identity.device();
    desk.revoke(&device);
    assert!(matches!(desk.end(), LaptopEnd::Cut));
    assert_eq!(obstacle(&desk.visit_direct(vec![hub])), Obstacle::Stranger);
    let revoked = |told: &HubEffect| matches!(told, HubEffect::NotAdmitted(HandshakeError::Revoked { .. }));
    assert!(desk.hub_told.iter().any(revoked));
}

#[test]
fn a_laptop_that_only_ever_comes_directly_learns_the_new_beacon_key() {
    let mut desk = desk(21);
    let hub = desk.pair_direct();
    let own = Arc::clone(&desk.laptop_identity);
    desk.other_laptop(0);
    desk.pair_direct();
    let device = desk.laptop_identity.device();
    desk.revoke(&device);
    desk.laptop_identity = own;
    let keys = desk.beacon_keys();
    assert_eq!(keys.previous, [hub.beacon.clone().unwrap()]);

    let session = desk.open_direct_link(vec![hub.clone()]).unwrap();
    let told = desk.laptop_told.iter().find_map(|told| match told {
        LaptopEffect::BeaconKey { hub, key } => Some((*hub, key.clone())),
        _ => None,
    });
    assert_eq!(told, Some((hub.device, keys.current.clone())));
    // The hub believes it only when the laptop has said something.
    assert_eq!(desk.beacon_keys(), keys);
    desk.exchange(session);
    assert_eq!(desk.beacon_keys().previous, []);
}

#[test]
fn a_laptop_that_has_answered_an_offer_knows_the_new_beacon_key() {
    for seed in 0..4 {
        let mut desk = desk(seed);
        let hub = desk.pair();
        let own = Arc::clone(&desk.laptop_identity);
        desk.other_laptop(0);
        desk.pair();
        let other = std::mem::replace(&mut desk.laptop_identity, own).device();
        desk.revoke(&other);
        // With no keep-alive in between: BLE may be gone as soon as there is Wi-Fi.
        desk.open_link(hub).unwrap();
        assert_eq!(desk.beacon_keys().previous, [], "SEED={seed}");
    }
}

#[test]
fn a_key_made_in_the_middle_of_a_visit_does_not_count_as_told() {
    for is_direct in [false, true] {
        let mut desk = desk(22);
        let hub = desk.pair();
        let own = Arc::clone(&desk.laptop_identity);
        desk.other_laptop(0);
        desk.pair();
        let other = std::mem::replace(&mut desk.laptop_identity, own).device();
        let session = if is_direct {
            desk.open_direct_link(vec![hub.clone()])
        } else {
            desk.open_link(hub.clone())
        };
        desk.revoke(&other);
        desk.exchange(session.unwrap());
        // Keep-alives over BLE, where there is BLE.
        let end = desk.now + 2 * crate::KEEP_ALIVE_AFTER;
        desk.run_until(|desk| desk.now >= end);
        assert_eq!(desk.beacon_keys().previous, [hub.beacon.clone().unwrap()]);
        desk.tell_laptop(LaptopInput::Leave);
        desk.end();
        assert!(
            desk.open_link(hub).is_some(),
            "the hub is not recognised any more"
        );
    }
}

#[test]
fn a_laptop_that_comes_another_way_replaces_its_older_link() {
    let mut desk = desk(23);
    let hub = desk.pair();
    let over_ble = desk.open_link(hub.clone()).unwrap();
    let direct = desk.open_direct_link(vec![hub.clone()]).unwrap();
    desk.hub_down(over_ble);
    desk.exchange(direct);
    // The program of before is gone, and with it what it had of the air.
    desk.air.away(desk.now, desk.laptop_port);
    desk.air.near(desk.now, desk.laptop_port);
    let over_ble = desk.open_link(hub.clone()).unwrap();
    desk.exchange(over_ble);
    assert!(
        desk.hub_told
            .iter()
            .any(|told| matches!(told, HubEffect::Down { session, .. } if *session == direct))
    );
    let direct = desk.open_direct_link(vec![hub.clone()]).unwrap();
    let again = desk.open_direct_link(vec![hub]).unwrap();
    desk.hub_down(direct);
    desk.exchange(again);
}

#[test]
fn a_lost_adapter_leaves_direct_links_alone() {
    let mut desk = desk(24);
    let hub = desk.pair_direct();
    let session = desk.open_direct_link(vec![hub]).unwrap();
    desk.tell_hub(crate::HubInput::Radio(berth_radio::Event::AdapterGone));
    desk.tell_laptop(LaptopInput::Radio(berth_radio::Event::AdapterGone));
    desk.exchange(session);
}

#[test]
fn a_hub_has_no_more_links_than_its_limit() {
    let mut desk = desk(25);
    let mut laptops = Vec::new();
    for number in 0..=LINKS_MAX as u64 {
        desk.other_laptop(number);
        laptops.push((Arc::clone(&desk.laptop_identity), desk.pair_direct()));
    }
    let mut sessions = Vec::new();
    for (identity, hub) in laptops.iter().take(LINKS_MAX) {
        desk.laptop_identity = Arc::clone(identity);
        sessions.push(desk.open_direct_link(vec![hub.clone()]).unwrap());
    }
    let (identity, hub) = laptops.pop().unwrap();
    desk.laptop_identity = identity;
    assert_eq!(
        obstacle(&desk.visit_direct(vec![hub.clone()])),
        Obstacle::Unanswered
    );
    desk.tell_hub(crate::HubInput::End { session: sessions[3] });
    assert!(desk.open_direct_link(vec![hub]).is_some());
}

#[test]
fn a_visit_that_is_cut_in_any_state_begins_again_or_says_why_not() {
    let mut desk = desk(26);
    let hub = desk.pair_direct();
    desk.pipes.piece_size_bytes = 7;
    for pieces in 0.. {
        desk.pipes.cut_after = Some(pieces);
        let session = desk.open_direct_link(vec![hub.clone()]);
        let was_cut = desk.pipes.cut_after.is_none();
        let session = session.unwrap_or_else(|| panic!("cut after {pieces} pieces: {:?}", desk.laptop_told));
        if !was_cut {
            desk.pipes.cut_after = None;
            desk.exchange(session);
            assert!(pieces > 10, "nothing was cut");
            return;
        }
        desk.pipes.cut();
        desk.run_until(|desk| desk.pipes.open() == 0 && desk.laptop_told.iter().any(is_over));
        desk.hub_down(session);
    }
}

fn is_over(told: &LaptopEffect) -> bool {
    matches!(told, LaptopEffect::Over(_))
}

#[test]
fn a_pairing_that_is_cut_in_any_state_leaves_no_laptop_believing_what_is_not_so() {
    for pieces in 0.. {
        let mut desk = desk(27);
        desk.pipes.piece_size_bytes = 50;
        desk.pipes.cut_after = Some(pieces);
        let code = desk.open_window();
        let end = desk.pair_direct_with(code);
        let was_cut = desk.pipes.cut_after.take().is_none();
        let is_trusted = desk.hub.trust().peers().count() == 1;
        match &end {
            LaptopEnd::Paired(_) => assert!(is_trusted, "cut after {pieces} pieces"),
            LaptopEnd::Pairing(PairingError::Lost) | LaptopEnd::NoLink(Obstacle::Unanswered) => {}
            other => panic!("cut after {pieces} pieces: {other}"),
        }
        assert!(
            desk.run_until(|desk| !desk.hub.is_pairing()),
            "cut after {pieces} pieces"
        );
        let hub = desk.pair_direct();
        desk.open_direct_link(vec![hub]).unwrap();
        if !was_cut {
            assert!(pieces > 10, "nothing was cut");
            return;
        }
    }
}

#[test]
fn a_laptop_may_leave_in_any_state() {
    let mut desk = desk(28);
    let hub = desk.pair_direct();
    for events in 0..30 {
        desk.laptop_told.clear();
        desk.begin_direct(Goal::Visit {
            hubs: vec![hub.clone()],
        });
        let mut seen = 0;
        desk.run_until(|_| {
            seen += 1;
            seen > events
        });
        desk.tell_laptop(LaptopInput::Leave);
        assert!(matches!(desk.end(), LaptopEnd::Left), "after {events} events");
        let end = desk.now + Duration::from_secs(1);
        desk.run_until(|desk| desk.now >= end);
        assert_eq!(desk.pipes.open(), 0, "after {events} events");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let mut desk = desk(seed);
        let hub = desk.pair_direct();
        desk.open_direct_link(vec![hub]).unwrap();
        desk.pipes.to_hub
    };
    assert_eq!(run(29), run(29));
    assert_ne!(run(29), run(30));
}

#[test]
fn the_weaker_machine_decides_on_the_cipher_and_the_link_works_with_either() {
    for seed in 32..36 {
        let mut desk = desk(seed);
        let hub = desk.pair_direct();
        desk.pipes.to_hub.clear();
        let session = desk.open_direct_link(vec![hub.clone()]).unwrap();
        desk.exchange(session);
        let FastAes { laptop, hub: ours } = desk.fast_aes;
        let hello = desk.pipes.to_hub[0].1.clone();
        assert_eq!(hello[..], framed(&[0x01, 1, laptop.into()])[..], "SEED={seed}");
        // What the hub says to that hello.
        let stream = desk.pipes.dial(Party::Test).unwrap();
        desk.pipes.write(Party::Test, stream, &hello);
        assert!(desk.run_until(|desk| !desk.pipes.heard[&stream].bytes.is_empty()));
        let answer = &desk.pipes.heard[&stream].bytes[2..];
        assert_eq!(answer[..3], [0x11, 1, (laptop && ours).into()], "SEED={seed}");
        // In the group it is the cipher of the session over BLE.
        let session = desk.open_link(hub).unwrap();
        desk.exchange(session);
    }
}
