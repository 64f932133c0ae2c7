//! What a computer's radios can do for Berth, and what to do about what is missing.
//!
//! Place: `berthd doctor`, `berth doctor` -> [`examine`]: kernel and services (`kernel`, `wiphy`, `bus`) -> what was `seen` ->
//! [`Finding`]s.
//! Invariant: it only reads. No service is started, nothing is switched on, and every question has a deadline.

mod bluetooth;
mod bus;
mod finding;
mod kernel;
mod seen;
mod wifi;
mod wiphy;

use std::{fmt, io};

use serde::Serialize;

pub use finding::{Finding, Side, State};

use crate::finding::findings;
use crate::seen::Seen;

/// What was found on a computer. `Display` is for people, `Serialize` for scripts.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Nothing is missing that this side needs.
    pub ok: bool,
    /// In the order in which a person would put them right.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let state = match finding.state {
                State::Ok => "ok",
                State::Limited => "limited",
                State::Missing => "MISSING",
            };
            writeln!(f, "{state:<8} {}: {}", finding.about, finding.text)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "         {advice}")?;
            }
        }
        f.write_str(match self.ok {
            true => "All that is needed is here.",
            false => "Not by radio before what is MISSING is here.",
        })
    }
}

/// Looks at this computer, and of its Bluetooth adapters at the one of this name only, if there is one. `wifi_bus` is the address of the bus of wpa_supplicant and NetworkManager; `None`: the system
/// bus, on which BlueZ is. Blocks for a moment, and for a minute where services are there but keep silent.
///
/// # Errors
/// The system gives no runtime to ask with.
pub fn examine(side: Side, bluetooth_adapter: Option<&str>, wifi_bus: Option<&str>) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut seen = runtime.block_on(look(wifi_bus));
    seen.narrow(bluetooth_adapter);
    let findings = findings(side, &seen, bluetooth_adapter);
    let ok = findings.iter().all(|finding| finding.state != State::Missing);
    Ok(Report { ok, findings })
}

async fn look(wifi_bus: Option<&str>) -> Seen {
    let system = bus::connect(None).await;
    let wifi = match wifi_bus {
        Some(address) => bus::connect(Some(address)).await,
        None => system.clone(),
    };
    let radios = wiphy::radios().await;
    let (bluez, adapters) = bus::bluetooth(&system, kernel::controllers()).await;
    Seen {
        bluez,
        adapters,
        switches: kernel::switches(),
        supplicant: bus::supplicant(&wifi).await,
        network_manager: bus::network_manager(&wifi, &radios).await,
        radios,
    }
}
