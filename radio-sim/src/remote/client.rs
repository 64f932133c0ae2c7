//! A radio whose air is in another process.

use std::collections::VecDeque;
use std::io::{BufReader, BufWriter, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_radio::{
    BEACON_SIZE_BYTES, Command, Event, GATT_FRAME_SIZE_BYTES_MAX, Radio, STREAM_PIECE_SIZE_BYTES_MAX, Time,
    Waker,
};

use super::codec::{Down, Frame, PROTOCOL_VERSION, Up, read_frame, write_message, write_piece};
use super::{CodecError, LINK_WAIT_MAX, Link, RemoteError};
use crate::Clock;
use crate::MAILBOX_EVENTS_MAX;

/// Stream bytes read ahead of the machine; then the socket is left alone and the air holds the rest back.
const READ_AHEAD_BYTES: usize = 1024 * 1024;

/// Commands that wait for the socket. The windows of all streams are below it; a machine that floods loses its radio.
const COMMANDS_MAX: usize = 65_536;

const BUFFER_SIZE_BYTES: usize = 256 * 1024;

#[derive(Debug, Default)]
struct Boxes {
    events: VecDeque<Event>,
    read_bytes: usize,
    commands: VecDeque<Command>,
    /// Nothing comes or goes any more.
    ended: bool,
    woken: bool,
    /// The radio is dropped: send what waits, then end.
    closing: bool,
}

#[derive(Debug, Default)]
struct Shared {
    boxes: Mutex<Boxes>,
    came: Condvar,
    taken: Condvar,
    to_send: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Boxes> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut boxes = self.lock();
        if !std::mem::replace(&mut boxes.ended, true) {
            boxes.events.push_back(Event::AdapterGone);
        }
        self.came.notify_all();
        self.taken.notify_all();
        self.to_send.notify_all();
    }
}

/// A radio in the air of another process. When the connection ends its machine sees [`Event::AdapterGone`], and
/// nothing after it. Dropping it sends what was commanded and takes the radio out of the air.
pub struct RemoteRadio<L: Link> {
    link: L,
    shared: Arc<Shared>,
    clock: Box<dyn Clock>,
    threads: Vec<JoinHandle<()>>,
}

impl<L: Link> std::fmt::Debug for RemoteRadio<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteRadio").finish_non_exhaustive()
    }
}

impl<L: Link> RemoteRadio<L> {
    /// Comes into the air at the other end of `link` under `name`, which no other radio there may have. Waits
    /// [`LINK_WAIT_MAX`] at the most. `clock` is the process's own monotonic one.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn connect(link: L, name: &str, clock: impl Clock + 'static) -> Result<Self, RemoteError> {
        let (reader, writer) = link.halves()?;
        let mut reader = BufReader::with_capacity(BUFFER_SIZE_BYTES, reader);
        let mut writer = BufWriter::with_capacity(BUFFER_SIZE_BYTES, writer);
        link.deadlines(Some(LINK_WAIT_MAX), LINK_WAIT_MAX)?;
        write_message(
            &mut writer,
            &Up::Hello {
                version: PROTOCOL_VERSION,
                name: name.to_owned(),
            },
        )?;
        writer.flush()?;
        match read_frame(&mut reader)? {
            Some(Frame::Message(Down::Welcome)) => {}
            Some(Frame::Message(Down::Refused(why))) => return Err(RemoteError::Refused(why)),
            Some(Frame::Message(Down::Event(_)) | Frame::Piece { .. }) | None => {
                return Err(CodecError::Message.into());
            }
        }
        link.deadlines(None, LINK_WAIT_MAX)?;
        let shared = Arc::new(Shared::default());
        let (for_reader, for_writer) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            // How a link ended makes no difference to its machine: the radio is gone.
            thread::spawn(move || {
                let _ = pump_events(&for_reader, &mut reader);
                for_reader.end();
            }),
            thread::spawn(move || {
                let _ = pump_commands(&for_writer, &mut writer);
                for_writer.end();
            }),
        ];
        Ok(Self {
            link,
            shared,
            clock: Box::new(clock),
            threads,
        })
    }
}

fn pump_events(shared: &Shared, reader: &mut impl Read) -> Result<(), RemoteError> {
    while let Some(frame) = read_frame(reader)? {
        let event = match frame {
            Frame::Piece { stream, piece } => Event::Read { stream, piece },
            Frame::Message(Down::Event(event)) => event,
            Frame::Message(Down::Welcome | Down::Refused(_)) => return Err(CodecError::Message.into()),
        };
        let mut boxes = shared.lock();
        if let Event::Read { piece, .. } = &event {
            boxes.read_bytes += piece.len();
        }
        boxes.events.push_back(event);
        shared.came.notify_all();
        while !boxes.ended && (boxes.read_bytes > READ_AHEAD_BYTES || boxes.events.len() > MAILBOX_EVENTS_MAX)
        {
            boxes = shared.taken.wait(boxes).unwrap_or_else(PoisonError::into_inner);
        }
        if boxes.ended {
            return Ok(());
        }
    }
    Ok(())
}

fn pump_commands(shared: &Shared, writer: &mut impl Write) -> Result<(), RemoteError> {
    loop {
        let mut boxes = shared.lock();
        while boxes.commands.is_empty() && !boxes.ended && !boxes.closing {
            boxes = shared.to_send.wait(boxes).unwrap_or_else(PoisonError::into_inner);
        }
        let commands = std::mem::take(&mut boxes.commands);
        let last = boxes.ended || (boxes.closing && commands.is_empty());
        drop(boxes);
        if last {
            return Ok(());
        }
        for command in commands {
            match command {
                Command::Write { stream, piece } => write_piece(writer, stream, &piece)?,
                other => write_message(writer, &Up::Command(other))?,
            }
        }
        writer.flush()?;
    }
}

/// What the contract says about sizes, kept here: the air's process takes a frame beyond them for a foreign protocol.
fn within_contract(command: Command) -> Option<Command> {
    match command {
        Command::Advertise { ref beacon } if beacon.len() > BEACON_SIZE_BYTES => None,
        Command::Send { ref frame, .. } if frame.len() > GATT_FRAME_SIZE_BYTES_MAX => None,
        Command::Write { ref piece, .. } if piece.is_empty() => None,
        Command::Write { stream, ref piece } if piece.len() > STREAM_PIECE_SIZE_BYTES_MAX => {
            Some(Command::CloseStream { stream })
        }
        other => Some(other),
    }
}

impl<L: Link> Radio for RemoteRadio<L> {
    fn command(&mut self, command: Command) {
        let Some(command) = within_contract(command) else {
            return;
        };
        let mut boxes = self.shared.lock();
        if boxes.ended {
            return;
        }
        if boxes.commands.len() >= COMMANDS_MAX {
            drop(boxes);
            self.shared.end();
            return self.link.end();
        }
        boxes.commands.push_back(command);
        self.shared.to_send.notify_one();
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        let mut boxes = self.shared.lock();
        loop {
            if let Some(event) = boxes.events.pop_front() {
                if let Event::Read { piece, .. } = &event {
                    boxes.read_bytes = boxes.read_bytes.saturating_sub(piece.len());
                }
                self.shared.taken.notify_one();
                return Some(event);
            }
            let wait = deadline.saturating_sub(self.clock.now());
            if std::mem::take(&mut boxes.woken) || wait == Duration::ZERO {
                return None;
            }
            boxes = self
                .shared
                .came
                .wait_timeout(boxes, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn waker(&self) -> Waker {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || {
            shared.lock().woken = true;
            shared.came.notify_all();
        })
    }

    fn now(&self) -> Time {
        self.clock.now()
    }
}

impl<L: Link> Drop for RemoteRadio<L> {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.to_send.notify_all();
        // The writer first, so that last words leave; its writes have a deadline. Then the reader has nothing to wait for.
        if let Some(writer) = self.threads.pop() {
            let _ = writer.join();
        }
        self.link.end();
        self.shared.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
