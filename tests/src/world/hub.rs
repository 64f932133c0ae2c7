//! A hub whose process can be killed and whose power can be cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_bridge::{Forwarder, Journal, LaptopId, Progress, SetRecord, Spool};
use berth_daemon::{Hub, HubOutput, HubParts, Stores};
use berth_disk::SharedDisk;
use berth_pairing::{Identity, Name, TrustList};
use berth_radio::Time;
use berth_radio_sim::{CutPolicy, PortId, SimDisk};
use berth_repository::Id;
use berth_session::HubSetup;
use berth_wire::{SetKind, SetSeq};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::judge::Objects;
use super::upstream::MemoryUpstream;

/// What the hub calls itself.
pub const HUB_NAME: &str = "desk-hub";

/// Steps of forwarding that one set of a small world may take.
const FORWARD_STEPS_MAX: u32 = 10_000;

/// The hub's machine: what outlives its process, and the process.
pub struct SimHub {
    /// Spool and trust list.
    pub disk: SimDisk,
    /// Its radio.
    pub port: PortId,
    /// Bytes that arrived over streams since it was made.
    pub heard_bytes: u64,
    /// The process, while it runs.
    pub running: Option<Hub>,
    /// Syncs of the disk, the journal's included, are counted here.
    lives: u32,
    rng: ChaCha8Rng,
    identity: Arc<Identity>,
    /// Real: sled knows no other. Removed with the world.
    folder: tempfile::TempDir,
    /// Sets that were seen sealed, and as what. They never change.
    sealed: BTreeMap<SetSeq, (Id, SetKind)>,
    forwarder: Option<Forwarder>,
    /// Sets in the order in which they were forwarded.
    pub forwarded: Vec<SetSeq>,
}

impl SimHub {
    pub(super) fn new(seed: u64, port: PortId) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6875_6200);
        // sled syncs for real: in memory that costs nothing.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        Self {
            disk: SimDisk::new(),
            port,
            heard_bytes: 0,
            running: None,
            lives: 0,
            identity: Arc::new(Identity::generate(&mut rng)),
            rng,
            folder: folder.expect("a temporary folder"),
            sealed: BTreeMap::new(),
            forwarder: None,
            forwarded: Vec::new(),
        }
    }

    /// Its place in the air is taken by the caller. `Err`: the disk would not have it.
    pub(super) fn start(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubOutput>) -> Result<(), String> {
        let synced = self.synced();
        let keep = Box::new(move |folder: &Path| copy(folder, &synced));
        let (journal, _) = Journal::open(self.journal(), Some(keep)).map_err(|error| error.to_string())?;
        let disk: SharedDisk = Arc::new(self.disk.clone());
        let identity = Arc::clone(&self.identity);
        let (spool, _) =
            Spool::open(Arc::clone(&disk), journal, identity, wall_ns).map_err(|error| error.to_string())?;
        let setup = HubSetup {
            identity: Arc::clone(&self.identity),
            name: Name::reduce(HUB_NAME),
            trust: TrustList::open(disk, "trust").map_err(|error| error.to_string())?,
            fast_aes: self.rng.next_u32() & 1 == 0,
            rng: Box::new(ChaCha8Rng::seed_from_u64(self.rng.next_u64())),
        };
        let parts = HubParts {
            setup,
            spool,
            stores: Stores::Inline,
        };
        let hub = Hub::new(now, wall_ns, parts, out).map_err(|error| error.to_string())?;
        self.running = Some(hub);
        self.look_at_sets();
        Ok(())
    }

    /// The process is gone: what it had written is there, what its journal had not synced only perhaps.
    pub(super) fn kill(&mut self) {
        let before = self.journal();
        self.stop();
        self.disk.restart();
        // sled writes what it holds when it is dropped; a killed process does not.
        let kept = if self.rng.next_u32() & 1 == 0 {
            before
        } else {
            self.synced()
        };
        self.lives += 1;
        copy(&kept, &self.journal());
    }

    /// The power is gone: of disk and journal is left what was synced, and of the disk perhaps some more.
    pub(super) fn cut_power(&mut self, policy: CutPolicy) {
        self.stop();
        if !self.disk.is_off() {
            self.disk.cut_power(policy);
        }
        self.disk.restart();
        self.lives += 1;
        copy(&self.synced(), &self.journal());
    }

    fn stop(&mut self) {
        (self.running, self.forwarder) = (None, None);
    }

    /// The journal's folder in this life: sled gives its lock up when it likes.
    fn journal(&self) -> PathBuf {
        self.folder.path().join(format!("journal-{}", self.lives))
    }

    fn synced(&self) -> PathBuf {
        self.folder.path().join("synced")
    }

    /// Everything that the hub keeps in its journal's folders.
    #[must_use]
    pub fn journal_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        read_all(self.folder.path(), &mut bytes);
        bytes
    }

    /// The sets of its one laptop, as the journal has them.
    ///
    /// # Panics
    /// If the journal can't be read.
    #[must_use]
    pub fn sets(&self) -> Vec<SetRecord> {
        let Some((spool, laptop)) = self.only_laptop() else {
            return Vec::new();
        };
        spool.sets(&laptop).unwrap()
    }

    /// Checks that sealed sets are as they were and in order, and remembers the new ones.
    ///
    /// # Panics
    /// If one is not there any more, or another one.
    pub fn look_at_sets(&mut self) {
        if self.disk.is_off() || self.running.is_none() {
            return;
        }
        let sets = self.sets();
        assert!(
            sets.windows(2).all(|two| two[0].seq < two[1].seq),
            "numbers of sets do not grow"
        );
        let sealed = sets.iter().filter_map(|set| Some((set.seq, set.sealed()?)));
        let sealed: BTreeMap<_, _> = sealed.map(|(seq, one)| (seq, (one.manifest, one.kind))).collect();
        for (seq, before) in &self.sealed {
            assert_eq!(sealed.get(seq), Some(before), "set {seq} was sealed before");
        }
        self.sealed = sealed;
    }

    /// The laptop's repository in the spool.
    #[must_use]
    pub fn objects(&self) -> Option<Objects> {
        let (_, laptop) = self.only_laptop()?;
        Some(Objects::of_disk(&self.disk, &Spool::repository_folder(&laptop)))
    }

    fn only_laptop(&self) -> Option<(&Arc<Spool>, LaptopId)> {
        let spool = self.running.as_ref()?.spool();
        let laptop = spool.laptops().ok()?.into_iter().next()?;
        Some((spool, laptop))
    }

    /// Forwards for `steps` steps at the most. `true`: nothing is left to forward.
    pub(super) fn forward(&mut self, upstream: &MemoryUpstream, wall_ns: i64, steps: u32) -> bool {
        let Some((spool, laptop)) = self.only_laptop() else {
            return self.running.is_some();
        };
        let spool = Arc::clone(spool);
        let mut forwarder = self
            .forwarder
            .take()
            .unwrap_or_else(|| Forwarder::new(spool, laptop));
        let mut upstream = upstream.clone();
        let mut idle = false;
        for _ in 0..steps.min(FORWARD_STEPS_MAX) {
            match forwarder.step(&mut upstream, wall_ns) {
                Ok(Progress::Idle) => {
                    idle = true;
                    break;
                }
                Ok(Progress::Forwarded { set, .. }) => self.forwarded.push(set.seq),
                // An upstream that is away, or the power of the disk: the next step looks anew.
                Ok(_) | Err(_) => {}
            }
            if self.disk.is_off() {
                break;
            }
        }
        self.forwarder = Some(forwarder);
        idle
    }
}

fn copy(from: &Path, to: &Path) {
    // Not there is as good as removed.
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn read_all(folder: &Path, bytes: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, bytes);
        } else {
            bytes.extend(fs::read(path).unwrap());
        }
    }
}
