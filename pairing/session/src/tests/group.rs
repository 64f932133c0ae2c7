//! For whom the hub opens a group, when, and until when.

use berth_radio_sim::{Faults, TraceTo};

use super::desk::Desk;
use crate::{Goal, HubEffect, LaptopEffect, LaptopInput};

impl Desk {
    fn traced(seed: u64) -> Self {
        let mut desk = Self::new(seed, Faults::none());
        desk.air.trace_to(TraceTo::Memory);
        desk
    }

    /// Whether the air has seen this.
    fn was(&self, what: &str) -> bool {
        self.air.trace().lines().any(|line| line.ends_with(what))
    }

    fn until(&mut self, what: &str) {
        assert!(
            self.run_until(|desk| desk.was(what)),
            "SEED={}: {what}",
            self.seed
        );
    }
}

#[test]
fn a_group_is_asked_for_in_one_breath_with_the_answer_that_admits_a_laptop() {
    for seed in 0..10 {
        let mut desk = Desk::traced(seed);
        let hub = desk.pair();
        desk.begin(Goal::Visit { hubs: vec![hub] });
        desk.until("hub > StartGroup");
        let lines: Vec<&str> = desk.air.trace().lines().collect();
        let [.., answered, asked] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert!(asked.ends_with("hub > StartGroup"), "SEED={seed}: {asked}");
        assert!(answered.contains("hub > send conn"), "SEED={seed}: {answered}");
    }
}

#[test]
fn whoever_the_hub_does_not_know_gets_no_group_opened() {
    let mut desk = Desk::traced(1);
    let hub = desk.pair();
    desk.other_laptop(0);
    assert_eq!(desk.open_link(hub), None);
    let refused = |told: &HubEffect| matches!(told, HubEffect::NotAdmitted(_));
    assert!(desk.hub_told.iter().any(refused), "{:?}", desk.hub_told);
    assert!(!desk.was("hub > StartGroup"));
}

#[test]
fn a_group_that_nobody_starts_is_given_up_and_asked_for_again() {
    let mut desk = Desk::traced(2);
    let hub = desk.pair();
    desk.begin(Goal::Visit { hubs: vec![hub] });
    desk.until("laptop < connected conn 2 mtu 512");
    desk.air.faults(Faults {
        unanswered_ppm: 1_000_000,
        ..Faults::none()
    });
    desk.until("hub > StopGroup");
    desk.air.faults(Faults::none());
    let is_up = |told: &LaptopEffect| matches!(told, LaptopEffect::Up { .. });
    let linked = desk.run_until(|desk| desk.laptop_told.iter().any(is_up));
    assert!(linked, "{:?}", desk.laptop_told);
}

#[test]
fn a_laptop_that_goes_before_the_offer_leaves_no_group_behind() {
    let mut desk = Desk::traced(3);
    let hub = desk.pair();
    desk.begin(Goal::Visit { hubs: vec![hub] });
    desk.until("hub > StartGroup");
    desk.tell_laptop(LaptopInput::Leave);
    desk.end();
    desk.until("hub > StopGroup");
    assert!(
        !desk
            .air
            .trace()
            .lines()
            .any(|line| line.contains("laptop > join"))
    );
}
