//! The real programs as processes: `berthd`, `berthctl`, `berth` and `berth-air`, as cargo builds them for this test.
//!
//! Nothing here sleeps: what a program says is waited for on its output, under [`WAIT_MAX`].

pub mod caller;
pub mod cutter;
mod office;
pub mod proxy;
pub mod relay;
pub mod servers;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub use office::{Laptop, Office, copied_spool, done};

/// A program that says nothing of what is waited for within this time has failed. Far above what anything takes, so that
/// a busy machine fails nothing.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// Names of the programs.
const NAMES: [&str; 4] = ["berthd", "berthctl", "berth", "berth-air"];

/// Where a program lies. All of them are built, once for this process, with the profile of this test.
///
/// # Panics
/// Where cargo cannot build them, or there is no such program.
#[must_use]
#[expect(clippy::panic, reason = "an assertion for tests")]
pub fn program(name: &str) -> &'static Path {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| match build() {
        Ok(built) => built,
        Err(why) => panic!("the programs cannot be built: {why}"),
    });
    built
        .iter()
        .find(|path| path.file_name().is_some_and(|file| file == name))
        .unwrap_or_else(|| panic!("cargo built no program {name}"))
}

fn build() -> Result<Vec<PathBuf>, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--workspace", "--message-format=json"]);
    for name in NAMES {
        cargo.args(["--bin", name]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What cargo tells of the package under test: a build script that looks at these (ring's) runs anew where they differ.
    for (name, _) in std::env::vars_os() {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if name
            .to_str()
            .is_some_and(|name| of_package.iter().any(|of| name.starts_with(of)))
        {
            cargo.env_remove(name);
        }
    }
    let output = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stdout);
    Ok(told
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|told| told["executable"].as_str().map(PathBuf::from))
        .collect())
}

/// A running program. It is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<Line>,
    /// All it said so far, for the message of a failed test.
    said: String,
}

enum Line {
    Out(String),
    Err(String),
}

impl Process {
    /// Starts `command` with nothing on its standard input.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn start(command: Command) -> Self {
        Self::start_with(command, "")
    }

    /// Starts `command` with a line on its standard input, and nothing after it.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    #[expect(clippy::panic, reason = "an assertion for tests")]
    pub fn start_with(mut command: Command, line: &str) -> Self {
        let name = format!("{command:?}");
        let input = if line.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        let started = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(mut input) = child.stdin.take() {
            // A program that asks for nothing may have ended.
            let _ = writeln!(input, "{line}");
        }
        let (lines_in, lines) = channel();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let errors_in = lines_in.clone();
        thread::spawn(move || each_line(out, |line| lines_in.send(Line::Out(line)).is_ok()));
        thread::spawn(move || each_line(err, |line| errors_in.send(Line::Err(line)).is_ok()));
        Self {
            name,
            child,
            lines,
            said: String::new(),
        }
    }

    /// The next line of standard output that is a JSON object and fits.
    ///
    /// # Panics
    /// Where the program ends, or says nothing that fits within [`WAIT_MAX`].
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.next_line() {
                Ok(line) => {
                    if let Ok(told) = serde_json::from_str::<Value>(&line)
                        && fits(&told)
                    {
                        return told;
                    }
                }
                Err(why) => self.fail(&format!("{why} while it was waited for {what}")),
            }
        }
    }

    /// The next event of this name.
    ///
    /// # Panics
    /// See [`Process::wait_for`].
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        self.wait_for(name, |told| told["event"] == name)
    }

    /// Waits for its end: the exit code, and the lines of standard output that were not waited for.
    ///
    /// # Panics
    /// Where it does not end within [`WAIT_MAX`], or was ended by a signal.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let mut lines = Vec::new();
        loop {
            match self.next_line() {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.fail("it does not end"),
            }
        }
        // Its output is closed: it has ended or is about to.
        match self.child.wait().map(|status: ExitStatus| status.code()) {
            Ok(Some(code)) => Ended {
                code,
                lines,
                said: std::mem::take(&mut self.said),
            },
            other => self.fail(&format!("it was ended: {other:?}")),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // One that has ended by itself shows in `end`.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it and waits until it is gone.
    pub fn kill(mut self) {
        self.kill_now();
    }

    /// Its number, for `/proc`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn kill_now(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn next_line(&mut self) -> Result<String, RecvTimeoutError> {
        loop {
            match self.lines.recv_timeout(WAIT_MAX)? {
                Line::Out(line) => {
                    let _ = writeln!(self.said, "  {line}");
                    return Ok(line);
                }
                Line::Err(line) => {
                    let _ = writeln!(self.said, "! {line}");
                }
            }
        }
    }

    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion for tests")]
    fn fail(&mut self, why: &str) -> ! {
        self.kill_now();
        panic!("{}: {why}; it said\n{}", self.name, self.said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_now();
    }
}

fn each_line(output: Option<impl Read>, mut take: impl FnMut(String) -> bool) {
    let Some(output) = output else { return };
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        if !take(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Standard output, from where it was last waited for.
    pub lines: Vec<String>,
    said: String,
}

impl Ended {
    /// The JSON objects among the lines.
    pub fn objects(&self) -> impl Iterator<Item = Value> {
        self.lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
    }

    /// The last line as JSON: a summary, or an array.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion for tests")]
    pub fn last(&self) -> Value {
        let last = self.lines.last().and_then(|line| serde_json::from_str(line).ok());
        last.unwrap_or_else(|| panic!("no JSON at the end of\n{self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}; it said\n{}", self.code, self.said)
    }
}
