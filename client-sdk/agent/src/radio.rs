//! The radio that the command line asks for.

use anyhow::{Context, Result, bail};
use berth_doctor::Side;
use berth_laptop_radio::{Hardware, LaptopRadio, LaptopRadioError};
use berth_net::{AirRadio, NetRadio, NoRadio, RadioSpec};
use berth_pairing::Name;
use berth_radio::Radio;

use crate::args::Options;
use crate::place::advised;
use crate::{Outcome, clock, say};

/// Where wpa_supplicant and NetworkManager are if not on the system bus. Not for users: in the radio lab (tests/lab) hub
/// and laptop share one BlueZ, but a bus has room for one of these only.
const WIFI_BUS: &str = "BERTH_WIFI_BUS";

/// Comes into the air under `name`, or dials `--via`.
pub(crate) fn open(options: &Options, name: &Name) -> Result<NetRadio> {
    let spec = match (&options.radio, &options.via) {
        (Some(RadioSpec::None), None) => {
            bail!("without a radio the hub needs an address: give --via ADDR:PORT")
        }
        (Some(spec), _) => spec.clone(),
        (None, Some(_)) => RadioSpec::None,
        (None, None) => RadioSpec::Bluez(None),
    };
    let inner: Box<dyn Radio + Send> = match spec {
        RadioSpec::Bluez(bluetooth_adapter) => {
            let hardware = Hardware {
                bluetooth_adapter,
                wifi_bus: wifi_bus(),
            };
            let radio = LaptopRadio::open(hardware, clock::now);
            let advice = |error: &LaptopRadioError| format!("{} `berth doctor` tells more.", error.advice());
            Box::new(radio.map_err(|error| advised(&error, &advice(&error)))?)
        }
        RadioSpec::Air(socket) => {
            let radio = AirRadio::open(&socket, name.as_str(), clock::now);
            Box::new(radio.map_err(|error| advised(&error, error.advice()))?)
        }
        RadioSpec::None => Box::new(NoRadio::new(clock::now)),
    };
    let mut radio = NetRadio::new(inner);
    if let Some(address) = &options.via {
        radio
            .via(address)
            .map_err(|error| advised(&error, error.advice()))?;
    }
    Ok(radio)
}

fn wifi_bus() -> Option<String> {
    std::env::var(WIFI_BUS).ok()
}

/// `berth doctor`.
pub(crate) fn doctor(options: &Options) -> Result<Outcome> {
    let adapter = match &options.radio {
        Some(RadioSpec::Bluez(adapter)) => adapter.as_deref(),
        Some(RadioSpec::Air(_) | RadioSpec::None) | None => None,
    };
    let report = berth_doctor::examine(Side::Laptop, adapter, wifi_bus().as_deref())
        .context("looking at this laptop")?;
    if options.json {
        say(&serde_json::to_string(&report)?);
    } else {
        say(&report.to_string());
    }
    Ok(if report.ok { Outcome::Done } else { Outcome::NotAll })
}
