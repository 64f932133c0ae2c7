//! Reading back over simulated radios in real time: session, encryption and a link like real ones between laptop and hub.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use berth_agent::{
    Begin, Company, Errand, LaptopKeys, Leave, Left, LinkSource, Seen, State, drive, read_back,
};
use berth_bridge::{Journal, Spool};
use berth_client_sdk::{OsSource, Rules, SealStage, Visit, VisitOptions};
use berth_daemon::{Hub, HubOutput, HubParts, StoreThreads, Stores};
use berth_disk::{OsDisk, SharedDisk};
use berth_pairing::{Identity, Name, TrustList};
use berth_radio::Radio;
use berth_radio_sim::{Air, Profile, SharedAir, SimRadio};
use berth_restore::{Existing, Repository, RestoreError};
use berth_session::{Goal, HubInput, HubSetup, LaptopEnd, LaptopSession};
use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use rand_core::OsRng;

const SEEK_MAX: Duration = Duration::from_secs(60);

fn wall_ns() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

/// A laptop at a desk whose hub runs on a thread of its own.
struct Desk {
    folder: tempfile::TempDir,
    air: SharedAir,
    radio: SimRadio,
    state: State,
    stop: Arc<AtomicBool>,
    hub: Option<thread::JoinHandle<()>>,
}

impl Desk {
    /// Both near each other, and paired.
    fn new(profile: Profile) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let air = SharedAir::new(Air::new(7, profile), move || began.elapsed());
        let radio = air.radio("laptop").unwrap();
        let hub_radio = air.radio("hub").unwrap();
        let (code_in, code) = std::sync::mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let hub = thread::spawn({
            let (folder, stop) = (folder.path().join("hub"), Arc::clone(&stop));
            move || run_hub(hub_radio, &folder, &code_in, &stop)
        });
        let state = State::open(&folder.path().join("laptop"), wall_ns(), &mut OsRng).unwrap();
        let mut desk = Self {
            folder,
            air,
            radio,
            state,
            stop,
            hub: Some(hub),
        };
        let code = code.recv().unwrap();
        let name = Name::reduce("laptop");
        let left = desk.meet(Goal::Pair { code, name }, None);
        assert!(matches!(left.ended.session, LaptopEnd::Paired(_)), "{left:?}");
        desk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn meet(&mut self, goal: Goal, begin: Option<Begin>) -> Left {
        let (radio, state) = (&mut self.radio, &mut self.state);
        let mut begun = Vec::new();
        let session = LaptopSession::new(
            radio.now(),
            Arc::clone(&state.identity),
            goal,
            true,
            Some(SEEK_MAX),
            Box::new(OsRng),
            &mut begun,
        );
        let company = Company {
            trust: &mut state.trust,
            wall_ns: &wall_ns,
            leave: &Leave::new(radio.waker()),
            watch: &mut |_, _| {},
        };
        drive(radio, session, begun, begin, company).unwrap()
    }

    fn visit(&self) -> Goal {
        Goal::Visit {
            hubs: self.state.trust.peers().cloned().collect(),
        }
    }

    fn back_up(&mut self, files: &Path) {
        let (disk, repository) = (self.state.disk.clone(), self.state.repository.clone());
        let (laptop, roots) = (self.state.identity.clone(), vec![files.to_owned()]);
        let begin: Begin = Box::new(move |hub| {
            let options = VisitOptions {
                laptop: laptop.device().0,
                hub: hub.device.0,
                laptop_name: "laptop".into(),
                hub_name: hub.name.to_string(),
                user_name: "user".into(),
                roots,
                rules: Rules::default(),
                wall_clock_ns: wall_ns(),
                seed: [1; 32],
            };
            let hub = hub.device;
            let keys = Box::new(LaptopKeys { laptop, hub });
            let source = Box::new(OsSource::new());
            Visit::new(disk, source, repository, keys, SealStage::pool(2), options).map(Errand::from)
        });
        let left = self.meet(self.visit(), Some(begin));
        assert!(matches!(left.ended.visit, Some(Ok(_))), "{left:?}");
    }

    /// Reads with `work` in one session.
    fn read<T: Send>(
        &mut self,
        work: impl FnOnce(Repository, &Seen) -> T + Send,
    ) -> (Result<T, RestoreError>, Left) {
        let repository = Arc::clone(&self.state.repository);
        let (wake, goal) = (self.radio.waker(), self.visit());
        let (worked, left) = read_back(
            repository.id(),
            wake,
            |begin| self.meet(goal, Some(begin)),
            |source: LinkSource| {
                let seen = source.seen();
                Repository::open(source, repository.recovery_key()).map(|repository| work(repository, &seen))
            },
        );
        (worked.unwrap(), left)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(hub) = self.hub.take()
            && hub.join().is_err()
            && !thread::panicking()
        {
            panic!("the hub failed");
        }
    }
}

fn run_hub(
    mut radio: SimRadio,
    folder: &Path,
    code: &std::sync::mpsc::Sender<berth_pairing::PairingCode>,
    stop: &AtomicBool,
) {
    let disk: SharedDisk = Arc::new(OsDisk::open(folder).unwrap());
    let identity = Arc::new(Identity::generate(&mut OsRng));
    let (journal, _) = Journal::open(folder.join("journal"), None).unwrap();
    let (spool, _) = Spool::open(Arc::clone(&disk), journal, identity.clone(), wall_ns()).unwrap();
    let setup = HubSetup {
        identity,
        name: Name::reduce("desk"),
        trust: TrustList::open(disk, "trust").unwrap(),
        fast_aes: true,
        rng: Box::new(OsRng),
    };
    let stores = Stores::Threads(StoreThreads::new(Arc::new(wall_ns), radio.waker()));
    let mut out = Vec::new();
    let parts = HubParts { setup, spool, stores };
    let mut hub = Hub::new(radio.now(), wall_ns(), parts, &mut out).unwrap();
    code.send(hub.open_window(radio.now(), wall_ns(), &mut out))
        .unwrap();
    while !stop.load(Ordering::Acquire) {
        for output in out.drain(..) {
            if let HubOutput::Radio(command) = output {
                radio.command(command);
            }
        }
        let look = radio.now() + Duration::from_millis(50);
        let deadline = hub.next_at().map_or(look, |at| at.min(look));
        if let Some(event) = radio.event(deadline) {
            hub.handle(radio.now(), wall_ns(), HubInput::Radio(event), &mut out);
        }
        hub.stores_done(radio.now(), wall_ns(), &mut out);
        if hub.next_at().is_some_and(|at| at <= radio.now()) {
            hub.handle(radio.now(), wall_ns(), HubInput::Tick, &mut out);
        }
    }
}

fn within(into: &Path, path: &Path) -> PathBuf {
    into.join(path.strip_prefix("/").unwrap())
}

#[test]
fn a_restore_over_a_poor_link_is_whole() {
    let mut desk = Desk::new(Profile::WFD_POOR);
    let files = desk.at("files");
    corpus::small_files(&files.join("small"), 1, 1_000).unwrap();
    corpus::incompressible(&files.join("large"), 2, 20_000_000).unwrap();
    desk.back_up(&files);
    let into = desk.at("restored");
    let (report, left) = desk.read(|repository, _| {
        let snapshot = repository.snapshots().unwrap().pop().unwrap();
        repository.restore(&snapshot, &[], &into, Existing::Keep, &|_| {})
    });
    assert!(report.unwrap().unwrap().is_whole());
    assert!(left.ended.visit.is_none(), "{left:?}");
    assert_same(&files, &within(&into, &files), Owners::of_this_user());
}

#[test]
fn a_restore_cut_by_walking_away_is_taken_up_where_it_was() {
    let mut desk = Desk::new(Profile::WFD_TYPICAL);
    let files = desk.at("files");
    // Several files are whole at the cut, in whatever order their chunks come.
    for folder in 0..10 {
        corpus::incompressible(&files.join(folder.to_string()), folder, 3_000_000).unwrap();
    }
    desk.back_up(&files);
    let into = desk.at("restored");
    let (air, port) = (desk.air.clone(), desk.radio.port());
    let is_away = AtomicBool::new(false);
    let read = AtomicU64::new(0);
    let (first, left) = desk.read(|repository, seen| {
        let snapshot = repository.snapshots().unwrap().pop().unwrap();
        let restored = repository.restore(&snapshot, &[], &into, Existing::Keep, &|progress| {
            if progress.bytes > 15_000_000 && !is_away.swap(true, Ordering::Relaxed) {
                air.with(|air, now| air.away(now, port));
            }
        });
        read.store(seen.bytes(), Ordering::Relaxed);
        restored
    });
    assert!(matches!(first, Ok(Err(RestoreError::Lost { .. }))), "{first:?}");
    assert!(matches!(left.ended.session, LaptopEnd::Cut), "{left:?}");
    let restored = within(&into, &files);
    for path in berth_tests::compare::files(&restored).unwrap() {
        let original = files.join(path.strip_prefix(&restored).unwrap());
        assert!(
            fs::read(&path).unwrap() == fs::read(original).unwrap(),
            "{path:?} is not whole"
        );
    }
    desk.air.with(|air, now| air.near(now, desk.radio.port()));
    let (second, _) = desk.read(|repository, seen| {
        let snapshot = repository.snapshots().unwrap().pop().unwrap();
        let report = repository.restore(&snapshot, &[], &into, Existing::Keep, &|_| {});
        (report, seen.bytes())
    });
    let (report, bytes) = second.unwrap();
    let report = report.unwrap();
    assert!(report.is_whole() && report.bytes_there > 5_000_000, "{report:?}");
    assert!(
        bytes < 32_000_000 - report.bytes_there,
        "{bytes} bytes the second time"
    );
    assert_same(&files, &restored, Owners::of_this_user());
}
