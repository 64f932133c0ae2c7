//! A laptop whose process can be killed and whose power can be cut.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use berth_agent::{Begin, Errand, Laptop, LaptopKeys, LaptopOutput};
use berth_client_sdk::{Finding, LaptopRepository, LookBack, Rules, SealStage, Summary, Visit, VisitOptions};
use berth_disk::{Disk as _, SharedDisk, replace};
use berth_pairing::{Identity, Name, PairingCode, TrustList};
use berth_radio::Time;
use berth_radio_sim::{CutPolicy, PortId, SimDisk};
use berth_session::{Goal, LaptopEnd, LaptopSession};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::source::{Files, Picture, ROOT};

/// What the laptop calls itself.
pub const LAPTOP_NAME: &str = "laptop";

/// A session without a hub ends after this.
const SEEK_MAX: Duration = Duration::from_secs(60);

/// How far a visit was when it was last looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// As in [`berth_client_sdk::Progress`].
    pub scanned: bool,
    /// As there.
    pub bytes_changed: u64,
    /// As there.
    pub bytes_done: u64,
    /// As there.
    pub bytes_sent: u64,
    /// As there.
    pub bytes_acknowledged: u64,
    /// As there.
    pub bytes_restorable: u64,
    /// As there.
    pub requested_mark_done: bool,
    /// As there.
    pub rebuilt: bool,
}

/// How a session ended.
#[derive(Debug)]
pub struct Outcome {
    /// The complete set, if the visit came that far.
    pub summary: Option<Box<Summary>>,
    /// How it ended, in words.
    pub how: String,
    /// The last that was seen of the visit; `None`: there was no link.
    pub watched: Option<Watched>,
    /// What the files were, if nothing was edited since the session began.
    pub picture: Option<Picture>,
    /// What the hub was found to have lost.
    pub findings: Vec<Finding>,
}

/// The laptop's machine: what outlives its process, and the process.
pub struct SimLaptop {
    /// Identity apart, everything that the laptop keeps.
    pub disk: SimDisk,
    /// Its radio.
    pub port: PortId,
    /// The user's files.
    pub files: Files,
    /// Keys of its repository.
    pub repository: Arc<LaptopRepository>,
    /// Its own keys.
    pub identity: Arc<Identity>,
    /// The session, while there is one.
    pub session: Option<Laptop>,
    /// Of the visit that is under way or was the last.
    pub watched: Option<Watched>,
    trust: Option<TrustList>,
    rng: ChaCha8Rng,
    edits_at_begin: u64,
}

/// The file `repository` of a laptop's state folder: making its key file takes scrypt 0.1 s, so once for all worlds.
fn repository_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let disk = SimDisk::new();
        let mut rng = ChaCha8Rng::seed_from_u64(0x6b65_7973);
        LaptopRepository::open_or_create(&disk, 0, &mut rng).unwrap();
        disk.read("repository", 1 << 20).unwrap()
    })
}

impl SimLaptop {
    pub(super) fn new(seed: u64, port: PortId, now_ns: i64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6c61_7074);
        let disk = SimDisk::new();
        replace(&disk, "repository", repository_file()).unwrap();
        let repository = LaptopRepository::open(&disk).unwrap().unwrap();
        let mut laptop = Self {
            disk,
            port,
            files: Files::new(now_ns),
            repository: Arc::new(repository),
            identity: Arc::new(Identity::generate(&mut rng)),
            session: None,
            watched: None,
            trust: None,
            rng,
            edits_at_begin: 0,
        };
        laptop.start();
        laptop
    }

    /// `false`: the power went while it started.
    pub(super) fn start(&mut self) -> bool {
        let disk: SharedDisk = Arc::new(self.disk.clone());
        self.trust = TrustList::open(disk, "trust").ok();
        self.trust.is_some()
    }

    /// The process is gone. `None`: killed; else the power goes too.
    pub(super) fn kill(&mut self, power: Option<CutPolicy>) {
        (self.session, self.trust) = (None, None);
        if let Some(policy) = power
            && !self.disk.is_off()
        {
            self.disk.cut_power(policy);
        }
        self.disk.restart();
    }

    /// The process runs.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.trust.is_some()
    }

    /// It knows the hub.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        self.trust
            .as_ref()
            .is_some_and(|trust| trust.peers().next().is_some())
    }

    pub(super) fn trust(&mut self) -> Option<&mut TrustList> {
        self.trust.as_mut()
    }

    pub(super) fn pair(&mut self, now: Time, code: PairingCode, out: &mut Vec<LaptopOutput>) {
        let name = Name::reduce(LAPTOP_NAME);
        self.begin(now, Goal::Pair { code, name }, None, out);
    }

    pub(super) fn visit(&mut self, now: Time, wall_ns: i64, out: &mut Vec<LaptopOutput>) {
        let Some(trust) = &self.trust else { return };
        let hubs = trust.peers().cloned().collect();
        let (mut seed, mut look_seed) = ([0; 32], [0; 32]);
        self.rng.fill_bytes(&mut seed);
        self.rng.fill_bytes(&mut look_seed);
        let disk: SharedDisk = Arc::new(self.disk.clone());
        let (source, repository) = (self.files.clone(), Arc::clone(&self.repository));
        let identity = Arc::clone(&self.identity);
        let begin: Begin = Box::new(move |hub| {
            let options = VisitOptions {
                laptop: identity.device().0,
                hub: hub.device.0,
                laptop_name: LAPTOP_NAME.into(),
                hub_name: hub.name.to_string(),
                user_name: "user".into(),
                roots: vec![PathBuf::from(ROOT)],
                rules: Rules::default(),
                wall_clock_ns: wall_ns,
                seed,
            };
            let keys = LaptopKeys {
                laptop: identity,
                hub: hub.device,
            };
            let stage = SealStage::inline();
            let (hub, keys) = (hub.device.0, Box::new(keys));
            let look_back = LookBack::new(
                disk.clone(),
                hub,
                Arc::clone(&repository),
                keys.clone(),
                look_seed,
            );
            let visit = Visit::new(disk, Box::new(source), repository, keys, stage, options);
            visit.map(|visit| Errand::from(visit).looking_back(look_back))
        });
        self.edits_at_begin = self.files.edits();
        self.begin(now, Goal::Visit { hubs }, Some(begin), out);
    }

    fn begin(&mut self, now: Time, goal: Goal, begin: Option<Begin>, out: &mut Vec<LaptopOutput>) {
        self.watched = None;
        let mut begun = Vec::new();
        let rng = Box::new(ChaCha8Rng::seed_from_u64(self.rng.next_u64()));
        let identity = Arc::clone(&self.identity);
        let fast_aes = self.rng.next_u32() & 1 == 0;
        let session = LaptopSession::new(now, identity, goal, fast_aes, Some(SEEK_MAX), rng, &mut begun);
        self.session = Some(Laptop::new(session, begun, begin, now, out));
    }

    /// Remembers how far the visit is.
    pub(super) fn watch(&mut self) {
        if let Some(progress) = self.session.as_ref().and_then(Laptop::progress) {
            self.watched = Some(Watched {
                scanned: progress.scanned,
                bytes_changed: progress.bytes_changed,
                bytes_done: progress.bytes_done,
                bytes_sent: progress.bytes_sent,
                bytes_acknowledged: progress.bytes_acknowledged,
                bytes_restorable: progress.bytes_restorable,
                requested_mark_done: progress.requested_mark_done,
                rebuilt: progress.rebuilt,
            });
        }
    }

    pub(super) fn ended(&mut self, ended: berth_agent::Ended) -> Outcome {
        self.session = None;
        let untouched = self.files.edits() == self.edits_at_begin;
        let (summary, how) = match (ended.visit, ended.session) {
            (Some(Ok(summary)), _) => (Some(summary), "complete".to_owned()),
            (Some(Err(error)), _) => (None, error.to_string()),
            (None, LaptopEnd::Paired(_)) => (None, "paired".to_owned()),
            (None, end) => (None, end.to_string()),
        };
        Outcome {
            summary,
            how,
            watched: self.watched,
            picture: untouched.then(|| self.files.picture()),
            findings: ended
                .progress
                .map(|progress| progress.findings)
                .unwrap_or_default(),
        }
    }
}
