//! A second visit sends what changed, and little else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

mod support;

use std::fs;

use berth_tests::corpus;
use support::{Place, Told, number};

/// Bytes over the air of all visits of one run.
fn sent(told: &Told) -> u64 {
    number(told.one("summary"), "bytes_sent")
}

#[test]
fn an_unchanged_folder_costs_a_thousandth_and_no_file_is_read() {
    let place = Place::new();
    corpus::text_and_office(&place.folder, 1, 30_000_000).unwrap();
    let first = sent(&place.tell(&[]));
    let second = place.tell(&[]);
    assert_eq!(number(second.one("visit"), "files_read"), 0, "{second}");
    // The folders above FOLDER are part of the set, and others work in them: a tree or two.
    assert!(number(second.one("visit"), "bytes_new") < 2_000, "{second}");
    assert!(sent(&second) * 1000 < first, "{} of {first}", sent(&second));
}

#[test]
fn an_edit_of_one_file_in_a_hundred_costs_about_as_much() {
    let place = Place::new();
    corpus::incompressible(&place.folder, 2, 60_000_000).unwrap();
    corpus::small_files(&place.folder.join("small"), 3, 500).unwrap();
    let first = sent(&place.tell(&[]));
    let edits = corpus::edit_share(&place.folder, 4, 10).unwrap();
    let edited: u64 = edits
        .iter()
        .map(|edit| fs::metadata(&edit.path).unwrap().len())
        .sum();
    let total = berth_tests::compare::files(&place.folder)
        .unwrap()
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum::<u64>();
    let second = place.tell(&[]);
    assert_eq!(
        number(second.one("visit"), "files_read"),
        edits.len() as u64,
        "{second}"
    );
    // At most the edited files as a whole, and the folders that they lie in.
    let in_proportion = first * edited / total + 200_000;
    assert!(
        sent(&second) <= in_proportion,
        "{} of {first}, expected at most {in_proportion}",
        sent(&second)
    );
}

#[test]
fn an_insertion_in_the_middle_of_a_large_file_costs_a_few_chunks() {
    let place = Place::new();
    corpus::disk_image(&place.folder.join("image"), 5, 60_000_000).unwrap();
    place.tell(&[]);
    corpus::insert(&place.folder.join("image"), 30_000_123, &[7; 1_000]).unwrap();
    let second = place.tell(&[]);
    // The chunk with the insertion and, rarely, one or two more until the cuts fall as before: at most 512 KiB each.
    assert!(number(second.one("visit"), "bytes_new") <= 3 << 19, "{second}");
    assert!(sent(&second) <= 3 << 19, "{second}");
}

#[test]
fn touched_and_renamed_files_are_read_but_not_sent() {
    let place = Place::new();
    corpus::incompressible(&place.folder, 7, 10_000_000).unwrap();
    place.tell(&[]);
    fs::rename(place.folder.join("part-00"), place.folder.join("elsewhere")).unwrap();
    let second = place.tell(&[]);
    assert!(sent(&second) < 20_000, "{second}");
}

#[test]
fn what_is_gone_is_gone_from_the_next_set_and_kept_in_the_last_restic() {
    let place = Place::new();
    corpus::small_files(&place.folder, 8, 50).unwrap();
    place.tell(&[]);
    fs::remove_file(place.folder.join("file-000007")).unwrap();
    place.tell(&[]);
    place.judge();
    let snapshots = place.restic().snapshots().unwrap();
    assert_eq!(snapshots.len(), 2);
    let before = place.restore(&snapshots[0].id);
    assert!(support::inside(before.path(), &place.folder.join("file-000007")).exists());
}
