//! [`Source`] on the operating system's files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{FileKind, Metadata, Source, SourceFile, Timestamp, Xattrs};

/// Largest `/etc/passwd` or `/etc/group` that is read for names.
const NAMES_SIZE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The files of this computer.
///
/// Names of users and groups are those of `/etc/passwd` and `/etc/group` when it was made: names from a directory
/// service are not asked for, since that can block on the network.
#[derive(Debug, Clone, Default)]
pub struct OsSource {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl OsSource {
    /// Reads the names of users and groups; those that cannot be read are left empty.
    #[must_use]
    pub fn new() -> Self {
        Self {
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
        }
    }
}

/// `name:password:number:...` lines; the first name of a number wins, as in `getpwuid`.
fn names(path: &str) -> BTreeMap<u32, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(NAMES_SIZE_BYTES_MAX).read_to_end(&mut text));
    let mut names = BTreeMap::new();
    if read.is_ok() {
        for line in String::from_utf8_lossy(&text).lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(number)) = (fields.next(), fields.nth(1))
                && let Ok(number) = number.parse()
            {
                names.entry(number).or_insert_with(|| name.to_owned());
            }
        }
    }
    names
}

impl Source for OsSource {
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::symlink_metadata(path).map(|found| convert(&found))
    }

    fn read_folder(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name().into_vec()))
            .collect()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SourceFile>> {
        // NONBLOCK: a fifo put in the file's place must not make us wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let open = |flags| retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
        let file = match open(flags | OFlags::NOATIME) {
            // Only the owner may leave the access time alone.
            Err(Errno::PERM) => open(flags)?,
            opened => opened?,
        };
        let file = File::from(file);
        if file.metadata()?.is_file() {
            Ok(Box::new(OsFile(file)))
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                "it is no regular file any more",
            ))
        }
    }

    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(fs::read_link(path)?.into_os_string().into_vec())
    }

    fn xattrs(&self, path: &Path) -> io::Result<Xattrs> {
        let names = match xattr::list(path) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for name in names {
            // One that vanished since it was listed is simply not there.
            if let Some(value) = xattr::get(path, OsStr::from_bytes(name.as_bytes()))? {
                found.push((name.into_vec(), value));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn user_name(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_default()
    }

    fn group_name(&self, gid: u32) -> String {
        self.groups.get(&gid).cloned().unwrap_or_default()
    }
}

struct OsFile(File);

impl SourceFile for OsFile {
    fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata().map(|found| convert(&found))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

fn convert(found: &fs::Metadata) -> Metadata {
    let kind = found.file_type();
    let kind = if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Folder
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else if kind.is_fifo() {
        FileKind::Fifo
    } else if kind.is_char_device() {
        FileKind::CharDevice
    } else if kind.is_block_device() {
        FileKind::BlockDevice
    } else if kind.is_socket() {
        FileKind::Socket
    } else {
        FileKind::Unknown
    };
    let time = |seconds, nanoseconds: i64| Timestamp {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    };
    Metadata {
        kind,
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        size: found.size(),
        modified: time(found.mtime(), found.mtime_nsec()),
        changed: time(found.ctime(), found.ctime_nsec()),
        inode: found.ino(),
        device: found.dev(),
        links: found.nlink(),
        device_number: found.rdev(),
    }
}
