//! The real restic forgets and prunes at the upstream, between two sets and in the middle of one: every snapshot that is
//! there afterwards can be restored.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use berth_bridge::{FolderUpstream, Forwarder, Progress};
use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use berth_tests::programs::{Laptop, Office, copied_spool, done};
use berth_tests::restic::Restic;
use rustix::process::Signal;

const NOW_NS: i64 = 1_800_000_000_000_000_000;

/// Some packs.
const BYTES: u64 = 40_000_000;

fn assert_restores(restic: &Restic, laptop: &Laptop, office: &Office) {
    restic.check().unwrap();
    let restored = tempfile::tempdir_in(office.path()).unwrap();
    restic.restore("latest", restored.path()).unwrap();
    let inside = restored.path().join(laptop.folder.strip_prefix("/").unwrap());
    assert_same(&laptop.folder, &inside, Owners::of_this_user());
}

fn sets(restic: &Restic) -> Vec<String> {
    let tags = restic.snapshots().unwrap().into_iter().flat_map(|one| one.tags);
    tags.filter(|tag| tag.starts_with("set:")).collect()
}

#[test]
fn a_set_that_needs_what_was_pruned_between_brings_it_back() {
    let mut office = Office::new();
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    let (large, aside) = (laptop.folder.join("large"), office.path().join("aside"));
    corpus::incompressible(&large, 1, BYTES).unwrap();
    corpus::small_files(&laptop.folder.join("small"), 2, 100).unwrap();
    office.pair(&laptop);
    laptop.back_up();
    office.ctl(&["forward"]);
    fs::rename(&large, &aside).unwrap();
    laptop.back_up();
    office.ctl(&["forward"]);
    let restic = office.restic(&laptop);
    restic
        .run("forget", ["--keep-last", "1", "--prune", "--max-unused", "0"])
        .unwrap();
    assert_restores(&restic, &laptop, &office);
    let size = |folder: &Path| -> u64 {
        let files = berth_tests::compare::files(folder).unwrap();
        files.iter().map(|file| fs::metadata(file).unwrap().len()).sum()
    };
    let pruned = size(&office.upstream());
    assert!(
        pruned < BYTES / 2,
        "restic pruned nothing: {pruned} bytes are left"
    );

    // The laptop knows that the hub holds all of it, and sends none of it.
    fs::rename(&aside, &large).unwrap();
    laptop.back_up();
    office.ctl(&["forward"]);
    assert_eq!(sets(&restic), ["set:2", "set:3"]);
    assert_restores(&restic, &laptop, &office);
    assert!(size(&office.upstream()) > BYTES);
}

#[test]
fn what_restic_prunes_in_the_middle_of_a_set_is_sent_again_before_the_snapshot() {
    let mut office = Office::new();
    office.set("forward = \"manual\"");
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::incompressible(&laptop.folder, 3, BYTES / 2).unwrap();
    office.pair(&laptop);
    laptop.back_up();
    let hub = office.take_hub();
    hub.signal(Signal::TERM);
    done(hub);
    let mut pruned_packs = 0;
    for prune_after in 2.. {
        let place = tempfile::tempdir_in(office.path()).unwrap();
        let (spool, up) = (
            copied_spool(&office.hub_state(), &place.path().join("state")),
            place.path().join("up"),
        );
        let mut upstream = FolderUpstream::new(&up, &[7; 32]);
        let restic = office.restic(&laptop).at(&up);
        let mut forwarder = Forwarder::new(spool.clone(), spool.laptops().unwrap()[0]);
        let (mut sent, mut pruned) = (0, false);
        let packs = || berth_tests::compare::files(&up.join("data")).unwrap().len();
        loop {
            match forwarder.step(&mut upstream, NOW_NS).unwrap() {
                Progress::Idle => break,
                Progress::Sent { .. } => sent += 1,
                _ => {}
            }
            // Config and key are there: it is a repository.
            if sent == prune_after && !pruned {
                let before = packs();
                restic.run("prune", ["--max-unused", "0"]).unwrap();
                pruned_packs += before - packs();
                pruned = true;
            }
        }
        assert_eq!(sets(&restic), ["set:1"]);
        assert_restores(&restic, &laptop, &office);
        if !pruned {
            break;
        }
    }
    assert!(pruned_packs > 0, "restic pruned nothing");
}
