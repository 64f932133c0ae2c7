//! Whether two folders are the same: names, kinds, content, permissions, owners, times of change to the nanosecond,
//! targets of symlinks, which names are one file, extended attributes, device numbers.
//!
//! Not compared: times of reading, inode numbers, holes. Sockets are passed over: they are never backed up.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Read at once when contents are compared.
const BLOCK_BYTES: usize = 1 << 18;

/// Whether owners count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Owner and group must be the same.
    Compared,
    /// Only root can give files away: whoever is not root has no way to restore owners.
    Ignored,
}

impl Owners {
    /// What can be asked of a restore by the user who runs this.
    #[must_use]
    pub fn of_this_user() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Compared
        } else {
            Self::Ignored
        }
    }
}

/// One thing that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Relative to both folders; empty for the folders themselves.
    pub path: PathBuf,
    /// In words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.path, self.what)
    }
}

/// All differences, sorted by path. None: the folders are the same. `left_out`: absolute paths that are not looked at.
/// What can't be read below the folders is a difference too.
///
/// # Errors
/// One of the two folders itself can't be read.
pub fn differences(
    left: &Path,
    right: &Path,
    owners: Owners,
    left_out: &[PathBuf],
) -> io::Result<Vec<Difference>> {
    let mut found = Vec::new();
    let left_entries = entries(left, left_out, &mut found)?;
    let right_entries = entries(right, left_out, &mut found)?;
    let names: BTreeSet<&PathBuf> = left_entries.keys().chain(right_entries.keys()).collect();
    for path in names {
        let mut differ = |what: String| {
            found.push(Difference {
                path: path.clone(),
                what,
            });
        };
        match (left_entries.get(path), right_entries.get(path)) {
            (Some(a), Some(b)) => {
                let compared = compare_entry(&left.join(path), a, &right.join(path), b, owners, &mut differ);
                if let Err(error) = compared {
                    differ(format!("can't be compared: {error}"));
                }
            }
            (Some(_), None) => differ("is missing".to_owned()),
            (None, _) => differ("should not be there".to_owned()),
        }
    }
    let [left_links, right_links] = [links(&left_entries), links(&right_entries)];
    for group in left_links.symmetric_difference(&right_links) {
        let side = if left_links.contains(group) {
            "only left"
        } else {
            "only right"
        };
        if let Some(path) = group.first() {
            found.push(Difference {
                path: path.clone(),
                what: format!("is one file with {:?} {side}", &group[1..]),
            });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Everything below `root` and itself, by relative path; sockets left out.
fn entries(
    root: &Path,
    left_out: &[PathBuf],
    unreadable: &mut Vec<Difference>,
) -> io::Result<BTreeMap<PathBuf, Metadata>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    found.insert(PathBuf::new(), fs::metadata(root)?);
    while let Some(folder) = folders.pop() {
        if let Err(error) = folder_entries(root, &folder, left_out, &mut found, &mut folders) {
            if folder.as_os_str().is_empty() {
                return Err(error);
            }
            let what = format!("can't be read: {error}");
            unreadable.push(Difference { path: folder, what });
        }
    }
    Ok(found)
}

fn folder_entries(
    root: &Path,
    folder: &Path,
    left_out: &[PathBuf],
    found: &mut BTreeMap<PathBuf, Metadata>,
    folders: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let path = folder.join(entry?.file_name());
        let whole = root.join(&path);
        if left_out.contains(&whole) {
            continue;
        }
        let metadata = fs::symlink_metadata(whole)?;
        if metadata.file_type().is_socket() {
            continue;
        }
        if metadata.is_dir() {
            folders.push(path.clone());
        }
        found.insert(path, metadata);
    }
    Ok(())
}

/// The groups of names that are one regular file.
fn links(entries: &BTreeMap<PathBuf, Metadata>) -> BTreeSet<Vec<PathBuf>> {
    let mut groups: BTreeMap<(u64, u64), Vec<PathBuf>> = BTreeMap::new();
    for (path, metadata) in entries {
        if metadata.is_file() && metadata.nlink() > 1 {
            let group = groups.entry((metadata.dev(), metadata.ino())).or_default();
            group.push(path.clone());
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

fn compare_entry(
    left_path: &Path,
    left: &Metadata,
    right_path: &Path,
    right: &Metadata,
    owners: Owners,
    differ: &mut dyn FnMut(String),
) -> io::Result<()> {
    if kind(left) != kind(right) {
        differ(format!("is a {} left, a {} right", kind(left), kind(right)));
        return Ok(());
    }
    let mut number = |what: &str, a: i128, b: i128| {
        if a != b {
            differ(format!("{what} is {a} left, {b} right"));
        }
    };
    if owners == Owners::Compared {
        number("owner", left.uid().into(), right.uid().into());
        number("group", left.gid().into(), right.gid().into());
    }
    number("time of change (ns)", time(left), time(right));
    if left.file_type().is_char_device() || left.file_type().is_block_device() {
        number("device number", left.rdev().into(), right.rdev().into());
    }
    if left.is_file() {
        number("size", left.len().into(), right.len().into());
    }
    if left.mode() != right.mode() {
        differ(format!(
            "permissions are {:04o} left, {:04o} right",
            left.mode() & 0o7777,
            right.mode() & 0o7777
        ));
    }
    if left.is_symlink() {
        let [a, b] = [fs::read_link(left_path)?, fs::read_link(right_path)?];
        if a != b {
            differ(format!("leads to {a:?} left, {b:?} right"));
        }
    }
    if left.is_file()
        && left.len() == right.len()
        && let Some(offset) = first_difference(left_path, right_path)?
    {
        differ(format!("content differs from byte {offset} on"));
    }
    let [a, b] = [attributes(left_path)?, attributes(right_path)?];
    if a != b {
        differ(format!("extended attributes are {a:?} left, {b:?} right"));
    }
    Ok(())
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "folder",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_char_device() => "character device",
        () if kind.is_block_device() => "block device",
        () => "socket",
    }
}

fn time(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

fn attributes(path: &Path) -> io::Result<BTreeMap<OsString, Option<Vec<u8>>>> {
    match xattr::list(path) {
        Ok(names) => names
            .map(|name| {
                let value = xattr::get(path, &name)?;
                Ok((name, value))
            })
            .collect(),
        // Not every file system has them.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Offset of the first byte that differs between two files of the same size.
fn first_difference(left: &Path, right: &Path) -> io::Result<Option<u64>> {
    let [mut left, mut right] = [File::open(left)?, File::open(right)?];
    let [mut a, mut b] = [vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]];
    let mut offset = 0;
    loop {
        let size = left.read(&mut a)?;
        if size == 0 {
            return Ok(None);
        }
        right.read_exact(&mut b[..size])?;
        if a[..size] != b[..size] {
            let at = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(0);
            return Ok(Some(offset + at as u64));
        }
        offset += size as u64;
    }
}
