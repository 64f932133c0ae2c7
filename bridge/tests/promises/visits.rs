//! Visits that end, and visits that are cut.

use std::time::Duration;

use berth_bridge::{Ended, Input, SetState};
use berth_disk::Disk as _;
use berth_repository::Id;
use berth_wire::{ObjectKind, PAGE_ENTRIES, ReceiptLevel, SetKind, SetSeq, ToHub, ToLaptop};

use crate::hub::Hub;
use crate::laptop::{Laptop, Visiting};

/// Two packs, one of them closed, and a chunk more.
fn some_packs(visit: &mut Visiting<'_>) -> [berth_wire::UploadId; 2] {
    let first = visit.open(ObjectKind::Pack, false);
    visit.chunk(first, 100_000);
    let second = visit.open(ObjectKind::Pack, false);
    visit.chunk(second, 5_000);
    visit.chunk(first, 30_000);
    [first, second]
}

#[test]
fn a_whole_visit_makes_a_complete_set_of_verified_objects() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    assert_eq!(visit.set, SetSeq(1));
    visit.open_set();
    let [first, second] = some_packs(&mut visit);
    assert!(visit.flush());
    visit.close(first);
    assert!(visit.checkpoint(&[second]));
    visit.close(second);
    assert!(visit.commit());
    assert_eq!(visit.session.ask(ToHub::Goodbye), Some(ToLaptop::Goodbye));
    let Some(ToLaptop::Receipt { receipt }) = visit
        .session
        .heard
        .iter()
        .find(|heard| matches!(heard, ToLaptop::Receipt { .. }))
    else {
        panic!("no receipt");
    };
    let receipt: berth_wire::Receipt = berth_wire::decode(&receipt.body).unwrap();
    drop(visit);
    let sets = hub.spool().sets(&laptop.id).unwrap();
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0].word(), "complete");
    assert_eq!(
        (Some(receipt.set), receipt.level),
        (sets[0].set_ref(), ReceiptLevel::OnHub)
    );
    // 2 packs, config, key, index, snapshot: nothing of the checkpoint.
    assert_eq!(sets[0].sealed().unwrap().objects, 6);
    hub.check_sets(laptop.id);
    let packs = hub
        .disk
        .contents()
        .iter()
        .filter(|(path, _)| path.contains("/data/"))
        .count();
    assert_eq!(packs, 2);
    assert!(
        hub.disk
            .contents()
            .iter()
            .all(|(path, _)| !path.contains("/incoming/"))
    );
}

#[test]
fn a_cut_visit_becomes_a_partial_set_as_of_its_last_checkpoint() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let [first, second] = some_packs(&mut visit);
    assert!(visit.checkpoint(&[first, second]));
    visit.chunk(first, 9_000);
    visit.close(second);
    let third = visit.open(ObjectKind::Pack, false);
    visit.chunk(third, 4_000);
    visit.session.input(Input::Cut);
    let end = visit.session.end.take().unwrap();
    assert!(matches!(end.why, Ended::Cut));
    drop(visit);
    let sets = hub.spool().sets(&laptop.id).unwrap();
    assert_eq!(sets[0].set_ref(), end.sealed);
    assert_eq!(sets[0].sealed().unwrap().kind, SetKind::Partial);
    hub.check_sets(laptop.id);

    let mut visit = laptop.visit(&hub);
    assert_eq!((visit.set, visit.laptop.last), (SetSeq(2), end.sealed));
    let tails: Vec<_> = visit
        .tails
        .iter()
        .map(|tail| (tail.upload, tail.start, tail.end))
        .collect();
    assert_eq!(
        tails,
        [
            (first, 130_000, 139_000),
            (second, 5_000, 5_077),
            (third, 0, 4_000)
        ]
    );
    assert_eq!(visit.salvage().len(), 3);
    visit.open_set();
    assert!(visit.commit());
    drop(visit);
    hub.check_sets(laptop.id);
    let sets = hub.spool().sets(&laptop.id).unwrap();
    assert_eq!(
        sets.iter().map(|set| set.word()).collect::<Vec<_>>(),
        ["partial", "complete"]
    );
    assert_eq!(sets[1].sealed().unwrap().objects, 5); // three salvaged packs, index, snapshot
    assert!(laptop.visit(&hub).tails.is_empty());
}

#[test]
fn without_a_checkpoint_no_set_is_made_and_everything_can_be_salvaged() {
    let mut hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let [first, second] = some_packs(&mut visit);
    visit.close(first);
    visit.session.input(Input::Cut);
    assert!(visit.session.end.take().unwrap().sealed.is_none());
    drop(visit);
    assert!(hub.spool().sets(&laptop.id).unwrap().is_empty());
    hub.restart();
    let mut visit = laptop.visit(&hub);
    assert_eq!(visit.set, SetSeq(2), "bytes arrived under the number 1");
    let salvaged = visit.salvage();
    assert_eq!(salvaged, [(first, 130_077), (second, 5_000)]);
    // Cut again before any mark: what was salvaged can be salvaged once more.
    visit.session.input(Input::Cut);
    drop(visit);
    let mut visit = laptop.visit(&hub);
    assert_eq!(visit.set, SetSeq(2), "nothing arrived under the number 2");
    assert_eq!(visit.salvage(), salvaged);
    visit.open_set();
    assert!(visit.checkpoint(&[]));
    visit.session.input(Input::Cut);
    drop(visit);
    hub.check_sets(laptop.id);
    assert!(laptop.visit(&hub).tails.is_empty(), "a sealed set holds them");
}

#[test]
fn a_tail_of_other_bytes_is_dropped() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    some_packs(&mut visit);
    visit.session.input(Input::Cut);
    drop(visit);
    let path = hub
        .disk
        .contents()
        .into_iter()
        .find(|(path, _)| path.contains("/tails/1.2.0"));
    hub.disk.flip_bit(&path.unwrap().0, 900).unwrap();
    let mut visit = laptop.visit(&hub);
    assert_eq!(visit.salvage().len(), 1);
    drop(visit);
    assert_eq!(laptop.visit(&hub).tails.len(), 1);
}

#[test]
fn a_file_that_is_a_tail_and_still_in_its_visit_stays_the_tail_that_it_is() {
    let mut hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let [first, second] = some_packs(&mut visit);
    assert!(visit.checkpoint(&[first, second]));
    visit.chunk(first, 9_000);
    let arrived = hub.disk.contents();
    visit.session.input(Input::Cut);
    drop(visit);
    let offered = laptop.visit(&hub).tails;
    assert_eq!(offered.len(), 1);
    // The power goes: the new name is durable, and so is that the checkpoint is gone, but not that the old name is.
    let mut places: Vec<_> = arrived
        .into_iter()
        .filter(|(path, _)| path.contains("/incoming/1/") && path.ends_with(".pack"))
        .collect();
    assert_eq!(places.len(), 2);
    let folder = berth_disk::parent(&places[0].0).to_owned();
    hub.disk.create_dir(&folder).unwrap();
    for (path, bytes) in places.drain(..) {
        hub.disk.create(&path).unwrap().append(&bytes).unwrap();
    }
    hub.restart();
    let mut visit = laptop.visit(&hub);
    assert_eq!(
        visit.tails.iter().find(|tail| tail.upload == first),
        offered.first()
    );
    assert!(visit.salvage().iter().any(|(upload, _)| *upload == first));
    visit.open_set();
    assert!(visit.commit());
    drop(visit);
    hub.check_sets(laptop.id);
}

#[test]
fn silence_ends_a_visit_and_keep_alives_go_out_before() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let [first, second] = some_packs(&mut visit);
    assert!(visit.checkpoint(&[first, second]));
    let session = &mut visit.session;
    let mut keep_alives = 0;
    while let Some(at) = session.receiver.wake_at() {
        session.now = at;
        let before = session.heard.len();
        session.input(Input::Tick);
        keep_alives += session.heard.len() - before;
        assert!(session.now <= Duration::from_secs(10));
    }
    assert_eq!(keep_alives, 4);
    let end = session.end.take().unwrap();
    assert!(matches!(end.why, Ended::Silent) && end.sealed.is_some());
}

#[test]
fn a_second_visit_of_the_same_laptop_waits_for_the_first() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let visit = laptop.visit(&hub);
    let id = visit.laptop.id;
    assert_eq!(
        hub.spool().visit(id).unwrap_err().refusal(),
        berth_wire::Refusal::Busy
    );
    drop(visit);
    assert!(hub.spool().visit(id).is_ok());
}

#[test]
fn manifests_are_paged_and_pages_are_kept_with_their_set() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let mut packs = Vec::new();
    for _ in 0..PAGE_ENTRIES + 40 {
        let upload = visit.open(ObjectKind::Pack, false);
        packs.push(visit.close(upload));
        if packs.len() % 100 == 0 {
            visit.page();
            assert!(visit.checkpoint(&[]));
        }
    }
    visit.page();
    assert!(visit.checkpoint(&[]));
    assert!(visit.commit());
    let page = visit.pages[0];
    let fetch = ToHub::Fetch {
        kind: ObjectKind::Page,
        id: page,
        offset: 0,
        length: 100_000,
        knows_unavailable: false,
    };
    let Some(ToLaptop::Fetched { bytes, .. }) = visit.session.ask(fetch) else {
        panic!("no page");
    };
    assert_eq!(Id::of(&bytes), page);
    let Some(ToLaptop::Listing { ids, more: false }) = visit.session.ask(ToHub::List {
        kind: ObjectKind::Pack,
        after: None,
    }) else {
        panic!("no listing");
    };
    packs.sort_unstable();
    assert_eq!(ids, packs);
    let half = packs[packs.len() / 2];
    let rest = visit.session.ask(ToHub::List {
        kind: ObjectKind::Pack,
        after: Some(half),
    });
    let ids = packs.split_off(packs.len() / 2 + 1);
    assert_eq!(rest, Some(ToLaptop::Listing { ids, more: false }));
    drop(visit);
    hub.check_sets(laptop.id);
}

#[test]
fn a_checkpoint_and_a_set_may_end_anywhere_near_a_full_page() {
    for packs in PAGE_ENTRIES - 5..=PAGE_ENTRIES {
        let hub = Hub::new();
        let mut laptop = Laptop::new(1);
        let mut visit = laptop.visit(&hub);
        visit.open_set();
        for _ in 0..packs {
            let upload = visit.open(ObjectKind::Pack, false);
            visit.close(upload);
        }
        assert!(visit.checkpoint(&[]), "{packs} packs");
        assert!(visit.commit(), "{packs} packs");
        drop(visit);
        hub.check_sets(laptop.id);
    }
}

#[test]
fn a_laptop_reads_back_what_is_sealed_and_only_that() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let [first, second] = some_packs(&mut visit);
    let [one, _] = [visit.close(first), visit.close(second)];
    let fetch = |offset, length| ToHub::Fetch {
        kind: ObjectKind::Pack,
        id: one,
        offset,
        length,
        knows_unavailable: true,
    };
    assert_eq!(visit.session.ask(fetch(0, 10)), Some(ToLaptop::Missing));
    assert!(visit.commit());
    let bytes = visit.laptop.sent[&first].bytes.clone();
    let fetched = |range: &[u8]| {
        Some(ToLaptop::Fetched {
            bytes: bytes::Bytes::copy_from_slice(range),
            object_length: bytes.len() as u64,
        })
    };
    assert_eq!(visit.session.ask(fetch(3, 10)), fetched(&bytes[3..13]));
    assert_eq!(visit.session.ask(fetch(130_070, 500)), fetched(&bytes[130_070..]));
    assert_eq!(visit.session.ask(fetch(u64::MAX, 500)), fetched(&[]));
    let of = visit.session.ask(ToHub::FetchManifest { set: SetSeq(1) });
    assert!(matches!(of, Some(ToLaptop::ManifestOf { .. })));
    let of = visit.session.ask(ToHub::FetchManifest { set: SetSeq(9) });
    assert_eq!(of, Some(ToLaptop::Missing));
}

#[test]
fn a_full_disk_ends_the_visit_and_keeps_the_last_checkpoint() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let [first, second] = some_packs(&mut visit);
    assert!(visit.checkpoint(&[first, second]));
    hub.disk
        .capacity(Some(hub.disk.used_bytes() + berth_bridge::RESERVE_SIZE_BYTES));
    while visit.session.end.is_none() {
        visit.chunk(first, 60_000);
    }
    let refused = ToLaptop::Refused {
        why: berth_wire::Refusal::Full,
    };
    assert_eq!(visit.session.heard.last(), Some(&refused));
    assert!(visit.session.end.take().unwrap().sealed.is_some());
    drop(visit);
    hub.check_sets(laptop.id);
    assert!(matches!(
        hub.spool().sets(&laptop.id).unwrap()[0].state,
        SetState::Sealed(_)
    ));
    assert!(hub.disk.free_bytes().unwrap() > 0);
}
