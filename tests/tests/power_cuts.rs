//! The power is cut at every sync of a whole visit, on the hub's side and on the laptop's.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use berth_client_sdk::CHUNK_SIZE_BYTES_MAX;
use berth_radio_sim::CutPolicy;
use berth_tests::world::{Judge, Mishap, SLOW, World, noise, words};

/// What travels beside the files: handshakes, trees, index, manifest.
const AROUND_BYTES: u64 = 40_000;

/// Everything that a visit can meet: small and large files, text, folders in folders.
fn world() -> World {
    let mut world = World::new(7, SLOW);
    world.pair();
    let files = &world.laptop.files;
    for number in 0..12_u64 {
        files.write(
            &format!("a/small-{number}"),
            noise(3_000 + number as usize, number),
        );
        files.write(&format!("b/c/text-{number}"), words(9_000, number));
    }
    for number in 0..7_u64 {
        files.write(&format!("large-{number}"), noise(1_200_000, 100 + number));
    }
    files.symlink("link", "a/small-1");
    world
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Hub,
    Laptop,
}

fn disk(world: &World, side: Side) -> &berth_radio_sim::SimDisk {
    match side {
        Side::Hub => &world.hub.disk,
        Side::Laptop => &world.laptop.disk,
    }
}

fn syncs_of_a_visit(side: Side) -> (u64, u64) {
    let mut world = world();
    let before = disk(&world, side).syncs();
    let outcome = world.visit();
    assert!(outcome.summary.is_some(), "{}", outcome.how);
    (before, disk(&world, side).syncs())
}

/// Every sync of a first visit: what the laptop was told is safe is there after the cut, is not sent again, and the next
/// visit completes.
fn cut_at_every_sync(side: Side, policy: fn(u64) -> CutPolicy, last_words_leave: bool) {
    let (first, last) = syncs_of_a_visit(side);
    assert!(last - first > 10, "{side:?}: {} syncs", last - first);
    let (mut cuts_in_a_visit, mut partial) = (0, 0);
    for at in first..last {
        let mut world = world();
        world.last_words_leave = last_words_leave;
        disk(&world, side).cut_power_at_sync(at, policy(at));
        let outcome = world.visit();
        let what = format!("{side:?}, sync {at} of {first}..{last}, {}", outcome.how);
        // Both sides have noticed, and are back.
        world.wait(Duration::from_secs(30));
        assert_eq!(world.power_cuts, 1, "{what}");
        let watched = outcome.watched.unwrap_or_default();
        let total = world.laptop.files.size_bytes();
        let restorable = world.restorable_bytes();
        assert!(
            restorable >= watched.bytes_restorable,
            "{what}: {restorable} bytes restorable, {} were promised",
            watched.bytes_restorable
        );
        if outcome.summary.is_some() {
            assert_eq!(restorable, total, "{what}: signed for, and not there");
        }
        cuts_in_a_visit += u32::from(outcome.summary.is_none());
        partial += u32::from(watched.bytes_restorable > 0 && watched.bytes_restorable < total);
        let heard = world.hub.heard_bytes;
        let next = world.visit_until_complete(Duration::from_secs(120));
        let next = next.unwrap_or_else(|| panic!("{what}: the next visit does not complete"));
        let sent = world.hub.heard_bytes - heard;
        let most = total - watched.bytes_acknowledged + CHUNK_SIZE_BYTES_MAX as u64 + AROUND_BYTES;
        // A laptop whose own power goes may have lost what it knew of the last chunks, not what was acknowledged.
        assert!(
            sent <= most,
            "{what}: {sent} bytes sent again, {most} were not acknowledged"
        );
        let mut judge = Judge::open(world.hub.objects().unwrap(), &world.laptop.repository);
        let snapshots = judge.snapshots();
        for snapshot in &snapshots {
            judge
                .picture(snapshot)
                .unwrap_or_else(|why| panic!("{what}: {why}"));
        }
        let complete = snapshots
            .iter()
            .find(|one| one.id == next.summary.as_ref().unwrap().snapshot);
        assert_eq!(
            judge.picture(complete.unwrap()).unwrap(),
            world.laptop.files.picture(),
            "{what}: what the next visit saved"
        );
    }
    println!("{cuts_in_a_visit} visits were cut, {partial} of them after a checkpoint");
    assert!(
        cuts_in_a_visit > 5 && partial > 3,
        "{cuts_in_a_visit} visits were cut, {partial} partial"
    );
}

/// A flat folder of small files, whose trees are too much for a checkpoint: what was acknowledged may not be restorable
/// yet, but it is not sent again.
#[test]
fn a_power_cut_after_a_mark_in_a_flat_folder_loses_nothing_acknowledged() {
    let world = || {
        let mut world = World::new(8, SLOW);
        world.pair();
        for number in 0..4_000 {
            let content = noise(1_800, number);
            world.laptop.files.write(&format!("flat/{number}"), content);
        }
        world
    };
    let whole = {
        let mut world = world();
        let before = world.hub.heard_bytes;
        assert!(world.visit().summary.is_some());
        world.hub.heard_bytes - before
    };
    let back = Duration::from_secs(3);
    for mishap in [
        Mishap::CutHub(CutPolicy::LoseAll, back),
        Mishap::CutHub(CutPolicy::Random(1), back),
        Mishap::CutLaptop(CutPolicy::LoseAll, back),
        Mishap::CutLaptop(CutPolicy::Random(1), back),
    ] {
        let mut world = world();
        world.begin_visit();
        let before = world.hub.heard_bytes;
        let heard = |world: &World| world.hub.heard_bytes - before;
        assert!(world.run_until(Duration::from_secs(60), |world| heard(world) > whole / 8));
        world.request_mark();
        let is_answered = |world: &World| world.laptop.watched.is_some_and(|one| one.requested_mark_done);
        assert!(world.run_until(Duration::from_secs(60), is_answered));
        world.mishap(mishap);
        let watched = world.laptop.watched.unwrap_or_default();
        world.wait(Duration::from_secs(60));
        let before = world.hub.heard_bytes;
        let next = world.visit_until_complete(Duration::from_secs(120));
        let next = next.unwrap_or_else(|| panic!("{mishap:?}: the next visit does not complete"));
        // What the laptop knew of the visit was synced before the mark: it need not ask the hub what it has.
        assert!(
            next.watched.is_some_and(|one| !one.rebuilt),
            "{mishap:?}: rebuilt"
        );
        let sent = world.hub.heard_bytes - before;
        println!("{mishap:?}: {sent} bytes sent after {watched:?}, of {whole}");
        assert!(
            watched.bytes_acknowledged > 1_000_000 && watched.bytes_acknowledged < 7_000_000,
            "{mishap:?}: {watched:?}"
        );
        let most = whole - watched.bytes_acknowledged + AROUND_BYTES;
        assert!(
            sent <= most,
            "{mishap:?}: {sent} bytes sent, {most} were not acknowledged"
        );
    }
}

#[test]
fn a_power_cut_of_the_hub_at_every_sync_loses_nothing_acknowledged() {
    cut_at_every_sync(Side::Hub, |_| CutPolicy::LoseAll, false);
}

#[test]
fn a_power_cut_of_the_hub_that_leaves_some_of_it_loses_nothing_acknowledged() {
    cut_at_every_sync(Side::Hub, CutPolicy::Random, true);
}

#[test]
fn a_power_cut_of_the_laptop_at_every_sync_loses_nothing_acknowledged() {
    cut_at_every_sync(Side::Laptop, |_| CutPolicy::LoseAll, false);
}

#[test]
fn a_power_cut_of_the_laptop_that_leaves_some_of_it_loses_nothing_acknowledged() {
    cut_at_every_sync(Side::Laptop, CutPolicy::Random, false);
}

#[test]
fn a_power_cut_of_the_laptop_after_a_complete_set_makes_it_forget_nothing() {
    for policy in [CutPolicy::LoseAll, CutPolicy::Random(1), CutPolicy::Random(2)] {
        let mut world = world();
        assert!(world.visit().summary.is_some());
        world.mishap(Mishap::CutLaptop(policy, Duration::from_secs(3)));
        world.wait(Duration::from_secs(30));
        let heard = world.hub.heard_bytes;
        let next = world.visit();
        let rebuilt = next.watched.is_some_and(|one| one.rebuilt);
        let summary = next.summary.unwrap_or_else(|| panic!("{policy:?}: {}", next.how));
        let sent = world.hub.heard_bytes - heard;
        assert!(!rebuilt, "{policy:?}: it had to ask the hub what it has");
        assert_eq!(
            summary.content_files_read, 0,
            "{policy:?}: the catalogue was lost"
        );
        assert!(sent < AROUND_BYTES, "{policy:?}: {sent} bytes sent");
        // And what it takes for known is there: a file that is not new under a new name sends no content.
        world.laptop.files.write("again", noise(1_200_000, 100));
        let heard = world.hub.heard_bytes;
        let next = world.visit();
        assert!(next.summary.is_some(), "{policy:?}: {}", next.how);
        let sent = world.hub.heard_bytes - heard;
        assert!(
            sent < AROUND_BYTES,
            "{policy:?}: {sent} bytes of known chunks were sent"
        );
    }
}
