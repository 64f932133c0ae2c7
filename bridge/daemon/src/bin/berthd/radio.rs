//! The radio that somebody asked for.

use std::net::SocketAddr;

use anyhow::Result;
use berth_net::{NetRadio, RadioSpec, radio_from};
use berth_pairing::Name;

use crate::clock::monotonic;
use crate::state::in_one_line;

/// Opens the radio, and listens at `listen` beside it.
pub(crate) fn open(spec: &RadioSpec, name: &Name, listen: Option<SocketAddr>) -> Result<NetRadio> {
    let inner = radio_from(spec, name.as_str(), monotonic);
    let mut radio = NetRadio::new(inner.map_err(|error| in_one_line(&error, error.advice()))?);
    if let Some(address) = listen {
        radio
            .listen(address)
            .map_err(|error| in_one_line(&error, error.advice()))?;
    }
    Ok(radio)
}
