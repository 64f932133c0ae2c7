//! An office of real processes: one air, one hub, one upstream, laptops.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use berth_bridge::{Journal, Spool};
use berth_disk::OsDisk;
use berth_pairing::Identity;
use rand_core::OsRng;
use serde_json::Value;

use super::{Ended, Process, WAIT_MAX, program};
use crate::restic::Restic;

/// A hub, what is around it, and where all of it is kept. Gone, with its processes, when it is dropped.
pub struct Office {
    hub: Option<Process>,
    air: Option<Process>,
    ready: Receiver<()>,
    /// Where the hub forwards to; else a folder in here.
    upstream: Option<String>,
    folder: tempfile::TempDir,
}

/// One laptop: a state folder and a folder of the user's.
pub struct Laptop {
    /// In the air and in lists.
    pub name: String,
    /// What the laptop keeps.
    pub state: PathBuf,
    /// What is backed up.
    pub folder: PathBuf,
    radio: Vec<String>,
}

impl Default for Office {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::panic, clippy::unwrap_used, reason = "assertions for tests")]
impl Office {
    /// An empty office: no air, no hub.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let (ready_in, ready) = channel();
        // A hub that tells its state to nobody who reads would wait.
        thread::spawn(move || {
            let mut word = [0; 4096];
            while let Ok(length) = socket.recv(&mut word) {
                let mut lines = word[..length].split(|byte| *byte == b'\n');
                if lines.any(|line| line == b"READY=1") && ready_in.send(()).is_err() {
                    return;
                }
            }
        });
        Self {
            hub: None,
            air: None,
            ready,
            upstream: None,
            folder,
        }
    }

    /// The hub forwards to a server from its next start on, with a credentials file of this text.
    pub fn forward_to(&mut self, url: &str, credentials: &str) {
        self.upstream_is(url);
        let path = self.credentials(credentials);
        self.set(&format!("credentials = {path:?}"));
    }

    /// The hub's upstream, from its next start on.
    pub fn upstream_is(&mut self, url: &str) {
        self.upstream = Some(url.to_owned());
    }

    /// A line of the hub's settings, from its next start on.
    pub fn set(&self, line: &str) {
        let mut settings = fs::read_to_string(self.settings()).unwrap_or_default();
        settings.push_str(line);
        settings.push('\n');
        fs::write(self.settings(), settings).unwrap();
    }

    fn settings(&self) -> PathBuf {
        self.path().join("berthd.toml")
    }

    /// Writes a file of credentials: its path.
    #[must_use]
    pub fn credentials(&self, text: &str) -> PathBuf {
        let path = self.path().join("credentials.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Below it lies everything.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        // What is restored is compared by its absolute path.
        self.folder.path().canonicalize().unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.path().join("air.sock")
    }

    /// The state folder of the hub.
    #[must_use]
    pub fn hub_state(&self) -> PathBuf {
        self.path().join("hub")
    }

    /// The folder with the repositories of all laptops.
    #[must_use]
    pub fn upstream(&self) -> PathBuf {
        self.path().join("upstream")
    }

    /// Starts the air.
    pub fn start_air(&mut self, profile: &str) {
        let mut command = Command::new(program("berth-air"));
        command
            .arg("--json")
            .arg("--socket")
            .arg(self.socket())
            .args(["--profile", profile]);
        let mut air = Process::start(command);
        air.event("ready");
        self.air = Some(air);
    }

    /// `berth-air ctl`, done.
    #[track_caller]
    pub fn air(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(program("berth-air"));
        command
            .arg("ctl")
            .arg("--socket")
            .arg(self.socket())
            .args(arguments);
        done(Process::start(command))
    }

    /// The hub's command, with its radio in the air if there is one.
    #[must_use]
    pub fn hub_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("berthd"));
        command
            .env("NOTIFY_SOCKET", self.path().join("notify"))
            .arg("--json")
            .arg("--state")
            .arg(self.hub_state())
            .arg("--upstream")
            .arg(
                self.upstream
                    .as_ref()
                    .map_or_else(|| self.upstream(), PathBuf::from),
            )
            .args(["--name", "hub"])
            .args(self.radio())
            .args(arguments);
        if self.settings().exists() {
            command.arg("--config").arg(self.settings());
        }
        command
    }

    fn radio(&self) -> [String; 2] {
        let radio = match self.air {
            Some(_) => format!("air:{}", self.socket().display()),
            None => "none".to_owned(),
        };
        ["--radio".to_owned(), radio]
    }

    /// Starts the hub and waits until it says that it is ready.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn start_hub(&mut self, arguments: &[&str]) {
        self.hub = Some(Process::start(self.hub_command(arguments)));
        if let Err(error) = self.ready.recv_timeout(WAIT_MAX) {
            panic!("the hub does not get ready: {error}");
        }
    }

    /// The running hub.
    ///
    /// # Panics
    /// Where none runs.
    pub fn hub(&mut self) -> &mut Process {
        self.hub.as_mut().unwrap()
    }

    /// Takes the running hub, to end it.
    ///
    /// # Panics
    /// Where none runs.
    pub fn take_hub(&mut self) -> Process {
        self.hub.take().unwrap()
    }

    /// A `berthctl` command on its way.
    #[must_use]
    pub fn ctl_start(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(program("berthctl"));
        command
            .arg("--json")
            .arg("--state")
            .arg(self.hub_state())
            .args(arguments);
        Process::start(command)
    }

    /// A `berthctl` command, done: its answer.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> Value {
        done(self.ctl_start(arguments)).last()
    }

    /// A new laptop with an empty folder; it is not paired yet.
    #[must_use]
    pub fn laptop(&self, name: &str) -> Laptop {
        self.laptop_in(name, name)
    }

    /// The same where the name is no name of a folder.
    #[must_use]
    pub fn laptop_in(&self, place: &str, name: &str) -> Laptop {
        let place = self.path().join("laptops").join(place);
        let folder = place.join("files");
        fs::create_dir_all(&folder).unwrap();
        Laptop {
            name: name.to_owned(),
            state: place.join("state"),
            folder,
            radio: self.radio().into(),
        }
    }

    /// Pairs a laptop with the hub.
    #[track_caller]
    pub fn pair(&self, laptop: &Laptop) {
        let mut window = self.ctl_start(&["pair"]);
        let code = window.event("code")["code"].as_str().unwrap().to_owned();
        done(laptop.start(&["pair", &code]));
        window.event("paired");
        done(window);
    }

    /// The upstream repository of a laptop, as restic sees it.
    #[must_use]
    pub fn restic(&self, laptop: &Laptop) -> Restic {
        let key = self.path().join(format!(
            "{}.key",
            laptop.state.parent().unwrap().file_name().unwrap().display()
        ));
        let told = done(laptop.start(&["recovery-key"])).last();
        fs::write(&key, told["recovery_key"].as_str().unwrap()).unwrap();
        Restic::new(self.upstream().join(&laptop.name), key)
    }
}

#[expect(clippy::panic, reason = "assertions for tests")]
impl Laptop {
    /// Reaches the hub at an address from now on, not by radio.
    pub fn go_via(&mut self, address: &str) {
        self.radio = ["--radio", "none", "--via", address].map(str::to_owned).into();
    }

    /// A `berth` command, not started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("berth"));
        // No desktop is told of a test.
        command
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .arg("--json")
            .arg("--state")
            .arg(&self.state)
            .args(["--name", &self.name])
            .args(&self.radio)
            .args(arguments);
        command
    }

    /// A `berth` command on its way.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.command(arguments))
    }

    /// A `berth` command, done.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        done(self.start(arguments))
    }

    /// A backup of its folder on its way.
    #[must_use]
    pub fn start_backup(&self) -> Process {
        self.start(&["backup", &self.folder.display().to_string()])
    }

    /// A backup of its folder, done: its summary.
    #[track_caller]
    pub fn back_up(&self) -> Value {
        done(self.start_backup()).last()
    }

    /// Waits until a running backup has so many bytes acknowledged.
    #[track_caller]
    pub fn wait_for_bytes(backup: &mut Process, bytes: u64) {
        backup.wait_for("progress", |told| {
            told["event"] == "progress" && told["bytes_acknowledged"].as_u64() >= Some(bytes)
        });
    }

    /// `restore latest` below `target`: where its folder then lies.
    #[track_caller]
    pub fn restore(&self, target: &Path) -> PathBuf {
        self.run(&["restore", "latest", "--to", &target.display().to_string()]);
        match self.folder.strip_prefix("/") {
            Ok(inside) => target.join(inside),
            Err(_) => panic!("{} is not absolute", self.folder.display()),
        }
    }
}

/// Waits for the end of a program that must succeed.
///
/// # Panics
/// Where it does not.
#[track_caller]
#[expect(clippy::must_use_candidate, reason = "often only the success counts")]
pub fn done(process: Process) -> Ended {
    let ended = process.end();
    assert_eq!(ended.code, 0, "{ended}");
    ended
}

/// The spool of a hub that has stopped, from a copy of its state folder.
///
/// # Panics
/// Where it can't be copied or opened.
#[must_use]
#[expect(clippy::unwrap_used, reason = "assertions for tests")]
pub fn copied_spool(state: &Path, to: &Path) -> Arc<Spool> {
    let copied = Command::new("cp").arg("-a").arg(state).arg(to).status();
    assert!(copied.unwrap().success());
    let disk = Arc::new(OsDisk::open(to).unwrap());
    let hub = Arc::new(Identity::open_or_generate(&*disk, &mut OsRng).unwrap());
    let (journal, _) = Journal::open(to.join("journal"), None).unwrap();
    Spool::open(disk, journal, hub, 0).unwrap().0
}
