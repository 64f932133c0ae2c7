//! The parts of the story as processes of their own: they share a socket to the air, and nothing else.

use std::io::{self, BufRead};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use berth_agent::Report;
use berth_net::{AirRadio, AirServer};
use berth_radio_sim::{Air, SharedAir};
use crossbeam_channel::unbounded;
use rand_core::OsRng;
use serde_json::json;

use crate::args::Args;
use crate::clock::RealClock;
use crate::hub_half::{self, Order, Places};
use crate::laptop_half::LaptopHalf;
use crate::report::say;
use crate::story::{self, Outcome, Work, host_name};

/// Radios at one socket; more are refused by being closed.
const RADIOS_MAX: usize = 16;

/// The air, until the process is killed.
pub(crate) fn air(args: &Args, socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("the socket {}", socket.display()))?;
    let clock = RealClock::start();
    let air = SharedAir::new(Air::new(args.seed, args.profile), move || clock.now());
    let air = AirServer::open(air, Box::new(OsRng))?;
    say(&json!({ "event": "ready" }).to_string());
    let mut radios: Vec<thread::JoinHandle<()>> = Vec::new();
    for link in listener.incoming() {
        radios.retain(|radio| !radio.is_finished());
        if radios.len() >= RADIOS_MAX {
            continue;
        }
        let (link, air) = (link?, air.clone());
        radios.push(thread::spawn(move || {
            if let Err(error) = air.serve(&link) {
                say(&json!({ "event": "radio", "error": error.to_string() }).to_string());
            }
        }));
    }
    Ok(())
}

fn radio(socket: &Path, name: &str) -> Result<AirRadio> {
    let link = UnixStream::connect(socket).with_context(|| format!("the air at {}", socket.display()))?;
    let clock = RealClock::start();
    AirRadio::connect(link, name, move || clock.now()).map_err(|error| anyhow!("{error}. {}", error.advice()))
}

/// The hub, until it is told to stop or its standard input ends.
pub(crate) fn hub(args: &Args, socket: &Path) -> Result<()> {
    let work = Work::open(args)?;
    let mut radio = radio(socket, "hub")?;
    let (orders_in, orders_out) = unbounded();
    let (news_in, news_out) = unbounded();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let order = match line.trim() {
                "pair" => Order::Pair,
                "forward" => Order::Forward,
                "stop" => break,
                _ => continue,
            };
            if orders_in.send(order).is_err() {
                return;
            }
        }
        // The hub may have stopped by itself.
        let _ = orders_in.send(Order::Stop);
    });
    let teller = thread::spawn(move || {
        for news in news_out {
            say(&serde_json::to_string(&news).unwrap_or_default());
        }
    });
    let done = hub_half::run(
        &mut radio,
        &Places {
            state: &work.hub,
            upstream: &work.upstream,
        },
        &orders_out,
        &news_in,
    );
    drop(news_in);
    // It ends with the last piece of news.
    let _ = teller.join();
    done
}

/// One visit of the laptop.
pub(crate) fn laptop(args: &Args, socket: &Path, folder: &Path, code: Option<&str>) -> Result<Outcome> {
    let folder = story::folder(folder)?;
    let work = Work::open(args)?;
    let mut radio = radio(socket, "laptop")?;
    let mut laptop = LaptopHalf::open(&work.laptop, host_name())?;
    work.keep_recovery_key(laptop.recovery_key())?;
    if let Some(code) = code {
        laptop.pair(&mut radio, code).context("pairing")?;
    }
    if !laptop.is_paired() {
        bail!("this laptop is not paired: give the code that the hub shows with --code");
    }
    let mut report = Report::new(args.json, Box::new(io::stdout()));
    let left = laptop.visit(
        &mut radio,
        &folder,
        std::slice::from_ref(&work.root),
        &mut |now, watched| {
            if let Some(progress) = watched.progress() {
                report.progress(now, progress);
            }
        },
    )?;
    match left.ended.visit {
        Some(Ok(summary)) => {
            let fields = json!({ "set": summary.set.0, "kind": summary.kind, "bytes_sent": left.bytes_sent });
            report.tell("visit", fields, &format!("Set {} is complete.", summary.set));
            Ok(if summary.not_read_count == 0 {
                Outcome::Same
            } else {
                Outcome::SomeNotRead
            })
        }
        Some(Err(error)) => bail!("{error}. {}", error.advice()),
        None => bail!("{}. {}", left.ended.session, left.ended.session.advice()),
    }
}
