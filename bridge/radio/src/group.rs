//! In what stage the Wi-Fi Direct group is.
//!
//! Place: commands and reports of [`crate::owner`] -> [`Group::handle`] -> [`Effect`].
//! Invariant: each start is answered once, by what became of it or by the end that came first; a report about a group
//! that nobody wants any more says nothing.

use berth_radio::{Event, GroupCredentials};

/// Counts what the owner is told to do, so that late reports are known as such.
pub(crate) type Number = u64;

#[derive(Debug)]
pub(crate) enum Input {
    Start,
    Stop,
    /// The group of this number is up and listening.
    Up {
        number: Number,
        credentials: GroupCredentials,
    },
    /// It could not be brought up, or has ended by itself. Nothing of it is left.
    Ended {
        number: Number,
    },
    /// [`Effect::TakeDown`] is done.
    Down {
        number: Number,
    },
    /// Everything is gone, without a word.
    AdapterGone,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Tell(Event),
    /// End every stream, before whatever is told next.
    EndStreams,
    /// Bring up a fresh group; what is up or on its way up ends first.
    BringUp {
        number: Number,
    },
    /// End whatever is up or on its way up.
    TakeDown {
        number: Number,
    },
}

#[derive(Debug, Default, Clone, Copy)]
enum Stage {
    #[default]
    Off,
    Starting(Number),
    Up(Number),
    Stopping {
        number: Number,
        is_wanted_again: bool,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    stage: Stage,
    /// The highest one used.
    number: Number,
}

impl Group {
    pub(crate) fn handle(&mut self, input: Input, out: &mut Vec<Effect>) {
        self.stage = match (self.stage, input) {
            (Stage::Off | Stage::Starting(_), Input::Start) => self.start(out),
            (Stage::Up(_), Input::Start) => self.stop(true, out),
            (Stage::Stopping { number, .. }, Input::Start) => Stage::Stopping {
                number,
                is_wanted_again: true,
            },

            (Stage::Starting(_), Input::Stop) => {
                out.push(Effect::Tell(Event::GroupFailed));
                self.take_down(out);
                Stage::Off
            }
            (Stage::Up(_), Input::Stop) => self.stop(false, out),
            (
                Stage::Stopping {
                    number,
                    is_wanted_again,
                },
                Input::Stop,
            ) => {
                if is_wanted_again {
                    out.push(Effect::Tell(Event::GroupFailed));
                }
                Stage::Stopping {
                    number,
                    is_wanted_again: false,
                }
            }
            (Stage::Off, Input::Stop) => Stage::Off,

            (Stage::Starting(wanted), Input::Up { number, credentials }) if wanted == number => {
                out.push(Effect::Tell(Event::GroupStarted { credentials }));
                Stage::Up(number)
            }
            (Stage::Starting(wanted), Input::Ended { number }) if wanted == number => {
                out.push(Effect::Tell(Event::GroupFailed));
                Stage::Off
            }
            (Stage::Up(wanted), Input::Ended { number }) if wanted == number => {
                out.extend([Effect::EndStreams, Effect::Tell(Event::GroupStopped)]);
                Stage::Off
            }
            (
                Stage::Stopping {
                    number: wanted,
                    is_wanted_again,
                },
                Input::Down { number },
            ) if wanted == number => {
                out.push(Effect::Tell(Event::GroupStopped));
                if is_wanted_again {
                    self.start(out)
                } else {
                    Stage::Off
                }
            }
            // Of a group that is not wanted any more.
            (stage, Input::Up { .. } | Input::Ended { .. } | Input::Down { .. }) => stage,

            (Stage::Off, Input::AdapterGone) => Stage::Off,
            (Stage::Starting(_) | Stage::Up(_) | Stage::Stopping { .. }, Input::AdapterGone) => {
                self.take_down(out);
                Stage::Off
            }
        };
    }

    pub(crate) fn is_up(&self, wanted: Number) -> bool {
        matches!(self.stage, Stage::Up(number) if number == wanted)
    }

    fn start(&mut self, out: &mut Vec<Effect>) -> Stage {
        self.number += 1;
        out.push(Effect::BringUp { number: self.number });
        Stage::Starting(self.number)
    }

    fn stop(&mut self, is_wanted_again: bool, out: &mut Vec<Effect>) -> Stage {
        out.push(Effect::EndStreams);
        let number = self.take_down(out);
        Stage::Stopping {
            number,
            is_wanted_again,
        }
    }

    fn take_down(&mut self, out: &mut Vec<Effect>) -> Number {
        self.number += 1;
        out.push(Effect::TakeDown { number: self.number });
        self.number
    }
}

#[cfg(test)]
mod tests {
    use berth_radio::Address;

    use super::*;

    const FAILED: Effect = Effect::Tell(Event::GroupFailed);
    const STOPPED: Effect = Effect::Tell(Event::GroupStopped);

    fn after(it: &mut Group, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        it.handle(input, &mut out);
        out
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

    fn up(it: &mut Group, number: Number) -> Vec<Effect> {
        let credentials = credentials();
        after(it, Input::Up { number, credentials })
    }

    fn started() -> Effect {
        let credentials = credentials();
        Effect::Tell(Event::GroupStarted { credentials })
    }

    #[test]
    fn a_group_comes_and_goes_and_its_streams_end_before_it() {
        let mut it = Group::default();
        assert_eq!(after(&mut it, Input::Start), [Effect::BringUp { number: 1 }]);
        assert_eq!(up(&mut it, 1), [started()]);
        let stopping = [Effect::EndStreams, Effect::TakeDown { number: 2 }];
        assert_eq!(after(&mut it, Input::Stop), stopping);
        assert_eq!(after(&mut it, Input::Stop), []);
        assert_eq!(after(&mut it, Input::Down { number: 2 }), [STOPPED]);
        assert_eq!(after(&mut it, Input::Stop), []);
    }

    #[test]
    fn a_group_that_ends_by_itself_is_told_as_stopped_and_one_that_never_came_as_failed() {
        let mut it = Group::default();
        after(&mut it, Input::Start);
        assert_eq!(after(&mut it, Input::Ended { number: 1 }), [FAILED]);
        after(&mut it, Input::Start);
        up(&mut it, 2);
        assert_eq!(
            after(&mut it, Input::Ended { number: 2 }),
            [Effect::EndStreams, STOPPED]
        );
    }

    #[test]
    fn of_two_starts_only_the_second_is_answered() {
        let mut it = Group::default();
        after(&mut it, Input::Start);
        assert_eq!(after(&mut it, Input::Start), [Effect::BringUp { number: 2 }]);
        assert_eq!(up(&mut it, 1), []);
        assert_eq!(after(&mut it, Input::Ended { number: 1 }), []);
        assert_eq!(up(&mut it, 2), [started()]);
    }

    #[test]
    fn a_start_while_one_is_up_ends_it_first() {
        let mut it = Group::default();
        after(&mut it, Input::Start);
        up(&mut it, 1);
        after(&mut it, Input::Start);
        let again = after(&mut it, Input::Down { number: 2 });
        assert_eq!(again, [STOPPED, Effect::BringUp { number: 3 }]);
        assert_eq!(up(&mut it, 3), [started()]);
    }

    #[test]
    fn a_stop_answers_the_start_that_it_takes_back() {
        let mut it = Group::default();
        after(&mut it, Input::Start);
        assert_eq!(
            after(&mut it, Input::Stop),
            [FAILED, Effect::TakeDown { number: 2 }]
        );
        assert_eq!(up(&mut it, 1), []);
        assert_eq!(after(&mut it, Input::Down { number: 2 }), []);

        after(&mut it, Input::Start);
        up(&mut it, 3);
        after(&mut it, Input::Start);
        assert_eq!(after(&mut it, Input::Stop), [FAILED]);
        assert_eq!(after(&mut it, Input::Down { number: 4 }), [STOPPED]);
    }

    #[test]
    fn a_lost_adapter_ends_it_without_a_word() {
        let mut it = Group::default();
        assert_eq!(after(&mut it, Input::AdapterGone), []);
        after(&mut it, Input::Start);
        up(&mut it, 1);
        assert_eq!(
            after(&mut it, Input::AdapterGone),
            [Effect::TakeDown { number: 2 }]
        );
        assert_eq!(after(&mut it, Input::Down { number: 2 }), []);
        assert_eq!(after(&mut it, Input::Start), [Effect::BringUp { number: 3 }]);
    }
}
