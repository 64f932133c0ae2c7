//! A radio whose air is in another process.

use std::collections::VecDeque;
use std::io::{self, BufReader, BufWriter, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_radio::{
    BEACON_SIZE_BYTES, Command, Event, GATT_FRAME_SIZE_BYTES_MAX, Radio, StreamId, Time, Waker,
};

use super::codec::{Down, PROTOCOL_VERSION, Token, Up, read_message, write_message};
use super::gate::keep_small;
use super::{AirError, CodecError, LINK_WAIT};
use crate::inbox::Inbox;
use crate::stream::LIMITS;
use crate::wire;

/// Commands that wait for the socket; a machine that floods loses its radio.
const COMMANDS_MAX: usize = 16_384;

/// How long a dropped radio waits for the last words of its streams to leave.
const DROP_WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
struct Outbox {
    commands: VecDeque<Command>,
    /// Nothing goes any more.
    ended: bool,
    /// The radio is dropped: send what waits, then end.
    closing: bool,
}

struct Shared {
    link: UnixStream,
    inbox: Arc<Inbox>,
    outbox: Mutex<Outbox>,
    to_send: Condvar,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.outbox().ended = true;
        self.to_send.notify_all();
        self.inbox.end_all(Some(Event::AdapterGone));
        // An error says that it has ended already.
        let _ = self.link.shutdown(Shutdown::Both);
    }
}

/// A radio in the air of another process; it may share its name with others. When that process ends its machine sees
/// [`Event::AdapterGone`], and nothing after it. Dropping it sends what was commanded, lets what was written leave, 3 s at
/// the most, and takes the radio out of the air.
pub struct AirRadio {
    shared: Arc<Shared>,
    clock: Box<dyn Fn() -> Time + Send + Sync>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for AirRadio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AirRadio").finish_non_exhaustive()
    }
}

impl AirRadio {
    /// Comes into the air that is served at `socket`, as [`Self::connect`] does.
    ///
    /// # Errors
    /// [`AirError`].
    pub fn open(
        socket: &Path,
        name: &str,
        clock: impl Fn() -> Time + Send + Sync + 'static,
    ) -> Result<Self, AirError> {
        let link = UnixStream::connect(socket).map_err(|source| AirError::Nobody {
            socket: socket.to_owned(),
            source,
        })?;
        Self::connect(link, name, clock)
    }

    /// Comes into the air at the other end of `link` under `name`. Waits [`LINK_WAIT`] at the most for each part of the
    /// answer. `clock` is the process's own monotonic one.
    ///
    /// # Errors
    /// [`AirError`].
    pub fn connect(
        link: UnixStream,
        name: &str,
        clock: impl Fn() -> Time + Send + Sync + 'static,
    ) -> Result<Self, AirError> {
        link.set_read_timeout(Some(LINK_WAIT))?;
        link.set_write_timeout(Some(LINK_WAIT))?;
        let hello = Up::Hello {
            version: PROTOCOL_VERSION,
            name: name.to_owned(),
        };
        write_message(&mut &link, &hello)?;
        match read_message(&mut &link)? {
            Some(Down::Welcome) => {}
            Some(Down::Refused(why)) => return Err(AirError::Refused(why)),
            Some(Down::Event(_) | Down::Stream { .. } | Down::Lines(_) | Down::Done(_)) | None => {
                return Err(CodecError::Message.into());
            }
        }
        link.set_read_timeout(None)?;
        let shared = Arc::new(Shared {
            link,
            inbox: Inbox::new(LIMITS, None),
            outbox: Mutex::default(),
            to_send: Condvar::new(),
        });
        let mut radio = Self {
            shared,
            clock: Box::new(clock),
            threads: Vec::new(),
        };
        // How a link ended makes no difference to its machine: the radio is gone.
        radio.spawn("air-in", |shared| drop(pump_events(shared)))?;
        radio.spawn("air-out", |shared| drop(pump_commands(shared)))?;
        Ok(radio)
    }

    fn spawn(&mut self, name: &str, pump: impl FnOnce(&Shared) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            pump(&shared);
            shared.end();
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

fn pump_events(shared: &Shared) -> Result<(), AirError> {
    let mut reader = BufReader::new(&shared.link);
    while let Some(message) = read_message(&mut reader)? {
        match message {
            Down::Stream {
                stream,
                address,
                token,
            } => open_stream(&shared.inbox, stream, address, &token)?,
            // Its connection says the same, with all that came before; what is told now comes after that.
            Down::Event(Event::StreamClosed { stream }) => shared.inbox.finish(stream),
            Down::Event(event) => {
                if event == Event::AdapterGone {
                    shared.inbox.cut_all();
                }
                shared.inbox.put_waiting(event);
            }
            Down::Welcome | Down::Refused(_) | Down::Lines(_) | Down::Done(_) => {
                return Err(CodecError::Message.into());
            }
        }
    }
    Ok(())
}

fn open_stream(inbox: &Arc<Inbox>, stream: StreamId, address: SocketAddr, token: &Token) -> io::Result<()> {
    let mut socket = TcpStream::connect_timeout(&address, LINK_WAIT)?;
    keep_small(&socket)?;
    socket.write_all(token)?;
    wire::open(inbox, stream, socket, Arc::default());
    Ok(())
}

fn pump_commands(shared: &Shared) -> Result<(), AirError> {
    let mut writer = BufWriter::new(&shared.link);
    loop {
        let mut outbox = shared.outbox();
        while outbox.commands.is_empty() && !outbox.ended && !outbox.closing {
            outbox = shared
                .to_send
                .wait(outbox)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let commands = std::mem::take(&mut outbox.commands);
        let is_last = outbox.ended || (outbox.closing && commands.is_empty());
        drop(outbox);
        if is_last {
            return Ok(());
        }
        for command in commands {
            write_message(&mut writer, &Up::Command(command))?;
        }
        writer.flush()?;
    }
}

/// Sizes that the air would take for another protocol: the contract says that they are lost.
fn is_lost(command: &Command) -> bool {
    match command {
        Command::Advertise { beacon } => beacon.len() > BEACON_SIZE_BYTES,
        Command::Send { frame, .. } => frame.len() > GATT_FRAME_SIZE_BYTES_MAX,
        _ => false,
    }
}

impl Radio for AirRadio {
    fn command(&mut self, command: Command) {
        let inbox = &self.shared.inbox;
        match command {
            Command::Write { stream, piece } => inbox.write(stream, piece),
            Command::CloseStream { stream } => inbox.close(stream),
            Command::Hold { stream } => inbox.hold(stream, true),
            Command::Resume { stream } => inbox.hold(stream, false),
            lost if is_lost(&lost) => {}
            other => {
                let mut outbox = self.shared.outbox();
                if outbox.commands.len() >= COMMANDS_MAX {
                    drop(outbox);
                    return self.shared.end();
                }
                if !outbox.ended {
                    outbox.commands.push_back(other);
                    self.shared.to_send.notify_one();
                }
            }
        }
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        self.shared.inbox.wait(|| deadline.saturating_sub((self.clock)()))
    }

    fn waker(&self) -> Waker {
        let inbox = Arc::clone(&self.shared.inbox);
        Arc::new(move || inbox.wake())
    }

    fn now(&self) -> Time {
        (self.clock)()
    }
}

impl Drop for AirRadio {
    fn drop(&mut self) {
        self.shared.inbox.shut(DROP_WAIT);
        self.shared.outbox().closing = true;
        self.shared.to_send.notify_all();
        if self.threads.len() < 2 {
            self.shared.end(); // it never began
        }
        // The writer first, so that last words leave; its writes have a deadline. It ends the link, and with it the reader.
        while let Some(thread) = self.threads.pop() {
            let _ = thread.join();
        }
    }
}
