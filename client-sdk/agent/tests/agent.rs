//! The real agent without a hub: its socket, its lock, its end.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test stops where it fails"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn berth(state: &Path, arguments: &[&str]) -> Command {
    let mut berth = Command::new(env!("CARGO_BIN_EXE_berth"));
    // Port 9 of this host takes no connection: an agent that is paired with nobody does not try.
    berth
        .args(arguments)
        .arg("--state")
        .arg(state)
        .args(["--via", "127.0.0.1:9", "--json"]);
    berth.env_remove("DBUS_SESSION_BUS_ADDRESS");
    berth
}

fn run(state: &Path, arguments: &[&str]) -> Output {
    berth(state, arguments).output().unwrap()
}

struct Agent {
    child: Child,
    state: PathBuf,
    _folder: TempDir,
}

impl Agent {
    /// Returns once it is ready.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Longer than the path of a socket may be.
        let state = folder.path().join("s".repeat(120));
        let mut child = berth(&state, &["agent"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.contains("ready"), "{line}");
        Self {
            child,
            state,
            _folder: folder,
        }
    }

    fn status(&self) -> Value {
        let output = run(&self.state, &["status"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["program"]["doing"].clone()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_second_agent_is_refused_in_one_line() {
    let agent = Agent::start();
    let second = run(&agent.state, &["agent"]);
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(
        (second.status.code(), error.lines().count()),
        (Some(1), 1),
        "{error}"
    );
    assert!(error.contains("another berth"), "{error}");
    assert_eq!(agent.status(), "waiting");
}

#[test]
fn a_command_has_the_folder_while_the_agent_steps_aside_and_the_agent_takes_it_back() {
    let agent = Agent::start();
    for _ in 0..3 {
        let refused = run(&agent.state, &["backup"]);
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains("not paired"), "the folder was its own: {error}");
    }
    let other = run(&agent.state, &["leave"]);
    assert!(
        String::from_utf8(other.stdout)
            .unwrap()
            .contains("\"left\":false")
    );
    // It says so at the latest once it has taken the folder back.
    while agent.status() != "waiting" {}
    assert_eq!(run(&agent.state, &["agent"]).status.code(), Some(1));
}

#[test]
fn a_signal_ends_the_agent_with_exit_code_0_and_leaves_no_socket() {
    for signal in ["TERM", "INT"] {
        let mut agent = Agent::start();
        assert!(agent.state.join("control.sock").exists());
        agent.signal(signal);
        assert_eq!(agent.child.wait().unwrap().code(), Some(0));
        assert!(!agent.state.join("control.sock").exists());
    }
}

#[test]
fn whoever_says_nothing_or_nonsense_at_the_socket_holds_nobody_up() {
    use std::io::Write;
    let agent = Agent::start();
    let folder = std::fs::File::open(&agent.state).unwrap();
    let socket = {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd())
    };
    let connect = || std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let silent: Vec<_> = (0..8).map(|_| connect()).collect();
    let mut noisy = connect();
    noisy.write_all(b"{\"do\":\"dance\"}\n").unwrap();
    let mut answer = String::new();
    noisy.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("error"), "{answer}");
    assert_eq!(agent.status(), "waiting");
    drop(silent);
}
