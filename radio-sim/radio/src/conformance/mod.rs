//! What every radio promises, as checks that run against a hub's and a laptop's radio.
//!
//! Place: the simulated air, its drivers and the real radios call [`check_all`] from their tests; a person who brings
//! up new hardware calls single [`PROMISES`]. No check needs a perfect air: frames may get lost, waits are long.
//! Invariant: a check uses only the contract, and passes or names what was broken; it never panics.

mod ble;
mod driver;
mod range;
mod steps;
mod wifi;

use std::time::Duration;

use crate::Radio;

/// Longest wait for an answer: a full scan and a slow join take half of it.
pub const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Who of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It advertises and opens groups.
    Hub,
    /// It scans, connects, joins and dials.
    Laptop,
}

impl Role {
    /// The one at the other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Hub => Self::Laptop,
            Self::Laptop => Self::Hub,
        }
    }
}

/// Two radios near each other, fresh for one check: nothing advertised, open or joined, no event pending.
pub trait Bench {
    /// One of the two.
    fn radio(&mut self, role: Role) -> &mut dyn Radio;
    /// How long nothing must come until it counts as silence.
    fn silence(&self) -> Duration {
        Duration::from_secs(3)
    }
    /// Takes the laptop out of range, or brings it back. `false`: this bench can't; its checks are skipped.
    fn laptop_near(&mut self, _near: bool) -> bool {
        false
    }
    /// Takes the adapter of one away, or brings it back. `false`: this bench can't; its checks are skipped.
    fn adapter(&mut self, _role: Role, _there: bool) -> bool {
        false
    }
}

/// A promise that was not held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{promise}: {found}")]
pub struct Broken {
    /// Its name.
    pub promise: &'static str,
    /// What was seen instead.
    pub found: String,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The promise was held.
    Yes,
    /// The bench can't do what the check needs.
    Skipped,
}

/// What was seen instead of what was promised.
pub(crate) type Found = String;

/// One promise and its check.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// What is promised.
    pub name: &'static str,
    check: fn(&mut dyn Bench) -> Result<Held, Found>,
}

impl Promise {
    /// Checks it against a fresh bench.
    ///
    /// # Errors
    /// [`Broken`]: what was seen instead.
    pub fn check(&self, bench: &mut dyn Bench) -> Result<Held, Broken> {
        (self.check)(bench).map_err(|found| Broken {
            promise: self.name,
            found,
        })
    }
}

macro_rules! promises {
    ($($module:ident: $($name:ident),+;)+) => {
        /// All promises.
        pub const PROMISES: &[Promise] =
            &[$($(Promise { name: stringify!($name), check: $module::$name }),+),+];
    };
}

promises! {
    driver:
        a_wait_without_events_ends_at_its_deadline,
        a_waker_ends_one_wait_and_no_more;
    ble:
        a_beacon_is_heard_as_it_was_sent,
        a_new_beacon_replaces_the_old_one,
        nothing_is_heard_after_advertising_stopped,
        nothing_is_reported_after_scanning_stopped,
        nobody_answers_at_an_unknown_address,
        a_connection_tells_a_frame_limit_within_the_contract,
        frames_of_every_size_go_both_ways_whole,
        a_frame_over_the_limit_is_never_delivered,
        a_disconnect_is_seen_by_both_sides,
        the_hub_can_disconnect_too,
        a_closed_connection_ignores_commands;
    wifi:
        a_group_tells_credentials_within_the_contract,
        every_group_has_fresh_credentials,
        the_right_credentials_join,
        a_wrong_passphrase_is_refused,
        nobody_dials_without_a_group,
        a_stream_carries_both_ways_in_order,
        drained_adds_up_to_what_was_written,
        a_whole_window_is_taken_at_once,
        a_receiver_that_stops_reading_stops_its_sender,
        a_held_stream_waits_alone_and_loses_nothing,
        a_closed_stream_delivers_what_was_written_first,
        a_piece_over_the_limit_ends_the_stream,
        stopping_the_group_ends_streams_and_membership,
        leaving_ends_the_streams_and_joining_again_works;
    range:
        out_of_range_ends_connection_stream_and_membership,
        a_lost_adapter_is_told_and_works_again_when_back,
        the_laptop_notices_that_the_hub_adapter_is_gone;
}

/// Checks all promises, each on a fresh bench; the names of those that were skipped.
///
/// # Errors
/// The first [`Broken`] one.
pub fn check_all<B: Bench>(mut bench: impl FnMut() -> B) -> Result<Vec<&'static str>, Broken> {
    let mut skipped = Vec::new();
    for promise in PROMISES {
        if promise.check(&mut bench())? == Held::Skipped {
            skipped.push(promise.name);
        }
    }
    Ok(skipped)
}
