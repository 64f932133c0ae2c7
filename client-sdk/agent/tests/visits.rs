//! The real program at a hub: what it backs up, what it says, and what it knows afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test stops where it fails"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use support::TestHub;
use tempfile::TempDir;

struct Desk {
    hub: TestHub,
    state: PathBuf,
    files: PathBuf,
    _folder: TempDir,
}

impl Desk {
    /// A hub, and a laptop that is paired with it and has `mebibytes` of files.
    fn new(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (state, files) = (root.join("laptop"), root.join("files"));
        fs::create_dir(&files).unwrap();
        for number in 0..mebibytes {
            // Like nothing else, so that every byte travels.
            let mut word = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::from(number) << 32);
            let words = std::iter::repeat_with(|| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                word.to_le_bytes()
            });
            fs::write(
                files.join(format!("{number:04}")),
                words.take(131_072).collect::<Vec<_>>().concat(),
            )
            .unwrap();
        }
        let hub = TestHub::start(&root.join("hub"));
        let desk = Self {
            hub,
            state,
            files,
            _folder: folder,
        };
        let code = desk.hub.code();
        let paired = desk.run(&["pair", &code]);
        assert_eq!(paired.status.code(), Some(0), "{paired:?}");
        desk
    }

    fn berth(&self, arguments: &[&str]) -> Command {
        let mut berth = Command::new(env!("CARGO_BIN_EXE_berth"));
        berth.args(arguments).arg("--state").arg(&self.state);
        berth.args(["--via", &self.hub.address, "--json", "--name", "../x"]);
        berth.env_remove("DBUS_SESSION_BUS_ADDRESS");
        berth
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.berth(arguments).output().unwrap()
    }

    fn back_up(&self) -> (Option<i32>, Value) {
        let output = self.run(&["backup", path(&self.files)]);
        (output.status.code(), last(&output))
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn last(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let line = text.lines().last().unwrap_or_else(|| panic!("{output:?}"));
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_backup_ends_with_its_summary_and_is_known_afterwards_with_no_hub_near() {
    let desk = Desk::new(4);
    let (code, summary) = desk.back_up();
    assert_eq!(code, Some(0), "{summary}");
    assert_eq!(
        (&summary["event"], &summary["kind"]),
        (&"summary".into(), &"complete".into())
    );
    let keys: Vec<&String> = summary.as_object().unwrap().keys().collect();
    let named = "bytes_new bytes_scanned bytes_sent event files kind not_read seconds set";
    assert_eq!(keys, named.split(' ').collect::<Vec<_>>());
    assert_eq!(
        (&summary["files"], &summary["bytes_scanned"]),
        (&4.into(), &(4 << 20).into())
    );
    let (code, second) = desk.back_up();
    assert_eq!(code, Some(0));
    assert!(second["bytes_sent"].as_u64() < Some(64 * 1024), "{second}");
    let Desk {
        hub, state, _folder, ..
    } = desk;
    drop(hub);
    let known = |command| {
        let output = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args([command, "--json", "--state", path(&state)])
            .output();
        last(&output.unwrap())
    };
    let sets = known("sets");
    assert_eq!(sets.as_array().unwrap().len(), 2);
    assert_eq!(
        (&sets[1]["set"], &sets[1]["state"], &sets[1]["hub"]),
        (&second["set"], &"on-hub".into(), &"desk".into())
    );
    assert_eq!(sets[1]["forwarded_at"], Value::Null);
    let status = known("status");
    assert_eq!(status["hubs"][0]["last_complete"]["set"], second["set"]);
    assert_eq!(
        (&status["overdue"], &status["hubs"][0]["last_visit"]["end"]),
        (&false.into(), &"complete".into())
    );
}

#[test]
fn an_interrupted_backup_leaves_a_partial_set_and_the_next_one_sends_only_the_rest() {
    let desk = Desk::new(384);
    let mut running = desk
        .berth(&["backup", path(&desk.files)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let socket = desk.state.join("backup.sock");
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    // From another terminal, as soon as there is something to keep.
    loop {
        assert!(
            running.try_wait().unwrap().is_none(),
            "it was over before anybody could leave"
        );
        if !socket.exists() {
            continue;
        }
        let status: Value = last(&desk.run(&["status"]));
        if status["program"]["visit"]["bytes_acknowledged"].as_u64() > Some(0) {
            break;
        }
    }
    let left = last(&desk.run(&["leave"]));
    let summary: Value = serde_json::from_str(&lines.by_ref().map_while(Result::ok).last().unwrap()).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1));
    assert_eq!(
        (&summary["event"], &summary["kind"]),
        (&"summary".into(), &"partial".into())
    );
    assert_eq!((&left["left"], &left["set"]), (&true.into(), &summary["set"]));
    assert!(!socket.exists());
    // The hub signed for it before it said goodbye.
    let sets = last(&desk.run(&["sets"]));
    assert_eq!(
        (&sets[0]["kind"], &sets[0]["state"]),
        (&"partial".into(), &"on-hub".into()),
        "{sets}"
    );
    let snapshot = sets[0]["snapshot"].clone();
    assert!(snapshot.is_string(), "{sets}");
    let (code, second) = desk.back_up();
    assert_eq!((code, &second["kind"]), (Some(0), &"complete".into()));
    let sent = |summary: &Value| summary["bytes_sent"].as_u64().unwrap();
    assert!(
        sent(&summary) + sent(&second) < 384 * 1024 * 1024 * 102 / 100 + 4 * 1024 * 1024,
        "{summary} {second}"
    );
    // The hub still means the same one.
    assert_eq!(last(&desk.run(&["sets"]))[0]["snapshot"], snapshot);
}

#[test]
fn what_cannot_be_read_is_named_and_told_by_the_exit_code() {
    let desk = Desk::new(1);
    let missing = desk.files.with_extension("gone");
    let output = desk.run(&["backup", path(&desk.files), path(&missing)]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(last(&output)["not_read"][0]["path"], path(&missing));
    let nothing = desk.run(&["backup", "/no/such/folder"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(last(&nothing)["error"].to_string().contains("/no/such/folder"));
}

#[test]
fn a_laptop_set_back_to_a_copy_of_its_state_is_told_and_backs_up_again() {
    let desk = Desk::new(2);
    desk.back_up();
    let copy = desk.state.with_extension("copy");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&desk.state)
        .arg(&copy)
        .status()
        .unwrap();
    assert!(copied.success());
    fs::write(desk.files.join("new"), vec![7; 100_000]).unwrap();
    desk.back_up();
    fs::remove_dir_all(&desk.state).unwrap();
    fs::rename(&copy, &desk.state).unwrap();
    let output = desk.run(&["backup", path(&desk.files)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("did not fit what the hub holds"), "{text}");
}

#[test]
fn a_damaged_memory_of_the_hub_costs_a_rebuild_and_nothing_else() {
    let desk = Desk::new(2);
    desk.back_up();
    let hubs = fs::read_dir(desk.state.join("hubs")).unwrap();
    for hub in hubs {
        fs::write(hub.unwrap().path().join("last"), b"rotten").unwrap();
    }
    let (code, summary) = desk.back_up();
    assert_eq!(code, Some(0));
    assert!(summary["bytes_sent"].as_u64() < Some(256 * 1024), "{summary}");
}

/// The files of a folder of the one repository in the hub's spool.
fn spooled(desk: &Desk, folder: &str) -> Vec<PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let laptop = entries(desk.state.with_file_name("hub").join("laptops"))
        .next()
        .unwrap();
    entries(laptop.join("repository").join(folder)).collect()
}

#[test]
fn a_damaged_snapshot_is_named_and_costs_only_its_own_set() {
    let desk = Desk::new(1);
    let sets = [desk.back_up(), desk.back_up()].map(|(_, summary)| summary["set"].to_string());
    for path in [spooled(&desk, "keys"), spooled(&desk, "snapshots")].map(|mut paths| paths.remove(0)) {
        fs::remove_file(&path).unwrap();
        fs::write(path, "no longer what it was").unwrap();
    }
    let into = desk.state.with_file_name("restored");
    let restore = |set: &str| {
        let output = desk.run(&["restore", set, "--to", path(&into)]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.matches("can't read the snapshot ").count(), 1, "{said}");
        assert!(said.contains("`berthctl verify`"), "{said}");
        output.status.code()
    };
    let mut codes = sets.map(|set| restore(&set));
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(1)]);
    // The newest may be the one that can't be read.
    assert_eq!(restore("latest"), Some(3));
}

#[test]
fn a_hub_that_has_lost_packs_is_named_by_the_next_backup_and_by_the_status_from_then_on() {
    let desk = Desk::new(1);
    let status = || String::from_utf8(desk.run(&["status"]).stdout).unwrap();
    desk.back_up();
    assert!(status().contains("\"trouble\":null"), "{}", status());
    for folder in spooled(&desk, "data") {
        fs::remove_dir_all(folder).unwrap();
    }
    // Which of its objects are looked at is left to chance.
    let is_named = |_| {
        let output = desk.run(&["backup", path(&desk.files)]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        said.contains("has lost or changed backups that it had confirmed: pack ")
    };
    assert!((0..40).any(is_named));
    // The file is sent again once its pack is found missing.
    let sends_all = |_| desk.back_up().1["bytes_sent"].as_u64() > Some(1 << 20);
    assert!((0..40).any(sends_all));
    assert!(status().contains("is missing"), "{}", status());
}

#[test]
fn a_list_goes_past_a_folder_that_cannot_be_read_and_names_it() {
    let desk = Desk::new(1);
    let (kept, new) = (desk.files.join("kept"), desk.files.join("new"));
    for folder in [&kept, &new] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "something").unwrap();
        assert_eq!(desk.back_up().0, Some(0));
    }
    let list = || {
        let output = desk.run(&["ls", "latest", path(&desk.files)]);
        let entries: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut paths: Vec<PathBuf> = entries
            .iter()
            .map(|entry| entry["path"].as_str().unwrap().into())
            .collect();
        paths.retain(|path| path.starts_with(&kept) || path.starts_with(&new));
        (
            output.status.code(),
            paths,
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let all = [kept.clone(), new.clone(), kept.join("file"), new.join("file")];
    assert_eq!(list(), (Some(0), all.to_vec(), String::new()));
    // One after the other: packs of content, of the trees of the newest set, and of those of the set before.
    let packs = spooled(&desk, "data")
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut codes: Vec<Option<i32>> = packs
        .map(|pack| {
            let pack = pack.unwrap().path();
            let aside = desk.state.with_file_name("aside");
            fs::rename(&pack, &aside).unwrap();
            let (code, paths, said) = list();
            fs::rename(&aside, &pack).unwrap();
            if code == Some(3) {
                assert_eq!(paths, [kept.clone(), new.clone(), new.join("file")], "{said}");
                assert!(
                    said.contains(&format!("{}: can't read its content", path(&kept))),
                    "{said}"
                );
                assert!(said.contains("1 of the folders could not be read"), "{said}");
            }
            code
        })
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(1), Some(3)]);
}

/// An agent that ends with the test, however that ends.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The agent for the desk's files; its first event, then those that end a visit.
fn agent(desk: &Desk, bus: &str) -> (Agent, impl Iterator<Item = Value> + use<>) {
    let added = desk.run(&["folders", "add", path(&desk.files)]);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let mut berth = desk.berth(&["agent"]);
    berth.env("DBUS_SESSION_BUS_ADDRESS", bus);
    let mut agent = Agent(berth.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(agent.0.stdout.take().unwrap()).lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let told = events.filter(|event| event["event"] == "ready" || event["kind"].is_string());
    (agent, told)
}

#[test]
fn an_agents_visit_that_another_command_interrupted_goes_on_at_once() {
    let desk = Desk::new(384);
    let (_agent, mut events) = agent(&desk, "");
    assert_eq!(events.next().unwrap()["event"], "ready");
    loop {
        let status = last(&desk.run(&["status"]));
        let over = &status["hubs"][0]["last_complete"];
        assert!(over.is_null(), "it was over before anybody could interrupt");
        if status["program"]["visit"]["bytes_acknowledged"].as_u64() >= Some(1) {
            break;
        }
    }
    let one = desk.files.join("0000");
    assert_eq!(desk.run(&["backup", path(&one)]).status.code(), Some(0));
    let kinds = [events.next().unwrap(), events.next().unwrap()].map(|event| event["kind"].clone());
    assert_eq!(kinds, ["partial", "complete"]);
}

#[test]
fn a_desktop_that_does_not_answer_holds_up_neither_a_visit_nor_the_agents_end() {
    let desk = Desk::new(2);
    let socket = desk.state.with_extension("bus");
    let _silent = UnixListener::bind(&socket).unwrap();
    let (mut agent, mut events) = agent(&desk, &format!("unix:path={}", path(&socket)));
    assert_eq!(events.next().unwrap()["event"], "ready");
    assert_eq!(events.next().unwrap()["kind"], "complete");
    let id = agent.0.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    assert_eq!(agent.0.wait().unwrap().code(), Some(0));
}
