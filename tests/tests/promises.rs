//! What Berth promises (DESIGN.md, section 2), measured in a whole world.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests; what was measured is worth reading"
)]

use std::path::Path;
use std::time::Duration;

use berth_client_sdk::{CHUNK_SIZE_BYTES_AVERAGE, CHUNK_SIZE_BYTES_MAX};
use berth_radio_sim::{Cut, Profile};
use berth_tests::world::{Files, Judge, Mishap, SLOW, What, World, noise, words};
use berth_wire::SetKind;

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

/// Bytes of the files in the newest set on the hub; each is what it is in the source, or its marked beginning.
fn restorable_bytes(world: &World) -> u64 {
    if world.hub.sets().iter().all(|set| set.sealed().is_none()) {
        return 0;
    }
    let mut judge = Judge::open(world.hub.objects().unwrap(), &world.laptop.repository);
    let snapshots = judge.snapshots();
    let snapshot = snapshots.last().unwrap();
    let files = world.laptop.files.all();
    let mut bytes = 0;
    for (path, shown) in judge.picture(snapshot).unwrap() {
        let What::File(content, size) = shown.what else {
            continue;
        };
        bytes += size;
        if !world.laptop.files.was(&path, content) {
            let name = path.to_str().unwrap().strip_suffix(".berth-partial").unwrap();
            let there = judge.content(snapshot, &path).unwrap();
            assert!(files[Path::new(name)].starts_with(&there), "{}", path.display());
        }
    }
    bytes
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
    let restorable = restorable_bytes(&world);
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
    assert!(restorable_bytes(&world) >= outcome.watched.unwrap().bytes_restorable);
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
