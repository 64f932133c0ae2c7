//! The story on folders of all kinds, judged by restic: it finds no error upstream and restores the same tree.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use berth_tests::corpus;
use support::{Place, Told, all, number};

/// Small files in one folder; with `ALL` the number that the product is asked for.
fn small_files() -> u64 {
    if all() { 100_000 } else { 5_000 }
}

#[track_caller]
fn tell_and_judge(place: &Place) -> Told {
    let told = place.tell(&[]);
    place.judge();
    told
}

#[test]
fn this_checkout_comes_back_identical() {
    let place = Place::new();
    fs::create_dir(&place.folder).unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let listed = Command::new("git")
        .arg("-C")
        .arg(&repository)
        .args(["ls-files", "-z"])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let mut copied = 0;
    for name in listed
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = Path::new(std::str::from_utf8(name).unwrap());
        let to = place.folder.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Listed, but removed and not committed yet.
        if repository.join(name).exists() {
            fs::copy(repository.join(name), to).unwrap();
            copied += 1;
        }
    }
    let told = tell_and_judge(&place);
    assert_eq!(number(told.one("restored"), "files"), copied);
}

#[test]
fn every_odd_entry_comes_back_identical() {
    let place = Place::new();
    let made = corpus::odd_folder(&place.folder, 1).unwrap();
    let told = tell_and_judge(&place);
    assert_eq!(number(told.one("visit"), "sockets"), made.sockets);
}

#[test]
fn what_restic_itself_loses_comes_back_identical_through_berth() {
    let place = Place::new();
    fs::create_dir(&place.folder).unwrap();
    corpus::beyond_restic(&place.folder).unwrap();
    place.tell(&[]);
    place.restic().check().unwrap();
}

#[test]
fn an_empty_folder_comes_back_identical() {
    let place = Place::new();
    fs::create_dir(&place.folder).unwrap();
    tell_and_judge(&place);
}

#[test]
fn many_small_files_come_back_identical() {
    let place = Place::new();
    corpus::small_files(&place.folder, 2, small_files()).unwrap();
    let told = tell_and_judge(&place);
    assert_eq!(number(told.one("visit"), "files"), small_files());
}

#[test]
fn text_and_office_come_back_identical() {
    let place = Place::new();
    corpus::text_and_office(&place.folder, 3, 40_000_000).unwrap();
    tell_and_judge(&place);
}

#[test]
fn a_deep_tree_comes_back_identical() {
    let place = Place::new();
    corpus::deep_tree(&place.folder, 4, 200).unwrap();
    tell_and_judge(&place);
}

/// With `ALL` only: it takes minutes.
#[test]
fn usr_share_comes_back_identical() {
    if !all() {
        return;
    }
    let place = Place::of(Path::new("/usr/share"));
    tell_and_judge(&place);
}
