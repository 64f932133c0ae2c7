//! Both machines against the simulated air, and over a plain network.

mod desk;
mod direct;
mod group;
mod hostile;
mod lan;
mod pipes;

use berth_pairing::{Name, PairingCode};
use berth_radio_sim::Faults;
use bytes::Bytes;

use crate::{Goal, HubInput, LaptopEffect, LaptopEnd, LaptopInput};
use desk::Desk;

#[test]
fn a_paired_laptop_gets_a_link_that_carries_frames_both_ways_under_everyday_faults() {
    for seed in 0..30 {
        let mut desk = Desk::new(seed, Faults::everyday());
        let hub = desk.pair();
        let session = desk
            .open_link(hub)
            .unwrap_or_else(|| panic!("SEED={seed}: no link, {:?}", desk.laptop_told));
        desk.exchange(session);
        desk.tell_laptop(LaptopInput::Leave);
        assert!(matches!(desk.end(), LaptopEnd::Left), "SEED={seed}");
        assert!(desk.hub_down(session), "SEED={seed}: an end taken for a cut");
    }
}

fn wrong_code(code: &PairingCode) -> PairingCode {
    let other = if code.to_text().starts_with('1') {
        "22222222"
    } else {
        "11111111"
    };
    PairingCode::parse(other).unwrap()
}

#[test]
fn a_wrong_code_is_refused_and_says_what_to_do() {
    let mut desk = Desk::new(1, Faults::none());
    let code = wrong_code(&desk.open_window());
    let name = Name::reduce("laptop");
    desk.begin(Goal::Pair { code, name });
    match desk.end() {
        LaptopEnd::Pairing(error) => assert!(
            error.advice().contains("type it again"),
            "{error}: {}",
            error.advice()
        ),
        other => panic!("{other}"),
    }
    assert_eq!(desk.hub.trust().peers().count(), 0);
}

#[test]
fn a_revoked_laptop_is_cut_off_in_the_middle_of_a_visit_and_refused_afterwards() {
    let mut desk = Desk::new(2, Faults::none());
    let hub = desk.pair();
    desk.open_link(hub.clone()).unwrap();
    let device = desk.laptop_identity.device();
    desk.revoke(&device);
    assert!(matches!(desk.end(), LaptopEnd::Cut));
    desk.begin(Goal::Visit { hubs: vec![hub] });
    match desk.end() {
        // The beacon has a new key, so that a revoked laptop no longer knows which hub this is.
        LaptopEnd::NoLink(obstacle @ crate::Obstacle::Stranger) => {
            assert!(obstacle.advice().contains("revoked"), "{}", obstacle.advice());
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_last_word_of_a_hub_that_hangs_up_is_heard() {
    let mut desk = Desk::new(8, Faults::none());
    let hub = desk.pair();
    let session = desk.open_link(hub).unwrap();
    let frame = Bytes::from_static(b"refused");
    desk.tell_hub(HubInput::Frame { session, frame });
    desk.tell_hub(HubInput::End { session });
    assert!(desk.run_until(|desk| {
        let told = &mut desk.laptop_told.iter();
        told.any(|told| matches!(told, LaptopEffect::Frame(frame) if &frame[..] == b"refused"))
    }));
}

#[test]
fn a_laptop_that_walks_away_is_told_and_comes_back_to_a_new_link() {
    let mut desk = Desk::new(3, Faults::none());
    let hub = desk.pair();
    let first = desk.open_link(hub.clone()).unwrap();
    desk.air.away(desk.now, desk.laptop_port);
    assert!(matches!(desk.end(), LaptopEnd::Cut));
    desk.air.near(desk.now, desk.laptop_port);
    let second = desk.open_link(hub).unwrap();
    assert_ne!(first, second);
}

#[test]
fn a_laptop_that_hears_no_hub_gives_up_and_says_so() {
    let mut desk = Desk::new(4, Faults::none());
    let hub = desk.pair();
    desk.air.away(desk.now, desk.laptop_port);
    desk.begin(Goal::Visit { hubs: vec![hub] });
    assert!(matches!(desk.end(), LaptopEnd::NoLink(crate::Obstacle::NotHeard)));
}
