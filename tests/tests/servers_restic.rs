//! The real programs forward to real servers, and restic judges what is there: rclone's REST and WebDAV servers, OpenSSH,
//! and S3 as moto speaks it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use berth_tests::programs::servers::{S3_KEYS, moto, rclone, s3_credentials, sshd};
use berth_tests::programs::{Laptop, Office};
use berth_tests::restic::Restic;

/// Some packs.
const BYTES: u64 = 40_000_000;

fn laptop(office: &mut Office) -> Laptop {
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::incompressible(&laptop.folder, 5, BYTES).unwrap();
    office.pair(&laptop);
    laptop
}

/// Two visits are forwarded; restic finds two sets in their order and restores the second, and nothing was sent twice.
fn story(mut office: Office, repository: impl FnOnce(Restic, &Path) -> Restic) {
    let place = office.path();
    let laptop = laptop(&mut office);
    laptop.back_up();
    office.ctl(&["forward"]);
    corpus::small_files(&laptop.folder.join("more"), 6, 50).unwrap();
    laptop.back_up();
    office.ctl(&["forward"]);
    let status = office.ctl(&["status"]);
    assert_eq!(status["sets_waiting"], 0, "{status:#}");
    let restic = repository(office.restic(&laptop), &place);
    restic.check().unwrap();
    let restored = tempfile::tempdir_in(&place).unwrap();
    restic.restore("latest", restored.path()).unwrap();
    let inside = restored.path().join(laptop.folder.strip_prefix("/").unwrap());
    assert_same(&laptop.folder, &inside, Owners::of_this_user());
    let sets: Vec<String> = restic
        .snapshots()
        .unwrap()
        .into_iter()
        .flat_map(|one| one.tags)
        .collect();
    assert_eq!(
        sets,
        ["complete", "hub:hub", "set:1", "complete", "hub:hub", "set:2"]
    );
}

#[test]
fn restic_restores_what_went_to_an_append_only_rest_server() {
    let mut office = Office::new();
    let (_server, url) = rclone(
        "restic",
        &["--append-only", "--user", "me", "--pass", "secret"],
        &office.path().join("up"),
    );
    office.forward_to(&format!("rest:{url}"), "user = \"me\"\npassword = \"secret\"\n");
    story(office, |restic, _| {
        restic.at(format!("rest:{}laptop/", url.replace("://", "://me:secret@")))
    });
}

#[test]
fn restic_restores_what_went_to_s3() {
    let mut office = Office::new();
    let (_server, url) = moto();
    let upstream = format!("s3:{url}/berth/a/b");
    office.forward_to(&upstream, &s3_credentials());
    story(office, |restic, _| {
        let restic = S3_KEYS
            .iter()
            .fold(restic, |restic, (name, value)| restic.with(name, value));
        restic.at(format!("{upstream}/laptop"))
    });
}

#[test]
fn restic_restores_what_went_through_sftp() {
    let mut office = Office::new();
    let (_server, url, credentials) = sshd(&office.path());
    fs::create_dir(office.path().join("up")).unwrap();
    office.forward_to(&url, &credentials);
    story(office, |restic, place| restic.at(place.join("up/laptop")));
}

#[test]
fn restic_restores_what_went_to_webdav() {
    let mut office = Office::new();
    let options = ["--user", "me", "--pass", "secret"];
    let (_server, url) = rclone("webdav", &options, &office.path().join("up"));
    office.forward_to(&format!("webdav:{url}"), "user = \"me\"\npassword = \"secret\"\n");
    story(office, |restic, place| restic.at(place.join("up/laptop")));
}

#[test]
fn an_upstream_is_tried_when_it_is_set_and_restic_is_not_asked() {
    let mut office = Office::new();
    let folder = office.path().join("up");
    let (server, url) = rclone("restic", &["--append-only"], &folder);
    office.start_air("perfect");
    office.start_hub(&[]);
    let upstream = format!("rest:{url}");
    let set = office.ctl(&["upstream", "set", &upstream]);
    assert_eq!(set["upstream"], upstream.as_str(), "{set:#}");
    assert_eq!(fs::read_dir(folder.join("berth-probe/locks")).unwrap().count(), 0);
    drop(server);
    let ended = office
        .ctl_start(&["upstream", "set", &format!("{upstream}gone/")])
        .end();
    assert_eq!(ended.code, 1, "a server that is not there was taken");
}
