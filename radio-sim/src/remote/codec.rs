//! Frames between a radio's process and the air's.
//!
//! `length: u32 LE | tag: u8 | body`, `length` counting tag and body. Tag 0: a CBOR message ([`Up`] or [`Down`]) of at
//! most [`MESSAGE_SIZE_BYTES_MAX`]. Tag 1: stream number u32 LE, then a piece as it is: `Write` upwards, `Read`
//! downwards. Pieces are not copied on reading.

use std::io::{self, Read, Write};

use berth_radio::{Command, Event, STREAM_PIECE_SIZE_BYTES_MAX, StreamId};
use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of this protocol; both ends must have the same.
pub const PROTOCOL_VERSION: u16 = 1;

/// Largest CBOR message: credentials come in BLE messages of 4 KiB at most, GATT frames are shorter.
const MESSAGE_SIZE_BYTES_MAX: usize = 16 * 1024;

const TAG_MESSAGE: u8 = 0;
const TAG_PIECE: u8 = 1;
const PIECE_HEADER_SIZE_BYTES: usize = 1 + 4;

/// The bytes are not of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A frame shorter or longer than any there is, or of no known kind.
    #[error("a frame of {size_bytes} bytes is not of this protocol")]
    Frame {
        /// Its size.
        size_bytes: usize,
    },
    /// A message that does not decode, or is not expected here.
    #[error("a message is not of this protocol")]
    Message,
}

/// From a radio's process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Up {
    /// First of all.
    Hello { version: u16, name: String },
    /// Not `Write`.
    Command(Command),
}

/// From the air's process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Down {
    /// The radio is in the air.
    Welcome,
    /// It is not, and why.
    Refused(String),
    /// Not `Read`.
    Event(Event),
}

/// A frame, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<M> {
    Message(M),
    Piece { stream: StreamId, piece: Bytes },
}

/// Reads one frame. `None`: the other end has closed between two frames.
pub(super) fn read_frame<M: DeserializeOwned>(
    reader: &mut impl Read,
) -> Result<Option<Frame<M>>, super::RemoteError> {
    let mut length = [0; 4];
    if !read_first(reader, &mut length)? {
        return Ok(None);
    }
    let size_bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if size_bytes == 0 || size_bytes > PIECE_HEADER_SIZE_BYTES + STREAM_PIECE_SIZE_BYTES_MAX {
        return Err(CodecError::Frame { size_bytes }.into());
    }
    let mut body = vec![0; size_bytes];
    reader.read_exact(&mut body)?;
    Ok(Some(decode(Bytes::from(body))?))
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

fn decode<M: DeserializeOwned>(mut body: Bytes) -> Result<Frame<M>, CodecError> {
    let size_bytes = body.len();
    match body.first() {
        Some(&TAG_MESSAGE) if size_bytes <= 1 + MESSAGE_SIZE_BYTES_MAX => {
            body.advance(1);
            serde_cbor::from_slice(&body)
                .map(Frame::Message)
                .map_err(|_| CodecError::Message)
        }
        Some(&TAG_PIECE) if size_bytes > PIECE_HEADER_SIZE_BYTES => {
            body.advance(1);
            let stream = StreamId(body.get_u32_le());
            Ok(Frame::Piece { stream, piece: body })
        }
        Some(_) | None => Err(CodecError::Frame { size_bytes }),
    }
}

/// Writes a message. Nothing is flushed.
pub(super) fn write_message<M: Serialize>(
    writer: &mut impl Write,
    message: &M,
) -> Result<(), super::RemoteError> {
    let body = serde_cbor::ser::to_vec_packed(message).map_err(|_| CodecError::Message)?;
    if body.len() > MESSAGE_SIZE_BYTES_MAX {
        return Err(CodecError::Frame {
            size_bytes: body.len(),
        }
        .into());
    }
    write_head(writer, 1 + body.len(), TAG_MESSAGE)?;
    Ok(writer.write_all(&body)?)
}

/// Writes a piece. Nothing is flushed.
pub(super) fn write_piece(
    writer: &mut impl Write,
    stream: StreamId,
    piece: &[u8],
) -> Result<(), super::RemoteError> {
    let size_bytes = PIECE_HEADER_SIZE_BYTES + piece.len();
    if piece.is_empty() || piece.len() > STREAM_PIECE_SIZE_BYTES_MAX {
        return Err(CodecError::Frame { size_bytes }.into());
    }
    write_head(writer, size_bytes, TAG_PIECE)?;
    writer.write_all(&stream.0.to_le_bytes())?;
    Ok(writer.write_all(piece)?)
}

fn write_head(writer: &mut impl Write, size_bytes: usize, tag: u8) -> Result<(), super::RemoteError> {
    let length = u32::try_from(size_bytes).map_err(|_| CodecError::Frame { size_bytes })?;
    writer.write_all(&length.to_le_bytes())?;
    Ok(writer.write_all(&[tag])?)
}

#[cfg(test)]
mod tests {
    use berth_radio::{ConnId, GroupCredentials};

    use super::*;
    use crate::RemoteError;

    fn round_trip(message: &Up) -> Frame<Up> {
        let mut bytes = Vec::new();
        write_message(&mut bytes, message).unwrap();
        read_frame(&mut bytes.as_slice()).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let credentials = GroupCredentials {
            ssid: "DIRECT-xy".to_owned(),
            passphrase: "p".repeat(63),
            frequency_mhz: 5180,
            endpoint: "[fe80::1]:50000".to_owned(),
        };
        for message in [
            Up::Hello {
                version: 1,
                name: "hub".to_owned(),
            },
            Up::Command(Command::Join { credentials }),
            Up::Command(Command::Send {
                conn: ConnId(7),
                frame: Bytes::from(vec![0xff; 512]),
            }),
            Up::Command(Command::Scan),
        ] {
            assert_eq!(round_trip(&message), Frame::Message(message));
        }
        let mut bytes = Vec::new();
        write_piece(&mut bytes, StreamId(3), b"piece").unwrap();
        let read = read_frame::<Up>(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(
            read,
            Frame::Piece {
                stream: StreamId(3),
                piece: Bytes::from_static(b"piece")
            }
        );
        assert!(read_frame::<Up>(&mut [].as_slice()).unwrap().is_none());
    }

    #[test]
    fn frames_of_no_kind_are_errors_and_cost_no_memory() {
        let mut huge = u32::MAX.to_le_bytes().to_vec();
        huge.push(TAG_PIECE);
        let message_too_long = [&20_000_u32.to_le_bytes()[..], &vec![TAG_MESSAGE; 20_000]].concat();
        let trailing = [&[4, 0, 0, 0, TAG_MESSAGE][..], b"\xf6\xf6\xf6"].concat();
        for bytes in [
            huge,
            vec![0; 4],
            vec![1, 0, 0, 0, 9],
            message_too_long,
            trailing,
            vec![5, 0, 0, 0, 1, 0, 0, 0, 0],
        ] {
            let error = read_frame::<Up>(&mut bytes.as_slice()).unwrap_err();
            assert!(matches!(error, RemoteError::Codec(_)), "{bytes:02x?}: {error}");
        }
        let cut_off = [9, 0, 0, 0, TAG_PIECE];
        assert!(matches!(
            read_frame::<Up>(&mut cut_off.as_slice()),
            Err(RemoteError::Link(_))
        ));
    }
}
