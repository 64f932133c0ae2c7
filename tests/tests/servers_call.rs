//! Backup servers call the hub: what they may ask, what they may read, and what restic makes of it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_repository::Id;
use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use berth_tests::programs::caller::Caller;
use berth_tests::programs::cutter::Cutter;
use berth_tests::programs::{Laptop, Office, Process, done, program};
use berth_tests::restic::Restic;
use reqwest::Method;
use serde_json::{Value, json};

/// Two packs.
const BYTES: u64 = 20_000_000;

/// A hub that listens for servers, and a laptop that has been there twice.
fn office() -> (Office, Laptop) {
    with_two_sets(Office::new())
}

fn with_two_sets(mut office: Office) -> (Office, Laptop) {
    office.set("serve = \"127.0.0.1:0\"");
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::incompressible(&laptop.folder, 5, BYTES).unwrap();
    office.pair(&laptop);
    laptop.back_up();
    corpus::small_files(&laptop.folder.join("more"), 6, 50).unwrap();
    laptop.back_up();
    (office, laptop)
}

/// A repository below `place` as `restic copy` makes it from the hub's.
fn copied(caller: &Caller, source: &Restic, key: &Path, place: &Path) -> Restic {
    let copy = Restic::new(place.join("copy"), key);
    copy.init().unwrap();
    let from = caller.repository("laptop");
    let (key, certificate) = (
        key.display().to_string(),
        caller.certificate.display().to_string(),
    );
    let options = [
        "--from-repo",
        &from,
        "--from-password-file",
        &key,
        "--cacert",
        &certificate,
    ];
    copy.run("copy", options).unwrap();
    let all = |restic: &Restic| -> BTreeSet<String> {
        let snapshots = restic.snapshots().unwrap();
        snapshots.into_iter().map(|one| one.time).collect()
    };
    assert_eq!(all(&copy), all(source));
    copy
}

fn assert_restores(restic: &Restic, laptop: &Laptop, place: &Path) {
    restic.check().unwrap();
    let restored = tempfile::tempdir_in(place).unwrap();
    restic.restore("latest", restored.path()).unwrap();
    let inside = restored.path().join(laptop.folder.strip_prefix("/").unwrap());
    assert_same(&laptop.folder, &inside, Owners::of_this_user());
}

#[test]
fn restic_copies_from_the_hub_when_no_laptop_is_there() {
    let (office, laptop) = office();
    office.ctl(&["forward"]);
    let upstream = office.restic(&laptop);
    let caller = Caller::add(&office, "nas");
    let place = office.path();
    let copy = copied(&caller, &upstream, &place.join("laptop.key"), &place);
    assert_restores(&copy, &laptop, &place);
    // Its lock is gone with it.
    assert_eq!(caller.read("laptop/locks/").body, b"[]");
    // And as it is, as if the laptop itself were there.
    let at_hub = upstream.at(caller.repository("laptop"));
    let certificate = caller.certificate.display().to_string();
    at_hub
        .run("check", ["--read-data", "--cacert", &certificate])
        .unwrap();
}

#[test]
fn restic_reads_through_the_hub_what_is_upstream_only() {
    let mut office = Office::new();
    office.set("serve = \"127.0.0.1:0\"");
    office.set("spool_max = \"256 MB\"");
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::incompressible(&laptop.folder, 5, 11 * BYTES).unwrap();
    office.pair(&laptop);
    laptop.back_up();
    office.ctl(&["forward"]);
    let verified = office.ctl(&["verify"]);
    assert!(verified["reclaimed"].as_u64() > Some(0), "{verified:#}");
    let nas = Caller::add(&office, "nas");
    let certificate = nas.certificate.display().to_string();
    let at_hub = office.restic(&laptop).at(nas.repository("laptop"));
    at_hub
        .run("check", ["--read-data", "--cacert", &certificate])
        .unwrap();
    // An upstream that is not there is said to be, and nothing is cut short.
    let away = office.path().join("away");
    fs::rename(office.upstream(), &away).unwrap();
    let packs = nas.read("laptop/data/").json();
    let answers = packs.as_array().unwrap().iter().map(|name| {
        let path = format!("laptop/data/{}", name.as_str().unwrap());
        nas.ask(Method::GET, &path, &[("Range", "bytes=0-9")], &[])
            .status
            .as_u16()
    });
    let answers: BTreeSet<u16> = answers.collect();
    assert_eq!(answers, BTreeSet::from([206, 502]));
    fs::rename(&away, office.upstream()).unwrap();
    at_hub
        .run("check", ["--read-data", "--cacert", &certificate])
        .unwrap();
}

#[test]
fn nobody_without_a_token_learns_anything() {
    let (office, _laptop) = office();
    let (nas, vault) = (Caller::add(&office, "nas"), Caller::add(&office, "vault"));
    let waiting = nas.read("~berth/waiting").json();
    assert_eq!(waiting["laptops"][0]["laptop"], "laptop", "{waiting:#}");
    let refused = |name: &str, token: &str| {
        for path in ["~berth/waiting", "laptop/config", "nobody/config", ""] {
            let answered = nas.ask_as(name, token, Method::GET, path, &[], &[]);
            assert_eq!(answered.status, 401, "{path} for {name}");
            assert_eq!(answered.body, b"name the server and its token\n");
        }
    };
    refused("nas", &vault.token);
    office.ctl(&["server", "remove", "nas"]);
    refused("nas", &nas.token);
    assert_eq!(vault.read("~berth/waiting").status, 200);
    let listed = office.ctl(&["server", "list"]);
    assert_eq!(listed[0]["server"], "vault", "{listed:#}");
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn silent_connections_do_not_keep_a_server_out_for_ever() {
    let (office, _laptop) = office();
    let nas = Caller::add(&office, "nas");
    let silent: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(&nas.hub).unwrap()).collect();
    assert_eq!(nas.read("~berth/waiting").status, 200);
    drop(silent);
}

#[test]
fn a_server_has_forwarded_what_waits() {
    let mut office = Office::new();
    office.set("serve = \"127.0.0.1:0\"");
    office.set("forward = \"manual\"");
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::small_files(&laptop.folder, 6, 50).unwrap();
    office.pair(&laptop);
    laptop.back_up();
    let nas = Caller::add(&office, "nas");
    let waiting = || nas.read("~berth/waiting").json()["laptops"][0]["sets_waiting"].clone();
    assert_eq!(waiting(), 1);
    assert_eq!(nas.ask(Method::GET, "~berth/forward", &[], &[]).status, 405);
    assert_eq!(nas.ask(Method::POST, "~berth/forward", &[], &[]).status, 202);
    // Each answer takes a while.
    assert!((0..10_000).any(|_| waiting() == 0), "nothing is forwarded");
}

#[test]
fn only_locks_can_be_written_and_are_gone_when_they_are_removed() {
    let (office, _laptop) = office();
    let nas = Caller::add(&office, "nas");
    let snapshots = nas.read("laptop/snapshots/").json();
    let snapshot = format!("laptop/snapshots/{}", snapshots[0].as_str().unwrap());
    let lock = b"a lock";
    let id = Id::of(lock).to_string();
    for path in [
        format!("laptop/data/{id}"),
        format!("laptop/index/{id}"),
        format!("laptop/keys/{id}"),
        format!("{snapshot}0"),
        "laptop/config".to_owned(),
        "laptop/?create=true".to_owned(),
        "other/?create=true".to_owned(),
    ] {
        assert_eq!(nas.ask(Method::POST, &path, &[], lock).status, 403, "{path}");
        assert_eq!(nas.ask(Method::DELETE, &path, &[], &[]).status, 403, "{path}");
        assert_eq!(nas.ask(Method::PUT, &path, &[], lock).status, 405, "{path}");
    }
    assert_eq!(nas.ask(Method::DELETE, &snapshot, &[], &[]).status, 403);
    assert_eq!(nas.read("laptop/snapshots/").json(), snapshots);

    let path = format!("laptop/locks/{id}");
    assert_eq!(nas.read(&path).status, 404);
    assert_eq!(nas.ask(Method::POST, &path, &[], b"another").status, 400);
    assert_eq!(nas.ask(Method::POST, &path, &[], lock).status, 200);
    assert_eq!(nas.read(&path).body, lock);
    assert_eq!(nas.read("laptop/locks/").json()[0], id.as_str());
    assert_eq!(nas.ask(Method::DELETE, &path, &[], &[]).status, 200);
    assert_eq!(nas.ask(Method::DELETE, &path, &[], &[]).status, 404);
    assert_eq!(nas.read("laptop/locks/").body, b"[]");
}

#[test]
fn lists_heads_and_ranges_are_those_of_a_rest_server() {
    let (office, _laptop) = office();
    let nas = Caller::add(&office, "nas");
    let v2 = [("Accept", "application/vnd.x.restic.rest.v2")];
    let mut packs = 0;
    for (kind, count_min) in [("data", 2), ("index", 2), ("snapshots", 2), ("keys", 1)] {
        let path = format!("laptop/{kind}/");
        let names = nas.read(&path).json();
        let listed = nas.ask(Method::GET, &path, &v2, &[]);
        assert_eq!(listed.headers["content-type"], v2[0].1);
        let listed = listed.json();
        let listed = listed.as_array().unwrap();
        assert!(listed.len() >= count_min, "{kind}: {listed:#?}");
        for (entry, name) in listed.iter().zip(names.as_array().unwrap()) {
            assert_eq!(entry["name"], *name);
            let path = format!("laptop/{kind}/{}", name.as_str().unwrap());
            let whole = nas.read(&path).body;
            assert_eq!(Id::of(&whole).to_string(), *name);
            assert_eq!(entry["size"], whole.len());
            let head = nas.ask(Method::HEAD, &path, &[], &[]);
            assert_eq!(head.status, 200);
            assert_eq!(head.headers["content-length"], whole.len().to_string().as_str());
            packs += usize::from(whole.len() > 1_000_000);
            for (range, bytes) in [
                ("bytes=3-6", &whole[3..7]),
                ("bytes=5-", &whole[5..]),
                ("bytes=-7", &whole[whole.len() - 7..]),
            ] {
                let answered = nas.ask(Method::GET, &path, &[("Range", range)], &[]);
                assert_eq!(answered.status, 206);
                assert!(answered.body == bytes, "{range} of {path}");
            }
            let beyond = format!("bytes={}-", whole.len());
            let answered = nas.ask(Method::GET, &path, &[("Range", &beyond)], &[]);
            assert_eq!(answered.status, 416);
        }
    }
    assert!(packs > 0, "no pack was large");
    let config = nas.read("laptop/config");
    let head = nas.ask(Method::HEAD, "laptop/config", &[], &[]);
    assert_eq!(
        head.headers["content-length"],
        config.body.len().to_string().as_str()
    );
    for path in [
        "laptop/data/00",
        "laptop/other/",
        "nobody/config",
        "../trust",
        "laptop/",
    ] {
        assert_eq!(nas.read(path).status, 404, "{path}");
    }
}

#[test]
fn nothing_of_an_open_visit_is_shown() {
    let mut office = Office::new();
    office.set("serve = \"127.0.0.1:0\"");
    office.start_air("wfd-poor");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::incompressible(&laptop.folder, 5, 2 * BYTES).unwrap();
    office.pair(&laptop);
    let nas = Caller::add(&office, "nas");
    let mut backup = laptop.start_backup();
    Laptop::wait_for_bytes(&mut backup, BYTES);
    for kind in ["data", "index", "snapshots", "keys"] {
        assert_eq!(nas.read(&format!("laptop/{kind}/")).body, b"[]", "{kind}");
    }
    assert_eq!(nas.read("laptop/config").status, 404);
    backup.kill();
}

/// `berthctl pull` into `folder`, on its way. `more`: further arguments.
fn pull(caller: &Caller, hub: &str, folder: &Path, more: &[&str]) -> Process {
    let mut command = Command::new(program("berthctl"));
    command
        .env("BERTH_TOKEN", &caller.token)
        .arg("--json")
        .arg("pull")
        .arg(format!("https://{}@{hub}/", caller.name))
        .arg(folder)
        .arg("--ca-file")
        .arg(&caller.certificate)
        .args(more);
    Process::start(command)
}

/// The same, done: how many sets, objects and confirmed sets.
#[track_caller]
fn pulled(caller: &Caller, folder: &Path) -> [u64; 3] {
    let told = done(pull(caller, &caller.hub, folder, &[])).last();
    ["sets", "objects", "confirmed"].map(|name| told[name].as_u64().unwrap())
}

/// The same hub, whose upstream is the server `nas`; and a folder for it.
fn pulled_office() -> (Office, Laptop, Caller, PathBuf) {
    let mut office = Office::new();
    office.upstream_is("pull:nas");
    let (office, laptop) = with_two_sets(office);
    let folder = office.path().join("pulled");
    fs::create_dir(&folder).unwrap();
    let nas = Caller::add(&office, "nas");
    (office, laptop, nas, folder)
}

/// States of the laptop's sets.
fn states(office: &Office) -> Vec<String> {
    let sets = office.ctl(&["sets"]);
    let sets = sets.as_array().unwrap().iter();
    sets.map(|set| set["state"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_was_pulled_is_confirmed_and_restic_restores_it() {
    let (office, laptop, nas, folder) = pulled_office();
    assert_eq!(states(&office), ["complete", "complete"]);
    let [sets, objects, confirmed] = pulled(&nas, &folder);
    assert_eq!((sets, confirmed), (2, 2));
    assert!(objects > 8, "{objects}");
    assert_eq!(states(&office), ["forwarded", "forwarded"]);
    let place = office.path();
    let restic = office.restic(&laptop).at(folder.join("laptop"));
    assert_restores(&restic, &laptop, &place);
    let tags: Vec<String> = restic
        .snapshots()
        .unwrap()
        .into_iter()
        .flat_map(|one| one.tags)
        .collect();
    assert!(tags.contains(&"set:1".to_owned()) && tags.contains(&"set:2".to_owned()));
    // Nothing is copied twice; what is new comes, and what was forgotten does not come back.
    assert_eq!(pulled(&nas, &folder), [0, 0, 0]);
    restic.run("forget", ["--keep-last", "1", "--prune"]).unwrap();
    corpus::small_files(&laptop.folder.join("third"), 9, 50).unwrap();
    laptop.back_up();
    let [sets, _, confirmed] = pulled(&nas, &folder);
    assert_eq!((sets, confirmed), (1, 1));
    assert_eq!(restic.snapshots().unwrap().len(), 2);
    assert_restores(&restic, &laptop, &place);
}

#[test]
fn a_server_that_is_not_the_upstream_gets_a_copy_and_confirms_nothing() {
    let (office, laptop, _nas, folder) = pulled_office();
    let vault = Caller::add(&office, "vault");
    let told = done(pull(&vault, &vault.hub, &folder, &[])).last();
    assert_eq!(
        (&told["sets"], &told["confirmed"]),
        (&2.into(), &0.into()),
        "{told}"
    );
    assert_eq!(states(&office), ["complete", "complete"]);
    assert_restores(
        &office.restic(&laptop).at(folder.join("laptop")),
        &laptop,
        &office.path(),
    );
    assert_eq!(pulled(&vault, &folder), [0, 0, 0]);
    let set = set_path(&vault, 1);
    let answered = vault.ask(Method::POST, &format!("{set}/confirm"), &[], CONFIRM);
    assert_eq!(answered.status, 409);
}

/// The first word of a confirmation.
const CONFIRM: &[u8] = br#"{"nonce":null,"proofs":[]}"#;

fn set_path(caller: &Caller, set: u64) -> String {
    let waiting = caller.read("~berth/waiting").json();
    let key = waiting["laptops"][0]["key"].as_str().unwrap().to_owned();
    format!("~berth/{key}/sets/{set}")
}

#[test]
fn a_server_that_has_not_got_the_bytes_confirms_nothing() {
    let (office, _laptop, nas, _folder) = pulled_office();
    let confirm = |set: u64, body: &[u8]| {
        let path = format!("{}/confirm", set_path(&nas, set));
        nas.ask(Method::POST, &path, &[], body)
    };
    // Everything was read; that is no proof.
    for kind in ["data", "index", "snapshots"] {
        for name in nas.read(&format!("laptop/{kind}/")).json().as_array().unwrap() {
            let path = format!("laptop/{kind}/{}", name.as_str().unwrap());
            assert_eq!(nas.read(&path).status, 200);
        }
    }
    assert_eq!(confirm(2, CONFIRM).status, 409, "the second set before the first");
    let objects = nas.read(&set_path(&nas, 1)).json();
    let ids: Vec<&Value> = objects.as_array().unwrap().iter().map(|one| &one["id"]).collect();
    let asked = || {
        let asked = confirm(1, CONFIRM).json();
        assert_eq!(
            (&asked["next"], &asked["from"]),
            (&"prove".into(), &0.into()),
            "{asked}"
        );
        assert_eq!(asked["count"], ids.len());
        asked["nonce"].as_str().unwrap().to_owned()
    };
    let nonce = asked();
    assert_ne!(nonce, asked());
    let zeros = vec!["0".repeat(64); ids.len()];
    for said in [
        json!({ "nonce": nonce, "proofs": ids }),
        json!({ "nonce": asked(), "proofs": zeros }),
        json!({ "nonce": asked(), "proofs": [] }),
        // A nonce is good once, and only one of the hub's.
        json!({ "nonce": nonce, "proofs": ids }),
        json!({ "nonce": "1".repeat(64), "proofs": [] }),
    ] {
        let answered = confirm(1, said.to_string().as_bytes());
        assert_eq!(answered.status, 409, "{said}");
    }
    assert_eq!(confirm(1, b"{}x").status, 400);
    assert_eq!(states(&office), ["complete", "complete"]);
}

#[test]
fn a_pull_that_is_cut_anywhere_goes_on() {
    let (office, laptop, nas, folder) = pulled_office();
    let hub: SocketAddr = nas.hub.parse().unwrap();
    let mut whole = 0;
    for cut_after in [20_000, 3_000_000, 17_500_000, 1_000_000] {
        let cutter = Cutter::start(hub, cut_after);
        let ended = pull(&nas, &cutter.address().to_string(), &folder, &[]).end();
        assert_eq!(ended.code, 1, "cut after {cut_after}: {ended}");
        assert!(!ended.to_string().contains(&nas.token));
        let snapshots = fs::read_dir(folder.join("laptop/snapshots")).map_or(0, Iterator::count);
        assert_eq!(snapshots, 0, "cut after {cut_after}");
        let objects = nas.read("laptop/data/").json().as_array().unwrap().len();
        let there = files(&folder.join("laptop/data"));
        assert!(there >= whole && there < objects, "cut after {cut_after}");
        whole = there;
    }
    assert!(whole > 0, "nothing was kept");
    assert_eq!(pulled(&nas, &folder)[2], 2);
    assert_restores(
        &office.restic(&laptop).at(folder.join("laptop")),
        &laptop,
        &office.path(),
    );
}

/// Files whose names are ids.
fn files(folder: &Path) -> usize {
    let below = fs::read_dir(folder)
        .map(|found| found.flatten().collect::<Vec<_>>())
        .unwrap_or_default();
    let all = below
        .iter()
        .flat_map(|one| fs::read_dir(one.path()).unwrap().flatten());
    all.filter(|one| one.file_name().len() == 64).count()
}

#[test]
fn two_pulls_at_once_do_not_harm_each_other() {
    let (office, laptop, nas, folder) = pulled_office();
    let other = office.path().join("other");
    fs::create_dir(&other).unwrap();
    let (first, second) = (
        pull(&nas, &nas.hub, &folder, &[]),
        pull(&nas, &nas.hub, &other, &[]),
    );
    done(first);
    done(second);
    for folder in [&folder, &other] {
        let restic = office.restic(&laptop).at(folder.join("laptop"));
        assert_restores(&restic, &laptop, &office.path());
    }
    // In one folder only one works.
    let lock = File::options()
        .write(true)
        .open(folder.join("~berth-pull.lock"))
        .unwrap();
    lock.lock().unwrap();
    assert_eq!(pull(&nas, &nas.hub, &folder, &[]).end().code, 1);
}

#[test]
fn a_pull_leaves_a_repository_alone_on_which_somebody_works() {
    let (office, _laptop, nas, folder) = pulled_office();
    let locks = folder.join("laptop/locks");
    fs::create_dir_all(&locks).unwrap();
    fs::write(locks.join(Id::of(b"lock").to_string()), b"lock").unwrap();
    let ended = pull(&nas, &nas.hub, &folder, &[]).end();
    assert_eq!(ended.code, 1, "{ended}");
    assert_eq!(files(&folder.join("laptop/data")), 0);
    fs::remove_dir_all(&locks).unwrap();
    assert_eq!(pulled(&nas, &folder)[2], 2);
    assert_eq!(states(&office), ["forwarded", "forwarded"]);
}

#[test]
fn a_token_comes_from_a_private_file_and_a_hub_from_its_certificate() {
    let (office, _laptop, nas, folder) = pulled_office();
    let file = office.path().join("token");
    fs::write(&file, format!("{}\n", nas.token)).unwrap();
    let text = file.display().to_string();
    for (mode, code) in [(0o644, 1), (0o600, 0)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let ended = pull(&nas, &nas.hub, &folder, &["--token-file", &text]).end();
        assert_eq!(ended.code, code, "{ended}");
    }
    // Another hub's certificate at the same address.
    let mut other = Office::new();
    other.set("serve = \"127.0.0.1:0\"");
    other.start_hub(&["--listen", "127.0.0.1:0"]);
    let stranger = Caller::add(&other, "nas");
    let ended = pull(&nas, &stranger.hub, &folder, &[]).end();
    assert_eq!(ended.code, 1, "{ended}");
}
