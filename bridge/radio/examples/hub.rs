//! The hub's radio by hand, to try out adapters: commands on standard input, what happens on standard output.
//!
//! Usage: `hub [ADAPTER]`, ADAPTER as in `hci0`. Commands:
//! `advertise TEXT`, `silent`, `send CONN TEXT`, `disconnect CONN`, `group`, `ungroup`. What comes on a stream goes back
//! on it. Ends with its input.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people has a clock and prints"
)]

use std::env::{args, temp_dir};
use std::io::stdin;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::Instant;

use berth_hub_radio::HubRadio;
use berth_radio::{Command, ConnId, Event, Radio};
use bytes::Bytes;

fn main() -> Result<(), String> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let began = Instant::now();
    let radio = HubRadio::open(args().nth(1), temp_dir(), move || began.elapsed());
    let mut radio = radio.map_err(|error| format!("{error}. {}", error.advice()))?;
    println!("{:.3} open", radio.now().as_secs_f64());
    let (give, orders) = channel();
    let waker = radio.waker();
    thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let _ = give.send(line);
            waker();
        }
        drop(give);
        waker();
    });
    loop {
        // One waking may stand for several orders.
        let order = orders.try_recv();
        match &order {
            Ok(line) => match command(line) {
                Some(command) => radio.command(command),
                None => println!("what is {line:?}?"),
            },
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
        if order.is_ok() {
            continue;
        }
        let Some(event) = radio.event(radio.now() + std::time::Duration::from_secs(60)) else {
            continue;
        };
        let now = radio.now().as_secs_f64();
        match event {
            Event::GroupStarted { credentials } => println!(
                "{now:.3} GroupStarted {} {} {} {} {:012x}",
                credentials.ssid,
                credentials.passphrase,
                credentials.frequency_mhz,
                credentials.endpoint,
                credentials.device.0
            ),
            Event::Read { stream, piece } => radio.command(Command::Write { stream, piece }),
            Event::Drained { .. } => {}
            other => println!("{now:.3} {other:?}"),
        }
    }
    drop(radio);
    println!("{:.3} over", began.elapsed().as_secs_f64());
    Ok(())
}

fn command(line: &str) -> Option<Command> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let conn = first.parse().map(ConnId);
    Some(match word {
        "advertise" => Command::Advertise {
            beacon: Bytes::copy_from_slice(rest.as_bytes()),
        },
        "silent" => Command::StopAdvertising,
        "send" => Command::Send {
            conn: conn.ok()?,
            frame: Bytes::copy_from_slice(text.as_bytes()),
        },
        "disconnect" => Command::Disconnect { conn: conn.ok()? },
        "group" => Command::StartGroup,
        "ungroup" => Command::StopGroup,
        _ => return None,
    })
}
