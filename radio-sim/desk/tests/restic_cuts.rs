//! A laptop that leaves in the middle and comes back: two sets in order, the first restorable, next to nothing sent twice.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

mod support;

use std::fs;
use std::path::Path;

use berth_tests::compare::files;
use berth_tests::corpus;
use support::{Place, inside, number};

const SHARES: [u8; 5] = [1, 10, 50, 90, 99];

/// Largest chunk that the laptop makes.
const CHUNK_BYTES: u64 = 512 * 1024;

/// Part of the acknowledged bytes that a cut must leave restorable, in per cent (DESIGN.md, promise 2).
const RESTORABLE_PERCENT: u64 = 95;

/// Marks a file that was cut in the middle.
const CUT_MARK: &str = ".berth-partial";

/// Bytes of files below `restored` that are as they are in `folder`: whole, or a beginning under a marked name.
fn bytes_as_in(folder: &Path, restored: &Path) -> u64 {
    let mut sum = 0;
    for path in files(restored).unwrap_or_default() {
        let name = path.strip_prefix(restored).unwrap();
        let (original, is_cut) = match name.to_str().unwrap().strip_suffix(CUT_MARK) {
            Some(name) => (folder.join(name), true),
            None => (folder.join(name), false),
        };
        let (content, original) = (fs::read(&path).unwrap(), fs::read(original).unwrap());
        assert!(
            original.starts_with(&content),
            "{name:?} holds what was never in it"
        );
        assert!(
            is_cut || original.len() == content.len(),
            "{name:?} is cut, under its own name"
        );
        sum += content.len() as u64;
    }
    sum
}

/// Leaves at every share of [`SHARES`], each time for the first time.
fn leave_at_every_share(make: &dyn Fn(&Path), restorable_percent: u64) {
    let place = Place::new();
    make(&place.folder);
    let whole = number(place.tell(&[]).one("summary"), "bytes_sent");
    for share in SHARES {
        let place = Place::of(&place.folder);
        let told = place.tell(&["--leave-at", &share.to_string()]);
        let cut = told.one("cut");
        let acknowledged = number(cut, "bytes_acknowledged");
        let restorable = number(cut, "bytes_restorable");

        let snapshots = place.restic().snapshots().unwrap();
        let kinds: Vec<&str> = snapshots
            .iter()
            .map(|snapshot| snapshot.tags.first().map_or("", String::as_str))
            .collect();
        assert_eq!(kinds, ["partial", "complete"], "left at {share} %: {told}");
        let numbers: Vec<(u64, &str)> = told
            .all("forwarded")
            .iter()
            .map(|set| (number(set, "set"), set["kind"].as_str().unwrap()))
            .collect();
        assert!(numbers.is_sorted(), "left at {share} %: {told}");
        assert_eq!(
            numbers.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(),
            kinds,
            "left at {share} %: {told}"
        );
        place.judge();

        let partial = place.restore(&snapshots[0].id);
        let back = bytes_as_in(&place.folder, &inside(partial.path(), &place.folder));
        let sent = number(told.one("summary"), "bytes_sent");
        println!(
            "left at {share} %: {acknowledged} bytes acknowledged, {restorable} said to be restorable, {back} restored \
             ({} %); sent {sent} of {whole}",
            back * 100 / acknowledged.max(1)
        );
        assert!(
            back >= restorable,
            "left at {share} %: {back} bytes of {restorable}"
        );
        assert!(
            back * 100 >= acknowledged * restorable_percent,
            "left at {share} %: {back} bytes of {acknowledged}"
        );
        assert!(
            sent * 100 <= whole * 102 + CHUNK_BYTES * 100,
            "left at {share} %: {sent} bytes, {whole} without a cut"
        );
    }
}

#[test]
fn leaving_amid_incompressible_files_costs_next_to_nothing() {
    leave_at_every_share(
        &|folder| corpus::incompressible(folder, 11, 60_000_000).unwrap(),
        RESTORABLE_PERCENT,
    );
}

#[test]
fn leaving_amid_text_and_office_costs_next_to_nothing() {
    leave_at_every_share(
        &|folder| corpus::text_and_office(folder, 12, 40_000_000).unwrap(),
        RESTORABLE_PERCENT,
    );
}

/// The same in a flat folder of tiny files: there the metadata is the weight, and the limit on what is sent twice wins
/// over the share that is restorable.
const FLAT_PERCENT: u64 = 30;

#[test]
fn leaving_amid_a_flat_folder_of_small_files_costs_next_to_nothing() {
    leave_at_every_share(
        &|folder| corpus::small_files(folder, 13, 2_000).unwrap(),
        FLAT_PERCENT,
    );
}
