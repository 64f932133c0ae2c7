//! Frames and the CBOR in them.
//!
//! A frame is the plaintext of one Noise message: a tag byte and a body. `0`: a piece of a control message, more
//! follows; `1`: its last piece; `2`: bytes of an upload (upload's set u64 LE, number u32 LE, then the bytes).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{SetSeq, UploadId};

/// Largest frame: a Noise message of 65,535 bytes less its tag of 16 (Noise specification, section 3).
pub const FRAME_SIZE_BYTES_MAX: usize = 65_535 - 16;

/// Bytes of an upload in one frame.
pub const DATA_SIZE_BYTES_MAX: usize = FRAME_SIZE_BYTES_MAX - DATA_HEADER_SIZE_BYTES;

/// Largest control message: bounds what one peer can make the other keep.
pub const CONTROL_SIZE_BYTES_MAX: usize = 1024 * 1024;

const DATA_HEADER_SIZE_BYTES: usize = 1 + 8 + 4;
const TAG_MORE: u8 = 0;
const TAG_LAST: u8 = 1;
const TAG_DATA: u8 = 2;

/// What came in is not of this protocol. The visit ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A frame too short, too long, or of no known kind.
    #[error("a frame of {size_bytes} bytes is not of this protocol")]
    Frame {
        /// Its size.
        size_bytes: usize,
    },
    /// Over [`CONTROL_SIZE_BYTES_MAX`].
    #[error("a control message is over {CONTROL_SIZE_BYTES_MAX} bytes")]
    TooLong,
    /// Not the CBOR of a message.
    #[error("a control message does not decode")]
    Cbor,
}

/// One decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<M> {
    /// A whole control message.
    Control(M),
    /// Bytes of an upload.
    Data {
        /// Which.
        upload: UploadId,
        /// At least one, at most [`DATA_SIZE_BYTES_MAX`].
        bytes: Bytes,
    },
}

/// Encodes one value as CBOR (RFC 8949).
///
/// # Errors
/// [`CodecError::TooLong`] over [`CONTROL_SIZE_BYTES_MAX`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = serde_cbor::ser::to_vec_packed(value).map_err(|_| CodecError::Cbor)?;
    if bytes.len() > CONTROL_SIZE_BYTES_MAX {
        Err(CodecError::TooLong)
    } else {
        Ok(bytes)
    }
}

/// Decodes exactly one value; trailing bytes are an error.
///
/// # Errors
/// [`CodecError::TooLong`], [`CodecError::Cbor`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > CONTROL_SIZE_BYTES_MAX {
        return Err(CodecError::TooLong);
    }
    serde_cbor::from_slice(bytes).map_err(|_| CodecError::Cbor)
}

/// Splits one control message into frames.
///
/// # Errors
/// [`CodecError::TooLong`].
pub fn control_frames<M: Serialize>(message: &M) -> Result<Vec<Bytes>, CodecError> {
    let bytes = encode(message)?;
    let pieces = bytes.chunks(FRAME_SIZE_BYTES_MAX - 1);
    let last = pieces.len().saturating_sub(1);
    Ok(pieces
        .enumerate()
        .map(|(at, piece)| {
            let mut frame = BytesMut::with_capacity(1 + piece.len());
            frame.put_u8(if at == last { TAG_LAST } else { TAG_MORE });
            frame.put_slice(piece);
            frame.freeze()
        })
        .collect())
}

/// One frame of upload bytes. At most [`DATA_SIZE_BYTES_MAX`] bytes are taken.
#[must_use]
pub fn data_frame(upload: UploadId, bytes: &[u8]) -> Bytes {
    let bytes = bytes.get(..DATA_SIZE_BYTES_MAX).unwrap_or(bytes);
    let mut frame = BytesMut::with_capacity(DATA_HEADER_SIZE_BYTES + bytes.len());
    frame.put_u8(TAG_DATA);
    frame.put_u64_le(upload.set.0);
    frame.put_u32_le(upload.number);
    frame.put_slice(bytes);
    frame.freeze()
}

/// Puts frames back together. Holds at most [`CONTROL_SIZE_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    pieces: BytesMut,
}

impl Decoder {
    /// Takes one frame. `None`: a control message has begun and is not whole yet.
    ///
    /// # Errors
    /// After any error the decoder is empty again, and the visit should end.
    pub fn frame<M: DeserializeOwned>(&mut self, frame: Bytes) -> Result<Option<Frame<M>>, CodecError> {
        let size_bytes = frame.len();
        let wrong = CodecError::Frame { size_bytes };
        match frame.first().copied() {
            _ if size_bytes > FRAME_SIZE_BYTES_MAX => Err(wrong),
            Some(tag @ (TAG_MORE | TAG_LAST)) => self.control(tag, &frame.slice(1..)),
            Some(TAG_DATA) if size_bytes > DATA_HEADER_SIZE_BYTES => {
                let mut bytes = frame;
                bytes.advance(1);
                let upload = UploadId {
                    set: SetSeq(bytes.get_u64_le()),
                    number: bytes.get_u32_le(),
                };
                Ok(Some(Frame::Data { upload, bytes }))
            }
            Some(_) | None => Err(wrong),
        }
    }

    fn control<M: DeserializeOwned>(
        &mut self,
        tag: u8,
        piece: &[u8],
    ) -> Result<Option<Frame<M>>, CodecError> {
        if self.pieces.len() + piece.len() > CONTROL_SIZE_BYTES_MAX {
            self.pieces.clear();
            return Err(CodecError::TooLong);
        }
        self.pieces.put_slice(piece);
        if tag == TAG_MORE {
            return Ok(None);
        }
        let message = decode(&self.pieces.split())?;
        Ok(Some(Frame::Control(message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mark, ToHub, ToLaptop};

    fn whole(frames: Vec<Bytes>) -> Frame<ToHub> {
        let mut decoder = Decoder::default();
        let mut found = None;
        for frame in frames {
            assert!(found.is_none());
            found = decoder.frame(frame).unwrap();
        }
        found.unwrap()
    }

    #[test]
    fn a_message_longer_than_a_frame_comes_back_whole() {
        let message = ToHub::Salvage {
            upload: UploadId {
                set: SetSeq(7),
                number: 1,
            },
            length: 9,
            digest: berth_repository::Id::of(b"x"),
            header: vec![7; 300_000],
        };
        let frames = control_frames(&message).unwrap();
        assert_eq!(frames.len(), 5);
        assert_eq!(whole(frames), Frame::Control(message));
    }

    #[test]
    fn data_comes_back_with_its_upload() {
        let upload = UploadId {
            set: SetSeq(1 << 40),
            number: 3,
        };
        assert_eq!(
            whole(vec![data_frame(upload, b"abc")]),
            Frame::Data {
                upload,
                bytes: Bytes::from("abc")
            }
        );
    }

    #[test]
    fn frames_that_are_not_ours_are_refused_and_nothing_is_kept() {
        let mut decoder = Decoder::default();
        for frame in [
            &b""[..],
            b"\x03abc",
            b"\x02",
            b"\x02123456789012",
            b"\x01\xff",
            &[0; FRAME_SIZE_BYTES_MAX + 1],
        ] {
            assert!(
                decoder.frame::<ToHub>(Bytes::copy_from_slice(frame)).is_err(),
                "{:?}",
                frame.first()
            );
        }
        let mut trailing = control_frames(&ToHub::KeepAlive).unwrap().remove(0).to_vec();
        trailing.push(0);
        assert_eq!(decoder.frame::<ToHub>(trailing.into()), Err(CodecError::Cbor));
    }

    #[test]
    fn an_endless_control_message_is_cut_off() {
        let mut decoder = Decoder::default();
        let piece = Bytes::from(vec![0; FRAME_SIZE_BYTES_MAX]);
        let error = (0..20).find_map(|_| decoder.frame::<ToHub>(piece.clone()).err());
        assert_eq!(error, Some(CodecError::TooLong));
        let next = control_frames(&ToHub::Flush { mark: Mark(1) }).unwrap().remove(0);
        assert_eq!(
            decoder.frame(next),
            Ok(Some(Frame::Control(ToHub::Flush { mark: Mark(1) })))
        );
    }

    /// `ToLaptop` as hubs and laptops had it before `Welcome` said whether the hub is full.
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    enum Before {
        Welcome {
            protocol: u16,
            set: SetSeq,
            last: Option<crate::SetRef>,
            repository: Option<berth_repository::Id>,
            tails: Vec<crate::Tail>,
            room_bytes: u64,
            receipts: Vec<crate::Signed>,
        },
    }

    #[test]
    fn a_welcome_of_either_side_of_the_field_full_is_understood_by_the_other() {
        let full = crate::Full {
            is_quota: false,
            waiting_bytes: 12_000_000_000,
            waiting_since_ns: Some(7),
            has_upstream: true,
        };
        let welcome = |full, reclaimed| ToLaptop::Welcome {
            protocol: 1,
            set: SetSeq(9),
            last: None,
            repository: None,
            tails: Vec::new(),
            room_bytes: 5,
            receipts: Vec::new(),
            full,
            reclaimed,
        };
        let before = Before::Welcome {
            protocol: 1,
            set: SetSeq(9),
            last: None,
            repository: None,
            tails: Vec::new(),
            room_bytes: 5,
            receipts: Vec::new(),
        };
        let now = welcome(Some(full), true);
        assert_eq!(decode::<ToLaptop>(&encode(&now).unwrap()).as_ref(), Ok(&now));
        assert_eq!(decode::<Before>(&encode(&now).unwrap()).as_ref(), Ok(&before));
        assert_eq!(decode(&encode(&before).unwrap()), Ok(welcome(None, false)));
    }

    #[test]
    fn every_answer_survives_the_wire() {
        let answer = ToLaptop::Fetched {
            bytes: Bytes::from_static(b"xyz"),
            object_length: 3,
        };
        assert_eq!(decode::<ToLaptop>(&encode(&answer).unwrap()), Ok(answer));
    }
}
