//! In what stage the laptop's membership of a group is.
//!
//! Place: commands and reports of [`crate::wifi`] -> [`Membership::handle`] -> [`Effect`].
//! Invariant: each join is answered once, by what became of it or by the end that came first; so is each dial. A report
//! about a group that is not wanted any more says nothing.

use berth_radio::{Event, GroupCredentials, Joined};

/// Dials under way; more fail.
const DIALS_MAX: usize = 4;

/// Counts what [`crate::wifi`] is told to do, so that late reports are known as such.
pub(crate) type Number = u64;

#[derive(Debug)]
pub(crate) enum Input {
    Join(GroupCredentials),
    Leave,
    Dial,
    /// The group of this number is joined.
    Up {
        number: Number,
        joined: Joined,
    },
    /// It could not be joined, or has ended by itself. Nothing of it is left.
    Ended(Number),
    /// [`Effect::Exit`] is done.
    Down(Number),
    /// [`Effect::Dial`] has an end, with a socket or without.
    Dialled {
        number: Number,
        is_open: bool,
    },
    /// Everything is gone, without a word.
    AdapterGone,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Tell(Event),
    /// End every stream, before whatever is told next.
    EndStreams,
    /// Join this group; one that is joined or on its way ends first.
    Enter {
        number: Number,
        credentials: GroupCredentials,
    },
    /// Undo whatever is joined or on its way.
    Exit(Number),
    /// Connect to the owner of the group of this number.
    Dial(Number),
    /// The socket that was dialled is a stream from now on.
    Open,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Out,
    Joining(Number),
    In(Number),
    Leaving {
        number: Number,
        next: Option<GroupCredentials>,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Membership {
    stage: Stage,
    dials: usize,
    /// The highest one used.
    number: Number,
    /// Dials of groups up to this number are not answered any more.
    silent: Number,
}

impl Membership {
    pub(crate) fn handle(&mut self, input: Input, out: &mut Vec<Effect>) {
        self.stage = match (std::mem::take(&mut self.stage), input) {
            (Stage::Out | Stage::Joining(_), Input::Join(credentials)) => self.enter(credentials, out),
            (Stage::In(_), Input::Join(credentials)) => self.leave(Some(credentials), out),
            (Stage::Leaving { number, .. }, Input::Join(credentials)) => Stage::Leaving {
                number,
                next: Some(credentials),
            },

            (Stage::Out, Input::Leave) => Stage::Out,
            (Stage::Joining(_), Input::Leave) => {
                out.push(Effect::Tell(Event::JoinFailed));
                self.exit(out);
                Stage::Out
            }
            (Stage::In(_), Input::Leave) => self.leave(None, out),
            (Stage::Leaving { number, next }, Input::Leave) => {
                if next.is_some() {
                    out.push(Effect::Tell(Event::JoinFailed));
                }
                Stage::Leaving { number, next: None }
            }

            (Stage::Joining(wanted), Input::Up { number, joined }) if wanted == number => {
                out.push(Effect::Tell(Event::Joined(joined)));
                Stage::In(number)
            }
            (Stage::Joining(wanted), Input::Ended(number)) if wanted == number => {
                out.push(Effect::Tell(Event::JoinFailed));
                Stage::Out
            }
            (Stage::In(wanted), Input::Ended(number)) if wanted == number => {
                out.extend([Effect::EndStreams, Effect::Tell(Event::Left)]);
                Stage::Out
            }
            (Stage::Leaving { number: wanted, next }, Input::Down(number)) if wanted == number => {
                out.push(Effect::Tell(Event::Left));
                match next {
                    Some(credentials) => self.enter(credentials, out),
                    None => Stage::Out,
                }
            }
            // Of a group that is not wanted any more.
            (stage, Input::Up { .. } | Input::Ended(_) | Input::Down(_)) => stage,

            (Stage::In(number), Input::Dial) if self.dials < DIALS_MAX => {
                self.dials += 1;
                out.push(Effect::Dial(number));
                Stage::In(number)
            }
            (stage, Input::Dial) => {
                out.push(Effect::Tell(Event::StreamFailed));
                stage
            }
            (stage, Input::Dialled { number, is_open }) => {
                if number > self.silent {
                    self.dials = self.dials.saturating_sub(1);
                    let is_wanted = matches!(stage, Stage::In(wanted) if wanted == number);
                    out.push(if is_open && is_wanted {
                        Effect::Open
                    } else {
                        Effect::Tell(Event::StreamFailed)
                    });
                }
                stage
            }

            (stage, Input::AdapterGone) => {
                self.dials = 0;
                self.silent = self.number;
                if !matches!(stage, Stage::Out) {
                    self.exit(out);
                }
                Stage::Out
            }
        };
    }

    fn enter(&mut self, credentials: GroupCredentials, out: &mut Vec<Effect>) -> Stage {
        self.number += 1;
        out.push(Effect::Enter {
            number: self.number,
            credentials,
        });
        Stage::Joining(self.number)
    }

    fn leave(&mut self, next: Option<GroupCredentials>, out: &mut Vec<Effect>) -> Stage {
        out.push(Effect::EndStreams);
        let number = self.exit(out);
        Stage::Leaving { number, next }
    }

    fn exit(&mut self, out: &mut Vec<Effect>) -> Number {
        self.number += 1;
        out.push(Effect::Exit(self.number));
        self.number
    }
}

#[cfg(test)]
mod tests {
    use berth_radio::Address;

    use super::*;

    const FAILED: Effect = Effect::Tell(Event::JoinFailed);
    const JOINED: Effect = Effect::Tell(Event::Joined(Joined::DIRECTLY));
    const LEFT: Effect = Effect::Tell(Event::Left);
    const NO_STREAM: Effect = Effect::Tell(Event::StreamFailed);

    fn after(it: &mut Membership, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        it.handle(input, &mut out);
        out
    }

    fn up(number: Number) -> Input {
        let joined = Joined::DIRECTLY;
        Input::Up { number, joined }
    }

    fn credentials() -> GroupCredentials {
        GroupCredentials {
            ssid: "DIRECT-xy".to_owned(),
            passphrase: "passphrase".to_owned(),
            frequency_mhz: 5180,
            endpoint: "[fe80::1]:7".to_owned(),
            device: Address(1),
        }
    }

    fn enter(number: Number) -> Effect {
        let credentials = credentials();
        Effect::Enter { number, credentials }
    }

    fn join(it: &mut Membership) -> Vec<Effect> {
        after(it, Input::Join(credentials()))
    }

    fn one_in() -> Membership {
        let mut it = Membership::default();
        join(&mut it);
        after(&mut it, up(1));
        it
    }

    #[test]
    fn a_group_is_joined_and_left_and_its_streams_end_before_it() {
        let mut it = Membership::default();
        assert_eq!(join(&mut it), [enter(1)]);
        assert_eq!(after(&mut it, up(1)), [JOINED]);
        assert_eq!(
            after(&mut it, Input::Leave),
            [Effect::EndStreams, Effect::Exit(2)]
        );
        assert_eq!(after(&mut it, Input::Leave), []);
        assert_eq!(after(&mut it, Input::Down(2)), [LEFT]);
        assert_eq!(after(&mut it, Input::Leave), []);
    }

    #[test]
    fn a_group_that_ends_by_itself_is_told_as_left_and_one_that_never_came_as_failed() {
        let mut it = Membership::default();
        join(&mut it);
        assert_eq!(after(&mut it, Input::Ended(1)), [FAILED]);
        join(&mut it);
        after(&mut it, up(2));
        assert_eq!(after(&mut it, Input::Ended(2)), [Effect::EndStreams, LEFT]);
        assert_eq!(after(&mut it, Input::Ended(2)), []);
    }

    #[test]
    fn of_two_joins_only_the_second_is_answered() {
        let mut it = Membership::default();
        join(&mut it);
        assert_eq!(join(&mut it), [enter(2)]);
        assert_eq!(after(&mut it, up(1)), []);
        assert_eq!(after(&mut it, Input::Ended(1)), []);
        assert_eq!(after(&mut it, up(2)), [JOINED]);
    }

    #[test]
    fn a_group_joined_before_is_left_first() {
        let mut it = one_in();
        assert_eq!(join(&mut it), [Effect::EndStreams, Effect::Exit(2)]);
        assert_eq!(join(&mut it), []);
        assert_eq!(after(&mut it, Input::Down(2)), [LEFT, enter(3)]);
        assert_eq!(after(&mut it, up(3)), [JOINED]);
    }

    #[test]
    fn leaving_answers_the_join_that_it_takes_back() {
        let mut it = Membership::default();
        join(&mut it);
        assert_eq!(after(&mut it, Input::Leave), [FAILED, Effect::Exit(2)]);
        assert_eq!(after(&mut it, up(1)), []);
        assert_eq!(after(&mut it, Input::Down(2)), []);

        let mut it = one_in();
        join(&mut it);
        assert_eq!(after(&mut it, Input::Leave), [FAILED]);
        assert_eq!(after(&mut it, Input::Down(2)), [LEFT]);
    }

    #[test]
    fn every_dial_is_answered_and_only_one_of_this_group_opens() {
        let mut it = Membership::default();
        assert_eq!(after(&mut it, Input::Dial), [NO_STREAM]);
        let mut it = one_in();
        let dialled = |number, is_open| Input::Dialled { number, is_open };
        for _ in 0..3 {
            assert_eq!(after(&mut it, Input::Dial), [Effect::Dial(1)]);
        }
        assert_eq!(after(&mut it, dialled(1, true)), [Effect::Open]);
        assert_eq!(after(&mut it, dialled(1, false)), [NO_STREAM]);
        after(&mut it, Input::Leave);
        assert_eq!(after(&mut it, dialled(1, true)), [NO_STREAM]);
    }

    #[test]
    fn dials_under_way_are_few() {
        let mut it = one_in();
        for _ in 0..DIALS_MAX {
            assert_eq!(after(&mut it, Input::Dial), [Effect::Dial(1)]);
        }
        assert_eq!(after(&mut it, Input::Dial), [NO_STREAM]);
        let number = 1;
        after(
            &mut it,
            Input::Dialled {
                number,
                is_open: true,
            },
        );
        assert_eq!(after(&mut it, Input::Dial), [Effect::Dial(1)]);
    }

    #[test]
    fn a_lost_adapter_ends_it_without_a_word() {
        let mut it = Membership::default();
        assert_eq!(after(&mut it, Input::AdapterGone), []);
        let mut it = one_in();
        after(&mut it, Input::Dial);
        assert_eq!(after(&mut it, Input::AdapterGone), [Effect::Exit(2)]);
        assert_eq!(after(&mut it, Input::Down(2)), []);
        let number = 1;
        assert_eq!(
            after(
                &mut it,
                Input::Dialled {
                    number,
                    is_open: true
                }
            ),
            []
        );
        assert_eq!(join(&mut it), [enter(3)]);
    }
}
