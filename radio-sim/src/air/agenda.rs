//! What is going to happen, by time; at the same time in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use berth_radio::{Address, Time};
use bytes::Bytes;

use super::ble::{ConnFate, ConnKey};
use super::lane::{Side, StreamKey};
use super::port::PortId;
use super::wifi::Fate;

/// One thing that will happen. What it is about may be gone by then; then nothing happens.
#[derive(Debug)]
pub(super) enum Action {
    Report,
    Connect {
        peer: Address,
        epoch: u64,
        fate: ConnFate,
    },
    Frame {
        conn: ConnKey,
        to: Side,
        frame: Bytes,
    },
    ConnEnd {
        conn: ConnKey,
        side: Side,
    },
    ConnLost {
        conn: ConnKey,
        epoch: u64,
    },
    Group {
        epoch: u64,
        fate: Fate,
    },
    Join {
        epoch: u64,
        fate: Fate,
    },
    Dial {
        epoch: u64,
        fate: Fate,
    },
    Leaves {
        stream: StreamKey,
        from: Side,
    },
    Arrives {
        stream: StreamKey,
        from: Side,
    },
    StationLost {
        epoch: u64,
    },
    OwnerLost {
        stream: StreamKey,
        epoch: u64,
    },
    AdapterBack {
        epoch: u64,
    },
}

#[derive(Debug)]
struct Entry {
    at: Time,
    number: u64,
    owner: PortId,
    action: Action,
}

// The heap gives its greatest first: the earliest is the greatest.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// The plan. Its length is bounded by what each port may have pending.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BinaryHeap<Entry>,
    planned: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Time, owner: PortId, action: Action) {
        self.planned += 1;
        self.entries.push(Entry {
            at,
            number: self.planned,
            owner,
            action,
        });
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.entries.peek().map(|entry| entry.at)
    }

    pub(super) fn take_due(&mut self, now: Time) -> Option<(Time, PortId, Action)> {
        self.next_at().filter(|at| *at <= now)?;
        self.entries
            .pop()
            .map(|entry| (entry.at, entry.owner, entry.action))
    }
}
