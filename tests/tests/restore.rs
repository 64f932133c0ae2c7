//! Restoring through `berth-restore` what the real restic has backed up.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use berth_repository::Id;
use berth_restore::{
    CheckDepth, Depth, Existing, FolderSource, Kind, ObjectSource, Repository, RestoreError, Severity,
    Snapshot, Time, Trouble,
};
use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use berth_tests::restic::Restic;

const PASSWORD: &str = "correct horse battery staple";

/// A folder and a repository that restic made of it.
struct Backup {
    folder: tempfile::TempDir,
    restic: Restic,
}

impl Backup {
    /// Makes `SOURCE` with `make` and backs it up.
    fn of(make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        fs::write(&password_file, PASSWORD).unwrap();
        let restic = Restic::new(folder.path().join("repository"), password_file);
        restic.init().unwrap();
        let backup = Self { folder, restic };
        make(&backup.source());
        backup.restic.backup(&backup.source()).unwrap();
        backup
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn source(&self) -> PathBuf {
        self.at("source")
    }

    fn open(&self) -> Repository {
        Repository::open(FolderSource::new(self.at("repository")), PASSWORD).unwrap()
    }

    fn latest(&self) -> (Repository, Snapshot) {
        let repository = self.open();
        let snapshot = repository.snapshots().unwrap().pop().unwrap();
        (repository, snapshot)
    }

    /// Where a restore into `name` puts the file at `path`.
    fn restored(&self, name: &str, path: &Path) -> PathBuf {
        self.at(name).join(path.strip_prefix("/").unwrap())
    }
}

#[test]
fn an_odd_folder_comes_back_from_restic_the_same() {
    let backup = Backup::of(|source| {
        corpus::odd_folder(source, 11).unwrap();
    });
    let (repository, snapshot) = backup.latest();
    let report = repository
        .restore(&snapshot, &[], &backup.at("restored"), Existing::Keep, &|_| {})
        .unwrap();
    assert!(report.is_whole(), "{:#?}", report.problems);
    assert_eq!(report.hard_links, 3);
    let restored = backup.restored("restored", &backup.source());
    assert_same(&backup.source(), &restored, Owners::of_this_user());
}

#[test]
fn what_restic_restores_and_what_we_restore_is_the_same() {
    let backup = Backup::of(|source| corpus::text_and_office(source, 2, 8_000_000).unwrap());
    backup.restic.restore("latest", &backup.at("theirs")).unwrap();
    let (repository, snapshot) = backup.latest();
    repository
        .restore(&snapshot, &[], &backup.at("ours"), Existing::Keep, &|_| {})
        .unwrap();
    assert_same(
        &backup.restored("theirs", &backup.source()),
        &backup.restored("ours", &backup.source()),
        Owners::Compared,
    );
}

#[test]
fn a_second_restore_with_restic_data_over_the_first_repairs_it() {
    let backup = Backup::of(|source| {
        corpus::odd_folder(source, 4).unwrap();
    });
    let (repository, snapshot) = backup.latest();
    let into = backup.at("restored");
    repository
        .restore(&snapshot, &[], &into, Existing::Keep, &|_| {})
        .unwrap();
    let restored = backup.restored("restored", &backup.source());
    fs::write(restored.join("contents/text"), b"scribbled over").unwrap();
    fs::remove_file(restored.join("links/second")).unwrap();
    fs::remove_file(restored.join("contents/random")).unwrap();
    symlink("/etc/passwd", restored.join("contents/random")).unwrap();
    let report = repository
        .restore(&snapshot, &[], &into, Existing::Replace, &|_| {})
        .unwrap();
    assert!(report.is_whole(), "{:#?}", report.problems);
    assert_same(&backup.source(), &restored, Owners::of_this_user());
}

#[test]
fn only_the_wanted_paths_of_a_restic_snapshot_are_restored() {
    let backup = Backup::of(|source| corpus::deep_tree(source, 1, 5).unwrap());
    let (repository, snapshot) = backup.latest();
    let wanted = backup.source().join("d/d/file");
    let report = repository
        .restore(
            &snapshot,
            std::slice::from_ref(&wanted),
            &backup.at("restored"),
            Existing::Keep,
            &|_| {},
        )
        .unwrap();
    assert_eq!(report.files, 1);
    let restored = backup.restored("restored", &wanted);
    assert_eq!(fs::read(&wanted).unwrap(), fs::read(&restored).unwrap());
    assert_eq!(fs::read_dir(restored.parent().unwrap()).unwrap().count(), 1);

    let missing = repository.restore(
        &snapshot,
        &[wanted.join("x")],
        &backup.at("nothing"),
        Existing::Keep,
        &|_| {},
    );
    assert!(matches!(missing, Err(RestoreError::NotInSnapshot { .. })));
    assert!(!backup.at("nothing").exists());
}

#[test]
fn a_restic_snapshot_can_be_listed_and_a_file_of_it_read() {
    let backup = Backup::of(|source| corpus::deep_tree(source, 1, 3).unwrap());
    let (repository, snapshot) = backup.latest();
    assert_eq!(snapshot.paths, [backup.source()]);
    let mut seen = Vec::new();
    repository
        .list(
            &snapshot,
            &backup.source().join("d"),
            Depth::Everything,
            &mut |path, entry| {
                seen.push((path.to_path_buf(), entry.unwrap().is_folder()));
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    let folder = backup.source().join("d");
    assert_eq!(
        seen,
        [
            (folder.join("d"), true),
            (folder.join("file"), false),
            (folder.join("d/d"), true),
            (folder.join("d/file"), false),
        ]
    );
    let mut content = Vec::new();
    repository
        .cat(&snapshot, &folder.join("file"), &mut content)
        .unwrap();
    assert_eq!(content, fs::read(folder.join("file")).unwrap());
    let error = repository.cat(&snapshot, &folder, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, RestoreError::NotAFile { .. }));
}

#[test]
fn a_restic_repository_opens_with_its_password_only() {
    let backup = Backup::of(|source| fs::create_dir(source).unwrap());
    let wrong = Repository::open(FolderSource::new(backup.at("repository")), "guess");
    assert!(matches!(wrong, Err(RestoreError::WrongKey { .. })));
    let nothing = Repository::open(FolderSource::new(backup.source()), PASSWORD);
    assert!(matches!(nothing, Err(RestoreError::NoRepository { .. })));
}

#[test]
fn a_damaged_restic_pack_is_found_and_costs_only_the_files_in_it() {
    let backup = Backup::of(|source| {
        corpus::incompressible(source, 9, 60_000_000).unwrap();
        fs::write(source.join("small"), b"in some pack").unwrap();
    });
    let whole = backup.open().check(CheckDepth::Data).unwrap();
    assert!(
        whole.iter().all(|finding| finding.severity == Severity::Warning),
        "{whole:?}"
    );

    let source = FolderSource::new(backup.at("repository"));
    let packs = source.list(berth_restore::ObjectKind::Pack).unwrap();
    let (largest, _) = packs.iter().max_by_key(|(_, size)| *size).unwrap();
    damage(&backup.at("repository"), *largest);

    let findings = backup.open().check(CheckDepth::Data).unwrap();
    assert!(
        findings.iter().any(|finding| finding.severity == Severity::Error),
        "{findings:?}"
    );
    let (repository, snapshot) = backup.latest();
    let report = repository
        .restore(&snapshot, &[], &backup.at("restored"), Existing::Keep, &|_| {})
        .unwrap();
    assert!(!report.problems.is_empty());
    assert!(report.files > 0);
    for problem in &report.problems {
        assert!(matches!(problem.trouble, Trouble::Content(_)), "{problem}");
        assert!(
            !backup.restored("restored", &problem.path).exists(),
            "half a file: {problem}"
        );
    }
}

/// Flips a bit in every 64 KiB of a pack.
fn damage(repository: &Path, id: Id) {
    let name = id.to_string();
    let path = repository.join("data").join(&name[..2]).join(&name);
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().step_by(1 << 16) {
        *byte ^= 1;
    }
    fs::remove_file(&path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn times_and_targets_of_a_restic_snapshot_are_told_exactly() {
    let backup = Backup::of(|source| {
        corpus::odd_folder(source, 1).unwrap();
    });
    let (repository, snapshot) = backup.latest();
    let entry = |path: &str| {
        repository
            .entry(&snapshot, &backup.source().join(path))
            .unwrap()
            .unwrap()
    };
    let expected = Time {
        seconds: -1,
        nanoseconds: 999_999_999,
    };
    assert_eq!(entry("times/1969, last nanosecond").modified, Some(expected));
    let Kind::Symlink { target } = entry("links/long target").kind else {
        unreachable!("a symlink in the source");
    };
    assert_eq!(
        target,
        fs::read_link(backup.source().join("links/long target")).unwrap()
    );
}
