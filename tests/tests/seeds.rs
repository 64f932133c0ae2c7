//! The whole story with faults, seed by seed; a seed tells the same story to the byte.
//!
//! `SEEDS=n` runs so many seeds (default 200, and those of `seeds.txt`), `SEED=n` one.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what failed must be said"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use berth_tests::world::{seeds, tell};

const KNOWN: &str = include_str!("../seeds.txt");

/// Tests that share the seeds: nextest gives each a process, and so a core.
const SHARES: u64 = 4;

fn share(number: u64) {
    let (mut stories, mut snapshots, mut partial, mut cut) = (0, 0, 0, 0);
    let single = std::env::var_os("SEED").is_some();
    for seed in seeds(KNOWN) {
        if seed % SHARES != number {
            continue;
        }
        let story = catch_unwind(AssertUnwindSafe(|| tell(seed))).unwrap_or_else(|cause| {
            eprintln!("SEED={seed} cargo nextest run -p berth-tests --test seeds");
            resume_unwind(cause)
        });
        if single {
            println!("{}{}", story.trace, story.news.join("\n"));
            println!(
                "seed {seed}: {} snapshots, {} partial",
                story.snapshots, story.partial
            );
        }
        stories += 1;
        snapshots += story.snapshots;
        partial += story.partial;
        cut += story.cut;
    }
    // Else the faults do not do what they are for.
    assert!(
        stories < 25 || (partial > 2 && cut > stories),
        "{partial} partial sets, {cut} cuts"
    );
    println!("{stories} stories, {snapshots} snapshots, {partial} of them partial, {cut} sessions cut");
}

#[test]
fn every_seed_of_the_story_ends_with_all_files_upstream_0() {
    share(0);
}

#[test]
fn every_seed_of_the_story_ends_with_all_files_upstream_1() {
    share(1);
}

#[test]
fn every_seed_of_the_story_ends_with_all_files_upstream_2() {
    share(2);
}

#[test]
fn every_seed_of_the_story_ends_with_all_files_upstream_3() {
    share(3);
}

#[test]
fn a_seed_tells_the_same_story_to_the_byte() {
    for seed in [3, 17, 1_000_001] {
        let (one, two) = (tell(seed), tell(seed));
        let differs = one
            .trace
            .lines()
            .zip(two.trace.lines())
            .find(|(one, two)| one != two);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one, two, "seed {seed}");
    }
}
