//! The laptop's radio by hand, to try out adapters: commands on standard input, what happens on standard output.
//!
//! Usage: `laptop [ADAPTER [BUS]]`, ADAPTER as in `hci0`, BUS the address of the bus of the Wi-Fi services. Commands:
//! `scan`, `stop`, `connect ADDRESS`, `send CONN TEXT`, `disconnect CONN`, `join SSID PASSPHRASE MHZ ENDPOINT DEVICE`,
//! `leave`, `dial`, `write STREAM TEXT`, `close STREAM`. Addresses are 12 hexadecimal digits. Ends with its input.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people has a clock and prints"
)]

use std::env::args;
use std::io::stdin;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use berth_laptop_radio::{Hardware, LaptopRadio};
use berth_radio::{Address, Command, ConnId, Event, GroupCredentials, Radio, StreamId};

fn main() -> Result<(), String> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let began = Instant::now();
    let hardware = Hardware {
        bluetooth_adapter: args().nth(1),
        wifi_bus: args().nth(2),
    };
    let radio = LaptopRadio::open(hardware, move || began.elapsed());
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
    let mut read_bytes = 0;
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
        let Some(event) = radio.event(radio.now() + Duration::from_secs(60)) else {
            continue;
        };
        let now = radio.now().as_secs_f64();
        match event {
            Event::Sighted {
                peer,
                beacon,
                rssi_dbm,
            } => {
                println!("{now:.3} Sighted {:012x} {beacon:?} {rssi_dbm}", peer.0);
            }
            Event::Read { stream, piece } => {
                read_bytes += piece.len();
                println!("{now:.3} Read {stream:?}, {read_bytes} bytes of all streams");
            }
            Event::Drained { .. } => {}
            other => println!("{now:.3} {other:?}"),
        }
    }
    drop(radio);
    println!("{:.3} over", began.elapsed().as_secs_f64());
    Ok(())
}

fn command(line: &str) -> Option<Command> {
    let mut words = line.splitn(3, ' ');
    let word = words.next()?;
    let first = words.next().unwrap_or("");
    let rest = words.next().unwrap_or("").to_owned();
    let conn = || first.parse().ok().map(ConnId);
    let stream = || first.parse().ok().map(StreamId);
    Some(match word {
        "scan" => Command::Scan,
        "stop" => Command::StopScanning,
        "connect" => Command::Connect {
            peer: address(first)?,
        },
        "send" => Command::Send {
            conn: conn()?,
            frame: rest.into(),
        },
        "disconnect" => Command::Disconnect { conn: conn()? },
        "join" => Command::Join {
            credentials: credentials(first, &rest)?,
        },
        "leave" => Command::Leave,
        "dial" => Command::Dial,
        "write" => Command::Write {
            stream: stream()?,
            piece: rest.into(),
        },
        "close" => Command::CloseStream { stream: stream()? },
        _ => return None,
    })
}

fn credentials(ssid: &str, rest: &str) -> Option<GroupCredentials> {
    let mut words = rest.split(' ');
    Some(GroupCredentials {
        ssid: ssid.to_owned(),
        passphrase: words.next()?.to_owned(),
        frequency_mhz: words.next()?.parse().ok()?,
        endpoint: words.next()?.to_owned(),
        device: address(words.next()?)?,
    })
}

fn address(text: &str) -> Option<Address> {
    u64::from_str_radix(text, 16).ok().map(Address)
}
