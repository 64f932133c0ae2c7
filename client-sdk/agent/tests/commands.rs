//! The real program, where it needs no hub.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test stops where it fails"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn berth(state: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(arguments)
        .arg("--state")
        .arg(state)
        .env("HOME", state.parent().unwrap())
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .output()
        .unwrap()
}

fn state() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().canonicalize().unwrap().join("state");
    (folder, state)
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code 1, and one line that names `what`.
#[track_caller]
fn fails(output: &Output, what: &str) {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("berth: ") && error.contains(what), "{error}");
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn options_stand_before_or_after_the_command() {
    let (_folder, state) = state();
    let before = Command::new(env!("CARGO_BIN_EXE_berth"))
        .arg("--state")
        .arg(&state)
        .args(["--json", "exclude", "list"])
        .output()
        .unwrap();
    assert_eq!(
        json(&before),
        json(&berth(&state, &["exclude", "list", "--json"]))
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let (_folder, state) = state();
    for wrong in [
        &["no-such-command"][..],
        &["pair"],
        &["--radio", "carrier-pigeon", "status"],
    ] {
        assert_eq!(berth(&state, wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert!(!state.exists());
}

#[test]
fn the_doctor_names_what_is_missing_and_makes_nothing() {
    let (_folder, state) = state();
    let doctor = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["doctor", "--radio", "bluez:hci99", "--json", "--state"])
        .arg(&state)
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
        .output()
        .unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let bluez = findings
        .iter()
        .find(|finding| finding["about"] == "BlueZ")
        .unwrap();
    assert_eq!(bluez["state"], "missing");
    assert!(bluez["advice"].is_string(), "{bluez}");
    let is_asked_for = |finding: &serde_json::Value| finding["text"].as_str().unwrap().contains("hci99");
    assert!(findings.iter().any(is_asked_for), "{findings:?}");
    assert!(!state.exists());
}

#[test]
fn what_needs_a_hub_says_what_is_missing() {
    let (_folder, state) = state();
    fails(&berth(&state, &["backup", "--radio", "none"]), "--via ADDR:PORT");
    fails(
        &berth(&state, &["backup", "--via", "127.0.0.1:9"]),
        "berth pair CODE",
    );
    fails(
        &berth(&state, &["pair", "not a code", "--via", "127.0.0.1:9"]),
        "berthctl pair",
    );
}

#[test]
fn the_recovery_key_is_made_once_and_stays_with_its_owner() {
    let (_folder, state) = state();
    let shown = text(&berth(&state, &["recovery-key"]));
    let key = json(&berth(&state, &["recovery-key", "--json"]));
    assert_eq!(key["recovery_key"], shown.trim());
    assert!(shown.trim().len() >= 26, "128 bits: {shown}");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&state).unwrap() {
        let metadata = entry.unwrap().metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o077, 0);
    }
}

#[test]
fn folders_are_added_removed_and_fall_back_to_the_default() {
    let (folder, state) = state();
    let data = folder.path().canonicalize().unwrap().join("data");
    fs::create_dir(&data).unwrap();
    let data = data.to_str().unwrap();
    let default = text(&berth(&state, &["folders", "list"]));
    assert!(default.contains("the default"), "{default}");
    fails(
        &berth(&state, &["folders", "add", "/no/such/folder"]),
        "/no/such/folder",
    );
    assert!(text(&berth(&state, &["folders", "add", data])).contains("instead of the default"));
    assert_eq!(text(&berth(&state, &["folders", "list"])).trim(), data);
    fs::remove_dir(data).unwrap();
    assert!(text(&berth(&state, &["folders", "list"])).contains("not there now"));
    assert_eq!(berth(&state, &["folders", "remove", data]).status.code(), Some(0));
    assert_eq!(text(&berth(&state, &["folders", "list"])), default);
    fails(&berth(&state, &["folders", "remove", data]), "berth folders list");
}

#[test]
fn a_wrong_pattern_is_refused_when_it_is_added() {
    let (_folder, state) = state();
    fails(&berth(&state, &["exclude", "add", "a[z-a]"]), "a[z-a]");
    fails(&berth(&state, &["exclude", "add", ""]), "one line");
    assert_eq!(
        json(&berth(&state, &["exclude", "list", "--json"])),
        serde_json::json!([])
    );
    for pattern in ["*.o", "!keep.o", "-x"] {
        assert_eq!(
            berth(&state, &["exclude", "add", pattern]).status.code(),
            Some(0),
            "{pattern}"
        );
    }
    assert_eq!(text(&berth(&state, &["exclude", "list"])), "*.o\n!keep.o\n-x\n");
}

#[test]
fn ten_thousand_patterns_are_taken() {
    let (_folder, state) = state();
    fs::create_dir(&state).unwrap();
    let lines: Vec<String> = (0..10_000)
        .map(|number| format!("\"/data/{number}/**/*.tmp\""))
        .collect();
    fs::write(
        state.join("settings.toml"),
        format!("exclude = [{}]\n", lines.join(", ")),
    )
    .unwrap();
    assert_eq!(berth(&state, &["exclude", "add", "*.o"]).status.code(), Some(0));
    assert_eq!(text(&berth(&state, &["exclude", "list"])).lines().count(), 10_001);
}

#[test]
fn each_damaged_file_is_named_in_one_line_and_left_as_it_is() {
    let (_folder, state) = state();
    berth(&state, &["recovery-key"]);
    let backup = ["backup", "--via", "127.0.0.1:9"];
    for (file, command) in [
        ("settings.toml", &backup[..]),
        ("settings.toml", &["exclude", "list"]),
        ("identity", &backup),
        ("repository", &backup),
        ("repository", &["recovery-key"]),
        ("trust", &backup),
        (
            "visits/0000000000000000000000000000000000000000000000000000000000000000",
            &["status"],
        ),
    ] {
        let path = state.join(file);
        let before = fs::read(&path).ok();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let rotten = vec![b'{'; 2000];
        fs::write(&path, &rotten).unwrap();
        fails(&berth(&state, command), file);
        assert_eq!(fs::read(&path).unwrap(), rotten, "{file} was replaced");
        match before {
            Some(before) => fs::write(&path, before).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    fails(&berth(&state, &backup), "not paired");
}

#[test]
fn status_and_sets_work_before_anything_was_backed_up() {
    let (_folder, state) = state();
    assert!(text(&berth(&state, &["status"])).contains("Nothing has been backed up yet."));
    assert_eq!(json(&berth(&state, &["sets", "--json"])), serde_json::json!([]));
    let status = json(&berth(&state, &["status", "--json"]));
    assert_eq!(
        (&status["hubs"], &status["program"]),
        (&serde_json::json!([]), &Value::Null)
    );
    assert!(!state.exists(), "looking makes nothing");
    assert!(text(&berth(&state, &["leave"])).contains("You may go."));
}
