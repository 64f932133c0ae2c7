//! Runs the desk program and reads what it says.
#![allow(
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    reason = "for tests, of which each file uses a part"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use berth_tests::compare::{Owners, assert_same};
use berth_tests::restic::Restic;
use serde_json::Value;

/// Exit codes of every Berth program (DESIGN.md, section 6).
pub(crate) const DONE: i32 = 0;
pub(crate) const FAILED: i32 = 1;
pub(crate) const USAGE: i32 = 2;
pub(crate) const SOME_NOT_READ: i32 = 3;

/// The program, with nothing on its standard input.
pub(crate) fn desk() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_desk"));
    command.stdin(Stdio::null());
    command
}

/// A folder to back up and the state of laptop and hub, gone with this value.
pub(crate) struct Place {
    root: tempfile::TempDir,
    pub(crate) folder: PathBuf,
    pub(crate) work: PathBuf,
}

impl Place {
    /// `folder` is not made yet.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // What comes back is compared by its absolute path.
        let path = root.path().canonicalize().unwrap();
        Self {
            folder: path.join("folder"),
            work: path.join("work"),
            root,
        }
    }

    /// The same with a folder that is there already.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut place = Self::new();
        place.folder = folder.to_path_buf();
        place
    }

    /// Gone with this value.
    pub(crate) fn path(&self) -> &Path {
        self.work.parent().unwrap()
    }

    /// `desk FOLDER --work WORK --profile perfect --json` and more arguments.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = desk();
        command
            .arg(&self.folder)
            .arg("--work")
            .arg(&self.work)
            .args(["--profile", "perfect", "--json"])
            .args(more);
        command
    }

    /// Runs it; any end is fine.
    pub(crate) fn run(&self, more: &[&str]) -> Told {
        Told::of(self.command(more).output().unwrap())
    }

    /// Runs it; only success will do.
    #[track_caller]
    pub(crate) fn tell(&self, more: &[&str]) -> Told {
        let told = self.run(more);
        assert_eq!(told.code, DONE, "{told}");
        assert!(told.one("restored")["identical"].as_bool().unwrap(), "{told}");
        told
    }

    pub(crate) fn restic(&self) -> Restic {
        Restic::new(self.work.join("upstream"), self.work.join("recovery-key"))
    }

    /// restic finds no error in the upstream, and restores the folder as it is.
    #[track_caller]
    pub(crate) fn judge(&self) {
        self.restic().check().unwrap_or_else(|error| panic!("{error}"));
        let restored = self.restore("latest");
        assert_same(
            &self.folder,
            &inside(restored.path(), &self.folder),
            Owners::of_this_user(),
        );
        make_writable(restored.path());
    }

    /// What restic restores of a snapshot.
    #[track_caller]
    pub(crate) fn restore(&self, snapshot: &str) -> tempfile::TempDir {
        let target = tempfile::tempdir_in(self.path()).unwrap();
        if let Err(error) = self.restic().restore(snapshot, target.path()) {
            panic!("{error}");
        }
        target
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        make_writable(self.root.path());
    }
}

/// Where a restore puts what had an absolute path.
pub(crate) fn inside(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

/// Read-only folders, as restored, can't be removed by who is not root.
pub(crate) fn make_writable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

/// What a run of desk said.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) events: Vec<Value>,
    pub(crate) errors: String,
}

impl Told {
    /// Every line must be an object that says which event it is.
    #[track_caller]
    pub(crate) fn of(output: Output) -> Self {
        let errors = String::from_utf8(output.stderr).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let events = text
            .lines()
            .map(|line| {
                let event: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
                assert!(event["event"].is_string(), "{line}");
                event
            })
            .collect();
        Self {
            code: output.status.code().unwrap_or(-1),
            events,
            errors,
        }
    }

    pub(crate) fn all(&self, event: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|value| value["event"] == event)
            .collect()
    }

    /// The only event of its kind.
    #[track_caller]
    pub(crate) fn one(&self, event: &str) -> &Value {
        let all = self.all(event);
        assert_eq!(all.len(), 1, "events {event:?} in {self}");
        all[0]
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit {}", self.code)?;
        for event in &self.events {
            writeln!(f, "{event}")?;
        }
        f.write_str(&self.errors)
    }
}

/// A number in an event.
#[track_caller]
pub(crate) fn number(event: &Value, field: &str) -> u64 {
    event[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {field:?} in {event}"))
}

/// Whether `./check --all` or `ALL=1` asked for the large folders too.
pub(crate) fn all() -> bool {
    std::env::var_os("ALL").is_some_and(|value| !value.is_empty())
}
