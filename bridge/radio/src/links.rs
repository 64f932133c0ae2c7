//! Which laptops are connected over GATT, as far as BlueZ lets a hub know: it tells of a laptop's subscription and of
//! its first write, not of its coming.
//!
//! Place: commands and what [`crate::bluez`] sees -> [`Links::handle`] -> [`Effect`].
//! Invariant: after `Connected` exactly one `Disconnected` comes; laptops and the frames that wait are few.

use std::collections::BTreeMap;

use berth_radio::{Address, ConnId, Event, GATT_FRAME_SIZE_BYTES_MAX};
use bytes::Bytes;

/// Laptops at once; more are hung up on. Adapters can hold about as many connections.
const PEERS_MAX: usize = 8;

/// Frames of a laptop that BlueZ may tell before it tells the subscription, which came first; more are lost.
const EARLY_FRAMES_MAX: usize = 8;

/// Least that a side must be able to send, as the contract says.
const FRAME_SIZE_BYTES_MIN: usize = 20;

#[derive(Debug)]
pub(crate) enum Input {
    /// This laptop takes notifications from now on, of so many bytes at the most.
    Subscribed {
        peer: Address,
        limit_bytes: usize,
    },
    Frame {
        peer: Address,
        frame: Bytes,
    },
    /// It is not connected any more.
    Gone {
        peer: Address,
    },
    Send {
        conn: ConnId,
        frame: Bytes,
    },
    Disconnect {
        conn: ConnId,
    },
    /// Everything is gone, without a word.
    AdapterGone,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Tell(Event),
    Notify {
        peer: Address,
        frame: Bytes,
    },
    /// End its connection; [`Input::Gone`] follows.
    HangUp {
        peer: Address,
    },
}

#[derive(Debug)]
enum Peer {
    /// Has not sent anything.
    Subscribed {
        limit_bytes: usize,
    },
    /// Has sent before it was known to take notifications.
    Early {
        frames: Vec<Bytes>,
    },
    Connected {
        conn: ConnId,
        limit_bytes: usize,
    },
    /// Hung up on; `None`: nobody was told of it.
    Leaving {
        conn: Option<ConnId>,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    peers: BTreeMap<Address, Peer>,
    connections: u32,
}

impl Links {
    pub(crate) fn handle(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Subscribed { peer, limit_bytes } => self.subscribed(peer, limit_bytes, out),
            Input::Frame { peer, frame } => self.frame(peer, frame, out),
            Input::Gone { peer } => {
                if let Some(Peer::Connected { conn, .. } | Peer::Leaving { conn: Some(conn) }) =
                    self.peers.remove(&peer)
                {
                    out.push(Effect::Tell(Event::Disconnected { conn }));
                }
            }
            Input::Send { conn, frame } => {
                if let Some((peer, limit_bytes)) = self.find(conn)
                    && frame.len() <= limit_bytes
                {
                    out.push(Effect::Notify { peer, frame });
                }
            }
            Input::Disconnect { conn } => {
                if let Some((peer, _)) = self.find(conn) {
                    self.hang_up(peer, Some(conn), out);
                }
            }
            Input::AdapterGone => self.peers.clear(),
        }
    }

    fn subscribed(&mut self, peer: Address, limit_bytes: usize, out: &mut Vec<Effect>) {
        let limit_bytes = limit_bytes.min(GATT_FRAME_SIZE_BYTES_MAX);
        if limit_bytes < FRAME_SIZE_BYTES_MIN || !self.has_room_for(peer) {
            return self.hang_up(peer, None, out);
        }
        match self.peers.get_mut(&peer) {
            None | Some(Peer::Subscribed { .. }) => {
                self.peers.insert(peer, Peer::Subscribed { limit_bytes });
            }
            Some(Peer::Early { frames }) => {
                let frames = std::mem::take(frames);
                self.connect(peer, limit_bytes, out);
                for frame in frames {
                    self.frame(peer, frame, out);
                }
            }
            // Once more, as when it had left it for a moment.
            Some(Peer::Connected { .. } | Peer::Leaving { .. }) => {}
        }
    }

    fn frame(&mut self, peer: Address, frame: Bytes, out: &mut Vec<Effect>) {
        if !self.has_room_for(peer) {
            return self.hang_up(peer, None, out);
        }
        if let Some(Peer::Subscribed { limit_bytes }) = self.peers.get(&peer) {
            self.connect(peer, *limit_bytes, out);
        }
        match self
            .peers
            .entry(peer)
            .or_insert(Peer::Early { frames: Vec::new() })
        {
            Peer::Connected { conn, .. } => out.push(Effect::Tell(Event::Received { conn: *conn, frame })),
            Peer::Early { frames } if frames.len() < EARLY_FRAMES_MAX => frames.push(frame),
            Peer::Early { .. } | Peer::Subscribed { .. } | Peer::Leaving { .. } => {}
        }
    }

    fn connect(&mut self, peer: Address, limit_bytes: usize, out: &mut Vec<Effect>) {
        self.connections += 1;
        let conn = ConnId(self.connections);
        self.peers.insert(peer, Peer::Connected { conn, limit_bytes });
        out.push(Effect::Tell(Event::Connected {
            conn,
            mtu_bytes: limit_bytes,
        }));
    }

    fn hang_up(&mut self, peer: Address, conn: Option<ConnId>, out: &mut Vec<Effect>) {
        if self.has_room_for(peer) {
            self.peers.insert(peer, Peer::Leaving { conn });
        }
        out.push(Effect::HangUp { peer });
    }

    fn has_room_for(&self, peer: Address) -> bool {
        self.peers.len() < PEERS_MAX || self.peers.contains_key(&peer)
    }

    fn find(&self, wanted: ConnId) -> Option<(Address, usize)> {
        self.peers.iter().find_map(|(peer, state)| match state {
            Peer::Connected { conn, limit_bytes } if *conn == wanted => Some((*peer, *limit_bytes)),
            Peer::Connected { .. } | Peer::Subscribed { .. } | Peer::Early { .. } | Peer::Leaving { .. } => {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAPTOP: Address = Address(7);
    const FRAME: Bytes = Bytes::from_static(b"frame");

    fn after(it: &mut Links, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        it.handle(input, &mut out);
        out
    }

    fn subscribed(peer: Address) -> Input {
        Input::Subscribed {
            peer,
            limit_bytes: 200,
        }
    }

    fn frame(peer: Address) -> Input {
        Input::Frame { peer, frame: FRAME }
    }

    fn connected(conn: u32) -> [Effect; 2] {
        let conn = ConnId(conn);
        [
            Effect::Tell(Event::Connected { conn, mtu_bytes: 200 }),
            Effect::Tell(Event::Received { conn, frame: FRAME }),
        ]
    }

    fn one_connected() -> Links {
        let mut it = Links::default();
        after(&mut it, subscribed(LAPTOP));
        after(&mut it, frame(LAPTOP));
        it
    }

    #[test]
    fn a_connection_comes_with_the_first_frame_whichever_of_the_two_is_told_first() {
        let mut it = Links::default();
        assert_eq!(after(&mut it, subscribed(LAPTOP)), []);
        assert_eq!(after(&mut it, frame(LAPTOP)), connected(1));
        let other = Address(8);
        assert_eq!(after(&mut it, frame(other)), []);
        assert_eq!(after(&mut it, subscribed(other)), connected(2));
    }

    #[test]
    fn a_connection_ends_once_and_the_next_one_has_another_number() {
        let mut it = one_connected();
        let ended = Effect::Tell(Event::Disconnected { conn: ConnId(1) });
        assert_eq!(after(&mut it, Input::Gone { peer: LAPTOP }), [ended]);
        assert_eq!(after(&mut it, Input::Gone { peer: LAPTOP }), []);
        after(&mut it, subscribed(LAPTOP));
        assert_eq!(after(&mut it, frame(LAPTOP)), connected(2));
    }

    #[test]
    fn who_is_hung_up_on_is_heard_no_more_and_its_end_is_told_when_it_is_gone() {
        let mut it = one_connected();
        let disconnect = || Input::Disconnect { conn: ConnId(1) };
        assert_eq!(after(&mut it, disconnect()), [Effect::HangUp { peer: LAPTOP }]);
        assert_eq!(after(&mut it, disconnect()), []);
        assert_eq!(after(&mut it, frame(LAPTOP)), []);
        let send = Input::Send {
            conn: ConnId(1),
            frame: FRAME,
        };
        assert_eq!(after(&mut it, send), []);
        let ended = Effect::Tell(Event::Disconnected { conn: ConnId(1) });
        assert_eq!(after(&mut it, Input::Gone { peer: LAPTOP }), [ended]);
    }

    #[test]
    fn a_frame_over_the_limit_is_not_sent() {
        let mut it = one_connected();
        let mut send = |size| {
            let frame = Bytes::from(vec![0; size]);
            after(
                &mut it,
                Input::Send {
                    conn: ConnId(1),
                    frame,
                },
            )
        };
        assert_eq!(send(200).len(), 1);
        assert_eq!(send(201), []);
    }

    #[test]
    fn limits_outside_of_the_contract_are_cut_down_or_refused() {
        let mut it = Links::default();
        let subscribed = |peer, limit_bytes| Input::Subscribed { peer, limit_bytes };
        after(&mut it, subscribed(LAPTOP, 600));
        let mtu_bytes = GATT_FRAME_SIZE_BYTES_MAX;
        let told = Event::Connected {
            conn: ConnId(1),
            mtu_bytes,
        };
        assert_eq!(after(&mut it, frame(LAPTOP))[0], Effect::Tell(told));
        let peer = Address(8);
        assert_eq!(after(&mut it, subscribed(peer, 18)), [Effect::HangUp { peer }]);
        assert_eq!(after(&mut it, frame(peer)), []);
    }

    #[test]
    fn laptops_and_what_waits_of_them_are_few() {
        let mut it = Links::default();
        for peer in 0..PEERS_MAX as u64 {
            for _ in 0..EARLY_FRAMES_MAX + 3 {
                assert_eq!(after(&mut it, frame(Address(peer))), []);
            }
        }
        let one_more = Address(99);
        assert_eq!(
            after(&mut it, frame(one_more)),
            [Effect::HangUp { peer: one_more }]
        );
        let told = after(&mut it, subscribed(Address(0)));
        assert_eq!(told.len(), 1 + EARLY_FRAMES_MAX);
    }

    #[test]
    fn a_lost_adapter_ends_all_of_them_without_a_word() {
        let mut it = one_connected();
        assert_eq!(after(&mut it, Input::AdapterGone), []);
        assert_eq!(after(&mut it, Input::Gone { peer: LAPTOP }), []);
        after(&mut it, subscribed(LAPTOP));
        assert_eq!(after(&mut it, frame(LAPTOP)), connected(2));
    }
}
