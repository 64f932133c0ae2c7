//! The only place that knows `rustic_core`: it decodes snapshots, index, trees and chunks.
//!
//! Place: [`ObjectSource`] -> [`ReadAhead`] -> `rustic_core`'s backend -> [`Engine`], in our own types.
//! Invariant: nothing is written and no cache is made; what `rustic_core` panics on is an error here; a chunk or a tree
//! whose content is not what its id says is an error too (a source that lies can give the bytes of another one). A
//! snapshot, index or key file that can't be read is left out, and never without a [`LeftOut`].

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use berth_repository::{Id, IndexFile, KeyError, KeyFile, MasterKey, open_file};
use bytes::Bytes;
use rustic_core::repofile::{BlobType, Node, NodeType, SnapshotFile, Tree};
use rustic_core::{
    BlobId, BytesList, CheckOptions, CheckResults, Credentials, DataId, ErrorKind, FileType,
    IndexedFullStatus, OpenStatus, PackedId, ReadBackend, Repository, RepositoryBackends, RepositoryOptions,
    RusticError, RusticResult, TreeId, WriteBackend, jiff,
};

use crate::ahead::{Place, ReadAhead};
use crate::repository::{Finding, Severity, Snapshot};
use crate::{Entry, ExtendedAttribute, Kind, LeftOut, ObjectKind, ObjectSource, RestoreError, Time};

/// Chunks that are read ahead: enough to bridge the pauses of a disk that is written to.
const CHUNKS_AHEAD_BYTES_MAX: u64 = 24 << 20;

/// Trees that are read ahead.
const TREES_AHEAD_BYTES_MAX: u64 = 4 << 20;

/// A check panics too where its own threads take over 100 ms to end, as they do on a busy machine. What is damaged makes
/// it panic every time.
const CHECK_TRIES: usize = 3;

const OTHER_CONTENT: &str = "its content is not what its name says";

/// An open repository with its whole index in memory (about 60 bytes a chunk).
pub(crate) struct Engine {
    repository: Repository<IndexedFullStatus>,
    backend: Arc<Backend>,
}

/// Opens with a password. Reads key files and config, nothing else.
pub(crate) fn open(source: Arc<dyn ObjectSource>, password: &str) -> Result<Opening, RestoreError> {
    let backend = Backend::of_repository(source)?;
    let keys = match backend.list(ObjectKind::Key) {
        Ok(keys) => keys,
        Err(error) => return Err(backend.unreadable("the key files", Box::new(error))),
    };
    for (id, _) in keys {
        let read = backend.read(ObjectKind::Key, id, None);
        match read.map(|bytes| (KeyFile::open(&bytes, password), Id::of(&bytes) == id)) {
            Ok((Ok(key), _)) => return Opening::new(backend, key),
            // Of another password.
            Ok((Err(KeyError::WrongPassword), true)) => {}
            Ok((Err(_), false)) => backend.leave_out(ObjectKind::Key, id, &OTHER_CONTENT)?,
            Ok((Err(error), true)) => backend.leave_out(ObjectKind::Key, id, &error)?,
            Err(error) => backend.leave_out(ObjectKind::Key, id, &error)?,
        }
    }
    match backend.left_out().pop() {
        Some(damaged) => Err(backend.unreadable("the repository", Box::new(damaged))),
        None => Err(RestoreError::WrongKey {
            location: backend.source.location(),
        }),
    }
}

/// Opens without a key file. Reads the config, nothing else.
pub(crate) fn open_by_master_key(
    source: Arc<dyn ObjectSource>,
    key: MasterKey,
) -> Result<Opening, RestoreError> {
    Opening::new(Backend::of_repository(source)?, key)
}

fn unlock(backends: &RepositoryBackends, key: &Credentials) -> RusticResult<Repository<OpenStatus>> {
    Repository::new(&RepositoryOptions::default().no_cache(true), backends)?.open(key)
}

/// A repository whose key is known and whose index is not read yet.
pub(crate) struct Opening {
    backends: RepositoryBackends,
    repository: Repository<OpenStatus>,
    backend: Arc<Backend>,
    key: MasterKey,
}

impl Opening {
    fn new(backend: Backend, key: MasterKey) -> Result<Self, RestoreError> {
        let backend = Arc::new(backend);
        let handle = Handle {
            backend: Arc::clone(&backend),
            key: key.clone(),
        };
        let backends = RepositoryBackends::new(Arc::new(handle), None);
        match guarded(|| unlock(&backends, &Credentials::Masterkey(foreign_key(&key)))) {
            Ok(repository) => Ok(Self {
                backends,
                repository,
                backend,
                key,
            }),
            Err(failure) => Err(backend.unreadable("the repository", failure.into())),
        }
    }

    /// One by one, so that one that can't be read costs no other.
    pub(crate) fn snapshots(&self) -> Result<Vec<Snapshot>, RestoreError> {
        let listed = self
            .backend
            .list(ObjectKind::Snapshot)
            .map_err(|error| self.backend.unreadable("the snapshots", Box::new(error)))?;
        let mut snapshots = Vec::with_capacity(listed.len());
        for (id, _) in listed {
            match self.snapshot(id) {
                Ok(one) => snapshots.push(one),
                Err(why) => self.backend.leave_out(ObjectKind::Snapshot, id, &why)?,
            }
        }
        Ok(snapshots)
    }

    fn snapshot(&self, id: Id) -> Result<Snapshot, Cause> {
        let bytes = self.backend.whole(ObjectKind::Snapshot, id)?;
        let file = serde_json::from_slice(&open_file(&self.key, &bytes)?)?;
        Ok(snapshot(id, file))
    }

    /// What could not be read up to now and was done without.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        self.backend.left_out()
    }

    pub(crate) fn check(&self, read_data: bool) -> Result<Vec<Finding>, RestoreError> {
        let snapshots = self.snapshots()?;
        let trees: Vec<_> = snapshots.iter().map(|snapshot| of_blob(snapshot.tree)).collect();
        let options = CheckOptions::default().read_data(read_data);
        let check = |_| guarded(|| self.repository.check_with_trees(options, trees.clone()));
        let results = (0..CHECK_TRIES)
            .map(check)
            .find(|checked| !matches!(checked, Err(Failure::Panic)))
            .unwrap_or(Err(Failure::Panic))
            .map_err(|failure| self.backend.unreadable("the repository", failure.into()))?;
        let finding = |(level, error)| {
            let text = one_line(&format!("{error}"));
            // The type of `level` has no public name; asking for the verdict on this one result tells it.
            let severity = match CheckResults(vec![(level, error)]).is_ok() {
                Ok(()) => Severity::Warning,
                Err(_) => Severity::Error,
            };
            Finding { severity, text }
        };
        let left_out = self.left_out().into_iter().map(|object| Finding {
            severity: match object.kind {
                // Another one has opened the repository.
                ObjectKind::Key => Severity::Warning,
                _ => Severity::Error,
            },
            text: object.to_string(),
        });
        Ok(results.0.into_iter().map(finding).chain(left_out).collect())
    }

    /// Reads the whole index. `self` stays usable: indexing consumes a `rustic_core` repository, so a second one is
    /// opened, by master key, which spares the slow key derivation.
    pub(crate) fn index(&self) -> Result<Engine, RestoreError> {
        let key = Credentials::Masterkey(foreign_key(&self.key));
        guarded(|| unlock(&self.backends, &key)?.to_indexed())
            .map(|repository| Engine {
                repository,
                backend: Arc::clone(&self.backend),
            })
            .map_err(|failure| self.backend.unreadable("the index", failure.into()))
    }
}

type Cause = Box<dyn Error + Send + Sync>;

impl Engine {
    /// The entries of a tree, in its order.
    pub(crate) fn tree(&self, id: Id) -> Result<Vec<Entry>, Cause> {
        let bytes = self.blob(id, BlobType::Tree);
        if let Some(place) = self.place::<TreeId>(id) {
            self.backend.trees.release(&place);
        }
        let tree: Tree = serde_json::from_slice(&bytes?)?;
        Ok(tree.nodes.into_iter().map(entry).collect())
    }

    /// The content of a chunk.
    pub(crate) fn chunk(&self, id: Id) -> Result<Bytes, Cause> {
        let bytes = self.blob(id, BlobType::Data);
        self.pass_over(id);
        bytes
    }

    /// A chunk that was expected is not needed after all.
    pub(crate) fn pass_over(&self, id: Id) {
        if let Some(place) = self.chunk_place(id) {
            self.backend.chunks.release(&place);
        }
    }

    /// These chunks will be read, in this order, and each then be read or passed over once.
    pub(crate) fn expect_chunks<'a>(&self, ids: impl IntoIterator<Item = &'a Id>) {
        let places = ids.into_iter().filter_map(|id| self.chunk_place(*id));
        self.backend.chunks.expect(places);
    }

    /// These trees will be read, in this order.
    pub(crate) fn expect_trees(&self, ids: impl Iterator<Item = Id>) {
        self.backend
            .trees
            .expect(ids.filter_map(|id| self.place::<TreeId>(id)));
    }

    /// What was expected and not read is not needed any more.
    pub(crate) fn forget_expected(&self) {
        self.backend.chunks.forget();
        self.backend.trees.forget();
    }

    /// Where a chunk lies, if the index knows.
    pub(crate) fn chunk_place(&self, id: Id) -> Option<Place> {
        self.place::<DataId>(id)
    }

    /// Size of a chunk's content in bytes, if the index knows.
    pub(crate) fn chunk_size_bytes(&self, id: Id) -> Option<u32> {
        let id: DataId = of_blob(id);
        let entry = guarded(|| self.repository.get_index_entry(&id)).ok()?;
        Some(entry.data_length())
    }

    /// Whether nothing more will come from the source.
    pub(crate) fn is_lost(&self) -> bool {
        self.backend.is_lost.load(Ordering::Relaxed)
    }

    /// What could not be read, or that the source is lost.
    pub(crate) fn unreadable(&self, what: &str, source: Cause) -> RestoreError {
        self.backend.unreadable(what, source)
    }

    fn blob(&self, id: Id, kind: BlobType) -> Result<Bytes, Cause> {
        let bytes = guarded(|| self.repository.get_blob_cached(&foreign(id).into(), kind))?;
        if Id::of(&bytes) == id {
            Ok(bytes)
        } else {
            Err(OTHER_CONTENT.into())
        }
    }

    fn place<T: PackedId>(&self, id: Id) -> Option<Place> {
        let id: T = of_blob(id);
        let entry = guarded(|| self.repository.get_index_entry(&id)).ok()?;
        let start = u64::from(entry.location.offset);
        Some(Place {
            pack: ours(&entry.pack),
            range: start..start + u64::from(entry.location.length),
        })
    }
}

// --- Failures -------------------------------------------------------------------------------------------------------

enum Failure {
    Rustic(Box<RusticError>),
    Panic,
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rustic(error) => one_line(&error.display_log()).into(),
            Failure::Panic => "the repository is damaged in a way that its reader does not understand".into(),
        }
    }
}

/// Runs `rustic_core`, which panics on some damages.
fn guarded<T>(call: impl FnOnce() -> RusticResult<T>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| Failure::Panic)?
        .map_err(Failure::Rustic)
}

fn one_line(text: &str) -> String {
    text.trim_start_matches("Error: ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

// --- Their types in ours ----------------------------------------------------------------------------------------------

fn foreign(id: Id) -> rustic_core::Id {
    rustic_core::Id::new(*id.as_bytes())
}

fn of_blob<T: PackedId>(id: Id) -> T {
    T::from(BlobId::from(foreign(id)))
}

fn foreign_key(key: &MasterKey) -> rustic_core::repofile::MasterKey {
    let bytes = key.to_bytes();
    let (encrypt, mac) = bytes.split_at(32);
    let (k, r) = mac.split_at(16);
    // Their type of `mac` has no public name; `default` draws a random key.
    let mut foreign = rustic_core::repofile::MasterKey {
        encrypt: encrypt.to_vec(),
        ..Default::default()
    };
    foreign.mac.k = k.to_vec();
    foreign.mac.r = r.to_vec();
    foreign
}

/// Their hexadecimal form is the only public way to the bytes.
fn ours(id: &rustic_core::Id) -> Id {
    Id::from_hex(&id.to_hex()).expect("64 lower-case hexadecimal digits")
}

fn time(timestamp: jiff::Timestamp) -> Time {
    let nanoseconds = timestamp.as_nanosecond();
    Time {
        seconds: i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(i64::MAX),
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0),
    }
}

fn snapshot(id: Id, file: SnapshotFile) -> Snapshot {
    Snapshot {
        id,
        time: time(file.time.timestamp()),
        tree: ours(&file.tree),
        tags: file.tags.into_iter().cloned().collect(),
        hostname: file.hostname,
        username: file.username,
        paths: file.paths.into_iter().map(PathBuf::from).collect(),
    }
}

fn entry(node: Node) -> Entry {
    let name = node.name().into_owned();
    let kind = match &node.node_type {
        NodeType::File => Kind::File {
            content: node.content.iter().flatten().map(|id| ours(id)).collect(),
        },
        NodeType::Dir => Kind::Folder {
            tree: node.subtree.as_ref().map(|id| ours(id)),
        },
        NodeType::Symlink {
            linktarget,
            linktarget_raw,
        } => Kind::Symlink {
            target: linktarget_raw
                .as_deref()
                .map_or_else(|| linktarget.into(), |raw| OsStr::from_bytes(raw).into()),
        },
        NodeType::Dev { device } => Kind::BlockDevice(*device),
        NodeType::Chardev { device } => Kind::CharDevice(*device),
        NodeType::Fifo => Kind::Fifo,
        NodeType::Socket => Kind::Socket,
    };
    let meta = node.meta;
    Entry {
        name,
        kind,
        // restic leaves out what is zero.
        mode: unix_mode(meta.mode.unwrap_or(0)),
        uid: meta.uid.unwrap_or(0),
        gid: meta.gid.unwrap_or(0),
        modified: meta.mtime.map(time),
        accessed: meta.atime.map(time),
        size_bytes: meta.size,
        links: meta.links,
        inode: meta.inode,
        device: meta.device_id,
        attributes: meta
            .extended_attributes
            .into_iter()
            .map(|attribute| ExtendedAttribute {
                name: attribute.name,
                value: attribute.value.unwrap_or_default(),
            })
            .collect(),
    }
}

/// restic stores Go's `os.FileMode`: permissions as in Unix, but setuid, setgid and sticky at bits of its own.
fn unix_mode(go: u32) -> u32 {
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const STICKY: u32 = 1 << 20;
    let bit = |go_bit: u32, unix_bit: u32| if go & go_bit != 0 { unix_bit } else { 0 };
    (go & 0o777) | bit(SETUID, 0o4000) | bit(SETGID, 0o2000) | bit(STICKY, 0o1000)
}

// --- Our source as their backend ----------------------------------------------------------------------------------------

struct Backend {
    source: Arc<dyn ObjectSource>,
    chunks: ReadAhead,
    trees: ReadAhead,
    is_lost: AtomicBool,
    /// Why an object was done without.
    left_out: Mutex<BTreeMap<(ObjectKind, Id), String>>,
}

impl Backend {
    /// Fails where there is no repository in `source`.
    fn of_repository(source: Arc<dyn ObjectSource>) -> Result<Self, RestoreError> {
        let backend = Self {
            chunks: ReadAhead::new(Arc::clone(&source), CHUNKS_AHEAD_BYTES_MAX),
            trees: ReadAhead::new(Arc::clone(&source), TREES_AHEAD_BYTES_MAX),
            source,
            is_lost: AtomicBool::new(false),
            left_out: Mutex::default(),
        };
        match backend.list(ObjectKind::Config) {
            Ok(configs) if configs.is_empty() => Err(RestoreError::NoRepository {
                location: backend.source.location(),
            }),
            Ok(_) => Ok(backend),
            Err(error) => Err(backend.unreadable("the repository", Box::new(error))),
        }
    }

    fn list(&self, kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>> {
        self.noted(self.source.list(kind))
    }

    fn read(&self, kind: ObjectKind, id: Id, range: Option<Range<u64>>) -> io::Result<Bytes> {
        if let (ObjectKind::Pack, Some(range)) = (kind, &range) {
            let place = Place {
                pack: id,
                range: range.clone(),
            };
            let planned = self.chunks.read(&place).or_else(|| self.trees.read(&place));
            if let Some(read) = planned {
                return self.noted(read);
            }
        }
        self.noted(self.source.read(kind, id, range))
    }

    /// An object that has the content that its name says.
    fn whole(&self, kind: ObjectKind, id: Id) -> io::Result<Bytes> {
        let bytes = self.read(kind, id, None)?;
        if Id::of(&bytes) == id {
            Ok(bytes)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, OTHER_CONTENT))
        }
    }

    /// Takes down that an object can't be read, and goes on without it.
    fn leave_out(&self, kind: ObjectKind, id: Id, why: &dyn Display) -> Result<(), RestoreError> {
        if self.is_lost.load(Ordering::Relaxed) {
            let location = self.source.location();
            return Err(RestoreError::Lost { location });
        }
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.insert((kind, id), why.to_string());
        Ok(())
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let object = |((kind, id), why): (&(ObjectKind, Id), &String)| LeftOut {
            kind: *kind,
            id: *id,
            why: why.clone(),
        };
        left_out.iter().map(object).collect()
    }

    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::ConnectionAborted
        {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        result
    }

    fn unreadable(&self, what: &str, source: Cause) -> RestoreError {
        if self.is_lost.load(Ordering::Relaxed) {
            let location = self.source.location();
            return RestoreError::Lost { location };
        }
        RestoreError::Unreadable {
            what: what.to_owned(),
            source,
        }
    }
}

struct Handle {
    backend: Arc<Backend>,
    key: MasterKey,
}

impl Handle {
    fn read(&self, kind: FileType, id: &rustic_core::Id, range: Option<Range<u64>>) -> RusticResult<Bytes> {
        self.backend
            .read(object_kind(kind), ours(id), range)
            .map_err(|error| cant_read(kind, id, error))
    }

    /// An index file; an empty one in the place of one that can't be read, as `rustic_core` reads all or none.
    fn index(&self, id: &rustic_core::Id) -> RusticResult<Bytes> {
        let wrong = |error: Cause| cant_read(FileType::Index, id, error);
        let why: Cause = match self.backend.whole(ObjectKind::Index, ours(id)) {
            Ok(bytes) => match self.key.open(&bytes) {
                Ok(_) => return Ok(bytes),
                Err(error) => error.into(),
            },
            Err(error) => error.into(),
        };
        self.backend
            .leave_out(ObjectKind::Index, ours(id), &why)
            .map_err(|error| wrong(error.into()))?;
        // It never leaves this process: the nonce need not be fresh.
        let empty = IndexFile::default().seal(&self.key, [0; 16]);
        Ok(empty.map_err(|error| wrong(error.into()))?.bytes.into())
    }
}

fn cant_read(kind: FileType, id: &rustic_core::Id, error: impl Into<Cause>) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, "can't read `{kind}` `{id}`", error)
        .attach_context("kind", kind.dirname())
        .attach_context("id", id.to_hex().as_str())
}

const fn object_kind(kind: FileType) -> ObjectKind {
    match kind {
        FileType::Config => ObjectKind::Config,
        FileType::Index => ObjectKind::Index,
        FileType::Key => ObjectKind::Key,
        FileType::Snapshot => ObjectKind::Snapshot,
        FileType::Pack => ObjectKind::Pack,
    }
}

impl ReadBackend for Handle {
    fn location(&self) -> String {
        self.backend.source.location()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(rustic_core::Id, u32)>> {
        let objects = self.backend.list(object_kind(kind)).map_err(|error| {
            RusticError::with_source(ErrorKind::Backend, "can't list the repository", error)
        })?;
        let is_size_needed = matches!(kind, FileType::Pack);
        objects
            .into_iter()
            .map(|(id, size)| match size {
                // Larger than 4 GiB is larger than any index can say: the wrong size shows that.
                Some(size) => Ok((foreign(id), u32::try_from(size).unwrap_or(u32::MAX))),
                None if is_size_needed => Err(RusticError::new(
                    ErrorKind::Unsupported,
                    "this place does not tell how large its packs are",
                )),
                None => Ok((foreign(id), 0)),
            })
            .collect()
    }

    fn read_full(&self, kind: FileType, id: &rustic_core::Id) -> RusticResult<Bytes> {
        match kind {
            FileType::Index => self.index(id),
            _ => self.read(kind, id, None),
        }
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &rustic_core::Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let start = u64::from(offset);
        self.read(kind, id, Some(start..start + u64::from(length)))
    }

    fn warmup_path(&self, kind: FileType, id: &rustic_core::Id) -> String {
        format!("{}/{}", kind.dirname(), id.to_hex().as_str())
    }
}

impl WriteBackend for Handle {
    fn create(&self) -> RusticResult<()> {
        Err(read_only())
    }

    fn write_bytes(
        &self,
        _kind: FileType,
        _id: &rustic_core::Id,
        _cacheable: bool,
        _content: BytesList,
    ) -> RusticResult<()> {
        Err(read_only())
    }

    fn remove(&self, _kind: FileType, _id: &rustic_core::Id, _cacheable: bool) -> RusticResult<()> {
        Err(read_only())
    }
}

fn read_only() -> Box<RusticError> {
    RusticError::new(ErrorKind::AppendOnly, "reading never writes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setuid_setgid_and_sticky_survive_the_translation() {
        assert_eq!(unix_mode(0o755 | 1 << 23), 0o4755);
        assert_eq!(unix_mode(0o775 | 1 << 22 | 1 << 31), 0o2775);
        assert_eq!(unix_mode(0o777 | 1 << 20 | 1 << 31), 0o1777);
    }

    #[test]
    fn a_time_before_1970_has_its_nanoseconds_after_the_second() {
        let timestamp = jiff::Timestamp::from_nanosecond(-1).unwrap();
        assert_eq!(
            time(timestamp),
            Time {
                seconds: -1,
                nanoseconds: 999_999_999
            }
        );
    }
}
