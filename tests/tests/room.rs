//! A hub without room: what it says to the laptop, and how it gets over it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use berth_bridge::Limits;
use berth_disk::Disk as _;
use berth_tests::world::{Judge, SLOW, World, noise};

/// Handshakes, `Begin` and `Welcome`.
const HARDLY_ANYTHING_BYTES: u64 = 3_000;

/// Room that is left below the bound of the spool.
fn leave_room(world: &World, bytes: u64) {
    let spool = world.hub.running.as_ref().unwrap().spool();
    spool.set_upstream_since(Some(0));
    spool.set_limits(Limits {
        spool_bytes_max: Some(spool.used_bytes() + bytes),
        laptop_bytes_max: None,
    });
}

#[test]
fn a_full_hub_says_so_before_anything_is_sent_and_takes_the_backup_after_forwarding() {
    let mut world = World::new(5, SLOW);
    world.pair();
    world.laptop.files.write("a", noise(2_000_000, 1));
    assert!(world.visit().summary.is_some());
    leave_room(&world, 1_000_000);
    world.laptop.files.write("b", noise(1_500_000, 2));
    for _ in 0..2 {
        let before = world.hub.heard_bytes;
        let refused = world.visit();
        assert!(
            refused.summary.is_none() && refused.how == "the hub is full",
            "{}",
            refused.how
        );
        let sent = world.hub.heard_bytes - before;
        assert!(
            sent < HARDLY_ANYTHING_BYTES,
            "{sent} bytes were sent to a full hub"
        );
    }
    assert_eq!(world.hub.sets().len(), 1);
    assert!(world.forward(1_000));
    // What the hub removes for it is upstream; the set before the last is not whole here any more.
    leave_room(&world, (64 << 20) - 1_000_000);
    let done = world.visit_until_complete(Duration::from_secs(600));
    let done = done.unwrap();
    assert!(
        done.watched.is_some_and(|one| !one.rebuilt),
        "what it knew was dropped"
    );
    assert!(world.forward(1_000));
    let mut judge = Judge::open(world.upstream.objects(), &world.laptop.repository);
    let snapshots = judge.snapshots();
    assert_eq!(snapshots.len(), 2);
    let newest = snapshots
        .iter()
        .find(|one| one.id == done.summary.as_ref().unwrap().snapshot);
    assert_eq!(
        judge.picture(newest.unwrap()).unwrap(),
        world.laptop.files.picture()
    );
    let here = world.hub.objects().unwrap();
    assert!(
        Judge::open(here, &world.laptop.repository)
            .picture(newest.unwrap())
            .is_err()
    );
}

#[test]
fn a_laptop_that_lost_what_it_knew_counts_what_is_upstream_only_as_known() {
    let mut world = World::new(6, SLOW);
    world.pair();
    world.laptop.files.write("a", noise(2_000_000, 1));
    assert!(world.visit().summary.is_some());
    assert!(world.forward(1_000));
    leave_room(&world, 0);
    let spool = world.hub.running.as_ref().unwrap().spool().clone();
    let laptop = spool.laptops().unwrap()[0];
    spool.make_room(&laptop, 3_000_000).unwrap();
    assert!(spool.used_bytes() < 100_000);
    spool.set_limits(Limits::default());
    world.laptop.disk.remove_dir("hubs").unwrap();
    let before = world.hub.heard_bytes;
    let again = world.visit();
    assert!(again.summary.is_some(), "{}", again.how);
    assert!(again.watched.is_some_and(|one| one.rebuilt));
    let sent = world.hub.heard_bytes - before;
    assert!(sent < 100_000, "{sent} bytes of what is upstream were sent again");
    assert!(world.forward(1_000));
    let mut judge = Judge::open(world.upstream.objects(), &world.laptop.repository);
    for snapshot in judge.snapshots() {
        assert_eq!(judge.picture(&snapshot).unwrap(), world.laptop.files.picture());
    }
}
