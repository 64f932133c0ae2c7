//! The link over a network that both are on already, and what happens where there is none.

use std::net::SocketAddr;

use berth_radio::{Command, Event};
use berth_radio_sim::{Faults, TraceTo};

use super::desk::Desk;
use super::pipes::Party;
use crate::{HubEffect, HubInput, LaptopEffect, LaptopEnd, LaptopInput};

impl Desk {
    /// With a hub that listens in a LAN, and a laptop that is paired with it.
    fn in_a_lan(seed: u64) -> (Self, berth_pairing::Peer) {
        let mut desk = Self::new(seed, Faults::everyday());
        desk.air.trace_to(TraceTo::Memory);
        let hub = desk.pair();
        let endpoint: SocketAddr = "192.0.2.7:7700".parse().unwrap();
        desk.tell_hub(HubInput::Lan(vec![endpoint]));
        (desk, hub)
    }

    fn has_opened_a_group(&self) -> bool {
        self.air
            .trace()
            .lines()
            .any(|line| line.ends_with("hub > StartGroup"))
    }
}

#[test]
fn a_laptop_in_the_hubs_lan_gets_its_link_there_and_nobodys_wifi_is_taken() {
    for seed in 0..10 {
        let (mut desk, hub) = Desk::in_a_lan(seed);
        let session = desk.open_link(hub).unwrap();
        desk.exchange(session);
        assert!(!desk.has_opened_a_group(), "SEED={seed}");
        desk.tell_laptop(LaptopInput::Leave);
        assert!(matches!(desk.end(), LaptopEnd::Left), "SEED={seed}");
        assert!(desk.hub_down(session), "SEED={seed}: an end taken for a cut");
        assert_eq!(desk.pipes.open(), 0, "SEED={seed}");
    }
}

#[test]
fn a_laptop_that_is_not_in_the_hubs_lan_gets_the_group() {
    let (mut desk, hub) = Desk::in_a_lan(20);
    desk.pipes.listener = None;
    let session = desk.open_link(hub).unwrap();
    assert!(desk.has_opened_a_group());
    desk.exchange(session);
}

#[test]
fn another_device_at_the_hubs_address_learns_nothing_and_the_group_is_taken() {
    // It says nothing, or nonsense.
    for (seed, nonsense) in [(21, None), (22, Some([7; 100])), (23, Some([0xff; 100]))] {
        let (mut desk, hub) = Desk::in_a_lan(seed);
        desk.pipes.listener = Some(Party::Test);
        let mut has_spoken = false;
        desk.begin(crate::Goal::Visit { hubs: vec![hub] });
        let is_up = desk.run_until(|desk| {
            if !has_spoken
                && let Some(nonsense) = nonsense
                && let Some(stream) = desk.pipes.heard.keys().next().copied()
            {
                has_spoken = true;
                desk.pipes.write(Party::Test, stream, &nonsense);
            }
            let up = |told: &LaptopEffect| matches!(told, LaptopEffect::Up { .. });
            desk.laptop_told.iter().any(up)
        });
        assert!(is_up, "SEED={seed}: {:?}", desk.laptop_told);
        assert!(desk.has_opened_a_group(), "SEED={seed}");
        assert!(
            desk.pipes.heard.values().all(|heard| heard.is_closed),
            "SEED={seed}"
        );
    }
}

#[test]
fn a_hub_says_where_it_listens_to_nobody_but_a_laptop_that_it_trusts() {
    let (mut desk, hub) = Desk::in_a_lan(24);
    desk.other_laptop(0);
    assert_eq!(desk.open_link(hub), None);
    assert!(
        desk.hub_told
            .iter()
            .any(|told| matches!(told, HubEffect::NotAdmitted(_)))
    );
    assert_eq!(desk.pipes.open(), 0);
    assert!(!desk.has_opened_a_group());
}

#[test]
fn a_link_in_the_lan_outlives_bluetooth() {
    let (mut desk, hub) = Desk::in_a_lan(25);
    let session = desk.open_link(hub).unwrap();
    desk.air.adapter_gone(desk.now, desk.laptop_port);
    desk.exchange(session);
    desk.tell_hub(HubInput::Radio(Event::AdapterGone));
    desk.laptop_told.clear();
    desk.hub_told.clear();
    desk.exchange(session);
}

#[test]
fn a_laptop_revoked_in_the_lan_is_cut_off_at_once() {
    let (mut desk, hub) = Desk::in_a_lan(26);
    desk.open_link(hub).unwrap();
    let device = desk.laptop_identity.device();
    desk.revoke(&device);
    assert!(matches!(desk.end(), LaptopEnd::Cut));
    assert_eq!(desk.pipes.open(), 0);
}

#[test]
fn no_more_endpoints_are_told_than_a_laptop_tries() {
    let (mut desk, hub) = Desk::in_a_lan(27);
    let endpoints = (0..50).map(|port| SocketAddr::from(([192, 0, 2, 7], 1_000 + port)));
    desk.tell_hub(HubInput::Lan(endpoints.collect()));
    desk.hub_told.clear();
    desk.reached.clear();
    desk.open_link(hub).unwrap();
    let [Command::Reach { endpoints }] = &desk.reached[..] else {
        panic!("{:?}", desk.reached);
    };
    assert_eq!(endpoints.len(), berth_radio::ENDPOINTS_MAX);
}
