//! What the disk keeps and what it forgets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::io;

use berth_disk::{Disk, DiskFile, replace};
use berth_radio_sim::{CutPolicy, DiskFaults, SimDisk};

const RANDOM: std::ops::Range<u64> = 0..400;

fn write(disk: &SimDisk, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let mut file = disk.create(path).unwrap();
    file.append(bytes).unwrap();
    file
}

fn write_synced(disk: &SimDisk, path: &str, bytes: &[u8]) {
    write(disk, path, bytes).sync().unwrap();
    disk.sync_dir(berth_disk::parent(path)).unwrap();
}

fn after(disk: &SimDisk, policy: CutPolicy) -> Vec<(String, Vec<u8>)> {
    disk.cut_power(policy);
    disk.restart();
    disk.contents()
}

/// Every outcome of random cuts after `act`.
fn outcomes(act: impl Fn(&SimDisk)) -> BTreeSet<Vec<(String, Vec<u8>)>> {
    RANDOM
        .map(|seed| {
            let disk = SimDisk::new();
            act(&disk);
            after(&disk, CutPolicy::Random(seed))
        })
        .collect()
}

fn entry(path: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (path.to_owned(), bytes.to_vec())
}

#[test]
fn what_was_synced_stays_at_every_cut() {
    for policy in RANDOM
        .map(CutPolicy::Random)
        .chain([CutPolicy::LoseAll, CutPolicy::KeepAll])
    {
        let disk = SimDisk::new();
        disk.create_dir("a/b").unwrap();
        disk.sync_dir("").unwrap();
        disk.sync_dir("a").unwrap();
        write_synced(&disk, "a/b/c", b"synced");
        assert_eq!(after(&disk, policy), [entry("a/b/c", b"synced")]);
    }
}

#[test]
fn the_worst_cut_keeps_nothing_that_was_not_synced() {
    let disk = SimDisk::new();
    write_synced(&disk, "a", b"one");
    disk.open("a").unwrap().append(b" and more").unwrap();
    write(&disk, "name not synced", b"x").sync().unwrap();
    write(&disk, "data not synced", b"x");
    write(&disk, "removed", b"").sync().unwrap();
    assert_eq!(after(&disk, CutPolicy::LoseAll), [entry("a", b"one")]);

    write(&disk, "b", b"data not synced");
    disk.sync_dir("").unwrap();
    disk.remove("a").unwrap();
    assert_eq!(
        after(&disk, CutPolicy::LoseAll),
        [entry("a", b"one"), entry("b", b"")]
    );
}

#[test]
fn a_file_in_a_folder_whose_name_is_not_synced_is_lost_with_it() {
    let disk = SimDisk::new();
    disk.create_dir("new/deep").unwrap();
    write_synced(&disk, "new/deep/a", b"x");
    disk.sync_dir("new").unwrap();
    assert_eq!(after(&disk, CutPolicy::LoseAll), []);
    assert!(disk.list("").unwrap().is_empty());
    disk.create_dir("new").unwrap();
    write_synced(&disk, "new/a", b"x");
    disk.sync_dir("").unwrap();
    assert_eq!(after(&disk, CutPolicy::LoseAll), [entry("new/a", b"x")]);
}

#[test]
fn a_random_cut_keeps_a_prefix_of_the_tail_and_then_perhaps_zeros_or_garbage() {
    let seen = outcomes(|disk| {
        write_synced(disk, "a", b"SYNC");
        disk.open("a").unwrap().append(b"tail").unwrap();
    });
    let seen: Vec<_> = seen.iter().map(|files| files[0].1.clone()).collect();
    assert!(
        seen.iter()
            .all(|bytes| bytes.starts_with(b"SYNC") && bytes.len() <= 8)
    );
    for kind in [&b"SYNC"[..], b"SYNCt", b"SYNCtail", b"SYNC\0\0", b"SYNCta\0\0"] {
        assert!(seen.iter().any(|bytes| bytes == kind), "{kind:?} never happened");
    }
    let garbage = seen.iter().any(|it| it.len() == 8 && it[4] != b't' && it[4] != 0);
    assert!(garbage, "garbage never happened");
}

#[test]
fn a_rename_before_the_sync_of_its_data_can_leave_an_empty_or_short_file() {
    let seen = outcomes(|disk| {
        write_synced(disk, "a", b"the old one");
        write(disk, "a.new", b"the new one");
        disk.rename("a.new", "a").unwrap();
        disk.sync_dir("").unwrap();
    });
    let seen: Vec<_> = seen.iter().map(|files| files[0].1.clone()).collect();
    assert!(seen.iter().any(|it| it.is_empty()) && seen.iter().any(|it| it == b"the new"));
    assert!(!seen.iter().any(|it| it == b"the old one"), "the name was synced");
}

#[test]
fn a_rename_gives_the_old_content_or_the_new_one_and_nothing_between() {
    let seen = outcomes(|disk| {
        write_synced(disk, "a", b"old");
        let mut file = write(disk, "a.new", b"new");
        file.sync().unwrap();
        disk.rename("a.new", "a").unwrap();
    });
    let of_a: BTreeSet<_> = seen
        .iter()
        .map(|files| files.iter().find(|it| it.0 == "a").unwrap().1.clone())
        .collect();
    assert_eq!(of_a, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
}

#[test]
fn replace_survives_a_cut_at_every_change_with_one_of_both_contents() {
    let changes = {
        let disk = SimDisk::new();
        replace(&disk, "a", b"old").unwrap();
        let before = disk.changes();
        replace(&disk, "a", b"new").unwrap();
        before..disk.changes()
    };
    for at in changes.clone() {
        for policy in (0..50)
            .map(CutPolicy::Random)
            .chain([CutPolicy::LoseAll, CutPolicy::KeepAll])
        {
            let disk = SimDisk::new();
            replace(&disk, "a", b"old").unwrap();
            disk.cut_power_at_change(at, policy);
            let error = replace(&disk, "a", b"new").unwrap_err();
            assert_eq!(error.to_string(), "the power is off");
            disk.restart();
            let left = disk.read("a", 10).unwrap();
            assert!(
                left == b"old" || left == b"new",
                "{left:?} after a cut at {at}, {policy:?}"
            );
            replace(&disk, "a", b"again").unwrap();
        }
    }
    assert_eq!(changes.count(), 6, "remove, create, append, sync, rename, sync");
}

#[test]
fn a_rename_between_folders_never_loses_the_file_and_may_leave_both_names() {
    let act = |disk: &SimDisk, sync: &[&str]| {
        disk.create_dir("in").unwrap();
        disk.create_dir("out").unwrap();
        disk.sync_dir("").unwrap();
        write_synced(disk, "in/a", b"x");
        disk.rename("in/a", "out/b").unwrap();
        // Another file under the old name must not take the last trace of the first.
        write(disk, "in/a", b"y").sync().unwrap();
        sync.iter().for_each(|folder| disk.sync_dir(folder).unwrap());
    };
    let holds_x = |files: &[(String, Vec<u8>)]| files.iter().any(|it| it.1 == b"x");
    let orders: [&[&str]; 5] = [&[], &["in"], &["out"], &["in", "out"], &["out", "in"]];
    for synced in orders {
        let seen = outcomes(|disk| act(disk, synced));
        assert!(
            seen.iter().all(|files| holds_x(files)),
            "lost after syncing {synced:?}"
        );
        let disk = SimDisk::new();
        act(&disk, synced);
        assert!(
            holds_x(&after(&disk, CutPolicy::LoseAll)),
            "lost after syncing {synced:?}"
        );
        if synced.len() == 2 {
            assert_eq!(seen.len(), 1);
            assert_eq!(disk.contents(), [entry("in/a", b"y"), entry("out/b", b"x")]);
        }
    }
    let both = outcomes(|disk| {
        disk.create_dir("out").unwrap();
        disk.sync_dir("").unwrap();
        write_synced(disk, "a", b"x");
        disk.rename("a", "out/b").unwrap();
        disk.sync_dir("out").unwrap();
    });
    assert_eq!(
        both.into_iter().collect::<Vec<_>>(),
        [
            vec![entry("a", b"x"), entry("out/b", b"x")],
            vec![entry("out/b", b"x")]
        ]
    );
}

#[test]
fn a_removed_folder_takes_no_file_with_it_that_was_moved_out() {
    for seed in RANDOM {
        let disk = SimDisk::new();
        disk.create_dir("in/deep").unwrap();
        disk.sync_dir("").unwrap();
        disk.sync_dir("in").unwrap();
        write_synced(&disk, "in/deep/a", b"x");
        disk.rename("in/deep/a", "a").unwrap();
        disk.remove_dir("in").unwrap();
        if seed % 2 == 0 {
            disk.sync_dir("").unwrap();
        }
        let left = after(&disk, CutPolicy::Random(seed));
        assert!(left.iter().any(|it| it.1 == b"x"), "seed {seed}: {left:?}");
    }
}

#[test]
fn names_come_back_in_any_order_when_the_disk_has_no_journal() {
    let seen = outcomes(|disk| {
        for name in ["first", "second"] {
            disk.create(name).unwrap();
        }
    });
    let names: BTreeSet<Vec<String>> = seen
        .into_iter()
        .map(|files| files.into_iter().map(|it| it.0).collect())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn a_truncation_that_was_not_synced_may_not_have_happened() {
    let act = |disk: &SimDisk| {
        write_synced(disk, "a", b"0123456789");
        let mut file = disk.open("a").unwrap();
        file.truncate(4).unwrap();
        file.append(b"xy").unwrap();
        assert_eq!(disk.read("a", 100).unwrap(), b"0123xy");
    };
    let disk = SimDisk::new();
    act(&disk);
    assert_eq!(after(&disk, CutPolicy::LoseAll), [entry("a", b"0123456789")]);
    let seen: BTreeSet<_> = outcomes(act)
        .into_iter()
        .map(|files| files[0].1.clone())
        .collect();
    for kind in [&b"0123456789"[..], b"0123", b"0123xy"] {
        assert!(seen.contains(kind), "{kind:?} never happened");
    }
}

#[test]
fn power_is_cut_at_the_sync_that_was_named_and_comes_back_with_a_restart() {
    for at in 0..4 {
        let disk = SimDisk::new();
        disk.cut_power_at_sync(at, CutPolicy::LoseAll);
        let mut file = disk.create("a").unwrap();
        let syncs = (0..4)
            .take_while(|_| file.append(b"x").is_ok() && file.sync().is_ok())
            .count();
        assert_eq!((syncs as u64, disk.syncs()), (at, at));
        assert!(disk.is_off());
        assert!(disk.read("a", 1).is_err() && disk.list("").is_err() && disk.free_bytes().is_err());
        disk.restart();
        assert!(!disk.is_off() && disk.list("").unwrap().is_empty());
        assert!(file.append(b"x").is_err() && file.sync().is_err() && file.truncate(0).is_err());
        write_synced(&disk, "b", b"x");
    }
}

#[test]
fn a_process_that_starts_again_without_a_cut_loses_nothing_but_its_files() {
    let disk = SimDisk::new();
    let mut file = write(&disk, "a", b"not synced");
    disk.restart();
    assert_eq!(disk.contents(), [entry("a", b"not synced")]);
    assert!(file.append(b"x").is_err());
    assert_eq!(after(&disk, CutPolicy::KeepAll), [entry("a", b"not synced")]);
}

#[test]
fn a_sync_that_failed_does_not_become_good_by_another_one() {
    let disk = SimDisk::new();
    write_synced(&disk, "a", b"good");
    let mut file = disk.open("a").unwrap();
    file.append(b"lost").unwrap();
    disk.fail_at_change(disk.changes());
    assert!(file.sync().is_err());
    file.append(b"more").unwrap();
    file.sync().unwrap();
    assert_eq!(
        disk.read("a", 100).unwrap(),
        b"goodlostmore",
        "the cache still has it"
    );
    assert_eq!(
        after(&disk, CutPolicy::LoseAll),
        [entry("a", b"good\0\0\0\0more")]
    );
}

#[test]
fn a_file_written_anew_after_a_failed_sync_is_whole() {
    let disk = SimDisk::new();
    let mut file = write(&disk, "a", b"lost");
    disk.sync_dir("").unwrap();
    disk.fail_at_change(disk.changes());
    assert!(file.sync().is_err());
    file.truncate(0).unwrap();
    file.append(b"anew").unwrap();
    file.sync().unwrap();
    assert_eq!(after(&disk, CutPolicy::LoseAll), [entry("a", b"anew")]);
}

#[test]
fn a_full_disk_takes_what_fits_and_says_so() {
    let disk = SimDisk::new();
    disk.capacity(Some(10));
    let mut file = write(&disk, "a", b"1234567");
    assert_eq!(disk.free_bytes().unwrap(), 3);
    assert_eq!(
        file.append(b"12345").unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!((disk.used_bytes(), disk.len("a").unwrap()), (10, Some(10)));
    file.truncate(4).unwrap();
    write(&disk, "b", b"123456");
    assert_eq!(disk.free_bytes().unwrap(), 0);
    disk.rename("b", "a").unwrap();
    assert_eq!(disk.used_bytes(), 6);
    disk.remove("a").unwrap();
    assert_eq!(disk.used_bytes(), 0);
    disk.create_dir("c/d").unwrap();
    write(&disk, "c/d/e", b"1234567890");
    disk.remove_dir("c").unwrap();
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn injected_errors_come_as_often_as_asked_and_the_same_for_one_seed() {
    let faults = DiskFaults {
        append_failed_ppm: 100_000,
        sync_failed_ppm: 100_000,
        read_failed_ppm: 100_000,
    };
    let run = |seed| {
        let disk = SimDisk::new();
        let mut file = disk.create("a").unwrap();
        disk.faults(seed, faults);
        let results: Vec<_> = (0..1000)
            .map(|_| {
                [
                    file.append(b"some bytes").is_ok(),
                    file.sync().is_ok(),
                    disk.len("a").is_ok(),
                ]
            })
            .collect();
        disk.faults(0, DiskFaults::default());
        (results, disk.contents())
    };
    let (results, _) = run(1);
    for kind in 0..3 {
        let failed = results.iter().filter(|it| !it[kind]).count();
        assert!((60..140).contains(&failed), "{failed} of 1000 failed");
    }
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn a_flipped_bit_shows_in_the_file_and_survives() {
    let disk = SimDisk::new();
    write_synced(&disk, "a", b"ab");
    disk.flip_bit("a", 9).unwrap();
    disk.flip_bit("a", 1_000).unwrap();
    assert_eq!(disk.read("a", 2).unwrap(), b"a`");
    assert_eq!(after(&disk, CutPolicy::LoseAll), [entry("a", b"a`")]);
    assert!(disk.flip_bit("b", 0).is_err());
}

#[test]
fn the_contract_of_disks_is_kept() {
    let disk = SimDisk::new();
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    write(&disk, "a", b"abc");
    assert_eq!(kind(disk.create("a").map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create("no/a").map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.create("../a").map(drop)), io::ErrorKind::InvalidInput);
    assert_eq!(kind(disk.open("no").map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.read("a", 2).map(drop)), io::ErrorKind::FileTooLarge);
    assert_eq!(
        kind(disk.read_range("a", 2, 2).map(drop)),
        io::ErrorKind::UnexpectedEof
    );
    assert_eq!(
        kind(disk.read_range("a", u64::MAX, 2).map(drop)),
        io::ErrorKind::UnexpectedEof
    );
    assert_eq!(disk.read_range("a", 1, 2).unwrap(), b"bc");
    assert_eq!(kind(disk.remove("no")), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.rename("no", "b")), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.sync_dir("no")), io::ErrorKind::NotFound);
    disk.create_dir("x/y").unwrap();
    disk.create_dir("x").unwrap();
    assert_eq!(disk.list("").unwrap(), ["a", "x"]);
    assert_eq!((disk.len("x").unwrap(), disk.len("no").unwrap()), (None, None));
    assert_eq!(kind(disk.open("x").map(drop)), io::ErrorKind::IsADirectory);
    assert_eq!(kind(disk.rename("a", "x")), io::ErrorKind::IsADirectory);
    assert!(disk.rename("x", "x/y/z").is_err());
    disk.rename("x", "z").unwrap();
    assert_eq!(disk.list("z").unwrap(), ["y"]);
    disk.remove_dir("no").unwrap();
    assert!(disk.list("no").unwrap().is_empty());
    let mut file = disk.open("a").unwrap();
    disk.rename("a", "z/b").unwrap();
    file.truncate(1).unwrap();
    file.append(b"2").unwrap();
    assert_eq!(disk.read("z/b", 10).unwrap(), b"a2");
}

#[test]
fn a_disk_that_is_never_synced_forgets_in_bounded_memory() {
    let disk = SimDisk::new();
    for _ in 0..200_000 {
        disk.create("a").unwrap();
        disk.remove("a").unwrap();
    }
    assert_eq!(after(&disk, CutPolicy::LoseAll), []);
}
