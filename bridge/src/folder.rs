//! An upstream in a folder of the operating system, as restic's local backend lays it out.
//!
//! Invariant: an object appears under its name only after its bytes are synced, in one step that replaces nothing;
//! [`Upstream::write`] returns after the folder is synced too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::names::repository_path;
use crate::{Lock, SMALL_OBJECT_SIZE_BYTES_MAX, Upstream, UpstreamError, check_range, size_bytes_max};

/// Bytes that are read and written at once.
const PIECE_SIZE_BYTES: usize = 1024 * 1024;

/// A repository in a folder.
#[derive(Debug)]
pub struct FolderUpstream {
    root: PathBuf,
    /// Ends the names of files that are not whole yet. Two hubs may forward into one folder.
    suffix: String,
    prepared: bool,
}

impl FolderUpstream {
    /// The repository in `root`; nothing is made before [`Upstream::prepare`]. `hub` is the hub's key: files under way
    /// are named after it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, hub: &[u8; 32]) -> Self {
        Self {
            root: root.into(),
            // The Debug form of an id is its first 8 digits. restic passes over names that are no ids.
            suffix: format!("-tmp-berth-{:?}", Id::new(*hub)),
            prepared: false,
        }
    }

    /// The `config` of the repository in a folder, if there is one: for [`crate::repository_name`].
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn config_in(root: &Path) -> Result<Option<Vec<u8>>, UpstreamError> {
        let doing = "reading the config";
        let file = match File::open(root.join("config")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(UpstreamError::doing(doing)(error)),
        };
        let mut bytes = Vec::new();
        file.take(SMALL_OBJECT_SIZE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(UpstreamError::doing(doing))?;
        Ok(Some(bytes))
    }

    fn at(&self, kind: ObjectKind, id: &Id) -> PathBuf {
        self.root.join(repository_path(kind, id))
    }

    fn put(&self, path: &Path, length: u64, bytes: &mut dyn Read) -> io::Result<()> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(&self.suffix);
        let fresh = PathBuf::from(fresh);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        let copied = copy(bytes, &mut file).and_then(|copied_bytes| {
            if copied_bytes == length {
                file.sync_data()
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        });
        if let Err(error) = copied {
            // Best effort: the next try removes it too.
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        drop(file);
        rename_to_free(&fresh, path)?;
        sync_folder(path.parent().unwrap_or(&self.root))
    }

    fn make_folders(&self) -> io::Result<()> {
        let folders = ["data", "index", "keys", "locks", "snapshots"];
        let below = (0..=255).map(|first: u8| format!("data/{first:02x}"));
        for folder in folders.into_iter().map(str::to_owned).chain(below) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(self.root.join(folder))?;
        }
        sync_folder(&self.root.join("data"))?;
        sync_folder(&self.root)?;
        match self.root.parent() {
            Some(above) if !above.as_os_str().is_empty() => sync_folder(above),
            Some(_) | None => Ok(()),
        }
    }

    fn list_folder(&self, folder: &Path, each: &mut dyn FnMut(Id, u64)) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if let Some(id) = entry.file_name().to_str().and_then(Id::from_hex) {
                each(id, entry.metadata()?.len());
            }
        }
        Ok(())
    }

    fn read_locks(&self) -> io::Result<Vec<Lock>> {
        let mut locks = Vec::new();
        let entries = match fs::read_dir(self.root.join("locks")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(locks),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let changed = match entry.metadata().and_then(|metadata| metadata.modified()) {
                Ok(changed) => changed,
                // Given up while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
            locks.push(Lock {
                name: entry.file_name().to_string_lossy().into_owned(),
                changed_at_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            });
        }
        Ok(locks)
    }
}

impl Upstream for FolderUpstream {
    fn prepare(&mut self) -> Result<(), UpstreamError> {
        if !self.prepared {
            self.make_folders()
                .map_err(UpstreamError::doing("making the folders"))?;
            self.prepared = true;
        }
        Ok(())
    }

    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        Self::config_in(&self.root)
    }

    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError> {
        let folder = match kind {
            ObjectKind::Pack => {
                return (0..=255)
                    .try_for_each(|first: u8| {
                        self.list_folder(&self.root.join(format!("data/{first:02x}")), each)
                    })
                    .map_err(UpstreamError::doing("listing packs"));
            }
            ObjectKind::Index => "index",
            ObjectKind::Snapshot => "snapshots",
            ObjectKind::Key => "keys",
            ObjectKind::Config | ObjectKind::Page => return Ok(()),
        };
        self.list_folder(&self.root.join(folder), each)
            .map_err(UpstreamError::doing("listing objects"))
    }

    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError> {
        self.read_locks().map_err(UpstreamError::doing("listing locks"))
    }

    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), UpstreamError> {
        self.put(&self.at(kind, id), length, bytes)
            .map_err(UpstreamError::doing("writing an object"))
    }

    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        check_range(kind, range.as_ref())?;
        read_part(&self.at(kind, id), range, size_bytes_max(kind))
            .map_err(UpstreamError::doing("reading an object"))
    }

    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError> {
        let doing = "reading an object back";
        let mut hash = Sha256::new();
        File::open(self.at(kind, id))
            .and_then(|mut file| copy(&mut file, &mut hash))
            .map_err(UpstreamError::doing(doing))?;
        Ok(Some(Id::new(hash.finalize().into())))
    }
}

fn read_part(path: &Path, range: Option<Range<u64>>, size_bytes_max: u64) -> io::Result<Option<Bytes>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // One byte more than may be there: what is larger shows.
    let Range { start, end } = range.clone().unwrap_or(0..size_bytes_max + 1);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes)?;
    if range.is_none() && bytes.len() as u64 > size_bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(bytes.into()))
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<u64> {
    let mut piece = vec![0; PIECE_SIZE_BYTES];
    let mut copied_bytes = 0;
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(copied_bytes),
            size => {
                to.write_all(piece.get(..size).unwrap_or_default())?;
                copied_bytes += size as u64;
            }
        }
    }
}

/// Gives a file its name unless that is taken; then the file is removed.
fn rename_to_free(fresh: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let renamed = renameat_with(CWD, fresh, CWD, path, RenameFlags::NOREPLACE).map_err(io::Error::from);
    match renamed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(fresh),
        // A file system without that flag: a hard link does not replace either.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            match fs::hard_link(fresh, path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                Ok(()) | Err(_) => fs::remove_file(fresh),
            }
        }
        Err(error) => Err(error),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
