//! How it starts, and how it ends.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;

use crate::support::{Hub, WAIT_MAX, berthd, refused};

#[test]
fn a_wrong_configuration_is_one_line_and_usage() {
    let place = tempfile::tempdir().unwrap();
    let (state, file) = (place.path().join("hub"), place.path().join("berthd.toml"));
    for (text, said) in [
        (
            "upstraem = \"/srv\"\n",
            "there is no key \"upstraem\": do you mean \"upstream\"?",
        ),
        ("\n\nlisten = \"nowhere\"\n", "line 3: "),
        ("name = [\n", "line "),
        ("radio = \"laser\"\n", "there is no such radio"),
    ] {
        fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_berthd"));
        command.arg("--state").arg(&state).arg("--config").arg(&file);
        let (code, line) = refused(command.stderr(std::process::Stdio::piped()));
        assert_eq!(code, Some(2), "{line}");
        assert!(line.starts_with("berthd: ") && line.contains(said), "{line}");
    }
    let (code, line) = refused(berthd(&state).arg("--config").arg(place.path().join("none")));
    assert_eq!(code, Some(2), "{line}");
    assert!(
        !state.exists(),
        "a state folder was made for a configuration that is refused"
    );
}

#[test]
fn flags_go_before_the_file() {
    let place = tempfile::tempdir().unwrap();
    let (state, file) = (place.path().join("hub"), place.path().join("berthd.toml"));
    fs::write(
        &file,
        "name = \"file\"\nforward = \"manual\"\nradio = \"bluez\"\n",
    )
    .unwrap();
    let hub = Hub::start(&state, &["--config", file.to_str().unwrap(), "--name", "../flag"]);
    let status = &hub.ask(&serde_json::json!({ "do": "status" }))[0];
    assert_eq!(status["hub"], "..-flag");
    assert_eq!(status["forward"], "manual");
    assert_eq!(status["radio"], "none");
    hub.stop();
}

#[test]
fn a_second_hub_on_the_same_state_is_told_who_has_it() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("hub");
    let hub = Hub::start(&state, &[]);
    let (code, line) = refused(&mut berthd(&state));
    assert_eq!(code, Some(1));
    assert!(line.contains(&format!("process {}", hub.pid())), "{line}");
    assert!(hub.is_well(), "the second one harmed the first");
    hub.stop();
}

#[test]
fn a_hub_with_nothing_to_do_stops_when_told_and_leaves_no_socket() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("hub");
    for signal in ["-TERM", "-INT"] {
        let hub = Hub::start(&state, &[]);
        hub.signal(signal);
        let (status, lines) = hub.end();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
        assert!(!state.join("control.sock").exists());
    }
}

#[test]
fn the_state_is_for_owner_and_group_only_and_a_killed_hubs_socket_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("hub");
    let hub = Hub::start(&state, &[]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("control.sock")), 0o660);
    for file in ["identity", "trust", "lock"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
    hub.signal("-KILL");
    hub.end();
    assert!(state.join("control.sock").exists());
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    let hub = Hub::start(&state, &[]);
    assert!(hub.is_well());
    assert_eq!(mode(&state), 0o750, "others may still use the state folder");
    hub.stop();
}

#[test]
fn a_folder_of_somebody_else_is_left_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("home");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("letter"), "dear").unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    let (code, line) = refused(&mut berthd(&state));
    assert_eq!(code, Some(1));
    assert!(line.contains("chmod 700"), "{line}");
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
}

#[test]
fn a_damaged_identity_or_trust_list_lets_nobody_in_and_is_named() {
    for (file, said) in [("identity", "identity"), ("trust", "trust list is damaged")] {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("hub");
        Hub::start(&state, &[]).stop();
        let path = state.join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 0x80;
        fs::write(&path, &bytes).unwrap();
        let (code, line) = refused(&mut berthd(&state));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(said), "{line}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{file} was changed");
    }
}

#[test]
fn a_state_that_cannot_be_written_is_one_line() {
    let place = tempfile::tempdir().unwrap();
    // Root may write everywhere: a file in the way stops root too.
    let state = place.path().join("file");
    fs::write(&state, "").unwrap();
    let (code, line) = refused(&mut berthd(&state));
    assert_eq!(code, Some(1));
    assert!(line.starts_with("berthd: the state folder "), "{line}");
    let below = state.join("hub");
    assert_eq!(refused(&mut berthd(&below)).0, Some(1));
}

#[test]
fn a_port_that_is_taken_and_a_radio_that_is_not_there_are_one_line() {
    let place = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, line) = refused(berthd(&place.path().join("a")).args(["--listen", &address]));
    assert_eq!(code, Some(1));
    assert!(line.contains(&address), "{line}");
    for radio in ["bluez", "air:/nowhere/air"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_berthd"));
        command
            .args(["--radio", radio, "--state"])
            .arg(place.path().join("b"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus");
        let (code, line) = refused(command.stderr(std::process::Stdio::piped()));
        assert_eq!(code, Some(1), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}

#[test]
fn the_doctor_names_what_is_missing_and_makes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let doctor = std::process::Command::new(env!("CARGO_BIN_EXE_berthd"))
        .args(["--radio", "bluez:hci99", "doctor", "--json"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
        .env("HOME", place.path())
        .output()
        .unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let findings = report["findings"].as_array().unwrap();
    let bluez = findings
        .iter()
        .find(|finding| finding["about"] == "BlueZ")
        .unwrap();
    assert_eq!(bluez["state"], "missing");
    assert!(bluez["advice"].is_string(), "{bluez}");
    let is_asked_for = |finding: &serde_json::Value| finding["text"].as_str().unwrap().contains("hci99");
    assert!(findings.iter().any(is_asked_for), "{findings:?}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn systemd_hears_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let state = place.path().join("hub");
    let mut command = berthd(&state);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let (hub, _) = Hub::start_with(&state, &mut command);
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {wanted}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    };
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    hub.signal("-TERM");
    wait_for("STOPPING=1");
    assert_eq!(hub.end().0.code(), Some(0));
}

#[test]
fn a_stored_upstream_that_is_damaged_is_told_and_can_be_set_again() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("hub");
    Hub::start(&state, &[]).stop();
    fs::write(state.join("upstream"), b"\xff\xfe").unwrap();
    let hub = Hub::start(&state, &[]);
    let status = &hub.ask(&serde_json::json!({ "do": "status" }))[0];
    assert!(
        status["problems"][0].as_str().unwrap().contains("upstream"),
        "{status}"
    );
    let folder = place.path().join("up");
    let set = hub.ask(&serde_json::json!({ "do": "set_upstream", "url": folder }));
    assert_eq!(set[0]["upstream"], folder.to_str().unwrap(), "{set:?}");
    hub.stop();
}
