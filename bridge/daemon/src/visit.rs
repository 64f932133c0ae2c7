//! One visit at the hub: its receiver, its way to the spool, and what waits on both sides.

use std::collections::VecDeque;

use berth_bridge::{End, Receiver, StoreOp};
use berth_pairing::Peer;
use berth_radio::Time;
use berth_wire::{Decoder, ToLaptop, control_frames};
use bytes::Bytes;

use crate::store::Store;

pub(crate) struct Visit {
    pub(crate) laptop: Peer,
    pub(crate) receiver: Receiver,
    pub(crate) decoder: Decoder,
    /// `None`: the laptop's visit before is still being sealed.
    pub(crate) store: Option<Store>,
    pub(crate) waiting: VecDeque<StoreOp>,
    pub(crate) outbox: VecDeque<Bytes>,
    pub(crate) outbox_size_bytes: usize,
    pub(crate) link_is_up: bool,
    pub(crate) end: Option<End>,
}

impl Visit {
    pub(crate) fn new(now: Time, laptop: Peer) -> Self {
        Self {
            laptop,
            receiver: Receiver::new(now),
            decoder: Decoder::default(),
            store: None,
            waiting: VecDeque::new(),
            outbox: VecDeque::new(),
            outbox_size_bytes: 0,
            link_is_up: true,
            end: None,
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_held)
    }

    pub(crate) fn forget_outbox(&mut self) {
        self.outbox.clear();
        self.outbox_size_bytes = 0;
    }

    pub(crate) fn reply(&mut self, message: &ToLaptop) {
        if self.link_is_up
            && let Ok(frames) = control_frames(message)
        {
            self.outbox_size_bytes += frames.iter().map(Bytes::len).sum::<usize>();
            self.outbox.extend(frames);
        }
    }
}
