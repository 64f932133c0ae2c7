//! The laptop's radio of hardware: Bluetooth LE through BlueZ, Wi-Fi Direct or a plain join through whatever steers
//! the laptop's Wi-Fi.
//!
//! Place: `berth`'s driver -> [`LaptopRadio::open`]'s radio -> BlueZ (btleplug), wpa_supplicant, NetworkManager. The
//! contract is [`berth_radio`]'s; streams are [`berth_net::DriverRadio`]'s.
//! Invariant: the state is in machines without IO (`central`, `membership`, `way`), the calls at the edges (`adapter`,
//! `scan`, `link`; `direct`, `network_manager`, `station`). Every call has a deadline, every queue a limit,
//! and whatever ends the program, nothing of it stays in the laptop's networks once it runs again.

mod adapter;
mod bus;
mod central;
mod dial;
mod direct;
mod error;
mod kernel;
mod laptop;
mod link;
mod membership;
mod network_manager;
mod scan;
mod station;
mod supplicant;
mod way;
mod wifi;

use std::time::Duration;

use berth_net::DriverRadio;
use berth_radio::Time;

pub use error::LaptopRadioError;

use crate::laptop::Laptop;

/// Longest time that a dropped radio waits until it has left its group and its connections are closed.
const END_WAIT: Duration = Duration::from_secs(10);

/// Which of the computer's radios to use.
#[derive(Debug, Clone, Default)]
pub struct Hardware {
    /// The Bluetooth adapter by its name (`hci0`); `None`: the first that is on.
    pub bluetooth_adapter: Option<String>,
    /// The D-Bus address of the bus of wpa_supplicant and NetworkManager; `None`: the system bus, on which BlueZ is.
    pub wifi_bus: Option<String>,
}

/// The computer's own Bluetooth and Wi-Fi, as a laptop uses them.
#[derive(Debug)]
pub struct LaptopRadio;

impl LaptopRadio {
    /// Opens the adapter; what a crash has left of a membership of a group is removed. An adapter that is off is told as
    /// `AdapterGone`. `clock` is the program's monotonic one. Blocks for 30 s at the most.
    ///
    /// Dropping the radio leaves its group and closes its connections, and waits for that, 10 s at the most.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(
        hardware: Hardware,
        clock: impl Fn() -> Time + Send + Sync + 'static,
    ) -> Result<DriverRadio, LaptopRadioError> {
        let open = |words| Laptop::open(words, hardware);
        DriverRadio::on_a_thread(clock, END_WAIT, open, Laptop::run)
    }
}
