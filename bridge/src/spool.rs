//! The spool: what laptops sent, as files. One restic repository per laptop, and beside it what is not sealed yet.
//!
//! Place: [`Spool::visit`] executes what [`crate::Receiver`] asks; [`crate::Forwarder`] reads sealed sets. Layout and
//! order of syncs: `docs/spool-and-journal.md`.
//! Invariant: a file under `repository/` is whole and verified; a set's `manifest` is there only when every object of
//! it is durable; the journal says nothing that the spool could not say again.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use berth_disk::SharedDisk;
use berth_repository::Id;
use berth_wire::{CONTROL_SIZE_BYTES_MAX, Manifest, ObjectEntry, OpenPack, SetRef, SetSeq, Signed};

use crate::names::{Folders, LAPTOPS};
use crate::room::Room;
use crate::{Journal, LaptopId, Repair, SetRecord, Signatures, StoreError, Visit};

/// Laptops of one hub.
pub const LAPTOPS_MAX: usize = 1_000;

/// Highest number of a set: far from where adding one could overflow.
pub const SET_SEQ_MAX: u64 = 1 << 48;

/// Room kept free, in bytes: sealing a cut set writes its open packs anew ([`OPEN_PACKS_MAX`] of
/// [`OBJECT_SIZE_BYTES_MAX`]) and must never fail for want of room.
///
/// [`OPEN_PACKS_MAX`]: berth_wire::OPEN_PACKS_MAX
/// [`OBJECT_SIZE_BYTES_MAX`]: berth_wire::OBJECT_SIZE_BYTES_MAX
pub const RESERVE_SIZE_BYTES: u64 =
    berth_wire::OPEN_PACKS_MAX as u64 * berth_wire::OBJECT_SIZE_BYTES_MAX + 32 * 1024 * 1024;

/// The hub's store. Shared by the visits and by forwarding.
pub struct Spool {
    pub(crate) disk: SharedDisk,
    pub(crate) journal: Journal,
    pub(crate) signatures: Arc<dyn Signatures>,
    pub(crate) reserve_bytes: u64,
    busy: Mutex<BTreeSet<LaptopId>>,
    room: Mutex<Room>,
    /// Read while a set is sealed, written while packs are removed: sealing counts on packs that are there already.
    reclaiming: RwLock<()>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl Spool {
    /// Opens the spool below the root of `disk`: finishes what a crash left half done, and makes the journal agree
    /// with the files. `now_ns` is the wall clock, nanoseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Journal`]: nothing is lost; put the disk right and open again. What cannot be
    /// read or put right of one laptop is no error but a [`Repair::Unreadable`] or [`Repair::Failed`]: the hub serves
    /// the others.
    pub fn open(
        disk: SharedDisk,
        journal: Journal,
        signatures: Arc<dyn Signatures>,
        now_ns: i64,
    ) -> Result<(Arc<Self>, Vec<Repair>), StoreError> {
        let spool = Self {
            disk,
            journal,
            signatures,
            reserve_bytes: RESERVE_SIZE_BYTES,
            busy: Mutex::default(),
            room: Mutex::default(),
            reclaiming: RwLock::default(),
        };
        let mut repairs = Vec::new();
        for laptop in spool.laptops()? {
            match spool.repair(&laptop, now_ns, &mut repairs) {
                Err(error @ StoreError::Journal(_)) => return Err(error),
                Err(error) => repairs.push(Repair::Failed {
                    laptop,
                    why: error.with_cause(),
                }),
                Ok(()) => {}
            }
        }
        Ok((Arc::new(spool), repairs))
    }

    /// Begins a visit. It holds the laptop's place until it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::TooManyLaptops`], [`StoreError::Disk`].
    pub fn visit(self: &Arc<Self>, laptop: LaptopId) -> Result<Visit, StoreError> {
        let known = self.laptops()?;
        if known.len() >= LAPTOPS_MAX && !known.contains(&laptop) {
            return Err(StoreError::TooManyLaptops);
        }
        if !self.busy().insert(laptop) {
            return Err(StoreError::Busy);
        }
        Ok(Visit::new(Arc::clone(self), laptop))
    }

    /// Laptops that ever opened a set here, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    pub fn laptops(&self) -> Result<Vec<LaptopId>, StoreError> {
        let names = self.list(LAPTOPS)?;
        Ok(names.iter().filter_map(|name| LaptopId::from_hex(name)).collect())
    }

    /// The sets of a laptop, in the order in which they were made; the open one is the last.
    ///
    /// # Errors
    /// [`StoreError::Journal`].
    pub fn sets(&self, laptop: &LaptopId) -> Result<Vec<SetRecord>, StoreError> {
        Ok(self.journal.sets(laptop)?)
    }

    /// The newest sealed set of a laptop.
    ///
    /// # Errors
    /// [`StoreError::Journal`].
    pub fn last(&self, laptop: &LaptopId) -> Result<Option<SetRef>, StoreError> {
        Ok(self.sets(laptop)?.iter().rev().find_map(SetRecord::set_ref))
    }

    /// SHA-256 of the `config` that the spool holds of a laptop.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    pub fn repository(&self, laptop: &LaptopId) -> Result<Option<Id>, StoreError> {
        let path = format!("{}/config", Folders::of(laptop).repository());
        Ok(self
            .read_if_there(&path, crate::SMALL_OBJECT_SIZE_BYTES_MAX)?
            .map(|bytes| Id::of(&bytes)))
    }

    /// Where, below the root of the disk, a laptop's repository lies; restic can read it there.
    #[must_use]
    pub fn repository_folder(laptop: &LaptopId) -> String {
        Folders::of(laptop).repository()
    }

    /// The signed manifest of a sealed set; `None` where there is no such set.
    ///
    /// # Errors
    /// [`StoreError::Disk`]; also when what is there does not decode.
    pub fn manifest(&self, laptop: &LaptopId, set: SetSeq) -> Result<Option<Signed>, StoreError> {
        let path = Folders::of(laptop).manifest(set);
        self.read_if_there(&path, CONTROL_SIZE_BYTES_MAX as u64)?
            .map(|bytes| decoded(&bytes, "reading a manifest"))
            .transpose()
    }

    /// Calls `each` with every object of a sealed set, in the manifest's order.
    ///
    /// # Errors
    /// Those of `each`; [`StoreError::Disk`], also when a page is not there or does not decode.
    pub(crate) fn for_each_object(
        &self,
        laptop: &LaptopId,
        manifest: &Manifest,
        mut each: impl FnMut(&ObjectEntry) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let folders = Folders::of(laptop);
        for page in &manifest.pages {
            let path = format!("{}/{page}", folders.pages(manifest.set));
            self.page(&path, page)?.iter().try_for_each(&mut each)?;
        }
        manifest.tail.iter().try_for_each(&mut each)
    }

    /// Reads and checks one page.
    pub(crate) fn page(&self, path: &str, id: &Id) -> Result<Vec<ObjectEntry>, StoreError> {
        let doing = "reading a page of a manifest";
        let bytes = self
            .disk
            .read(path, crate::SMALL_OBJECT_SIZE_BYTES_MAX)
            .map_err(StoreError::disk(doing))?;
        if Id::of(&bytes) != *id {
            return Err(damaged(doing));
        }
        decoded(&bytes, doing)
    }

    /// Decodes a signed manifest whose signature was checked when it came.
    pub(crate) fn decode_manifest(signed: &Signed) -> Result<Manifest, StoreError> {
        decoded(&signed.body, "reading a manifest")
    }

    /// Makes the folders of a laptop and of a visit, and makes them durable. Done at each visit: folders that an earlier
    /// process made may not have been synced.
    pub(crate) fn make_folders(&self, folders: &Folders, set: SetSeq) -> Result<(), StoreError> {
        let repository = folders.repository();
        let data = format!("{repository}/data");
        for folder in [
            folders.incoming(set),
            folders.tails(),
            folders.sets(),
            format!("{repository}/index"),
            format!("{repository}/keys"),
            format!("{repository}/locks"),
            format!("{repository}/snapshots"),
        ] {
            self.make_dir(&folder)?;
        }
        if self.list(&data)?.len() < 256 {
            for first in 0..=255_u8 {
                self.make_dir(&format!("{data}/{first:02x}"))?;
            }
        }
        for folder in [
            &data,
            &repository,
            &folders.incoming_all(),
            folders.laptop(),
            LAPTOPS,
            "",
        ] {
            self.sync_dir(folder)?;
        }
        Ok(())
    }

    pub(crate) fn make_dir(&self, path: &str) -> Result<(), StoreError> {
        self.disk
            .create_dir(path)
            .map_err(StoreError::disk("making a folder"))
    }

    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.disk.list(path).map_err(StoreError::disk("listing a folder"))
    }

    pub(crate) fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.disk
            .len(path)
            .map_err(StoreError::disk("looking for a file"))
    }

    pub(crate) fn sync_dir(&self, path: &str) -> Result<(), StoreError> {
        self.disk
            .sync_dir(path)
            .map_err(StoreError::disk("syncing a folder"))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.disk
            .rename(from, to)
            .map_err(StoreError::disk("moving a file"))
    }

    /// Removes a file; a missing one is no error.
    pub(crate) fn remove(&self, path: &str) -> Result<(), StoreError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::disk("removing a file")(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn read_if_there(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self.disk.read(path, max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::disk("reading a file")(error)),
        }
    }

    pub(crate) fn release(&self, laptop: &LaptopId) {
        self.busy().remove(laptop);
    }

    pub(crate) fn nothing_is_reclaimed(&self) -> RwLockReadGuard<'_, ()> {
        self.reclaiming.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn nothing_is_sealed(&self) -> RwLockWriteGuard<'_, ()> {
        self.reclaiming.write().unwrap_or_else(PoisonError::into_inner)
    }

    // Sums are whole at every moment too.
    pub(crate) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // A set of ids is whole at every moment: a thread that panicked while it held the lock harmed nothing.
    fn busy(&self) -> MutexGuard<'_, BTreeSet<LaptopId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `incoming/SET/checkpoint`: what the set is sealed as if the visit is cut.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct CheckpointFile {
    pub(crate) open: Vec<OpenPack>,
    pub(crate) manifest: Signed,
    pub(crate) lengths: Vec<SyncedLength>,
}

/// Bytes of an upload that are known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SyncedLength {
    pub(crate) number: u32,
    pub(crate) length: u64,
}

pub(crate) fn decoded<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    doing: &'static str,
) -> Result<T, StoreError> {
    serde_cbor::from_slice(bytes).map_err(|_| damaged(doing))
}

/// What is damaged is as good as not there: where something else says as much.
pub(crate) fn unless_damaged<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error) if error.is_damage() => Ok(None),
        read => read,
    }
}

pub(crate) fn encoded<T: serde::Serialize>(value: &T, doing: &'static str) -> Result<Vec<u8>, StoreError> {
    serde_cbor::ser::to_vec_packed(value)
        .map_err(|_| StoreError::disk(doing)(io::ErrorKind::InvalidData.into()))
}

pub(crate) fn damaged(doing: &'static str) -> StoreError {
    StoreError::Disk {
        doing,
        source: io::Error::new(io::ErrorKind::InvalidData, "damaged: not what was written there"),
    }
}
