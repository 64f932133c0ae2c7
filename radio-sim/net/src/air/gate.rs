//! Where radios connect for their streams.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use berth_radio::{StreamId, Time};
use berth_radio_sim::SharedAir;
use rand_core::RngCore;
use rustix::net::sockopt;

use super::codec::{TOKEN_SIZE_BYTES, Token};
use crate::inbox::Inbox;
use crate::wire;

/// Connections that have not yet said which stream they are for; more are closed.
const UNPROVEN_MAX: usize = 64;

/// How long each of them has.
pub(super) const TOKEN_WAIT: Duration = Duration::from_secs(10);

/// What the kernel holds of a stream on each side. Little: what it holds has left as the radio sees it, but has not been in
/// the air yet. The kernel doubles it for its own needs.
const KERNEL_BUFFER_SIZE_BYTES: usize = 128 * 1024;

/// How long accepting rests when the system has no room for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// Keeps the kernel's part of a stream small.
pub(super) fn keep_small(socket: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_send_buffer_size(socket, KERNEL_BUFFER_SIZE_BYTES)?;
    Ok(sockopt::set_socket_recv_buffer_size(
        socket,
        KERNEL_BUFFER_SIZE_BYTES,
    )?)
}

pub(super) struct Gate {
    pub(super) address: SocketAddr,
    listener: TcpListener,
    air: SharedAir,
    waiting: Mutex<Waiting>,
    is_stopped: AtomicBool,
}

struct Waiting {
    rng: Box<dyn RngCore + Send>,
    streams: BTreeMap<Token, (Arc<Inbox>, StreamId)>,
}

impl Gate {
    /// Opens it at a free port of the loopback.
    pub(super) fn open(air: SharedAir, rng: Box<dyn RngCore + Send>) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let gate = Arc::new(Self {
            address: listener.local_addr()?,
            listener,
            air,
            waiting: Mutex::new(Waiting {
                rng,
                streams: BTreeMap::new(),
            }),
            is_stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&gate);
        thread::Builder::new()
            .name("gate".into())
            .spawn(move || accepting.accept())?;
        Ok(gate)
    }

    /// Expects somebody for this stream.
    pub(super) fn expect(&self, inbox: &Arc<Inbox>, stream: StreamId) -> Token {
        let mut waiting = self.lock();
        let mut token = [0; TOKEN_SIZE_BYTES];
        waiting.rng.fill_bytes(&mut token);
        waiting.streams.insert(token, (Arc::clone(inbox), stream));
        token
    }

    /// Expects nobody any more. `true`: nobody has come.
    pub(super) fn forget(&self, token: &Token) -> bool {
        self.lock().streams.remove(token).is_some()
    }

    /// Takes no more connections.
    pub(super) fn close(&self) {
        self.is_stopped.store(true, Ordering::Release);
        // Ends the wait for the next connection.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Read);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>) {
        let tickets = Arc::new(());
        loop {
            let accepted = self.listener.accept();
            if self.is_stopped.load(Ordering::Acquire) {
                return;
            }
            let Ok((socket, _)) = accepted else {
                thread::park_timeout(ACCEPT_REST);
                continue;
            };
            if Arc::strong_count(&tickets) > UNPROVEN_MAX {
                continue;
            }
            let (gate, ticket) = (Arc::clone(self), Arc::clone(&tickets));
            // Without a thread the connection is closed, and its stream ends when its time is up.
            let _ = thread::Builder::new().name("token".into()).spawn(move || {
                let admitted = gate.admit(&socket);
                drop(ticket);
                if let Some((inbox, stream)) = admitted {
                    wire::attach(&inbox, stream, socket);
                }
            });
        }
    }

    fn admit(&self, socket: &TcpStream) -> Option<(Arc<Inbox>, StreamId)> {
        keep_small(socket).ok()?;
        let token = read_token(socket, self.air.now() + TOKEN_WAIT, &|| self.air.now()).ok()?;
        self.lock().streams.remove(&token)
    }
}

fn read_token(mut socket: &TcpStream, until: Time, now: &dyn Fn() -> Time) -> io::Result<Token> {
    let mut token = [0; TOKEN_SIZE_BYTES];
    let mut read = 0;
    while let Some(rest) = token.get_mut(read..).filter(|rest| !rest.is_empty()) {
        // A peer that sends a byte now and then has no more time than others.
        let left = until.saturating_sub(now());
        if left == Duration::ZERO {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(rest)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => read += bytes,
        }
    }
    socket.set_read_timeout(None)?;
    Ok(token)
}
