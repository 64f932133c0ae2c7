//! [`Disk`] on the operating system's files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{self, Path, PathBuf};

use crate::{Disk, DiskFile, checked};

const LOCK_FILE: &str = "lock";

/// A folder that belongs to this process for as long as the value lives. The file stays; the lock does not.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Files below a folder of the operating system. New files have mode 0600, new folders 0700.
#[derive(Debug, Clone)]
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// Opens `root`, making it and the folders above it where they are missing. Durable when this returns.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = path::absolute(root)?;
        let mut missing: Vec<&Path> = root.ancestors().take_while(|folder| !folder.is_dir()).collect();
        let there = root.ancestors().nth(missing.len()).unwrap_or(&root);
        // One by one, each synced before the next: an earlier process that was killed meanwhile leaves one name that is
        // not durable, that of the lowest folder there is. Where its parent may not be read, it is not of our making.
        match sync_name_of(there) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            Ok(()) | Err(_) => {}
        }
        while let Some(folder) = missing.pop() {
            match fs::DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if !folder.is_dir() => return Err(error),
                Ok(()) | Err(_) => sync_name_of(folder)?,
            }
        }
        Ok(Self { root })
    }

    /// Takes the folder for this process alone, until the value is dropped or the process ends, however it ends. `None`:
    /// another process has it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn try_lock(&self) -> io::Result<Option<FolderLock>> {
        let path = self.root.join(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FolderLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The root folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> io::Result<PathBuf> {
        Ok(self.root.join(checked(path)?))
    }
}

impl Disk for OsDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.at(path)?)?;
        Ok(Box::new(OsFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile(
            OpenOptions::new().append(true).open(self.at(path)?)?,
        )))
    }

    fn read(&self, path: &str, size_bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.at(path)?)?;
        // Room for all of it: growing would leave copies in memory, and some files hold keys that are wiped after use.
        let length = file.metadata()?.len().min(size_bytes_max);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1));
        // One byte more than allowed, so that a file that grows while it is read is noticed too.
        file.take(size_bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > size_bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("over {size_bytes_max} bytes"),
            ));
        }
        Ok(bytes)
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        File::open(self.at(path)?)?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.at(path)?) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path)?)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.at(path)?)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.at(path)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.at(path)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // Every name of ours is ASCII; what is not has been put there by somebody else.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.at(path)?)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Makes the folder's name durable.
fn sync_name_of(folder: &Path) -> io::Result<()> {
    folder
        .parent()
        .map_or(Ok(()), |above| File::open(above)?.sync_all())
}

struct OsFile(File);

impl DiskFile for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::End(0)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace;

    #[test]
    fn a_replaced_file_holds_the_new_content_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path().join("state")).unwrap();
        replace(&disk, "a", b"old").unwrap();
        replace(&disk, "a", b"new").unwrap();
        assert_eq!(disk.read("a", 10).unwrap(), b"new");
        assert_eq!(disk.list("").unwrap(), ["a"]);
        assert_eq!(disk.read("a", 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_state_folder_is_made_with_all_above_it_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b/c");
        OsDisk::open(&root).unwrap();
        for made in [&root, &folder.path().join("a/b"), &folder.path().join("a")] {
            let mode = fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", made.display());
        }
        fs::write(root.join("in the way"), "").unwrap();
        assert!(OsDisk::open(root.join("in the way")).is_err());
        assert!(OsDisk::open(root.join("in the way/d")).is_err());
    }

    /// Growing would leave copies behind that nobody wipes.
    #[test]
    fn a_file_is_read_into_memory_of_its_size_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let mut file = disk.create("key").unwrap();
        file.append(&[7; 65]).unwrap();
        let bytes = disk.read("key", 1 << 20).unwrap();
        assert_eq!((bytes.len(), bytes.capacity()), (65, 66));
    }

    #[test]
    fn a_folder_is_locked_for_one_at_a_time_and_never_for_longer() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let lock = disk.try_lock().unwrap();
        assert!(lock.is_some());
        assert!(disk.try_lock().unwrap().is_none());
        drop(lock);
        assert!(disk.try_lock().unwrap().is_some());
    }

    #[test]
    fn an_open_file_follows_its_rename() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let mut file = disk.create("a").unwrap();
        file.append(b"one").unwrap();
        disk.rename("a", "b").unwrap();
        file.truncate(1).unwrap();
        file.append(b"2").unwrap();
        assert_eq!(disk.read("b", 10).unwrap(), b"o2");
        assert_eq!(disk.len("a").unwrap(), None);
        assert_eq!(disk.read_range("b", 1, 1).unwrap(), b"2");
        assert_eq!(
            disk.create("b").err().map(|error| error.kind()),
            Some(io::ErrorKind::AlreadyExists)
        );
    }
}
