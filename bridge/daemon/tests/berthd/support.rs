//! A hub process and a way to talk to it. Every wait has a deadline and waits for something that happens.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// A hub that says nothing for so long is stuck; machines under load are slow.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

pub(crate) struct Hub {
    child: Child,
    lines: Receiver<String>,
    pub(crate) state: PathBuf,
}

pub(crate) fn berthd(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berthd"));
    command.args(["--radio", "none", "--json", "--state"]).arg(state);
    command
        .env_remove("NOTIFY_SOCKET")
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    command
}

impl Hub {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(state: &Path, args: &[&str]) -> Self {
        Self::start_with(state, berthd(state).args(args)).0
    }

    /// The same; gives what it logged before.
    pub(crate) fn start_with(state: &Path, command: &mut Command) -> (Self, Vec<String>) {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines_in, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines_in.send(line);
            }
        });
        let hub = Self {
            child,
            lines,
            state: state.to_owned(),
        };
        let before = hub.wait_for("ready");
        (hub, before)
    }

    /// Waits for a line with this message; gives those before it, and it.
    pub(crate) fn wait_for(&self, message: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(WAIT_MAX);
            let line = line.unwrap_or_else(|_| panic!("never said {message:?}, but {seen:#?}"));
            let said: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
            seen.push(line);
            if said["message"] == message {
                return seen;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(signal)
            .arg(self.pid().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        let mut seen = Vec::new();
        // Its standard error closes with it.
        while let Ok(line) = self.lines.recv_timeout(WAIT_MAX) {
            seen.push(line);
        }
        (self.child.wait().unwrap(), seen)
    }

    pub(crate) fn stop(self) -> Vec<String> {
        self.signal("-TERM");
        let (status, seen) = self.end();
        assert_eq!(status.code(), Some(0), "{seen:#?}");
        seen
    }

    pub(crate) fn connect(&self) -> UnixStream {
        connect(&self.state)
    }

    /// Asks, and gives every line of the answer.
    pub(crate) fn ask(&self, request: &Value) -> Vec<Value> {
        let mut stream = self.connect();
        writeln!(stream, "{request}").unwrap();
        BufReader::new(stream)
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }

    pub(crate) fn is_well(&self) -> bool {
        self.ask(&json!({ "do": "status" })).last() == Some(&json!({ "done": true }))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It has ended already, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(state: &Path) -> UnixStream {
    let stream = UnixStream::connect(state.join("control.sock")).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream
}

/// Runs one that is to fail: its exit code and the last line that it wrote.
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    let last = text.lines().last().unwrap_or_default().to_owned();
    (child.wait().unwrap().code(), last)
}
