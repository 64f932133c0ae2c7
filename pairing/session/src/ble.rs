//! One GATT connection: its carrier, and the session's channel once the handshake is done.

use berth_pairing::{Carrier, CarrierError, Channel, ChannelError};
use berth_radio::{Command, ConnId, Time};
use bytes::Bytes;
use serde::Serialize;

use crate::control;

/// Messages of one connection, in the clear during a handshake, sealed after it.
pub(crate) struct Ble {
    pub(crate) conn: ConnId,
    carrier: Carrier,
    channel: Option<Channel>,
    heard_at: Time,
    said_at: Time,
}

/// The connection is of no use any more.
#[derive(Debug)]
pub(crate) struct Broken;

impl From<CarrierError> for Broken {
    fn from(_: CarrierError) -> Self {
        Self
    }
}

impl From<ChannelError> for Broken {
    fn from(_: ChannelError) -> Self {
        Self
    }
}

impl Ble {
    pub(crate) fn new(now: Time, conn: ConnId, mtu_bytes: usize) -> Result<Self, Broken> {
        Ok(Self {
            conn,
            carrier: Carrier::new(mtu_bytes)?,
            channel: None,
            heard_at: now,
            said_at: now,
        })
    }

    /// From here on messages are sealed.
    pub(crate) fn secure(&mut self, channel: Channel) {
        self.channel = Some(channel);
    }

    pub(crate) const fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Queues a message of a handshake.
    pub(crate) fn send(&mut self, message: Bytes) -> Result<(), Broken> {
        Ok(self.carrier.send(message)?)
    }

    /// Queues a sealed control message.
    pub(crate) fn say<M: Serialize>(&mut self, now: Time, message: &M) -> Result<(), Broken> {
        let channel = self.channel.as_mut().ok_or(Broken)?;
        let sealed = channel.seal(&control::encode(message).ok_or(Broken)?)?;
        self.said_at = now;
        self.send(sealed)
    }

    /// Takes a frame; gives the messages that are whole now, opened where the channel stands.
    pub(crate) fn receive(&mut self, now: Time, frame: Bytes) -> Result<Vec<Bytes>, Broken> {
        self.heard_at = now;
        let mut messages = Vec::new();
        self.carrier.receive(now, frame, &mut messages)?;
        Ok(messages)
    }

    /// Opens a message of [`Ble::receive`] with the channel.
    pub(crate) fn open(&mut self, message: &[u8]) -> Result<Bytes, Broken> {
        Ok(self.channel.as_mut().ok_or(Broken)?.open(message)?)
    }

    /// Hands what is due to the radio.
    pub(crate) fn transmit(&mut self, now: Time, mut out: impl FnMut(Command)) -> Result<(), Broken> {
        let mut frames = Vec::new();
        self.carrier.transmit(now, &mut frames)?;
        for frame in frames {
            out(Command::Send {
                conn: self.conn,
                frame,
            });
        }
        Ok(())
    }

    /// When [`Ble::transmit`] is due.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.carrier.next_at()
    }

    pub(crate) const fn is_secured(&self) -> bool {
        self.channel.is_some()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.carrier.is_drained()
    }

    /// When a keep-alive is due, and when silence means that the other side is gone.
    pub(crate) fn liveness(&self) -> (Time, Time) {
        (
            self.said_at + crate::KEEP_ALIVE_AFTER,
            self.heard_at + crate::SILENCE_MAX,
        )
    }
}
