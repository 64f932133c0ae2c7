//! One radio's traffic between the air and its process.
//!
//! Place: events of the air go down the Unix socket, the bytes of its streams over their own connections, and what comes on
//! those goes into the air. Commands come in another way, on the thread of [`super::server`].
//! Invariant: what waits between the air and a connection is bounded for each stream, both ways, by holding one of the two;
//! a stream that stands still holds up no other.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_radio::{Command, Event, Radio, StreamId, Time};
use berth_radio_sim::SimRadio;

use super::AirError;
use super::codec::{Down, Token, write_message};
use super::gate::{Gate, TOKEN_WAIT};
use crate::both::{Both, Turn};
use crate::inbox::Inbox;
use crate::stream::{Bells, Limits};

/// Read from a connection ahead of the air.
const READ_AHEAD_BYTES: usize = 128 * 1024;

/// Given to the air and not yet gone: 17 ms of a link of 30 MB/s, so that it never has nothing to send because this process
/// was late. Also what is written to a connection and has not gone.
const CARRY_BYTES: usize = 512 * 1024;

/// The same in pieces: far below what the air takes of one stream.
const CARRY_PIECES: usize = 1024;

/// What is written here comes from the air, which has limits of its own.
const LIMITS: Limits = Limits {
    read_ahead_bytes: READ_AHEAD_BYTES,
    window_bytes: usize::MAX,
    window_pieces: usize::MAX,
};

/// After a radio's process has ended, what it wrote still goes into the air for this long.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(3);

/// No event for so long is no news: look again.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// A stream between the air and its connection.
struct Stream {
    bells: Arc<Bells>,
    /// Nobody has come for it yet, and until when it waits.
    awaited: Option<(Token, Time)>,
    /// Sizes of the pieces in the air's hands.
    to_air: VecDeque<usize>,
    to_air_bytes: usize,
    is_air_held: bool,
    is_peer_held: bool,
}

/// See the module.
pub(super) struct Bridge<'a, W> {
    both: Both<SimRadio>,
    gate: &'a Gate,
    writer: W,
    streams: BTreeMap<StreamId, Stream>,
}

impl<'a, W: Write> Bridge<'a, W> {
    pub(super) fn new(radio: SimRadio, gate: &'a Gate, writer: W) -> Self {
        Self {
            both: Both::new(radio, LIMITS),
            gate,
            writer,
            streams: BTreeMap::new(),
        }
    }

    /// For [`Self::run`]'s flag: have it looked at.
    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.both.inbox)
    }

    /// Until the process of the radio is gone, or takes nothing any more.
    pub(super) fn run(&mut self, is_gone: &AtomicBool) -> Result<(), AirError> {
        write_message(&mut self.writer, &Down::Welcome)?;
        let mut gone_at = None;
        loop {
            // What is there goes in one write; only then is there time to wait.
            let mut turn = self.both.event(Time::ZERO);
            if matches!(turn, Turn::Late) {
                self.writer.flush()?;
                turn = self.both.event(self.deadline(gone_at));
            }
            match turn {
                Turn::Inner(event) => self.carry_down(event, gone_at.is_some())?,
                Turn::Own(event) => self.carry_up(event),
                Turn::Woken | Turn::Late => {}
            }
            let now = self.both.inner.now();
            self.give_up_awaited(now);
            if gone_at.is_none() && is_gone.load(Ordering::Acquire) {
                gone_at = Some(now);
            }
            if gone_at.is_some_and(|at| self.streams.is_empty() || now >= at + LAST_WORDS_WAIT) {
                return Ok(());
            }
        }
    }

    fn deadline(&self, gone_at: Option<Time>) -> Time {
        let awaited = self.streams.values().filter_map(|it| Some(it.awaited?.1));
        let last = gone_at.map(|at| at + LAST_WORDS_WAIT);
        let far = self.both.inner.now() + LOOK_EVERY;
        awaited.chain(last).min().map_or(far, |at| at.min(far))
    }

    fn carry_down(&mut self, event: Event, is_gone: bool) -> Result<(), AirError> {
        let inbox = Arc::clone(&self.both.inbox);
        match event {
            Event::StreamOpened { stream } => return self.open(stream),
            Event::Read { stream, piece } => {
                inbox.write(stream, piece);
                self.pace_air(stream);
                return Ok(());
            }
            Event::Drained { stream, bytes } => {
                if let Some(it) = self.streams.get_mut(&stream) {
                    it.has_left(bytes);
                }
                self.pace_peer(stream);
                return Ok(());
            }
            Event::StreamClosed { stream } => {
                if let Some(it) = self.streams.remove(&stream) {
                    it.let_go(self.gate, &inbox);
                }
                // What the other side wrote in time goes first.
                inbox.close(stream);
            }
            Event::AdapterGone => {
                for it in std::mem::take(&mut self.streams).into_values() {
                    it.let_go(self.gate, &inbox);
                }
                inbox.cut_all();
            }
            _ => {}
        }
        if is_gone {
            return Ok(());
        }
        write_message(&mut self.writer, &Down::Event(event))
    }

    fn open(&mut self, stream: StreamId) -> Result<(), AirError> {
        let token = self.gate.expect(&self.both.inbox, stream);
        let until = self.both.inner.now() + TOKEN_WAIT;
        let opened = Stream {
            bells: self.both.inbox.expect(stream),
            awaited: Some((token, until)),
            to_air: VecDeque::new(),
            to_air_bytes: 0,
            is_air_held: false,
            is_peer_held: false,
        };
        self.streams.insert(stream, opened);
        let address = self.gate.address;
        let told = Down::Stream {
            stream,
            address,
            token,
        };
        write_message(&mut self.writer, &told)
    }

    fn carry_up(&mut self, event: Event) {
        match event {
            Event::Read { stream, piece } => {
                if let Some(it) = self.streams.get_mut(&stream) {
                    it.to_air.push_back(piece.len());
                    it.to_air_bytes += piece.len();
                    self.both.inner.command(Command::Write { stream, piece });
                }
                self.pace_peer(stream);
            }
            Event::Drained { stream, .. } => self.pace_air(stream),
            // The air brings out what came before it, then says that the stream has ended.
            Event::StreamClosed { stream } => self.both.inner.command(Command::CloseStream { stream }),
            _ => {}
        }
    }

    /// Holds the connection while the air has enough of it.
    fn pace_peer(&mut self, stream: StreamId) {
        let Some(it) = self.streams.get_mut(&stream) else {
            return;
        };
        let is_held = it.to_air_bytes >= CARRY_BYTES || it.to_air.len() >= CARRY_PIECES;
        if std::mem::replace(&mut it.is_peer_held, is_held) != is_held {
            self.both.inbox.hold(stream, is_held);
        }
    }

    /// Holds the air while the connection has enough of it.
    fn pace_air(&mut self, stream: StreamId) {
        let Some(it) = self.streams.get_mut(&stream) else {
            return;
        };
        let (bytes, pieces) = self.both.inbox.undrained(stream);
        let is_held = bytes >= CARRY_BYTES || pieces >= CARRY_PIECES;
        if std::mem::replace(&mut it.is_air_held, is_held) != is_held {
            self.both.inner.command(match is_held {
                true => Command::Hold { stream },
                false => Command::Resume { stream },
            });
        }
    }

    /// Closes streams for which nobody came in time.
    fn give_up_awaited(&mut self, now: Time) {
        for (stream, it) in &mut self.streams {
            if let Some((token, _)) = it.awaited.filter(|(_, until)| *until <= now) {
                it.awaited = None;
                if self.gate.forget(&token) {
                    self.both.inner.command(Command::CloseStream { stream: *stream });
                }
            }
        }
    }
}

impl Stream {
    /// The air has ended it.
    fn let_go(&self, gate: &Gate, inbox: &Inbox) {
        if let Some((token, _)) = &self.awaited {
            gate.forget(token);
        }
        self.bells.release(inbox);
    }

    fn has_left(&mut self, mut bytes: usize) {
        self.to_air_bytes = self.to_air_bytes.saturating_sub(bytes);
        while let Some(size) = self.to_air.pop_front() {
            if size > bytes {
                self.to_air.push_front(size - bytes);
                return;
            }
            bytes -= size;
        }
    }
}
