//! A relay before a server that cuts connections, whatever they carry.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// What is carried at once.
const PIECE_SIZE_BYTES: usize = 16 * 1024;

/// Listens on a port of its own until the process ends.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    cut_at: u64,
    /// Bytes of clients that were carried.
    sent: AtomicU64,
    stays_cut: bool,
    is_dead: AtomicBool,
}

impl Relay {
    /// Stands before the server at `target`, and cuts the connection that carries the clients' byte `cut_at`, just before
    /// it. Where it `stays_cut` none goes through from then on until [`Relay::heal`].
    ///
    /// # Panics
    /// Where it can't listen.
    #[must_use]
    pub fn start(target: SocketAddr, cut_at: u64, stays_cut: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            target,
            cut_at,
            sent: AtomicU64::new(0),
            stays_cut,
            is_dead: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                // A connection that fails is one that was cut.
                thread::spawn(move || carry(client, &state).ok());
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that clients have sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// From now on connections go through.
    pub fn heal(&self) {
        self.state.is_dead.store(false, Ordering::SeqCst);
    }
}

fn carry(mut client: TcpStream, state: &State) -> io::Result<()> {
    if state.is_dead.load(Ordering::SeqCst) {
        return client.shutdown(Shutdown::Both);
    }
    let mut server = TcpStream::connect(state.target)?;
    let (mut back, mut answers) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut back);
        back.shutdown(Shutdown::Both)
    });
    let mut piece = vec![0; PIECE_SIZE_BYTES];
    loop {
        let size = client.read(&mut piece)?;
        let bytes = piece.get(..size).unwrap_or_default();
        let before = state.sent.fetch_add(size as u64, Ordering::SeqCst);
        if (before..before + size as u64).contains(&state.cut_at) {
            state.is_dead.store(state.stays_cut, Ordering::SeqCst);
            server.shutdown(Shutdown::Both)?;
            return client.shutdown(Shutdown::Both);
        }
        server.write_all(bytes)?;
        if size == 0 {
            return server.shutdown(Shutdown::Write);
        }
    }
}
