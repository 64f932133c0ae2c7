//! A radio in another process: commands go there, events come back, over a Unix socket.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use berth_radio::{Command, Event, Radio, Time, Waker};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::monotonic;

/// Events that may wait here; then their sender waits, and with it whoever sends over the air.
const EVENTS_MAX: usize = 64;

fn put<T: Serialize>(link: &mut impl Write, message: &T) -> Result<()> {
    let bytes = serde_cbor::to_vec(message)?;
    link.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
    link.write_all(&bytes)?;
    Ok(link.flush()?)
}

fn get<T: DeserializeOwned>(link: &mut impl Read) -> Result<T> {
    let mut length = [0; 4];
    link.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_le_bytes(length).try_into()?];
    link.read_exact(&mut bytes)?;
    Ok(serde_cbor::from_slice(&bytes)?)
}

/// Until the other end closes.
pub(crate) fn relay(mut radio: impl Radio, link: UnixStream) -> Result<()> {
    let (give, commands) = channel::<Command>();
    let waker = radio.waker();
    let mut reader = BufReader::new(link.try_clone()?);
    let mut link = BufWriter::new(link);
    thread::spawn(move || {
        while let Ok(command) = get(&mut reader) {
            if give.send(command).is_err() {
                break;
            }
            waker();
        }
        drop(give);
        waker();
    });
    // That the radio is open.
    put(&mut link, &Option::<Event>::None)?;
    loop {
        loop {
            match commands.try_recv() {
                Ok(command) => {
                    tracing::debug!(command = short(&command));
                    radio.command(command);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        if let Some(event) = radio.event(radio.now() + Duration::from_secs(60)) {
            tracing::debug!(event = short(&event));
            if put(&mut link, &Some(event)).is_err() {
                return Ok(());
            }
        }
    }
}

/// For the log: pieces of streams are long.
fn short(it: &impl std::fmt::Debug) -> String {
    format!("{it:?}").chars().take(120).collect()
}

/// What [`relay`] serves, seen from here.
pub(crate) struct Relayed {
    link: UnixStream,
    give: SyncSender<Option<Event>>,
    events: Receiver<Option<Event>>,
}

impl Relayed {
    /// Waits until the radio at `socket` is open.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let link =
            UnixStream::connect(socket).with_context(|| format!("nobody serves {}", socket.display()))?;
        let mut reader = BufReader::new(link.try_clone()?);
        let _open: Option<Event> = get(&mut reader).context("there is no radio")?;
        let (give, events) = sync_channel(EVENTS_MAX);
        let bring = give.clone();
        thread::spawn(move || {
            while let Ok(event) = get(&mut reader) {
                if bring.send(event).is_err() {
                    break;
                }
            }
        });
        Ok(Self { link, give, events })
    }
}

impl Drop for Relayed {
    /// Its reader has a hold on it too.
    fn drop(&mut self) {
        let _ = self.link.shutdown(Shutdown::Both);
    }
}

impl Radio for Relayed {
    fn command(&mut self, command: Command) {
        // A radio that is gone is seen by what does not come.
        let _ = put(&mut self.link, &command);
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        match self.events.recv_timeout(deadline.saturating_sub(monotonic())) {
            // Those that wake stand for one.
            Ok(None) => {
                while let Ok(event) = self.events.try_recv() {
                    if event.is_some() {
                        return event;
                    }
                }
                None
            }
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    fn waker(&self) -> Waker {
        let give = self.give.clone();
        Arc::new(move || {
            let _ = give.try_send(None);
        })
    }

    fn now(&self) -> Time {
        monotonic()
    }
}
