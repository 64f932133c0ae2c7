//! What a network and a server can do to forwarding, at every request: no snapshot is ever upstream before all that it
//! needs, and when the fault is over everything is there, once.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_bridge::{ForwardError, Forwarder, Progress, Spool, Upstream};
use berth_repository::Id;
use berth_tests::corpus;
use berth_tests::programs::proxy::{Fault, Faults, Proxy};
use berth_tests::programs::relay::Relay;
use berth_tests::programs::servers::{moto, rclone, s3_credentials, sshd};
use berth_tests::programs::{Office, copied_spool, done};
use berth_upstream::{Credentials, Place};
use berth_wire::ObjectKind;
use rustix::process::Signal;

const NOW_NS: i64 = 1_800_000_000_000_000_000;

const THREADS: usize = 16;

/// Places, evenly over the bytes of a whole run, at which an SFTP connection is cut.
const SFTP_CUTS: u64 = 24;
const SFTP_CUTS_ALL: u64 = 400;

/// A repository: everything in it but locks.
type Listing = BTreeSet<(u8, Id, u64)>;

/// A hub's state with two sets that wait, and a server for them.
struct World {
    state: PathBuf,
    server: SocketAddr,
    /// The URL with the server's own address.
    url: String,
    credentials: PathBuf,
    /// What is there after each set, where nothing goes wrong.
    expected: Vec<Listing>,
    requests: usize,
    place: PathBuf,
}

impl World {
    fn new(office: &mut Office, url: String, credentials: &str) -> Self {
        office.set("forward = \"manual\"");
        office.start_air("perfect");
        office.start_hub(&[]);
        let laptop = office.laptop("laptop");
        corpus::small_files(&laptop.folder, 1, 30).unwrap();
        office.pair(&laptop);
        laptop.back_up();
        corpus::small_files(&laptop.folder.join("more"), 2, 30).unwrap();
        laptop.back_up();
        let hub = office.take_hub();
        hub.signal(Signal::TERM);
        done(hub);
        let path = office.credentials(credentials);
        let address = url.split("://").nth(1).unwrap().split('/').next().unwrap();
        Self {
            state: office.hub_state(),
            server: address.parse().unwrap(),
            url,
            credentials: path,
            expected: Vec::new(),
            requests: 0,
            place: office.path(),
        }
    }

    /// Behind an HTTP server.
    fn http(office: &mut Office, url: String, credentials: &str) -> Self {
        let mut world = Self::new(office, url, credentials);
        let proxy = Proxy::start(world.server, None);
        world.forward_in_peace(proxy.address());
        let requests = proxy.requests();
        let mut writes: Vec<_> = requests
            .iter()
            .filter(|line| line.starts_with("PUT") || line.starts_with("POST"))
            .collect();
        let count = writes.len();
        assert!(count >= world.expected[1].len(), "{writes:#?}");
        writes.sort();
        writes.dedup();
        assert_eq!(writes.len(), count, "something was sent twice");
        world.requests = requests.len();
        world
    }

    /// The repository of a run, through what listens at `address`.
    fn upstream(&self, run: &str, address: SocketAddr) -> Box<dyn Upstream> {
        let url = self.url.replace(&self.server.to_string(), &address.to_string());
        let credentials = Credentials::read(&self.credentials, |_| None).unwrap();
        let place = Place::open(url.parse().unwrap(), credentials, [7; 32]).unwrap();
        place.repository(run).unwrap()
    }

    /// A copy of the hub's spool for one run.
    fn spool(&self, run: &str) -> Arc<Spool> {
        copied_spool(&self.state, &self.place.join(format!("state-{run}")))
    }

    fn forward_in_peace(&mut self, through: SocketAddr) {
        let (mut upstream, mut direct) = (
            self.upstream("peace", through),
            self.upstream("peace", self.server),
        );
        let spool = self.spool("peace");
        let mut forwarder = Forwarder::new(Arc::clone(&spool), spool.laptops().unwrap()[0]);
        loop {
            match forwarder.step(&mut *upstream, NOW_NS).unwrap() {
                Progress::Idle => break,
                Progress::Forwarded { .. } => self.expected.push(listing(&mut *direct)),
                _ => {}
            }
        }
        assert_eq!(self.expected.len(), 2);
    }

    /// Forwards with a fault until it fails or is done, then without it.
    fn forward_through(&self, faults: Faults) -> Option<ForwardError> {
        let Faults { what, from, .. } = faults;
        let run = format!("{what:?}-{from}").to_lowercase().replace(['(', ')'], "");
        let proxy = Proxy::start(self.server, Some(faults));
        self.forward_twice(&run, proxy.address(), || proxy.heal())
    }

    /// Forwards until it fails or is done, and once more when what is at `through` is healed.
    fn forward_twice(&self, run: &str, through: SocketAddr, heal: impl FnOnce()) -> Option<ForwardError> {
        let spool = self.spool(run);
        let forward = || -> Result<(), ForwardError> {
            let mut forwarder = Forwarder::new(Arc::clone(&spool), spool.laptops().unwrap()[0]);
            let mut upstream = self.upstream(run, through);
            while forwarder.step(&mut *upstream, NOW_NS)? != Progress::Idle {}
            Ok(())
        };
        let failed = forward().err();
        self.assert_restorable(run);
        heal();
        forward().unwrap_or_else(|error| panic!("after {run}: {error}"));
        let there = listing(&mut *self.upstream(run, self.server));
        assert!(
            there == self.expected[1],
            "after {run} something is missing or too much"
        );
        failed
    }

    /// Whatever snapshot is there, all that it needs is there.
    fn assert_restorable(&self, run: &str) {
        let there = listing(&mut *self.upstream(run, self.server));
        let snapshots = |listing: &Listing| {
            let of_kind = |(kind, ..): &&(u8, Id, u64)| *kind == ObjectKind::Snapshot as u8;
            listing.iter().filter(of_kind).count()
        };
        let count = snapshots(&there);
        if count > 0 {
            let missing = self.expected[count - 1].difference(&there).count();
            assert_eq!(
                missing, 0,
                "{run}: a snapshot is there, and not all that it needs"
            );
        }
    }

    /// Each fault at each request; but for the cut of an answer, which leaves the hub without a word of what the server
    /// has done, at each third one unless ALL is set.
    fn forward_through_all(&self, whats: &[Fault]) {
        let all: Vec<_> = whats
            .iter()
            .flat_map(|what| {
                let every = if is_all() || *what == Fault::CutWhileAnswering {
                    1
                } else {
                    3
                };
                (0..self.requests).step_by(every).map(move |from| (*what, from))
            })
            .collect();
        side_by_side(&all, |(what, from)| {
            let (what, from, count) = (*what, *from, 1);
            self.forward_through(Faults { what, from, count });
        });
    }

    /// Everything from the middle on is refused: what is said of it.
    fn refused_from_the_middle_on(&self, status: u16) -> String {
        let faults = Faults {
            what: Fault::Status(status),
            from: self.requests / 2,
            count: usize::MAX,
        };
        let error = self.forward_through(faults).unwrap();
        let ForwardError::Upstream(error) = error else {
            panic!("{error}")
        };
        format!("{error}: {}", error.source)
    }
}

fn is_all() -> bool {
    std::env::var_os("ALL").is_some_and(|all| !all.is_empty())
}

fn side_by_side<T: Sync>(all: &[T], act: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act(one);
                }
            });
        }
    });
}

fn listing(upstream: &mut dyn Upstream) -> Listing {
    let mut all = Listing::new();
    for kind in [
        ObjectKind::Key,
        ObjectKind::Pack,
        ObjectKind::Index,
        ObjectKind::Snapshot,
    ] {
        let mut each = |id, length| {
            all.insert((kind as u8, id, length));
        };
        upstream.list(kind, &mut each).unwrap();
    }
    if let Some(config) = upstream.config().unwrap() {
        all.insert((ObjectKind::Config as u8, Id::of(&config), config.len() as u64));
    }
    all
}

fn folder(office: &Office) -> PathBuf {
    office.path().join("up")
}

const CUTS: [Fault; 3] = [Fault::Unheard, Fault::CutWhileSending, Fault::CutWhileAnswering];

#[test]
fn an_append_only_rest_server_gets_everything_once_whatever_happens_to_a_request() {
    let mut office = Office::new();
    let (_server, url) = rclone("restic", &["--append-only"], &folder(&office));
    let world = World::http(&mut office, format!("rest:{url}"), "");
    world.forward_through_all(&CUTS);
    world.forward_through_all(&[Fault::Status(503)]);
    for status in [500, 429] {
        let faults = Faults {
            what: Fault::Status(status),
            from: world.requests / 3,
            count: 2,
        };
        assert!(world.forward_through(faults).is_none(), "{status} ended it");
    }
    let said = world.refused_from_the_middle_on(403);
    assert!(said.contains("403") && said.contains("credentials"), "{said}");
    let said = world.refused_from_the_middle_on(507);
    assert!(said.contains("507"), "{said}");
}

#[test]
fn s3_gets_everything_once_whatever_happens_to_a_request() {
    let mut office = Office::new();
    let (_server, url) = moto();
    let world = World::http(&mut office, format!("s3:{url}/berth/a"), &s3_credentials());
    world.forward_through_all(&CUTS);
    world.forward_through_all(&[Fault::Status(503)]);
    let said = world.refused_from_the_middle_on(403);
    assert!(said.contains("look at the credentials"), "{said}");
}

#[test]
fn webdav_gets_everything_once_whatever_happens_to_a_request() {
    let mut office = Office::new();
    let (_server, url) = rclone("webdav", &[], &folder(&office));
    let world = World::http(&mut office, format!("webdav:{url}"), "");
    world.forward_through_all(&CUTS);
    world.forward_through_all(&[Fault::Status(503)]);
    let said = world.refused_from_the_middle_on(507);
    assert!(said.contains("507"), "{said}");
}

#[test]
fn sftp_gets_everything_wherever_the_connection_is_cut() {
    let mut office = Office::new();
    let (_server, url, credentials) = sshd(&office.path());
    fs::create_dir(folder(&office)).unwrap();
    let mut world = World::new(&mut office, url, &credentials);
    let relay = Relay::start(world.server, u64::MAX, false);
    world.forward_in_peace(relay.address());
    let cuts = if is_all() { SFTP_CUTS_ALL } else { SFTP_CUTS };
    let all: Vec<u64> = (0..cuts).collect();
    side_by_side(&all, |cut| {
        let relay = Relay::start(world.server, relay.sent() * cut / cuts, cut % 2 == 1);
        world.forward_twice(&format!("cut-{cut}"), relay.address(), || relay.heal());
    });
}

#[test]
fn of_two_laptops_that_begin_in_one_folder_on_s3_the_first_one_stays() {
    let (_server, url) = moto();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("credentials.toml");
    fs::write(&path, s3_credentials()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let credentials = Credentials::read(&path, |_| None).unwrap();
    let place = Place::open(format!("s3:{url}/berth/a").parse().unwrap(), credentials, [7; 32]).unwrap();
    let mut upstream = place.repository("desk").unwrap();
    for config in [&b"first"[..], b"second"] {
        let (id, length) = (Id::of(config), config.len() as u64);
        upstream
            .write(ObjectKind::Config, &id, length, &mut &*config)
            .unwrap();
        assert_eq!(upstream.config().unwrap().unwrap(), b"first");
    }
}
