//! The radio that the command line asks for.

use std::os::unix::net::UnixStream;

use anyhow::{Result, bail};
use berth_net::{AirRadio, NetRadio, NoRadio};
use berth_pairing::Name;
use berth_radio::Radio;

use crate::args::Options;
use crate::clock;
use crate::place::advised;

/// Comes into the air under `name`, or dials `--via`.
pub(crate) fn open(options: &Options, name: &Name) -> Result<NetRadio> {
    let inner: Box<dyn Radio + Send> = match (options.radio.as_deref(), &options.via) {
        (Some("none"), None) => bail!("without a radio the hub needs an address: give --via ADDR:PORT"),
        (Some("none") | None, _) if options.via.is_some() => Box::new(NoRadio::new(clock::now)),
        (Some("bluez") | None, _) => {
            bail!(
                "this version has no Bluetooth yet: use --via ADDR:PORT, or --radio air:SOCKET to try it out"
            )
        }
        (Some(other), _) => match other.strip_prefix("air:") {
            Some(socket) => match UnixStream::connect(socket) {
                Ok(link) => Box::new(
                    AirRadio::connect(link, name.as_str(), clock::now)
                        .map_err(|error| advised(&error, error.advice()))?,
                ),
                Err(error) => bail!("no air at {socket} ({error}): is berth-air running there?"),
            },
            None => bail!("--radio is bluez, air:SOCKET or none"),
        },
    };
    let mut radio = NetRadio::new(inner);
    if let Some(address) = &options.via {
        radio
            .via(address)
            .map_err(|error| advised(&error, error.advice()))?;
    }
    Ok(radio)
}
