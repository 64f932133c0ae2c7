//! The story of one seed: pair, visit, be interrupted in every way, forward, restore.

use std::time::Duration;

use berth_radio::Time;
use berth_radio_sim::{Cut, Faults, Profile};
use berth_repository::Id;
use berth_wire::{SetKind, SetSeq};

use super::draw::{Draw, edit, noise};
use super::judge::PARTIAL_MARK;
use super::{Judge, MemoryUpstream, Mishap, Outcome, Picture, SLOW, What, World};

/// Seeds of the story if the environment does not say how many (`SEEDS`).
const SEEDS_DEFAULT: u64 = 200;

/// Simulated time for one round of the story; a visit that is left alone takes some seconds.
const ROUND_MAX: Duration = Duration::from_secs(240);

/// Simulated time in which a set must be complete upstream once nothing goes wrong any more.
const HEALED_MAX: Duration = Duration::from_secs(600);

/// Steps of forwarding that a set of this size takes at the most.
const FORWARD_STEPS_MAX: u32 = 5_000;

/// What a story leaves to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The air's trace.
    pub trace: String,
    /// What the machines told.
    pub news: Vec<String>,
    /// Digest of both disks and the upstream's snapshots.
    pub digest: Id,
    /// Snapshots upstream.
    pub snapshots: usize,
    /// Partial ones among them.
    pub partial: usize,
    /// Sessions that ended without a complete set.
    pub cut: usize,
    /// Simulated time.
    pub time: Time,
}

/// The seeds to run: `SEED` alone, or the first `SEEDS` and those of `known` (one a line, `#` begins a comment).
///
/// # Panics
/// If one of them is no number.
#[must_use]
pub fn seeds(known: &str) -> Vec<u64> {
    let number = |text: &str| text.trim().parse::<u64>().expect("a seed is a number");
    if let Ok(seed) = std::env::var("SEED") {
        return vec![number(&seed)];
    }
    let count = std::env::var("SEEDS").map_or(SEEDS_DEFAULT, |count| number(&count));
    let lines = known.lines().filter_map(|line| line.split('#').next());
    let known = lines.map(str::trim).filter(|line| !line.is_empty()).map(number);
    let mut seeds: Vec<_> = (0..count).chain(known).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// When a mishap comes.
#[derive(Debug, Clone, Copy)]
enum When {
    /// So long after the round has begun.
    At(Duration),
    /// When the hub has heard so many bytes in this round.
    Heard(u64),
}

/// Tells the story of a seed.
///
/// # Panics
/// If a promise is broken.
#[must_use]
pub fn tell(seed: u64) -> Story {
    let mut draw = Draw::new(seed);
    let profile = draw.of(&[
        Profile::PERFECT,
        Profile::WFD_GOOD,
        Profile::WFD_TYPICAL,
        Profile::WFD_POOR,
        SLOW,
        SLOW,
    ]);
    let mut world = World::new(seed, profile);
    world.upstream = MemoryUpstream::new(seed, draw.of(&[0, 0, 3, 10]));
    world.last_words_leave = draw.below(2) == 0;
    world.power_back_after = draw.seconds(20);
    world.air.faults(Faults::swarm(seed));
    world.pair();
    let mut told = Told::default();
    let mut before = world.laptop.files.all();
    for number in 0..2 + draw.below(3) {
        let files = world.laptop.files.clone();
        for _ in 0..draw.below(if number == 0 { 50 } else { 8 }) {
            files.write(&draw.path(), draw.content());
        }
        edit(&files, world.wall_ns(), draw.seed());
        // Only what does not fit the send window takes so long that a cut finds a checkpoint.
        if draw.below(3) == 0 {
            for number in 0..2 + draw.below(6) {
                let size = 500_000 + draw.below(2_500_000) as usize;
                files.write(&format!("large/{number}"), noise(size, draw.seed()));
            }
        }
        let now = files.all();
        let fresh = now
            .iter()
            .filter(|(path, content)| before.get(*path) != Some(*content));
        let fresh_bytes = fresh.map(|(_, content)| content.len() as u64).sum();
        before = now;
        let plan = plan(&mut draw, &mut told, fresh_bytes);
        round(&mut world, plan, &mut told);
        let steps = draw.below(80) as u32;
        world.forward(steps);
        world.wait(draw.seconds(60));
    }
    world.heal();
    told.take(&mut world);
    let ended = world.visit_until_complete(HEALED_MAX);
    let last = ended.expect("nothing goes wrong, and no visit becomes complete");
    told.hear(last);
    let idle = (0..10).any(|_| {
        world.wait(Duration::from_secs(60));
        world.forward(FORWARD_STEPS_MAX)
    });
    assert!(idle, "forwarding does not end");
    let (snapshots, partial) = told.judge(&world);
    let (trace, digest) = world.record();
    Story {
        trace,
        news: std::mem::take(&mut world.news),
        digest,
        snapshots,
        partial,
        cut: told.how.len(),
        time: world.now(),
    }
}

/// What goes wrong in a round in which so many bytes are new.
fn plan(draw: &mut Draw, told: &mut Told, fresh_bytes: u64) -> Vec<(When, Mishap)> {
    let count = draw.below(5);
    let mut plan = Vec::new();
    for _ in 0..count {
        let when = match draw.below(4) {
            0 => When::At(draw.seconds(15)),
            _ => When::Heard(draw.below(fresh_bytes)),
        };
        let back = draw.seconds(25);
        let cut = draw.of(&[Cut::Stream, Cut::Everything, Cut::Range]);
        if draw.below(4) == 0 {
            plan.push((when, Mishap::AskMark));
        }
        let mishap = match draw.below(12) {
            0 | 1 => Mishap::CutAfter(draw.below(fresh_bytes), cut),
            2 => Mishap::Away(back),
            3 => Mishap::KillHub(back),
            4 => Mishap::CutHub(draw.policy(), back),
            5 => Mishap::KillLaptop(back),
            6 => Mishap::CutLaptop(draw.policy(), back),
            7 => Mishap::Leave,
            8 => Mishap::HubAdapter(back),
            9 => Mishap::CutHubAtSync(draw.below(60), draw.policy()),
            10 => Mishap::CutLaptopAtSync(draw.below(40), draw.policy()),
            _ if draw.below(2) == 0 => Mishap::Forward(draw.below(30) as u32),
            _ => {
                told.edited_in_a_visit = true;
                Mishap::Edit(draw.seed())
            }
        };
        plan.push((when, mishap));
        if cut == Cut::Range {
            // Whoever is out of range comes back.
            plan.push((
                When::At(Duration::from_secs(60)),
                Mishap::Away(Duration::from_secs(1)),
            ));
        }
    }
    plan
}

/// Visits until a set is complete or the time is over, with what goes wrong meanwhile.
fn round(world: &mut World, mut plan: Vec<(When, Mishap)>, told: &mut Told) {
    let (begun_at, heard_at_begin) = (world.now(), world.hub.heard_bytes);
    let until = begun_at + ROUND_MAX;
    let mut try_at = begun_at;
    while world.now() < until {
        let (now, heard) = (world.now(), world.hub.heard_bytes - heard_at_begin);
        let is_due = |when: &When| match when {
            When::At(time) => now >= begun_at + *time,
            When::Heard(bytes) => heard >= *bytes,
        };
        if let Some(at) = plan.iter().position(|(when, _)| is_due(when)) {
            let (_, mishap) = plan.remove(at);
            world.mishap(mishap);
        }
        if told.take(world) {
            return;
        }
        if world.laptop.session.is_none() && world.laptop.is_on() && now >= try_at {
            world.begin_visit();
            try_at = now + Duration::from_secs(1);
        }
        world.turn((now + Duration::from_secs(1)).min(until));
    }
}

/// What is remembered for the judgement.
#[derive(Default)]
struct Told {
    /// Sets that the hub has signed for, and the files if they were not edited meanwhile.
    signed: Vec<(SetSeq, Id, Option<Picture>)>,
    /// How sessions ended that made no complete set.
    how: Vec<String>,
    /// Files were edited in the middle of a visit: contents may be mixed.
    edited_in_a_visit: bool,
}

impl Told {
    /// `true`: one of the sessions that have ended has made a complete set.
    fn take(&mut self, world: &mut World) -> bool {
        let before = self.signed.len();
        for outcome in std::mem::take(&mut world.outcomes) {
            self.hear(outcome);
        }
        self.signed.len() > before
    }

    fn hear(&mut self, outcome: Outcome) {
        match outcome.summary {
            Some(summary) => {
                assert_eq!(summary.kind, SetKind::Complete);
                if let Some((before, ..)) = self.signed.last() {
                    assert!(*before < summary.set, "set {} after set {before}", summary.set);
                }
                self.signed.push((summary.set, summary.snapshot, outcome.picture));
            }
            None => self.how.push(outcome.how),
        }
    }

    /// Snapshots upstream, and the partial ones among them.
    fn judge(&self, world: &World) -> (usize, usize) {
        let forwarded = &world.hub.forwarded;
        assert!(
            forwarded.windows(2).all(|two| two[0] < two[1]),
            "forwarded in the order {forwarded:?}"
        );
        let published = world.upstream.snapshots();
        let mut judge = Judge::open(world.upstream.objects(), &world.laptop.repository);
        let all = judge.snapshots();
        let (mut last_set, mut partial) = (0, 0);
        for id in &published {
            let snapshot = all.iter().find(|one| one.id == *id).unwrap();
            let set = snapshot.tags.iter().find_map(|tag| tag.strip_prefix("set:"));
            let set: u64 = set.unwrap().parse().unwrap();
            assert!(set > last_set, "set {set} was published after set {last_set}");
            last_set = set;
            partial += usize::from(snapshot.tags.iter().any(|tag| tag == "partial"));
            let then = world.upstream.objects_when(id);
            let picture = Judge::open(then, &world.laptop.repository).picture(snapshot);
            let picture = picture.unwrap_or_else(|why| panic!("set {set} was published too early: {why}"));
            assert_eq!(judge.picture(snapshot).as_ref(), Ok(&picture), "set {set}, now");
            self.is_honest(world, set, &picture);
        }
        for (set, id, picture) in &self.signed {
            assert!(
                published.contains(id),
                "set {set} was signed for and is not upstream"
            );
            let snapshot = all.iter().find(|one| one.id == *id).unwrap();
            assert!(snapshot.tags.iter().any(|tag| tag == "complete"), "set {set}");
            if let Some(picture) = picture {
                assert_eq!(&judge.picture(snapshot).unwrap(), picture, "set {set}");
            }
        }
        let (set, _, picture) = self.signed.last().unwrap();
        assert_eq!(
            set.0, last_set,
            "the last set upstream is not the last one signed"
        );
        assert_eq!(
            picture.as_ref(),
            Some(&world.laptop.files.picture()),
            "the files, at the end"
        );
        (published.len(), partial)
    }

    /// A file has a content that it had at some time, or the beginning of one under a marked name.
    fn is_honest(&self, world: &World, set: u64, picture: &Picture) {
        if self.edited_in_a_visit {
            return;
        }
        for (path, shown) in picture {
            let What::File(content, _) = shown.what else {
                continue;
            };
            let is_marked = path.to_string_lossy().contains(PARTIAL_MARK);
            assert!(
                is_marked || world.laptop.files.was(path, content),
                "set {set}: {} never had that content",
                path.display()
            );
        }
    }
}
