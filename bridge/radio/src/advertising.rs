//! What is advertised, and what is on its way to be.
//!
//! Place: commands and BlueZ's answers -> [`Advertising::handle`] -> [`Effect`], performed by [`crate::bluez`].
//! Invariant: one advertisement at a time, and one call to BlueZ about it: what was wanted meanwhile comes after.

use std::time::Duration;

use bytes::Bytes;

/// How long to wait after the first failure to register; doubled with each more. Unregistering is not waited for, and
/// adapters have few places.
const REST_MIN: Duration = Duration::from_millis(200);

/// Longest wait between two tries.
const REST_MAX: Duration = Duration::from_secs(10);

/// How long after a connection the kernel's timer of turns may still run: 2 s (`HCI_DEFAULT_ADV_DURATION`), and some time
/// for a busy host.
const TURN_WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Advertise this, or nothing.
    Want(Option<Bytes>),
    /// BlueZ has answered [`Effect::Register`].
    Registered(bool),
    /// The rest is over.
    Rested,
    /// A laptop has come.
    Connected,
    /// Somebody is not connected any more.
    Disconnected,
    /// [`TURN_WAIT`] after [`Input::Disconnected`], which was the change of so many.
    TurnOver(u32),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Register(Bytes),
    /// End what was registered last.
    Unregister,
    /// Bring this input after this time.
    Later(Duration, Input),
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Off,
    Registering(Bytes),
    On(Bytes),
    Resting,
}

/// The adapter's advertisement. A new adapter gets a new one of these.
#[derive(Debug, Default)]
pub(crate) struct Advertising {
    wanted: Option<Bytes>,
    stage: Stage,
    failures: u32,
    /// After a connection the kernel goes on with the advertisement by which it came. Where BlueZ has another one since
    /// then, under another number, nobody can connect to what is in the air: so it is registered anew.
    ///
    /// On an adapter without extended advertising the kernel gives advertisements turns, by a timer. While that runs, and
    /// the turn is that of a number which is gone, it takes a new advertisement with success and never starts it
    /// (`add_ext_adv_data` in Linux's `mgmt.c`, seen with 6.1); BlueZ doesn't notice. So the beacon is registered once
    /// more when the turn is over, unless a laptop has come meanwhile, which shows that it is in the air.
    is_stale: bool,
    /// How often somebody has come or gone.
    changes: u32,
}

impl Advertising {
    pub(crate) fn handle(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Want(wanted) => self.wanted = wanted,
            Input::Registered(is_registered) => {
                if let Stage::Registering(beacon) = std::mem::take(&mut self.stage) {
                    self.registered(beacon, is_registered, out);
                }
            }
            Input::Rested => self.stage = Stage::Off,
            Input::Connected => self.changes = self.changes.wrapping_add(1),
            Input::Disconnected => {
                self.changes = self.changes.wrapping_add(1);
                self.is_stale = true;
                out.push(Effect::Later(TURN_WAIT, Input::TurnOver(self.changes)));
            }
            Input::TurnOver(changes) => self.is_stale |= changes == self.changes,
        }
        self.go_on(out);
    }

    fn registered(&mut self, beacon: Bytes, is_registered: bool, out: &mut Vec<Effect>) {
        if is_registered {
            self.failures = 0;
            self.stage = Stage::On(beacon);
        } else {
            let rest = REST_MIN.saturating_mul(1 << self.failures.min(16)).min(REST_MAX);
            out.push(Effect::Later(rest, Input::Rested));
            self.failures = self.failures.saturating_add(1);
            self.stage = Stage::Resting;
        }
    }

    fn go_on(&mut self, out: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Registering(_) | Stage::Resting => return,
            Stage::On(beacon) if !self.is_stale && self.wanted.as_ref() == Some(beacon) => return,
            Stage::On(_) => out.push(Effect::Unregister),
            Stage::Off => {}
        }
        self.is_stale = false;
        self.stage = match &self.wanted {
            Some(beacon) => {
                out.push(Effect::Register(beacon.clone()));
                Stage::Registering(beacon.clone())
            }
            None => Stage::Off,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Bytes = Bytes::from_static(b"one");
    const TWO: Bytes = Bytes::from_static(b"two");

    fn after(it: &mut Advertising, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        it.handle(input, &mut out);
        out
    }

    #[test]
    fn a_new_beacon_ends_the_old_one_first() {
        let mut it = Advertising::default();
        assert_eq!(after(&mut it, Input::Want(Some(ONE))), [Effect::Register(ONE)]);
        assert_eq!(after(&mut it, Input::Registered(true)), []);
        assert_eq!(after(&mut it, Input::Want(Some(ONE))), []);
        assert_eq!(
            after(&mut it, Input::Want(Some(TWO))),
            [Effect::Unregister, Effect::Register(TWO)]
        );
        assert_eq!(after(&mut it, Input::Registered(true)), []);
        assert_eq!(after(&mut it, Input::Want(None)), [Effect::Unregister]);
        assert_eq!(after(&mut it, Input::Want(None)), []);
    }

    fn one_registered() -> Advertising {
        let mut it = Advertising::default();
        assert_eq!(after(&mut it, Input::Want(Some(ONE))), [Effect::Register(ONE)]);
        assert_eq!(after(&mut it, Input::Registered(true)), []);
        it
    }

    const ANEW: [Effect; 2] = [Effect::Unregister, Effect::Register(ONE)];

    /// The end of a connection: what follows at once, and the input that comes later.
    fn disconnected(it: &mut Advertising) -> (Vec<Effect>, Input) {
        let mut effects = after(it, Input::Disconnected);
        match effects.remove(0) {
            Effect::Later(wait, input) if wait == TURN_WAIT => (effects, input),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn after_a_connection_the_beacon_is_registered_anew_at_once() {
        let mut it = Advertising::default();
        assert_eq!(disconnected(&mut it).0, []);
        assert_eq!(after(&mut it, Input::Want(Some(ONE))), [Effect::Register(ONE)]);
        assert_eq!(after(&mut it, Input::Registered(true)), []);
        assert_eq!(disconnected(&mut it).0, ANEW);
        assert_eq!(disconnected(&mut it).0, []);
        assert_eq!(after(&mut it, Input::Registered(true)), ANEW);
        assert_eq!(after(&mut it, Input::Registered(true)), []);
    }

    #[test]
    fn after_a_connection_the_beacon_is_registered_once_more_when_the_kernel_counts_no_turn_any_more() {
        let mut it = one_registered();
        let (_, first) = disconnected(&mut it);
        after(&mut it, Input::Registered(true));
        let (_, last) = disconnected(&mut it);
        after(&mut it, Input::Registered(true));
        // The last connection's end has begun the wait anew.
        assert_eq!(after(&mut it, first), []);
        assert_eq!(after(&mut it, last), ANEW);
        assert_eq!(after(&mut it, Input::Registered(true)), []);
    }

    #[test]
    fn a_beacon_by_which_a_laptop_came_is_in_the_air_and_stays() {
        let mut it = one_registered();
        let (_, turn_over) = disconnected(&mut it);
        after(&mut it, Input::Registered(true));
        assert_eq!(after(&mut it, Input::Connected), []);
        assert_eq!(after(&mut it, turn_over), []);
    }

    #[test]
    fn what_is_wanted_while_bluez_is_asked_comes_after_its_answer() {
        let mut it = Advertising::default();
        after(&mut it, Input::Want(Some(ONE)));
        assert_eq!(after(&mut it, Input::Want(Some(TWO))), []);
        assert_eq!(
            after(&mut it, Input::Registered(true)),
            [Effect::Unregister, Effect::Register(TWO)]
        );
        assert_eq!(after(&mut it, Input::Want(None)), []);
        assert_eq!(after(&mut it, Input::Registered(true)), [Effect::Unregister]);
    }

    #[test]
    fn a_refusal_is_tried_again_after_rests_that_grow_to_their_limit() {
        let mut it = Advertising::default();
        after(&mut it, Input::Want(Some(ONE)));
        let mut rests = Vec::new();
        for _ in 0..40 {
            match after(&mut it, Input::Registered(false)).as_slice() {
                [Effect::Later(rest, Input::Rested)] => rests.push(*rest),
                other => panic!("{other:?}"),
            }
            assert_eq!(after(&mut it, Input::Rested), [Effect::Register(ONE)]);
        }
        assert!(rests.is_sorted() && rests[0] == REST_MIN && rests[39] == REST_MAX);
        after(&mut it, Input::Registered(false));
        assert_eq!(after(&mut it, Input::Want(None)), []);
        assert_eq!(after(&mut it, Input::Rested), []);
    }
}
