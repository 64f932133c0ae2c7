//! The power is cut at every sync of a visit; every change to the disk is the last one; the disk fails once at each.

use berth_bridge::Input;
use berth_radio_sim::CutPolicy;
use berth_wire::{ObjectKind, SetKind, ToLaptop};

use crate::hub::Hub;
use crate::laptop::Laptop;

/// How far the laptop knows that its visit got.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) checkpoint: bool,
    pub(crate) receipt: bool,
}

/// A visit with everything in it. Goes on whatever the hub says, as a laptop does whose messages are on their way.
fn story(hub: &Hub, laptop: &mut Laptop, finish: bool) -> Known {
    let mut known = Known::default();
    let Some(mut visit) = laptop.try_visit(hub) else {
        return known;
    };
    visit.salvage();
    visit.open_set();
    let first = visit.open(ObjectKind::Pack, false);
    visit.chunk(first, 70_000);
    visit.flush();
    visit.chunk(first, 5_000);
    let second = visit.open(ObjectKind::Pack, false);
    visit.chunk(second, 2_000);
    known.checkpoint |= visit.checkpoint(&[first, second]);
    visit.chunk(first, 3_000);
    visit.close(second);
    visit.flush();
    let third = visit.open(ObjectKind::Pack, false);
    visit.chunk(third, 1_500);
    known.checkpoint |= visit.checkpoint(&[first, third]);
    visit.close(first);
    visit.chunk(third, 800);
    visit.flush();
    if finish {
        visit.close(third);
        known.receipt = visit.commit();
    } else {
        visit.session.input(Input::Cut);
    }
    known
}

/// After the hub's start: what the laptop was promised is there.
pub(crate) fn check(hub: &Hub, laptop: &mut Laptop, known: Known, what: &str) {
    hub.check_sets(laptop.id);
    let sets = hub.spool().sets(&laptop.id).unwrap();
    let sealed = sets.iter().find_map(|set| set.sealed());
    if known.checkpoint || known.receipt {
        let kind = sealed.unwrap_or_else(|| panic!("{what}: no set")).kind;
        assert!(
            kind == SetKind::Complete || !known.receipt,
            "{what}: a receipt for a partial set"
        );
    }
    let complete = sealed.is_some_and(|sealed| sealed.kind == SetKind::Complete);
    // Every acknowledged byte is in a sealed pack or can be salvaged.
    let sent = laptop.sent.clone();
    let mut visit = laptop.visit(hub);
    let salvaged = visit.salvage();
    for (upload, sent) in sent {
        let in_pack = sent.packs.iter().filter(|(id, _)| {
            let path = crate::laptop::path(ObjectKind::Pack, id);
            hub.object(visit.laptop.id, &path).is_some()
        });
        let in_pack = in_pack.map(|(_, length)| *length).max().unwrap_or(0);
        let in_tail = salvaged.iter().find(|(one, _)| *one == upload);
        let in_tail = in_tail.map_or(0, |(_, length)| *length as usize);
        assert!(
            in_pack.max(in_tail) >= sent.acknowledged,
            "{what}: upload {upload:?} has {in_pack} in a pack, {in_tail} in a tail, {} were acknowledged",
            sent.acknowledged
        );
        assert!(
            !complete || in_pack == sent.bytes.len(),
            "{what}: {upload:?} is not in the complete set"
        );
    }
    // And the laptop's next visit works.
    visit.open_set();
    assert!(visit.commit(), "{what}: the next visit");
    drop(visit);
    hub.check_sets(laptop.id);
}

const POLICIES: [CutPolicy; 4] = [
    CutPolicy::LoseAll,
    CutPolicy::KeepAll,
    CutPolicy::Random(1),
    CutPolicy::Random(2),
];

fn syncs_of(finish: bool) -> (u64, u64) {
    let hub = Hub::new();
    story(&hub, &mut Laptop::new(1), finish);
    (hub.disk.syncs(), hub.disk.changes())
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_every_sync() {
    for finish in [true, false] {
        let (syncs, _) = syncs_of(finish);
        for at in 0..=syncs {
            let policy = POLICIES[(at % 4) as usize];
            let what = format!("finish {finish}, cut at sync {at} of {syncs}, {policy:?}");
            let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
            hub.disk.cut_power_at_sync(at, policy);
            let known = story(&hub, &mut laptop, finish);
            hub.cut_and_start(policy);
            check(&hub, &mut laptop, known, &what);
        }
    }
}

#[test]
fn a_power_cut_while_the_commit_is_written_leaves_the_set_of_the_checkpoint_or_the_complete_one() {
    // Of what one sync of the folder would make durable any part may be left.
    for seed in 0..10 {
        for ahead in 3..7 {
            let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
            let mut visit = laptop.visit(&hub);
            visit.open_set();
            let pack = visit.open(ObjectKind::Pack, false);
            visit.chunk(pack, 4_000);
            let checkpoint = visit.checkpoint(&[pack]);
            visit.chunk(pack, 2_000);
            visit.close(pack);
            let policy = CutPolicy::Random(seed);
            hub.disk.cut_power_at_sync(hub.disk.syncs() + ahead, policy);
            let receipt = visit.commit();
            drop(visit);
            hub.cut_and_start(policy);
            let known = Known { checkpoint, receipt };
            check(
                &hub,
                &mut laptop,
                known,
                &format!("{policy:?}, {ahead} syncs ahead"),
            );
        }
    }
}

#[test]
fn the_hubs_word_for_a_set_is_the_same_after_a_power_cut() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
    let receipts = visit.session.heard.iter().filter_map(|heard| match heard {
        ToLaptop::Receipt { receipt } => Some(receipt.clone()),
        _ => None,
    });
    let given: Vec<_> = receipts.collect();
    drop(visit);
    hub.power_cut(CutPolicy::LoseAll);
    hub.now_ns += 1_000_000_000;
    hub.start().unwrap();
    let sets = hub.spool().sets(&laptop.id).unwrap();
    let kept: Vec<_> = sets
        .iter()
        .filter_map(|set| Some(set.sealed()?.receipt.clone()))
        .collect();
    assert_eq!(kept, given);
}

#[test]
fn a_power_cut_during_the_repair_is_repaired_too() {
    let (syncs, _) = syncs_of(true);
    for at in (0..=syncs).step_by(7) {
        let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
        hub.disk.cut_power_at_sync(at, CutPolicy::Random(at));
        let known = story(&hub, &mut laptop, true);
        for again in 0.. {
            hub.power_cut(CutPolicy::Random(again));
            hub.disk
                .cut_power_at_sync(hub.disk.syncs() + 2 * again, CutPolicy::Random(again));
            if hub.start().is_ok() && !hub.disk.is_off() {
                break;
            }
        }
        hub.cut_and_start(CutPolicy::LoseAll);
        check(
            &hub,
            &mut laptop,
            known,
            &format!("cut at sync {at}, and again and again"),
        );
    }
}

#[test]
fn a_process_killed_at_any_change_loses_nothing_acknowledged() {
    let (_, changes) = syncs_of(false);
    for at in (0..=changes).step_by(5) {
        let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
        hub.disk.cut_power_at_change(at, CutPolicy::KeepAll);
        let known = story(&hub, &mut laptop, false);
        hub.cut_and_start(CutPolicy::KeepAll);
        check(
            &hub,
            &mut laptop,
            known,
            &format!("killed at change {at} of {changes}"),
        );
    }
}

#[test]
fn a_disk_that_fails_once_loses_nothing_acknowledged() {
    let (_, changes) = syncs_of(true);
    for at in (0..=changes).step_by(3) {
        let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
        hub.disk.fail_at_change(at);
        let known = story(&hub, &mut laptop, true);
        // The next start, after a power cut: a failed sync must not have been taken for a good one.
        hub.cut_and_start(CutPolicy::LoseAll);
        check(
            &hub,
            &mut laptop,
            known,
            &format!("change {at} of {changes} failed"),
        );
    }
}
