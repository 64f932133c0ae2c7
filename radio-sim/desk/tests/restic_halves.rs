//! Hub, laptop and air as processes of their own: they share a socket to the air, and the code that a person types.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use berth_tests::corpus;
use berth_tests::restic::Restic;
use serde_json::Value;
use support::{DONE, FAILED, Place, desk};

/// Far more than any step of these tests takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that tells events line by line; killed with this value.
struct Part {
    child: Child,
    orders: ChildStdin,
    events: Receiver<Value>,
}

impl Part {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, events) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            orders: child.stdin.take().unwrap(),
            child,
            events,
        }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// The next event of this kind; others are passed over.
    #[track_caller]
    fn wait_for(&self, wanted: &str) -> Value {
        loop {
            let event = self
                .events
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("no event {wanted:?}: {error}"));
            if event["event"] == wanted {
                return event;
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An air and a hub.
struct Desk {
    place: Place,
    hub: Part,
    _air: Part,
}

impl Desk {
    fn new() -> Self {
        let place = Place::new();
        let mut air = desk();
        air.arg("air").arg(place.path().join("air"));
        air.args(["--profile", "perfect"]);
        let air = Part::start(air);
        air.wait_for("ready");
        let mut hub = desk();
        hub.arg("hub").arg(place.path().join("air"));
        hub.arg("--work").arg(place.path().join("of the hub"));
        let hub = Part::start(hub);
        hub.wait_for("ready");
        Self {
            place,
            hub,
            _air: air,
        }
    }

    /// One visit of a laptop whose state is in `work`.
    fn laptop(&self, work: &str, code: Option<&str>) -> Output {
        let mut laptop = desk();
        laptop
            .arg("laptop")
            .arg(self.place.path().join("air"))
            .arg("--work")
            .arg(self.place.path().join(work));
        if let Some(code) = code {
            laptop.args(["--code", code]);
        }
        laptop.arg("--json").arg(&self.place.folder).output().unwrap()
    }

    fn shown_code(&mut self) -> String {
        self.hub.order("pair");
        let code = self.hub.wait_for("code");
        code["code"].as_str().unwrap().to_owned()
    }

    fn upstream(&self) -> PathBuf {
        self.place.path().join("of the hub/upstream")
    }
}

/// A code like `code`, but not it.
fn wrong(code: &str, by: u32) -> String {
    let digits: Vec<u32> = code.chars().filter_map(|digit| digit.to_digit(10)).collect();
    let mut wrong: Vec<u32> = digits;
    let last = wrong.last_mut().unwrap();
    *last = (*last + by) % 10;
    wrong
        .into_iter()
        .filter_map(|digit| char::from_digit(digit, 10))
        .collect()
}

#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    errors
}

#[test]
fn laptop_and_hub_share_nothing_but_the_air_and_a_typed_code() {
    let mut desk = Desk::new();
    corpus::text_and_office(&desk.place.folder, 1, 5_000_000).unwrap();
    let code = desk.shown_code();
    ended(&desk.laptop("of the laptop", Some(&code)), DONE);
    // The second visit needs no code.
    fs::write(desk.place.folder.join("new"), b"new").unwrap();
    ended(&desk.laptop("of the laptop", None), DONE);
    desk.hub.order("forward");
    let sets = desk.hub.wait_for("all_forwarded");
    assert_eq!(sets["sets"], 2);
    desk.hub.order("stop");
    assert!(desk.hub.child.wait().unwrap().success());

    let restic = Restic::new(
        desk.upstream(),
        desk.place.path().join("of the laptop/recovery-key"),
    );
    restic.check().unwrap_or_else(|error| panic!("{error}"));
    let target = tempfile::tempdir_in(desk.place.path()).unwrap();
    restic
        .restore("latest", target.path())
        .unwrap_or_else(|error| panic!("{error}"));
    berth_tests::compare::assert_same(
        &desk.place.folder,
        &support::inside(target.path(), &desk.place.folder),
        berth_tests::compare::Owners::of_this_user(),
    );
}

#[test]
fn a_wrong_code_is_refused_and_the_right_one_still_counts() {
    let mut desk = Desk::new();
    corpus::small_files(&desk.place.folder, 2, 3).unwrap();
    let code = desk.shown_code();
    let errors = ended(&desk.laptop("of the laptop", Some(&wrong(&code, 1))), FAILED);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("code"), "{errors}");
    ended(&desk.laptop("of the laptop", Some(&code)), DONE);
}

#[test]
fn the_third_wrong_guess_closes_the_window_for_the_right_code_too() {
    let mut desk = Desk::new();
    corpus::small_files(&desk.place.folder, 3, 3).unwrap();
    let code = desk.shown_code();
    for by in 1..=3 {
        ended(&desk.laptop("of a guesser", Some(&wrong(&code, by))), FAILED);
    }
    desk.hub.wait_for("closed");
    let errors = ended(&desk.laptop("of the laptop", Some(&code)), FAILED);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    // A new window takes a new code.
    let code = desk.shown_code();
    ended(&desk.laptop("of the laptop", Some(&code)), DONE);
}

#[test]
fn a_laptop_that_never_paired_is_told_what_to_do() {
    let mut desk = Desk::new();
    corpus::small_files(&desk.place.folder, 4, 3).unwrap();
    let code = desk.shown_code();
    ended(&desk.laptop("of the laptop", Some(&code)), DONE);
    let errors = ended(&desk.laptop("of another", None), FAILED);
    assert!(errors.contains("--code"), "{errors}");
}
