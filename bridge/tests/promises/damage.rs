//! Something in one laptop's part of the spool is not what the hub put there: the others are served, nothing is deleted,
//! and the laptop's next visit works, or is refused for as long as the disk fails.

use berth_bridge::{Repair, Spool};
use berth_disk::Disk as _;
use berth_radio_sim::{DiskFaults, SimDisk};
use berth_repository::Id;
use berth_wire::{ObjectKind, Refusal, SetKind, SetSeq, ToHub, ToLaptop};

use crate::hub::Hub;
use crate::laptop::{Laptop, noise};
use crate::power::{Known, check};

const JUNK: &[u8] = b"somebody else's bytes";

fn folder_of(laptop: &Laptop) -> String {
    Spool::repository_folder(&laptop.id).replace("/repository", "")
}

/// A visit that the hub's end cut: a checkpoint, and more that was acknowledged after it.
fn cut_visit(hub: &mut Hub, laptop: &mut Laptop) {
    let mut visit = laptop.visit(hub);
    visit.open_set();
    let first = visit.open(ObjectKind::Pack, false);
    visit.chunk(first, 70_000);
    let second = visit.open(ObjectKind::Pack, false);
    visit.chunk(second, 3_000);
    visit.close(second);
    assert!(visit.checkpoint(&[first]));
    visit.chunk(first, 9_000);
    let third = visit.open(ObjectKind::Pack, false);
    visit.chunk(third, 5_000);
    assert!(visit.flush());
    drop(visit);
    hub.stop();
}

/// Puts other bytes in the place of a file or folder.
fn write(disk: &SimDisk, path: &str, bytes: &[u8]) {
    if disk.remove(path).is_err() {
        disk.remove_dir(path).unwrap();
    }
    disk.create_dir(berth_disk::parent(path)).unwrap();
    disk.create(path).unwrap().append(bytes).unwrap();
}

/// Puts a folder, with something in it, in the place of a file.
fn folder(disk: &SimDisk, path: &str) {
    let _ = disk.remove(path);
    disk.create_dir(path).unwrap();
    write(disk, &format!("{path}/junk"), JUNK);
}

/// The first file in a visit's folder whose name ends so.
fn incoming(disk: &SimDisk, laptop: &str, wanted: impl Fn(&str) -> bool) -> String {
    let folder = format!("{laptop}/incoming/1");
    let names = disk.list(&folder).unwrap();
    let name = names.iter().find(|name| wanted(name)).unwrap();
    format!("{folder}/{name}")
}

/// Harms what a crash left of a visit, starts the hub, and holds it to what it promises. Gives what it found.
fn harmed(what: &str, loses: bool, harm: impl Fn(&SimDisk, &str)) -> Vec<Repair> {
    let (mut hub, mut laptop, mut other) = (Hub::new(), Laptop::new(1), Laptop::new(2));
    cut_visit(&mut hub, &mut laptop);
    harm(&hub.disk, &folder_of(&laptop));
    let junk = |hub: &Hub| {
        let files = hub.disk.contents();
        files.iter().filter(|(_, bytes)| bytes.ends_with(JUNK)).count()
    };
    let before = junk(&hub);
    hub.restart();
    let repairs = hub.repairs.clone();
    assert_eq!(junk(&hub), before, "{what}: somebody else's bytes were deleted");
    let mut visit = other.visit(&hub);
    visit.open_set();
    assert!(visit.commit(), "{what}: the other laptop");
    drop(visit);
    // Of `incoming` itself nothing is left that could name it.
    let is_known = what != "incoming";
    assert!(
        !is_known || laptop.visit(&hub).set > SetSeq(1),
        "{what}: the number is given again"
    );
    if loses {
        laptop.sent.values_mut().for_each(|sent| sent.acknowledged = 0);
    }
    check(&hub, &mut laptop, Known::default(), what);
    hub.restart();
    assert_eq!(hub.repairs, [], "{what}: found once more");
    assert_eq!(junk(&hub), before, "{what}: somebody else's bytes were deleted");
    repairs
}

fn is_unreadable(repairs: &[Repair]) -> bool {
    matches!(repairs, [Repair::Unreadable { set: SetSeq(1), .. }])
}

fn is_sealed_as(repairs: &[Repair], wanted: SetKind) -> bool {
    matches!(repairs, [Repair::Sealed { kind, .. }] if *kind == wanted)
}

#[test]
fn a_checkpoint_that_cannot_be_read_costs_the_set_but_no_acknowledged_byte() {
    for (what, bytes) in [
        ("damaged", &noise(1, 3_000)[..]),
        ("of zeros", &[0; 3_000]),
        ("empty", &[]),
    ] {
        let repairs = harmed(what, false, |disk, laptop| {
            write(disk, &format!("{laptop}/incoming/1/checkpoint"), bytes);
        });
        assert!(is_unreadable(&repairs), "{what}: {repairs:?}");
    }
    let repairs = harmed("a folder", false, |disk, laptop| {
        folder(disk, &format!("{laptop}/incoming/1/checkpoint"));
    });
    assert!(is_unreadable(&repairs), "{repairs:?}");
}

#[test]
fn a_commit_that_cannot_be_read_costs_the_set_but_no_acknowledged_byte() {
    let repairs = harmed("damaged", false, |disk, laptop| {
        write(disk, &format!("{laptop}/incoming/1/commit"), JUNK);
    });
    assert!(is_unreadable(&repairs), "{repairs:?}");
}

#[test]
fn a_pack_that_a_checkpoint_counts_on_and_is_not_whole_costs_the_set_only() {
    let is_second = |name: &str| name.contains(".pack.") && !name.contains("provisional");
    let repairs = harmed("cut short", true, |disk, laptop| {
        let path = incoming(disk, laptop, is_second);
        disk.open(&path).unwrap().truncate(100).unwrap();
    });
    assert!(is_unreadable(&repairs), "{repairs:?}");
    let repairs = harmed("a folder", true, |disk, laptop| {
        folder(disk, &incoming(disk, laptop, is_second));
    });
    assert!(is_unreadable(&repairs), "{repairs:?}");
}

#[test]
fn without_the_lengths_the_set_is_sealed_as_usual() {
    for bytes in [noise(1, 500), Vec::new(), vec![0xff; 5_000]] {
        let repairs = harmed("lengths", false, |disk, laptop| {
            write(disk, &format!("{laptop}/incoming/1/lengths"), &bytes);
        });
        assert!(is_sealed_as(&repairs, SetKind::Partial), "{repairs:?}");
    }
    let repairs = harmed("a folder", false, |disk, laptop| {
        folder(disk, &format!("{laptop}/incoming/1/lengths"));
    });
    assert!(is_sealed_as(&repairs, SetKind::Partial), "{repairs:?}");
}

#[test]
fn foreign_names_disturb_nothing_and_are_not_deleted() {
    let repairs = harmed("foreign", false, |disk, laptop| {
        for name in [
            "incoming/x",
            "incoming/+1/x",
            "incoming/01/x",
            "incoming/1/x",
            "incoming/1/x.folder/y",
            "incoming/1/9.pack/x",
            "sets/x",
            "sets/+7/manifest",
            "tails/x",
            "tails/1.9.0.0/x",
            "../x",
        ] {
            let path = match name.strip_prefix("../") {
                Some(name) => format!("laptops/{name}"),
                None => format!("{laptop}/{name}"),
            };
            write(disk, &path, JUNK);
        }
    });
    assert!(is_sealed_as(&repairs, SetKind::Partial), "{repairs:?}");
}

#[test]
fn a_file_in_the_place_of_a_folder_is_put_aside() {
    let repairs = harmed("the visit's", true, |disk, laptop| {
        write(disk, &format!("{laptop}/incoming/1"), JUNK);
    });
    assert!(is_unreadable(&repairs), "{repairs:?}");
    for name in ["incoming", "sets", "tails"] {
        let repairs = harmed(name, name == "incoming", |disk, laptop| {
            write(disk, &format!("{laptop}/{name}"), JUNK);
        });
        let aside = |one: &Repair| matches!(one, Repair::PutAside { name: aside, .. } if *aside == name);
        assert!(repairs.iter().any(aside), "{name}: {repairs:?}");
    }
}

#[test]
fn a_sealed_set_whose_manifest_is_no_file_is_left_alone() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
    drop(visit);
    hub.stop();
    let path = format!("{}/sets/1/manifest", folder_of(&laptop));
    folder(&hub.disk, &path);
    std::fs::remove_dir_all(hub.journal()).unwrap();
    hub.start().unwrap();
    assert!(is_unreadable(&hub.repairs), "{:?}", hub.repairs);
    let mut visit = laptop.visit(&hub);
    assert_eq!((visit.set, visit.laptop.last), (SetSeq(2), None));
    visit.open_set();
    assert!(visit.commit());
    assert!(hub.disk.list(&path).is_ok_and(|names| names == ["junk"]));
}

#[test]
fn a_disk_that_fails_for_one_laptop_refuses_its_visits_until_it_works() {
    let (mut hub, mut laptop, mut other) = (Hub::new(), Laptop::new(1), Laptop::new(2));
    cut_visit(&mut hub, &mut laptop);
    // The first thing that is changed is of the one laptop with something to put right.
    hub.disk.fail_at_change(hub.disk.changes());
    hub.restart();
    assert!(
        matches!(&hub.repairs[..], [Repair::Failed { laptop: whose, .. }] if *whose == laptop.id),
        "{:?}",
        hub.repairs
    );
    let mut visit = other.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
    drop(visit);
    let mut session = hub.visit(laptop.id);
    let begin = ToHub::Begin {
        protocol: berth_wire::PROTOCOL,
        repository: Id::of(&laptop.config),
        last: None,
    };
    hub.disk.faults(
        1,
        DiskFaults {
            read_failed_ppm: 1_000_000,
            ..DiskFaults::default()
        },
    );
    assert_eq!(session.ask(begin), Some(ToLaptop::Refused { why: Refusal::Disk }));
    assert!(session.end.is_some());
    drop(session);
    hub.disk.faults(1, DiskFaults::default());
    let known = Known {
        checkpoint: true,
        receipt: false,
    };
    drop(laptop.visit(&hub));
    check(&hub, &mut laptop, known, "the disk works again");
}
