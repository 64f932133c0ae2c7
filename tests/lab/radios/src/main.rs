//! Holds the radios of hardware to the contract.
//!
//! `serve hub|laptop SOCKET` gives that radio to whoever connects, a fresh one each time: hub and laptop are processes
//! of their own, as each is on its own bus. `check HUB-SOCKET LAPTOP-SOCKET WHICH` checks the promises of both. WHICH
//! is a promise's name or `1/3` for every third one, as all take longer than a job may.
//!
//! The hub's Bluetooth adapter is `hci0`, the laptop's `hci1`; the bus of its Wi-Fi is `$BERTH_WIFI_BUS`.
#![allow(clippy::print_stdout, reason = "a program for people")]

mod relay;

use std::env;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use berth_hub_radio::HubRadio;
use berth_laptop_radio::{Hardware, LaptopRadio};
use berth_net::DriverRadio;
use berth_radio::conformance::{Bench, Held, PROMISES, Promise, Role};
use berth_radio::{Radio, Time};

use crate::relay::{Relayed, relay};

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", "hub", socket] => serve(Path::new(socket), || {
            Ok(HubRadio::open(
                Some(adapter(Role::Hub)),
                env::temp_dir(),
                monotonic,
            )?)
        }),
        ["serve", "laptop", socket] => serve(Path::new(socket), || {
            let hardware = Hardware {
                bluetooth_adapter: Some(adapter(Role::Laptop)),
                wifi_bus: env::var("BERTH_WIFI_BUS").ok(),
            };
            Ok(LaptopRadio::open(hardware, monotonic)?)
        }),
        ["check", hub, laptop, which] => check([Path::new(hub), Path::new(laptop)], which),
        _ => bail!("usage: serve hub|laptop SOCKET, or check HUB-SOCKET LAPTOP-SOCKET PROMISE|PART/PARTS"),
    }
}

/// Time since it was first asked for.
pub(crate) fn monotonic() -> Time {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    STARTED.get_or_init(Instant::now).elapsed()
}

fn serve(socket: &Path, open: fn() -> Result<DriverRadio>) -> Result<()> {
    let listener = UnixListener::bind(socket).context("can't listen")?;
    loop {
        let (link, _) = listener.accept()?;
        relay(open()?, link)?;
    }
}

/// Checks every promise, also after one that is broken.
fn check(sockets: [&Path; 2], which: &str) -> Result<()> {
    let promises = chosen(which)?;
    let mut broken = 0;
    for promise in promises {
        let mut lab = Lab([Relayed::connect(sockets[0])?, Relayed::connect(sockets[1])?]);
        let began = monotonic();
        let held = promise.check(&mut lab);
        let took_s = (monotonic() - began).as_secs_f32();
        match held {
            Ok(Held::Yes) => println!("ok: {} ({took_s:.1} s)", promise.name),
            Ok(Held::Skipped) => println!("not here: {}", promise.name),
            Err(error) => {
                broken += 1;
                println!("BROKEN: {error} ({took_s:.1} s)");
            }
        }
    }
    ensure!(broken == 0, "{broken} promises are broken");
    Ok(())
}

fn chosen(which: &str) -> Result<Vec<&'static Promise>> {
    let chosen: Vec<_> = match which.split_once('/') {
        Some((part, parts)) => {
            let (part, parts): (usize, usize) = (part.parse()?, parts.parse()?);
            ensure!(part > 0 && part <= parts, "there is no part {which}");
            PROMISES.iter().skip(part - 1).step_by(parts).collect()
        }
        None => PROMISES.iter().filter(|promise| promise.name == which).collect(),
    };
    ensure!(!chosen.is_empty(), "no radio has promised {which}");
    Ok(chosen)
}

/// Hub and laptop of the guest.
struct Lab([Relayed; 2]);

impl Bench for Lab {
    fn radio(&mut self, role: Role) -> &mut dyn Radio {
        let [hub, laptop] = &mut self.0;
        match role {
            Role::Hub => hub,
            Role::Laptop => laptop,
        }
    }

    /// Switches it off or on: BlueZ tells the same of an adapter that is pulled out, and more.
    fn adapter(&mut self, role: Role, there: bool) -> bool {
        power(&adapter(role), there).is_ok()
    }
}

fn adapter(role: Role) -> String {
    match role {
        Role::Hub => "hci0".to_owned(),
        Role::Laptop => "hci1".to_owned(),
    }
}

fn power(adapter: &str, is_on: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let session = bluer::Session::new().await?;
        Ok(session.adapter(adapter)?.set_powered(is_on).await?)
    })
}
