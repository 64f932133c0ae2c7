//! What was forwarded is read back, from every kind of upstream.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs;

use berth_bridge::Upstream;
use berth_repository::Id;
use berth_tests::programs::Office;
use berth_tests::programs::servers::{moto, rclone, s3_credentials, sshd};
use berth_upstream::{Credentials, Place};
use berth_wire::ObjectKind;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// More than one answer of an SFTP server.
const SIZE_BYTES: usize = 700_001;

fn read_back(upstream: &mut dyn Upstream) {
    let mut bytes = vec![0; SIZE_BYTES];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
    let (kind, id, size_bytes) = (ObjectKind::Pack, Id::of(&bytes), SIZE_BYTES as u64);
    upstream.prepare().unwrap();
    assert_eq!(upstream.read(kind, &id, None).unwrap(), None);
    assert_eq!(upstream.read(kind, &id, Some(5..10)).unwrap(), None);
    upstream
        .write(kind, &id, size_bytes, &mut bytes.as_slice())
        .unwrap();
    assert_eq!(upstream.read(kind, &id, None).unwrap().unwrap(), bytes);
    for range in [
        0..1,
        0..size_bytes,
        1..size_bytes - 1,
        399_999..400_003,
        300_000..690_000,
        size_bytes - 1..size_bytes,
    ] {
        let read = upstream.read(kind, &id, Some(range.clone())).unwrap().unwrap();
        let expected = &bytes[range.start as usize..range.end as usize];
        assert!(read == expected, "other bytes than those of {range:?}");
    }
    let beyond = upstream.read(kind, &id, Some(700_000..800_000)).unwrap().unwrap();
    assert_eq!(beyond, bytes[700_000..]);
    let nothing = upstream.read(kind, &id, Some(800_000..800_001)).unwrap().unwrap();
    assert!(nothing.is_empty());
}

fn repository(office: &Office, url: &str, credentials: &str) -> Box<dyn Upstream> {
    let path = office.credentials(credentials);
    let credentials = Credentials::read(&path, |_| None).unwrap();
    let place = Place::open(url.parse().unwrap(), credentials, [7; 32]).unwrap();
    place.repository("laptop").unwrap()
}

#[test]
fn a_part_of_an_object_is_read_from_a_folder() {
    let office = Office::new();
    let folder = office.path().join("up");
    fs::create_dir(&folder).unwrap();
    read_back(&mut *repository(&office, folder.to_str().unwrap(), ""));
}

#[test]
fn a_part_of_an_object_is_read_from_a_rest_server() {
    let office = Office::new();
    let options = ["--append-only", "--user", "me", "--pass", "secret"];
    let (_server, url) = rclone("restic", &options, &office.path().join("up"));
    let credentials = "user = \"me\"\npassword = \"secret\"\n";
    read_back(&mut *repository(&office, &format!("rest:{url}"), credentials));
}

#[test]
fn a_part_of_an_object_is_read_from_s3() {
    let office = Office::new();
    let (_server, url) = moto();
    read_back(&mut *repository(
        &office,
        &format!("s3:{url}/berth/a"),
        &s3_credentials(),
    ));
}

#[test]
fn a_part_of_an_object_is_read_through_sftp() {
    let office = Office::new();
    let (_server, url, credentials) = sshd(&office.path());
    fs::create_dir(office.path().join("up")).unwrap();
    read_back(&mut *repository(&office, &url, &credentials));
}

#[test]
fn a_part_of_an_object_is_read_from_webdav() {
    let office = Office::new();
    let (_server, url) = rclone("webdav", &[], &office.path().join("up"));
    read_back(&mut *repository(&office, &format!("webdav:{url}"), ""));
}
