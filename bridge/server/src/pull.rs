//! Copies laptops' sets from a hub into a folder of restic repositories, without any key, and confirms them to the hub.
//!
//! Place: `berthctl pull` on a backup server: [`HubClient`] -> [`FolderUpstream`].
//! Invariant: sets in their order, and of each config and keys, packs, index, snapshot; an object appears under its
//! name only when its bytes hash to it and are synced, a snapshot only when every object of its set, and the packs and
//! index of those before, are there. It may be cut anywhere: the next run goes on. What is there is neither replaced
//! nor removed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use berth_bridge::{
    FolderUpstream, LOCK_AGE_MAX_NS, NameTaken, Upstream, UpstreamError, repository_name, repository_path,
};
use berth_pairing::Name;
use berth_repository::Id;
use berth_wire::{ObjectEntry, ObjectKind};

use crate::client::{CallError, HubClient};
use crate::confirm::{BATCH_OBJECTS_MAX, Prover};
use crate::protocol::{Confirm, Confirming, ListedSet, Object, PULL, WaitingLaptop};

/// Held while a pull works on the folder. No laptop has such a name.
const LOCK_FILE: &str = "~berth-pull.lock";

/// Bytes that are read at once.
const PIECE_SIZE_BYTES: usize = 1024 * 1024;

/// What happens while sets are pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullEvent<'a> {
    /// What of a set is to be copied is known.
    Begun {
        /// Whose.
        laptop: &'a str,
        /// The set.
        set: u64,
        /// Objects.
        objects: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// One more object is there.
    Copied {
        /// Whose.
        laptop: &'a str,
        /// The set.
        set: u64,
        /// Bytes of the set that were copied until now.
        bytes: u64,
    },
    /// All of a set is there.
    Set {
        /// Whose.
        laptop: &'a str,
        /// The set.
        set: u64,
        /// The hub counts it as upstream.
        is_confirmed: bool,
    },
    /// A laptop's sets could not be pulled; the others go on.
    Failed {
        /// Whose.
        laptop: &'a str,
        /// Why, in one line.
        why: String,
    },
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullSummary {
    /// Sets of which something was copied.
    pub sets: u64,
    /// Objects that were copied.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Sets that the hub counts as upstream now, and did not before.
    pub confirmed: u64,
    /// Laptops whose sets could not be pulled.
    pub failed: u64,
}

/// Why nothing, or nothing of a laptop, could be pulled. What is there stays; run it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The hub.
    #[error(transparent)]
    Hub(#[from] CallError),
    /// The folder can't be used.
    #[error("the folder {folder} can't be used ({why}): make it, or mount its disk")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Another pull works there.
    #[error("another `berthctl pull` works on {0}: wait until it is done")]
    Busy(PathBuf),
    /// No laptop of this name.
    #[error("the hub has no sets of a laptop {0:?}")]
    NoLaptop(String),
    /// Another repository lies in the laptop's place.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// The repository can't be written or read.
    #[error("{} ({})", .0, .0.source)]
    Repository(#[from] UpstreamError),
    /// Somebody works on it.
    #[error("somebody works on {0} (a lock of restic's is there): run it again when they are done")]
    Locked(PathBuf),
    /// Other bytes lie under a name.
    #[error("{0} has other bytes than its name says: remove it, and run this again")]
    Foreign(PathBuf),
    /// Objects vanished meanwhile.
    #[error("objects vanished from {0} meanwhile: look who removes them, and run this again")]
    Vanished(PathBuf),
}

/// Pulls what `folder` lacks of every laptop, or of those named. `now_ns`: wall clock, nanoseconds since 1970.
///
/// # Errors
/// [`PullError`] where nothing could be begun; what goes wrong with one laptop is [`PullEvent::Failed`].
pub fn pull(
    hub: &HubClient,
    folder: &Path,
    laptops: &[String],
    now_ns: &dyn Fn() -> i64,
    tell: &mut dyn FnMut(&PullEvent<'_>),
) -> Result<PullSummary, PullError> {
    let _lock = lock(folder)?;
    let waiting = hub.waiting()?;
    let is_upstream = waiting.upstream.as_deref() == Some(&format!("{PULL}{}", hub.server()));
    if let Some(missing) = laptops
        .iter()
        .find(|name| waiting.laptops.iter().all(|one| !is_meant(one, name)))
    {
        return Err(PullError::NoLaptop(missing.clone()));
    }
    // Files under way are named after it: other hubs' are left alone.
    let hub_id = *Id::of(waiting.hub.as_bytes()).as_bytes();
    let mut summary = PullSummary::default();
    for one in &waiting.laptops {
        let wanted = laptops.is_empty() || laptops.iter().any(|name| is_meant(one, name));
        let Some(repository) = one.repository.filter(|_| wanted) else {
            continue;
        };
        let mut of_laptop = || {
            let name = Name::reduce(&one.laptop);
            let config_in = |name: &str| FolderUpstream::config_in(&folder.join(name));
            let root = folder.join(repository_name(&name, &repository, config_in)??);
            let mut place = Place {
                hub,
                laptop: one,
                upstream: FolderUpstream::new(&root, &hub_id),
                root,
                is_upstream,
                now_ns,
            };
            place.pull(&mut summary, tell)
        };
        if let Err(error) = of_laptop() {
            summary.failed += 1;
            tell(&PullEvent::Failed {
                laptop: &one.laptop,
                why: error.to_string(),
            });
        }
    }
    Ok(summary)
}

fn is_meant(laptop: &WaitingLaptop, text: &str) -> bool {
    laptop.laptop == text || laptop.key == text
}

fn lock(folder: &Path) -> Result<File, PullError> {
    let unusable = |why| PullError::Folder {
        folder: folder.to_owned(),
        why,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join(LOCK_FILE))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PullError::Busy(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// The repository of one laptop.
struct Place<'a> {
    hub: &'a HubClient,
    laptop: &'a WaitingLaptop,
    upstream: FolderUpstream,
    root: PathBuf,
    is_upstream: bool,
    now_ns: &'a dyn Fn() -> i64,
}

type There = BTreeMap<(ObjectKind, Id), u64>;

impl Place<'_> {
    fn pull(
        &mut self,
        summary: &mut PullSummary,
        tell: &mut dyn FnMut(&PullEvent<'_>),
    ) -> Result<(), PullError> {
        let key = &self.laptop.key;
        let sets = self.hub.sets(key)?;
        let mut there = self.there()?;
        // Packs and index of the sets before: the next one's snapshot may need them.
        let mut before: Option<Vec<ObjectEntry>> = None;
        for ListedSet {
            set,
            snapshot,
            confirmed,
        } in sets
        {
            // What was confirmed may have been forgotten here since, for good. Where this is another copy, only the
            // snapshot tells.
            let is_done = if self.is_upstream {
                confirmed
            } else {
                there.contains_key(&(ObjectKind::Snapshot, snapshot))
            };
            if is_done {
                continue;
            }
            let own = entries(&self.hub.set(key, set)?)?;
            let before = match &mut before {
                Some(before) => before,
                none => none.insert(entries(&self.hub.before(key, set)?)?),
            };
            let missing = self.missing(&there, before.iter().chain(&own))?;
            self.copy(set, &missing, summary, tell)?;
            if !missing.is_empty() {
                there = self.there()?;
            }
            if !self.missing(&there, before.iter().chain(&own))?.is_empty() {
                return Err(PullError::Vanished(self.root.clone()));
            }
            self.wait_for_nobody()?;
            if self.is_upstream {
                self.confirm(set, &own)?;
                summary.confirmed += 1;
            }
            let is_needed = |entry: &ObjectEntry| matches!(entry.kind, ObjectKind::Pack | ObjectKind::Index);
            before.extend(own.into_iter().filter(is_needed));
            tell(&PullEvent::Set {
                laptop: &self.laptop.laptop,
                set,
                is_confirmed: self.is_upstream,
            });
        }
        Ok(())
    }

    /// All that is there.
    fn there(&mut self) -> Result<There, PullError> {
        let mut there = There::new();
        for kind in [
            ObjectKind::Key,
            ObjectKind::Pack,
            ObjectKind::Index,
            ObjectKind::Snapshot,
        ] {
            self.upstream.list(kind, &mut |id, length| {
                there.insert((kind, id), length);
            })?;
        }
        if let Some(config) = self.upstream.config()? {
            there.insert((ObjectKind::Config, Id::of(&config)), config.len() as u64);
        }
        Ok(there)
    }

    fn missing<'a>(
        &self,
        there: &There,
        wanted: impl Iterator<Item = &'a ObjectEntry>,
    ) -> Result<Vec<ObjectEntry>, PullError> {
        let mut missing = Vec::new();
        for entry in wanted {
            match there.get(&(entry.kind, entry.id)) {
                None => missing.push(*entry),
                Some(length) if *length == entry.length => {}
                Some(_) => return Err(PullError::Foreign(self.path(entry))),
            }
        }
        // What the sets before lack comes with this one, the snapshot last.
        missing.sort_by_key(|entry| order(entry.kind));
        Ok(missing)
    }

    fn copy(
        &mut self,
        set: u64,
        missing: &[ObjectEntry],
        summary: &mut PullSummary,
        tell: &mut dyn FnMut(&PullEvent<'_>),
    ) -> Result<(), PullError> {
        if missing.is_empty() {
            return Ok(());
        }
        self.wait_for_nobody()?;
        self.upstream.prepare()?;
        let laptop = &self.laptop.laptop;
        tell(&PullEvent::Begun {
            laptop,
            set,
            objects: missing.len() as u64,
            bytes: missing.iter().map(|entry| entry.length).sum(),
        });
        summary.sets += 1;
        let mut bytes = 0;
        for entry in missing {
            if entry.kind == ObjectKind::Snapshot {
                self.wait_for_nobody()?;
            }
            let mut source = self.hub.object(&self.laptop.key, entry)?;
            self.upstream
                .write(entry.kind, &entry.id, entry.length, &mut source)?;
            bytes += entry.length;
            summary.objects += 1;
            summary.bytes += entry.length;
            tell(&PullEvent::Copied { laptop, set, bytes });
        }
        Ok(())
    }

    /// Whoever prunes would remove what no index names yet.
    fn wait_for_nobody(&mut self) -> Result<(), PullError> {
        let old_ns = (self.now_ns)().saturating_sub(LOCK_AGE_MAX_NS);
        let is_locked = self
            .upstream
            .locks()?
            .iter()
            .any(|lock| lock.changed_at_ns > old_ns);
        if is_locked {
            return Err(PullError::Locked(self.root.clone()));
        }
        Ok(())
    }

    /// Proves to the hub that all of a set is here.
    fn confirm(&self, set: u64, objects: &[ObjectEntry]) -> Result<(), PullError> {
        let mut said = Confirm::default();
        // Each answer asks for at least one more.
        for _ in 0..=objects.len() {
            match self.hub.confirm(&self.laptop.key, set, &said)? {
                Confirming::Confirmed => return Ok(()),
                Confirming::Prove { nonce, from, count } => {
                    let asked = objects.iter().skip(from).take(count.min(BATCH_OBJECTS_MAX));
                    let proofs = asked.map(|entry| self.proof(&nonce, entry));
                    said = Confirm {
                        nonce: Some(nonce),
                        proofs: proofs.collect::<Result<_, _>>()?,
                    };
                }
            }
        }
        Err(CallError::Foreign.into())
    }

    fn proof(&self, nonce: &Id, entry: &ObjectEntry) -> Result<Id, PullError> {
        let failed = |source| UpstreamError {
            doing: "reading an object back",
            source,
        };
        let mut prover = Prover::new(nonce);
        let mut file = File::open(self.path(entry)).map_err(failed)?;
        let mut piece = vec![0; PIECE_SIZE_BYTES];
        loop {
            match file.read(&mut piece).map_err(failed)? {
                0 => return Ok(prover.proof()),
                size => prover.take(piece.get(..size).unwrap_or_default()),
            }
        }
    }

    fn path(&self, entry: &ObjectEntry) -> PathBuf {
        self.root.join(repository_path(entry.kind, &entry.id))
    }
}

const fn order(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Config => 0,
        ObjectKind::Key => 1,
        ObjectKind::Pack => 2,
        ObjectKind::Index => 3,
        ObjectKind::Snapshot | ObjectKind::Page => 4,
    }
}

fn entries(objects: &[Object]) -> Result<Vec<ObjectEntry>, CallError> {
    let entries = objects.iter().map(Object::entry);
    entries.collect::<Option<_>>().ok_or(CallError::Foreign)
}
