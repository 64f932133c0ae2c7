//! What a stream is: two ends, and a lane for each direction.

use std::collections::VecDeque;

use berth_radio::{STREAM_WINDOW_BYTES, STREAM_WINDOW_PIECES, StreamId, Time};
use bytes::Bytes;

use super::port::PortId;
use super::wifi::GroupKey;

/// Bytes of one stream that a paced receiver may leave untaken before its sender is stopped.
pub const RECEIVE_WINDOW_BYTES: usize = STREAM_WINDOW_BYTES;

/// Pieces of one stream that a paced receiver may leave untaken before its sender is stopped.
pub const RECEIVE_WINDOW_PIECES: usize = STREAM_WINDOW_PIECES;

pub(super) type StreamKey = u64;

/// The two ends of a connection or stream: who asked for it and who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Station,
    Owner,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Station => Self::Owner,
            Self::Owner => Self::Station,
        }
    }

    pub(super) fn of<T>(self, [station, owner]: [T; 2]) -> T {
        match self {
            Self::Station => station,
            Self::Owner => owner,
        }
    }

    pub(super) fn of_ref<T>(self, [station, owner]: &[T; 2]) -> &T {
        match self {
            Self::Station => station,
            Self::Owner => owner,
        }
    }

    pub(super) fn of_mut<T>(self, [station, owner]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Station => station,
            Self::Owner => owner,
        }
    }
}

#[derive(Debug)]
pub(super) struct StreamEnd {
    pub(super) port: PortId,
    pub(super) id: StreamId,
    pub(super) open: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) waiting: VecDeque<Bytes>,
    pub(super) waiting_bytes: usize,
    pub(super) under_way: VecDeque<(Time, Bytes)>,
    /// Left and not yet taken by the receiver.
    pub(super) untaken_bytes: usize,
    pub(super) untaken_pieces: usize,
    pub(super) leave_planned: bool,
    pub(super) arrival_planned: bool,
    pub(super) closing: bool,
    /// Its receiver wants nothing for now.
    pub(super) held: bool,
    /// Drawn when the link first stalls now and then.
    pub(super) next_stall: Option<Time>,
    pub(super) carried_bytes: u64,
    pub(super) traced_bytes: u64,
    pub(super) sum: crc32fast::Hasher,
}

impl Lane {
    fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            under_way: VecDeque::new(),
            untaken_bytes: 0,
            untaken_pieces: 0,
            leave_planned: false,
            arrival_planned: false,
            closing: false,
            held: false,
            next_stall: None,
            carried_bytes: 0,
            traced_bytes: 0,
            sum: crc32fast::Hasher::new(),
        }
    }

    pub(super) fn window_full(&self) -> bool {
        self.untaken_bytes >= RECEIVE_WINDOW_BYTES || self.untaken_pieces >= RECEIVE_WINDOW_PIECES
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) group: GroupKey,
    pub(super) ends: [StreamEnd; 2],
    /// By sender.
    pub(super) lanes: [Lane; 2],
    pub(super) apart: bool,
    /// One end is gone without a word: they stay apart until the other one notices.
    pub(super) dead: bool,
    pub(super) epoch: u64,
}

impl Stream {
    pub(super) fn new(group: GroupKey, ports: [PortId; 2], ids: [StreamId; 2]) -> Self {
        let end = |side: Side| StreamEnd {
            port: side.of(ports),
            id: side.of(ids),
            open: true,
        };
        Self {
            group,
            ends: [end(Side::Station), end(Side::Owner)],
            lanes: [Lane::new(), Lane::new()],
            apart: false,
            dead: false,
            epoch: 0,
        }
    }
}
