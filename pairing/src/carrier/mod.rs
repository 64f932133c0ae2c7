//! Messages over GATT frames that may get lost, repeated or swapped: split, numbered, acknowledged, sent again.
//!
//! Place: messages of a handshake or [`crate::Channel`] <-> [`Carrier`] <-> frames of one GATT connection. Both ends run
//! one, from the connection's first frame to its last. It proves nothing: what it carries does.
//! ```text
//! data   flags (0x02, with 0x01: last of its message), number (2), acknowledged (2), piece
//! ack    flags (0x00), acknowledged (2), those after it that are here (4, lowest bit: the next but one)
//! ```
//! Numbers count data frames from 0 and wrap; "acknowledged" is the number of the next frame awaited.
//! Specification: timers are those of RFC 6298 with smaller limits, samples by Karn's rule; a frame that three later
//! ones have overtaken is sent again at once (RFC 5681).
//! Invariant: messages come out whole, in order, once; at most [`WINDOW_FRAMES`] frames are held on either side.

mod error;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use berth_radio::Time;
use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use error::CarrierError;

/// Longest message (DESIGN.md, section 7).
pub const BLE_MESSAGE_SIZE_BYTES_MAX: usize = 4096;

/// Smallest frame to work with: that of the smallest MTU of Bluetooth LE, 23 bytes less 3 of its own.
pub const FRAME_SIZE_BYTES_MIN: usize = 20;

/// Frames under way and frames kept for the right order: a message of 4 KiB at the usual MTU of 185 in one go.
pub const WINDOW_FRAMES: usize = 32;

/// Bytes that wait to be sent; a caller with more than that talks to nobody.
pub const QUEUE_SIZE_BYTES_MAX: usize = 64 * 1024;

/// Without any progress for this long the connection is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

const RETRANSMIT_FIRST: Duration = Duration::from_millis(300);
const RETRANSMIT_MIN: Duration = Duration::from_millis(100);
const RETRANSMIT_MAX: Duration = Duration::from_secs(1);
/// A frame sent again waits twice as long, up to this: frames get lost in the air, not in a queue, so patience only
/// wastes the tries that fit before [`GIVE_UP_AFTER`] (16 of them).
const PATIENCE_MAX: Duration = Duration::from_millis(600);
/// An acknowledgement waits this long for data to travel with, unless somebody waits for it.
const ACK_DELAY: Duration = Duration::from_millis(20);
const ACK_AFTER_FRAMES: u32 = 8;
const OVERTAKEN_BY: usize = 3;

const FLAG_LAST: u8 = 0x01;
const FLAG_DATA: u8 = 0x02;
const DATA_HEADER_SIZE_BYTES: usize = 5;
const ACK_SIZE_BYTES: usize = 7;

/// One end of one GATT connection. After `send`, `receive` and at `next_at`, call `transmit`.
#[derive(Debug)]
pub struct Carrier {
    frame_size_bytes: usize,
    // Sending.
    queue: VecDeque<Piece>,
    queued_size_bytes: usize,
    in_flight: VecDeque<InFlight>,
    oldest: u16,
    progress_at: Time,
    round_trip: Option<RoundTrip>,
    // Receiving.
    awaited: u16,
    /// What came after the awaited frame, by its distance from it.
    early: VecDeque<Option<Piece>>,
    partial: BytesMut,
    unacknowledged: u32,
    ack_at: Option<Time>,
}

#[derive(Debug, Clone)]
struct Piece {
    bytes: Bytes,
    last: bool,
}

#[derive(Debug)]
struct InFlight {
    piece: Piece,
    sent_at: Time,
    due_at: Time,
    times_sent: u32,
    is_there: bool,
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
}

impl Carrier {
    /// An end of a connection whose frames hold `mtu_bytes`.
    ///
    /// # Errors
    /// [`CarrierError::FrameTooSmall`] below [`FRAME_SIZE_BYTES_MIN`].
    pub fn new(mtu_bytes: usize) -> Result<Self, CarrierError> {
        if mtu_bytes < FRAME_SIZE_BYTES_MIN {
            return Err(CarrierError::FrameTooSmall { mtu_bytes });
        }
        Ok(Self {
            frame_size_bytes: mtu_bytes.min(berth_radio::GATT_FRAME_SIZE_BYTES_MAX),
            queue: VecDeque::new(),
            queued_size_bytes: 0,
            in_flight: VecDeque::new(),
            oldest: 0,
            progress_at: Time::ZERO,
            round_trip: None,
            awaited: 0,
            early: VecDeque::new(),
            partial: BytesMut::new(),
            unacknowledged: 0,
            ack_at: None,
        })
    }

    /// Queues a message of at most [`BLE_MESSAGE_SIZE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`CarrierError::TooLong`], [`CarrierError::Full`]: nothing was queued.
    pub fn send(&mut self, message: Bytes) -> Result<(), CarrierError> {
        if message.len() > BLE_MESSAGE_SIZE_BYTES_MAX {
            return Err(CarrierError::TooLong);
        }
        if self.queued_size_bytes + message.len() > QUEUE_SIZE_BYTES_MAX {
            return Err(CarrierError::Full);
        }
        self.queued_size_bytes += message.len();
        let room = self.frame_size_bytes - DATA_HEADER_SIZE_BYTES;
        let mut rest = message;
        loop {
            let bytes = rest.split_to(rest.len().min(room));
            let last = rest.is_empty();
            self.queue.push_back(Piece { bytes, last });
            if last {
                return Ok(());
            }
        }
    }

    /// Takes a frame; appends the messages that are whole now. A frame that makes no sense, or came before, is dropped.
    ///
    /// # Errors
    /// [`CarrierError::TooLong`]: the peer's message exceeds the limit; close the connection.
    pub fn receive(
        &mut self,
        now: Time,
        frame: Bytes,
        messages: &mut Vec<Bytes>,
    ) -> Result<(), CarrierError> {
        let mut rest = frame;
        if rest.len() < DATA_HEADER_SIZE_BYTES {
            return Ok(());
        }
        match rest.get_u8() {
            0 if rest.len() == ACK_SIZE_BYTES - 1 => {
                let (acknowledged, others) = (rest.get_u16(), rest.get_u32());
                self.acknowledged(now, acknowledged, others);
                Ok(())
            }
            flags @ (FLAG_DATA | 0x03) => {
                let (number, acknowledged) = (rest.get_u16(), rest.get_u16());
                self.acknowledged(now, acknowledged, 0);
                let last = flags & FLAG_LAST != 0;
                self.data(now, number, Piece { bytes: rest, last }, messages)
            }
            _ => Ok(()),
        }
    }

    /// Appends the frames that are to be sent now.
    ///
    /// # Errors
    /// [`CarrierError::Lost`]: the peer is gone; close the connection.
    pub fn transmit(&mut self, now: Time, frames: &mut Vec<Bytes>) -> Result<(), CarrierError> {
        if !self.in_flight.is_empty() && now >= self.progress_at + GIVE_UP_AFTER {
            return Err(CarrierError::Lost);
        }
        let mut sent_data = self.send_again(now, frames);
        while self.in_flight.len() < WINDOW_FRAMES
            && let Some(piece) = self.queue.pop_front()
        {
            self.queued_size_bytes -= piece.bytes.len();
            if self.in_flight.is_empty() {
                self.progress_at = now;
            }
            frames.push(self.data_frame(self.in_flight.len(), &piece));
            self.in_flight.push_back(InFlight {
                piece,
                sent_at: now,
                due_at: now + self.retransmit_after(),
                times_sent: 1,
                is_there: false,
            });
            sent_data = true;
        }
        if sent_data && self.early.is_empty() {
            self.ack_at = None;
            self.unacknowledged = 0;
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            frames.push(self.ack_frame());
            self.ack_at = None;
            self.unacknowledged = 0;
        }
        Ok(())
    }

    /// When to call [`Carrier::transmit`] next, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let give_up = (!self.in_flight.is_empty()).then(|| self.progress_at + GIVE_UP_AFTER);
        self.in_flight
            .iter()
            .filter(|frame| !frame.is_there)
            .map(|frame| frame.due_at)
            .chain(self.ack_at)
            .chain(give_up)
            .min()
    }

    /// Everything that was sent has arrived.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    fn send_again(&mut self, now: Time, frames: &mut Vec<Bytes>) -> bool {
        let base = self.retransmit_after();
        let wait = (2 * base).min(PATIENCE_MAX.max(base));
        let mut any = false;
        for place in 0..self.in_flight.len() {
            let Some(frame) = self.in_flight.get_mut(place) else {
                break;
            };
            if frame.is_there || frame.due_at > now {
                continue;
            }
            frame.times_sent = frame.times_sent.saturating_add(1);
            frame.sent_at = now;
            frame.due_at = now + wait;
            let piece = frame.piece.clone();
            frames.push(self.data_frame(place, &piece));
            any = true;
        }
        any
    }

    fn data_frame(&self, place: usize, piece: &Piece) -> Bytes {
        let place = u16::try_from(place).expect("a place within the window");
        let mut frame = BytesMut::with_capacity(DATA_HEADER_SIZE_BYTES + piece.bytes.len());
        frame.put_u8(FLAG_DATA | if piece.last { FLAG_LAST } else { 0 });
        frame.put_u16(self.oldest.wrapping_add(place));
        frame.put_u16(self.awaited);
        frame.put_slice(&piece.bytes);
        frame.freeze()
    }

    fn ack_frame(&self) -> Bytes {
        // `early[0]` is the awaited frame itself, which is never there.
        let here = self.early.iter().skip(1).enumerate();
        let others = here.fold(0_u32, |bits, (place, piece)| {
            bits | u32::from(piece.is_some()) << place
        });
        let mut frame = BytesMut::with_capacity(ACK_SIZE_BYTES);
        frame.put_u8(0);
        frame.put_u16(self.awaited);
        frame.put_u32(others);
        frame.freeze()
    }

    fn acknowledged(&mut self, now: Time, next: u16, others: u32) {
        let count = usize::from(next.wrapping_sub(self.oldest));
        // Otherwise it is older than what we know, or nonsense.
        if count > self.in_flight.len() {
            return;
        }
        let mut sample = None;
        for frame in self.in_flight.drain(..count) {
            if frame.times_sent == 1 && !frame.is_there {
                sample = Some(now.saturating_sub(frame.sent_at));
            }
        }
        self.oldest = next;
        let mut progress = count > 0;
        let mut there_behind = 0;
        for (place, frame) in self.in_flight.iter_mut().enumerate().rev() {
            let bit = place
                .checked_sub(1)
                .map_or(0, |place| others.checked_shr(place as u32).unwrap_or(0) & 1);
            if bit == 1 && !frame.is_there {
                frame.is_there = true;
                progress = true;
                if frame.times_sent == 1 {
                    sample = sample.or(Some(now.saturating_sub(frame.sent_at)));
                }
            }
            if frame.is_there {
                there_behind += 1;
            } else if there_behind >= OVERTAKEN_BY && frame.times_sent == 1 {
                frame.due_at = frame.due_at.min(now);
            }
        }
        if let Some(sample) = sample {
            self.round_trip = Some(RoundTrip::with(self.round_trip, sample));
        }
        if progress {
            self.progress_at = now;
        }
    }

    fn data(
        &mut self,
        now: Time,
        number: u16,
        piece: Piece,
        messages: &mut Vec<Bytes>,
    ) -> Result<(), CarrierError> {
        let distance = usize::from(number.wrapping_sub(self.awaited));
        if distance >= WINDOW_FRAMES {
            // Came before (its acknowledgement was lost), or too early to keep: say again what is awaited.
            self.ack_at = Some(now);
            return Ok(());
        }
        while self.early.len() <= distance {
            self.early.push_back(None);
        }
        let is_last = piece.last;
        let Some(slot) = self.early.get_mut(distance) else {
            return Ok(());
        };
        let came_before = slot.replace(piece).is_some();
        while let Some(Some(_)) = self.early.front() {
            let Some(Some(piece)) = self.early.pop_front() else {
                break;
            };
            self.awaited = self.awaited.wrapping_add(1);
            if self.partial.len() + piece.bytes.len() > BLE_MESSAGE_SIZE_BYTES_MAX {
                return Err(CarrierError::TooLong);
            }
            if piece.last && self.partial.is_empty() {
                messages.push(piece.bytes);
            } else {
                self.partial.put_slice(&piece.bytes);
                if piece.last {
                    messages.push(self.partial.split().freeze());
                }
            }
        }
        self.unacknowledged += 1;
        let at_once =
            came_before || is_last || !self.early.is_empty() || self.unacknowledged >= ACK_AFTER_FRAMES;
        let ack_at = if at_once { now } else { now + ACK_DELAY };
        self.ack_at = Some(self.ack_at.map_or(ack_at, |at| at.min(ack_at)));
        Ok(())
    }

    fn retransmit_after(&self) -> Duration {
        self.round_trip.map_or(RETRANSMIT_FIRST, |round_trip| {
            (round_trip.smoothed + 4 * round_trip.variation).clamp(RETRANSMIT_MIN, RETRANSMIT_MAX)
        })
    }
}

impl RoundTrip {
    /// RFC 6298, section 2.
    fn with(before: Option<Self>, sample: Duration) -> Self {
        match before {
            None => Self {
                smoothed: sample,
                variation: sample / 2,
            },
            Some(before) => Self {
                smoothed: before.smoothed * 7 / 8 + sample / 8,
                variation: before.variation * 3 / 4 + before.smoothed.abs_diff(sample) / 4,
            },
        }
    }
}
