//! What the laptop hears over Bluetooth LE and is connected to.
//!
//! Place: commands and what [`crate::scan`] and [`crate::link`] report -> [`Central::handle`] -> [`Effect`].
//! Invariant: nothing is told that was heard before its scan; one connection opens at a time, and after `Connected`
//! exactly one `Disconnected` comes. What is remembered of a scan is bounded.

use std::collections::{BTreeMap, VecDeque};

use berth_radio::{Address, ConnId, Event};
use bytes::Bytes;

/// Hubs of one scan that can be connected to, the newest ones: addresses change every few minutes, a scan lasts days.
const SIGHTED_MAX: usize = 64;

/// Connections at once; adapters can hold about as many.
const LINKS_MAX: usize = 4;

/// Counts scans, so that late reports are known as such.
pub(crate) type Scan = u32;

#[derive(Debug)]
pub(crate) enum Input {
    Scan,
    StopScanning,
    /// Heard in this scan, not before it.
    Sighted {
        scan: Scan,
        peer: Address,
        beacon: Bytes,
        rssi_dbm: i16,
    },
    Connect {
        peer: Address,
    },
    /// [`Effect::Open`] is done.
    Opened {
        conn: ConnId,
        mtu_bytes: usize,
    },
    /// It could not be opened, or is gone.
    Closed {
        conn: ConnId,
    },
    Received {
        conn: ConnId,
        frame: Bytes,
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
    /// Report what is heard, as of this scan; `None`: nothing.
    Listen(Option<Scan>),
    Open {
        conn: ConnId,
        peer: Address,
    },
    Write {
        conn: ConnId,
        frame: Bytes,
    },
    /// End it after what was written; [`Input::Closed`] follows.
    Close {
        conn: ConnId,
    },
}

#[derive(Debug)]
struct Link {
    peer: Address,
    mtu_bytes: usize,
    is_closing: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Central {
    scan: Option<Scan>,
    sighted: VecDeque<Address>,
    opening: Option<(ConnId, Address)>,
    links: BTreeMap<ConnId, Link>,
    scans: Scan,
    connections: u32,
}

impl Central {
    pub(crate) fn handle(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Scan => {
                if self.scan.is_none() {
                    self.scans = self.scans.wrapping_add(1);
                    self.scan = Some(self.scans);
                    self.sighted.clear();
                    self.listen(out);
                }
            }
            Input::StopScanning => {
                if self.scan.take().is_some() {
                    self.listen(out);
                }
            }
            Input::Sighted {
                scan,
                peer,
                beacon,
                rssi_dbm,
            } => {
                if self.scan == Some(scan) {
                    self.remember(peer);
                    out.push(Effect::Tell(Event::Sighted {
                        peer,
                        beacon,
                        rssi_dbm,
                    }));
                }
            }
            Input::Connect { peer } => self.connect(peer, out),
            Input::Opened { conn, mtu_bytes } => {
                if let Some((_, peer)) = self.opening.take_if(|(opening, _)| *opening == conn) {
                    let link = Link {
                        peer,
                        mtu_bytes,
                        is_closing: false,
                    };
                    self.links.insert(conn, link);
                    out.push(Effect::Tell(Event::Connected { conn, mtu_bytes }));
                    self.listen(out);
                }
            }
            Input::Closed { conn } => {
                if let Some((_, peer)) = self.opening.take_if(|(opening, _)| *opening == conn) {
                    out.push(Effect::Tell(Event::ConnectFailed { peer }));
                    self.listen(out);
                } else if self.links.remove(&conn).is_some() {
                    out.push(Effect::Tell(Event::Disconnected { conn }));
                }
            }
            Input::Received { conn, frame } => {
                if self.open_link(conn).is_some() {
                    out.push(Effect::Tell(Event::Received { conn, frame }));
                }
            }
            Input::Send { conn, frame } => {
                if self
                    .open_link(conn)
                    .is_some_and(|link| frame.len() <= link.mtu_bytes)
                {
                    out.push(Effect::Write { conn, frame });
                }
            }
            Input::Disconnect { conn } => {
                if let Some(link) = self.open_link(conn) {
                    link.is_closing = true;
                    out.push(Effect::Close { conn });
                }
            }
            Input::AdapterGone => {
                *self = Self {
                    scans: self.scans,
                    connections: self.connections,
                    ..Self::default()
                };
            }
        }
    }

    fn connect(&mut self, peer: Address, out: &mut Vec<Effect>) {
        let is_taken = self.opening.is_some() || self.links.len() >= LINKS_MAX;
        // BlueZ knows devices, not connections: a second one to the same device would end with the first.
        let is_linked = self.links.values().any(|link| link.peer == peer);
        if is_taken || is_linked || !self.sighted.contains(&peer) {
            return out.push(Effect::Tell(Event::ConnectFailed { peer }));
        }
        self.connections += 1;
        let conn = ConnId(self.connections);
        self.opening = Some((conn, peer));
        self.listen(out);
        out.push(Effect::Open { conn, peer });
    }

    /// Adapters connect late, or not at all, while they scan.
    fn listen(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Listen(self.scan.filter(|_| self.opening.is_none())));
    }

    fn remember(&mut self, peer: Address) {
        self.sighted.retain(|sighted| *sighted != peer);
        if self.sighted.len() >= SIGHTED_MAX {
            self.sighted.pop_front();
        }
        self.sighted.push_back(peer);
    }

    fn open_link(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.links.get_mut(&conn).filter(|link| !link.is_closing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: Address = Address(7);
    const BEACON: Bytes = Bytes::from_static(b"beacon");

    fn after(it: &mut Central, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        it.handle(input, &mut out);
        out
    }

    fn sighted(scan: Scan, peer: Address) -> Input {
        Input::Sighted {
            scan,
            peer,
            beacon: BEACON,
            rssi_dbm: -40,
        }
    }

    fn one_sighted() -> Central {
        let mut it = Central::default();
        after(&mut it, Input::Scan);
        after(&mut it, sighted(1, HUB));
        it
    }

    fn one_connected() -> Central {
        let mut it = one_sighted();
        after(&mut it, Input::StopScanning);
        after(&mut it, Input::Connect { peer: HUB });
        after(&mut it, opened());
        it
    }

    fn opened() -> Input {
        Input::Opened {
            conn: ConnId(1),
            mtu_bytes: 20,
        }
    }

    fn failed(peer: Address) -> Effect {
        Effect::Tell(Event::ConnectFailed { peer })
    }

    #[test]
    fn what_another_scan_heard_is_not_told() {
        let mut it = Central::default();
        assert_eq!(after(&mut it, Input::Scan), [Effect::Listen(Some(1))]);
        assert_eq!(after(&mut it, Input::Scan), []);
        assert_eq!(after(&mut it, sighted(1, HUB)).len(), 1);
        assert_eq!(after(&mut it, Input::StopScanning), [Effect::Listen(None)]);
        assert_eq!(after(&mut it, sighted(1, HUB)), []);
        assert_eq!(after(&mut it, Input::Scan), [Effect::Listen(Some(2))]);
        assert_eq!(after(&mut it, sighted(1, HUB)), []);
        // And nobody of it can be connected to.
        assert_eq!(after(&mut it, Input::Connect { peer: HUB }), [failed(HUB)]);
    }

    #[test]
    fn a_connection_pauses_the_scan_and_is_answered_once() {
        let mut it = one_sighted();
        let conn = ConnId(1);
        let open = [Effect::Listen(None), Effect::Open { conn, peer: HUB }];
        assert_eq!(after(&mut it, Input::Connect { peer: HUB }), open);
        assert_eq!(after(&mut it, Input::Connect { peer: HUB }), [failed(HUB)]);
        let connected = Effect::Tell(Event::Connected { conn, mtu_bytes: 20 });
        assert_eq!(after(&mut it, opened()), [connected, Effect::Listen(Some(1))]);
        assert_eq!(after(&mut it, opened()), []);
        let gone = Effect::Tell(Event::Disconnected { conn });
        assert_eq!(after(&mut it, Input::Closed { conn }), [gone]);
        assert_eq!(after(&mut it, Input::Closed { conn }), []);
    }

    #[test]
    fn a_connection_that_fails_is_told_as_such_and_its_number_is_not_used_again() {
        let mut it = one_sighted();
        after(&mut it, Input::Connect { peer: HUB });
        let closed = Input::Closed { conn: ConnId(1) };
        assert_eq!(after(&mut it, closed), [failed(HUB), Effect::Listen(Some(1))]);
        let again = after(&mut it, Input::Connect { peer: HUB });
        assert!(again.contains(&Effect::Open {
            conn: ConnId(2),
            peer: HUB
        }));
    }

    #[test]
    fn a_device_that_is_connected_is_not_connected_twice() {
        let mut it = one_connected();
        assert_eq!(after(&mut it, Input::Connect { peer: HUB }), [failed(HUB)]);
        after(&mut it, Input::Closed { conn: ConnId(1) });
        assert_eq!(after(&mut it, Input::Connect { peer: HUB }).len(), 2);
    }

    #[test]
    fn a_connection_that_closes_takes_and_tells_no_frames() {
        let mut it = one_connected();
        let conn = ConnId(1);
        let send = |size: usize| Input::Send {
            conn,
            frame: vec![0; size].into(),
        };
        assert_eq!(after(&mut it, send(20)).len(), 1);
        assert_eq!(after(&mut it, send(21)), []);
        assert_eq!(
            after(&mut it, Input::Disconnect { conn }),
            [Effect::Close { conn }]
        );
        assert_eq!(after(&mut it, Input::Disconnect { conn }), []);
        assert_eq!(after(&mut it, send(20)), []);
        let frame = Bytes::new();
        assert_eq!(after(&mut it, Input::Received { conn, frame }), []);
        let gone = Effect::Tell(Event::Disconnected { conn });
        assert_eq!(after(&mut it, Input::Closed { conn }), [gone]);
    }

    #[test]
    fn of_a_long_scan_only_the_newest_are_remembered() {
        let mut it = one_sighted();
        for peer in 0..SIGHTED_MAX as u64 {
            after(&mut it, sighted(1, Address(1000 + peer)));
        }
        assert_eq!(after(&mut it, Input::Connect { peer: HUB }), [failed(HUB)]);
        let peer = Address(1000);
        assert_eq!(after(&mut it, Input::Connect { peer }).len(), 2);
    }

    #[test]
    fn a_lost_adapter_ends_everything_without_a_word() {
        let mut it = one_connected();
        after(&mut it, Input::Scan);
        assert_eq!(after(&mut it, Input::AdapterGone), []);
        assert_eq!(after(&mut it, Input::Closed { conn: ConnId(1) }), []);
        assert_eq!(after(&mut it, sighted(2, HUB)), []);
        assert_eq!(after(&mut it, Input::Scan), [Effect::Listen(Some(3))]);
    }
}
