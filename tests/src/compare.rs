//! Whether two folders are the same, for tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use berth_restore::compare::{Difference, Owners, differences};

/// Panics with a readable list unless both folders are the same; for tests.
///
/// # Panics
/// Where the folders differ or can't be read.
#[track_caller]
#[expect(clippy::panic, reason = "an assertion for tests")]
pub fn assert_same(left: &Path, right: &Path, owners: Owners) {
    const SHOWN_MAX: usize = 30;
    match differences(left, right, owners, &[]) {
        Ok(found) if found.is_empty() => {}
        Ok(found) => {
            let shown: Vec<String> = found.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
            panic!(
                "{} differences between {left:?} and {right:?}:\n  {}",
                found.len(),
                shown.join("\n  ")
            );
        }
        Err(error) => panic!("can't compare {left:?} and {right:?}: {error}"),
    }
}

/// All regular files below `root`, sorted.
///
/// # Errors
/// Those of the disk.
pub fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    type Change = Box<dyn Fn(&Path)>;

    fn copies() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let [left, right] = ["left", "right"].map(|name| folder.path().join(name));
        crate::corpus::odd_folder(&left, 1).unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .args([&left, &right])
            .status()
            .unwrap();
        assert!(copied.success());
        (folder, left, right)
    }

    #[test]
    fn a_faithful_copy_has_no_difference() {
        let (_folder, left, right) = copies();
        assert_same(&left, &right, Owners::of_this_user());
    }

    #[test]
    fn every_kind_of_change_is_a_difference() {
        let (_folder, left, right) = copies();
        let changes: [(&str, Change); 8] = [
            (
                "content differs from byte 21",
                Box::new(|root| {
                    let path = root.join("contents/text");
                    let time = fs::metadata(&path).unwrap().modified().unwrap();
                    let file = File::options().write(true).open(&path).unwrap();
                    std::os::unix::fs::FileExt::write_at(&file, b"A", 21).unwrap();
                    file.set_modified(time).unwrap();
                }),
            ),
            (
                "time of change",
                Box::new(|root| {
                    let file = File::options()
                        .write(true)
                        .open(root.join("contents/text"))
                        .unwrap();
                    file.set_modified(std::time::UNIX_EPOCH).unwrap();
                }),
            ),
            (
                "permissions are",
                Box::new(|root| {
                    fs::set_permissions(root.join("contents/text"), fs::Permissions::from_mode(0o4644))
                        .unwrap();
                }),
            ),
            (
                "extended attributes",
                Box::new(|root| {
                    xattr::set(root.join("contents/text"), "user.new", b"x").unwrap();
                }),
            ),
            (
                "is one file with",
                Box::new(|root| {
                    let path = root.join("links/second");
                    fs::remove_file(&path).unwrap();
                    fs::copy(root.join("links/first"), &path).unwrap();
                }),
            ),
            (
                "leads to",
                Box::new(|root| {
                    fs::remove_file(root.join("links/up")).unwrap();
                    symlink("../..", root.join("links/up")).unwrap();
                }),
            ),
            (
                "is missing",
                Box::new(|root| fs::remove_file(root.join("special/fifo")).unwrap()),
            ),
            (
                "is a symlink left, a file right",
                Box::new(|root| {
                    fs::remove_file(root.join("links/root")).unwrap();
                    File::create(root.join("links/root")).unwrap();
                }),
            ),
        ];
        for (what, change) in changes {
            change(&right);
            let found = differences(&left, &right, Owners::of_this_user(), &[]).unwrap();
            assert!(
                found.iter().any(|difference| difference.what.contains(what)),
                "{what:?} not among {found:?}"
            );
        }
    }
}
