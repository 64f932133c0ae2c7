//! A laptop and a real hub (`berth-bridge`) without a link between them, and restic as the judge.

// Each test program uses its part of this.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use berth_bridge::{Effect, End, Input, Journal, LaptopId, Receiver, Spool};
use berth_client_sdk::{
    Finding, Keys, LaptopRepository, LookBack, Outgoing, Progress, ReadingStep, Rules, SealStage, Source,
    Step, Summary, Visit, VisitError, VisitOptions,
};
use berth_disk::{OsDisk, SharedDisk};
use berth_pairing::Identity;
use berth_wire::{MANIFEST_CONTEXT, RECEIPT_CONTEXT, SetRef, Signed, ToHub, ToLaptop};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// A laptop and a hub.
pub struct Pair {
    pub dir: tempfile::TempDir,
    pub state: SharedDisk,
    pub repository: Arc<LaptopRepository>,
    laptop: Arc<Identity>,
    hub: Arc<Identity>,
    spool: Arc<Spool>,
    /// All hubs; the laptop is at one of them.
    hubs: Vec<(Arc<Identity>, Arc<Spool>)>,
    visits: u8,
    pub stage: SealStage,
    pub rules: Rules,
    /// Simulated time between two steps.
    pub step: Duration,
    /// What the hub says in place of its answer; `None`: nothing.
    pub lie: Option<Lie>,
    /// Goes on while a visit does, a piece after each step.
    pub meanwhile: Option<Box<dyn FnMut()>>,
}

pub type Lie = fn(&ToHub, ToLaptop) -> Option<ToLaptop>;

/// How a visit ended.
#[derive(Debug)]
pub struct Outcome {
    /// `None`: it was cut.
    pub summary: Option<Summary>,
    pub progress: Progress,
    /// Bytes that reached the hub.
    pub sent: u64,
    /// What the hub sealed when the visit was cut.
    pub sealed: Option<SetRef>,
    /// What it was found to have lost.
    pub findings: Vec<Finding>,
    /// Bytes that the hub showed of it.
    pub shown: u64,
}

#[derive(Clone)]
struct LaptopKeys {
    laptop: Arc<Identity>,
    hub: Arc<Identity>,
}

impl Keys for LaptopKeys {
    fn sign_manifest(&self, body: &[u8]) -> [u8; 64] {
        self.laptop.sign(MANIFEST_CONTEXT, body)
    }

    fn is_of_hub(&self, receipt: &Signed) -> bool {
        berth_pairing::verify(
            &self.hub.device(),
            RECEIPT_CONTEXT,
            &receipt.body,
            &receipt.signature,
        )
        .is_ok()
    }
}

/// When a visit is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Never,
    /// When so many bytes were sent.
    AtBytes(u64),
    /// When this share of the changed bytes is acknowledged, by asking for a mark, as somebody who leaves does.
    LeaveAt(f64),
}

fn now_ns() -> i64 {
    #[allow(clippy::disallowed_methods)] // files made by the test have the real time
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64
}

impl Pair {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state: SharedDisk = Arc::new(OsDisk::open(dir.path().join("laptop")).unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let repository = LaptopRepository::open_or_create(&*state, now_ns(), &mut rng).unwrap();
        let laptop = Arc::new(Identity::generate(&mut rng));
        let hub = Arc::new(Identity::generate(&mut rng));
        let spool = open_spool(dir.path(), "hub", &hub);
        let hubs = vec![(hub.clone(), spool.clone())];
        Self {
            dir,
            state,
            repository: Arc::new(repository),
            laptop,
            hub,
            spool,
            hubs,
            visits: 0,
            stage: SealStage::pool(2),
            rules: Rules::default(),
            step: Duration::from_millis(20),
            lie: None,
            meanwhile: None,
        }
    }

    /// One more hub; the laptop stays where it is.
    pub fn add_hub(&mut self) {
        let number = self.hubs.len();
        let mut rng = ChaCha8Rng::seed_from_u64(100 + number as u64);
        let hub = Arc::new(Identity::generate(&mut rng));
        let spool = open_spool(self.dir.path(), &format!("hub-{number}"), &hub);
        self.hubs.push((hub, spool));
    }

    /// From here on the laptop is at this hub.
    pub fn go_to(&mut self, number: usize) {
        (self.hub, self.spool) = self.hubs[number].clone();
    }

    /// Key and spool of each hub.
    pub fn hubs(&self) -> &[(Arc<Identity>, Arc<Spool>)] {
        &self.hubs
    }

    /// Where restic finds the repository on the hub.
    pub fn spool_repository(&self) -> PathBuf {
        let folder = Spool::repository_folder(&self.laptop_id());
        self.dir.path().join("hub").join(folder)
    }

    /// What the hub keeps.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// As the hub knows the laptop.
    pub fn laptop_id(&self) -> LaptopId {
        LaptopId(self.laptop.device().0)
    }

    /// Another laptop state: as if its disk was lost but for the keys.
    pub fn forget(&self) {
        std::fs::remove_dir_all(self.dir.path().join("laptop/hubs")).unwrap();
    }

    pub fn visit(&mut self, source: Box<dyn Source>, roots: &[&Path], cut: Cut) -> Outcome {
        self.try_visit(source, roots, cut).unwrap()
    }

    pub fn try_visit(
        &mut self,
        source: Box<dyn Source>,
        roots: &[&Path],
        cut: Cut,
    ) -> Result<Outcome, VisitError> {
        self.visits += 1;
        let options = VisitOptions {
            laptop: self.laptop.device().0,
            hub: self.hub.device().0,
            laptop_name: "laptop".into(),
            hub_name: "hub".into(),
            user_name: "user".into(),
            roots: roots.iter().map(|root| root.to_path_buf()).collect(),
            rules: self.rules.clone(),
            wall_clock_ns: now_ns(),
            seed: [self.visits; 32],
        };
        let keys = Box::new(LaptopKeys {
            laptop: self.laptop.clone(),
            hub: self.hub.clone(),
        });
        let (state, repository) = (self.state.clone(), self.repository.clone());
        let seed = [!self.visits; 32];
        let mut look_back = LookBack::new(state, self.hub.device().0, repository, keys.clone(), seed);
        let mut visit = Visit::new(
            self.state.clone(),
            source,
            self.repository.clone(),
            keys,
            self.stage,
            options,
        )?;
        let mut hub = HubSide {
            receiver: Receiver::new(Duration::ZERO),
            visit: self.spool.visit(LaptopId(self.laptop.device().0)).unwrap(),
            end: None,
            lie: self.lie,
        };
        let mut now = Duration::ZERO;
        let mut sent = 0;
        let mut requested = false;
        loop {
            now += self.step;
            if let Some(meanwhile) = &mut self.meanwhile {
                meanwhile();
            }
            match visit.next(now)? {
                Step::Send(outgoing) => {
                    let input = match outgoing {
                        Outgoing::Control(message) => {
                            sent += berth_wire::encode(&message).unwrap().len() as u64;
                            Input::Message(message)
                        }
                        Outgoing::Data { upload, bytes } => {
                            sent += bytes.len() as u64;
                            Input::Data { upload, bytes }
                        }
                    };
                    hub.take(now, input, &mut visit)?;
                }
                Step::Working => {}
                Step::Wait => hub.take(now, Input::Tick, &mut visit)?,
                Step::Done(summary) => {
                    look_back.begin(now, visit.progress()).unwrap();
                    let shown = hub.shows(&mut now, self.step, &mut look_back);
                    hub.take(now, Input::Message(ToHub::Goodbye), &mut visit)?;
                    let mut findings = visit.progress().findings.clone();
                    findings.extend(look_back.end());
                    return Ok(Outcome {
                        summary: Some(*summary),
                        progress: visit.progress().clone(),
                        sent,
                        sealed: None,
                        findings,
                        shown,
                    });
                }
            }
            let progress = visit.progress();
            let is_cut = match cut {
                Cut::Never => false,
                Cut::AtBytes(bytes) => sent >= bytes,
                Cut::LeaveAt(share) => {
                    let wanted = (progress.bytes_changed as f64 * share) as u64;
                    if !requested && progress.scanned && progress.bytes_done >= wanted {
                        requested = true;
                        visit.request_mark();
                    }
                    requested && visit.progress().requested_mark_done
                }
            };
            if is_cut {
                let progress = visit.progress().clone();
                hub.take(now, Input::Cut, &mut visit)?;
                return Ok(Outcome {
                    summary: None,
                    progress,
                    sent,
                    sealed: hub.end.and_then(|end| end.sealed),
                    findings: visit.progress().findings.clone(),
                    shown: 0,
                });
            }
            assert!(hub.end.is_none(), "the hub ended the visit: {:?}", hub.end);
        }
    }

    /// `restic` on the hub's spool.
    pub fn restic(&self, args: &[&str]) -> Output {
        self.restic_at(&self.spool_repository(), args)
    }

    /// `restic` on any repository with the laptop's key.
    pub fn restic_at(&self, repository: &Path, args: &[&str]) -> Output {
        let password = self.dir.path().join("recovery-key");
        std::fs::write(&password, self.repository.recovery_key()).unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        let output = Command::new("restic")
            .arg("--no-cache")
            .arg("-r")
            .arg(repository)
            .arg("-p")
            .arg(password)
            .args(args)
            .output()
            .expect(
                "this test needs `restic` (apt-get install restic): Debian's 0.14 is the judge of our format",
            );
        assert!(
            output.status.success(),
            "restic {args:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// `restic check --read-data`, then a restore of `snapshot`; gives the folder that stands for `/`.
    pub fn restored(&self, snapshot: &str) -> PathBuf {
        self.restic(&["check", "--read-data"]);
        let to = self
            .dir
            .path()
            .join(format!("restored-{}-{snapshot}", self.visits));
        self.restic(&["restore", snapshot, "--target", to.to_str().unwrap()]);
        to
    }

    /// Number of snapshots and their tags, oldest first.
    pub fn tags(&self) -> Vec<String> {
        let output = self.restic(&["snapshots", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.split("\"tags\":[")
            .skip(1)
            .map(|rest| rest.split(']').next().unwrap().to_owned())
            .collect()
    }
}

fn open_spool(dir: &Path, name: &str, hub: &Arc<Identity>) -> Arc<Spool> {
    let disk = Arc::new(OsDisk::open(dir.join(name)).unwrap());
    let journal = Journal::open(dir.join(format!("{name}-journal")), None).unwrap();
    Spool::open(disk, journal.0, hub.clone(), now_ns()).unwrap().0
}

struct HubSide {
    receiver: Receiver,
    visit: berth_bridge::Visit,
    end: Option<End>,
    lie: Option<Lie>,
}

impl HubSide {
    /// Answers what a look asks, and counts the bytes.
    fn shows(&mut self, now: &mut Duration, step: Duration, look_back: &mut LookBack) -> u64 {
        let mut shown = 0;
        loop {
            *now += step;
            let input = match look_back.next(*now) {
                ReadingStep::Done => return shown,
                ReadingStep::Wait => Input::Tick,
                ReadingStep::Send(message) => Input::Message(message),
            };
            let receive = &mut |message: ToLaptop| {
                shown += berth_wire::encode(&message).unwrap().len() as u64;
                look_back.receive(message)
            };
            if self.answer(*now, input, receive).is_err() {
                return shown;
            }
        }
    }

    fn take(&mut self, now: Duration, input: Input, laptop: &mut Visit) -> Result<(), VisitError> {
        self.answer(now, input, &mut |message| laptop.receive(now, message))
    }

    fn answer(
        &mut self,
        now: Duration,
        input: Input,
        receive: &mut dyn FnMut(ToLaptop) -> Result<(), VisitError>,
    ) -> Result<(), VisitError> {
        let asked = match &input {
            Input::Message(message) => message.clone(),
            _ => ToHub::KeepAlive,
        };
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.receiver.handle(now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Store(op) => inputs.extend(self.visit.execute(op, now_ns()).map(Input::Store)),
                    Effect::Reply(message) => {
                        let said = self.lie.map_or(Some(message.clone()), |lie| lie(&asked, message));
                        said.map_or(Ok(()), &mut *receive)?;
                    }
                    Effect::End(end) => self.end = Some(end),
                }
            }
        }
        Ok(())
    }
}

/// Compares two trees with `diff -r --no-dereference` and the metadata of every entry.
pub fn assert_same(one: &Path, two: &Path) {
    let listing = |folder: &Path| {
        let output = Command::new("find")
            .current_dir(folder)
            .args([".", "-printf", "%P %y %m %U %G %T@ %l %s\\n"])
            .output()
            .unwrap();
        let mut lines: Vec<_> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .map(|line| String::from_utf8_lossy(line).into_owned())
            // The size of a folder is the file system's business.
            .map(|line| {
                if line.contains(" d ") {
                    line.rsplit_once(' ').unwrap().0.to_owned()
                } else {
                    line
                }
            })
            .collect();
        lines.sort();
        lines
    };
    for (a, b) in listing(one).iter().zip(&listing(two)) {
        assert_eq!(a, b);
    }
    assert_eq!(listing(one).len(), listing(two).len());
    let output = Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(one)
        .arg(two)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text: Vec<_> = text
        .lines()
        .filter(|line| !line.contains(" is a fifo") && !line.contains("special file"))
        .collect();
    assert!(text.is_empty(), "{text:?}");
}
