//! The laptop's radio of hardware: Bluetooth LE through BlueZ, Wi-Fi Direct or a plain join through whatever steers
//! the laptop's Wi-Fi.
//!
//! Place: `berth`'s driver -> [`LaptopRadio::open`]'s radio -> BlueZ (btleplug), wpa_supplicant, NetworkManager. The
//! contract is [`berth_radio`]'s; streams are [`berth_net::DriverRadio`]'s.
//! Invariant: the state is in machines without IO (`central`, `membership`, `way`), the calls at the edges (`adapter`,
//! `scan`, `link`; `direct`, `network_manager`, `station`, `portable`). Every call has a deadline, every queue a limit,
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
mod portable;
mod scan;
mod station;
mod supplicant;
mod way;
mod wifi;

use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use berth_net::{DriverRadio, Teller};
use berth_radio::{Command, Time};
use tokio::runtime;
use tokio::sync::mpsc;

pub use error::LaptopRadioError;

use crate::laptop::Laptop;
use berth_net::Words;

/// Longest time that opening takes: a service that has to start.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// Longest time that a dropped radio waits until it has left its group and its connections are closed.
const END_WAIT: Duration = Duration::from_secs(10);

/// Commands that may wait; frames beyond half of them are lost.
const COMMANDS_MAX: usize = 4096;

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
        DriverRadio::new(clock, |teller| begin(teller, hardware))
    }
}

fn begin(teller: Teller, hardware: Hardware) -> Result<Box<dyn FnMut(Command) + Send>, LaptopRadioError> {
    let (give, commands) = mpsc::channel(COMMANDS_MAX);
    let (opened, is_open) = std_mpsc::channel();
    let (ends, ended) = std_mpsc::channel();
    thread::Builder::new()
        .name("radio".into())
        .spawn(move || {
            // Dropped as the last thing.
            let _ends: std_mpsc::Sender<()> = ends;
            run(teller, hardware, commands, &opened);
        })
        .map_err(of_system("no thread for the radio"))?;
    is_open
        .recv_timeout(OPEN_WAIT)
        .map_err(|_| LaptopRadioError::Silent)??;
    let open = Open {
        commands: Some(give),
        ended,
    };
    Ok(Box::new(move |command| open.give(command)))
}

fn of_system(what: &'static str) -> impl Fn(std::io::Error) -> LaptopRadioError {
    move |source| LaptopRadioError::System { what, source }
}

fn run(
    teller: Teller,
    hardware: Hardware,
    commands: mpsc::Receiver<Command>,
    opened: &std_mpsc::Sender<Result<(), LaptopRadioError>>,
) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(of_system("no runtime for the radio"));
    let words = Words::new(teller).map_err(of_system("no thread for the radio"));
    let (runtime, words) = match (runtime, words) {
        (Ok(runtime), Ok(words)) => (runtime, words),
        (Err(error), _) | (_, Err(error)) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        match Laptop::open(words, hardware).await {
            Ok(laptop) => {
                let _ = opened.send(Ok(()));
                laptop.run(commands).await;
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        }
    });
}

/// The program's end of a radio that is open.
struct Open {
    commands: Option<mpsc::Sender<Command>>,
    ended: std_mpsc::Receiver<()>,
}

impl Open {
    fn give(&self, command: Command) {
        let Some(commands) = &self.commands else { return };
        if matches!(command, Command::Send { .. }) && commands.capacity() < COMMANDS_MAX / 2 {
            return;
        }
        if commands.try_send(command).is_err() {
            tracing::error!("a command is lost: the radio is far behind, or has ended");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.ended.recv_timeout(END_WAIT);
    }
}
