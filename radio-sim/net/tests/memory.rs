//! What streams cost a hub. Alone in its file: other tests would count too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;

use berth_radio::Radio;
use lab::{SILENCE, opened, pair};

const SENDERS: usize = 8;

/// Above what read-ahead of all and the threads may take, far below what is sent.
const GROWTH_BYTES_MAX: usize = 24 << 20;

/// Memory of this process, in bytes.
fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn eight_senders_whose_bytes_nobody_takes_cost_a_hub_their_read_ahead() {
    let (mut hub, _laptop) = pair();
    let address = hub.listening().unwrap();
    let junk = vec![1; 1 << 20];
    let before = resident_bytes();
    let peers: Vec<TcpStream> = (0..SENDERS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for peer in &peers {
        opened(&mut hub);
        peer.set_write_timeout(Some(SILENCE)).unwrap();
    }
    let sent: usize = thread::scope(|scope| {
        let senders: Vec<_> = peers
            .iter()
            .map(|mut peer| {
                let junk = &junk;
                // Until nothing goes any more.
                scope.spawn(move || std::iter::from_fn(|| peer.write(junk).ok()).sum::<usize>())
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    let grown = resident_bytes().saturating_sub(before);
    println!("{SENDERS} senders, {sent} bytes sent, {grown} bytes more memory");
    assert!(sent > SENDERS << 20);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes");
    // They still wait for whoever takes them.
    assert!(hub.event(hub.now()).is_some());
}
