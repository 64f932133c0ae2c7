//! What Berth promises (DESIGN.md, section 2), measured in a whole world.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests; what was measured is worth reading"
)]

use std::time::Duration;

use berth_client_sdk::{CHUNK_SIZE_BYTES_AVERAGE, CHUNK_SIZE_BYTES_MAX};
use berth_radio_sim::{Cut, Profile};
use berth_repository::Id;
use berth_tests::world::{Files, Judge, Mishap, SLOW, World, noise, words};
use berth_wire::{
    MANIFEST_CONTEXT, Manifest, Mark, ObjectEntry, ObjectKind, PROTOCOL, SetKind, SetSeq, Signed, ToHub,
    ToLaptop, UploadId, control_frames, data_frame, encode,
};
use bytes::Bytes;

type Fill = fn(&Files);

fn incompressible(files: &Files) {
    for number in 0..40_u64 {
        let size = 60_000 + 3_000 * number as usize;
        files.write(&format!("f{}/{number}.bin", number % 5), noise(size, number));
    }
    files.write("large", noise(6_000_000, 1_000));
}

/// Text and spreadsheets, which compress to about a third.
fn office(files: &Files) {
    for number in 0..600_u64 {
        let size = 10_000 + 70 * number as usize;
        let path = format!("f{}/g{}/{number}.txt", number % 9, number % 31);
        files.write(&path, words(size, number));
    }
}

/// Their metadata is their weight.
fn flat_small_files(files: &Files) {
    for number in 0..6_000_u64 {
        files.write(&format!("flat/{number}"), noise(60, number));
    }
}

fn world(fill: Fill) -> World {
    let mut world = World::new(11, SLOW);
    world.pair();
    fill(&world.laptop.files);
    world
}

/// What came of a visit that was cut, and of the next.
#[derive(Debug)]
struct Measured {
    /// Bytes that arrived in both visits, and in one that is not cut.
    both: u64,
    whole: u64,
    /// Bytes of files: acknowledged when the link was cut, and restorable from the hub then.
    acknowledged: u64,
    restorable: u64,
}

/// When the link is cut.
#[derive(Debug, Clone, Copy)]
enum When {
    /// When so many bytes have arrived.
    Arrived(u64),
    /// Then the user asks for a checkpoint, and goes as soon as it is acknowledged.
    AskedAt(u64),
}

fn whole_visit(fill: Fill) -> u64 {
    let mut world = world(fill);
    let before = world.hub.heard_bytes;
    let outcome = world.visit();
    assert!(outcome.summary.is_some(), "{}", outcome.how);
    world.hub.heard_bytes - before
}

fn cut_at(fill: Fill, whole: u64, when: When) -> Measured {
    let mut world = world(fill);
    let before = world.hub.heard_bytes;
    let outcome = match when {
        When::Arrived(bytes) => {
            world.mishap(Mishap::CutAfter(bytes, Cut::Everything));
            let outcome = world.visit();
            let arrived = world.hub.heard_bytes - before;
            // Before the link stood the session tries again by itself.
            assert!(
                arrived <= bytes || outcome.summary.is_some(),
                "{arrived} bytes arrived"
            );
            outcome
        }
        When::AskedAt(bytes) => {
            world.begin_visit();
            world.run_until(Duration::from_secs(60), |world| {
                world.hub.heard_bytes - before >= bytes
            });
            world.request_mark();
            world.run_until(Duration::from_secs(60), |world| {
                !world.outcomes.is_empty() || world.laptop.watched.is_some_and(|one| one.requested_mark_done)
            });
            let (now, port) = (world.now(), world.laptop.port);
            world.air.cut(now, port);
            world.run_until(Duration::from_secs(60), |world| !world.outcomes.is_empty());
            world.outcomes.pop().unwrap()
        }
    };
    world.wait(Duration::from_secs(30));
    let restorable = world.restorable_bytes();
    let last = world.visit_until_complete(Duration::from_secs(300)).unwrap();
    let both = world.hub.heard_bytes - before;
    let mut judge = Judge::open(world.hub.objects().unwrap(), &world.laptop.repository);
    let snapshots = judge.snapshots();
    let snapshot = last.summary.as_ref().unwrap().snapshot;
    let complete = snapshots.iter().find(|one| one.id == snapshot);
    assert_eq!(
        judge.picture(complete.unwrap()).unwrap(),
        world.laptop.files.picture(),
        "{when:?}"
    );
    Measured {
        both,
        whole,
        acknowledged: outcome.watched.unwrap_or_default().bytes_acknowledged,
        restorable,
    }
}

/// Cuts at many bytes. `chunk_bytes`: what may be sent twice beside the 2 %. Gives the most that was restorable.
fn cuts(fill: Fill, chunk_bytes: usize, restorable_percent: u64) -> u64 {
    let whole = whole_visit(fill);
    let shares = [1, 10, 33, 50, 77, 90, 99].map(|percent| whole * percent / 100);
    // Odd places: within the handshake, the first frames, off by one.
    let odd = [1, 70, 900, 4_097, whole / 3 + 1, whole - 1_000, whole - 1];
    let cuts = shares.into_iter().chain(odd).map(When::Arrived);
    let mut most = 0;
    for when in cuts.chain(shares.map(When::AskedAt)) {
        let measured = cut_at(fill, whole, when);
        println!(
            "{when:?} of {whole}: {:+.2} % sent, {} of {} acknowledged bytes restorable",
            (measured.both as f64 / whole as f64 - 1.0) * 100.0,
            measured.restorable,
            measured.acknowledged
        );
        assert!(
            measured.both <= measured.whole * 102 / 100 + chunk_bytes as u64,
            "{when:?}: {measured:?}"
        );
        assert!(
            measured.restorable * 100 >= measured.acknowledged * restorable_percent,
            "{when:?}: {measured:?}"
        );
        most = most.max(measured.restorable);
    }
    most
}

#[test]
fn a_cut_at_any_byte_costs_almost_nothing_with_incompressible_files() {
    assert!(cuts(incompressible, CHUNK_SIZE_BYTES_AVERAGE, 95) > 5_000_000);
}

#[test]
fn a_cut_at_any_byte_costs_almost_nothing_with_office_files() {
    assert!(cuts(office, CHUNK_SIZE_BYTES_AVERAGE, 95) > 9_000_000);
}

#[test]
fn a_cut_at_any_byte_costs_almost_nothing_with_a_flat_folder_of_small_files() {
    // Here both percentages collide, and what was acknowledged stays on the hub without being restorable at once: the 2 %
    // win (DESIGN.md, promise 2). The share is printed. The folder's tree is one chunk, larger than those of files.
    cuts(flat_small_files, CHUNK_SIZE_BYTES_MAX, 0);
}

#[test]
fn a_set_that_was_cut_comes_upstream_before_the_full_one() {
    let mut world = world(incompressible);
    world.begin_visit();
    assert!(world.run_until(Duration::from_secs(60), |world| world.hub.heard_bytes > 2_000_000));
    world.request_mark();
    world.run_until(Duration::from_secs(60), |world| {
        world.laptop.watched.is_some_and(|one| one.requested_mark_done)
    });
    world.mishap(Mishap::Away(Duration::from_secs(30)));
    world.visit_until_complete(Duration::from_secs(300)).unwrap();
    assert!(world.forward(10_000));
    let judge = Judge::open(world.upstream.objects(), &world.laptop.repository);
    let published = world.upstream.snapshots();
    let tags: Vec<_> = judge
        .snapshots()
        .into_iter()
        .map(|one| (one.id, one.tags))
        .collect();
    let tags: Vec<_> = published
        .iter()
        .map(|id| tags.iter().find(|(one, _)| one == id).unwrap().1.join(","))
        .collect();
    assert_eq!(
        tags,
        ["hub:desk-hub,partial,set:1", "complete,hub:desk-hub,set:2"]
    );
}

#[test]
fn a_link_leads_to_an_acknowledged_byte_within_a_fifth_of_a_simulated_second() {
    // From the arrival to the link it is the radios that take their time.
    for profile in [Profile::WFD_GOOD, Profile::WFD_TYPICAL, Profile::WFD_POOR] {
        let mut world = World::new(11, profile);
        world.pair();
        incompressible(&world.laptop.files);
        world.begin_visit();
        let within = Duration::from_secs(60);
        assert!(world.run_until(within, |world| world.laptop.watched.is_some()));
        let link = world.now();
        assert!(world.run_until(within, |world| {
            world.laptop.watched.is_some_and(|one| one.bytes_acknowledged > 0)
        }));
        let acknowledged = world.now().saturating_sub(link);
        assert!(
            acknowledged <= Duration::from_millis(200),
            "{}: {acknowledged:?}",
            profile.name
        );
    }
}

#[test]
fn an_unchanged_visit_sends_next_to_nothing() {
    let mut world = world(office);
    let before = world.hub.heard_bytes;
    world.visit().summary.unwrap();
    let first = world.hub.heard_bytes - before;
    let second = world.visit().summary.unwrap();
    assert_eq!(second.content_files_read, 0);
    let second = world.hub.heard_bytes - before - first;
    assert!(second * 1_000 < first, "{second} bytes after {first}");
}

#[test]
fn a_laptop_revoked_in_the_middle_of_a_visit_is_refused_from_that_moment() {
    let mut world = world(incompressible);
    world.begin_visit();
    let heard = world.hub.heard_bytes;
    assert!(
        world.run_until(Duration::from_secs(60), |world| world.hub.heard_bytes - heard
            > 3_000_000)
    );
    world.revoke();
    let at_revocation = world.hub.heard_bytes;
    world.run_until(Duration::from_secs(60), |world| !world.outcomes.is_empty());
    let outcome = world.outcomes.pop().unwrap();
    assert!(outcome.summary.is_none(), "{}", outcome.how);
    assert_eq!(world.hub.heard_bytes, at_revocation, "something was still heard");
    // What had arrived is kept, as a partial set; the owner's files are not lost because of it.
    let sets = world.hub.sets();
    assert!(
        sets.iter()
            .all(|set| set.sealed().is_none_or(|one| one.kind == SetKind::Partial))
    );
    assert!(world.restorable_bytes() >= outcome.watched.unwrap().bytes_restorable);
    // And never again.
    for _ in 0..3 {
        let outcome = world.visit();
        assert!(
            outcome.summary.is_none() && outcome.watched.is_none(),
            "{}",
            outcome.how
        );
    }
    assert_eq!(world.hub.sets(), sets);
    // Nor after a restart.
    world.mishap(Mishap::KillHub(Duration::from_secs(1)));
    world.wait(Duration::from_secs(5));
    let outcome = world.visit();
    assert!(
        outcome.summary.is_none() && outcome.watched.is_none(),
        "{}",
        outcome.how
    );
}

#[test]
fn neither_spool_nor_journal_nor_upstream_nor_air_holds_a_name_or_content_in_the_clear() {
    const NAME: &str = "payslip-of-miss-marple";
    const CONTENT: &str = "the butler did it in the library with a candlestick";
    let mut world = World::new(5, Profile::WFD_GOOD);
    world.listen();
    world.pair();
    let files = world.laptop.files.clone();
    files.write(&format!("{NAME}/{NAME}.txt"), CONTENT);
    files.write(&format!("{NAME}/long.txt"), CONTENT.repeat(5_000));
    files.write("noise", [CONTENT.as_bytes(), &noise(3_000_000, 1)].concat());
    files.symlink("link", NAME);
    // Cut in the middle too: what waits for the next visit is looked at as well.
    world.mishap(Mishap::CutAfter(1_500_000, Cut::Everything));
    assert!(world.visit().summary.is_none());
    world.wait(Duration::from_secs(30));
    let mut places = vec![("journal", world.hub.journal_bytes())];
    for (path, bytes) in world.hub.disk.contents() {
        places.push(("spool", [path.into_bytes(), bytes].concat()));
    }
    world.visit_until_complete(Duration::from_secs(300)).unwrap();
    assert!(world.forward(10_000));
    places.push(("journal", world.hub.journal_bytes()));
    for (path, bytes) in world.hub.disk.contents() {
        places.push(("spool", [path.into_bytes(), bytes].concat()));
    }
    let heard = world.heard();
    assert!(heard.len() > 3_000_000);
    places.push(("air", heard));
    // Names of people and machines are not the hub's business either.
    for wanted in [NAME, &CONTENT[..20], "/home/user", "long.txt"] {
        for (place, bytes) in &places {
            let found = bytes.windows(wanted.len()).any(|one| one == wanted.as_bytes());
            assert!(!found, "`{wanted}` lies in the {place}");
        }
    }
}

/// A manifest of this laptop's, rightly signed, of a set with a pack that the hub does not have.
fn manifest_of_nothing(world: &World, set: SetSeq, kind: SetKind, mark: u32) -> Signed {
    let manifest = Manifest {
        format: 1,
        laptop: world.laptop.identity.device().0,
        hub: [7; 32],
        repository: world.laptop.repository.id(),
        set,
        kind,
        mark,
        previous: None,
        snapshot: Id::of(b"no snapshot"),
        created_at_ns: 0,
        pages: Vec::new(),
        tail: vec![ObjectEntry {
            kind: ObjectKind::Pack,
            id: Id::of(b"no pack"),
            length: 100,
        }],
        objects: 1,
        bytes: 100,
        not_read: 0,
    };
    let body = encode(&manifest).unwrap();
    let signature = world.laptop.identity.sign(MANIFEST_CONTEXT, &body).to_vec();
    Signed { body, signature }
}

#[test]
fn a_laptop_that_lies_harms_no_set_and_is_welcome_again_when_it_does_not() {
    let mut world = world(office);
    world.visit().summary.unwrap();
    let sets = world.hub.sets();
    let set = SetSeq(sets[0].seq.0 + 1);
    let upload = |set, number| UploadId { set, number };
    let begin = ToHub::Begin {
        protocol: PROTOCOL,
        repository: world.laptop.repository.id(),
        last: None,
    };
    let open_set = ToHub::OpenSet { created_at_ns: 0 };
    let open = |set| ToHub::Open {
        upload: upload(set, 1),
        kind: ObjectKind::Pack,
        provisional: false,
    };
    let close = ToHub::Close {
        upload: upload(set, 1),
        id: Id::of(b"another"),
        length: 5,
    };
    let other_repository = ToHub::Begin {
        protocol: PROTOCOL,
        repository: Id::of(b"another"),
        last: None,
    };
    let commit = ToHub::Commit {
        manifest: manifest_of_nothing(&world, set, SetKind::Complete, 0),
    };
    let commit_again = ToHub::Commit {
        manifest: manifest_of_nothing(&world, sets[0].seq, SetKind::Complete, 0),
    };
    let checkpoint = ToHub::Checkpoint {
        mark: Mark(1),
        open: Vec::new(),
        manifest: manifest_of_nothing(&world, set, SetKind::Partial, 1),
    };
    let unsigned = ToHub::Checkpoint {
        mark: Mark(1),
        open: Vec::new(),
        manifest: Signed {
            body: vec![0; 100],
            signature: vec![0; 64],
        },
    };
    let said = |messages: &[&ToHub]| -> Vec<Bytes> {
        messages
            .iter()
            .flat_map(|one| control_frames(*one).unwrap())
            .collect()
    };
    let mut wrong_content = said(&[&begin, &open_set, &open(set)]);
    wrong_content.push(data_frame(upload(set, 1), b"bytes"));
    wrong_content.extend(said(&[&close]));
    let lies = [
        ("noise", vec![Bytes::from(noise(300, 1))]),
        ("no greeting", said(&[&open_set])),
        ("another repository", said(&[&other_repository])),
        ("content that is not what its name says", wrong_content),
        (
            "an upload into a sealed set",
            said(&[&begin, &open_set, &open(sets[0].seq)]),
        ),
        (
            "data from nowhere",
            [said(&[&begin, &open_set]), vec![data_frame(upload(set, 9), b"x")]].concat(),
        ),
        ("a set of what is not there", said(&[&begin, &open_set, &commit])),
        (
            "a sealed set once more",
            said(&[&begin, &open_set, &commit_again]),
        ),
        (
            "a checkpoint of what is not there",
            said(&[&begin, &open_set, &checkpoint]),
        ),
        (
            "a checkpoint that nobody signed",
            said(&[&begin, &open_set, &unsigned]),
        ),
    ];
    for (what, frames) in lies {
        let heard = world.lie(frames);
        let is_word =
            |one: &ToLaptop| matches!(one, ToLaptop::Acknowledged { .. } | ToLaptop::Receipt { .. });
        assert!(!heard.iter().any(is_word), "{what}: {heard:?}");
        let ended = world
            .news
            .iter()
            .rfind(|line| line.contains("VisitEnded"))
            .unwrap();
        let refusals = [
            "Broken(",
            "Store(",
            "Stopped(Disagree)",
            "Stopped(OtherRepository)",
        ];
        assert!(
            refusals.iter().any(|why| ended.contains(why)),
            "{what}: {ended}, {heard:?}"
        );
        world.wait(Duration::from_secs(30));
        let sealed: Vec<_> = world
            .hub
            .sets()
            .into_iter()
            .filter(|one| one.sealed().is_some())
            .collect();
        assert_eq!(sealed, sets, "{what}");
    }
    // What was there is whole, and the laptop's own program is served as before.
    world.laptop.files.write("new", words(5_000, 7));
    let last = world.visit().summary.unwrap();
    let mut judge = Judge::open(world.hub.objects().unwrap(), &world.laptop.repository);
    let snapshots = judge.snapshots();
    assert_eq!(snapshots.len(), 2);
    let pictures: Vec<_> = snapshots.iter().map(|one| judge.picture(one).unwrap()).collect();
    let at = snapshots.iter().position(|one| one.id == last.snapshot).unwrap();
    assert_eq!(pictures[at], world.laptop.files.picture());
}
