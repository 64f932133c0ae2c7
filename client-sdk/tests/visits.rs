//! Whole visits of a laptop at a real hub, judged by restic.

mod support;

use std::fs;
use std::path::Path;

use berth_client_sdk::OsSource;
use support::{Cut, Pair, assert_same};

fn below(restored: &Path, folder: &Path) -> std::path::PathBuf {
    restored.join(folder.strip_prefix("/").unwrap())
}

#[test]
fn a_second_visit_without_changes_reads_no_file_and_sends_next_to_nothing() {
    let files = tempfile::tempdir().unwrap();
    for at in 0..200_u32 {
        let folder = files.path().join(format!("f{}", at % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(format!("{at}.txt")),
            vec![(at % 251) as u8; 40_000 + at as usize],
        )
        .unwrap();
    }
    let mut pair = Pair::new();
    let first = pair
        .visit(Box::new(OsSource::new()), &[files.path()], Cut::Never)
        .summary
        .unwrap();
    assert_eq!(
        (first.files, first.content_files_read, first.not_read_count),
        (200, 200, 0)
    );
    let second = pair
        .visit(Box::new(OsSource::new()), &[files.path()], Cut::Never)
        .summary
        .unwrap();
    println!("{} then {} bytes", first.bytes_sent, second.bytes_sent);
    assert_eq!(
        (second.files, second.content_files_read, second.bytes_new),
        (200, 0, 0)
    );
    assert_same(files.path(), &below(&pair.restored("latest"), files.path()));
}
