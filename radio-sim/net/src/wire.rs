//! The two threads of a TCP stream.
//!
//! Place: the reader puts what comes into the inbox and stops while nobody takes it; the writer brings out what the
//! machine wrote. Both end with the stream.
//! Invariant: nothing is copied on its way through user space but reads that fill less than half of their buffer.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use berth_radio::{Event, STREAM_PIECE_SIZE_BYTES_MAX, StreamId};
use bytes::{Buf, Bytes, BytesMut};
use rustix::net::sockopt;

use crate::inbox::Inbox;
use crate::stream::{Bells, CLOSE_WAIT, Pipe};

const READ_SIZE_BYTES: usize = STREAM_PIECE_SIZE_BYTES_MAX;

/// A read shorter than that is copied, so that it does not hold a whole buffer.
const KEPT_WHOLE_BYTES_MIN: usize = READ_SIZE_BYTES / 2;

/// How long a closed stream waits for its peer to close too before it counts as closed: then the peer has it all, and
/// leaving the network takes nothing away.
const PEER_WAIT: Duration = Duration::from_secs(2);

/// Pieces of one write.
const SLICES_MAX: usize = 64;

/// A peer that has vanished without a word is noticed after 30 s, also when nothing is to be sent: the kernel asks.
const ALIVE_AFTER: Duration = Duration::from_secs(15);
const ALIVE_EVERY: Duration = Duration::from_secs(5);
const ALIVE_TRIES: u32 = 3;

/// Opens the stream `id` over `socket` and tells the machine. `ticket` counts it until its socket is closed.
pub(crate) fn open(inbox: &Arc<Inbox>, id: StreamId, socket: TcpStream, ticket: Arc<()>) {
    let socket = Arc::new(socket);
    let bells = inbox.with(|state| {
        if state.is_shut {
            return None;
        }
        let mut pipe = Pipe::new(&inbox.limits);
        pipe.socket = Some(Arc::clone(&socket));
        let bells = Arc::clone(&pipe.bells);
        state.pipes.insert(id, pipe);
        state.put(Event::StreamOpened { stream: id });
        Some(bells)
    });
    run(inbox, id, socket, bells, ticket);
}

/// Gives an expected stream its socket.
pub(crate) fn attach(inbox: &Arc<Inbox>, id: StreamId, socket: TcpStream) {
    let socket = Arc::new(socket);
    let bells = inbox.with(|state| {
        let pipe = state.pipes.get_mut(&id).filter(|pipe| !pipe.ended)?;
        pipe.socket = Some(Arc::clone(&socket));
        Some(Arc::clone(&pipe.bells))
    });
    run(inbox, id, socket, bells, Arc::default());
}

/// Starts the threads of a stream; one that can't have them ends.
fn run(inbox: &Arc<Inbox>, id: StreamId, socket: Arc<TcpStream>, bells: Option<Arc<Bells>>, ticket: Arc<()>) {
    let Some(bells) = bells else { return };
    let wire = Arc::new(Wire {
        inbox: Arc::clone(inbox),
        id,
        socket,
        bells,
    });
    if wire.start(ticket).is_err() {
        let _ = wire.socket.shutdown(Shutdown::Both);
        wire.end();
    }
}

/// What both threads know.
struct Wire {
    inbox: Arc<Inbox>,
    id: StreamId,
    socket: Arc<TcpStream>,
    bells: Arc<Bells>,
}

impl Wire {
    fn start(self: &Arc<Self>, ticket: Arc<()>) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        self.socket.set_write_timeout(Some(CLOSE_WAIT))?;
        sockopt::set_socket_keepalive(&self.socket, true)?;
        sockopt::set_tcp_keepidle(&self.socket, ALIVE_AFTER)?;
        sockopt::set_tcp_keepintvl(&self.socket, ALIVE_EVERY)?;
        sockopt::set_tcp_keepcnt(&self.socket, ALIVE_TRIES)?;
        let reader = Arc::clone(self);
        thread::Builder::new().name("stream-in".into()).spawn(move || {
            reader.read();
            if !reader.bells.is_kept.load(Ordering::Acquire) {
                // The writer may be in the middle of a write that nobody takes.
                let _ = reader.socket.shutdown(Shutdown::Both);
            }
            reader.end();
            reader.bells.is_read_out.store(true, Ordering::Release);
            drop(reader.inbox.lock());
            reader.bells.work.notify_one();
        })?;
        let writer = Arc::clone(self);
        thread::Builder::new().name("stream-out".into()).spawn(move || {
            if writer.write() {
                let _ = writer.socket.shutdown(Shutdown::Write);
                writer.wait_while(PEER_WAIT, |bells| !bells.is_read_out.load(Ordering::Acquire));
                writer.end();
                writer.wait_while(CLOSE_WAIT, |bells| !bells.is_read_out.load(Ordering::Acquire));
            } else {
                writer.wait_while(CLOSE_WAIT, |bells| bells.is_kept.load(Ordering::Acquire));
            }
            let _ = writer.socket.shutdown(Shutdown::Both);
            writer.end();
            drop(ticket);
        })?;
        Ok(())
    }

    /// Nothing comes and goes any more.
    fn end(&self) {
        self.inbox.with(|state| {
            if let Some(pipe) = state.pipes.get_mut(&self.id) {
                pipe.end();
                state.queue_stream(self.id);
            }
        });
        self.inbox.changed.notify_all();
    }

    /// Until the peer has closed or the connection is lost. What comes after the stream has ended here is thrown away, so
    /// that the last words of this side are not lost with it.
    fn read(&self) {
        let mut lent = VecDeque::new();
        let mut buffer = BytesMut::zeroed(READ_SIZE_BYTES);
        loop {
            let size_bytes = match (&*self.socket).read(&mut buffer) {
                Ok(0) => return,
                Ok(size_bytes) => size_bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let Some(came) = buffer.get(..size_bytes) else {
                return;
            };
            if size_bytes < KEPT_WHOLE_BYTES_MIN {
                self.has_come(Bytes::copy_from_slice(came));
                continue;
            }
            let whole = buffer.freeze();
            self.has_come(whole.slice(..size_bytes));
            lent.push_back(whole);
            buffer = taken_back(&mut lent).unwrap_or_else(|| BytesMut::zeroed(READ_SIZE_BYTES));
        }
    }

    /// Hands a piece on, then waits for room.
    fn has_come(&self, piece: Bytes) {
        let mut state = self.inbox.lock();
        let Some(pipe) = state.pipes.get_mut(&self.id).filter(|pipe| !pipe.ended) else {
            return;
        };
        pipe.has_come(piece);
        state.queue_stream(self.id);
        self.inbox.ring(state);
        let mut state = self.inbox.lock();
        while state
            .pipes
            .get(&self.id)
            .is_some_and(|pipe| pipe.is_full() && !pipe.ended)
        {
            state = self
                .bells
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Until the stream has ended; `true` if that is because all that was written has left.
    fn write(&self) -> bool {
        let mut pieces = VecDeque::new();
        loop {
            let mut state = self.inbox.lock();
            loop {
                let Some(pipe) = state.pipes.get_mut(&self.id).filter(|pipe| !pipe.ended) else {
                    return false;
                };
                if !pipe.outgoing.is_empty() {
                    std::mem::swap(&mut pipe.outgoing, &mut pieces);
                    break;
                }
                if pipe.is_closing {
                    return true;
                }
                state = self
                    .bells
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            while !pieces.is_empty() {
                match write_some(&self.socket, &pieces) {
                    Ok(written_bytes) if written_bytes > 0 => self.has_left(written_bytes, &mut pieces),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // The peer took nothing for a while: it may, unless nobody waits for it any more.
                    Err(error) if error.kind() == ErrorKind::WouldBlock && !self.is_closing() => {}
                    Ok(_) | Err(_) => return false,
                }
            }
        }
    }

    fn has_left(&self, written_bytes: usize, pieces: &mut VecDeque<Bytes>) {
        let (mut left_bytes, mut left_pieces) = (written_bytes, 0);
        while let Some(piece) = pieces.front_mut().filter(|_| left_bytes > 0) {
            if piece.len() > left_bytes {
                piece.advance(left_bytes);
                break;
            }
            left_bytes -= piece.len();
            left_pieces += 1;
            pieces.pop_front();
        }
        self.inbox.with(|state| {
            if let Some(pipe) = state.pipes.get_mut(&self.id) {
                pipe.has_left(written_bytes, left_pieces);
                state.queue_stream(self.id);
            }
        });
    }

    fn is_closing(&self) -> bool {
        let state = self.inbox.lock();
        state
            .pipes
            .get(&self.id)
            .is_none_or(|pipe| pipe.is_closing || pipe.ended)
    }

    /// Keeps the writer for a while: a connection that closes with bytes unread takes from its peer what that has not read.
    fn wait_while(&self, wait: Duration, is_so: impl Fn(&Bells) -> bool) {
        let state = self.inbox.lock();
        let _ = self
            .bells
            .work
            .wait_timeout_while(state, wait, |_| is_so(&self.bells));
    }
}

/// A buffer whose piece is used up: pages of a fresh one cost more than what is read into them. Pieces are used up in their
/// order, so there are never more buffers than pieces waited at once.
fn taken_back(lent: &mut VecDeque<Bytes>) -> Option<BytesMut> {
    match lent.pop_front()?.try_into_mut() {
        Ok(buffer) => Some(buffer),
        Err(in_use) => {
            lent.push_front(in_use);
            None
        }
    }
}

fn write_some(mut socket: &TcpStream, pieces: &VecDeque<Bytes>) -> io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = pieces
        .iter()
        .take(SLICES_MAX)
        .map(|piece| IoSlice::new(piece))
        .collect();
    socket.write_vectored(&slices)
}
