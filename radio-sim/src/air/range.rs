//! Near and away, cuts, and adapters that go and come back.

use std::time::Duration;

use berth_radio::{Event, Time};

use super::Air;
use super::agenda::Action;
use super::lane::{Side, StreamKey};
use super::port::{Owning, Place, PortId, Station};

/// An adapter that went away by itself is back within this.
const ADAPTER_BACK_MAX: Duration = Duration::from_secs(10);

/// What ends when a number of bytes has been carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The stream that carried the last of them.
    Stream,
    /// Everything that the port has open, as [`Air::cut`].
    Everything,
    /// Nothing yet: the port is out of range, as [`Air::away`].
    Range,
}

impl Air {
    /// The port is at place 0, where ports are unless they were moved.
    pub fn near(&mut self, now: Time, port: PortId) {
        self.place(now, port, Some(Place::default()));
    }

    /// The port is out of everyone's range. Nothing arrives any more; that it has lost its connections each side
    /// notices when its profile says so, unless they are near again before.
    pub fn away(&mut self, now: Time, port: PortId) {
        self.place(now, port, None);
    }

    /// Moves a port, attached or not, to a place (`None`: out of everyone's range).
    pub fn place(&mut self, now: Time, port: PortId, place: Option<Place>) {
        self.now = self.now.max(now);
        match place {
            Some(Place(number)) => self.note(port, format_args!("at place {number}")),
            None => self.note(port, format_args!("away")),
        }
        if let Some(port) = self.port_mut(port) {
            port.place = place;
        }
        self.ranges_changed();
        self.plan_reports();
    }

    /// Ends abruptly, now and for both sides, every connection, group and stream that the port has. It stays near,
    /// goes on advertising and scanning, and may connect again.
    pub fn cut(&mut self, now: Time, port: PortId) {
        self.now = self.now.max(now);
        self.note(port, format_args!("cut"));
        self.end_all(port);
    }

    /// Cuts after the port has sent `bytes` bytes more over streams, counted where they arrive: the receiver gets
    /// exactly so many. Replaces an earlier one that is still to come.
    pub fn cut_after(&mut self, now: Time, port: PortId, bytes: u64, cut: Cut) {
        self.now = self.now.max(now);
        if let Some(port) = self.port_mut(port) {
            port.cut_after = Some((bytes, cut));
        }
    }

    /// [`Self::cut_after`] with [`Cut::Stream`].
    pub fn cut_stream_after(&mut self, now: Time, port: PortId, bytes: u64) {
        self.cut_after(now, port, bytes, Cut::Stream);
    }

    /// The adapter of a port goes away with all that it has open: one [`Event::AdapterGone`] for it; the others
    /// notice as if it were out of range.
    pub fn adapter_gone(&mut self, now: Time, port: PortId) {
        self.now = self.now.max(now);
        if !self.port(port).is_some_and(|it| it.on()) {
            return;
        }
        let owned = match self.port(port).map(|it| &it.owning) {
            Some(Owning::Group(key)) => Some(*key),
            Some(Owning::Nothing | Owning::Starting) | None => None,
        };
        self.forget_ends(port);
        if let Some(it) = self.port_mut(port) {
            it.adapter_gone = true;
            it.reset();
        }
        if let Some(key) = owned {
            self.groups.remove(&key);
        }
        for group in self.groups.values_mut() {
            group.stations.remove(&port);
        }
        self.emit(port, Event::AdapterGone);
        self.ranges_changed();
    }

    /// The adapter of a port is back, with nothing open.
    pub fn adapter_back(&mut self, now: Time, port: PortId) {
        self.now = self.now.max(now);
        if !self.port(port).is_some_and(|it| it.adapter_gone) {
            return;
        }
        if let Some(it) = self.port_mut(port) {
            it.adapter_gone = false;
        }
        self.emit(port, Event::AdapterBack);
        self.ranges_changed();
    }

    pub(super) fn adapter_back_due(&mut self, port: PortId, epoch: u64) {
        if self.port(port).is_some_and(|it| it.adapter_epoch == epoch) {
            self.adapter_back(self.now, port);
        }
    }

    /// The fault that takes an adapter away, drawn at a moment when its machine wants something.
    pub(super) fn maybe_flap(&mut self, port: PortId) {
        let goes = self.ble_chance.happens(self.faults.adapter_gone_ppm);
        let back = self.ble_chance.within(ADAPTER_BACK_MAX);
        if !goes {
            return;
        }
        self.adapter_gone(self.now, port);
        let epoch = self.port(port).map_or(0, |it| it.adapter_epoch);
        self.schedule(back, port, Action::AdapterBack { epoch });
    }

    pub(super) fn in_range(&self, one: PortId, other: PortId) -> bool {
        let (Some(one_port), Some(other_port)) = (self.port(one), self.port(other)) else {
            return false;
        };
        one != other
            && one_port.on()
            && other_port.on()
            && one_port.place.is_some()
            && one_port.place == other_port.place
    }

    pub(super) fn count_towards_cut(&mut self, sender: PortId, size_bytes: u64) -> Option<(u64, Cut)> {
        let port = self.port_mut(sender)?;
        let (left, cut) = port.cut_after?;
        if size_bytes < left {
            port.cut_after = Some((left - size_bytes, cut));
            return None;
        }
        port.cut_after = None;
        Some((left, cut))
    }

    pub(super) fn cut_now(&mut self, sender: PortId, stream: StreamKey, cut: Cut) {
        match cut {
            Cut::Stream => self.end_stream(stream),
            Cut::Everything => self.cut(self.now, sender),
            Cut::Range => self.away(self.now, sender),
        }
    }

    /// Ends all that a port has open, for both sides, now.
    pub(super) fn end_all(&mut self, port: PortId) {
        let Some(it) = self.port_mut(port) else { return };
        let conns: Vec<_> = it.conns.values().map(|(key, _)| *key).collect();
        let streams: Vec<_> = it.streams.values().map(|(key, _)| *key).collect();
        let owned = match &it.owning {
            Owning::Group(key) => Some(*key),
            Owning::Nothing | Owning::Starting => None,
        };
        streams.into_iter().for_each(|key| self.end_stream(key));
        self.end_station(port);
        if let Some(key) = owned {
            self.end_group(key);
        }
        conns.into_iter().for_each(|key| self.end_conn(key));
    }

    /// Closes a port's ends without an event; the other ends stay until they notice.
    fn forget_ends(&mut self, port: PortId) {
        let Some(it) = self.port_mut(port) else { return };
        let conns: Vec<_> = std::mem::take(&mut it.conns).into_values().collect();
        let streams: Vec<_> = std::mem::take(&mut it.streams).into_values().collect();
        for (key, side) in conns {
            self.end_conn_side(key, side);
            if let Some(conn) = self.conns.get_mut(&key) {
                conn.dead = true;
            }
        }
        for (key, side) in streams {
            self.leave_dead(key, side);
        }
    }

    /// One end of a stream closes without a word to the other one.
    fn leave_dead(&mut self, key: StreamKey, side: Side) {
        self.close_end(key, side);
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.dead = true;
        }
    }

    /// Looks at every connection, stream and station whose ends may have come apart or together.
    fn ranges_changed(&mut self) {
        self.conn_ranges_changed();
        self.stream_ranges_changed();
        for station in self.port_ids() {
            self.station_range_changed(station);
        }
    }

    fn station_range_changed(&mut self, station: PortId) {
        let Some(Station::In { group, .. }) = self.port(station).map(|it| &it.station) else {
            return;
        };
        let owner = self.groups.get(group).map(|it| it.owner);
        let now_apart = !owner.is_some_and(|owner| self.in_range(station, owner));
        let notice = self.profile_of(station).station_notice;
        let Some(it) = self.port_mut(station) else { return };
        let Station::In { apart, .. } = &mut it.station else {
            return;
        };
        if *apart == now_apart {
            return;
        }
        *apart = now_apart;
        it.range_epoch += 1;
        let epoch = it.range_epoch;
        if now_apart {
            self.schedule(notice, station, Action::StationLost { epoch });
        }
    }

    fn conn_ranges_changed(&mut self) {
        let keys: Vec<_> = self.conns.keys().copied().collect();
        for key in keys {
            let Some(conn) = self.conns.get(&key) else {
                continue;
            };
            let ports = [Side::Station, Side::Owner].map(|side| side.of_ref(&conn.ends).port);
            let apart = conn.dead || !self.in_range(ports[0], ports[1]);
            let supervision = self.profile_between(ports[0], ports[1]).supervision;
            let Some(conn) = self.conns.get_mut(&key).filter(|conn| conn.apart != apart) else {
                continue;
            };
            conn.apart = apart;
            conn.epoch += 1;
            let epoch = conn.epoch;
            if apart {
                self.schedule(supervision, ports[0], Action::ConnLost { conn: key, epoch });
            }
        }
    }

    fn stream_ranges_changed(&mut self) {
        let keys: Vec<_> = self.streams.keys().copied().collect();
        for key in keys {
            let Some(stream) = self.streams.get(&key) else {
                continue;
            };
            let [station, owner] = [Side::Station, Side::Owner].map(|side| side.of_ref(&stream.ends).port);
            let apart = stream.dead || !self.in_range(station, owner);
            let notice = self.profile_of(owner).owner_notice;
            let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.apart != apart) else {
                continue;
            };
            stream.apart = apart;
            stream.epoch += 1;
            let epoch = stream.epoch;
            if apart {
                self.schedule(notice, owner, Action::OwnerLost { stream: key, epoch });
            } else {
                self.resume_stream(key);
            }
        }
    }

    pub(super) fn station_lost(&mut self, port: PortId, epoch: u64) {
        let lost = self.port(port).is_some_and(|it| {
            it.on() && it.range_epoch == epoch && matches!(it.station, Station::In { apart: true, .. })
        });
        if !lost {
            return;
        }
        let streams = self
            .port(port)
            .map(|it| it.streams.values().copied().collect::<Vec<_>>());
        for (key, side) in streams.unwrap_or_default() {
            if side == Side::Station {
                self.leave_dead(key, side);
            }
        }
        self.end_station(port);
    }

    pub(super) fn owner_lost(&mut self, key: StreamKey, epoch: u64) {
        let lost = self
            .streams
            .get(&key)
            .is_some_and(|it| it.apart && it.epoch == epoch);
        if lost {
            self.end_stream(key);
        }
    }
}
