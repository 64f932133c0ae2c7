//! The air as a process, steered by another one, with radios of this one in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Output, Stdio};
use std::time::{Duration, Instant};

use berth_net::AirRadio;
use berth_radio::{Command, Event, Joined, Radio, StreamId};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far more than any step of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

type AnyRadio = Box<dyn Radio + Send>;

fn program() -> Process {
    let mut program = Process::new(env!("CARGO_BIN_EXE_berth-air"));
    program.stdin(Stdio::null());
    program
}

/// An air that runs; killed with this value.
struct Air {
    child: Child,
    socket: PathBuf,
    _folder: Option<TempDir>,
}

impl Air {
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut air = Self::start_at(&folder.path().join("air"), options);
        air._folder = Some(folder);
        air
    }

    fn start_at(socket: &Path, options: &[&str]) -> Self {
        let mut program = program();
        program.arg("--json").arg("--socket").arg(socket).args(options);
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.contains("ready"), "{line:?}");
        Self {
            child,
            socket: socket.to_owned(),
            _folder: None,
        }
    }

    fn radio(&self, name: &str) -> AnyRadio {
        let started = Instant::now();
        Box::new(AirRadio::open(&self.socket, name, move || started.elapsed()).unwrap())
    }

    fn ctl(&self, order: &[&str]) -> Output {
        program()
            .arg("ctl")
            .args(order)
            .arg("--socket")
            .arg(&self.socket)
            .output()
            .unwrap()
    }

    /// What it prints if it works.
    #[track_caller]
    fn ordered(&self, order: &[&str]) -> String {
        let output = self.ctl(order);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn pick<T>(radio: &mut AnyRadio, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let deadline = radio.now() + PATIENCE;
    loop {
        if let Some(picked) = wanted(radio.event(deadline).expect("it never came")) {
            return picked;
        }
    }
}

#[track_caller]
fn expect(radio: &mut AnyRadio, wanted: &Event) {
    pick(radio, |event| (event == *wanted).then_some(()));
}

#[track_caller]
fn link(hub: &mut AnyRadio, laptop: &mut AnyRadio) -> (StreamId, StreamId) {
    hub.command(Command::StartGroup);
    let credentials = pick(hub, |event| match event {
        Event::GroupStarted { credentials } => Some(credentials),
        _ => None,
    });
    laptop.command(Command::Join { credentials });
    expect(laptop, &Event::Joined(Joined::DIRECTLY));
    laptop.command(Command::Dial);
    let opened = |event| match event {
        Event::StreamOpened { stream } => Some(stream),
        _ => None,
    };
    let at_laptop = pick(laptop, opened);
    (pick(hub, opened), at_laptop)
}

/// Sends and takes so many bytes; how long it took.
#[track_caller]
fn carry(hub: &mut AnyRadio, laptop: &mut AnyRadio, streams: (StreamId, StreamId), total: usize) -> Duration {
    let started = Instant::now();
    let piece = Bytes::from(vec![7; 100_000]);
    for _ in 0..total / piece.len() {
        let piece = piece.clone();
        laptop.command(Command::Write {
            stream: streams.1,
            piece,
        });
    }
    let mut read = 0;
    while read < total {
        read += pick(hub, |event| match event {
            Event::Read { piece, .. } => Some(piece.len()),
            Event::StreamClosed { .. } => panic!("the stream ended after {read} bytes"),
            _ => None,
        });
    }
    started.elapsed()
}

#[track_caller]
fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    if code == 1 {
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    errors
}

#[test]
fn a_cut_link_breaks_off_and_the_laptop_returns() {
    let air = Air::start(&["--profile", "perfect"]);
    let (mut hub, mut laptop, mut other) = (air.radio("hub"), air.radio("laptop"), air.radio("other"));
    let streams = link(&mut hub, &mut laptop);
    carry(&mut hub, &mut laptop, streams, 1_000_000);
    assert_eq!(air.ordered(&["cut", "laptop"]), "laptop is cut off.\n");
    expect(&mut laptop, &Event::StreamClosed { stream: streams.1 });
    expect(&mut hub, &Event::StreamClosed { stream: streams.0 });
    for laptop in [&mut laptop, &mut other] {
        let streams = link(&mut hub, laptop);
        carry(&mut hub, laptop, streams, 1_000_000);
    }
}

#[test]
fn who_is_away_is_not_heard_until_near_again_also_when_it_comes_later() {
    let air = Air::start(&["--profile", "perfect"]);
    let told = air.ordered(&["away", "hub"]);
    assert!(told.contains("not in the air"), "{told}");
    let (mut hub, mut laptop) = (air.radio("hub"), air.radio("laptop"));
    hub.command(Command::Advertise {
        beacon: Bytes::from_static(b"beacon"),
    });
    laptop.command(Command::Scan);
    let until = laptop.now() + Duration::from_millis(300);
    assert_eq!(laptop.event(until), None);
    assert_eq!(air.ordered(&["near", "hub"]), "hub is near.\n");
    pick(&mut laptop, |event| {
        matches!(event, Event::Sighted { .. }).then_some(())
    });
}

#[test]
fn a_profile_changes_links_that_are_open() {
    let air = Air::start(&["--profile", "perfect"]);
    let (mut hub, mut laptop) = (air.radio("hub"), air.radio("laptop"));
    let streams = link(&mut hub, &mut laptop);
    carry(&mut hub, &mut laptop, streams, 1_000_000);
    air.ordered(&["profile", "laptop", "wfd-poor"]);
    // Less than 4 MB can wait on the way, so they can't all be sent at once: 5 MB/s.
    let took = carry(&mut hub, &mut laptop, streams, 4_000_000);
    assert!(took > Duration::from_millis(700), "{took:?}");
    let errors = refused(&air.ctl(&["profile", "laptop", "wfd-great"]), 1);
    assert!(
        errors.contains("wfd-great") && errors.contains("wfd-typical"),
        "{errors}"
    );
}

#[test]
fn the_trace_is_told_in_order_for_people_and_for_programs() {
    let air = Air::start(&["--profile", "perfect"]);
    let (mut hub, mut laptop) = (air.radio("hub"), air.radio("laptop"));
    link(&mut hub, &mut laptop);
    let _twin = air.radio("laptop");
    let text = air.ordered(&["trace"]);
    let at = |wanted: &str| {
        text.find(wanted)
            .unwrap_or_else(|| panic!("no {wanted:?} in {text}"))
    };
    assert!(at("hub ! attached") < at("laptop < Joined"));
    assert!(at("laptop < Joined") < at("hub < stream 1 opened"));
    assert!(at("hub < stream 1 opened") < at("laptop#2 ! attached"));
    let told = air.ordered(&["trace", "--json"]);
    let last = told.lines().last().unwrap();
    assert!(
        last.contains("\"event\":\"done\"") && last.contains("\"lines_dropped\":0"),
        "{last}"
    );
    assert_eq!(told.lines().count(), text.lines().count() + 1);
}

#[test]
fn orders_that_can_not_be_carried_out_say_why_in_one_line() {
    let air = Air::start(&[]);
    let _hub = air.radio("hub");
    let errors = refused(&air.ctl(&["cut", "laptop"]), 1);
    assert!(errors.contains("laptop") && errors.contains("hub is"), "{errors}");
    let nowhere = program()
        .args(["--socket", "/nowhere/air", "ctl", "trace"])
        .output()
        .unwrap();
    let errors = refused(&nowhere, 1);
    assert!(errors.contains("berth-air --socket /nowhere/air"), "{errors}");
    refused(&program().args(["ctl", "trace"]).output().unwrap(), 2);
    refused(&air.ctl(&["trace", "--seed", "1"]), 2);
    refused(
        &program()
            .args(["--socket", "/x", "--profile", "wfd-great"])
            .output()
            .unwrap(),
        2,
    );
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_air() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut air = Air::start(&[]);
        let mode = fs::metadata(&air.socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(air.end(signal), Some(0));
        assert!(!air.socket.exists());
    }
}

#[test]
fn a_socket_of_a_dead_air_is_replaced_and_one_of_a_living_air_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("air");
    let start = || program().arg("--socket").arg(&socket).output().unwrap();
    let mut first = Air::start_at(&socket, &[]);
    let errors = refused(&start(), 1);
    assert!(errors.contains("already"), "{errors}");
    first.end(Signal::KILL);
    assert!(socket.exists());
    let second = Air::start_at(&socket, &[]);
    second.radio("hub");
    drop(second);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "a letter").unwrap();
    let errors = refused(&start(), 1);
    assert!(errors.contains("no socket"), "{errors}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a letter");
}

#[test]
fn a_file_that_has_taken_the_place_of_the_socket_is_left_alone() {
    let mut air = Air::start(&[]);
    fs::remove_file(&air.socket).unwrap();
    let _other = UnixListener::bind(&air.socket).unwrap();
    air.end(Signal::TERM);
    assert!(air.socket.exists());
}

#[test]
fn hostile_peers_lose_their_connection_and_the_air_goes_on() {
    let air = Air::start(&["--profile", "perfect"]);
    let mut crowd = Vec::new();
    // Garbage, silence, and more than there is room for.
    for number in 0..300_u32 {
        let mut peer = UnixStream::connect(&air.socket).unwrap();
        if number % 3 == 0 {
            let _ = peer.write_all(&[number as u8; 100]);
        }
        crowd.push(peer);
    }
    drop(crowd);
    // Those that were silent leave room as they go.
    let deadline = Instant::now() + PATIENCE;
    while !air.ctl(&["trace"]).status.success() {
        assert!(Instant::now() < deadline, "there is no room again");
    }
    let (mut hub, mut laptop) = (air.radio("hub"), air.radio("laptop"));
    let streams = link(&mut hub, &mut laptop);
    carry(&mut hub, &mut laptop, streams, 1_000_000);
}
