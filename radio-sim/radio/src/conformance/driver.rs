//! Waiting and waking.

use super::steps::discard;
use super::{ANSWER_WAIT, Bench, Found, Held, Role};

pub(super) fn a_wait_without_events_ends_at_its_deadline(bench: &mut dyn Bench) -> Result<Held, Found> {
    let wait = bench.silence();
    let radio = bench.radio(Role::Laptop);
    let deadline = radio.now() + wait;
    match radio.event(deadline) {
        Some(event) => Err(format!("a fresh radio reports {event:?}")),
        None if radio.now() < deadline => Err(format!("woke {:?} too early", deadline - radio.now())),
        None => Ok(Held::Yes),
    }
}

pub(super) fn a_waker_ends_one_wait_and_no_more(bench: &mut dyn Bench) -> Result<Held, Found> {
    discard(bench, Role::Hub);
    let wait = bench.silence();
    let radio = bench.radio(Role::Hub);
    let (wake, far) = (radio.waker(), radio.now() + ANSWER_WAIT);
    for round in 0..3 {
        // Also more than once: it is a bell, not a queue.
        (0..=round).for_each(|_| wake());
        if radio.event(far).is_some() || radio.now() >= far {
            return Err("a wait went on although it was woken".to_owned());
        }
    }
    let deadline = radio.now() + wait;
    let event = radio.event(deadline);
    if event.is_some() || radio.now() < deadline {
        return Err(format!("woke again by itself, with {event:?}"));
    }
    Ok(Held::Yes)
}
