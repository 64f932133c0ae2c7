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
mod error;
mod group;
mod hub;
mod kernel;
mod links;
mod owner;
mod peers;
mod supplicant;

use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use berth_net::{DriverRadio, Teller};
use berth_radio::{Command, Time};
use tokio::runtime;
use tokio::sync::mpsc;

pub use error::HubRadioError;

use crate::hub::Hub;
use berth_net::Words;

/// Longest time that opening takes: a service that has to start, and an adapter that has to be switched on.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// Longest time that a dropped radio waits for its group to end.
const END_WAIT: Duration = Duration::from_secs(6);

/// Commands that may wait; frames beyond half of them are lost.
const COMMANDS_MAX: usize = 4096;

/// The computer's own Bluetooth and Wi-Fi, as a hub uses them.
#[derive(Debug)]
pub struct HubRadio;

impl HubRadio {
    /// Opens the Bluetooth adapter of this name (`hci0`; `None`: the first that can be used) and the first Wi-Fi adapter
    /// that can be a group owner, and stays with them; groups of ours that a crash has left are removed. `clock` is the
    /// program's monotonic one. Blocks for 30 s at the most.
    ///
    /// Dropping the radio ends its group, and waits for that.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(
        bluetooth_adapter: Option<String>,
        clock: impl Fn() -> Time + Send + Sync + 'static,
    ) -> Result<DriverRadio, HubRadioError> {
        DriverRadio::new(clock, |teller| begin(teller, bluetooth_adapter))
    }
}

fn begin(
    teller: Teller,
    bluetooth_adapter: Option<String>,
) -> Result<Box<dyn FnMut(Command) + Send>, HubRadioError> {
    let (give, commands) = mpsc::channel(COMMANDS_MAX);
    let (opened, is_open) = std_mpsc::channel();
    let (ends, ended) = std_mpsc::channel();
    thread::Builder::new()
        .name("radio".into())
        .spawn(move || {
            // Dropped as the last thing.
            let _ends: std_mpsc::Sender<()> = ends;
            run(teller, bluetooth_adapter, commands, &opened);
        })
        .map_err(|source| HubRadioError::System {
            what: "no thread for the radio",
            source,
        })?;
    match is_open.recv_timeout(OPEN_WAIT) {
        Ok(opened) => opened?,
        Err(_) => {
            return Err(HubRadioError::Silent {
                service: "the radio's services",
            });
        }
    }
    let open = Open {
        commands: Some(give),
        ended,
    };
    Ok(Box::new(move |command| open.give(command)))
}

fn run(
    teller: Teller,
    bluetooth_adapter: Option<String>,
    commands: mpsc::Receiver<Command>,
    opened: &std_mpsc::Sender<Result<(), HubRadioError>>,
) {
    let of_system = |what| move |source| HubRadioError::System { what, source };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let parts = runtime
        .map_err(of_system("no runtime for the radio"))
        .and_then(|runtime| {
            Ok((
                runtime,
                Words::new(teller).map_err(of_system("no thread for the radio"))?,
            ))
        });
    let (runtime, words) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        match Hub::open(words, bluetooth_adapter).await {
            Ok(hub) => {
                let _ = opened.send(Ok(()));
                hub.run(commands).await;
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
