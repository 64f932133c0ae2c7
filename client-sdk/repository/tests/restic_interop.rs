//! restic 0.14 judges what this crate writes, and this crate reads what restic writes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use berth_repository::{
    BlobKind, Config, ExtendedAttribute, FileMode, Id, IndexFile, KeyFile, Node, NodeKind, Snapshot,
    Timestamp, Tree, open_blob, parse_pack,
};
use support::{Repository, incompressible, restic};

/// Before 1970, to the nanosecond.
const OLD: (i64, u32) = (-157_668_955, 123_456_789);
const NEW: (i64, u32) = (1_700_000_000, 1);

/// Everything that is not the same for all nodes of a test.
fn node(name: &[u8], st_mode: u32, time: (i64, u32), kind: NodeKind) -> Node {
    let time = Timestamp::from_unix(time.0, time.1);
    Node {
        name: name.to_vec(),
        kind,
        mode: FileMode::from_unix(st_mode),
        mtime: time,
        atime: time,
        ctime: time,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: "user <&>".to_owned(),
        group: String::new(),
        inode: u64::from(Id::of(name).as_bytes()[0]) + 1,
        device_id: 1,
        extended_attributes: Vec::new(),
        error: String::new(),
    }
}

fn file(repository: &mut Repository, name: &[u8], st_mode: u32, chunks: &[&[u8]]) -> Node {
    let content = chunks
        .iter()
        .map(|chunk| repository.add(BlobKind::Data, chunk))
        .collect();
    let size = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    node(
        name,
        0o100_000 | st_mode,
        NEW,
        NodeKind::File {
            size,
            links: 1,
            content,
        },
    )
}

fn symlink(name: &[u8], target: &[u8]) -> Node {
    node(
        name,
        0o120_777,
        OLD,
        NodeKind::Symlink {
            target: target.to_vec(),
            links: 1,
        },
    )
}

fn dir(repository: &mut Repository, name: &[u8], st_mode: u32, nodes: Vec<Node>) -> Node {
    let subtree = repository.add(BlobKind::Tree, &Tree::new(nodes).unwrap().to_json());
    node(name, 0o040_000 | st_mode, OLD, NodeKind::Dir { subtree })
}

/// A name with everything that needs escaping in Go's quotes or in JSON.
const ODD_NAME: &[u8] = b"odd \xff\xc3\xa9 <&> \"\\' \n\t\x01\x7f \xc2\xa0 \xe2\x80\xa8 \xf0\x9f\x92\xaf";

/// One node of every kind. Devices only for root: nobody else can restore them.
fn every_kind(repository: &mut Repository) -> Vec<Node> {
    let text = b"a line of text that compresses\n".repeat(10_000);
    let random = incompressible(300_000);
    let mut nodes = vec![
        file(repository, b"text", 0o644, &[&text, &random, &text]),
        file(repository, b"random", 0o600, &[&random]),
        file(repository, b"empty", 0o444, &[]),
        file(repository, b"setuid", 0o6755, &[b"#!"]),
        file(repository, ODD_NAME, 0o640, &[b"odd"]),
        symlink(b"link", b"text"),
        symlink(b"dangling", b"../no/such/<file>"),
        symlink(b"loop", b"loop"),
        node(b"fifo", 0o010_600, OLD, NodeKind::Fifo),
        dir(repository, b"void", 0o750, Vec::new()),
    ];
    let deep = file(repository, b"deep", 0o644, &[b"d"]);
    nodes.push(dir(repository, b"sticky", 0o1777, vec![deep]));
    for name in [b"hard-a", b"hard-b"] {
        let mut hard = file(repository, name, 0o644, &[b"linked"]);
        hard.inode = 4_711;
        if let NodeKind::File { links, .. } = &mut hard.kind {
            *links = 2;
        }
        nodes.push(hard);
    }
    let mut attributed = file(repository, b"attributed", 0o644, &[b"x"]);
    attributed.extended_attributes = [
        ("user.text", &b"value"[..]),
        ("user.bytes", b"\0\xff"),
        ("user.empty", b""),
    ]
    .map(|(name, value)| ExtendedAttribute {
        name: name.to_owned(),
        value: value.to_vec(),
    })
    .to_vec();
    nodes.push(attributed);
    if rustix::process::geteuid().is_root() {
        let (null, block) = (rustix::fs::makedev(1, 3), rustix::fs::makedev(7, 250));
        nodes.push(node(
            b"null",
            0o020_666,
            NEW,
            NodeKind::CharDev {
                device: null,
                links: 1,
            },
        ));
        nodes.push(node(
            b"block",
            0o060_660,
            NEW,
            NodeKind::Dev {
                device: block,
                links: 1,
            },
        ));
    }
    nodes
}

#[test]
fn restic_checks_lists_and_restores_what_we_write() {
    let mut repository = Repository::new();
    let nodes = every_kind(&mut repository);
    let work = dir(&mut repository, b"work", 0o755, nodes.clone());
    let tree = repository.add(BlobKind::Tree, &Tree::new(vec![work]).unwrap().to_json());
    let snapshot = repository.finish(tree);

    let checked = restic(&repository, &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    let listed = restic(&repository, &["ls", "--json", "latest"]);
    assert_eq!(
        listed
            .lines()
            .filter(|line| line.contains(r#""struct_type":"node""#))
            .count(),
        nodes.len() + 2
    );
    let listed = restic(
        &repository,
        &["snapshots", "--json", "--tag", "complete,hub:desk,set:1"],
    );
    assert!(listed.contains(&snapshot.id.to_string()), "{listed}");

    let target = repository.path().join("restored");
    restic(
        &repository,
        &["restore", "latest", "--target", target.to_str().unwrap()],
    );
    let found: Vec<Vec<u8>> = names(&target.join("work"));
    assert_eq!(
        found,
        Tree::new(nodes.clone())
            .unwrap()
            .nodes()
            .iter()
            .map(|n| n.name.clone())
            .collect::<Vec<_>>()
    );
    for node in &nodes {
        assert_restored(&repository, node, &target.join("work"));
    }
    let inode = |name: &str| {
        fs::symlink_metadata(target.join("work").join(name))
            .unwrap()
            .ino()
    };
    assert_eq!(inode("hard-a"), inode("hard-b"), "a hard link was lost");
    assert_eq!(fs::read(target.join("work/sticky/deep")).unwrap(), b"d");
}

fn names(folder: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect();
    names.sort();
    names
}

fn assert_restored(repository: &Repository, node: &Node, folder: &Path) {
    let path = folder.join(std::ffi::OsStr::from_bytes(&node.name));
    let found = fs::symlink_metadata(&path).unwrap();
    let label = path.display();
    assert_eq!(
        format!("{:o}", found.mode()),
        format!("{:o}", node.mode.to_unix()),
        "mode of {label}"
    );
    assert_eq!(
        (found.uid(), found.gid()),
        (node.uid, node.gid),
        "owner of {label}"
    );
    let (seconds, nanoseconds) = node.mtime.to_unix();
    assert_eq!(
        (found.mtime(), found.mtime_nsec()),
        (seconds, i64::from(nanoseconds)),
        "time of {label}"
    );
    match &node.kind {
        NodeKind::File { size, content, .. } => {
            let expected: Vec<u8> = content
                .iter()
                .flat_map(|id| repository.plain(*id))
                .copied()
                .collect();
            assert_eq!(expected.len() as u64, *size);
            assert!(fs::read(&path).unwrap() == expected, "content of {label}");
        }
        NodeKind::Dir { .. } => assert!(found.is_dir()),
        NodeKind::Symlink { target, .. } => {
            assert_eq!(
                fs::read_link(&path).unwrap().as_os_str().as_bytes(),
                target,
                "target of {label}"
            );
        }
        NodeKind::Dev { device, .. } | NodeKind::CharDev { device, .. } => assert_eq!(found.rdev(), *device),
        NodeKind::Fifo => assert!(found.file_type().is_fifo()),
        NodeKind::Socket => unreachable!("none was written"),
    }
    for attribute in &node.extended_attributes {
        let value = xattr::get(&path, &attribute.name).unwrap();
        assert_eq!(
            value.as_deref(),
            Some(attribute.value.as_slice()),
            "{} of {label}",
            attribute.name
        );
    }
}

/// restic 0.14 has only the text of a link's target; later ones read our `linktarget_raw`.
#[test]
fn link_target_that_is_not_utf8_stays_readable() {
    let mut repository = Repository::new();
    let link = symlink(b"link", b"a\xff");
    let tree = repository.add(BlobKind::Tree, &Tree::new(vec![link]).unwrap().to_json());
    repository.finish(tree);
    restic(&repository, &["check", "--read-data"]);
    assert!(restic(&repository, &["ls", "latest"]).contains("/link"));
}

#[test]
fn restic_backs_up_into_our_repository_and_we_read_it_to_the_byte() {
    let mut repository = Repository::new();
    let nodes = every_kind(&mut repository);
    let tree = repository.add(BlobKind::Tree, &Tree::new(nodes).unwrap().to_json());
    let ours = repository.finish(tree);
    let source = repository.path().join("source");
    restic(
        &repository,
        &[
            "restore",
            &ours.id.to_string(),
            "--target",
            source.to_str().unwrap(),
        ],
    );
    restic(&repository, &["backup", source.to_str().unwrap()]);
    restic(&repository, &["check", "--read-data"]);

    let read = Read::new(&repository);
    let snapshots: Vec<(PathBuf, Snapshot)> = read
        .files("snapshots")
        .map(|(path, bytes)| (path, Snapshot::open(&read.key, &bytes).unwrap()))
        .collect();
    assert_eq!(snapshots.len(), 2);
    let (_, theirs) = snapshots
        .iter()
        .find(|(path, _)| !path.ends_with(ours.id.to_string()))
        .unwrap();
    assert_eq!(theirs.paths, [source.to_str().unwrap()]);

    let mut root = read.tree(theirs.tree);
    while let [
        Node {
            kind: NodeKind::Dir { subtree },
            ..
        },
    ] = root.nodes()
    {
        root = read.tree(*subtree);
    }
    let of_kind = |kind: &str| {
        root.nodes()
            .iter()
            .filter(|node| node.kind.name() == kind)
            .count()
    };
    assert_eq!(
        (
            of_kind("file"),
            of_kind("symlink"),
            of_kind("dir"),
            of_kind("fifo")
        ),
        (8, 3, 2, 1)
    );
    let odd = root.nodes().iter().find(|node| node.name == ODD_NAME).unwrap();
    assert_eq!(odd.mode.to_unix(), 0o100_640);
}

/// A repository that restic made from nothing: every file of it is read.
#[test]
fn we_read_a_repository_that_restic_made() {
    let mut repository = Repository::new();
    repository.forget_everything();
    restic(&repository, &["init"]);
    let source = repository.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("text"), b"text ".repeat(5_000)).unwrap();
    fs::write(source.join("random"), incompressible(50_000)).unwrap();
    fs::set_permissions(source.join("text"), fs::Permissions::from_mode(0o4711)).unwrap();
    restic(
        &repository,
        &[
            "backup",
            "--tag",
            "a",
            "--exclude",
            "*.o",
            source.to_str().unwrap(),
        ],
    );

    let read = Read::new(&repository);
    let config = fs::read(repository.folder().join("config")).unwrap();
    Config::open(&read.key, &config).unwrap();
    let (_, bytes) = read.files("snapshots").next().unwrap();
    let snapshot = Snapshot::open(&read.key, &bytes).unwrap();
    assert_eq!(snapshot.tags, ["a"]);
    let mut root = read.tree(snapshot.tree);
    while let [
        Node {
            kind: NodeKind::Dir { subtree },
            ..
        },
    ] = root.nodes()
    {
        root = read.tree(*subtree);
    }
    let [random, text] = root.nodes() else {
        panic!("two files")
    };
    assert_eq!(text.mode.to_unix(), 0o104_711);
    let content = |node: &Node| match &node.kind {
        NodeKind::File { content, .. } => content.iter().flat_map(|id| read.blob(*id)).collect::<Vec<u8>>(),
        _ => panic!("a file"),
    };
    assert!(content(random) == incompressible(50_000));
    assert!(content(text) == b"text ".repeat(5_000));
}

/// A repository as this crate reads it.
struct Read {
    folder: PathBuf,
    key: berth_repository::MasterKey,
    blobs: BTreeMap<Id, Vec<u8>>,
}

impl Read {
    /// Opens every key, index and pack, and checks that names, indexes and headers agree.
    fn new(repository: &Repository) -> Self {
        let folder = repository.folder();
        let (_, key_file) = files(&folder.join("keys")).next().unwrap();
        let key = KeyFile::open(&key_file, repository.password()).unwrap();
        let mut read = Self {
            folder,
            key,
            blobs: BTreeMap::new(),
        };
        for (_, bytes) in read.files("index").collect::<Vec<_>>() {
            for pack in IndexFile::open(&read.key, &bytes).unwrap().packs {
                let name = pack.id.to_string();
                let mut bytes = Vec::new();
                let path = read.folder.join("data").join(&name[..2]).join(&name);
                fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
                assert_eq!(Id::of(&bytes), pack.id);
                let mut blobs = pack.blobs;
                blobs.sort_by_key(|blob| blob.offset);
                assert_eq!(parse_pack(&read.key, &bytes).unwrap(), blobs);
                for blob in blobs {
                    let sealed = &bytes[blob.offset as usize..][..blob.length as usize];
                    read.blobs
                        .insert(blob.id, open_blob(&read.key, &blob, sealed).unwrap());
                }
            }
        }
        read
    }

    fn files(&self, kind: &str) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
        files(&self.folder.join(kind))
    }

    fn blob(&self, id: Id) -> Vec<u8> {
        self.blobs.get(&id).unwrap().clone()
    }

    /// Reads a tree, and checks that we would write it exactly so.
    fn tree(&self, id: Id) -> Tree {
        let json = self.blob(id);
        let tree = Tree::from_json(&json).unwrap();
        assert_eq!(
            String::from_utf8(tree.to_json()).unwrap(),
            String::from_utf8(json).unwrap()
        );
        tree
    }
}

/// The files of a folder whose names are the SHA-256 of their bytes.
fn files(folder: &Path) -> impl Iterator<Item = (PathBuf, Vec<u8>)> + use<> {
    fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(
            path.file_name().unwrap().to_str().unwrap(),
            Id::of(&bytes).to_string()
        );
        (path, bytes)
    })
}
