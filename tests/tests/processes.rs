//! The real programs as processes: an air, a hub, laptops, and what happens to them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use berth_tests::programs::{Laptop, Office, done};
use rustix::process::Signal;

/// Enough for several seconds of `wfd-poor`.
const BYTES: u64 = 40_000_000;

/// The link that makes a visit long enough to be disturbed in the middle.
const SLOW: &str = "wfd-poor";

fn office(profile: &str) -> Office {
    let mut office = Office::new();
    office.start_air(profile);
    office.start_hub(&[]);
    office
}

/// A paired laptop whose folder holds `bytes` of files.
fn laptop(office: &Office, name: &str, seed: u64, bytes: u64) -> Laptop {
    let laptop = office.laptop(name);
    corpus::incompressible(&laptop.folder, seed, bytes).unwrap();
    office.pair(&laptop);
    laptop
}

/// restic finds no error in the laptop's upstream, restores the folder as it is, and sees the sets in their order.
#[track_caller]
fn judge(office: &Office, laptop: &Laptop, kinds: &[&str]) {
    let restic = office.restic(laptop);
    restic.check().unwrap();
    let restored = tempfile::tempdir_in(office.path()).unwrap();
    restic.restore("latest", restored.path()).unwrap();
    let inside = restored.path().join(laptop.folder.strip_prefix("/").unwrap());
    assert_same(&laptop.folder, &inside, Owners::of_this_user());
    let snapshots = restic.snapshots().unwrap();
    let found: Vec<&str> = snapshots.iter().map(|one| one.tags[0].as_str()).collect();
    assert_eq!(found, kinds, "the sets of {}", laptop.name);
    let numbers: Vec<u64> = snapshots
        .iter()
        .filter_map(|one| {
            one.tags
                .iter()
                .find_map(|tag| tag.strip_prefix("set:")?.parse().ok())
        })
        .collect();
    assert!(numbers.is_sorted() && numbers.len() == kinds.len(), "{numbers:?}");
}

#[test]
fn restic_restores_what_three_laptops_backed_up_through_cuts_a_revocation_and_two_ends_of_the_hub() {
    let mut office = office(SLOW);
    let [cut, stays, revoked] =
        [("ada", 1), ("bob", 2), ("eve", 3)].map(|(name, seed)| laptop(&office, name, seed, BYTES));

    // All three at once; one is cut, one revoked, and the hub stops under the third.
    let (mut first, mut second, mut third) =
        (cut.start_backup(), stays.start_backup(), revoked.start_backup());
    for visit in [&mut first, &mut second, &mut third] {
        Laptop::wait_for_bytes(visit, BYTES / 20);
    }
    office.air(&["cut", &cut.name]);
    let first = first.end();
    assert_eq!(first.code, 1, "{first}");
    office.ctl(&["revoke", &revoked.name]);
    let third = third.end();
    assert_eq!(third.code, 1, "{third}");
    assert!(
        third.to_string().contains("pair"),
        "it is not told what to do: {third}"
    );
    Laptop::wait_for_bytes(&mut second, BYTES / 5);
    office.hub().signal(Signal::TERM);
    let second = second.end();
    assert_eq!(second.code, 1, "{second}");
    let stopped = office.take_hub().end();
    assert_eq!(stopped.code, 0, "{stopped}");

    // The hub is back, and is killed in the middle of the next visit.
    office.start_hub(&[]);
    let mut visit = cut.start_backup();
    Laptop::wait_for_bytes(&mut visit, 1);
    office.hub().signal(Signal::KILL);
    let visit = visit.end();
    assert_eq!(visit.code, 1, "{visit}");
    office.take_hub().kill();

    office.start_hub(&[]);
    for laptop in [&cut, &stays] {
        let summary = laptop.back_up();
        assert_eq!(summary["kind"], "complete", "{summary}");
        let again = laptop.back_up();
        assert!(again["bytes_sent"].as_u64() < Some(BYTES / 1000), "{again}");
    }
    let refused = revoked.start_backup().end();
    assert_eq!(refused.code, 1, "{refused}");

    done(office.ctl_start(&["forward"]));
    for (laptop, kinds) in [
        (&cut, ["partial", "partial", "complete", "complete"].as_slice()),
        (&stays, &["partial", "complete", "complete"]),
    ] {
        judge(&office, laptop, kinds);
        let sets = office.ctl(&["sets", &laptop.name]);
        let states: Vec<&str> = sets
            .as_array()
            .unwrap()
            .iter()
            .map(|set| set["state"].as_str().unwrap())
            .collect();
        assert_eq!(states, vec!["forwarded"; kinds.len()], "{sets}");
    }
    done(office.ctl_start(&["verify"]));
}

#[test]
fn a_laptop_restores_through_the_hub_what_it_backed_up() {
    let mut office = office("perfect");
    let laptop = laptop(&office, "ada", 4, 3_000_000);
    fs::create_dir(laptop.folder.join("odd")).unwrap();
    corpus::odd_folder(&laptop.folder.join("odd/all"), 5).unwrap();
    let told = laptop.start_backup().end();
    assert!([0, 3].contains(&told.code), "{told}");
    let target = office.path().join("restored");
    let restored = laptop.restore(&target);
    assert_same(&laptop.folder, &restored, Owners::of_this_user());
    // Once more over what is there: nothing is touched.
    let again = laptop
        .start(&["restore", "latest", "--to", &target.display().to_string()])
        .end();
    assert!([0, 1, 3].contains(&again.code), "{again}");
    assert_same(&laptop.folder, &restored, Owners::of_this_user());
    let _ = office.take_hub();
}

#[test]
fn restic_restores_what_came_over_a_network_without_any_radio() {
    let mut office = Office::new();
    office.start_hub(&["--listen", "127.0.0.1:0"]);
    let status = office.ctl(&["status"]);
    let mut laptop = office.laptop("ada");
    laptop.go_via(status["listen"].as_str().unwrap());
    corpus::text_and_office(&laptop.folder, 6, 2_000_000).unwrap();
    office.pair(&laptop);
    let summary = laptop.back_up();
    assert_eq!(summary["kind"], "complete", "{summary}");
    done(office.ctl_start(&["forward"]));
    judge(&office, &laptop, &["complete"]);
}

#[test]
fn a_laptop_in_the_hubs_lan_is_backed_up_there_and_no_group_is_opened() {
    let mut office = Office::new();
    office.start_air("perfect");
    office.start_hub(&["--listen", "127.0.0.1:0"]);
    let laptop = laptop(&office, "ada", 9, 1_000_000);
    let summary = laptop.back_up();
    assert_eq!(summary["kind"], "complete", "{summary}");
    let trace = office.air(&["trace"]).to_string();
    assert!(trace.contains("ada > connect"), "{trace}");
    assert!(!trace.contains("StartGroup"), "{trace}");
}

#[test]
fn laptops_of_the_same_name_and_of_odd_names_are_kept_apart() {
    let mut office = Office::new();
    office.start_hub(&["--listen", "127.0.0.1:0"]);
    let address = office.ctl(&["status"])["listen"].as_str().unwrap().to_owned();
    let names = [
        ("one", "ada"),
        ("two", "ada"),
        ("climber", "../x"),
        ("long", &"n".repeat(255)),
    ];
    let laptops: Vec<Laptop> = (10..)
        .zip(names)
        .map(|(seed, (place, name))| {
            let mut laptop = office.laptop_in(place, name);
            laptop.go_via(&address);
            corpus::text_and_office(&laptop.folder, seed, 300_000).unwrap();
            office.pair(&laptop);
            laptop.back_up();
            laptop
        })
        .collect();
    done(office.ctl_start(&["forward"]));
    let repositories = names_in(&office.upstream());
    assert_eq!(repositories.len(), laptops.len(), "{repositories:?}");
    assert!(!office.path().join("x").exists(), "outside of the folders");
    assert_eq!(
        repositories.iter().filter(|name| name.starts_with("ada")).count(),
        2,
        "{repositories:?}"
    );
    for laptop in &laptops {
        let restored = laptop.restore(&laptop.state.with_file_name("restored"));
        assert_same(&laptop.folder, &restored, Owners::of_this_user());
    }
}

#[test]
fn a_laptops_folder_at_the_upstream_is_called_as_the_settings_say() {
    let mut office = Office::new();
    office.set("folders.laptop = \"anna\"");
    office.start_air("perfect");
    office.start_hub(&[]);
    for (name, seed) in [("laptop", 1), ("other", 2)] {
        laptop(&office, name, seed, 1_000_000).back_up();
    }
    office.ctl(&["forward"]);
    assert_eq!(names_in(&office.upstream()), ["anna", "other"]);
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_laptop_set_back_to_an_older_state_is_told_and_restic_finds_nothing_lost() {
    let mut office = Office::new();
    office.start_hub(&["--listen", "127.0.0.1:0"]);
    let mut laptop = office.laptop("ada");
    laptop.go_via(office.ctl(&["status"])["listen"].as_str().unwrap());
    corpus::text_and_office(&laptop.folder, 7, 1_000_000).unwrap();
    office.pair(&laptop);
    laptop.back_up();
    let older = laptop.state.with_file_name("older");
    copy(&laptop.state, &older);
    fs::write(laptop.folder.join("new"), "written after the copy").unwrap();
    laptop.back_up();
    fs::remove_dir_all(&laptop.state).unwrap();
    fs::rename(&older, &laptop.state).unwrap();
    fs::write(laptop.folder.join("newer"), "written after that").unwrap();

    let told = done(laptop.start_backup());
    assert!(told.to_string().contains("rebuil"), "it is not told: {told}");
    done(office.ctl_start(&["forward"]));
    judge(&office, &laptop, &["complete", "complete", "complete"]);
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}

#[test]
fn ctrl_c_ends_a_visit_with_a_partial_set() {
    let office = office(SLOW);
    let laptop = laptop(&office, "ada", 8, BYTES);
    let mut visit = laptop.start_backup();
    Laptop::wait_for_bytes(&mut visit, BYTES / 10);
    visit.signal(Signal::INT);
    let ended = visit.end();
    let summary = ended.last();
    assert_eq!(summary["event"], "summary", "{ended}");
    assert_eq!(summary["kind"], "partial", "{ended}");
    // The hub's signed word came before its goodbye.
    let known = done(laptop.start(&["sets"])).last();
    assert_eq!(known[0]["state"], "on-hub", "{known}");
    let sets = office.ctl(&["sets"]);
    assert_eq!(sets[0]["kind"], "partial", "{sets}");
}

#[test]
fn leave_ends_the_agents_visit_with_a_partial_set_and_the_agent_comes_back() {
    let office = office(SLOW);
    let laptop = laptop(&office, "ada", 9, BYTES);
    laptop.run(&["folders", "add", &laptop.folder.display().to_string()]);
    office.air(&["away", &laptop.name]);
    let mut agent = laptop.start(&["agent"]);
    agent.event("ready");
    office.air(&["near", &laptop.name]);
    agent.event("visiting");
    // A backup that is typed meanwhile shows the agent's.
    let mut view = laptop.start(&["backup"]);
    Laptop::wait_for_bytes(&mut view, BYTES / 10);
    laptop.run(&["leave"]);
    let view = view.end();
    assert_eq!(
        (view.code, &view.last()["kind"]),
        (1, &"partial".into()),
        "{view}"
    );
    let sets = office.ctl(&["sets"]);
    assert_eq!(sets[0]["kind"], "partial", "{sets}");
    // A typed backup takes the agent's place for a moment.
    let summary = laptop.back_up();
    assert_eq!(summary["kind"], "complete", "{summary}");
    agent.signal(Signal::TERM);
    done(agent);
}
