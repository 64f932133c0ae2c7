//! The hub's radio of hardware: Bluetooth LE through BlueZ, a Wi-Fi Direct group through wpa_supplicant.
//!
//! Place: `berthd`'s driver -> [`HubRadio::open`]'s radio -> BlueZ and wpa_supplicant, over D-Bus. The contract is
//! [`berth_radio`]'s; streams are [`berth_net::DriverRadio`]'s.
//! Invariant: the state is in machines without IO (`advertising`, `links`, `group`), the calls at the edges (`bluez`,
//! `owner`). Every call has a deadline, every queue a limit, and whatever ends the program, nothing of it stays in the
//! air once it runs again: what is registered at BlueZ ends with its bus connection, groups are removed at the start.

mod advertising;
mod bluez;
mod bring_up;
mod connections;
mod error;
mod given;
mod group;
mod hub;
mod kernel;
mod links;
mod network_manager;
mod owner;
mod peers;
mod supplicant;

use std::path::PathBuf;
use std::time::Duration;

use berth_net::DriverRadio;
use berth_radio::Time;

pub use error::HubRadioError;

use crate::hub::Hub;

/// Longest time that a dropped radio waits for its group to end.
const END_WAIT: Duration = Duration::from_secs(6);

/// The computer's own Bluetooth and Wi-Fi, as a hub uses them.
#[derive(Debug)]
pub struct HubRadio;

impl HubRadio {
    /// Opens the Bluetooth adapter of this name (`hci0`; `None`: the first that can be used) and the first Wi-Fi adapter
    /// that can be a group owner, and stays with them; groups of ours that a crash has left are removed. `folder` is for
    /// the caller alone, and the same one each time: a file for wpa_supplicant is there for a moment. `clock` is the
    /// program's monotonic one. Blocks for 30 s at the most.
    ///
    /// Dropping the radio ends its group, and waits for that, 6 s at the most.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(
        bluetooth_adapter: Option<String>,
        folder: PathBuf,
        clock: impl Fn() -> Time + Send + Sync + 'static,
    ) -> Result<DriverRadio, HubRadioError> {
        let open = |words| Hub::open(words, bluetooth_adapter, folder);
        DriverRadio::on_a_thread(clock, END_WAIT, open, Hub::run)
    }
}
