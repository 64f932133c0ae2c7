//! Messages between a radio's process and the air's.
//!
//! `length: u32 LE | body`: a CBOR message ([`Up`] or [`Down`]) of at most [`MESSAGE_SIZE_BYTES_MAX`]. Bytes of streams go
//! elsewhere: a connection to the address in [`Down::Stream`] begins with its token, and all after that is the stream.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use berth_radio::{Command, Event, StreamId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AirError, Done, Order};

/// Version of this protocol; both ends must have the same.
pub const PROTOCOL_VERSION: u16 = 3;

/// Largest message: credentials come in BLE messages of 4 KiB at most, GATT frames are shorter, and the trace comes in
/// parts.
pub(super) const MESSAGE_SIZE_BYTES_MAX: usize = 16 * 1024;

/// Proves that whoever connects for a stream is who was told of it.
pub(super) type Token = [u8; TOKEN_SIZE_BYTES];
pub(super) const TOKEN_SIZE_BYTES: usize = 16;

/// The bytes are not of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A message shorter or longer than any there is.
    #[error("a message of {size_bytes} bytes is not of this protocol")]
    Size {
        /// Its size.
        size_bytes: usize,
    },
    /// A message that does not decode, or is not expected here.
    #[error("a message is not of this protocol")]
    Message,
}

/// To the air's process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Up {
    /// First of all, from a radio.
    Hello { version: u16, name: String },
    /// Only this, from a person.
    Order { version: u16, order: Order },
    /// None of a stream that is open.
    Command(Command),
}

/// From the air's process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Down {
    /// The radio is in the air.
    Welcome,
    /// It is not, or the order was not carried out; and why.
    Refused(String),
    /// None of a stream, but its end.
    Event(Event),
    /// A stream opens when the radio has connected there and sent the token.
    Stream {
        stream: StreamId,
        address: SocketAddr,
        token: Token,
    },
    /// A part of the trace: whole lines.
    Lines(String),
    /// The order was carried out.
    Done(Done),
}

/// Reads one message. `None`: the other end has closed between two of them.
pub(super) fn read_message<M: DeserializeOwned>(reader: &mut impl Read) -> Result<Option<M>, AirError> {
    let mut length = [0; 4];
    if !read_first(reader, &mut length)? {
        return Ok(None);
    }
    let size_bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if !(1..=MESSAGE_SIZE_BYTES_MAX).contains(&size_bytes) {
        return Err(CodecError::Size { size_bytes }.into());
    }
    let mut body = vec![0; size_bytes];
    reader.read_exact(&mut body)?;
    let message = serde_cbor::from_slice(&body).map_err(|_| CodecError::Message)?;
    Ok(Some(message))
}

/// Fills `buffer`; `false` if the stream ends before its first byte.
fn read_first(reader: &mut impl Read, buffer: &mut [u8; 4]) -> io::Result<bool> {
    let [first, rest @ ..] = buffer;
    loop {
        match reader.read(std::slice::from_mut(first)) {
            Ok(0) => return Ok(false),
            Ok(_) => return reader.read_exact(rest).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a message. Nothing is flushed.
pub(super) fn write_message<M: Serialize>(writer: &mut impl Write, message: &M) -> Result<(), AirError> {
    let body = serde_cbor::ser::to_vec_packed(message).map_err(|_| CodecError::Message)?;
    let size_bytes = body.len();
    let length = u32::try_from(size_bytes)
        .ok()
        .filter(|_| size_bytes <= MESSAGE_SIZE_BYTES_MAX)
        .ok_or(CodecError::Size { size_bytes })?;
    writer.write_all(&length.to_le_bytes())?;
    Ok(writer.write_all(&body)?)
}

#[cfg(test)]
mod tests {
    use berth_radio::{Address, ConnId, GroupCredentials};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let credentials = GroupCredentials {
            ssid: "DIRECT-xy".to_owned(),
            passphrase: "p".repeat(63),
            frequency_mhz: 5180,
            endpoint: "[fe80::1]:50000".to_owned(),
            device: Address(0x0200_0000_0001),
        };
        for message in [
            Up::Hello {
                version: 1,
                name: "hub".to_owned(),
            },
            Up::Order {
                version: 1,
                order: Order::Cut("laptop".to_owned()),
            },
            Up::Command(Command::Join { credentials }),
            Up::Command(Command::Send {
                conn: ConnId(7),
                frame: Bytes::from(vec![0xff; 512]),
            }),
            Up::Command(Command::Scan),
        ] {
            let mut bytes = Vec::new();
            write_message(&mut bytes, &message).unwrap();
            assert_eq!(read_message(&mut bytes.as_slice()).unwrap(), Some(message));
        }
        let stream = Down::Stream {
            stream: StreamId(3),
            address: "127.0.0.1:7".parse().unwrap(),
            token: [9; TOKEN_SIZE_BYTES],
        };
        let mut bytes = Vec::new();
        write_message(&mut bytes, &stream).unwrap();
        assert_eq!(read_message(&mut bytes.as_slice()).unwrap(), Some(stream));
        assert!(read_message::<Up>(&mut [].as_slice()).unwrap().is_none());
    }

    #[test]
    fn messages_of_no_kind_are_errors_and_cost_no_memory() {
        let trailing = [&[3, 0, 0, 0][..], b"\xf6\xf6\xf6"].concat();
        for bytes in [
            u32::MAX.to_le_bytes().to_vec(),
            vec![0; 4],
            vec![1, 0, 0, 0, 9],
            [&20_000_u32.to_le_bytes()[..], &[0; 20_000]].concat(),
            trailing,
        ] {
            let error = read_message::<Up>(&mut bytes.as_slice()).unwrap_err();
            assert!(matches!(error, AirError::Codec(_)), "{bytes:02x?}: {error}");
        }
        let cut_off = [9, 0, 0, 0, 1];
        assert!(matches!(
            read_message::<Up>(&mut cut_off.as_slice()),
            Err(AirError::Link(_))
        ));
    }
}
