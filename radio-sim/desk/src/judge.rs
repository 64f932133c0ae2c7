//! Whether what was restored is what was backed up: differences that are no fault are told apart from those that are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use berth_client_sdk::Summary;
use berth_restore::compare::Difference;

use crate::story::Outcome;

/// Judges what differs between `folder` and what was restored. No fault: what could not be read, and what changed after
/// `began_ns` (nanoseconds since 1970), when the visit began. With each difference in words.
pub(crate) fn judge(
    folder: &Path,
    found: &[Difference],
    summary: &Summary,
    began_ns: i64,
) -> (Outcome, Vec<String>) {
    let mut outcome = if found.is_empty() && summary.not_read_count == 0 {
        Outcome::Same
    } else {
        Outcome::SomeNotRead
    };
    let lines = found.iter().map(|difference| {
        let path = folder.join(&difference.path);
        let is_named = summary
            .not_read
            .iter()
            .any(|named| path.starts_with(&named.path) || named.path.parent() == Some(&path));
        let has_changed = !is_named && changed_since(&path, began_ns.into());
        if !is_named && !has_changed {
            outcome = Outcome::Different;
        }
        let why = if has_changed {
            " (it changed after the visit began)"
        } else {
            ""
        };
        format!("{}: {}{why}", path.display(), difference.what)
    });
    let lines = lines.collect();
    (outcome, lines)
}

/// Whether the entry changed since, or, where it is gone, the folder that it was in.
fn changed_since(path: &Path, began_ns: i128) -> bool {
    path.ancestors()
        .find_map(|path| fs::symlink_metadata(path).ok())
        .is_some_and(|found| changed_at_ns(&found) >= began_ns)
}

fn changed_at_ns(found: &fs::Metadata) -> i128 {
    i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_or_went_after_the_visit_began_is_told_from_what_did_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"x").unwrap();
        let changed_ns = changed_at_ns(&fs::metadata(&file).unwrap());
        assert!(changed_since(&file, changed_ns));
        assert!(!changed_since(&file, changed_ns + 1));
        fs::remove_file(&file).unwrap();
        let gone_ns = changed_at_ns(&fs::metadata(folder.path()).unwrap());
        assert!(changed_since(&file, gone_ns));
        assert!(!changed_since(&file, gone_ns + 1));
    }
}
