//! The bounds of the spool: what laptops may take, and what a full hub says.

use berth_bridge::{Input, Limits, ROOM_SIZE_BYTES_MIN};
use berth_repository::Id;
use berth_wire::{Full, ObjectKind, Refusal, ToHub, ToLaptop};

use crate::forwarding::{Memory, three_sets};
use crate::hub::{Hub, NOW_NS};
use crate::laptop::Laptop;
use crate::room::{ALL, bytes_on_disk, check, forward_some, leave_room, left, packs, two_of_three};

#[test]
fn a_visit_gets_the_room_of_what_is_upstream_and_is_ended_when_that_is_used_up() {
    const PACK: usize = 8 << 20;
    let hub = Hub::new();
    let (mut before, mut laptop) = (Laptop::new(1), Laptop::new(2));
    let mut visit = before.visit(&hub);
    visit.open_set();
    for _ in 0..4 {
        let pack = visit.open(ObjectKind::Pack, false);
        visit.chunk(pack, PACK);
        visit.close(pack);
    }
    assert!(visit.commit());
    drop(visit);
    forward_some(&hub, &before, &mut Memory::default(), 1);
    leave_room(&hub, ROOM_SIZE_BYTES_MIN);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert!(packs(&hub, &before, 1).iter().all(|(_, there)| *there));
    let mut sent = 0;
    loop {
        let pack = visit.open(ObjectKind::Pack, false);
        visit.chunk(pack, PACK);
        visit.close(pack);
        assert!(visit.checkpoint(&[]) || visit.session.end.is_some());
        if visit.session.end.is_some() {
            break;
        }
        sent += PACK as u64;
    }
    // All the room there was, and nearly all that could be made.
    assert!(
        sent + 16 * (1 << 20) >= ROOM_SIZE_BYTES_MIN + 4 * PACK as u64,
        "{sent}"
    );
    assert!(packs(&hub, &before, 1).iter().all(|(_, there)| !there));
    let full = ToLaptop::Refused { why: Refusal::Full };
    assert_eq!(visit.session.heard.last(), Some(&full));
    drop(visit);
    hub.check_sets(laptop.id);
    // The next one is told before it sends, until forwarding has made room.
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert_eq!(visit.session.heard.last(), Some(&full));
    drop(visit);
    forward_some(&hub, &laptop, &mut Memory::default(), 1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let pack = visit.open(ObjectKind::Pack, false);
    visit.chunk(pack, PACK);
    visit.close(pack);
    assert!(visit.commit());
    drop(visit);
    check(&hub, &laptop, "the set after");
}

#[test]
fn what_laptops_use_is_known_at_every_moment() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let used = |hub: &Hub, what: &str| {
        assert_eq!(hub.spool().used_bytes(), bytes_on_disk(hub), "{what}");
    };
    used(&hub, "three sets");
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let pack = visit.open(ObjectKind::Pack, false);
    visit.chunk(pack, 100_000);
    used(&hub, "bytes under way");
    visit.session.input(Input::Cut);
    drop(visit);
    used(&hub, "a tail");
    hub.restart();
    used(&hub, "a restart");
    let mut visit = laptop.visit(&hub);
    visit.salvage();
    visit.open_set();
    let pack = visit.open(ObjectKind::Pack, false);
    visit.chunk(pack, 5_000);
    assert!(visit.checkpoint(&[pack]));
    visit.session.input(Input::Cut);
    drop(visit);
    used(&hub, "a partial set");
    forward_some(&hub, &laptop, &mut Memory::default(), 4);
    leave_room(&hub, 0);
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    used(&hub, "reclaimed");
    hub.restart();
    check(&hub, &laptop, "a restart after that");
}

#[test]
fn the_bound_of_the_spool_is_kept_and_a_lower_one_is_reached() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let limits = |spool_bytes_max| Limits {
        spool_bytes_max: Some(spool_bytes_max),
        laptop_bytes_max: None,
    };
    two_of_three(&hub, &mut laptop, &mut Memory::default());
    let used = hub.spool().used_bytes();
    hub.spool().set_limits(limits(used + ROOM_SIZE_BYTES_MIN));
    assert_eq!(hub.spool().room_bytes(&laptop.id).unwrap(), ROOM_SIZE_BYTES_MIN);
    hub.spool().make_room(&laptop.id, ROOM_SIZE_BYTES_MIN).unwrap();
    hub.check_sets(laptop.id);
    // Far less than is used: what is upstream goes until the rest has room.
    let waiting: u64 = packs(&hub, &laptop, 3)
        .iter()
        .map(|(entry, _)| entry.length)
        .sum();
    hub.spool().set_limits(limits(used - 1_000));
    let room = hub.spool().make_room(&laptop.id, 1_000).unwrap();
    assert!((1_000..5_000).contains(&room), "{room}");
    hub.spool().set_limits(limits(waiting));
    assert_eq!(hub.spool().make_room(&laptop.id, 1).unwrap(), 0);
    assert_eq!(left(&hub, &laptop)[..2], [0, 0]);
    check(&hub, &laptop, "only what waits is left");
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let full = ToLaptop::Refused { why: Refusal::Full };
    assert_eq!(visit.session.heard.last(), Some(&full));
}

#[test]
fn the_quota_of_one_laptop_neither_stops_another_nor_takes_from_it() {
    let hub = Hub::new();
    let (mut large, mut small) = (Laptop::new(1), Laptop::new(2));
    three_sets(&hub, &mut small);
    forward_some(&hub, &small, &mut Memory::default(), 3);
    let mut visit = large.visit(&hub);
    visit.open_set();
    let pack = visit.open(ObjectKind::Pack, false);
    visit.chunk(pack, 8 << 20);
    visit.close(pack);
    assert!(visit.commit());
    drop(visit);
    hub.spool().set_limits(Limits {
        spool_bytes_max: None,
        laptop_bytes_max: Some(ROOM_SIZE_BYTES_MIN + (4 << 20)),
    });
    let full = ToLaptop::Refused { why: Refusal::Full };
    let is_full = |laptop: &mut Laptop| {
        let mut visit = laptop.visit(&hub);
        visit.open_set();
        visit.session.heard.last() == Some(&full)
    };
    assert!(is_full(&mut large) && !is_full(&mut small));
    hub.check_sets(small.id);
    // Its own sets make room, once they are upstream.
    forward_some(&hub, &large, &mut Memory::default(), 1);
    assert!(!is_full(&mut large));
    assert!(packs(&hub, &large, 1).iter().all(|(_, there)| !there));
    hub.check_sets(small.id);
}

/// What the hub says in its `Welcome`.
fn welcome(hub: &Hub, laptop: &Laptop) -> (u64, Option<Full>, bool) {
    let answer = hub.visit(laptop.id).ask(ToHub::Begin {
        protocol: berth_wire::PROTOCOL,
        repository: Id::of(&laptop.config),
        last: None,
    });
    match answer {
        Some(ToLaptop::Welcome {
            room_bytes,
            full,
            reclaimed,
            ..
        }) => (room_bytes, full, reclaimed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_hub_says_what_it_waits_for_before_anything_is_sent_and_takes_sets_again_after_forwarding() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let mut upstream = Memory::default();
    two_of_three(&hub, &mut laptop, &mut upstream);
    assert_eq!(welcome(&hub, &laptop).1, None);
    leave_room(&hub, 0);
    let waiting = hub.spool().sets(&laptop.id).unwrap()[2].sealed().unwrap().bytes;
    // Nobody who only reads is refused, nor is one that does not understand let in.
    for has_upstream in [false, true] {
        hub.spool().set_upstream_since(has_upstream.then_some(0));
        let (room, full, reclaimed) = welcome(&hub, &laptop);
        let expected = Full {
            is_quota: false,
            waiting_bytes: waiting,
            waiting_since_ns: Some(NOW_NS),
            has_upstream,
        };
        assert_eq!((full, reclaimed), (Some(expected), has_upstream));
        assert!(room < ROOM_SIZE_BYTES_MIN);
        assert_eq!(hub.spool().full(&laptop.id).unwrap(), Some(expected));
        let mut visit = laptop.visit(&hub);
        visit.open_set();
        let refused = ToLaptop::Refused { why: Refusal::Full };
        assert_eq!(visit.session.heard.last(), Some(&refused));
    }
    assert_eq!(hub.spool().sets(&laptop.id).unwrap().len(), 3);
    // The disk has little more than the waiting set.
    leave_room(&hub, ROOM_SIZE_BYTES_MIN - 1);
    assert!(hub.spool().full(&laptop.id).unwrap().is_some());
    forward_some(&hub, &laptop, &mut upstream, 1);
    assert_eq!(hub.spool().full(&laptop.id).unwrap(), None);
    assert_eq!(welcome(&hub, &laptop).1, None);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
}

#[test]
fn a_laptop_whose_quota_is_used_up_hears_of_its_own_sets_only() {
    let hub = Hub::new();
    let (mut large, mut small) = (Laptop::new(1), Laptop::new(2));
    three_sets(&hub, &mut large);
    three_sets(&hub, &mut small);
    let own: u64 = hub
        .spool()
        .sets(&large.id)
        .unwrap()
        .iter()
        .map(|set| set.sealed().unwrap().bytes)
        .sum();
    hub.spool().set_limits(Limits {
        spool_bytes_max: None,
        laptop_bytes_max: Some(ROOM_SIZE_BYTES_MIN + own - 1),
    });
    let full = welcome(&hub, &large).1.unwrap();
    assert!(full.is_quota);
    assert_eq!(full.waiting_bytes, own);
    let nobody = berth_bridge::LaptopId([0; 32]);
    assert_eq!(hub.spool().full(&nobody).unwrap(), None);
    assert_eq!(hub.spool().full(&large.id).unwrap(), Some(full));
}
