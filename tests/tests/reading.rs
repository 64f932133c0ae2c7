//! Reading back from a hub: the laptop's machine and a real hub's receiver and spool, without a radio between them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../client-sdk/tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use berth_agent::{Errand, LinkSource, Seen, read_back};
use berth_bridge::{Effect, FolderUpstream, Forwarder, Input, Limits, Progress, Receiver};
use berth_client_sdk::{ANSWER_MAX, OsSource, Reading, ReadingStep, VisitError};
use berth_pairing::{Identity, Name, NoiseKey, Peer, Role};
use berth_repository::{Id, KeyFile, KeyOwner, RecoveryKey, ScryptCost, Timestamp};
use berth_restore::{
    Depth, Existing, FolderSource, LeftOut, ObjectKind, ObjectSource, Repository, RestoreError, Snapshot,
};
use berth_tests::compare::{Owners, assert_same};
use berth_tests::corpus;
use berth_wire::ToLaptop;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use support::{Cut, Pair};

/// What becomes of a message of the hub on its way; `None`: it never arrives.
type OnTheWay<'a> = &'a mut dyn FnMut(ToLaptop) -> Option<ToLaptop>;

/// What a visit took.
#[derive(Debug, Default)]
struct Took {
    /// Times that the laptop had to wait for answers.
    waits: u64,
}

/// Carries messages between a reading laptop and the hub until the visit ends.
fn carry(
    pair: &Pair,
    mut reading: Reading,
    woken: &mpsc::Receiver<()>,
    on_the_way: OnTheWay<'_>,
) -> Result<Took, VisitError> {
    let mut took = Took::default();
    let mut now = Duration::ZERO;
    let mut receiver = Receiver::new(now);
    let mut visit = pair.spool().visit(pair.laptop_id()).unwrap();
    // Nothing is answered before the laptop waits: so the hub sees all that a window holds.
    let mut inputs = VecDeque::new();
    loop {
        match reading.next(now)? {
            ReadingStep::Send(message) => {
                let mut effects = Vec::new();
                receiver.handle(now, Input::Message(message), &mut effects);
                for effect in effects {
                    match effect {
                        Effect::Store(op) => inputs.push_back(op),
                        Effect::Reply(message) => panic!("an answer at once: {message:?}"),
                        Effect::End(end) => panic!("the hub ended the visit: {end:?}"),
                    }
                }
            }
            ReadingStep::Wait if inputs.is_empty() => {
                if woken.recv_timeout(Duration::from_secs(20)).is_err() {
                    panic!("nobody asks and nobody leaves");
                }
            }
            ReadingStep::Wait => {
                took.waits += 1;
                for op in inputs.drain(..) {
                    let done = visit.execute(op, 0).unwrap();
                    let mut effects = Vec::new();
                    receiver.handle(now, Input::Store(done), &mut effects);
                    for effect in effects {
                        let Effect::Reply(message) = effect else {
                            panic!("not an answer: {effect:?}");
                        };
                        match on_the_way(message) {
                            Some(message) => reading.receive(now, message)?,
                            None => now += ANSWER_MAX,
                        }
                    }
                }
            }
            ReadingStep::Done => return Ok(took),
        }
    }
}

/// Reads from the hub with `work`, by the recovery key.
fn read<T: Send>(
    pair: &Pair,
    on_the_way: OnTheWay<'_>,
    work: impl FnOnce(Repository) -> T + Send,
) -> (Result<T, RestoreError>, Arc<Seen>, Result<Took, VisitError>) {
    let key = pair.repository.recovery_key();
    read_by(pair, on_the_way, |source| Repository::open(source, key), work)
}

/// Reads from the hub with `work`; what came of it, what was read, and how the visit went.
fn read_by<T: Send>(
    pair: &Pair,
    on_the_way: OnTheWay<'_>,
    open: impl FnOnce(LinkSource) -> Result<Repository, RestoreError> + Send,
    work: impl FnOnce(Repository) -> T + Send,
) -> (Result<T, RestoreError>, Arc<Seen>, Result<Took, VisitError>) {
    let (wake, woken) = mpsc::channel();
    let peer = Peer {
        device: Identity::generate(&mut ChaCha8Rng::seed_from_u64(1)).device(),
        noise: NoiseKey([0; 32]),
        role: Role::Hub,
        name: Name::reduce("desk"),
        beacon: None,
    };
    let (worked, left) = read_back(
        pair.repository.id(),
        Arc::new(move || {
            // The visit may have ended.
            let _ = wake.send(());
        }),
        |begin| {
            let Ok(Errand::Read(reading)) = begin(&peer) else {
                panic!("not a visit that reads");
            };
            carry(pair, *reading, &woken, on_the_way)
        },
        |source: LinkSource| {
            let seen = source.seen();
            (open(source).map(work), seen)
        },
    );
    let (result, seen) = worked.unwrap();
    (result, seen, left)
}

fn honest(message: ToLaptop) -> Option<ToLaptop> {
    Some(message)
}

fn latest(repository: &Repository) -> Snapshot {
    repository.snapshots().unwrap().pop().unwrap()
}

/// A pair whose hub holds one set of what `make` makes in `files`.
fn backed_up(make: impl FnOnce(&Path)) -> (Pair, PathBuf) {
    let mut pair = Pair::new();
    let files = pair.dir.path().join("files");
    make(&files);
    pair.visit(Box::new(OsSource::new()), &[&files], Cut::Never);
    (pair, files)
}

fn within(into: &Path, path: &Path) -> PathBuf {
    into.join(path.strip_prefix("/").unwrap())
}

fn pack_bytes(pair: &Pair) -> u64 {
    let source = FolderSource::new(pair.spool_repository());
    let packs = source.list(ObjectKind::Pack).unwrap();
    packs.iter().filter_map(|(_, size)| *size).sum()
}

#[test]
fn an_odd_folder_comes_back_over_the_link_the_same() {
    let (pair, files) = backed_up(|files| {
        corpus::odd_folder(files, 5).unwrap();
    });
    let into = pair.dir.path().join("restored");
    let (report, _, left) = read(&pair, &mut honest, |repository| {
        repository.restore(&latest(&repository), &[], &into, Existing::Keep, &|_| {})
    });
    left.unwrap();
    let report = report.unwrap().unwrap();
    assert!(report.is_whole(), "{:#?}", report.problems);
    assert_same(&files, &within(&into, &files), Owners::of_this_user());
}

#[test]
fn what_the_hub_has_only_upstream_is_said_to_be_so_and_a_full_hub_is_read_from() {
    let (pair, files) = backed_up(|files| {
        fs::create_dir(files).unwrap();
        fs::write(files.join("a"), b"content").unwrap();
    });
    let mut upstream = FolderUpstream::new(pair.dir.path().join("upstream"), &[1; 32]);
    let mut forwarder = Forwarder::new(Arc::clone(pair.spool()), pair.laptop_id());
    while forwarder.step(&mut upstream, 0).unwrap() != Progress::Idle {}
    let into = pair.dir.path().join("restored");
    let restore = |repository: Repository| {
        let snapshot = latest(&repository);
        repository.restore(&snapshot, &[], &into, Existing::Keep, &|_| {})
    };
    let (report, seen, _) = read(&pair, &mut honest, restore);
    assert!(report.unwrap().unwrap().is_whole() && !seen.reclaimed());
    assert_same(&files, &within(&into, &files), Owners::of_this_user());
    fs::remove_dir_all(&into).unwrap();
    // As the next visit begins all packs go: it is a full hub's.
    pair.spool().set_upstream_since(Some(0));
    pair.spool().set_limits(Limits {
        spool_bytes_max: Some(1),
        laptop_bytes_max: None,
    });
    let (report, seen, left) = read(&pair, &mut honest, restore);
    left.unwrap();
    assert!(seen.reclaimed());
    let error = report.unwrap().unwrap_err();
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    assert!(
        said.contains("the hub has removed it, because room was needed"),
        "{said}"
    );
}

#[test]
fn a_restore_reads_what_it_needs_once_and_in_few_questions() {
    let (pair, files) = backed_up(|files| {
        corpus::small_files(&files.join("small"), 1, 2_000).unwrap();
        corpus::incompressible(&files.join("large"), 2, 24_000_000).unwrap();
        // The same content a second time: its chunks are needed twice.
        fs::create_dir(files.join("again")).unwrap();
        for path in berth_tests::compare::files(&files.join("large"))
            .unwrap()
            .iter()
            .take(3)
        {
            fs::copy(path, files.join("again").join(path.file_name().unwrap())).unwrap();
        }
    });
    let into = pair.dir.path().join("restored");
    let (report, seen, left) = read(&pair, &mut honest, |repository| {
        repository.restore(&latest(&repository), &[], &into, Existing::Keep, &|_| {})
    });
    let took = left.unwrap();
    assert!(report.unwrap().unwrap().is_whole());
    assert_same(&files, &within(&into, &files), Owners::of_this_user());
    let needed = pack_bytes(&pair);
    let ratio = seen.bytes() as f64 / needed as f64;
    println!(
        "{needed} bytes in packs, {} read ({ratio:.3}), {} questions, {} waits",
        seen.bytes(),
        seen.questions(),
        took.waits
    );
    assert!(ratio < 1.03, "read {ratio} times what the packs hold");
    assert!(
        seen.questions() < 60 + needed / 200_000,
        "{} questions",
        seen.questions()
    );
}

#[test]
fn a_restore_that_was_cut_goes_on_and_fetches_only_the_rest() {
    let (pair, files) = backed_up(|files| corpus::incompressible(files, 7, 30_000_000).unwrap());
    let into = pair.dir.path().join("restored");
    let mut fetched = 0;
    let mut cut = |message: ToLaptop| match message {
        ToLaptop::Fetched { bytes, object_length } => {
            fetched += bytes.len();
            // After this nothing comes any more.
            (fetched < 20_000_000).then_some(ToLaptop::Fetched { bytes, object_length })
        }
        message => Some(message),
    };
    let restore = |repository: Repository| {
        repository.restore(&latest(&repository), &[], &into, Existing::Keep, &|_| {})
    };
    let (first, seen_first, left) = read(&pair, &mut cut, restore);
    assert!(matches!(left, Err(VisitError::Overdue)), "{left:?}");
    assert!(matches!(first, Ok(Err(RestoreError::Lost { .. }))), "{first:?}");
    let restored = within(&into, &files);
    for path in berth_tests::compare::files(&restored).unwrap() {
        let original = files.join(path.strip_prefix(&restored).unwrap());
        assert!(
            fs::read(&path).unwrap() == fs::read(original).unwrap(),
            "{path:?} is not whole"
        );
    }
    let (second, seen_second, left) = read(&pair, &mut honest, restore);
    left.unwrap();
    let report = second.unwrap().unwrap();
    assert!(report.is_whole() && report.files_there > 0, "{report:?}");
    assert_same(&files, &restored, Owners::of_this_user());
    let both = seen_first.bytes() + seen_second.bytes();
    println!(
        "{} + {} bytes read, {} in packs, {} bytes were there",
        seen_first.bytes(),
        seen_second.bytes(),
        pack_bytes(&pair),
        report.bytes_there
    );
    // What was under way at the cut: files half written, and what was read ahead for them.
    assert!(both < pack_bytes(&pair) + 12_000_000, "{both} bytes in both");
    assert!(seen_second.bytes() + report.bytes_there < pack_bytes(&pair) + 2_000_000);
}

#[test]
fn files_that_are_there_stay_unless_they_are_to_be_replaced() {
    let (pair, files) = backed_up(|files| {
        fs::create_dir(files).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(files.join(name), format!("{name} of the snapshot")).unwrap();
        }
    });
    let into = pair.dir.path().join("restored");
    let restored = within(&into, &files);
    fs::create_dir_all(&restored).unwrap();
    fs::write(restored.join("a"), "mine").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", restored.join("b")).unwrap();
    let restore = |existing| {
        let (report, _, _) = read(&pair, &mut honest, |repository| {
            repository.restore(&latest(&repository), &[], &into, existing, &|_| {})
        });
        report.unwrap().unwrap()
    };
    let report = restore(Existing::Keep);
    assert_eq!(
        (report.files, report.problems.len()),
        (1, 2),
        "{:?}",
        report.problems
    );
    assert_eq!(fs::read(restored.join("a")).unwrap(), b"mine");
    assert!(restored.join("b").is_symlink());
    let report = restore(Existing::Replace);
    assert!(
        report.is_whole() && report.files == 2 && report.files_there == 1,
        "{report:?}"
    );
    assert_same(&files, &restored, Owners::of_this_user());
}

#[test]
fn only_what_is_named_is_restored_and_read() {
    let (pair, files) = backed_up(|files| {
        corpus::incompressible(&files.join("large"), 3, 8_000_000).unwrap();
        fs::create_dir(files.join("some")).unwrap();
        fs::write(files.join("some/one"), "one").unwrap();
        fs::write(files.join("some/two"), "two").unwrap();
    });
    let into = pair.dir.path().join("restored");
    let wanted = [files.join("some/one")];
    let (report, seen, _) = read(&pair, &mut honest, |repository| {
        repository.restore(&latest(&repository), &wanted, &into, Existing::Keep, &|_| {})
    });
    assert_eq!(report.unwrap().unwrap().files, 1);
    assert_eq!(fs::read(within(&into, &wanted[0])).unwrap(), b"one");
    assert!(!within(&into, &files.join("large")).exists());
    assert!(seen.bytes() < 200_000, "{} bytes", seen.bytes());
}

#[test]
fn a_list_and_one_file_need_no_more_than_trees_and_that_file() {
    let (pair, files) = backed_up(|files| corpus::small_files(files, 4, 300).unwrap());
    let all = berth_tests::compare::files(&files).unwrap();
    let (found, seen, left) = read(&pair, &mut honest, |repository| {
        let snapshot = latest(&repository);
        let mut found = Vec::new();
        repository
            .list(&snapshot, &files, Depth::Everything, &mut |path, entry| {
                if entry.unwrap().is_file() {
                    found.push(path.to_path_buf());
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        let mut content = Vec::new();
        repository.cat(&snapshot, &all[7], &mut content).unwrap();
        (found, content)
    });
    left.unwrap();
    let (mut found, content) = found.unwrap();
    found.sort();
    assert_eq!(found, all);
    assert_eq!(content, fs::read(&all[7]).unwrap());
    assert!(seen.bytes() < pack_bytes(&pair), "{} bytes", seen.bytes());
}

/// Two sets: of `first`, and of `first` and `second`.
fn backed_up_twice() -> (Pair, PathBuf) {
    let (mut pair, files) = backed_up(|files| {
        fs::create_dir(files).unwrap();
        fs::write(files.join("first"), "of the first set").unwrap();
    });
    fs::write(files.join("second"), "of the second set").unwrap();
    pair.visit(Box::new(OsSource::new()), &[&files], Cut::Never);
    (pair, files)
}

/// Objects of a kind in the hub's spool, as files.
fn spooled(pair: &Pair, kind: ObjectKind) -> Vec<(Id, PathBuf)> {
    let root = pair.spool_repository();
    let listed = FolderSource::new(&root).list(kind).unwrap();
    let path = |id: Id| root.join(kind.folder()).join(id.to_string());
    listed.into_iter().map(|(id, _)| (id, path(id))).collect()
}

/// Runs `then` with a file of the spool cut short, with a bit of it flipped, and with garbage in its place.
fn with_each_damage(path: &Path, mut then: impl FnMut()) {
    let whole = fs::read(path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damage in [&whole[..whole.len() / 2], &flipped, b"{}", b""] {
        // Objects of the spool are read-only.
        fs::remove_file(path).unwrap();
        fs::write(path, damage).unwrap();
        then();
    }
    fs::write(path, whole).unwrap();
}

fn names(left_out: &[LeftOut]) -> Vec<(ObjectKind, Id)> {
    left_out.iter().map(|object| (object.kind, object.id)).collect()
}

#[test]
fn a_damaged_snapshot_costs_only_its_own_set() {
    let (pair, files) = backed_up_twice();
    for (damaged, path) in spooled(&pair, ObjectKind::Snapshot) {
        with_each_damage(&path, || {
            let into = tempfile::tempdir().unwrap();
            let (read, _, left) = read(&pair, &mut honest, |repository| {
                assert_eq!(repository.snapshots().unwrap().len(), 1);
                let other = latest(&repository);
                let report = repository.restore(&other, &[], into.path(), Existing::Keep, &|_| {});
                (other.id, report.unwrap(), repository.left_out())
            });
            left.unwrap();
            let (other, report, left_out) = read.unwrap();
            assert_ne!(other, damaged);
            assert!(report.is_whole(), "{:#?}", report.problems);
            assert!(within(into.path(), &files.join("first")).exists());
            assert_eq!(names(&left_out), [(ObjectKind::Snapshot, damaged)]);
        });
    }
}

#[test]
fn a_damaged_index_file_costs_only_the_files_that_no_other_finds() {
    let (pair, files) = backed_up_twice();
    let mut partly = 0;
    for (damaged, path) in spooled(&pair, ObjectKind::Index) {
        with_each_damage(&path, || {
            let into = tempfile::tempdir().unwrap();
            let (read, _, left) = read(&pair, &mut honest, |repository| {
                let report =
                    repository.restore(&latest(&repository), &[], into.path(), Existing::Keep, &|_| {});
                (report, repository.left_out())
            });
            left.unwrap();
            let (report, left_out) = read.unwrap();
            assert_eq!(names(&left_out), [(ObjectKind::Index, damaged)]);
            // Without the second set's own index not even its root is found.
            let Ok(report) = report else {
                return;
            };
            partly += 1;
            let missing: Vec<&Path> = report.problems.iter().map(|one| one.path.as_path()).collect();
            assert_eq!(missing, [files.join("first")]);
            let second = fs::read(within(into.path(), &files.join("second")));
            assert_eq!(second.unwrap(), b"of the second set");
        });
    }
    assert!(partly > 0, "no index file is the first set's alone");
}

#[test]
fn a_damaged_key_file_costs_nothing_while_another_or_the_master_key_opens() {
    let (pair, _) = backed_up_twice();
    let (first, path) = spooled(&pair, ObjectKind::Key).pop().unwrap();
    let folder = path.parent().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let owner = KeyOwner {
        created: Timestamp::default(),
        username: String::new(),
        hostname: String::new(),
    };
    let recovery = RecoveryKey::parse(pair.repository.recovery_key()).unwrap();
    let other = KeyFile::create(
        pair.repository.key(),
        &recovery,
        ScryptCost::CHEAPEST,
        &owner,
        &mut rng,
    )
    .unwrap();
    let open = || {
        let source = FolderSource::new(pair.spool_repository());
        Repository::open(source, pair.repository.recovery_key())
    };
    with_each_damage(&path, || {
        let error = open().err().unwrap();
        assert!(matches!(&error, RestoreError::Unreadable { source, .. }
            if source.to_string().contains(&first.to_string())));
        let source = FolderSource::new(pair.spool_repository());
        let repository = Repository::open_by_master_key(source, pair.repository.key()).unwrap();
        assert_eq!(repository.snapshots().unwrap().len(), 2);
        fs::write(folder.join(other.id.to_string()), &other.bytes).unwrap();
        assert_eq!(open().unwrap().snapshots().unwrap().len(), 2);
        fs::remove_file(folder.join(other.id.to_string())).unwrap();
    });
}

#[test]
fn snapshots_that_are_listed_and_not_given_are_named() {
    let (pair, _) = backed_up_twice();
    let mut fetches = 0;
    let mut withhold = |message: ToLaptop| match message {
        ToLaptop::Fetched { .. } => {
            fetches += 1;
            // The config comes first.
            Some(if fetches > 1 { ToLaptop::Missing } else { message })
        }
        message => Some(message),
    };
    let key = pair.repository.key().clone();
    let (read, _, left) = read_by(
        &pair,
        &mut withhold,
        |source| Repository::open_by_master_key(source, &key),
        |repository| (repository.snapshots().unwrap(), repository.left_out()),
    );
    left.unwrap();
    let (snapshots, left_out) = read.unwrap();
    assert_eq!(snapshots, []);
    let of_spool = spooled(&pair, ObjectKind::Snapshot).into_iter();
    let mut all: Vec<_> = of_spool.map(|(id, _)| (ObjectKind::Snapshot, id)).collect();
    all.sort_unstable();
    assert_eq!(names(&left_out), all);
}

/// What a hub can do to an answer.
fn damaged(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.into()
}

#[test]
fn a_hub_that_lies_leads_to_errors_and_never_to_a_wrong_file() {
    let (pair, files) = backed_up(|files| corpus::text_and_office(files, 6, 3_000_000).unwrap());
    // From each fetch on: those before are honest, so that every kind of object is lied about.
    for from in [0, 1, 2, 4, 6, 8, 12] {
        for lie in ["bytes", "missing", "short", "long"] {
            let into = pair.dir.path().join(format!("restored-{from}-{lie}"));
            let mut fetches = 0;
            let mut tamper = |message: ToLaptop| match message {
                ToLaptop::Fetched { bytes, object_length } => {
                    fetches += 1;
                    if fetches <= from {
                        return Some(ToLaptop::Fetched { bytes, object_length });
                    }
                    Some(match lie {
                        "bytes" => ToLaptop::Fetched {
                            bytes: damaged(&bytes),
                            object_length,
                        },
                        "missing" => ToLaptop::Missing,
                        "short" => ToLaptop::Fetched {
                            object_length: bytes.len() as u64 / 2,
                            bytes: bytes.slice(..bytes.len() / 2),
                        },
                        _ => ToLaptop::Fetched {
                            bytes: Bytes::from(vec![0; bytes.len() + 1]),
                            object_length: object_length + 1,
                        },
                    })
                }
                message => Some(message),
            };
            let (report, _, _) = read(&pair, &mut tamper, |repository| {
                let snapshot = repository.snapshots()?.pop();
                let snapshot = snapshot.ok_or(RestoreError::NoRepository {
                    location: String::new(),
                })?;
                repository.restore(&snapshot, &[], &into, Existing::Keep, &|_| {})
            });
            if let Ok(Ok(report)) = &report {
                assert!(!report.is_whole(), "{lie} from fetch {from} on was not noticed");
            }
            let restored = within(&into, &files);
            let Ok(found) = berth_tests::compare::files(&restored) else {
                continue;
            };
            for path in found {
                let original = files.join(path.strip_prefix(&restored).unwrap());
                assert!(
                    fs::read(&path).unwrap() == fs::read(original).unwrap(),
                    "{path:?} is wrong"
                );
            }
        }
    }
}

/// Gives the first chunk in the place of every other one of its length: each has the right MAC.
struct Swapper {
    honest: FolderSource,
    first: Mutex<Option<Bytes>>,
    swapped: Arc<AtomicU32>,
}

impl ObjectSource for Swapper {
    fn location(&self) -> String {
        self.honest.location()
    }

    fn list(&self, kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>> {
        self.honest.list(kind)
    }

    fn read(&self, kind: ObjectKind, id: Id, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let is_chunk = range
            .as_ref()
            .is_some_and(|range| range.end - range.start > 50_000);
        let bytes = self.honest.read(kind, id, range)?;
        if !is_chunk {
            return Ok(bytes);
        }
        let mut first = self.first.lock().unwrap();
        let first = first.get_or_insert_with(|| bytes.clone());
        if *first != bytes && first.len() == bytes.len() {
            self.swapped.fetch_add(1, Ordering::Relaxed);
            return Ok(first.clone());
        }
        Ok(bytes)
    }
}

#[test]
fn the_right_bytes_of_another_chunk_are_noticed() {
    let (pair, files) = backed_up(|files| {
        fs::create_dir(files).unwrap();
        // One chunk each, all of one length when sealed.
        for seed in 0..4 {
            let mut content = vec![0; 60_000];
            ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut content);
            fs::write(files.join(seed.to_string()), content).unwrap();
        }
    });
    let into = pair.dir.path().join("restored");
    let swapped = Arc::new(AtomicU32::new(0));
    let source = Swapper {
        honest: FolderSource::new(pair.spool_repository()),
        first: Mutex::default(),
        swapped: Arc::clone(&swapped),
    };
    let repository = Repository::open(source, pair.repository.recovery_key()).unwrap();
    let report = repository
        .restore(&latest(&repository), &[], &into, Existing::Keep, &|_| {})
        .unwrap();
    assert_eq!(swapped.load(Ordering::Relaxed), 3);
    assert_eq!(
        (report.files, report.problems.len()),
        (1, 3),
        "{:?}",
        report.problems
    );
    for path in berth_tests::compare::files(&within(&into, &files)).unwrap() {
        let original = files.join(path.file_name().unwrap());
        assert!(
            fs::read(&path).unwrap() == fs::read(original).unwrap(),
            "{path:?} is wrong"
        );
    }
}

#[test]
fn without_a_backup_there_is_no_repository_to_read() {
    let pair = Pair::new();
    let (result, _, left) = read(&pair, &mut honest, |_| ());
    left.unwrap();
    assert!(matches!(result, Err(RestoreError::NoRepository { location }) if location == "the hub desk"));
}
