//! Which names and paths are taken.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::RestoreError;

/// Whether a name is that of one entry in one folder, and of nothing above or below.
pub(crate) fn is_plain(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0)
}

/// A path in a snapshot, with or without its leading slash, as the relative path of its entries; `/` is empty.
pub(crate) fn within(path: &Path) -> Result<PathBuf, RestoreError> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(RestoreError::BadPath {
                    path: path.to_path_buf(),
                });
            }
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "/", "/etc", "a/b", "../a", "a\0"] {
            assert!(!is_plain(OsStr::new(name)), "{name:?} was taken");
        }
        for name in ["...", ".a", "a\nb", "-", " "] {
            assert!(is_plain(OsStr::new(name)), "{name:?} was refused");
        }
        assert!(is_plain(OsStr::from_bytes(b"\xff\\")));
    }

    #[test]
    fn a_path_is_the_same_with_and_without_its_first_slash() {
        assert_eq!(within(Path::new("/a/./b/")).unwrap(), Path::new("a/b"));
        assert_eq!(within(Path::new("/")).unwrap(), Path::new(""));
        assert!(within(Path::new("/a/../b")).is_err());
    }
}
