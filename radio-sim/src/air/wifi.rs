//! Wi-Fi Direct: groups, joining and dialling.

use std::collections::BTreeSet;

use berth_radio::{Address, Event, GroupCredentials, Joined, StreamId, Time};

use super::Air;
use super::agenda::Action;
use super::lane::{Side, Stream};
use super::port::{Owning, PortId, Station};

/// Stations of one group: what access points of this size commonly take.
pub(super) const STATIONS_MAX: usize = 8;

/// Streams of one radio.
pub(super) const STREAMS_MAX: usize = 32;

pub(super) type GroupKey = u64;

/// What becomes of a start, a join or a dial; drawn when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Works,
    Fails,
    Unanswered,
}

/// A group that is up. It goes with its owner's adapter.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) owner: PortId,
    credentials: GroupCredentials,
    pub(super) stations: BTreeSet<PortId>,
    /// When the air is free again, towards the owner and away from it.
    pub(super) free_at: [Time; 2],
}

impl Air {
    pub(super) fn start_group(&mut self, port: PortId) {
        if matches!(self.port(port).map(|it| &it.owning), Some(Owning::Group(_))) {
            self.stop_group(port);
        }
        let profile = *self.profile_of(port);
        let after = self
            .wifi_chance
            .between(profile.group_start, profile.group_start * 2);
        let fate = self.draw_fate(self.faults.group_failed_ppm);
        self.maybe_flap(port);
        let Some(it) = self.port_mut(port).filter(|it| it.on()) else {
            return;
        };
        it.owning = Owning::Starting;
        it.group_epoch += 1;
        let epoch = it.group_epoch;
        self.schedule(after, port, Action::Group { epoch, fate });
    }

    fn draw_fate(&mut self, fails_ppm: u32) -> Fate {
        let fails = self.wifi_chance.happens(fails_ppm);
        let unanswered = self.wifi_chance.happens(self.faults.unanswered_ppm);
        match (unanswered, fails) {
            (true, _) => Fate::Unanswered,
            (false, true) => Fate::Fails,
            (false, false) => Fate::Works,
        }
    }

    pub(super) fn group_due(&mut self, port: PortId, epoch: u64, fate: Fate) {
        let Some(it) = self.port_mut(port) else { return };
        if !it.on() || it.group_epoch != epoch || !matches!(it.owning, Owning::Starting) {
            return;
        }
        it.owning = Owning::Nothing;
        match fate {
            Fate::Unanswered => self.note(port, format_args!("starting a group is never answered")),
            Fate::Fails => self.emit(port, Event::GroupFailed),
            Fate::Works => self.open_group(port),
        }
    }

    fn open_group(&mut self, owner: PortId) {
        let chance = &mut self.name_chance;
        // 2.4 and 5 GHz channels that need no radar detection.
        const CHANNELS: [u32; 5] = [2412, 2437, 2462, 5180, 5200];
        let channel = usize::try_from(chance.below(CHANNELS.len() as u64)).unwrap_or(0);
        let credentials = GroupCredentials {
            ssid: format!("DIRECT-{}-{}", chance.text(2), chance.text(10)),
            passphrase: chance.text(20),
            frequency_mhz: CHANNELS.get(channel).copied().unwrap_or(2412),
            endpoint: format!(
                "[fe80::{:x}]:{}",
                chance.below(0xffff),
                49_152 + chance.below(16_384)
            ),
            device: Address(chance.below(1 << 48)),
        };
        let key = self.fresh_key();
        let stations = BTreeSet::new();
        let group = Group {
            owner,
            credentials: credentials.clone(),
            stations,
            free_at: [self.now; 2],
        };
        self.groups.insert(key, group);
        if let Some(it) = self.port_mut(owner) {
            it.owning = Owning::Group(key);
        }
        self.emit(owner, Event::GroupStarted { credentials });
    }

    pub(super) fn stop_group(&mut self, port: PortId) {
        let Some(it) = self.port_mut(port) else { return };
        it.group_epoch += 1;
        match std::mem::take(&mut it.owning) {
            Owning::Nothing => {}
            Owning::Starting => self.emit(port, Event::GroupFailed),
            Owning::Group(key) => self.end_group(key),
        }
    }

    /// The group ends for everyone in it, now.
    pub(super) fn end_group(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get(&key) else {
            return;
        };
        let (owner, stations) = (group.owner, group.stations.clone());
        self.end_streams_where(|stream| stream.group == key);
        for station in stations {
            self.end_station(station);
        }
        self.groups.remove(&key);
        if let Some(it) = self.port_mut(owner) {
            it.owning = Owning::Nothing;
        }
        self.emit(owner, Event::GroupStopped);
    }

    pub(super) fn join(&mut self, port: PortId, credentials: GroupCredentials) {
        self.leave_joined(port);
        let profile = *self.profile_of(port);
        let after = self.wifi_chance.between(profile.join, profile.join * 2);
        let fate = self.draw_fate(self.faults.join_failed_ppm);
        let Some(it) = self.port_mut(port) else { return };
        it.station = Station::Joining(credentials);
        it.station_epoch += 1;
        let epoch = it.station_epoch;
        self.schedule(after, port, Action::Join { epoch, fate });
    }

    pub(super) fn join_due(&mut self, port: PortId, epoch: u64, fate: Fate) {
        let Some(it) = self
            .port_mut(port)
            .filter(|it| it.on() && it.station_epoch == epoch)
        else {
            return;
        };
        let credentials = match std::mem::take(&mut it.station) {
            Station::Joining(credentials) => credentials,
            // A join that was answered goes on: the epoch is the same, so this can't be, but nothing is lost.
            kept @ (Station::Out | Station::In { .. }) => {
                it.station = kept;
                return;
            }
        };
        if fate == Fate::Unanswered {
            return self.note(port, format_args!("joining is never answered"));
        }
        let found = self.groups.iter().find(|(_, group)| {
            let told = &group.credentials;
            told.ssid == credentials.ssid
                && told.passphrase == credentials.passphrase
                && told.frequency_mhz == credentials.frequency_mhz
                && group.stations.len() < STATIONS_MAX
                && self.in_range(port, group.owner)
        });
        let Some(key) = found.map(|(key, _)| *key).filter(|_| fate == Fate::Works) else {
            return self.emit(port, Event::JoinFailed);
        };
        if let Some(group) = self.groups.get_mut(&key) {
            group.stations.insert(port);
        }
        if let Some(it) = self.port_mut(port) {
            it.station = Station::In {
                group: key,
                credentials,
                apart: false,
            };
        }
        self.emit(port, Event::Joined(Joined::DIRECTLY));
    }

    pub(super) fn leave(&mut self, port: PortId) {
        let joining = matches!(self.port(port).map(|it| &it.station), Some(Station::Joining(_)));
        if joining {
            if let Some(it) = self.port_mut(port) {
                it.station = Station::Out;
                it.station_epoch += 1;
            }
            self.emit(port, Event::JoinFailed);
        } else {
            self.leave_joined(port);
        }
    }

    fn leave_joined(&mut self, port: PortId) {
        let group = match self.port(port).map(|it| &it.station) {
            Some(Station::In { group, .. }) => *group,
            Some(Station::Out | Station::Joining(_)) | None => return,
        };
        self.end_streams_where(|stream| {
            stream.group == group && Side::Station.of_ref(&stream.ends).port == port
        });
        self.end_station(port);
    }

    /// The station is out of its group; its streams have ended before.
    pub(super) fn end_station(&mut self, port: PortId) {
        let Some(it) = self.port_mut(port) else { return };
        let Station::In { group, .. } = &it.station else {
            return;
        };
        let group = *group;
        it.station = Station::Out;
        it.station_epoch += 1;
        if let Some(group) = self.groups.get_mut(&group) {
            group.stations.remove(&port);
        }
        self.emit(port, Event::Left);
    }

    pub(super) fn dial(&mut self, port: PortId) {
        let fate = self.draw_fate(self.faults.dial_failed_ppm);
        let joined = self
            .port(port)
            .is_some_and(|it| matches!(it.station, Station::In { .. }));
        let room = self
            .port(port)
            .is_some_and(|it| it.streams.len() + it.dialling < STREAMS_MAX);
        if !joined || !room || fate == Fate::Fails {
            return self.emit(port, Event::StreamFailed);
        }
        let latency = self.profile_of(port).latency;
        let Some(it) = self.port_mut(port) else { return };
        it.dialling += 1;
        let epoch = it.station_epoch;
        self.schedule(latency * 2, port, Action::Dial { epoch, fate });
    }

    pub(super) fn dial_due(&mut self, port: PortId, epoch: u64, fate: Fate) {
        let Some(it) = self.port_mut(port) else { return };
        it.dialling = it.dialling.saturating_sub(1);
        let is_on = it.on();
        let joined = match &it.station {
            Station::In {
                group, credentials, ..
            } if it.station_epoch == epoch => Some((*group, credentials.endpoint.clone())),
            Station::In { .. } | Station::Out | Station::Joining(_) => None,
        };
        if fate == Fate::Unanswered {
            return self.note(port, format_args!("dialling is never answered"));
        }
        let group = joined.and_then(|(key, endpoint)| {
            let group = self.groups.get(&key)?;
            let room = self.port(group.owner)?.streams.len() < STREAMS_MAX;
            let heard = self.in_range(port, group.owner) && group.credentials.endpoint == endpoint;
            (room && heard).then_some((key, group.owner))
        });
        match group {
            Some((key, owner)) => self.open_stream(key, [port, owner]),
            None if is_on => self.emit(port, Event::StreamFailed),
            None => {}
        }
    }

    fn open_stream(&mut self, group: GroupKey, ports: [PortId; 2]) {
        let key = self.fresh_key();
        let ids = [Side::Station, Side::Owner].map(|side| {
            self.ports
                .get_mut(side.of(ports).index())
                .map_or(StreamId(0), |it| {
                    it.next_stream = it.next_stream.wrapping_add(1);
                    it.streams.insert(StreamId(it.next_stream), (key, side));
                    StreamId(it.next_stream)
                })
        });
        self.streams.insert(key, Stream::new(group, ports, ids));
        for side in [Side::Owner, Side::Station] {
            self.emit(side.of(ports), Event::StreamOpened { stream: side.of(ids) });
        }
    }
}
