//! One stream over TCP, as the machine's side sees it: what has come, what is to go, and how it ends.
//!
//! Place: [`crate::wire`]'s two threads move bytes between a [`Pipe`] and its socket; commands of the machine change the
//! [`Pipe`].
//! Invariant: bytes that wait are bounded on both sides: [`READ_AHEAD_BYTES`] and a read beyond it, and the window of
//! the contract.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar};
use std::time::Duration;

use berth_radio::{Event, STREAM_PIECE_SIZE_BYTES_MAX, STREAM_WINDOW_BYTES, STREAM_WINDOW_PIECES, StreamId};
use bytes::Bytes;

use crate::inbox::{Inbox, State};

/// Bytes of a stream read ahead of its machine; then the socket is left alone, and TCP stops the sender. Their buffers
/// are at least half full: 8 senders whose bytes nobody takes cost a hub at most 16 MiB.
pub const READ_AHEAD_BYTES: usize = 1024 * 1024;

/// Longest time that a closed stream stays to bring out what was written, if its peer takes nothing meanwhile.
pub const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// What may wait in each stream of a radio.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) read_ahead_bytes: usize,
    pub(crate) window_bytes: usize,
    pub(crate) window_pieces: usize,
}

/// As the contract says.
pub(crate) const LIMITS: Limits = Limits {
    read_ahead_bytes: READ_AHEAD_BYTES,
    window_bytes: STREAM_WINDOW_BYTES,
    window_pieces: STREAM_WINDOW_PIECES,
};

/// The bells of a stream's two threads.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// For the reader: there is room again, or an end.
    pub(crate) room: Condvar,
    /// For the writer: there is work, or an end.
    pub(crate) work: Condvar,
    /// The reader has seen the peer's end, or the connection's.
    pub(crate) is_read_out: AtomicBool,
    /// The connection stays although the peer has closed: see [`Inbox::expect`].
    pub(crate) is_kept: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    /// `None` until the peer has come.
    pub(crate) socket: Option<Arc<TcpStream>>,
    pub(crate) bells: Arc<Bells>,
    read_ahead_bytes: usize,
    incoming: VecDeque<Bytes>,
    incoming_bytes: usize,
    drained_bytes: usize,
    /// To be taken by the writer.
    pub(crate) outgoing: VecDeque<Bytes>,
    /// Of these and what the writer has taken: those that have not left.
    outgoing_bytes: usize,
    outgoing_pieces: usize,
    pub(crate) is_queued: bool,
    is_held: bool,
    /// It ends when all has left.
    pub(crate) is_closing: bool,
    /// Nothing comes any more and nothing goes.
    pub(crate) ended: bool,
}

impl Pipe {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            socket: None,
            bells: Arc::default(),
            read_ahead_bytes: limits.read_ahead_bytes,
            incoming: VecDeque::new(),
            incoming_bytes: 0,
            drained_bytes: 0,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            outgoing_pieces: 0,
            is_queued: false,
            is_held: false,
            is_closing: false,
            ended: false,
        }
    }

    pub(crate) fn has_news(&self) -> bool {
        let has_piece = !self.incoming.is_empty();
        self.drained_bytes > 0 || (has_piece && !self.holds_back()) || (self.ended && !has_piece)
    }

    /// The next thing to tell.
    pub(crate) fn take_news(&mut self, stream: StreamId) -> Option<Event> {
        if self.drained_bytes > 0 {
            let bytes = std::mem::take(&mut self.drained_bytes);
            return Some(Event::Drained { stream, bytes });
        }
        if !self.holds_back()
            && let Some(piece) = self.incoming.pop_front()
        {
            let before_bytes = self.incoming_bytes;
            self.incoming_bytes = before_bytes.saturating_sub(piece.len());
            // Not with every piece: who waits for room can do with some more of it.
            let half = self.read_ahead_bytes / 2;
            if before_bytes > half && self.incoming_bytes <= half {
                self.bells.room.notify_one();
            }
            return Some(Event::Read { stream, piece });
        }
        (self.ended && self.incoming.is_empty()).then_some(Event::StreamClosed { stream })
    }

    fn holds_back(&self) -> bool {
        self.is_held && !self.ended
    }

    pub(crate) fn is_full(&self) -> bool {
        self.incoming_bytes >= self.read_ahead_bytes
    }

    pub(crate) fn has_come(&mut self, piece: Bytes) {
        self.incoming_bytes += piece.len();
        self.incoming.push_back(piece);
    }

    pub(crate) fn has_left(&mut self, bytes: usize, pieces: usize) {
        self.outgoing_bytes = self.outgoing_bytes.saturating_sub(bytes);
        self.outgoing_pieces = self.outgoing_pieces.saturating_sub(pieces);
        self.drained_bytes += bytes;
    }

    /// Ends it now. What has come is still told.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.outgoing.clear();
        self.bells.room.notify_one();
        self.bells.work.notify_one();
    }

    /// Ends it now, and its connection.
    fn cut(&mut self) {
        self.end();
        if let Some(socket) = &self.socket {
            // An error says that it has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Bells {
    /// Lets go of the connection.
    pub(crate) fn release(&self, inbox: &Inbox) {
        self.is_kept.store(false, Ordering::Release);
        // The writer may be about to wait.
        drop(inbox.lock());
        self.work.notify_one();
    }
}

impl Inbox {
    /// The machine writes. What is beyond the contract ends the stream.
    pub(crate) fn write(&self, id: StreamId, piece: Bytes) {
        self.with(|state| {
            let Some(pipe) = state.pipes.get_mut(&id) else {
                return;
            };
            if piece.is_empty() || pipe.is_closing || pipe.ended {
                return;
            }
            let fits = piece.len() <= STREAM_PIECE_SIZE_BYTES_MAX
                && pipe.outgoing_bytes + piece.len() <= self.limits.window_bytes
                && pipe.outgoing_pieces < self.limits.window_pieces;
            if !fits {
                pipe.cut();
                return state.queue_stream(id);
            }
            pipe.outgoing_bytes += piece.len();
            pipe.outgoing_pieces += 1;
            pipe.outgoing.push_back(piece);
            if pipe.outgoing.len() == 1 {
                pipe.bells.work.notify_one();
            }
        });
    }

    /// The machine closes: the stream ends when what was written has left.
    pub(crate) fn close(&self, id: StreamId) {
        self.with(|state| state.close(id));
    }

    /// The machine wants no bytes of this stream for now, or wants them again.
    pub(crate) fn hold(&self, id: StreamId, is_held: bool) {
        self.with(|state| {
            if let Some(pipe) = state.pipes.get_mut(&id) {
                pipe.is_held = is_held;
                state.queue_stream(id);
            }
        });
    }

    /// Bytes and pieces written and not yet gone.
    pub(crate) fn undrained(&self, id: StreamId) -> (usize, usize) {
        let state = self.lock();
        let pipe = state.pipes.get(&id);
        pipe.map_or((0, 0), |pipe| (pipe.outgoing_bytes, pipe.outgoing_pieces))
    }

    /// A stream whose connection is still to come; the machine is not told. When its peer closes, the connection stays
    /// until [`Bells::release`]: the peer is to see the end only then.
    pub(crate) fn expect(&self, id: StreamId) -> Arc<Bells> {
        let pipe = Pipe::new(&self.limits);
        let bells = Arc::clone(&pipe.bells);
        bells.is_kept.store(true, Ordering::Release);
        self.with(|state| state.pipes.insert(id, pipe));
        bells
    }

    /// The other end has ended this stream: takes in what is left of it, however much it is, so that what is told later
    /// comes after it.
    pub(crate) fn finish(&self, id: StreamId) {
        self.with(|state| {
            if let Some(pipe) = state.pipes.get_mut(&id) {
                pipe.read_ahead_bytes = usize::MAX;
                pipe.bells.room.notify_one();
            }
        });
        self.wait_until(CLOSE_WAIT, |state| {
            state.is_shut || state.pipes.get(&id).is_none_or(|pipe| pipe.ended)
        });
    }

    /// Lets what was written leave, `wait` at the most, then ends every stream; no more can be opened.
    pub(crate) fn shut(&self, wait: Duration) {
        self.with(State::close_all);
        self.wait_until(wait, |state| state.pipes.values().all(|pipe| pipe.ended));
        self.end_all(None);
    }

    /// Ends every stream without a word, and everything with these last ones.
    pub(crate) fn end_all(&self, last_words: Option<Event>) {
        self.with(|state| {
            if !std::mem::replace(&mut state.is_shut, true) {
                last_words.into_iter().for_each(|event| state.put(event));
            }
        });
        self.changed.notify_all();
        self.cut_all();
    }

    /// Ends every stream; each is told before whatever is put in next.
    pub(crate) fn end_streams(&self) {
        self.with(|state| {
            let ids: Vec<_> = state.pipes.keys().copied().collect();
            for id in ids {
                if let Some(pipe) = state.pipes.get_mut(&id) {
                    pipe.cut();
                }
                state.queue_stream(id);
            }
        });
        self.changed.notify_all();
    }

    /// Ends every stream without a word.
    pub(crate) fn cut_all(&self) {
        let pipes = self.with(|state| std::mem::take(&mut state.pipes));
        for mut pipe in pipes.into_values() {
            pipe.cut();
        }
    }
}

impl State {
    fn close(&mut self, id: StreamId) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        pipe.is_closing = true;
        if pipe.socket.is_none() {
            pipe.end();
        }
        pipe.bells.work.notify_one();
        self.queue_stream(id);
    }

    fn close_all(&mut self) {
        let ids: Vec<_> = self.pipes.keys().copied().collect();
        for id in ids {
            self.close(id);
        }
    }
}
