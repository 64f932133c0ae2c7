//! A disk that hangs in one folder.

use std::io;
use std::sync::{Arc, Condvar, Mutex};

use berth_disk::{Disk, DiskFile, OsDisk};

/// What hangs: appends to files with this in their path. `None`: nothing.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Option<String>>, Condvar)>);

impl Gate {
    pub(crate) fn close(&self, part: &str) {
        *self.0.0.lock().unwrap() = Some(part.to_owned());
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = None;
        self.0.1.notify_all();
    }

    fn pass(&self, path: &str) {
        let is_shut = |part: &mut Option<String>| part.as_deref().is_some_and(|part| path.contains(part));
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), is_shut).unwrap());
    }
}

pub(crate) struct GatedDisk {
    pub(crate) disk: OsDisk,
    pub(crate) gate: Gate,
}

struct GatedFile {
    file: Box<dyn DiskFile>,
    path: String,
    gate: Gate,
}

impl GatedDisk {
    fn gated(&self, path: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let (path, gate) = (path.to_owned(), self.gate.clone());
        Box::new(GatedFile { file, path, gate })
    }
}

impl DiskFile for GatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.gate.pass(&self.path);
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.gated(path, self.disk.create(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.gated(path, self.disk.open(path)?))
    }

    fn read(&self, path: &str, size_bytes_max: u64) -> io::Result<Vec<u8>> {
        self.disk.read(path, size_bytes_max)
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.disk.read_range(path, offset, length)
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        self.disk.len(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}
