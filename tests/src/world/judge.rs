//! Reads a repository back through `berth-restore` and says what is in it.

use std::collections::BTreeMap;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use berth_client_sdk::LaptopRepository;
use berth_radio_sim::SimDisk;
use berth_repository::{Id, KeyFile, KeyOwner, RecoveryKey, ScryptCost, Timestamp};
use berth_restore::{CONFIG_ID, Depth, Kind, Listed, ObjectKind, ObjectSource, Repository, Snapshot};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::World;
use super::source::{Picture, Shown, What};

/// The mark of a file that was cut in the middle.
pub(super) const PARTIAL_MARK: &str = ".berth-partial";

/// A repository in memory.
#[derive(Debug, Clone, Default)]
pub struct Objects(BTreeMap<(ObjectKind, Id), Bytes>);

impl Objects {
    /// From objects under their names on the wire.
    pub fn of_wire(objects: impl Iterator<Item = (berth_wire::ObjectKind, Id, Bytes)>) -> Self {
        use berth_wire::ObjectKind as Wire;
        let named = objects.filter_map(|(kind, id, bytes)| {
            Some(match kind {
                Wire::Config => ((ObjectKind::Config, CONFIG_ID), bytes),
                Wire::Key => ((ObjectKind::Key, id), bytes),
                Wire::Snapshot => ((ObjectKind::Snapshot, id), bytes),
                Wire::Index => ((ObjectKind::Index, id), bytes),
                Wire::Pack => ((ObjectKind::Pack, id), bytes),
                Wire::Page => return None,
            })
        });
        Self(named.collect())
    }

    /// From a restic repository in a folder of a simulated disk.
    #[must_use]
    pub fn of_disk(disk: &SimDisk, folder: &str) -> Self {
        let mut objects = BTreeMap::new();
        for (path, bytes) in disk.contents() {
            let Some(path) = path.strip_prefix(folder).and_then(|path| path.strip_prefix('/')) else {
                continue;
            };
            if path == "config" {
                objects.insert((ObjectKind::Config, CONFIG_ID), bytes.into());
                continue;
            }
            let kinds = [
                ObjectKind::Key,
                ObjectKind::Snapshot,
                ObjectKind::Index,
                ObjectKind::Pack,
            ];
            let kind = kinds.into_iter().find(|kind| path.starts_with(kind.folder()));
            let id = path.rsplit('/').next().and_then(Id::from_hex);
            if let (Some(kind), Some(id)) = (kind, id) {
                objects.insert((kind, id), bytes.into());
            }
        }
        Self(objects)
    }
}

impl ObjectSource for Objects {
    fn location(&self) -> String {
        "memory".into()
    }

    fn list(&self, kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>> {
        let of_kind = self.0.iter().filter(|((one, _), _)| *one == kind);
        Ok(of_kind
            .map(|((_, id), bytes)| (*id, Some(bytes.len() as u64)))
            .collect())
    }

    fn read(&self, kind: ObjectKind, id: Id, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let found = self.0.get(&(kind, id)).ok_or(io::ErrorKind::NotFound)?;
        let Some(range) = range else {
            return Ok(found.clone());
        };
        if range.end > found.len() as u64 || range.start > range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Both ends lie within what is in memory.
        Ok(found.slice(range.start as usize..range.end as usize))
    }
}

/// A repository opened for judging.
pub struct Judge {
    repository: Repository,
    /// Files that were read before, by their chunks.
    read: BTreeMap<Vec<Id>, What>,
}

impl Judge {
    /// Opens it with the laptop's recovery key.
    ///
    /// # Panics
    /// If it can't be opened, or holds another key file than the laptop's.
    #[must_use]
    pub fn open(mut objects: Objects, laptop: &LaptopRepository) -> Self {
        let keys: Vec<_> = objects.list(ObjectKind::Key).unwrap();
        assert!(!keys.is_empty(), "there is no key file");
        for (id, _) in keys {
            let bytes = objects.0.remove(&(ObjectKind::Key, id)).unwrap();
            assert_eq!(bytes, laptop.key_file(), "a key file that is not the laptop's");
        }
        // Opening the real one takes 0.1 s each time; `seeds` does it once in each process, the rest with a copy whose
        // scrypt costs nothing.
        let recovery = RecoveryKey::parse(laptop.recovery_key()).unwrap();
        let owner = KeyOwner {
            created: Timestamp::from_unix_ns(0),
            username: String::new(),
            hostname: String::new(),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let cheap = KeyFile::create(laptop.key(), &recovery, ScryptCost::CHEAPEST, &owner, &mut rng).unwrap();
        let id = Id::of(&cheap.bytes);
        objects.0.insert((ObjectKind::Key, id), cheap.bytes.into());
        let repository = Repository::open(objects, laptop.recovery_key()).unwrap();
        Self {
            repository,
            read: BTreeMap::new(),
        }
    }

    /// All snapshots, oldest first.
    ///
    /// # Panics
    /// If one can't be read.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let snapshots = self.repository.snapshots().unwrap();
        assert_eq!(self.repository.left_out(), []);
        snapshots
    }

    /// Reads every file of a snapshot.
    ///
    /// # Errors
    /// What can't be read, in one line.
    pub fn picture(&mut self, snapshot: &Snapshot) -> Result<Picture, String> {
        let mut entries = Vec::new();
        let each = &mut |path: &Path, entry: Listed<'_>| {
            entries.push((path.to_path_buf(), entry.cloned()));
            ControlFlow::Continue(())
        };
        self.repository
            .list(snapshot, Path::new("/"), Depth::Everything, each)
            .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
        let mut picture = Picture::new();
        for (path, entry) in entries {
            let entry = entry.map_err(|trouble| format!("{}: {trouble:?}", path.display()))?;
            let what = match entry.kind {
                Kind::File { content } => self
                    .file(content)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
                Kind::Folder { tree: Some(_) } => What::Folder,
                Kind::Folder { tree: None } => {
                    return Err(format!("{}: a folder without tree", path.display()));
                }
                Kind::Symlink { target } => What::Symlink(target),
                _ => What::Other,
            };
            let modified = entry
                .modified
                .map_or((0, 0), |time| (time.seconds, time.nanoseconds));
            let shown = Shown {
                what,
                mode: entry.mode,
                modified,
            };
            picture.insert(path, shown);
        }
        Ok(picture)
    }

    /// The content of one file of a snapshot, if it is there.
    #[must_use]
    pub fn content(&self, snapshot: &Snapshot, path: &Path) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        self.repository.cat(snapshot, path, &mut content).ok()?;
        Some(content)
    }

    fn file(&mut self, chunks: Vec<Id>) -> Result<What, String> {
        if let Some(what) = self.read.get(&chunks) {
            return Ok(what.clone());
        }
        let mut content = Vec::new();
        for id in &chunks {
            let chunk = self.repository.chunk(*id).map_err(|error| error.to_string())?;
            content.extend_from_slice(&chunk);
        }
        let what = What::File(Id::of(&content), content.len() as u64);
        self.read.insert(chunks, what.clone());
        Ok(what)
    }
}

impl World {
    /// Bytes of the files in the newest set on the hub, 0 if there is none.
    ///
    /// # Panics
    /// If one of them never had that content, and is not the marked beginning of one either.
    #[must_use]
    pub fn restorable_bytes(&self) -> u64 {
        let newest = self
            .hub
            .sets()
            .into_iter()
            .rev()
            .find_map(|set| Some(set.sealed()?.snapshot));
        let (Some(newest), Some(objects)) = (newest, self.hub.objects()) else {
            return 0;
        };
        let mut judge = Judge::open(objects, &self.laptop.repository);
        let snapshots = judge.snapshots();
        let snapshot = snapshots.iter().find(|one| one.id == newest).unwrap();
        let files = self.laptop.files.all();
        let mut bytes = 0;
        for (path, shown) in judge.picture(snapshot).unwrap() {
            let What::File(content, size) = shown.what else {
                continue;
            };
            bytes += size;
            if !self.laptop.files.was(&path, content) {
                let name = path.to_str().unwrap().strip_suffix(PARTIAL_MARK).unwrap();
                let there = judge.content(snapshot, &path).unwrap();
                assert!(files[Path::new(name)].starts_with(&there), "{}", path.display());
            }
        }
        bytes
    }
}
