//! A hub whose power can be cut: a simulated disk, and a journal of which the copy as of its last sync is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_bridge::{
    Effect, End, Input, Journal, LaptopId, Opened, Receiver, Repair, Spool, StoreError, Visit,
};
use berth_pairing::Identity;
use berth_radio_sim::{CutPolicy, SimDisk};
use berth_repository::Id;
use berth_wire::{ToHub, ToLaptop, UploadId};
use bytes::Bytes;

pub(crate) const NOW_NS: i64 = 1_700_000_000_000_000_000;

pub(crate) fn identity(seed: u8) -> Arc<Identity> {
    let mut bytes = [seed; 65];
    bytes[0] = 1;
    Arc::new(Identity::from_bytes(&bytes).unwrap())
}

pub(crate) struct Hub {
    pub(crate) disk: SimDisk,
    pub(crate) identity: Arc<Identity>,
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) repairs: Vec<Repair>,
    pub(crate) opened: Option<Opened>,
    /// The wall clock at its next start.
    pub(crate) now_ns: i64,
    pub(crate) folder: tempfile::TempDir,
    lives: u32,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let mut hub = Self {
            disk: SimDisk::new(),
            identity: identity(200),
            spool: None,
            repairs: Vec::new(),
            opened: None,
            now_ns: NOW_NS,
            folder: tempfile::tempdir().unwrap(),
            lives: 0,
        };
        hub.start().unwrap();
        hub
    }

    /// The journal of this life: sled gives up its lock when it likes, so each life has a folder of its own.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join(format!("journal-{}", self.lives))
    }

    fn synced(&self) -> PathBuf {
        self.folder.path().join("synced")
    }

    pub(crate) fn start(&mut self) -> Result<(), StoreError> {
        let synced = self.synced();
        let keep = Box::new(move |folder: &Path| copy(folder, &synced));
        let (journal, opened) = Journal::open(self.journal(), Some(keep))?;
        self.opened = Some(opened);
        let identity = Arc::clone(&self.identity);
        let (spool, repairs) = Spool::open(Arc::new(self.disk.clone()), journal, identity, self.now_ns)?;
        spool.set_upstream_since(Some(0));
        self.spool = Some(spool);
        self.repairs = repairs;
        Ok(())
    }

    /// The power goes, and the hub starts again.
    pub(crate) fn power_cut(&mut self, policy: CutPolicy) {
        self.stop();
        if !self.disk.is_off() {
            self.disk.cut_power(policy);
        }
        self.disk.restart();
        self.lives += 1;
        copy(&self.synced(), &self.journal());
    }

    /// The hub stops in order; its next life sees the same files.
    pub(crate) fn stop(&mut self) {
        self.spool = None;
    }

    pub(crate) fn restart(&mut self) {
        let before = self.journal();
        self.stop();
        self.disk.restart();
        self.lives += 1;
        copy(&before, &self.journal());
        self.start().unwrap();
    }

    /// Starts again after a power cut.
    pub(crate) fn cut_and_start(&mut self, policy: CutPolicy) {
        self.power_cut(policy);
        self.start().unwrap();
    }

    pub(crate) fn spool(&self) -> &Arc<Spool> {
        self.spool.as_ref().unwrap()
    }

    pub(crate) fn visit(&self, laptop: LaptopId) -> Session {
        Session {
            receiver: Receiver::new(Duration::ZERO),
            visit: self.spool().visit(laptop).unwrap(),
            now: Duration::ZERO,
            heard: Vec::new(),
            end: None,
        }
    }

    /// What lies under a path below a laptop's repository.
    pub(crate) fn object(&self, laptop: LaptopId, path: &str) -> Option<Vec<u8>> {
        use berth_disk::Disk as _;
        let path = format!("{}/{path}", Spool::repository_folder(&laptop));
        self.disk.read(&path, 64 << 20).ok()
    }

    /// Every object of every sealed set is there and is what its name says.
    pub(crate) fn check_sets(&self, laptop: LaptopId) {
        for set in self.spool().sets(&laptop).unwrap() {
            let Some(sealed) = set.sealed() else { continue };
            let signed = self.spool().manifest(&laptop, set.seq).unwrap().unwrap();
            assert_eq!(signed.id(), sealed.manifest);
            let manifest: berth_wire::Manifest = berth_wire::decode(&signed.body).unwrap();
            for entry in crate::laptop::entries(self, laptop, &manifest) {
                let path = crate::laptop::path(entry.kind, &entry.id);
                let bytes = self
                    .object(laptop, &path)
                    .unwrap_or_else(|| panic!("set {}: {path} is not there", set.seq));
                assert_eq!(bytes.len() as u64, entry.length, "{path}");
                assert_eq!(Id::of(&bytes), entry.id, "{path}");
            }
        }
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A driver of the simplest kind: receiver and spool in one loop.
pub(crate) struct Session {
    pub(crate) receiver: Receiver,
    pub(crate) visit: Visit,
    pub(crate) now: Duration,
    pub(crate) heard: Vec<ToLaptop>,
    pub(crate) end: Option<End>,
}

impl Session {
    pub(crate) fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.receiver.handle(self.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Store(op) => inputs.extend(self.visit.execute(op, NOW_NS).map(Input::Store)),
                    Effect::Reply(reply) => self.heard.push(reply),
                    Effect::End(end) => self.end = Some(end),
                }
            }
        }
    }

    pub(crate) fn say(&mut self, message: ToHub) {
        self.input(Input::Message(message));
    }

    pub(crate) fn data(&mut self, upload: UploadId, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.input(Input::Data { upload, bytes });
    }

    /// Says it and hears one answer.
    pub(crate) fn ask(&mut self, message: ToHub) -> Option<ToLaptop> {
        let before = self.heard.len();
        self.say(message);
        self.heard.get(before).cloned()
    }
}
