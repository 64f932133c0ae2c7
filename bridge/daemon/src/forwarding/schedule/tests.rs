use std::collections::BTreeSet;

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
    let why = "down".to_owned();
    Err(ForwardFailure { why })
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

    fn did(&mut self, number: u8, outcome: Result<Progress, ForwardFailure>) -> Option<Forwarded> {
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
    assert!(desk.did(1, Ok(Progress::Idle)).is_none());
    assert_eq!(desk.laptops_begun(), [laptop(1)]);
    assert!(matches!(desk.did(1, Ok(Progress::Idle)), Some(Forwarded::All)));
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
    assert!(desk.did(2, down()).is_none(), "the old one's failure was told");
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

#[test]
fn by_hand_only_what_is_asked_for_is_forwarded_and_tried_once() {
    let mut desk = Desk::with(ByItself::Never, 3);
    assert_eq!(desk.sleeps_until(), None);
    desk.schedule.asked(desk.now(), laptop(2), 0);
    assert_eq!(desk.laptops_begun(), [laptop(2)]);
    assert!(matches!(desk.did(2, down()), Some(Forwarded::Failed(_))));
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
