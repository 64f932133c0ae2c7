//! Every kind of entry, and files that do not hold still.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // test code outside of a test function

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_client_sdk::{Metadata, NotReadReason, OsSource, Rules, Source, SourceFile};
use support::{Cut, Pair, assert_same};

fn below(restored: &Path, folder: &Path) -> PathBuf {
    restored.join(folder.strip_prefix("/").unwrap())
}

fn run(program: &str, args: &[&OsStr]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn an_entry_of_every_kind_comes_back_as_it_was() {
    let files = tempfile::tempdir().unwrap();
    let root = files.path();
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("empty")).unwrap();
    fs::write(at("file"), b"content").unwrap();
    fs::hard_link(at("file"), at("another name")).unwrap();
    fs::write(at("nothing"), b"").unwrap();
    fs::write(at("setuid"), b"x").unwrap();
    fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff utf-8 \"\\")), b"x").unwrap();
    fs::write(at("ünïcode\n"), b"x").unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(3_000_000).unwrap();
    run("mkfifo", &[at("fifo").as_os_str()]);
    // Only root may make devices; elsewhere the rest of the test still holds.
    let device = Command::new("mknod")
        .arg(at("null"))
        .args(["c", "1", "3"])
        .output()
        .unwrap();
    println!("device made: {}", device.status.success());
    run(
        "touch",
        &[
            "-h".as_ref(),
            "-d".as_ref(),
            "1965-01-02 03:04:05.123456789 UTC".as_ref(),
            at("nothing").as_os_str(),
        ],
    );
    xattr::set(at("file"), "user.berth", b"\xff\x00value").unwrap();
    xattr::set(at("empty"), "user.folder", b"value").unwrap();
    let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

    let mut pair = Pair::new();
    let summary = pair
        .visit(Box::new(OsSource::new()), &[root], Cut::Never)
        .summary
        .unwrap();
    drop(socket);
    fs::remove_file(at("socket")).unwrap();
    assert_eq!(
        (summary.sockets, summary.not_read_count),
        (1, 0),
        "{:?}",
        summary.not_read
    );
    assert_eq!(
        summary.content_files_read, 6,
        "a file with two names is read once"
    );
    run("touch", &["-d".as_ref(), "2001-02-03".as_ref(), root.as_os_str()]);
    let there = below(&pair.restored("latest"), root);
    run(
        "touch",
        &["-d".as_ref(), "2001-02-03".as_ref(), there.as_os_str()],
    );
    assert_same(root, &there);
    let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(there.join(name)).unwrap());
    assert_eq!(inode("file"), inode("another name"));
    assert_eq!(
        xattr::get(there.join("file"), "user.berth").unwrap().unwrap(),
        b"\xff\x00value"
    );
    assert_eq!(
        xattr::get(there.join("empty"), "user.folder").unwrap().unwrap(),
        b"value"
    );
}

#[test]
fn what_the_rules_leave_out_is_not_there_and_the_state_folder_never_is() {
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name);
    for folder in ["keep", "cache", "state", "node_modules"] {
        fs::create_dir(at(folder)).unwrap();
        fs::write(at(folder).join("x"), b"x").unwrap();
    }
    fs::write(
        at("cache/CACHEDIR.TAG"),
        b"Signature: 8a477f597d28d172789f06886806bc55\n",
    )
    .unwrap();
    let mut pair = Pair::new();
    pair.rules = Rules {
        patterns: vec!["node_modules/".into(), "*.o".into()],
        paths: vec![at("state")],
        skip_caches: true,
        one_file_system: true,
    };
    fs::write(at("keep/a.o"), b"x").unwrap();
    let visit = pair.visit(Box::new(OsSource::new()), &[files.path()], Cut::Never);
    assert_eq!(visit.summary.unwrap().files, 2);
    let there = below(&pair.restored("latest"), files.path());
    let mut names: Vec<_> = walk(&there);
    names.sort();
    assert_eq!(names, ["cache", "cache/CACHEDIR.TAG", "keep", "keep/x"]);
}

fn walk(folder: &Path) -> Vec<String> {
    let output = Command::new("find")
        .arg(folder)
        .args(["-mindepth", "1", "-printf", "%P\\n"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The computer's files, some of which do not hold still.
struct Restless {
    files: OsSource,
    /// Opened files so far, shared with the test.
    opened: Arc<AtomicU64>,
}

struct Growing(Box<dyn SourceFile>, PathBuf);

impl SourceFile for Growing {
    fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer);
        let mut all = fs::read(&self.1)?;
        all.extend_from_slice(b"more");
        fs::write(&self.1, all)?;
        read
    }
}

struct Failing(Box<dyn SourceFile>);

impl SourceFile for Failing {
    fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is broken here"))
    }
}

impl Source for Restless {
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.files.metadata(path)
    }

    fn read_folder(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        self.files.read_folder(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SourceFile>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        match path.file_name().and_then(OsStr::to_str) {
            Some("vanishes") => Err(io::ErrorKind::NotFound.into()),
            Some("forbidden") => Err(io::ErrorKind::PermissionDenied.into()),
            Some("grows") => Ok(Box::new(Growing(self.files.open(path)?, path.to_owned()))),
            Some("broken") => Ok(Box::new(Failing(self.files.open(path)?))),
            _ => self.files.open(path),
        }
    }

    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.read_link(path)
    }

    fn xattrs(&self, path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.files.xattrs(path)
    }

    fn user_name(&self, uid: u32) -> String {
        self.files.user_name(uid)
    }

    fn group_name(&self, gid: u32) -> String {
        self.files.group_name(gid)
    }
}

#[test]
fn files_that_vanish_change_or_cannot_be_read_are_named_and_the_rest_is_there() {
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name);
    fs::write(at("fine"), b"fine").unwrap();
    fs::write(at("broken"), b"its previous version").unwrap();
    let mut pair = Pair::new();
    pair.visit(Box::new(OsSource::new()), &[files.path()], Cut::Never);
    for name in ["vanishes", "forbidden", "grows", "broken"] {
        fs::write(at(name), name.repeat(100)).unwrap();
    }
    let opened = Arc::new(AtomicU64::new(0));
    let restless = || {
        Box::new(Restless {
            files: OsSource::new(),
            opened: opened.clone(),
        })
    };
    let summary = pair
        .visit(restless(), &[files.path()], Cut::Never)
        .summary
        .unwrap();
    let named: Vec<_> = summary
        .not_read
        .iter()
        .map(|one| (one.path.file_name().unwrap().to_str().unwrap(), one.why.clone()))
        .collect();
    println!("{named:?}");
    assert_eq!(summary.not_read_count, 4);
    for (name, why) in &named {
        match *name {
            "vanishes" => assert_eq!(*why, NotReadReason::Vanished),
            "grows" => assert_eq!(*why, NotReadReason::Changed),
            "forbidden" => assert!(matches!(why, NotReadReason::LeftOut { .. })),
            "broken" => assert!(matches!(why, NotReadReason::PreviousKept { .. })),
            other => panic!("{other} is named"),
        }
    }
    let there = below(&pair.restored("latest"), files.path());
    assert_eq!(fs::read(there.join("broken")).unwrap(), b"its previous version");
    assert_eq!(
        fs::read(there.join("grows")).unwrap(),
        "grows".repeat(100).as_bytes()
    );
    assert!(!there.join("vanishes").exists() && !there.join("forbidden").exists());
    // All four are tried again, and the calm one is not.
    let before = opened.load(Ordering::Relaxed);
    pair.visit(restless(), &[files.path()], Cut::Never);
    assert!(opened.load(Ordering::Relaxed) - before >= 4);
}

#[test]
fn a_laptop_that_forgot_everything_sends_nothing_twice() {
    let files = tempfile::tempdir().unwrap();
    for at in 0..300_u32 {
        fs::write(files.path().join(at.to_string()), at.to_le_bytes().repeat(10_000)).unwrap();
    }
    let mut pair = Pair::new();
    let first = pair.visit(Box::new(OsSource::new()), &[files.path()], Cut::Never);
    pair.forget();
    let second = pair.visit(Box::new(OsSource::new()), &[files.path()], Cut::Never);
    assert!(second.progress.rebuilt);
    let summary = second.summary.unwrap();
    assert_eq!(summary.content_files_read, 300);
    assert!(
        second.sent * 20 < first.sent,
        "{} after {}",
        second.sent,
        first.sent
    );
    let third = pair.visit(Box::new(OsSource::new()), &[files.path()], Cut::Never);
    assert_eq!(
        (third.progress.rebuilt, third.summary.unwrap().content_files_read),
        (false, 0)
    );
    assert_same(files.path(), &below(&pair.restored("latest"), files.path()));
}
