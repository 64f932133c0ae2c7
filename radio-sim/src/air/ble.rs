//! BLE: beacons, scanners, GATT connections and their frames.

use std::time::Duration;

use berth_radio::{Address, BEACON_SIZE_BYTES, ConnId, Event, GATT_FRAME_SIZE_BYTES_MAX, Time};
use bytes::Bytes;

use super::Air;
use super::agenda::Action;
use super::lane::Side;
use super::port::{Advert, PortId};

/// GATT connections of one radio: what BLE controllers commonly allow.
pub(super) const CONNS_MAX: usize = 8;

/// Frames under way in one direction of a connection; more are lost. A message of 4 KiB in frames of 20 bytes is 205.
pub(super) const FRAMES_MAX: usize = 1024;

/// A former address can be connected to for this long: the scanner may have just heard it.
const ADDRESS_GRACE: Duration = Duration::from_secs(10);

/// Smallest ATT_MTU, 23 (Bluetooth Core 5.3, Vol 3, Part G, 5.2.1), less the 3 bytes of the ATT header.
const FRAME_MIN: u64 = 20;

pub(super) type ConnKey = u64;

/// Drawn when the laptop asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnFate {
    fails: bool,
    unanswered: bool,
    late: bool,
    /// Frame limits of laptop and hub.
    mtu_bytes: [usize; 2],
}

#[derive(Debug)]
pub(super) struct ConnEnd {
    pub(super) port: PortId,
    id: ConnId,
    mtu_bytes: usize,
    open: bool,
    /// It knows of the connection.
    told: bool,
}

/// Frames of one direction.
#[derive(Debug, Default)]
struct Way {
    free_at: Time,
    last_at: Time,
    under_way: usize,
}

/// A GATT connection: the laptop (who connected) is [`Side::Station`], the hub [`Side::Owner`].
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) ends: [ConnEnd; 2],
    ways: [Way; 2],
    pub(super) apart: bool,
    /// One end is gone without a word: they stay apart until the other one notices.
    pub(super) dead: bool,
    pub(super) epoch: u64,
}

impl Air {
    pub(super) fn advertise(&mut self, port: PortId, beacon: Bytes) {
        if beacon.len() > BEACON_SIZE_BYTES {
            return self.note(port, format_args!("beacon of {} bytes refused", beacon.len()));
        }
        let mut raw = [0; 8];
        self.name_chance.fill(&mut raw[..6]);
        // A resolvable private address has 01 in its two highest bits (Bluetooth Core 5.3, Vol 6, Part B, 1.3.2.2).
        let address = (u64::from_le_bytes(raw) & 0x3fff_ffff_ffff) | 0x4000_0000_0000;
        let until = self.now.saturating_add(ADDRESS_GRACE);
        if let Some(port) = self.port_mut(port) {
            port.former = port.advert.take().map(|advert| (advert.address, until));
            port.advert = Some(Advert { address, beacon });
        }
        self.plan_reports();
    }

    pub(super) fn stop_advertising(&mut self, port: PortId) {
        if let Some(port) = self.port_mut(port) {
            port.advert = None;
            port.former = None;
        }
    }

    pub(super) fn scan(&mut self, port: PortId) {
        if let Some(port) = self.port_mut(port) {
            port.scanning = true;
        }
        self.plan_reports();
    }

    pub(super) fn stop_scanning(&mut self, port: PortId) {
        if let Some(port) = self.port_mut(port) {
            port.scanning = false;
        }
    }

    /// Wakes every scanner that has something to hear now. Nobody ticks for nothing.
    pub(super) fn plan_reports(&mut self) {
        for scanner in self.port_ids() {
            let waits = self
                .port(scanner)
                .is_some_and(|it| it.on() && it.scanning && !it.report_planned);
            if waits && self.port_ids().any(|hub| self.hears(scanner, hub)) {
                let interval = self.profile_of(scanner).report_interval;
                let after = self.ble_chance.within(interval);
                self.plan_report(after, scanner);
            }
        }
    }

    fn plan_report(&mut self, after: Duration, scanner: PortId) {
        if let Some(port) = self.port_mut(scanner) {
            port.report_planned = true;
        }
        self.schedule(after, scanner, Action::Report);
    }

    fn hears(&self, scanner: PortId, hub: PortId) -> bool {
        self.port(hub).is_some_and(|it| it.advert.is_some()) && self.in_range(scanner, hub)
    }

    pub(super) fn report(&mut self, scanner: PortId) {
        if let Some(port) = self.port_mut(scanner) {
            port.report_planned = false;
        }
        if !self.port(scanner).is_some_and(|it| it.on() && it.scanning) {
            return;
        }
        let mut heard_any = false;
        for hub in self.port_ids() {
            if !self.hears(scanner, hub) {
                continue;
            }
            heard_any = true;
            let missed = self.ble_chance.happens(self.faults.report_missed_ppm);
            let rssi_dbm = -40 - i16::try_from(self.ble_chance.below(30)).unwrap_or(0);
            let advert = self.port(hub).and_then(|it| it.advert.as_ref());
            if let Some((address, beacon)) = advert.map(|it| (it.address, it.beacon.clone()))
                && !missed
            {
                self.emit(
                    scanner,
                    Event::Sighted {
                        peer: Address(address),
                        beacon,
                        rssi_dbm,
                    },
                );
            }
        }
        if heard_any {
            let interval = self.profile_of(scanner).report_interval;
            let late = self.ble_chance.within(interval / 10);
            self.plan_report(interval + late, scanner);
        }
    }

    pub(super) fn connect(&mut self, port: PortId, peer: Address) {
        let profile = *self.profile_of(port);
        let after = self.ble_chance.between(profile.connect, profile.connect * 2);
        let fate = self.draw_conn_fate();
        self.maybe_flap(port);
        let Some(it) = self.port_mut(port).filter(|it| it.on()) else {
            return;
        };
        if it.connecting {
            return self.emit(port, Event::ConnectFailed { peer });
        }
        if fate.unanswered {
            return self.note(port, format_args!("connect is never answered"));
        }
        it.connecting = true;
        let epoch = it.adapter_epoch;
        self.schedule(after, port, Action::Connect { peer, epoch, fate });
    }

    fn draw_conn_fate(&mut self) -> ConnFate {
        let faults = self.faults;
        let chance = &mut self.ble_chance;
        let fails = chance.happens(faults.connect_failed_ppm);
        let unanswered = chance.happens(faults.unanswered_ppm);
        let late = chance.happens(faults.connected_late_ppm);
        let drawn = chance.happens(faults.mtu_drawn_ppm);
        let span = GATT_FRAME_SIZE_BYTES_MAX as u64 - FRAME_MIN + 1;
        let low = [chance.below(span), chance.below(span)];
        let mtu_bytes = low.map(|above| {
            let frame = usize::try_from(FRAME_MIN + above).unwrap_or(GATT_FRAME_SIZE_BYTES_MAX);
            if drawn { frame } else { GATT_FRAME_SIZE_BYTES_MAX }
        });
        ConnFate {
            fails,
            unanswered,
            late,
            mtu_bytes,
        }
    }

    pub(super) fn connect_due(&mut self, port: PortId, epoch: u64, peer: Address, fate: ConnFate) {
        // The adapter may have been away in between: then nobody waits any more.
        let Some(it) = self
            .port_mut(port)
            .filter(|it| it.on() && it.adapter_epoch == epoch)
        else {
            return;
        };
        it.connecting = false;
        let hub = self
            .port_ids()
            .find(|hub| self.answers(*hub, peer) && self.in_range(port, *hub));
        let room = |air: &Self, id: PortId| air.port(id).is_some_and(|it| it.conns.len() < CONNS_MAX);
        match hub.filter(|hub| !fate.fails && room(self, *hub) && room(self, port)) {
            None => self.emit(port, Event::ConnectFailed { peer }),
            Some(hub) => self.open_conn([port, hub], fate),
        }
    }

    fn answers(&self, hub: PortId, peer: Address) -> bool {
        self.port(hub).is_some_and(|it| {
            let former = it
                .former
                .is_some_and(|(address, until)| address == peer.0 && self.now <= until);
            it.advert
                .as_ref()
                .is_some_and(|advert| former || advert.address == peer.0)
        })
    }

    fn open_conn(&mut self, ports: [PortId; 2], fate: ConnFate) {
        let key = self.fresh_key();
        let ends = [Side::Station, Side::Owner].map(|side| {
            let port = side.of(ports);
            let id = self.ports.get_mut(port.index()).map_or(0, |it| {
                it.next_conn = it.next_conn.wrapping_add(1);
                it.conns.insert(ConnId(it.next_conn), (key, side));
                it.next_conn
            });
            let told = side == Side::Station || !fate.late;
            ConnEnd {
                port,
                id: ConnId(id),
                mtu_bytes: side.of(fate.mtu_bytes),
                open: true,
                told,
            }
        });
        let told: Vec<_> = ends
            .iter()
            .filter(|end| end.told)
            .map(|end| (end.port, end.id, end.mtu_bytes))
            .collect();
        let ways = [Way::default(), Way::default()];
        self.conns.insert(
            key,
            Conn {
                ends,
                ways,
                apart: false,
                dead: false,
                epoch: 0,
            },
        );
        for (port, conn, mtu_bytes) in told {
            self.emit(port, Event::Connected { conn, mtu_bytes });
        }
    }

    pub(super) fn send(&mut self, port: PortId, id: ConnId, frame: Bytes) {
        let Some((key, side)) = self.port(port).and_then(|it| it.conns.get(&id)).copied() else {
            return;
        };
        let chance = &mut self.ble_chance;
        let lost = chance.happens(self.faults.frame_lost_ppm);
        let repeated = chance.happens(self.faults.frame_repeated_ppm);
        let swapped = chance.happens(self.faults.frame_swapped_ppm);
        let ends = chance.happens(self.faults.connection_lost_ppm);
        let jitter = u32::try_from(chance.below(1_000)).unwrap_or(0);
        let Some(conn) = self.conns.get(&key) else { return };
        let (own, other) = (side.of_ref(&conn.ends), side.other().of_ref(&conn.ends));
        let profile = self.profile_between(own.port, other.port);
        let (too_long, apart, other_port) = (frame.len() > own.mtu_bytes, conn.apart, other.port);
        if ends {
            self.note(port, format_args!("conn {} ends by itself", id.0));
            return self.end_conn(key);
        }
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        let way = side.of_mut(&mut conn.ways);
        if lost || too_long || apart || way.under_way >= FRAMES_MAX {
            return self.note(port, format_args!("frame of conn {} is lost", id.0));
        }
        let size = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        way.free_at = self
            .now
            .max(way.free_at)
            .saturating_add(profile.frame_byte.saturating_mul(size));
        let latency = profile.frame_latency;
        let late = latency * jitter / 1_000;
        let mut at = way.last_at.max(way.free_at + latency + late);
        if swapped {
            // Late enough for some frames to overtake it.
            at += latency * 2 + profile.frame_byte.saturating_mul(size * 3);
        } else {
            way.last_at = at;
        }
        way.under_way += 1 + usize::from(repeated);
        let to = side.other();
        if repeated {
            let action = Action::Frame {
                conn: key,
                to,
                frame: frame.clone(),
            };
            self.schedule_at(at + latency, other_port, action);
        }
        self.schedule_at(at, other_port, Action::Frame { conn: key, to, frame });
    }

    pub(super) fn frame_due(&mut self, key: ConnKey, to: Side, frame: Bytes) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        let way = to.other().of_mut(&mut conn.ways);
        way.under_way = way.under_way.saturating_sub(1);
        let apart = conn.apart;
        let end = to.of_mut(&mut conn.ends);
        if apart || !end.open {
            return;
        }
        let news = !std::mem::replace(&mut end.told, true);
        let (port, conn, mtu_bytes) = (end.port, end.id, end.mtu_bytes);
        if news {
            self.emit(port, Event::Connected { conn, mtu_bytes });
        }
        self.emit(port, Event::Received { conn, frame });
    }

    pub(super) fn disconnect(&mut self, port: PortId, id: ConnId) {
        let Some((key, side)) = self.port(port).and_then(|it| it.conns.get(&id)).copied() else {
            return;
        };
        self.end_conn_side(key, side);
        let Some(conn) = self.conns.get(&key) else { return };
        let other = side.other().of_ref(&conn.ends).port;
        let latency = self.profile_between(port, other).frame_latency;
        let at = side
            .of_ref(&conn.ways)
            .last_at
            .max(self.now.saturating_add(latency));
        self.schedule_at(
            at,
            other,
            Action::ConnEnd {
                conn: key,
                side: side.other(),
            },
        );
    }

    /// Ends a connection for one side; it is gone when both have ended.
    pub(super) fn end_conn_side(&mut self, key: ConnKey, side: Side) {
        let Some(conn) = self.conns.get_mut(&key) else {
            return;
        };
        let end = side.of_mut(&mut conn.ends);
        let (port, id) = (end.port, end.id);
        let tell = std::mem::take(&mut end.open) && end.told;
        if conn.ends.iter().all(|end| !end.open) {
            self.conns.remove(&key);
        }
        let known = self
            .port_mut(port)
            .is_some_and(|it| it.conns.remove(&id).is_some());
        if tell && known {
            self.emit(port, Event::Disconnected { conn: id });
        }
    }

    /// Ends a connection for both sides at once.
    pub(super) fn end_conn(&mut self, key: ConnKey) {
        self.end_conn_side(key, Side::Station);
        self.end_conn_side(key, Side::Owner);
    }

    pub(super) fn conn_lost(&mut self, key: ConnKey, epoch: u64) {
        if self
            .conns
            .get(&key)
            .is_some_and(|conn| conn.apart && conn.epoch == epoch)
        {
            self.end_conn(key);
        }
    }
}
