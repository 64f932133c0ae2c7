//! A stream of a radio is next to as fast as TCP. Figures are printed, never asserted: `cargo test --release -p berth-net
//! --test speed -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use berth_radio::{STREAM_PIECE_SIZE_BYTES_MAX, Time};
use lab::{link, local, pair, pull, push, real_clock};

const TOTAL_BYTES: usize = 500_000_000;

fn plain() -> Time {
    let listener = TcpListener::bind(local()).unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    let clock = real_clock();
    let sending = thread::spawn(move || {
        let piece = vec![7; STREAM_PIECE_SIZE_BYTES_MAX];
        let mut left = TOTAL_BYTES;
        while left > 0 {
            left -= sender.write(&piece[..piece.len().min(left)]).unwrap();
        }
    });
    let mut buffer = vec![0; STREAM_PIECE_SIZE_BYTES_MAX];
    while receiver.read(&mut buffer).unwrap() > 0 {}
    sending.join().unwrap();
    clock()
}

fn through_radios() -> Time {
    let (mut hub, mut laptop) = pair();
    let (at_hub, at_laptop) = link(&mut hub, &mut laptop);
    let clock = real_clock();
    // The size of a frame of the link.
    let sending = thread::spawn(move || push(&mut laptop, at_laptop, TOTAL_BYTES, 65_537));
    pull(&mut hub, at_hub, TOTAL_BYTES);
    sending.join().unwrap();
    clock()
}

#[test]
fn a_stream_carries_half_a_gigabyte_and_its_speed_is_told() {
    for _ in 0..3 {
        let (plain, radios) = (plain().as_secs_f64(), through_radios().as_secs_f64());
        println!(
            "500 MB: plain TCP {plain:.3} s, radios {radios:.3} s, {:.2} times as long",
            radios / plain
        );
    }
}
