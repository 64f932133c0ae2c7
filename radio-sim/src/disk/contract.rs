//! The contract of `berth_disk` on the simulated disk.

use std::io;

use berth_disk::{Disk, DiskFile, checked};

use super::file::FileRef;
use super::tree::Node;
use super::{SimDisk, broken};

impl SimDisk {
    fn handle(&self, file: FileRef, lives: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile {
            disk: self.clone(),
            file,
            lives,
        })
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.change()?;
        let file = state.tree.create(checked(path)?)?;
        file.lock().linked = true;
        Ok(self.handle(file, state.lives))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.reading()?;
        let file = state.tree.file(checked(path)?)?;
        Ok(self.handle(file, state.lives))
    }

    fn read(&self, path: &str, size_bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.reading()?.tree.file(checked(path)?)?;
        let content = file.lock();
        if content.bytes().len() as u64 > size_bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("over {size_bytes_max} bytes"),
            ));
        }
        Ok(content.bytes().to_vec())
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.reading()?.tree.file(checked(path)?)?;
        let content = file.lock();
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| content.bytes().get(start..start.checked_add(length)?));
        range
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        Ok(match self.reading()?.tree.node(checked(path)?) {
            Some(Node::File(file)) => Some(file.lock().bytes().len() as u64),
            Some(Node::Folder(_)) | None => None,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        if let Some(replaced) = state.tree.rename(checked(from)?, checked(to)?)? {
            state.unlink(&replaced);
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.tree.remove(checked(path)?)?;
        state.unlink(&file);
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.change()?.tree.create_folders(checked(path)?)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        match state.tree.remove_folder(checked(path)?) {
            Ok(files) => files.iter().for_each(|file| state.unlink(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.reading()?;
        match state.tree.folder(checked(path)?) {
            Ok(folder) => Ok(state.tree.names(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        // A missing folder is the caller's mistake, not a sync.
        self.reading()?.tree.folder(checked(path)?)?;
        let mut state = self.sync_change(None)?;
        let folder = state.tree.folder(path)?;
        state.tree.sync(folder);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.reading()?;
        Ok(state.free_bytes())
    }
}

struct SimFile {
    disk: SimDisk,
    file: FileRef,
    lives: u64,
}

impl SimFile {
    /// The file is of this life of the machine.
    fn is_current(&self) -> io::Result<()> {
        if self.disk.lock().lives == self.lives {
            Ok(())
        } else {
            Err(io::Error::other("the file was opened before a restart"))
        }
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.is_current()?;
        let mut state = self.disk.change()?;
        let (ppm, linked) = (state.faults.append_failed_ppm, self.file.lock().linked);
        let fails = state.chance.happens(ppm);
        let cut_in = usize::try_from(state.chance.below(bytes.len() as u64 + 1)).unwrap_or(0);
        let room = usize::try_from(state.free_bytes()).unwrap_or(usize::MAX);
        let full = linked && bytes.len() > room;
        let fits = match (fails, full) {
            (true, _) => cut_in.min(room),
            (false, true) => room,
            (false, false) => bytes.len(),
        };
        let written = bytes.get(..fits).unwrap_or(bytes);
        self.file.lock().append(written);
        if linked {
            state.used_bytes += written.len() as u64;
        }
        match (fails, full) {
            (true, _) => Err(broken()),
            (false, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.is_current()?;
        let _state = self.disk.sync_change(Some(&self.file))?;
        self.file.lock().sync();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.is_current()?;
        let mut state = self.disk.change()?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut content = self.file.lock();
        let before = content.bytes().len();
        if content.linked {
            let grows = length.saturating_sub(before) as u64;
            if grows > state.free_bytes() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.used_bytes =
                (state.used_bytes + grows).saturating_sub(before.saturating_sub(length) as u64);
        }
        content.truncate(length);
        Ok(())
    }
}
