//! The air's end of one connection.

use std::io::{self, BufWriter, Read, Write};
use std::thread;
use std::time::Duration;

use berth_radio::{Command, Event, Time};

use super::codec::{Down, Frame, PROTOCOL_VERSION, Up, read_frame, write_message, write_piece};
use super::{CodecError, LINK_WAIT_MAX, Link, RemoteError};
use crate::{PortId, SharedAir};

/// Several pieces go to the operating system at once.
const WRITE_BUFFER_SIZE_BYTES: usize = 256 * 1024;

/// Gives the peer at the other end of `link` a radio in this air, until it goes. Call it on a thread of its own: it
/// returns when the connection has ended, and the radio is out of the air then.
///
/// The peer has [`LINK_WAIT_MAX`] for its first message, and each of its messages must be small; it may take its
/// events as slowly as it likes as long as it takes some within that time.
///
/// # Errors
/// Why it ended, unless the peer just closed the connection.
pub fn serve(air: &SharedAir, link: impl Link) -> Result<(), RemoteError> {
    let ended = serve_link(air, &link);
    link.end();
    ended
}

fn serve_link(air: &SharedAir, link: &impl Link) -> Result<(), RemoteError> {
    let (mut reader, writer) = link.halves()?;
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER_SIZE_BYTES, writer);
    link.deadlines(Some(LINK_WAIT_MAX), LINK_WAIT_MAX)?;
    let port = match admit(air, &mut reader) {
        Ok(port) => port,
        Err(error) => {
            write_message(&mut writer, &Down::Refused(error.to_string()))?;
            writer.flush()?;
            return Err(error);
        }
    };
    thread::scope(|scope| {
        let events = scope.spawn(|| {
            let ended = pump_events(air, port, &mut writer);
            link.end();
            ended
        });
        let commands = link
            .deadlines(None, LINK_WAIT_MAX)
            .map_err(RemoteError::from)
            .and_then(|()| pump_commands(air, port, &mut reader));
        // Wakes the other thread.
        air.detach(port);
        match (events.join(), commands) {
            (Err(_), _) => Err(io::Error::other("the event pump panicked").into()),
            // A connection that breaks under a write is a peer that has gone; one that takes nothing is not.
            (Ok(Err(RemoteError::Link(error))), Ok(())) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(())
            }
            (Ok(Err(error)), Ok(())) => Err(error),
            (Ok(_), ended) => ended,
        }
    })
}

fn admit(air: &SharedAir, reader: &mut impl Read) -> Result<PortId, RemoteError> {
    match read_frame(reader)? {
        Some(Frame::Message(Up::Hello {
            version: PROTOCOL_VERSION,
            name,
        })) => air
            .attach(&name)
            .map_err(|error| RemoteError::Refused(error.to_string())),
        Some(Frame::Message(Up::Hello { version, .. })) => Err(RemoteError::Refused(format!(
            "it speaks version {version}, not {PROTOCOL_VERSION}"
        ))),
        Some(Frame::Message(Up::Command(_)) | Frame::Piece { .. }) | None => Err(CodecError::Message.into()),
    }
}

fn pump_commands(air: &SharedAir, port: PortId, reader: &mut impl Read) -> Result<(), RemoteError> {
    while let Some(frame) = read_frame(reader)? {
        match frame {
            Frame::Message(Up::Command(command)) => air.command(port, command),
            Frame::Piece { stream, piece } => air.command(port, Command::Write { stream, piece }),
            Frame::Message(Up::Hello { .. }) => return Err(CodecError::Message.into()),
        }
    }
    Ok(())
}

/// Until the port is detached or the peer takes nothing any more.
fn pump_events(air: &SharedAir, port: PortId, writer: &mut impl Write) -> Result<(), RemoteError> {
    write_message(writer, &Down::Welcome)?;
    writer.flush()?;
    while air.is_attached(port) {
        let mut next = air.event(port, air.now().saturating_add(Duration::from_secs(3600)));
        while let Some(event) = next {
            match event {
                Event::Read { stream, piece } => write_piece(writer, stream, &piece)?,
                other => write_message(writer, &Down::Event(other))?,
            }
            next = air.event(port, Time::ZERO);
        }
        writer.flush()?;
    }
    Ok(())
}
