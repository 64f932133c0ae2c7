//! The secured link: frames of at most [`FRAME_SIZE_BYTES_MAX`] bytes over a stream of the radio.
//!
//! Invariant: at most [`STREAM_WINDOW_BYTES`] in [`STREAM_WINDOW_PIECES`] pieces are handed to the radio and not drained yet.

use std::collections::VecDeque;

use berth_pairing::{Channel, ChannelError, MESSAGE_SIZE_BYTES_MAX, PLAIN_SIZE_BYTES_MAX, Receiver, Sender};
use berth_radio::{Command, STREAM_WINDOW_BYTES, STREAM_WINDOW_PIECES, StreamId};
use bytes::{Bytes, BytesMut};

/// Largest frame: what one Noise message holds.
pub const FRAME_SIZE_BYTES_MAX: usize = PLAIN_SIZE_BYTES_MAX;

/// Length field before each message (Noise specification, section 13).
const LENGTH_SIZE_BYTES: usize = 2;

/// Largest frame, sealed, with its length.
const PIECE_SIZE_BYTES_MAX: usize = LENGTH_SIZE_BYTES + MESSAGE_SIZE_BYTES_MAX;

/// One end of a link.
pub(crate) struct Link {
    pub(crate) stream: StreamId,
    sender: Sender,
    receiver: Receiver,
    arrived: BytesMut,
    /// Sizes of the pieces that the radio has and has not drained, oldest first.
    undrained: VecDeque<usize>,
    undrained_bytes: usize,
}

impl Link {
    /// `arrived`: what came on the stream after the handshake's last message.
    pub(crate) fn new(stream: StreamId, channel: Channel, arrived: BytesMut) -> Self {
        let (sender, receiver) = channel.split();
        Self {
            stream,
            sender,
            receiver,
            arrived,
            undrained: VecDeque::new(),
            undrained_bytes: 0,
        }
    }

    /// Seals one frame into a command for the radio.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Result<Command, ChannelError> {
        let mut piece = BytesMut::with_capacity(LENGTH_SIZE_BYTES + frame.len() + 16);
        self.sender.seal_framed(frame, &mut piece)?;
        self.undrained.push_back(piece.len());
        self.undrained_bytes += piece.len();
        Ok(Command::Write {
            stream: self.stream,
            piece: piece.freeze(),
        })
    }

    /// The last, empty frame: "I leave". `None` where the radio takes nothing more.
    pub(crate) fn farewell(&mut self) -> Option<Command> {
        (self.room() > 0).then(|| self.send(&[]).ok()).flatten()
    }

    /// Bytes of whole frames that may be sent now; 0 where the largest frame would not fit.
    pub(crate) fn room(&self) -> usize {
        let room = STREAM_WINDOW_BYTES.saturating_sub(self.undrained_bytes);
        if room < PIECE_SIZE_BYTES_MAX || self.undrained.len() >= STREAM_WINDOW_PIECES {
            0
        } else {
            room
        }
    }

    pub(crate) fn drained(&mut self, bytes: usize) {
        self.undrained_bytes = self.undrained_bytes.saturating_sub(bytes);
        let mut rest = bytes;
        while let Some(oldest) = self.undrained.front_mut() {
            if *oldest > rest {
                *oldest -= rest;
                return;
            }
            rest -= *oldest;
            self.undrained.pop_front();
        }
    }

    /// Takes what arrived; gives each whole frame to `out`.
    pub(crate) fn arrived(&mut self, piece: &[u8], mut out: impl FnMut(Bytes)) -> Result<(), ChannelError> {
        self.arrived.extend_from_slice(piece);
        while let Some(frame) = self.receiver.open_framed(&mut self.arrived)? {
            out(frame.freeze());
        }
        Ok(())
    }
}

/// Puts its length before a message of a handshake.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u16::try_from(message.len()).expect("a handshake message is far below 64 KiB");
    let mut piece = BytesMut::with_capacity(LENGTH_SIZE_BYTES + message.len());
    piece.extend_from_slice(&length.to_be_bytes());
    piece.extend_from_slice(message);
    piece.freeze()
}

/// Takes the next message of a handshake off a stream, once it is whole; what came behind it stays. `Err`: it will never
/// be one.
pub(crate) fn first_message(arrived: &mut BytesMut) -> Result<Option<Bytes>, ChannelError> {
    let Some(length) = arrived.first_chunk::<LENGTH_SIZE_BYTES>() else {
        return Ok(None);
    };
    let size_bytes = usize::from(u16::from_be_bytes(*length));
    if size_bytes > HANDSHAKE_SIZE_BYTES_MAX {
        return Err(ChannelError::TooLong { size_bytes });
    }
    if arrived.len() < LENGTH_SIZE_BYTES + size_bytes {
        return Ok(None);
    }
    let mut message = arrived.split_to(LENGTH_SIZE_BYTES + size_bytes).freeze();
    Ok(Some(message.split_off(LENGTH_SIZE_BYTES)))
}

/// The same on the hub, where a piece ends with its message: whoever is not proved waits for the answer to what it said.
/// `arrived` never holds more than one message.
pub(crate) fn next_message(arrived: &mut BytesMut, piece: &[u8]) -> Result<Option<Bytes>, ChannelError> {
    let size_bytes = arrived.len() + piece.len();
    if size_bytes > LENGTH_SIZE_BYTES + HANDSHAKE_SIZE_BYTES_MAX {
        return Err(ChannelError::TooLong { size_bytes });
    }
    arrived.extend_from_slice(piece);
    let message = first_message(arrived)?;
    if message.is_some() && !arrived.is_empty() {
        return Err(ChannelError::TooLong { size_bytes });
    }
    Ok(message)
}

/// Longest message of a handshake on a stream. The longest there is, a pairing's second one, has 323 bytes with the
/// longest name; what is longer comes from somebody else.
pub(crate) const HANDSHAKE_SIZE_BYTES_MAX: usize = 512;
