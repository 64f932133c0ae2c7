//! The radio that the command line asks for.

use anyhow::{Result, bail};
use berth_net::{NetRadio, RadioSpec, radio_from};
use berth_pairing::Name;

use crate::args::Options;
use crate::clock;
use crate::place::advised;

/// Comes into the air under `name`, or dials `--via`.
pub(crate) fn open(options: &Options, name: &Name) -> Result<NetRadio> {
    let spec = match (&options.radio, &options.via) {
        (Some(RadioSpec::None), None) => {
            bail!("without a radio the hub needs an address: give --via ADDR:PORT")
        }
        (Some(spec), _) => spec.clone(),
        (None, Some(_)) => RadioSpec::None,
        (None, None) => RadioSpec::Bluez,
    };
    let inner =
        radio_from(&spec, name.as_str(), clock::now).map_err(|error| advised(&error, error.advice()))?;
    let mut radio = NetRadio::new(inner);
    if let Some(address) = &options.via {
        radio
            .via(address)
            .map_err(|error| advised(&error, error.advice()))?;
    }
    Ok(radio)
}
