//! A small repository on disk, written with this crate and `std::fs` only, and the real restic to read it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_repository::{
    BlobKind, COMPRESSION_LEVEL, Config, Id, IndexFile, IndexPack, KeyFile, KeyOwner, MasterKey, PackBuilder,
    RecoveryKey, ScryptCost, SealedBlob, SealedFile, Sealer, Snapshot, Timestamp,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// Writes blobs as they come; `finish` makes it a repository.
pub(crate) struct Repository {
    root: tempfile::TempDir,
    rng: ChaCha8Rng,
    key: MasterKey,
    password: RecoveryKey,
    sealer: Sealer,
    sealed: BTreeMap<BlobKind, Vec<SealedBlob>>,
    plain: BTreeMap<Id, Vec<u8>>,
}

impl Repository {
    /// With `config`, a key file and the empty folders.
    pub(crate) fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(14);
        let key = MasterKey::generate(&mut rng);
        let password = RecoveryKey::generate(&mut rng);
        let sealer = Sealer::new(key.clone(), COMPRESSION_LEVEL).unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut made = Self {
            root,
            rng,
            key,
            password,
            sealer,
            sealed: BTreeMap::new(),
            plain: BTreeMap::new(),
        };
        made.write_config_and_key();
        made
    }

    fn write_config_and_key(&mut self) {
        for folder in ["data", "index", "keys", "locks", "snapshots"] {
            fs::create_dir_all(self.folder().join(folder)).unwrap();
        }
        let config = Config::generate(&mut self.rng).seal(&self.key, nonce(&mut self.rng));
        fs::write(self.folder().join("config"), config.bytes).unwrap();
        let owner = KeyOwner {
            created: Timestamp::default(),
            username: "me".to_owned(),
            hostname: "laptop".to_owned(),
        };
        let file = KeyFile::create(
            &self.key,
            &self.password,
            ScryptCost::CHEAPEST,
            &owner,
            &mut self.rng,
        )
        .unwrap();
        self.write("keys", &file);
        fs::write(self.root.path().join("password"), self.password.as_str()).unwrap();
    }

    /// Back to an empty place with a password.
    pub(crate) fn forget_everything(&mut self) {
        fs::remove_dir_all(self.folder()).unwrap();
    }

    /// A temporary folder that the repository is in.
    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// The repository itself.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("repository")
    }

    /// What opens it.
    pub(crate) fn password(&self) -> &str {
        self.password.as_str()
    }

    /// What an id stands for.
    pub(crate) fn plain(&self, id: Id) -> &[u8] {
        self.plain.get(&id).unwrap()
    }

    /// Seals a blob, once.
    pub(crate) fn add(&mut self, kind: BlobKind, plain: &[u8]) -> Id {
        let id = Id::of(plain);
        if self.plain.insert(id, plain.to_vec()).is_none() {
            let nonce = nonce(&mut self.rng);
            let blob = self.sealer.seal(kind, id, plain, nonce).unwrap();
            self.sealed.entry(kind).or_default().push(blob);
        }
        id
    }

    /// Writes the packs (one for each kind), the index and a snapshot.
    pub(crate) fn finish(&mut self, tree: Id) -> SealedFile {
        let packs = std::mem::take(&mut self.sealed)
            .into_values()
            .map(|blobs| self.write_pack(&blobs))
            .collect();
        let index = IndexFile {
            packs,
            ..IndexFile::default()
        };
        let index = index.seal(&self.key, nonce(&mut self.rng)).unwrap();
        self.write("index", &index);
        let snapshot = Snapshot {
            time: Timestamp::from_unix(1_700_000_000, 5),
            parent: None,
            tree,
            paths: vec!["/work".to_owned()],
            hostname: "laptop".to_owned(),
            username: "me".to_owned(),
            uid: 1_000,
            gid: 1_000,
            excludes: vec!["*.o".to_owned()],
            tags: ["complete", "hub:desk", "set:1"].map(str::to_owned).to_vec(),
            original: None,
            program_version: "berth 0.1.0".to_owned(),
        };
        let snapshot = snapshot.seal(&self.key, nonce(&mut self.rng)).unwrap();
        self.write("snapshots", &snapshot);
        snapshot
    }

    fn write_pack(&mut self, blobs: &[SealedBlob]) -> IndexPack {
        let (mut builder, mut bytes) = (PackBuilder::new(), Vec::new());
        for blob in blobs {
            builder.add(blob).unwrap();
            bytes.extend_from_slice(&blob.bytes);
        }
        let (closed, blobs) = builder.close(&self.key, nonce(&mut self.rng));
        bytes.extend_from_slice(&closed.header);
        let prefix = closed.id.to_string()[..2].to_owned();
        fs::create_dir_all(self.folder().join("data").join(&prefix)).unwrap();
        self.write(&format!("data/{prefix}"), &SealedFile { id: closed.id, bytes });
        IndexPack { id: closed.id, blobs }
    }

    fn write(&self, folder: &str, file: &SealedFile) {
        fs::write(self.folder().join(folder).join(file.id.to_string()), &file.bytes).unwrap();
    }
}

fn nonce(rng: &mut ChaCha8Rng) -> [u8; 16] {
    let mut nonce = [0; 16];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// Always the same bytes, which no compression makes shorter.
pub(crate) fn incompressible(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

/// Runs the real restic and gives what it printed.
pub(crate) fn restic(repository: &Repository, arguments: &[&str]) -> String {
    let output = Command::new("restic")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TZ", "UTC") // restic writes local times; we write UTC
        .env("TMPDIR", repository.path())
        .env("HOME", repository.path())
        .args(["--no-cache", "--repo"])
        .arg(repository.folder())
        .arg("--password-file")
        .arg(repository.path().join("password"))
        .args(arguments)
        .output()
        .expect("these tests need restic: `./check` installs it (Debian: apt-get install restic)");
    let (printed, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "restic {arguments:?}: {printed}{wrong}");
    printed.into_owned()
}
