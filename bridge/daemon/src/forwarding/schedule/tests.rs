use std::collections::{BTreeSet, VecDeque};

use berth_wire::SetSeq;
use jiff::tz::TimeZone;

use super::*;
use crate::Windows;

const SECOND_NS: i64 = 1_000_000_000;

/// 2026-11-23T00:00:00Z, a Monday.
const MONDAY_NS: i64 = 1_795_392_000 * SECOND_NS;

/// A schedule with its clocks. What is opened for a laptop is a number: how often that was done.
struct Desk {
    schedule: Schedule<u32>,
    time: Time,
    dice: u32,
    opened: u32,
}

const fn laptop(number: u8) -> LaptopId {
    LaptopId([number; 32])
}

fn sent() -> Result<Progress, ForwardFailure> {
    let (set, bytes) = (SetSeq(1), 1);
    Ok(Progress::Sent { set, bytes })
}

fn down() -> Result<Progress, ForwardFailure> {
    Err(ForwardFailure {
        why: "down".to_owned(),
        is_upstream: true,
    })
}

impl Desk {
    fn new(by_itself: ByItself) -> Self {
        Self {
            schedule: Schedule::new(by_itself),
            time: Time::ZERO,
            dice: 0,
            opened: 0,
        }
    }

    /// Laptops 1, 2, ... with a set each, the last one's the oldest.
    fn with(by_itself: ByItself, laptops: u8) -> Self {
        let mut desk = Self::new(by_itself);
        for number in 1..=laptops {
            desk.schedule.look(laptop(number), -i64::from(number));
        }
        desk
    }

    fn now(&self) -> Now {
        Now {
            time: self.time,
            wall_ns: MONDAY_NS + i64::try_from(self.time.as_nanos()).unwrap(),
            dice: self.dice,
        }
    }

    /// Begins all steps that may be begun.
    fn begun(&mut self) -> Vec<(LaptopId, Option<u32>)> {
        let mut begun = Vec::new();
        while let Next::Step(laptop, work) = self.schedule.next(self.now()) {
            begun.push((laptop, work));
        }
        begun
    }

    fn laptops_begun(&mut self) -> Vec<LaptopId> {
        self.begun().into_iter().map(|(laptop, _)| laptop).collect()
    }

    fn did(&mut self, number: u8, outcome: Result<Progress, ForwardFailure>) -> Vec<Forwarded> {
        self.opened += 1;
        let work = Some(self.opened);
        self.schedule.did(self.now(), laptop(number), work, outcome)
    }

    /// When it would go on by itself.
    fn sleeps_until(&mut self) -> Option<Time> {
        match self.schedule.next(self.now()) {
            Next::Sleep(until) => until,
            Next::Step(laptop, _) => panic!("{laptop} is due"),
        }
    }
}

/// A small generator: any order of what may happen.
fn rolled(dice: u32) -> u32 {
    dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
}

#[test]
fn laptops_go_side_by_side_within_the_limit_the_oldest_sets_first() {
    let mut desk = Desk::with(ByItself::AtOnce, 5);
    assert_eq!(desk.laptops_begun(), [laptop(5), laptop(4)]);
    assert_eq!(desk.sleeps_until(), None, "it would spin");
    desk.did(5, sent());
    assert_eq!(
        desk.laptops_begun(),
        [laptop(5)],
        "it did not go on with what it began"
    );
    desk.did(4, Ok(Progress::Idle));
    assert_eq!(desk.laptops_begun(), [laptop(3)]);
}

#[test]
fn a_laptop_never_has_two_steps_under_way() {
    let mut desk = Desk::with(ByItself::AtOnce, 3);
    let mut under_way = BTreeSet::new();
    let mut dice: u32 = 7;
    for _ in 0..5_000 {
        dice = rolled(dice);
        let number = u8::try_from((dice >> 8) % 4).unwrap() + 1;
        match (dice >> 16) % 7 {
            0 => desk.schedule.look(laptop(number), 0),
            1 => desk.schedule.asked(desk.now(), laptop(number), 0),
            2 => desk.schedule.visits(desk.now(), usize::from(number % 2)),
            3 => desk.schedule.anew(),
            4 => desk.time += Duration::from_secs(20),
            outcome => {
                if under_way.remove(&laptop(number)) {
                    desk.did(number, if outcome == 5 { Ok(Progress::Idle) } else { down() });
                }
            }
        }
        for laptop in desk.laptops_begun() {
            assert!(under_way.insert(laptop), "twice at once");
        }
        assert!(under_way.len() <= LAPTOPS_AT_ONCE);
        assert!(desk.schedule.under_way().eq(under_way.iter().copied()));
    }
}

#[test]
fn what_somebody_asks_for_goes_first_and_waits_for_no_visit() {
    let mut desk = Desk::with(ByItself::AtOnce, 3);
    desk.begun();
    desk.schedule.asked(desk.now(), laptop(9), 0);
    desk.schedule.visits(desk.now(), 1);
    desk.did(3, sent());
    assert_eq!(desk.laptops_begun(), [laptop(9)]);
    desk.did(2, sent());
    assert_eq!(desk.laptops_begun(), [], "a visit did not go first");
    desk.time += VISITS_WAIT_MAX;
    assert_eq!(desk.laptops_begun(), [laptop(3)], "somebody always visits");
    desk.schedule.visits(desk.now(), 0);
    desk.did(9, Ok(Progress::Idle));
    assert_eq!(desk.laptops_begun(), [laptop(2)]);
}

#[test]
fn what_is_sealed_while_the_last_look_is_under_way_is_not_forgotten() {
    let mut desk = Desk::with(ByItself::AtOnce, 1);
    desk.begun();
    desk.schedule.look(laptop(1), 0);
    assert!(desk.did(1, Ok(Progress::Idle)).is_empty());
    assert_eq!(desk.laptops_begun(), [laptop(1)]);
    assert!(matches!(desk.did(1, Ok(Progress::Idle))[..], [Forwarded::All]));
    assert_eq!(desk.sleeps_until(), None);
}

#[test]
fn another_upstream_is_begun_anew_at_once_even_in_the_middle_of_a_step() {
    let mut desk = Desk::with(ByItself::AtOnce, 2);
    desk.begun();
    desk.did(1, down());
    assert_eq!(desk.schedule.failed().len(), 1);
    desk.schedule.anew();
    assert!(desk.schedule.failed().is_empty());
    assert_eq!(desk.begun(), [(laptop(1), None)]);
    assert!(desk.did(2, down()).is_empty(), "the old one's failure was told");
    assert_eq!(
        desk.begun(),
        [(laptop(2), None)],
        "the old one's forwarder was kept"
    );
    desk.did(2, sent());
    assert_eq!(desk.begun(), [(laptop(2), Some(desk.opened))]);
}

#[test]
fn what_waits_for_a_lock_holds_nobody_up_and_no_clock_makes_it_wait_for_ever() {
    let mut desk = Desk::with(ByItself::AtOnce, 3);
    desk.begun();
    let locked = |until_ns| {
        Ok(Progress::Waiting {
            set: SetSeq(1),
            until_ns,
        })
    };
    desk.did(3, locked(i64::MAX));
    assert_eq!(desk.laptops_begun(), [laptop(1)]);
    desk.did(1, Ok(Progress::Idle));
    desk.did(2, locked(i64::MIN));
    assert_eq!(desk.sleeps_until(), Some(Duration::from_secs(1)));
    desk.schedule.asked(desk.now(), laptop(3), 0);
    assert_eq!(desk.laptops_begun(), [], "a lock was not waited for");
    desk.time += RETRY_MIN;
    assert_eq!(desk.laptops_begun(), [laptop(3), laptop(2)]);
}

/// How long a laptop waits after each of its first failures.
fn pauses(dice: u32) -> Vec<Duration> {
    let mut desk = Desk::with(ByItself::AtOnce, 1);
    desk.dice = dice;
    let pauses = (0..9).map(|_| {
        desk.begun();
        desk.did(1, down());
        let failed_at = desk.time;
        desk.time = desk.sleeps_until().unwrap();
        desk.time - failed_at
    });
    pauses.collect()
}

#[test]
fn pauses_double_up_to_the_longest_and_half_of_each_is_left_to_chance() {
    let longest = [30, 60, 120, 240, 480, 960, 1800, 1800, 1800].map(Duration::from_secs);
    assert_eq!(longest.first(), Some(&RETRY_MIN));
    assert_eq!(longest.last(), Some(&RETRY_MAX));
    assert_eq!(pauses(0), longest.map(|pause| pause / 2));
    for (pause, longest) in pauses(u32::MAX).into_iter().zip(longest) {
        let short = longest.checked_sub(pause).unwrap();
        assert!(short <= Duration::from_millis(1), "{pause:?} of {longest:?}");
    }
}

#[test]
fn equal_hubs_do_not_all_come_back_at_the_same_time_after_an_outage() {
    let outage = Duration::from_secs(4 * 3600);
    let mut dice = 7;
    let mut a_minute = BTreeMap::new();
    for _ in 0..1_000 {
        let mut desk = Desk::with(ByItself::AtOnce, 1);
        while desk.time < outage {
            desk.begun();
            dice = rolled(dice);
            desk.dice = dice;
            desk.did(1, down());
            desk.time = desk.sleeps_until().unwrap();
        }
        *a_minute.entry((desk.time - outage).as_secs() / 60).or_insert(0) += 1;
    }
    // Within half an hour they are back; evenly spread they would be 33 in each minute.
    assert!(a_minute.keys().all(|minute| *minute < 30), "{a_minute:?}");
    assert!(a_minute.values().all(|hubs| *hubs < 100), "{a_minute:?}");
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An upstream that takes nothing until then, and laptops with a queue of sets each. A step takes a second.
struct Week {
    desk: Desk,
    down_until: Time,
    waiting: BTreeMap<LaptopId, VecDeque<u64>>,
    tried: Vec<LaptopId>,
    went_up: Vec<(LaptopId, u64)>,
    told: Vec<Forwarded>,
}

impl Week {
    fn new(down_until: Time) -> Self {
        Self {
            desk: Desk::new(ByItself::AtOnce),
            down_until,
            waiting: BTreeMap::new(),
            tried: Vec::new(),
            went_up: Vec::new(),
            told: Vec::new(),
        }
    }

    fn seal(&mut self, laptop: LaptopId, set: u64) {
        self.waiting.entry(laptop).or_default().push_back(set);
        self.desk.schedule.look(laptop, self.desk.now().wall_ns);
    }

    fn run_until(&mut self, until: Time) {
        while self.desk.time < until {
            self.desk.dice = rolled(self.desk.dice);
            match self.desk.schedule.next(self.desk.now()) {
                Next::Sleep(at) => self.desk.time = at.unwrap_or(until).min(until),
                Next::Step(laptop, _) => {
                    let outcome = self.step(laptop);
                    self.desk.time += Duration::from_secs(1);
                    let told = self.desk.schedule.did(self.desk.now(), laptop, Some(0), outcome);
                    self.told.extend(told);
                }
            }
        }
    }

    fn step(&mut self, laptop: LaptopId) -> Result<Progress, ForwardFailure> {
        let Some(set) = self.waiting.get_mut(&laptop).unwrap().pop_front() else {
            return Ok(Progress::Idle);
        };
        if self.desk.time < self.down_until {
            self.waiting.get_mut(&laptop).unwrap().push_front(set);
            self.tried.push(laptop);
            return down();
        }
        self.went_up.push((laptop, set));
        let (set, bytes) = (SetSeq(set), 1);
        Ok(Progress::Sent { set, bytes })
    }

    fn outage(&self) -> Option<Outage> {
        self.desk.schedule.outage(self.desk.now())
    }
}

#[test]
fn an_upstream_that_is_down_for_a_week_is_tried_on_and_then_gets_all_sets_in_order() {
    let mut week = Week::new(7 * DAY);
    for day in 0..7 {
        (1..=3).for_each(|number| week.seal(laptop(number), u64::from(day) + 1));
        week.run_until((day + 1) * DAY - Duration::from_secs(3600));
        let outage = week.outage().unwrap();
        assert_eq!(outage.lasts, week.desk.time - Duration::from_secs(1));
        assert_eq!(outage.tries, week.tried.len() as u64);
        assert!(outage.next_in.unwrap() <= RETRY_MAX);
        week.run_until((day + 1) * DAY);
    }
    // One try in half an hour to a quarter of one, by one laptop after the other; a few more at the beginning.
    let tries = week.tried.len();
    assert!((7 * 24 * 2..7 * 24 * 4 + 20).contains(&tries), "{tries} tries");
    for three in week.tried.chunks_exact(3) {
        assert_eq!(BTreeSet::from_iter(three).len(), 3, "not in turn");
    }
    assert!(week.went_up.is_empty());

    week.run_until(7 * DAY + RETRY_MAX + Duration::from_secs(60));
    assert_eq!(week.outage(), None);
    assert!(week.desk.schedule.failed().is_empty());
    for number in 1..=3 {
        let sets = week.went_up.iter().filter(|(of, _)| *of == laptop(number));
        assert!(sets.map(|(_, set)| *set).eq(1..=7), "{:?}", week.went_up);
    }
    let is_news = |told: &&Forwarded| matches!(told, Forwarded::Failed { is_news: true, .. });
    assert_eq!(
        week.told.iter().filter(is_news).count(),
        1,
        "one line for all of it"
    );
    let after = week.told.iter().filter_map(|told| match told {
        Forwarded::Again { after } => Some(*after),
        _ => None,
    });
    let after: Vec<Duration> = after.collect();
    assert!(
        matches!(after[..], [after] if (7 * DAY..7 * DAY + RETRY_MAX).contains(&(after + Duration::from_secs(1)))),
        "{after:?}"
    );
}

#[test]
fn what_an_upstream_fails_with_is_news_when_it_changes() {
    let mut desk = Desk::with(ByItself::AtOnce, 1);
    let mut is_news = |why: &str| {
        desk.begun();
        let failure = ForwardFailure {
            why: why.to_owned(),
            is_upstream: true,
        };
        let told = desk.did(1, Err(failure));
        desk.time += RETRY_MAX;
        matches!(told[..], [Forwarded::Failed { is_news: true, .. }])
    };
    assert!(is_news("refused"));
    assert!(!is_news("refused"));
    assert!(is_news("full"));
    assert!(!is_news("full"));
}

#[test]
fn what_the_hub_itself_fails_with_waits_for_the_next_try_too() {
    let mut desk = Desk::with(ByItself::AtOnce, 1);
    desk.begun();
    desk.did(1, down());
    desk.time = desk.sleeps_until().unwrap();
    desk.begun();
    let failure = ForwardFailure {
        why: "damaged".to_owned(),
        is_upstream: false,
    };
    desk.did(1, Err(failure.clone()));
    assert!(desk.sleeps_until().unwrap() > desk.time, "it would spin");
    let outage = desk.schedule.outage(desk.now()).unwrap();
    assert_eq!((outage.tries, outage.why.why.as_str()), (1, "down"));
    assert_eq!(desk.schedule.failed()[&laptop(1)], failure);
}

#[test]
fn what_fails_for_one_laptop_holds_the_others_up_for_no_longer_than_a_pause() {
    let mut desk = Desk::with(ByItself::AtOnce, 2);
    desk.begun();
    desk.did(1, down());
    assert_eq!(
        desk.schedule.outage(desk.now()),
        None,
        "the other one was not asked"
    );
    assert!(matches!(desk.did(2, sent())[..], [Forwarded::Sent { .. }]));
    assert_eq!(desk.laptops_begun(), [laptop(2)]);
    desk.did(2, Ok(Progress::Idle));
    assert!(
        desk.schedule.failed().contains_key(&laptop(1)),
        "it was forgotten"
    );

    desk.time = desk.sleeps_until().unwrap();
    desk.begun();
    desk.did(1, down());
    assert!(desk.schedule.outage(desk.now()).is_some(), "nobody else waits");
    desk.schedule.look(laptop(2), 0);
    assert_eq!(desk.laptops_begun(), []);
    desk.time = desk.sleeps_until().unwrap();
    assert_eq!(desk.laptops_begun(), [laptop(2)], "it is its turn");
    assert!(matches!(
        desk.did(2, sent())[..],
        [Forwarded::Again { .. }, Forwarded::Sent { .. }]
    ));
    assert_eq!(desk.laptops_begun(), [laptop(2), laptop(1)]);
}

#[test]
fn an_outage_began_before_a_restart_where_sets_have_waited_longer() {
    let lasts = |by_itself, waits_since: Duration, taken: Option<Duration>| {
        let ago_ns = |ago: Duration| MONDAY_NS - i64::try_from(ago.as_nanos()).unwrap();
        let mut desk = Desk::new(by_itself);
        desk.schedule.resumed(taken.map(ago_ns));
        desk.schedule.asked(desk.now(), laptop(1), ago_ns(waits_since));
        desk.begun();
        desk.did(1, down());
        desk.time += DAY;
        desk.schedule.outage(desk.now()).unwrap().lasts
    };
    assert_eq!(lasts(ByItself::AtOnce, 3 * DAY, None), 4 * DAY);
    assert_eq!(lasts(ByItself::AtOnce, 3 * DAY, Some(8 * DAY)), 4 * DAY);
    assert_eq!(lasts(ByItself::AtOnce, 3 * DAY, Some(2 * DAY)), 3 * DAY);
    // Nobody asked before.
    assert_eq!(lasts(ByItself::Never, 3 * DAY, None), DAY);
    let mut desk = Desk::new(ByItself::AtOnce);
    desk.schedule.resumed(None);
    desk.schedule.look(laptop(1), MONDAY_NS - 1);
    desk.begun();
    desk.did(1, sent());
    desk.begun();
    desk.did(1, down());
    let outage = desk.schedule.outage(desk.now()).unwrap();
    assert_eq!(outage.lasts, Duration::ZERO, "something went up meanwhile");
}

#[test]
fn by_hand_only_what_is_asked_for_is_forwarded_and_tried_once() {
    let mut desk = Desk::with(ByItself::Never, 3);
    assert_eq!(desk.sleeps_until(), None);
    desk.schedule.asked(desk.now(), laptop(2), 0);
    assert_eq!(desk.laptops_begun(), [laptop(2)]);
    assert!(matches!(desk.did(2, down())[..], [Forwarded::Failed { .. }]));
    assert_eq!(desk.sleeps_until(), None);
    assert!(desk.schedule.failed().contains_key(&laptop(2)));
}

#[test]
fn what_is_not_done_when_a_window_ends_goes_on_in_the_next_where_it_was() {
    let windows = Windows::parse(&["01:00-05:00"])
        .unwrap()
        .of(TimeZone::UTC, [1; 32]);
    let mut desk = Desk::with(ByItself::In(windows), 1);
    let mut steps = 0;
    let mut hours = BTreeSet::new();
    while desk.time < Duration::from_secs(2 * 24 * 3600) {
        match desk.schedule.next(desk.now()) {
            Next::Step(laptop, work) => {
                assert_eq!(work.is_none(), steps == 0, "it was opened anew");
                steps += 1;
                hours.insert(desk.time.as_secs() / 3600);
                desk.time += Duration::from_secs(600);
                desk.schedule.did(desk.now(), laptop, Some(1), sent());
            }
            Next::Sleep(until) => desk.time = until.unwrap(),
        }
    }
    assert!(
        hours.iter().all(|hour| (1..5).contains(&(hour % 24))),
        "{hours:?}"
    );
    assert!(hours.contains(&4) && hours.contains(&28), "{hours:?}");
}
