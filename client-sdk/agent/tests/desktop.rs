//! The real agent and a real notification daemon: dunst on a display that nobody sees.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test stops where it fails"
)]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use support::TestHub;

/// A session bus whose notification daemon writes down what it shows. It ends when this is dropped.
struct Desktop {
    bus: String,
    shown: BufReader<File>,
    display: Child,
    session: Child,
}

impl Desktop {
    fn start(folder: &Path) -> Self {
        let (shown, record) = (folder.join("shown"), folder.join("record"));
        assert!(Command::new("mkfifo").arg(&shown).status().unwrap().success());
        let script = format!(
            "#!/bin/sh\nprintf '%s: %s\\n' \"$DUNST_SUMMARY\" \"$DUNST_BODY\" > {}\n",
            shown.display()
        );
        fs::write(&record, script).unwrap();
        fs::set_permissions(&record, fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(folder.join("dunst")).unwrap();
        let rules = format!(
            "[global]\nalways_run_script = true\n[record]\nsummary = \"*\"\nscript = {}\n",
            record.display()
        );
        fs::write(folder.join("dunst/dunstrc"), rules).unwrap();
        let mut display = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let number = first_line(display.stdout.take().unwrap());
        // The bus starts the daemon with the first notice. Both end with the standard input of `cat`.
        let mut session = Command::new("dbus-run-session")
            .args(["--", "sh", "-c", "echo \"$DBUS_SESSION_BUS_ADDRESS\"; exec cat"])
            .env("DISPLAY", format!(":{number}"))
            .env("XDG_CONFIG_HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bus = first_line(session.stdout.take().unwrap());
        // Open at both ends, so that it never ends.
        let shown = File::options().read(true).write(true).open(shown).unwrap();
        Self {
            bus,
            shown: BufReader::new(shown),
            display,
            session,
        }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.shown.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        drop(self.session.stdin.take());
        let _ = self.session.wait();
        let _ = self.display.kill();
        let _ = self.display.wait();
    }
}

fn first_line(from: impl Read) -> String {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// A way to the hub that lets only so many bytes pass, and can be cut.
#[derive(Default)]
struct Way {
    open: Mutex<(u64, Vec<TcpStream>)>,
    changed: Condvar,
}

impl Way {
    fn to(hub: String, bytes: u64) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let way = Arc::new(Self::default());
        way.open.lock().unwrap().0 = bytes;
        let of_thread = Arc::clone(&way);
        std::thread::spawn(move || {
            for laptop in listener.incoming().map_while(Result::ok) {
                let hub = TcpStream::connect(&hub).unwrap();
                let copies = [&laptop, &hub].map(|stream| stream.try_clone().unwrap());
                of_thread.open.lock().unwrap().1.extend(copies);
                let (mut from_hub, mut to_laptop) = (hub.try_clone().unwrap(), laptop.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from_hub, &mut to_laptop));
                let way = Arc::clone(&of_thread);
                std::thread::spawn(move || way.pass(laptop, hub));
            }
        });
        (address, way)
    }

    fn pass(&self, mut laptop: TcpStream, mut hub: TcpStream) {
        let mut piece = [0; 16 * 1024];
        while let Ok(length @ 1..) = laptop.read(&mut piece) {
            let open = self.open.lock().unwrap();
            let mut open = self.changed.wait_while(open, |open| open.0 == 0).unwrap();
            open.0 = open.0.saturating_sub(length as u64);
            drop(open);
            if hub.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        let _ = hub.shutdown(Shutdown::Both);
    }

    /// Cuts what is open; what comes later passes.
    fn cut(&self) {
        let mut open = self.open.lock().unwrap();
        open.0 = u64::MAX;
        for stream in open.1.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }
}

fn berth(state: &Path, hub: &str, arguments: &[&str]) -> Command {
    let mut berth = Command::new(env!("CARGO_BIN_EXE_berth"));
    berth.args(arguments).arg("--state").arg(state);
    berth.args(["--via", hub, "--json"]).stdout(Stdio::null());
    berth
}

#[test]
fn the_desktop_shows_stay_cut_safe_and_overdue_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (state, files) = (root.join("laptop"), root.join("files"));
    fs::create_dir(&files).unwrap();
    for number in 0_u64..32 {
        let mut word = number + 1;
        let words = std::iter::repeat_with(|| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()
        });
        let bytes = words.take(131_072).collect::<Vec<_>>().concat();
        fs::write(files.join(number.to_string()), bytes).unwrap();
    }
    let hub = TestHub::start(&root.join("hub"));
    let code = hub.code();
    let (address, way) = Way::to(hub.address.clone(), 16 << 20);
    let done = |arguments: &[&str]| {
        assert!(berth(&state, &address, arguments).status().unwrap().success());
    };
    done(&["pair", &code]);
    done(&["folders", "add", files.to_str().unwrap()]);

    let mut desktop = Desktop::start(&root);
    let mut agent = berth(&state, &address, &["agent"]);
    agent.env("DBUS_SESSION_BUS_ADDRESS", &desktop.bus);
    let mut running = agent.spawn().unwrap();
    let stay = desktop.next();
    assert!(
        stay.starts_with("Backup runs, please stay: You may leave in about "),
        "{stay}"
    );
    way.cut();
    let cut = desktop.next();
    assert!(
        cut.starts_with("Backup was cut: ") && cut.contains("of 33.55 MB are safe on the hub"),
        "{cut}"
    );
    let mut safe = desktop.next();
    if safe.starts_with("Backup runs") {
        safe = desktop.next(); // a slow machine
    }
    assert_eq!(safe, "Safe: you may go: Set 2 is complete on the hub.\n");
    let _ = running.kill();
    let _ = running.wait();

    let settings = state.join("settings.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("overdue_days = 0\n{text}")).unwrap();
    let mut running = agent.spawn().unwrap();
    let overdue = desktop.next();
    let _ = running.kill();
    let _ = running.wait();
    assert!(
        overdue.starts_with("Backup is overdue: The last complete one is 0 days old."),
        "{overdue}"
    );
}
