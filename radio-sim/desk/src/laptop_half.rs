//! The laptop half of the desk: a radio, a state folder, the user's folder. It shares nothing with the hub half.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_agent::{Begin, Ended, Errand, Laptop, LaptopKeys, LaptopOutput, Work};
use berth_client_sdk::{LaptopRepository, OsSource, Progress, Rules, SealStage, Visit, VisitOptions};
use berth_disk::{FolderLock, SharedDisk};
use berth_pairing::{Identity, Name, PairingCode, Peer, TrustList};
use berth_radio::{Event, Radio, Time};
use berth_session::{Goal, LaptopInput, LaptopSession};
use rand_core::{OsRng, RngCore};

use crate::clock::wall_ns;
use crate::{fast_aes, open_state};

/// No hub at a desk needs longer than that to be heard.
const SEEK_MAX: Duration = Duration::from_secs(60);

/// How often somebody who watches is told.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The laptop, between visits.
pub(crate) struct LaptopHalf {
    disk: SharedDisk,
    _lock: FolderLock,
    state: PathBuf,
    identity: Arc<Identity>,
    trust: TrustList,
    repository: Arc<LaptopRepository>,
    name: Name,
}

impl LaptopHalf {
    /// Opens the state folder, or makes it: identity, repository and recovery key.
    pub(crate) fn open(state: &Path, name: Name) -> Result<Self> {
        let (disk, lock) = open_state(state).context("the laptop's state folder")?;
        let identity = Arc::new(Identity::open_or_generate(&*disk, &mut OsRng)?);
        let repository = Arc::new(LaptopRepository::open_or_create(&*disk, wall_ns(), &mut OsRng)?);
        let trust = TrustList::open(Arc::clone(&disk), "trust")?;
        Ok(Self {
            disk,
            _lock: lock,
            state: state.to_path_buf(),
            identity,
            trust,
            repository,
            name,
        })
    }

    /// The password of the repository.
    pub(crate) fn recovery_key(&self) -> &str {
        self.repository.recovery_key()
    }

    pub(crate) fn is_paired(&self) -> bool {
        self.trust.peers().next().is_some()
    }

    /// Pairs with the hub that shows `code`.
    pub(crate) fn pair(&mut self, radio: &mut impl Radio, code: &str) -> Result<Peer> {
        let code = PairingCode::parse(code)?;
        let goal = Goal::Pair {
            code,
            name: self.name.clone(),
        };
        let left = self.run(radio, goal, None, &mut |_, _| {})?;
        match left.ended.session {
            berth_session::LaptopEnd::Paired(hub) => Ok(hub),
            other => bail!("{other}. {}", other.advice()),
        }
    }

    /// One visit: seeks the hub, backs `folder` up, leaves. `watch` is told where it is, several times a second, and may
    /// ask for a checkpoint.
    pub(crate) fn visit(
        &mut self,
        radio: &mut impl Radio,
        folder: &Path,
        left_out: &[PathBuf],
        watch: &mut dyn FnMut(Time, &mut Watched<'_>),
    ) -> Result<Left> {
        let begin = self.begin(folder, left_out);
        let hubs = self.trust.peers().cloned().collect();
        self.run(radio, Goal::Visit { hubs }, Some(begin), watch)
    }

    fn begin(&self, folder: &Path, left_out: &[PathBuf]) -> Begin {
        let mut paths = left_out.to_vec();
        paths.push(self.state.clone());
        let (disk, repository) = (Arc::clone(&self.disk), Arc::clone(&self.repository));
        let (identity, laptop_name) = (Arc::clone(&self.identity), self.name.to_string());
        let roots = vec![folder.to_path_buf()];
        Box::new(move |hub| {
            let mut seed = [0; 32];
            OsRng.fill_bytes(&mut seed);
            let options = VisitOptions {
                laptop: identity.device().0,
                hub: hub.device.0,
                laptop_name,
                hub_name: hub.name.to_string(),
                user_name: std::env::var("USER").unwrap_or_default(),
                roots,
                rules: Rules {
                    paths,
                    ..Rules::default()
                },
                wall_clock_ns: wall_ns(),
                seed,
            };
            let keys = LaptopKeys {
                laptop: identity,
                hub: hub.device,
            };
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            Visit::new(
                disk,
                Box::new(OsSource::new()),
                repository,
                Box::new(keys),
                SealStage::pool(threads),
                options,
            )
            .map(Errand::from)
        })
    }

    fn run(
        &mut self,
        radio: &mut impl Radio,
        goal: Goal,
        begin: Option<Begin>,
        watch: &mut dyn FnMut(Time, &mut Watched<'_>),
    ) -> Result<Left> {
        let now = radio.now();
        let (mut begun, mut out) = (Vec::new(), Vec::new());
        let identity = Arc::clone(&self.identity);
        let session = LaptopSession::new(
            now,
            identity,
            goal,
            fast_aes(),
            Some(SEEK_MAX),
            Box::new(OsRng),
            &mut begun,
        );
        let mut laptop = Laptop::new(session, begun, begin, now, &mut out);
        let mut bytes_sent = 0;
        loop {
            while !out.is_empty() {
                for output in std::mem::take(&mut out) {
                    match output {
                        LaptopOutput::Radio(command) => radio.command(command),
                        LaptopOutput::Store(hub) => {
                            let is_stored = self.trust.pair(&hub, wall_ns()).is_ok();
                            laptop.handle(radio.now(), LaptopInput::Stored(is_stored), &mut out);
                        }
                        LaptopOutput::BeaconKey { hub, key } => {
                            self.trust.set_beacon(&hub, &key, wall_ns())?
                        }
                        LaptopOutput::Up(_) => {}
                        LaptopOutput::Over(ended) => return Ok(Left { ended, bytes_sent }),
                    }
                }
            }
            let work = laptop.work(radio.now(), &mut out);
            let now = radio.now();
            watch(now, &mut Watched(&mut laptop));
            let deadline = match work {
                Work::More => now,
                Work::Wait => {
                    let look_at = now + LOOK_EVERY;
                    laptop.next_at().map_or(look_at, |at| at.min(look_at))
                }
            };
            if let Some(event) = radio.event(deadline) {
                if let Event::Drained { bytes, .. } = event {
                    bytes_sent += bytes as u64;
                }
                laptop.handle(radio.now(), LaptopInput::Radio(event), &mut out);
            }
            let now = radio.now();
            if laptop.next_at().is_some_and(|at| at <= now) {
                laptop.handle(now, LaptopInput::Tick, &mut out);
            }
        }
    }
}

/// How a visit ended, and what it took.
pub(crate) struct Left {
    pub(crate) ended: Ended,
    /// Bytes that left through the radio, handshake and encryption included. What still waited for the link when it was
    /// cut is not among them.
    pub(crate) bytes_sent: u64,
}

/// What somebody who watches a visit sees and may ask for.
pub(crate) struct Watched<'a>(&'a mut Laptop);

impl Watched<'_> {
    pub(crate) fn progress(&self) -> Option<&Progress> {
        self.0.progress()
    }

    /// The person reaches for the lid when this share of the bytes is read.
    pub(crate) fn leave_at(&mut self, percent: u8) {
        self.0.leave_at(percent);
    }
}
