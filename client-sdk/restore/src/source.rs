//! Where the objects of a repository come from.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use berth_repository::Id;
use bytes::Bytes;

/// The kinds of objects a restic repository consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The one config object. It has no id of its own: it is listed and asked for under [`CONFIG_ID`].
    Config,
    /// A key file: the master key, sealed with a password.
    Key,
    /// A snapshot.
    Snapshot,
    /// An index file.
    Index,
    /// A pack.
    Pack,
}

impl ObjectKind {
    /// The name of the folder (of the file for [`ObjectKind::Config`]) that holds such objects.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }
}

/// Read access to the objects of one repository: an upstream, a spool, or a hub on the other end of a link.
///
/// A source is not trusted: everything it gives is checked against keys and hashes before it is used.
pub trait ObjectSource: Send + Sync + 'static {
    /// What a person calls this place, for messages.
    fn location(&self) -> String;

    /// All objects of a kind with their sizes in bytes, in any order. A kind without objects has none. A place that does
    /// not tell sizes can't be checked, only read.
    ///
    /// # Errors
    /// The place can't be listed. A list that is only partly known is an error too, never a shorter list.
    /// [`io::ErrorKind::ConnectionAborted`] as for [`ObjectSource::read`].
    fn list(&self, kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>>;

    /// An object, or the bytes of it that `range` names. A range that reaches past the end of the object is
    /// [`io::ErrorKind::UnexpectedEof`].
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where no such object is; [`io::ErrorKind::ConnectionAborted`] where nothing more will
    /// come from this place, which ends what is being done; else those of the place.
    fn read(&self, kind: ObjectKind, id: Id, range: Option<Range<u64>>) -> io::Result<Bytes>;

    /// Asks for bytes that will be needed soon, and does not wait for them. `None`: the place is near, asking early wins
    /// nothing. Errors come from the [`Pending`], as those of [`ObjectSource::read`].
    fn ask(&self, _kind: ObjectKind, _id: Id, _range: Range<u64>) -> Option<Pending> {
        None
    }
}

/// Bytes on their way: waits for them.
pub type Pending = Box<dyn FnOnce() -> io::Result<Bytes> + Send>;

/// The id under which [`ObjectKind::Config`] goes.
pub const CONFIG_ID: Id = Id::new([0; 32]);

/// No object but a pack is larger than this (an index of a few 100,000 chunks has 30 MiB), no pack larger than 4 GiB,
/// and neither is read whole beyond it: a source that is not trusted can't make us use all memory.
const OBJECT_SIZE_BYTES_MAX: u64 = 256 << 20;

/// A repository in a folder: an upstream, or what a hub's spool holds of one laptop.
#[derive(Debug, Clone)]
pub struct FolderSource {
    root: PathBuf,
}

impl FolderSource {
    /// The repository in `root`. Nothing is read yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, kind: ObjectKind, id: Id) -> PathBuf {
        let folder = self.root.join(kind.folder());
        let name = id.to_string();
        match kind {
            ObjectKind::Config => folder,
            ObjectKind::Pack => folder.join(name.get(..2).unwrap_or_default()).join(name),
            ObjectKind::Key | ObjectKind::Snapshot | ObjectKind::Index => folder.join(name),
        }
    }
}

impl ObjectSource for FolderSource {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>> {
        let mut found = Vec::new();
        let path = self.root.join(kind.folder());
        match kind {
            ObjectKind::Config => match fs::metadata(&path) {
                Ok(metadata) => found.push((CONFIG_ID, Some(metadata.len()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            ObjectKind::Key | ObjectKind::Snapshot | ObjectKind::Index => list_folder(&path, &mut found)?,
            ObjectKind::Pack => {
                for folder in entries(&path)? {
                    if folder.file_type()?.is_dir() {
                        list_folder(&folder.path(), &mut found)?;
                    }
                }
            }
        }
        Ok(found)
    }

    fn read(&self, kind: ObjectKind, id: Id, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let file = File::open(self.path(kind, id))?;
        let Some(range) = range else {
            let mut bytes = Vec::new();
            file.take(OBJECT_SIZE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > OBJECT_SIZE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            return Ok(bytes.into());
        };
        // The length is the index's word: looked up before memory is taken for it.
        if range.end > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes.into())
    }
}

fn entries(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(path) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Files whose names are ids; others (unfinished uploads, what people leave behind) are no objects.
fn list_folder(path: &Path, found: &mut Vec<(Id, Option<u64>)>) -> io::Result<()> {
    for entry in entries(path)? {
        let Some(id) = entry.file_name().to_str().and_then(Id::from_hex) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => found.push((id, Some(metadata.len()))),
            Ok(_) => {}
            // Removed since it was listed, by a prune or by the hub's reclaiming.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_named_by_an_id_are_objects() {
        let folder = tempfile::tempdir().unwrap();
        let id = Id::of(b"a");
        let index = folder.path().join("index");
        fs::create_dir_all(&index).unwrap();
        fs::write(index.join(id.to_string()), b"abc").unwrap();
        fs::write(index.join(format!("{id}.part")), b"ab").unwrap();
        fs::write(index.join("notes"), b"").unwrap();
        fs::create_dir(index.join(Id::of(b"b").to_string())).unwrap();
        let source = FolderSource::new(folder.path());
        assert_eq!(source.list(ObjectKind::Index).unwrap(), [(id, Some(3))]);
        assert_eq!(source.list(ObjectKind::Pack).unwrap(), []);
    }

    #[test]
    fn a_range_past_the_end_is_an_error_and_not_a_shorter_answer() {
        let folder = tempfile::tempdir().unwrap();
        let id = Id::of(b"a");
        let packs = folder.path().join("data").join(&id.to_string()[..2]);
        fs::create_dir_all(&packs).unwrap();
        fs::write(packs.join(id.to_string()), b"abc").unwrap();
        let source = FolderSource::new(folder.path());
        assert_eq!(source.list(ObjectKind::Pack).unwrap(), [(id, Some(3))]);
        assert_eq!(source.read(ObjectKind::Pack, id, Some(1..3)).unwrap(), "bc");
        let error = source.read(ObjectKind::Pack, id, Some(1..u64::MAX)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
