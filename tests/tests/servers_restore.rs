//! A new laptop restores from the upstream alone: no hub, no state, the recovery key on standard input.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_tests::compare::{Owners, assert_same, files};
use berth_tests::corpus;
use berth_tests::programs::proxy::{Fault, Faults, Proxy};
use berth_tests::programs::servers::{moto, rclone, s3_credentials, sshd};
use berth_tests::programs::{Ended, Office, Process, done, program};

const PASSWORD: &str = "hunter2-of-the-server";

/// A forwarded set, and what a new laptop has of the old one.
struct World {
    office: Office,
    /// What was backed up.
    files: PathBuf,
    key: String,
    /// Of the laptop's repository.
    url: String,
    credentials: Option<PathBuf>,
}

impl World {
    /// Backs up and forwards to `url`, where there is one, else to a folder.
    fn new(mut office: Office, url: Option<&str>, credentials: &str) -> Self {
        if let Some(url) = url {
            office.forward_to(url, credentials);
        }
        office.start_air("perfect");
        office.start_hub(&[]);
        let laptop = office.laptop("laptop");
        corpus::small_files(&laptop.folder.join("small"), 1, 200).unwrap();
        corpus::incompressible(&laptop.folder.join("large"), 2, 20_000_000).unwrap();
        office.pair(&laptop);
        laptop.back_up();
        office.ctl(&["forward"]);
        let told = done(laptop.start(&["recovery-key"])).last();
        let key = told["recovery_key"].as_str().unwrap().to_owned();
        office.take_hub().kill();
        fs::remove_dir_all(&laptop.state).unwrap();
        let folder = office.upstream().display().to_string();
        let url = format!("{}/laptop", url.unwrap_or(&folder).trim_end_matches('/'));
        let credentials = (!credentials.is_empty()).then(|| office.credentials(credentials));
        Self {
            files: laptop.folder,
            office,
            key,
            url,
            credentials,
        }
    }

    /// `berth` on a computer that never was a laptop of this office.
    fn run(&self, arguments: &[&str], url: &str, key: &str) -> Ended {
        let home = self.office.path().join("new");
        let mut command = Command::new(program("berth"));
        command
            .env("XDG_STATE_HOME", &home)
            .env("HOME", &home)
            .arg("--json")
            .args(arguments)
            .args(["--from", url]);
        if let Some(path) = &self.credentials {
            command.arg("--credentials").arg(path);
        }
        let line = format!("{command:?}");
        let ended = Process::start_with(command, key).end();
        for secret in [&self.key, PASSWORD] {
            assert!(
                !line.contains(secret) && !ended.to_string().contains(secret),
                "a secret was told: {ended}"
            );
        }
        assert!(!home.exists(), "a state folder was made");
        ended
    }

    fn restore(&self, target: &Path) -> Ended {
        self.restore_from(&self.url, target)
    }

    fn restore_from(&self, url: &str, target: &Path) -> Ended {
        self.run(
            &["restore", "latest", "--to", target.to_str().unwrap()],
            url,
            &self.key,
        )
    }

    fn assert_restored(&self, target: &Path) {
        let inside = target.join(self.files.strip_prefix("/").unwrap());
        assert_same(&self.files, &inside, Owners::of_this_user());
    }

    /// Everything comes back, and is listed and written out.
    fn story(&self) {
        let target = self.office.path().join("restored");
        let ended = self.restore(&target);
        assert_eq!(ended.code, 0, "{ended}");
        self.assert_restored(&target);
        let listed = self.run(&["ls", "1"], &self.url, &self.key);
        assert_eq!(listed.code, 0, "{listed}");
        let all = files(&self.files).unwrap();
        for file in &all {
            let name = file.to_str().unwrap();
            assert!(listed.lines.iter().any(|line| line.contains(name)), "{name}");
        }
        let wrong = self.run(&["ls", "latest"], &self.url, "abcd-efgh");
        assert_eq!(wrong.code, 1);
        assert!(wrong.to_string().contains("does not open"), "{wrong}");
        let above = self.url.strip_suffix("/laptop").unwrap();
        let nothing = self.run(&["ls", "latest"], above, &self.key);
        assert_eq!(nothing.code, 1);
        assert!(
            nothing.to_string().contains("there is no repository"),
            "{nothing}"
        );
    }
}

#[test]
fn a_new_laptop_restores_from_a_folder_and_damage_costs_what_it_holds() {
    let world = World::new(Office::new(), None, "");
    world.story();
    let none = world.run(
        &["ls", "latest"],
        &world.office.upstream().display().to_string(),
        &world.key,
    );
    assert!(none.to_string().contains("there are laptop"), "{none}");
    let empty = world.run(&["ls", "latest"], &world.url, "");
    assert_eq!(empty.code, 1);
    assert!(empty.to_string().contains("no recovery key"), "{empty}");
    let packs = files(&PathBuf::from(&world.url).join("data")).unwrap();
    let size = |path: &&PathBuf| path.metadata().unwrap().len();
    let pack = packs.iter().max_by_key(size).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(pack, bytes).unwrap();
    let target = world.office.path().join("damaged");
    let ended = world.restore(&target);
    assert_eq!(ended.code, 3, "{ended}");
    let problems = ended.last()["problems"].as_array().unwrap().len();
    assert_eq!(problems, 1, "{ended}");
    let restored = files(&target).unwrap().len();
    assert_eq!(restored, files(&world.files).unwrap().len() - 1);
}

#[test]
fn a_new_laptop_restores_from_a_rest_server_and_goes_on_after_a_cut() {
    let office = Office::new();
    let options = ["--append-only", "--user", "me", "--pass", PASSWORD];
    let (_server, url) = rclone("restic", &options, &office.path().join("up"));
    let credentials = format!("user = \"me\"\npassword = \"{PASSWORD}\"\n");
    let world = World::new(office, Some(&format!("rest:{url}")), &credentials);
    world.story();
    let server: SocketAddr = url
        .split("://")
        .nth(1)
        .unwrap()
        .trim_end_matches('/')
        .parse()
        .unwrap();
    let faults = Faults {
        what: Fault::CutWhileAnswering,
        from: 12,
        count: usize::MAX,
    };
    let proxy = Proxy::start(server, Some(faults));
    let through = world
        .url
        .replace(&server.to_string(), &proxy.address().to_string());
    let target = world.office.path().join("cut");
    let ended = world.restore_from(&through, &target);
    assert_eq!(ended.code, 1, "{ended}");
    assert!(
        ended.to_string().contains("it goes on where it stopped"),
        "{ended}"
    );
    proxy.heal();
    let ended = world.restore_from(&through, &target);
    assert_eq!(ended.code, 0, "{ended}");
    world.assert_restored(&target);
    let refused = World {
        credentials: None,
        ..world
    };
    let ended = refused.restore(&target);
    assert_eq!(ended.code, 1, "{ended}");
    assert!(ended.to_string().contains("look at the credentials"), "{ended}");
}

#[test]
fn a_new_laptop_restores_from_s3() {
    let (_server, url) = moto();
    let url = format!("s3:{url}/berth/a");
    World::new(Office::new(), Some(&url), &s3_credentials()).story();
}

#[test]
fn a_new_laptop_restores_through_sftp() {
    let office = Office::new();
    let (_server, url, credentials) = sshd(&office.path());
    fs::create_dir(office.path().join("up")).unwrap();
    World::new(office, Some(&url), &credentials).story();
}
