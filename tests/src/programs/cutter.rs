//! A proxy that lets so many bytes through and then ends every connection: what it carries is sealed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Listens on a port of its own until the process ends.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
}

impl Cutter {
    /// Stands before the server at `target`, of whose answers it lets `bytes` through, of all connections together.
    ///
    /// # Panics
    /// Where it can't listen.
    #[must_use]
    pub fn start(target: SocketAddr, bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicU64::new(bytes));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(target).unwrap();
                let (asking, asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let unbounded = Arc::new(AtomicU64::new(u64::MAX));
                thread::spawn(move || carry(asking, asked, &unbounded));
                let left = Arc::clone(&left);
                thread::spawn(move || carry(server, client, &left));
            }
        });
        Self { address }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64) {
    let mut piece = [0; 16 * 1024];
    while let Ok(size @ 1..) = from.read(&mut piece) {
        let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(size as u64)
        });
        if spent.is_err() || to.write_all(&piece[..size]).is_err() {
            break;
        }
    }
    // One that is closed already needs no end.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
