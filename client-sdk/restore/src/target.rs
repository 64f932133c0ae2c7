//! The folder that is restored into. All that touches the user's disk is here.
//!
//! Invariant: every path is walked from the open root, one plain name at a time, without following symlinks, so
//! nothing outside the root is ever made, changed or removed, whatever lies in it and whoever changes it meanwhile.
//! A file appears under its name only when its content and what belongs to it are complete.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags,
};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::names;
use crate::{Entry, Existing, Kind, Time, Trouble};

/// Zeros are found by blocks of this size; no file system has smaller holes worth making.
const HOLE_BYTES: usize = 4096;

/// What the name of a file that is being written begins with; the number of the process and a number of its own follow.
const FRESH_NAME: &str = ".berth-restoring-";

/// Names tried for a file that is being written, in case an earlier restore was killed and left some behind.
const FRESH_NAMES_MAX: u32 = 10_000;

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What came out of making an entry that is there now.
#[derive(Default)]
pub(crate) struct Made {
    /// Whether it has its owner.
    pub(crate) owner_set: bool,
    /// What it lacks.
    pub(crate) troubles: Vec<Trouble>,
}

/// What the target has under an entry's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    /// A thing like the entry, as far as can be seen from outside: the content of a file is not looked at.
    Alike,
    Other,
}

pub(crate) struct Target {
    root: OwnedFd,
    existing: Existing,
    user: Uid,
    group: Gid,
    fresh: AtomicU64,
}

impl Target {
    /// Opens the folder, making it and those above it. Only here symlinks are followed: the path is the user's.
    pub(crate) fn open(path: &Path, existing: Existing) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let root = rustix::fs::open(path, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        remove_leftovers(&root);
        Ok(Self {
            root,
            existing,
            user: rustix::process::geteuid(),
            group: rustix::process::getegid(),
            fresh: AtomicU64::new(0),
        })
    }

    /// Opens a folder of the target.
    pub(crate) fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        for name in path {
            folder = rustix::fs::openat(&folder, plain(name)?, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }

    /// Makes a folder that only its owner can use; [`Target::finish_folder`] gives it what it should have. An existing
    /// folder is taken as it is, and made usable if it is ours.
    pub(crate) fn make_folder(&self, parent: &OwnedFd, entry: &Entry) -> Result<(), Trouble> {
        let name = plain(&entry.name).map_err(|_| Trouble::BadName)?;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let folder =
                    rustix::fs::openat(parent, name, FOLDER, Mode::empty()).map_err(|error| match error {
                        Errno::NOTDIR | Errno::LOOP => Trouble::Occupied,
                        error => Trouble::Disk(error.into()),
                    })?;
                let stat = rustix::fs::fstat(&folder).map_err(disk)?;
                if stat.st_uid == self.user.as_raw() && stat.st_mode & 0o700 != 0o700 {
                    rustix::fs::fchmod(&folder, Mode::RWXU).map_err(disk)?;
                }
                remove_leftovers(&folder);
                Ok(())
            }
            Err(error) => Err(disk(error)),
        }
    }

    /// Gives a folder its owner, attributes, mode and times.
    pub(crate) fn finish_folder(&self, path: &Path, entry: &Entry) -> Result<Made, Trouble> {
        let folder = self.folder(path).map_err(Trouble::Disk)?;
        self.dress(folder.as_fd(), entry)
    }

    /// What is there under the name of a file, symlink or special file.
    pub(crate) fn there(&self, parent: &OwnedFd, entry: &Entry) -> Result<There, Trouble> {
        let name = plain(&entry.name).map_err(|_| Trouble::BadName)?;
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(There::Nothing),
            Err(error) => return Err(disk(error)),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_alike = match &entry.kind {
            Kind::File { .. } => kind == FileType::RegularFile && self.is_file_alike(&stat, entry),
            Kind::Symlink { target } => {
                kind == FileType::Symlink
                    && rustix::fs::readlinkat(parent, name, Vec::new())
                        .is_ok_and(|found| found.as_bytes() == target.as_os_str().as_bytes())
            }
            Kind::Fifo => kind == FileType::Fifo,
            Kind::CharDevice(number) => kind == FileType::CharacterDevice && stat.st_rdev == *number,
            Kind::BlockDevice(number) => kind == FileType::BlockDevice && stat.st_rdev == *number,
            Kind::Folder { .. } | Kind::Socket => false,
        };
        Ok(if is_alike { There::Alike } else { There::Other })
    }

    fn is_file_alike(&self, stat: &Stat, entry: &Entry) -> bool {
        let is_ours = stat.st_uid == self.user.as_raw() || self.user.is_root();
        let owner_set = (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid);
        let is_time_alike = entry.modified.is_none_or(|time| {
            time.seconds == stat.st_mtime && i64::from(time.nanoseconds) == stat.st_mtime_nsec as i64
        });
        is_ours
            && u64::try_from(stat.st_size) == Ok(entry.size_bytes)
            && is_time_alike
            && stat.st_mode & 0o7777 == mode(entry, owner_set).as_raw_mode()
    }

    /// Opens a file of the target for reading.
    pub(crate) fn open_file(&self, parent: &OwnedFd, entry: &Entry) -> io::Result<fs::File> {
        // It may have become a fifo since it was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(parent, plain(&entry.name)?, flags, Mode::empty())?.into())
    }

    /// Makes a regular file; `write` appends its content.
    pub(crate) fn write_file(
        &self,
        parent: &OwnedFd,
        entry: &Entry,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Trouble>,
    ) -> Result<Made, Trouble> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (fresh, file) =
            self.under_fresh_name(|fresh| rustix::fs::openat(parent, fresh, flags, Mode::RUSR | Mode::WUSR))?;
        let file = fs::File::from(file);
        let made = (|| {
            let mut writer = Writer { file: &file, at: 0 };
            write(&mut writer)?;
            // The last block may be a hole.
            file.set_len(writer.at).map_err(Trouble::Disk)?;
            self.dress(file.as_fd(), entry)
        })();
        self.put_in_place(parent, &fresh, entry, made)
    }

    /// Makes a symlink, fifo or device node.
    pub(crate) fn make_special(&self, parent: &OwnedFd, entry: &Entry) -> Result<Made, Trouble> {
        let node = |kind, device| {
            self.under_fresh_name(|fresh| {
                rustix::fs::mknodat(parent, fresh, kind, Mode::RUSR | Mode::WUSR, device)
            })
        };
        let made = match &entry.kind {
            Kind::Symlink { target } => {
                self.under_fresh_name(|fresh| rustix::fs::symlinkat(target, parent, fresh))
            }
            Kind::Fifo => node(FileType::Fifo, 0),
            Kind::CharDevice(number) => node(FileType::CharacterDevice, *number),
            Kind::BlockDevice(number) => node(FileType::BlockDevice, *number),
            Kind::File { .. } | Kind::Folder { .. } | Kind::Socket => return Err(Trouble::Occupied),
        };
        let (fresh, ()) = made.map_err(|trouble| match (&trouble, &entry.kind) {
            (Trouble::Disk(error), Kind::CharDevice(_) | Kind::BlockDevice(_))
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Trouble::NeedsRoot
            }
            _ => trouble,
        })?;
        let made = self.dress_special(parent, &fresh, entry);
        self.put_in_place(parent, &fresh, entry, made)
    }

    /// Gives the file at `first` a further name, unless it has it already.
    pub(crate) fn link(&self, first: &Path, path: &Path) -> Result<(), Trouble> {
        let failed = |source: io::Error| Trouble::Link {
            first: Path::new("/").join(first),
            source,
        };
        let (from, from_name) = self.parent(first).map_err(failed)?;
        let (to, to_name) = self.parent(path).map_err(failed)?;
        let stat = |folder, name| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if let (Ok(one), Ok(other)) = (stat(&from, from_name), stat(&to, to_name))
            && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        {
            return Ok(());
        }
        let linked =
            self.under_fresh_name(|fresh| rustix::fs::linkat(&from, from_name, &to, fresh, AtFlags::empty()));
        let (fresh, ()) = linked.map_err(|trouble| match trouble {
            Trouble::Disk(error) => failed(error),
            trouble => trouble,
        })?;
        let renamed = self.rename(&to, &fresh, to_name);
        if renamed.is_err() {
            // The first error is the one to tell.
            let _ = rustix::fs::unlinkat(&to, &fresh, AtFlags::empty());
        }
        renamed
    }

    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.folder(path.parent().unwrap_or(Path::new("")))?, plain(name)?))
    }

    /// Makes something under a name that nobody uses.
    fn under_fresh_name<T>(
        &self,
        mut make: impl FnMut(&OsStr) -> rustix::io::Result<T>,
    ) -> Result<(OsString, T), Trouble> {
        for _ in 0..FRESH_NAMES_MAX {
            let number = self.fresh.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!("{FRESH_NAME}{}-{number}", std::process::id()));
            match make(&name) {
                Ok(made) => return Ok((name, made)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(disk(error)),
            }
        }
        Err(disk(Errno::EXIST))
    }

    /// Renames what was made to the name it should have, or removes it if making it failed.
    fn put_in_place(
        &self,
        parent: &OwnedFd,
        fresh: &OsStr,
        entry: &Entry,
        made: Result<Made, Trouble>,
    ) -> Result<Made, Trouble> {
        let made = made.and_then(|made| {
            let name = plain(&entry.name).map_err(|_| Trouble::BadName)?;
            self.rename(parent, fresh, name)?;
            Ok(made)
        });
        if made.is_err() {
            // The first error is the one to tell.
            let _ = rustix::fs::unlinkat(parent, fresh, AtFlags::empty());
        }
        made
    }

    fn rename(&self, parent: &OwnedFd, fresh: &OsStr, name: &OsStr) -> Result<(), Trouble> {
        if self.existing == Existing::Keep {
            match rustix::fs::renameat_with(parent, fresh, parent, name, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => return Err(Trouble::Exists),
                // A file system that can't: look, then rename.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    if rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                        return Err(Trouble::Exists);
                    }
                }
                Err(error) => return Err(disk(error)),
            }
        }
        rustix::fs::renameat(parent, fresh, parent, name).map_err(|error| match error {
            Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => Trouble::Occupied,
            error => disk(error),
        })
    }

    /// Gives an open file or folder all that belongs to it. Each step undoes parts of the next ones, so the order
    /// counts: giving it away clears setuid and capabilities, attributes need a writable file, all but the last step
    /// touch the times.
    fn dress(&self, file: BorrowedFd<'_>, entry: &Entry) -> Result<Made, Trouble> {
        let mut made = Made {
            owner_set: self.is_owner_right(
                rustix::fs::fchown(
                    file,
                    Some(Uid::from_raw(entry.uid)),
                    Some(Gid::from_raw(entry.gid)),
                ),
                entry,
            )?,
            troubles: Vec::new(),
        };
        remove_inherited_attributes(file, entry);
        for attribute in &entry.attributes {
            let set = rustix::fs::fsetxattr(file, &*attribute.name, &attribute.value, XattrFlags::empty());
            note_attribute(&attribute.name, set, &mut made);
        }
        rustix::fs::fchmod(file, mode(entry, made.owner_set)).map_err(disk)?;
        rustix::fs::futimens(file, &times(entry)).map_err(disk)?;
        Ok(made)
    }

    /// The same for what can't be opened.
    fn dress_special(&self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<Made, Trouble> {
        let mut made = Made {
            owner_set: self.is_owner_right(
                rustix::fs::chownat(
                    parent,
                    name,
                    Some(Uid::from_raw(entry.uid)),
                    Some(Gid::from_raw(entry.gid)),
                    AtFlags::SYMLINK_NOFOLLOW,
                ),
                entry,
            )?,
            troubles: Vec::new(),
        };
        // There is no call for attributes below an open folder; the kernel's name for the folder is as good.
        let path = Path::new("/proc/self/fd")
            .join(parent.as_raw_fd().to_string())
            .join(name);
        for attribute in &entry.attributes {
            let set = rustix::fs::lsetxattr(&path, &*attribute.name, &attribute.value, XattrFlags::empty());
            note_attribute(&attribute.name, set, &mut made);
        }
        if !matches!(entry.kind, Kind::Symlink { .. }) {
            // Nobody else knows this name, so nobody put a symlink there.
            rustix::fs::chmodat(parent, name, mode(entry, made.owner_set), AtFlags::empty()).map_err(disk)?;
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(disk)?;
        Ok(made)
    }

    /// Whether the entry belongs to its owner after an attempt to give it away, which needs root.
    fn is_owner_right(&self, given: rustix::io::Result<()>, entry: &Entry) -> Result<bool, Trouble> {
        match given {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::INVAL) => {
                Ok(self.user.as_raw() == entry.uid && self.group.as_raw() == entry.gid)
            }
            Err(error) => Err(disk(error)),
        }
    }
}

/// Removes what restores that were killed have left half-written in a folder.
fn remove_leftovers(folder: &OwnedFd) {
    // What can't be looked through or removed is in nobody's way.
    let Ok(names) = Dir::read_from(folder) else { return };
    for entry in names.flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .ok()
            .and_then(|name| name.strip_prefix(FRESH_NAME))
            .and_then(|rest| rest.split_once('-'))
            .filter(|(_, number)| number.parse::<u64>().is_ok())
            .and_then(|(process, _)| Pid::from_raw(process.parse().ok()?));
        if let Some(process) = process
            && rustix::process::test_kill_process(process) == Err(Errno::SRCH)
        {
            let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
        }
    }
}

/// Appends to a file, leaving holes where there are only zeros.
pub(crate) struct Writer<'a> {
    file: &'a fs::File,
    at: u64,
}

impl Writer<'_> {
    /// Appends `bytes`.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let zeros = zeros_at_front(rest);
            let (hole, after) = rest.split_at(zeros);
            self.at += hole.len() as u64;
            let (data, after) = after.split_at(data_at_front(after));
            self.file.write_all_at(data, self.at)?;
            self.at += data.len() as u64;
            rest = after;
        }
        Ok(())
    }
}

fn is_zero(block: &[u8]) -> bool {
    block == [0; HOLE_BYTES]
}

/// Length of the whole blocks of zeros that `bytes` starts with.
fn zeros_at_front(bytes: &[u8]) -> usize {
    bytes
        .chunks_exact(HOLE_BYTES)
        .take_while(|block| is_zero(block))
        .count()
        * HOLE_BYTES
}

/// Length of what comes before the first whole block of zeros.
fn data_at_front(bytes: &[u8]) -> usize {
    bytes
        .chunks_exact(HOLE_BYTES)
        .position(is_zero)
        .map_or(bytes.len(), |blocks| blocks * HOLE_BYTES)
}

fn plain(name: &OsStr) -> io::Result<&OsStr> {
    if names::is_plain(name) {
        Ok(name)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Setuid and setgid are dropped where the owner is another one: they would give that other one's rights away.
fn mode(entry: &Entry, owner_set: bool) -> Mode {
    let bits = if owner_set {
        entry.mode & 0o7777
    } else {
        entry.mode & 0o1777
    };
    Mode::from_raw_mode(bits)
}

fn times(entry: &Entry) -> Timestamps {
    let timespec = |time: Option<Time>| match time {
        Some(time) => Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.into(),
        },
        None => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
    };
    Timestamps {
        last_access: timespec(entry.accessed),
        last_modification: timespec(entry.modified),
    }
}

/// A target with a default ACL gives new files access rules that the original did not have.
fn remove_inherited_attributes(file: BorrowedFd<'_>, entry: &Entry) {
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        if !entry.attributes.iter().any(|attribute| attribute.name == name) {
            // Mostly there is none; where it can't be removed it could not have been set either.
            let _ = rustix::fs::fremovexattr(file, name);
        }
    }
}

fn note_attribute(name: &str, set: rustix::io::Result<()>, made: &mut Made) {
    if let Err(error) = set {
        made.troubles.push(Trouble::Attribute {
            name: name.to_owned(),
            source: error.into(),
        });
    }
}

fn disk(error: Errno) -> Trouble {
    Trouble::Disk(error.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry {
            name: name.into(),
            kind,
            mode: 0o640,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            modified: Some(Time {
                seconds: -5,
                nanoseconds: 7,
            }),
            accessed: None,
            size_bytes: 0,
            links: 1,
            inode: 1,
            device: 1,
            attributes: Vec::new(),
        }
    }

    fn file(name: &str) -> Entry {
        entry(name, Kind::File { content: Vec::new() })
    }

    #[test]
    fn a_symlink_in_the_target_is_replaced_and_never_followed() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), b"theirs").unwrap();
        symlink(outside.path().join("file"), inside.path().join("file")).unwrap();
        symlink(outside.path(), inside.path().join("folder")).unwrap();
        let target = Target::open(inside.path(), Existing::Replace).unwrap();
        let root = target.folder(Path::new("")).unwrap();

        target
            .write_file(&root, &file("file"), |file| {
                file.append(b"ours").map_err(Trouble::Disk)
            })
            .unwrap();
        assert_eq!(fs::read(outside.path().join("file")).unwrap(), b"theirs");
        assert_eq!(fs::read(inside.path().join("file")).unwrap(), b"ours");

        let folder = entry("folder", Kind::Folder { tree: None });
        assert!(matches!(
            target.make_folder(&root, &folder),
            Err(Trouble::Occupied)
        ));
        assert!(target.folder(Path::new("folder")).is_err());
        assert!(target.folder(Path::new("..")).is_err());
    }

    #[test]
    fn a_file_that_can_not_be_finished_leaves_nothing_behind_and_keeps_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), b"old").unwrap();
        let target = Target::open(folder.path(), Existing::Replace).unwrap();
        let root = target.folder(Path::new("")).unwrap();
        let made = target.write_file(&root, &file("a"), |file| {
            file.append(b"half").map_err(Trouble::Disk)?;
            Err(Trouble::NoTree)
        });
        assert!(matches!(made, Err(Trouble::NoTree)));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_in_the_way_of_a_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), b"mine").unwrap();
        let target = Target::open(folder.path(), Existing::Replace).unwrap();
        let root = target.folder(Path::new("")).unwrap();
        assert!(matches!(
            target.write_file(&root, &file("a"), |_| Ok(())),
            Err(Trouble::Occupied)
        ));
        assert_eq!(fs::read(folder.path().join("a/b")).unwrap(), b"mine");
    }

    #[test]
    fn a_file_that_appears_while_another_is_written_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::open(folder.path(), Existing::Keep).unwrap();
        let root = target.folder(Path::new("")).unwrap();
        let made = target.write_file(&root, &file("a"), |file| {
            fs::write(folder.path().join("a"), b"mine").map_err(Trouble::Disk)?;
            file.append(b"the snapshot's").map_err(Trouble::Disk)
        });
        assert!(matches!(made, Err(Trouble::Exists)));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_restore_left_is_removed_and_what_a_running_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let running = format!("{FRESH_NAME}{}-0", std::process::id());
        let kept = [running, format!("{FRESH_NAME}999999999-a"), "a".into()];
        for name in &kept {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        // No kernel gives numbers so high.
        fs::write(folder.path().join(format!("{FRESH_NAME}999999999-0")), b"").unwrap();
        Target::open(folder.path(), Existing::Keep).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut kept = kept.to_vec();
        kept.sort();
        assert_eq!(left, kept);
    }

    #[test]
    fn zeros_become_holes_and_content_and_length_stay() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::open(folder.path(), Existing::Replace).unwrap();
        let root = target.folder(Path::new("")).unwrap();
        let mut content = vec![0; 3 << 20];
        content.splice(1_000_000..1_000_003, *b"abc");
        target
            .write_file(&root, &file("a"), |file| {
                for part in content.chunks(700_001) {
                    file.append(part).map_err(Trouble::Disk)?;
                }
                Ok(())
            })
            .unwrap();
        let path = folder.path().join("a");
        assert!(fs::read(&path).unwrap() == content);
        let metadata = fs::metadata(&path).unwrap();
        assert!(metadata.blocks() * 512 < 100_000, "{} blocks", metadata.blocks());
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-5, 7));
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn setuid_does_not_survive_a_change_of_owner() {
        let mut entry = file("a");
        entry.mode = 0o6755;
        assert_eq!(mode(&entry, true).as_raw_mode(), 0o6755);
        assert_eq!(mode(&entry, false).as_raw_mode(), 0o755);
    }
}
