//! Restoring from repositories that nobody honest would write: right keys, wrong intentions.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_repository::{
    BlobKind, Config, Id, IndexFile, IndexPack, KeyFile, KeyOwner, MasterKey, PackBuilder, RecoveryKey,
    ScryptCost, Sealer, Snapshot, Timestamp,
};
use berth_restore::{CheckDepth, Existing, FolderSource, Report, Repository, Trouble};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

/// Writes trees as they are given, which the archiver's own code refuses to.
struct Forger {
    folder: tempfile::TempDir,
    rng: ChaCha8Rng,
    key: MasterKey,
    password: RecoveryKey,
    sealer: Sealer,
    packs: Vec<IndexPack>,
}

impl Forger {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let key = MasterKey::generate(&mut rng);
        let forger = Self {
            folder: tempfile::tempdir().unwrap(),
            password: RecoveryKey::generate(&mut rng),
            sealer: Sealer::new(key.clone(), 3).unwrap(),
            packs: Vec::new(),
            key,
            rng,
        };
        fs::create_dir(forger.at("repository")).unwrap();
        fs::create_dir(forger.at("outside")).unwrap();
        forger
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }

    fn write(&self, folder: &str, name: Id, bytes: &[u8]) {
        let folder = self.at("repository").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name.to_string()), bytes).unwrap();
    }

    /// Puts a blob into a pack of its own.
    fn blob(&mut self, kind: BlobKind, plain: &[u8]) -> Id {
        let id = Id::of(plain);
        let nonce = self.nonce();
        let sealed = self.sealer.seal(kind, id, plain, nonce).unwrap();
        let mut pack = PackBuilder::new();
        pack.add(&sealed).unwrap();
        let nonce = self.nonce();
        let (closed, blobs) = pack.close(&self.key, nonce);
        let bytes = [sealed.bytes, closed.header].concat();
        self.write(
            &format!("data/{}", &closed.id.to_string()[..2]),
            closed.id,
            &bytes,
        );
        self.packs.push(IndexPack { id: closed.id, blobs });
        id
    }

    fn tree(&mut self, nodes: &[Value]) -> Id {
        let mut plain = serde_json::to_vec(&json!({ "nodes": nodes })).unwrap();
        plain.push(b'\n');
        self.blob(BlobKind::Tree, &plain)
    }

    /// A file node with this content.
    fn file(&mut self, name: &str, content: &[u8], inode: u64) -> Value {
        let id = self.blob(BlobKind::Data, content);
        json!({
            "name": name, "type": "file", "mode": 0o644, "mtime": "2026-01-02T03:04:05.000000006Z", "uid": 0, "gid": 0,
            "inode": inode, "device_id": 7, "links": 2, "size": content.len(), "content": [id],
        })
    }

    /// Finishes the repository with one snapshot of `tree` and restores it.
    fn restore(mut self, tree: Id) -> (Self, Report) {
        let nonces: Vec<[u8; 16]> = (0..3).map(|_| self.nonce()).collect();
        let [config, index, snapshot] = nonces.try_into().unwrap();
        let config = Config::generate(&mut self.rng).seal(&self.key, config);
        fs::write(self.at("repository/config"), config.bytes).unwrap();
        let owner = KeyOwner {
            created: Timestamp::default(),
            username: String::new(),
            hostname: String::new(),
        };
        let key = KeyFile::create(
            &self.key,
            &self.password,
            ScryptCost::CHEAPEST,
            &owner,
            &mut self.rng,
        )
        .unwrap();
        self.write("keys", key.id, &key.bytes);
        let file = IndexFile {
            supersedes: Vec::new(),
            packs: std::mem::take(&mut self.packs),
        };
        let index = file.seal(&self.key, index).unwrap();
        self.write("index", index.id, &index.bytes);
        let mut json = json!({ "time": "2026-01-02T03:04:05Z", "tree": tree, "paths": ["/"] });
        json["hostname"] = "laptop".into();
        let made: Snapshot = serde_json::from_value(json).unwrap();
        let made = made.seal(&self.key, snapshot).unwrap();
        self.write("snapshots", made.id, &made.bytes);

        let source = FolderSource::new(self.at("repository"));
        let repository = Repository::open(source, self.password.as_str()).unwrap();
        assert_eq!(repository.check(CheckDepth::Data).unwrap(), []);
        let snapshot = repository.snapshots().unwrap().remove(0);
        let report = repository
            .restore(&snapshot, &[], &self.at("outside/in"), Existing::Replace, &|_| {})
            .unwrap();
        (self, report)
    }

    fn restored(&self, name: impl AsRef<Path>) -> PathBuf {
        self.at("outside/in").join(name)
    }
}

fn folder(name: &str, tree: Id) -> Value {
    json!({ "name": name, "type": "dir", "mode": 0o755 | 1_u32 << 31, "mtime": "2026-01-02T03:04:05Z", "subtree": tree })
}

fn symlink(name: &str, target: &str) -> Value {
    json!({ "name": name, "type": "symlink", "mode": 0o777 | 1_u32 << 27, "mtime": "2026-01-02T03:04:05Z",
            "linktarget": target })
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let mut forger = Forger::new();
    let absolute = forger.at("outside/absolute").display().to_string();
    let evil = forger.file("evil", b"evil", 1);
    let inner = forger.tree(&[evil]);
    let mut nodes = vec![forger.file("good", b"good", 2)];
    for name in [
        "../evil",
        "..",
        ".",
        "",
        "a/b",
        &absolute,
        "nul\0",
        "\\x2e\\x2e/evil",
        "\\x2e\\x2e",
    ] {
        nodes.push(forger.file(name, b"evil", 3));
        nodes.push(folder(name, inner));
    }
    let bad = nodes.len() - 1;
    let tree = forger.tree(&nodes);
    let (forger, report) = forger.restore(tree);
    assert_eq!(report.problems.len(), bad, "{:#?}", report.problems);
    assert!(
        report
            .problems
            .iter()
            .all(|problem| matches!(problem.trouble, Trouble::BadName))
    );
    assert_eq!(fs::read(forger.restored("good")).unwrap(), b"good");
    assert_eq!(fs::read_dir(forger.at("outside/in")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(forger.at("outside")).unwrap().count(), 1);
}

#[test]
fn a_symlink_of_the_snapshot_is_no_way_out_of_the_folder() {
    let mut forger = Forger::new();
    let outside = forger.at("outside").display().to_string();
    fs::write(forger.at("outside/victim"), b"theirs").unwrap();
    let evil = forger.file("evil", b"evil", 1);
    let inner = forger.tree(&[evil]);
    let victim = format!("{outside}/victim");
    let nodes = [
        symlink("way", &outside),
        folder("way", inner),
        symlink("victim", &victim),
        forger.file("victim", b"evil", 2),
    ];
    let tree = forger.tree(&nodes);
    let (forger, report) = forger.restore(tree);
    assert!(
        matches!(report.problems[0].trouble, Trouble::Occupied),
        "{:#?}",
        report.problems
    );
    assert!(!forger.at("outside/evil").exists());
    assert_eq!(fs::read(forger.at("outside/victim")).unwrap(), b"theirs");
    assert_eq!(fs::read(forger.restored("victim")).unwrap(), b"evil");
}

#[test]
fn names_of_one_inode_with_different_content_stay_different_files() {
    let mut forger = Forger::new();
    let nodes = [
        forger.file("older", b"previous version", 5),
        forger.file("newer", b"what arrived", 5),
        forger.file("newer too", b"what arrived", 5),
    ];
    let tree = forger.tree(&nodes);
    let (forger, report) = forger.restore(tree);
    assert!(report.is_whole(), "{:#?}", report.problems);
    assert_eq!(report.hard_links, 1);
    assert_eq!(fs::read(forger.restored("older")).unwrap(), b"previous version");
    let inode = |name| fs::metadata(forger.restored(name)).unwrap().ino();
    assert_eq!(inode("newer"), inode("newer too"));
    assert_ne!(inode("older"), inode("newer"));
}

#[test]
fn a_target_that_is_not_utf_8_comes_back_to_the_byte() {
    let mut forger = Forger::new();
    let mut link = symlink("link", "not \u{fffd} UTF-8");
    link["linktarget_raw"] = "bm90IP8gVVRGLTg=".into();
    let tree = forger.tree(&[link]);
    let (forger, report) = forger.restore(tree);
    assert!(report.is_whole(), "{:#?}", report.problems);
    let target = fs::read_link(forger.restored("link")).unwrap();
    assert_eq!(target.as_os_str(), OsStr::from_bytes(b"not \xff UTF-8"));
}
