//! The user's files, in memory, as the archiver sees them and as a restore must give them back.
//!
//! Place: [`super::World`] edits, the visit reads through [`Source`], the judge compares with [`Files::picture`].
//! Invariant: as on a real disk an edit in place keeps the inode and changes what an open file reads; a removed file
//! stays readable to who has it open.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_client_sdk::{FileKind, Metadata, Source, SourceFile, Timestamp, Xattrs};
use berth_repository::Id;
use bytes::Bytes;

/// What is backed up in every world.
pub const ROOT: &str = "/home/user";

/// One entry as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What it is and holds.
    pub what: What,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970 and nanoseconds of its last change.
    pub modified: (i64, u32),
}

/// What an entry is and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A file: SHA-256 of its content, and its size in bytes.
    File(Id, u64),
    /// A folder.
    Folder,
    /// Where a symlink points.
    Symlink(PathBuf),
    /// Anything else.
    Other,
}

/// All entries by their absolute path.
pub type Picture = BTreeMap<PathBuf, Shown>;

/// The files. Clones are the same files.
#[derive(Debug, Clone)]
pub struct Files(Arc<Mutex<Tree>>);

#[derive(Debug)]
struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    inodes: u64,
    /// Grows with every edit.
    edits: u64,
    now_ns: i64,
    /// Every content that a file ever had.
    versions: BTreeSet<(PathBuf, Id)>,
}

type Node = Arc<Mutex<Inode>>;

#[derive(Debug)]
struct Inode {
    metadata: Metadata,
    content: Bytes,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn time_of(ns: i64) -> Timestamp {
    Timestamp {
        seconds: ns.div_euclid(1_000_000_000),
        nanoseconds: u32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0),
    }
}

impl Files {
    /// [`ROOT`], empty. `now_ns`: nanoseconds since 1970.
    #[must_use]
    pub fn new(now_ns: i64) -> Self {
        let files = Self(Arc::new(Mutex::new(Tree {
            nodes: BTreeMap::new(),
            inodes: 1,
            edits: 0,
            now_ns,
            versions: BTreeSet::new(),
        })));
        locked(&files.0).folder(Path::new(ROOT));
        files
    }

    /// From now on edits happen at this time, nanoseconds since 1970.
    pub fn set_time(&self, now_ns: i64) {
        locked(&self.0).now_ns = now_ns;
    }

    /// Writes a file below [`ROOT`], in place if it is there, making the folders above it.
    pub fn write(&self, path: &str, content: impl Into<Bytes>) {
        let path = Path::new(ROOT).join(path);
        locked(&self.0).put(path, FileKind::File, content.into());
    }

    /// Makes a symlink below [`ROOT`].
    pub fn symlink(&self, path: &str, target: &str) {
        let path = Path::new(ROOT).join(path);
        locked(&self.0).put(path, FileKind::Symlink, Bytes::copy_from_slice(target.as_bytes()));
    }

    /// Removes an entry and what is below it. A missing one is no error.
    pub fn remove(&self, path: &Path) {
        let mut tree = locked(&self.0);
        tree.nodes.retain(|one, _| !one.starts_with(path));
        tree.edits += 1;
        tree.touch_above(path);
    }

    /// Absolute paths and contents of all regular files.
    #[must_use]
    pub fn all(&self) -> BTreeMap<PathBuf, Bytes> {
        let tree = locked(&self.0);
        let files = tree.nodes.iter().map(|(path, node)| (path, locked(node)));
        files
            .filter(|(_, inode)| inode.metadata.kind == FileKind::File)
            .map(|(path, inode)| (path.clone(), inode.content.clone()))
            .collect()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.all().values().map(|content| content.len() as u64).sum()
    }

    /// Edits so far.
    #[must_use]
    pub fn edits(&self) -> u64 {
        locked(&self.0).edits
    }

    /// Did a file ever have this content?
    #[must_use]
    pub fn was(&self, path: &Path, content: Id) -> bool {
        locked(&self.0).versions.contains(&(path.to_path_buf(), content))
    }

    /// What a restore must give back now.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let tree = locked(&self.0);
        let shown = |(path, node): (&PathBuf, &Node)| {
            let inode = locked(node);
            let what = match inode.metadata.kind {
                FileKind::File => What::File(Id::of(&inode.content), inode.content.len() as u64),
                FileKind::Folder => What::Folder,
                FileKind::Symlink => What::Symlink(text(&inode.content)),
                _ => What::Other,
            };
            let modified = inode.metadata.modified;
            let shown = Shown {
                what,
                mode: inode.metadata.mode,
                modified: (modified.seconds, modified.nanoseconds),
            };
            (path.clone(), shown)
        };
        tree.nodes.iter().map(shown).collect()
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        let found = locked(&self.0).nodes.get(path).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn text(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

impl Tree {
    fn folder(&mut self, path: &Path) {
        if path.parent().is_none() || self.nodes.contains_key(path) {
            return;
        }
        self.put(path.to_path_buf(), FileKind::Folder, Bytes::new());
    }

    fn put(&mut self, path: PathBuf, kind: FileKind, content: Bytes) {
        if let Some(above) = path.parent() {
            self.folder(above);
        }
        self.edits += 1;
        if kind == FileKind::File {
            self.versions.insert((path.clone(), Id::of(&content)));
        }
        // Times of two edits always differ.
        self.now_ns += 1;
        let now = time_of(self.now_ns);
        let size = content.len() as u64;
        if let Some(node) = self.nodes.get(&path) {
            let mut inode = locked(node);
            if inode.metadata.kind == kind {
                inode.content = content;
                (
                    inode.metadata.size,
                    inode.metadata.modified,
                    inode.metadata.changed,
                ) = (size, now, now);
                return;
            }
        }
        self.inodes += 1;
        let metadata = Metadata {
            kind,
            mode: match kind {
                FileKind::Folder => 0o750,
                FileKind::Symlink => 0o777,
                _ => 0o640,
            },
            uid: 1000,
            gid: 1000,
            size,
            modified: now,
            changed: now,
            inode: self.inodes,
            device: 1,
            links: 1,
            device_number: 0,
        };
        self.touch_above(&path);
        self.nodes
            .insert(path, Arc::new(Mutex::new(Inode { metadata, content })));
    }

    fn touch_above(&mut self, path: &Path) {
        self.now_ns += 1;
        let now = time_of(self.now_ns);
        if let Some(node) = path.parent().and_then(|above| self.nodes.get(above)) {
            let mut inode = locked(node);
            (inode.metadata.modified, inode.metadata.changed) = (now, now);
        }
    }
}

impl Source for Files {
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        Ok(locked(&*self.node(path)?).metadata)
    }

    fn read_folder(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        if path.parent().is_some() {
            self.node(path)?;
        }
        let tree = locked(&self.0);
        let below = tree.nodes.range(path.to_path_buf()..);
        let below = below.map(|(one, _)| one).take_while(|one| one.starts_with(path));
        let names = below.filter(|one| one.parent() == Some(path));
        Ok(names
            .filter_map(|one| one.file_name())
            .map(|name| name.as_encoded_bytes().to_vec())
            .collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SourceFile>> {
        let node = self.node(path)?;
        if locked(&*node).metadata.kind != FileKind::File {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(Open { node, at: 0 }))
    }

    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(locked(&*self.node(path)?).content.to_vec())
    }

    fn xattrs(&self, path: &Path) -> io::Result<Xattrs> {
        self.node(path).map(|_| Vec::new())
    }

    fn user_name(&self, _uid: u32) -> String {
        "user".into()
    }

    fn group_name(&self, _gid: u32) -> String {
        "users".into()
    }
}

struct Open {
    node: Node,
    at: usize,
}

impl SourceFile for Open {
    fn metadata(&self) -> io::Result<Metadata> {
        Ok(locked(&self.node).metadata)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let inode = locked(&self.node);
        let rest = inode.content.get(self.at..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lists_its_own_entries_only() {
        let files = Files::new(5);
        files.write("a/b/c", "1");
        files.write("a/d", "2");
        files.write("ab", "3");
        let mut names = files.read_folder(&Path::new(ROOT).join("a")).unwrap();
        names.sort();
        assert_eq!(names, [b"b".to_vec(), b"d".to_vec()]);
        assert_eq!(files.read_folder(Path::new("/")).unwrap(), [b"home".to_vec()]);
    }

    #[test]
    fn a_removed_file_stays_readable_and_an_edit_shows() {
        let files = Files::new(5);
        files.write("a", "old");
        let path = Path::new(ROOT).join("a");
        let mut open = Source::open(&files, &path).unwrap();
        files.write("a", "new");
        files.remove(&path);
        let mut buffer = [0; 8];
        assert_eq!(open.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"new");
        assert!(Source::metadata(&files, &path).is_err());
    }
}
