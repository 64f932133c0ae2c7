//! Real servers that serve as upstreams. `./check` installs them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// What [`moto`] takes, as the environment has it.
pub const S3_KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "berth"),
    ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"),
];

/// The same as a file of credentials.
#[must_use]
pub fn s3_credentials() -> String {
    let [(_, id), (_, key)] = S3_KEYS;
    format!("access_key_id = {id:?}\nsecret_access_key = {key:?}\n")
}

/// A server, until it is dropped.
pub struct Server(Child);

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
        thread::spawn(move || lines.for_each(drop));
        (
            server,
            address.unwrap_or_else(|| panic!("{command:?} did not start: {said:#?}")),
        )
    }
}

/// `rclone serve KIND` of a folder, which is made; its URL.
///
/// # Panics
/// Where it does not start.
#[must_use]
pub fn rclone(kind: &str, options: &[&str], folder: &Path) -> (Server, String) {
    fs::create_dir_all(folder).unwrap();
    let mut command = Command::new("rclone");
    command.args(["serve", kind, "--addr", "127.0.0.1:0", "--config", "/dev/null"]);
    command.args(options).arg(folder);
    Server::start(command, " on ")
}

/// S3 in memory, with the bucket `berth`; its URL.
///
/// # Panics
/// Where it does not start.
#[must_use]
pub fn moto() -> (Server, String) {
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

/// An SSH server with keys of its own; the URL of the folder `up` in `place`, and the credentials that lead there.
///
/// # Panics
/// Where it does not start.
#[must_use]
pub fn sshd(place: &Path) -> (Server, String, String) {
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
    // Whatever stands between has a port of its own.
    fs::write(&known, format!("* {}", public(&host))).unwrap();
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
