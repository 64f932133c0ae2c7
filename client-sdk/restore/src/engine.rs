//! The only place that knows `rustic_core`: it decodes keys, snapshots, index, trees and chunks.
//!
//! Place: [`ObjectSource`] -> [`ReadAhead`] -> `rustic_core`'s backend -> [`Engine`], in our own types.
//! Invariant: nothing is written and no cache is made; what `rustic_core` panics on is an error here; a chunk or a tree
//! whose content is not what its id says is an error too (a source that lies can give the bytes of another one).

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_repository::Id;
use bytes::Bytes;
use rustic_core::repofile::{BlobType, Node, NodeType, SnapshotFile, Tree};
use rustic_core::{
    BlobId, BytesList, CheckOptions, CheckResults, Credentials, DataId, ErrorKind, FileType,
    IndexedFullStatus, OpenStatus, PackedId, ReadBackend, Repository, RepositoryBackends, RepositoryOptions,
    RusticError, RusticResult, TreeId, WriteBackend, jiff,
};

use crate::ahead::{Place, ReadAhead};
use crate::repository::{Finding, Severity, Snapshot};
use crate::{Entry, ExtendedAttribute, Kind, ObjectKind, ObjectSource, RestoreError, Time};

/// Chunks that are read ahead: enough to bridge the pauses of a disk that is written to.
const CHUNKS_AHEAD_BYTES_MAX: u64 = 24 << 20;

/// Trees that are read ahead.
const TREES_AHEAD_BYTES_MAX: u64 = 4 << 20;

/// An open repository with its whole index in memory (about 60 bytes a chunk).
pub(crate) struct Engine {
    repository: Repository<IndexedFullStatus>,
    backend: Arc<Backend>,
}

/// Opens with a password. Reads config and key files, nothing else.
pub(crate) fn open(source: Arc<dyn ObjectSource>, password: &str) -> Result<Opening, RestoreError> {
    let backend = Arc::new(Backend::new(source));
    let configs = match backend.list(ObjectKind::Config) {
        Ok(configs) => configs,
        Err(error) => return Err(backend.unreadable("the repository", Box::new(error))),
    };
    let location = backend.source.location();
    if configs.is_empty() {
        return Err(RestoreError::NoRepository { location });
    }
    let backends = RepositoryBackends::new(Arc::new(Handle(Arc::clone(&backend))), None);
    match guarded(|| unlock(&backends, &Credentials::password(password))) {
        Ok(repository) => Ok(Opening {
            backends,
            repository,
            backend,
        }),
        Err(Failure::Rustic(error)) if error.is_incorrect_password() => {
            Err(RestoreError::WrongKey { location })
        }
        Err(failure) => Err(backend.unreadable("the repository", failure.into())),
    }
}

fn unlock(backends: &RepositoryBackends, key: &Credentials) -> RusticResult<Repository<OpenStatus>> {
    Repository::new(&RepositoryOptions::default().no_cache(true), backends)?.open(key)
}

/// A repository whose key is known and whose index is not read yet.
pub(crate) struct Opening {
    backends: RepositoryBackends,
    repository: Repository<OpenStatus>,
    backend: Arc<Backend>,
}

impl Opening {
    pub(crate) fn snapshots(&self) -> Result<Vec<Snapshot>, RestoreError> {
        let files = guarded(|| self.repository.get_all_snapshots())
            .map_err(|failure| self.backend.unreadable("the snapshots", failure.into()))?;
        Ok(files.into_iter().map(snapshot).collect())
    }

    pub(crate) fn check(&self, read_data: bool) -> Result<Vec<Finding>, RestoreError> {
        let results = guarded(|| {
            self.repository
                .check(CheckOptions::default().read_data(read_data))
        })
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
        Ok(results.0.into_iter().map(finding).collect())
    }

    /// Reads the whole index. `self` stays usable: indexing consumes a `rustic_core` repository, so a second one is
    /// opened, by master key, which spares the slow key derivation.
    pub(crate) fn index(&self) -> Result<Engine, RestoreError> {
        guarded(|| unlock(&self.backends, &Credentials::Masterkey(self.repository.key()))?.to_indexed())
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
        let id = DataId::from(BlobId::from(foreign(id)));
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
            Err("its content is not what its name says".into())
        }
    }

    fn place<T: PackedId>(&self, id: Id) -> Option<Place> {
        let id = T::from(BlobId::from(foreign(id)));
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

fn snapshot(file: SnapshotFile) -> Snapshot {
    Snapshot {
        id: ours(&file.id),
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
}

impl Backend {
    fn new(source: Arc<dyn ObjectSource>) -> Self {
        Self {
            chunks: ReadAhead::new(Arc::clone(&source), CHUNKS_AHEAD_BYTES_MAX),
            trees: ReadAhead::new(Arc::clone(&source), TREES_AHEAD_BYTES_MAX),
            source,
            is_lost: AtomicBool::new(false),
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

#[derive(Clone)]
struct Handle(Arc<Backend>);

impl Handle {
    fn read(&self, kind: FileType, id: &rustic_core::Id, range: Option<Range<u64>>) -> RusticResult<Bytes> {
        let wrong = |error: io::Error| {
            RusticError::with_source(ErrorKind::Backend, "can't read `{kind}` `{id}`", error)
                .attach_context("kind", kind.dirname())
                .attach_context("id", id.to_hex().as_str())
        };
        self.0.read(object_kind(kind), ours(id), range).map_err(wrong)
    }
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
        self.0.source.location()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(rustic_core::Id, u32)>> {
        let objects = self.0.list(object_kind(kind)).map_err(|error| {
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
        self.read(kind, id, None)
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
