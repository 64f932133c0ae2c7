//! A repository opened for reading: what it holds, entry by entry.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use berth_repository::{Id, MasterKey};
use bytes::Bytes;

use crate::engine::{self, Engine, Opening};
use crate::{
    Entry, Existing, Kind, LeftOut, ObjectSource, Progress, Report, RestoreError, Time, Trouble, names,
    restore,
};

/// A snapshot: what one visit backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id, also the name of its file.
    pub id: Id,
    /// When it was made.
    pub time: Time,
    /// The tree of its root.
    pub tree: Id,
    /// Its tags, sorted: `complete` or `partial`, `hub:NAME`, `set:NUMBER`.
    pub tags: Vec<String>,
    /// The laptop.
    pub hostname: String,
    /// Who ran the backup.
    pub username: String,
    /// The absolute paths that were backed up, sorted.
    pub paths: Vec<PathBuf>,
}

/// How far [`Repository::list`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The entries of the folder itself.
    Folder,
    /// Everything below it too.
    Everything,
}

/// An entry, or why those of a folder can't be listed.
pub type Listed<'a> = Result<&'a Entry, Trouble>;

/// How much [`Repository::check`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckDepth {
    /// Index, trees, and that every pack is there with the right size.
    Structure,
    /// All that, and every byte of every pack.
    Data,
}

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Strange, but nothing is lost.
    Warning,
    /// Something can't be restored.
    Error,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one line.
    pub text: String,
}

/// A repository opened for reading.
///
/// The index is read when it is first needed and kept in memory (about 60 bytes a chunk). What is added to the
/// repository after that is not seen: open it again.
pub struct Repository {
    opening: Opening,
    engine: OnceLock<Engine>,
}

impl Repository {
    /// Opens the repository in `source` with its recovery key (its password, in restic's words).
    ///
    /// # Errors
    /// [`RestoreError::NoRepository`], [`RestoreError::WrongKey`], [`RestoreError::Unreadable`].
    pub fn open(source: impl ObjectSource, recovery_key: &str) -> Result<Self, RestoreError> {
        Ok(Self {
            opening: engine::open(Arc::new(source), recovery_key)?,
            engine: OnceLock::new(),
        })
    }

    /// Opens the repository in `source` with its master key: no key file is needed.
    ///
    /// # Errors
    /// [`RestoreError::NoRepository`], [`RestoreError::Unreadable`].
    pub fn open_by_master_key(source: impl ObjectSource, key: &MasterKey) -> Result<Self, RestoreError> {
        Ok(Self {
            opening: engine::open_by_master_key(Arc::new(source), key.clone())?,
            engine: OnceLock::new(),
        })
    }

    /// What could not be read up to now and was done without, each object once. Where a snapshot is among them, a list
    /// of snapshots is not all; where an index file is, content may be missing that is there.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.opening.left_out()
    }

    /// All snapshots that can be read, oldest first; those of one instant by id. The others join
    /// [`Repository::left_out`].
    ///
    /// # Errors
    /// [`RestoreError::Unreadable`] if they can't be listed, [`RestoreError::Lost`].
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, RestoreError> {
        let mut snapshots = self.opening.snapshots()?;
        snapshots.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
        Ok(snapshots)
    }

    /// Calls `each` with every entry at or below `path` (`/` for all), by its absolute path, a folder before what it
    /// holds, until there are no more or it breaks off. A path that is a file gives that one entry. A folder below
    /// `path` whose entries can't be read is named once more, with the reason, and the rest goes on.
    ///
    /// # Errors
    /// [`RestoreError::NotInSnapshot`], [`RestoreError::BadPath`], [`RestoreError::Unreadable`], [`RestoreError::Lost`]:
    /// what came before that was passed on already.
    pub fn list(
        &self,
        snapshot: &Snapshot,
        path: &Path,
        depth: Depth,
        each: &mut dyn FnMut(&Path, Listed<'_>) -> ControlFlow<()>,
    ) -> Result<(), RestoreError> {
        let engine = self.engine()?;
        let top = Path::new("/").join(names::within(path)?);
        let listed = match self.entry(snapshot, path)? {
            None => list_folder(engine, top, snapshot.tree, depth, each),
            Some(Entry {
                kind: Kind::Folder { tree: Some(tree) },
                ..
            }) => list_folder(engine, top, tree, depth, each),
            Some(entry) => {
                // The last one anyway.
                let _ = each(&top, Ok(&entry));
                Ok(())
            }
        };
        engine.forget_expected();
        listed
    }

    /// The entry at `path`; `None` for the root, which has none.
    ///
    /// # Errors
    /// [`RestoreError::NotInSnapshot`], [`RestoreError::BadPath`], [`RestoreError::Unreadable`].
    pub fn entry(&self, snapshot: &Snapshot, path: &Path) -> Result<Option<Entry>, RestoreError> {
        let engine = self.engine()?;
        let missing = || RestoreError::NotInSnapshot {
            path: path.to_path_buf(),
        };
        let mut tree = Some(snapshot.tree);
        let mut found = None;
        for name in &names::within(path)? {
            let entry = read_tree(engine, tree.ok_or_else(missing)?)?
                .into_iter()
                .find(|entry| entry.name == name)
                .ok_or_else(missing)?;
            tree = match entry.kind {
                Kind::Folder { tree } => tree,
                _ => None,
            };
            found = Some(entry);
        }
        Ok(found)
    }

    /// Writes the content of the file at `path` to `output`; returns its size in bytes.
    ///
    /// # Errors
    /// [`RestoreError::NotAFile`], [`RestoreError::NotInSnapshot`], [`RestoreError::BadPath`];
    /// [`RestoreError::Unreadable`] and [`RestoreError::Output`] may come after a part of the content was written.
    pub fn cat(&self, snapshot: &Snapshot, path: &Path, output: &mut dyn Write) -> Result<u64, RestoreError> {
        let Some(Entry {
            kind: Kind::File { content },
            ..
        }) = self.entry(snapshot, path)?
        else {
            return Err(RestoreError::NotAFile {
                path: path.to_path_buf(),
            });
        };
        let copied = copy(self.engine()?, &content, output);
        self.engine()?.forget_expected();
        copied
    }

    /// The content of one chunk, checked against its id.
    ///
    /// # Errors
    /// [`RestoreError::Unreadable`], [`RestoreError::Lost`].
    pub fn chunk(&self, id: Id) -> Result<Bytes, RestoreError> {
        read_chunk(self.engine()?, id)
    }

    /// Restores what lies at or below `paths` (nothing named: all) under `into`, by full path as restic does:
    /// `/home/a` becomes `INTO/home/a`, with the folders on the way. `into` is made if it is missing.
    ///
    /// Restored are names, content, permissions (setuid, setgid, sticky too), times to the nanosecond, symlinks, hard
    /// links, extended attributes, fifos, and as root owners and device nodes. Without root, setuid and setgid are
    /// dropped where the owner is not the one who restores. Runs of zeros become holes. Sockets are left out and counted.
    ///
    /// What is there already as the snapshot has it is left alone and not read again, so that a restore that was cut is
    /// taken up by doing it again. `existing` says what becomes of files that are there and differ; a file is replaced in
    /// one step when the new one is whole. An existing folder is kept with what is in it, and gets the permissions and
    /// times of the snapshot. Symlinks that lie in `into` are never followed. What can't be restored is named in the report
    /// and the rest goes on. Nothing is synced: after a power cut, restore again.
    ///
    /// `on_progress` is called from several threads, after every file and every few MiB of a large one.
    ///
    /// # Errors
    /// [`RestoreError::NotInSnapshot`] (nothing was written then), [`RestoreError::BadPath`],
    /// [`RestoreError::Unreadable`] for index and root; [`RestoreError::Lost`], [`RestoreError::Target`] if `into` can't be
    /// made or the disk is full: what was restored before stays.
    pub fn restore(
        &self,
        snapshot: &Snapshot,
        paths: &[PathBuf],
        into: &Path,
        existing: Existing,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Report, RestoreError> {
        for path in paths {
            self.entry(snapshot, path)?;
        }
        let wanted = paths
            .iter()
            .map(|path| names::within(path))
            .collect::<Result<Vec<_>, _>>()?;
        let engine = self.engine()?;
        let restored = restore::restore(engine, snapshot.tree, &wanted, into, existing, on_progress);
        engine.forget_expected();
        restored
    }

    /// Looks for damage in the whole repository. No finding of [`Severity::Error`]: every snapshot can be restored.
    ///
    /// # Errors
    /// [`RestoreError::Unreadable`] where not even the check could be done.
    pub fn check(&self, depth: CheckDepth) -> Result<Vec<Finding>, RestoreError> {
        self.opening.check(depth == CheckDepth::Data)
    }

    fn engine(&self) -> Result<&Engine, RestoreError> {
        match self.engine.get() {
            Some(engine) => Ok(engine),
            None => {
                let engine = self.opening.index()?;
                Ok(self.engine.get_or_init(|| engine))
            }
        }
    }
}

pub(crate) fn read_tree(engine: &Engine, id: Id) -> Result<Vec<Entry>, RestoreError> {
    engine
        .tree(id)
        .map_err(|source| engine.unreadable(&format!("tree {id}"), source))
}

fn read_chunk(engine: &Engine, id: Id) -> Result<Bytes, RestoreError> {
    engine
        .chunk(id)
        .map_err(|source| engine.unreadable(&format!("chunk {id}"), source))
}

fn list_folder(
    engine: &Engine,
    mut folder: PathBuf,
    tree: Id,
    depth: Depth,
    each: &mut dyn FnMut(&Path, Listed<'_>) -> ControlFlow<()>,
) -> Result<(), RestoreError> {
    let mut read = Ok(read_tree(engine, tree)?);
    let mut folders: Vec<(PathBuf, Option<Id>)> = Vec::new();
    loop {
        match read {
            Ok(entries) => {
                let mut below = Vec::new();
                for entry in entries {
                    let path = folder.join(&entry.name);
                    if each(&path, Ok(&entry)).is_break() {
                        return Ok(());
                    }
                    if let (Kind::Folder { tree }, Depth::Everything) = (entry.kind, depth) {
                        below.push((path, tree));
                    }
                }
                engine.expect_trees(below.iter().filter_map(|(_, tree)| *tree));
                folders.extend(below.into_iter().rev());
            }
            Err(Trouble::Content(source)) if engine.is_lost() => {
                return Err(engine.unreadable("a tree", source));
            }
            Err(trouble) => {
                if each(&folder, Err(trouble)).is_break() {
                    return Ok(());
                }
            }
        }
        let Some((next, tree)) = folders.pop() else {
            return Ok(());
        };
        folder = next;
        read = tree
            .ok_or(Trouble::NoTree)
            .and_then(|tree| engine.tree(tree).map_err(Trouble::Content));
    }
}

fn copy(engine: &Engine, content: &[Id], output: &mut dyn Write) -> Result<u64, RestoreError> {
    let mut size_bytes = 0;
    for window in content.chunks(restore::CHUNKS_PLANNED_MAX) {
        engine.expect_chunks(window);
        for id in window {
            let bytes = read_chunk(engine, *id)?;
            output.write_all(&bytes).map_err(RestoreError::Output)?;
            size_bytes += bytes.len() as u64;
        }
    }
    output.flush().map_err(RestoreError::Output)?;
    Ok(size_bytes)
}
