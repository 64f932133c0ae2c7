//! The radio that somebody asked for.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use berth_hub_radio::{HubRadio, HubRadioError};
use berth_net::{AirRadio, NetRadio, NoRadio, RadioSpec};
use berth_pairing::Name;
use berth_radio::Radio;

use crate::clock::monotonic;
use crate::state::in_one_line;

/// Opens the radio, and listens at `listen` beside it. `state` is the hub's state folder.
pub(crate) fn open(
    spec: &RadioSpec,
    name: &Name,
    listen: Option<SocketAddr>,
    state: &Path,
) -> Result<NetRadio> {
    let inner: Box<dyn Radio + Send> = match spec {
        RadioSpec::Bluez(adapter) => {
            let radio = HubRadio::open(adapter.clone(), state.to_owned(), monotonic);
            let advice = |error: &HubRadioError| format!("{} `berthd doctor` tells more.", error.advice());
            Box::new(radio.map_err(|error| in_one_line(&error, &advice(&error)))?)
        }
        RadioSpec::Air(socket) => {
            let radio = AirRadio::open(socket, name.as_str(), monotonic);
            Box::new(radio.map_err(|error| in_one_line(&error, error.advice()))?)
        }
        RadioSpec::None => Box::new(NoRadio::new(monotonic)),
    };
    let mut radio = NetRadio::new(inner);
    if let Some(address) = listen {
        radio
            .listen(address)
            .map_err(|error| in_one_line(&error, error.advice()))?;
    }
    Ok(radio)
}
