//! The real programs forward to real servers, and restic judges what is there: rclone's REST and WebDAV servers, OpenSSH,
//! and S3 as moto speaks it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use berth_tests::programs::{Laptop, Office};
use berth_tests::restic::Restic;

/// Some packs.
const BYTES: u64 = 40_000_000;

const S3_KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "berth"),
    ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"),
];

/// A server, until it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts one that says on its standard error where it listens: what stands after `before`, up to the next space.
    fn start(mut command: Command, before: &str) -> (Self, String) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: `./check` installs it"));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let server = Self(child);
        let mut said = Vec::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line
                .split_once(before)
                .map(|(_, rest)| rest.split_whitespace().next().unwrap().to_owned());
            said.push(line);
            address
        });
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        (
            server,
            address.unwrap_or_else(|| panic!("{command:?} did not start: {said:#?}")),
        )
    }
}

fn rclone(kind: &str, options: &[&str], folder: &Path) -> (Server, String) {
    fs::create_dir_all(folder).unwrap();
    let mut command = Command::new("rclone");
    command.args(["serve", kind, "--addr", "127.0.0.1:0", "--config", "/dev/null"]);
    command.args(options).arg(folder);
    Server::start(command, " on ")
}

fn moto() -> (Server, String) {
    let program = std::env::var_os("MOTO_SERVER").unwrap_or_else(|| "moto_server".into());
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", "0"]);
    let (server, address) = Server::start(command, "Running on ");
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    let request = "PUT /berth HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    (server, address)
}

/// An SSH server with keys of its own; the credentials that lead to it.
fn sshd(place: &Path) -> (Server, String, String) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let key = |name: &str| {
        let path = place.join(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        path
    };
    let (host, user) = (key("host"), key("user"));
    let public = |path: &Path| fs::read_to_string(path.with_extension("pub")).unwrap();
    let authorized = place.join("authorized");
    fs::write(&authorized, public(&user)).unwrap();
    let known = place.join("known");
    fs::write(&known, format!("[127.0.0.1]:{port} {}", public(&host))).unwrap();
    let settings = place.join("sshd_config");
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PidFile none\nSubsystem sftp internal-sftp\n",
        host.display(),
        authorized.display()
    );
    fs::write(&settings, text).unwrap();
    // Of root, and made by nobody where no service starts it.
    let _ = fs::create_dir_all("/run/sshd");
    let mut command = Command::new("/usr/sbin/sshd");
    command.arg("-D").arg("-e").arg("-f").arg(&settings);
    let (server, _) = Server::start(command, "Server listening on ");
    let credentials = format!("identity_file = {user:?}\nknown_hosts_file = {known:?}\n");
    (
        server,
        format!("sftp://127.0.0.1:{port}{}", place.join("up").display()),
        credentials,
    )
}

fn laptop(office: &mut Office) -> Laptop {
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::incompressible(&laptop.folder, 5, BYTES).unwrap();
    office.pair(&laptop);
    laptop
}

/// Two visits are forwarded; restic finds two sets in their order and restores the second, and nothing was sent twice.
fn story(mut office: Office, repository: impl FnOnce(Restic, &Path) -> Restic) {
    let place = office.path();
    let laptop = laptop(&mut office);
    laptop.back_up();
    office.ctl(&["forward"]);
    corpus::small_files(&laptop.folder.join("more"), 6, 50).unwrap();
    laptop.back_up();
    office.ctl(&["forward"]);
    let status = office.ctl(&["status"]);
    assert_eq!(status["sets_waiting"], 0, "{status:#}");
    let restic = repository(office.restic(&laptop), &place);
    restic.check().unwrap();
    let restored = tempfile::tempdir_in(&place).unwrap();
    restic.restore("latest", restored.path()).unwrap();
    let inside = restored.path().join(laptop.folder.strip_prefix("/").unwrap());
    assert_same(&laptop.folder, &inside, Owners::of_this_user());
    let sets: Vec<String> = restic
        .snapshots()
        .unwrap()
        .into_iter()
        .flat_map(|one| one.tags)
        .collect();
    assert_eq!(
        sets,
        ["complete", "hub:hub", "set:1", "complete", "hub:hub", "set:2"]
    );
}

#[test]
fn restic_restores_what_went_to_an_append_only_rest_server() {
    let mut office = Office::new();
    let (_server, url) = rclone(
        "restic",
        &["--append-only", "--user", "me", "--pass", "secret"],
        &office.path().join("up"),
    );
    office.forward_to(&format!("rest:{url}"), "user = \"me\"\npassword = \"secret\"\n");
    story(office, |restic, _| {
        restic.at(format!("rest:{}laptop/", url.replace("://", "://me:secret@")))
    });
}

#[test]
fn restic_restores_what_went_to_s3() {
    let mut office = Office::new();
    let (_server, url) = moto();
    let [(_, id), (_, key)] = S3_KEYS;
    let credentials = format!("access_key_id = {id:?}\nsecret_access_key = {key:?}\n");
    let upstream = format!("s3:{url}/berth/a/b");
    office.forward_to(&upstream, &credentials);
    story(office, |restic, _| {
        let restic = S3_KEYS
            .iter()
            .fold(restic, |restic, (name, value)| restic.with(name, value));
        restic.at(format!("{upstream}/laptop"))
    });
}

#[test]
fn restic_restores_what_went_through_sftp() {
    let mut office = Office::new();
    let (_server, url, credentials) = sshd(&office.path());
    fs::create_dir(office.path().join("up")).unwrap();
    office.forward_to(&url, &credentials);
    story(office, |restic, place| restic.at(place.join("up/laptop")));
}

#[test]
fn restic_restores_what_went_to_webdav() {
    let mut office = Office::new();
    let options = ["--user", "me", "--pass", "secret"];
    let (_server, url) = rclone("webdav", &options, &office.path().join("up"));
    office.forward_to(&format!("webdav:{url}"), "user = \"me\"\npassword = \"secret\"\n");
    story(office, |restic, place| restic.at(place.join("up/laptop")));
}

#[test]
fn an_upstream_is_tried_when_it_is_set_and_restic_is_not_asked() {
    let mut office = Office::new();
    let folder = office.path().join("up");
    let (server, url) = rclone("restic", &["--append-only"], &folder);
    office.start_air("perfect");
    office.start_hub(&[]);
    let upstream = format!("rest:{url}");
    let set = office.ctl(&["upstream", "set", &upstream]);
    assert_eq!(set["upstream"], upstream.as_str(), "{set:#}");
    assert_eq!(fs::read_dir(folder.join("berth-probe/locks")).unwrap().count(), 0);
    drop(server);
    let ended = office
        .ctl_start(&["upstream", "set", &format!("{upstream}gone/")])
        .end();
    assert_eq!(ended.code, 1, "a server that is not there was taken");
}
