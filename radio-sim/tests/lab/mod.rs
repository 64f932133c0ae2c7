//! A hub and a laptop in an air, on one thread and virtual time.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use berth_radio::{
    Address, Command, ConnId, Event, GroupCredentials, Joined, STREAM_WINDOW_BYTES, StreamId, Time,
};
use berth_radio_sim::{Air, Faults, PortId, Profile, TraceTo};
use bytes::Bytes;

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    count: usize,
    stream: Option<StreamId>,
    read: usize,
    drained: usize,
    closed: bool,
    credentials: Option<GroupCredentials>,
}

pub(crate) struct Lab {
    pub(crate) air: Air,
    pub(crate) now: Time,
    pub(crate) hub: PortId,
    pub(crate) laptop: PortId,
    seen: BTreeMap<PortId, Seen>,
    /// Checks that read bytes are the pattern; off for other content.
    patterned: bool,
}

pub(crate) fn beacon(number: u8) -> Bytes {
    Bytes::from(vec![number; 20])
}

pub(crate) fn pattern(offset: usize, length: usize) -> Bytes {
    (offset..offset + length)
        .map(|at| (at.wrapping_mul(131) ^ (at >> 7)) as u8)
        .collect()
}

impl Lab {
    pub(crate) fn new(seed: u64, profile: Profile, faults: Faults) -> Self {
        let mut air = Air::new(seed, profile);
        air.faults(faults);
        air.trace_to(TraceTo::Memory);
        let (hub, laptop) = (air.attach("hub").unwrap(), air.attach("laptop").unwrap());
        let seen = [(hub, Seen::default()), (laptop, Seen::default())].into();
        Self {
            air,
            now: Duration::ZERO,
            hub,
            laptop,
            seen,
            patterned: true,
        }
    }

    /// With a stream between the two. Needs an air that lets it be made.
    pub(crate) fn linked(seed: u64, profile: Profile, faults: Faults) -> Self {
        let mut lab = Self::new(seed, profile, faults);
        lab.command(lab.hub, Command::StartGroup);
        lab.run_until(|lab| lab.seen[&lab.hub].credentials.is_some());
        lab.command(
            lab.laptop,
            Command::Join {
                credentials: lab.credentials(),
            },
        );
        lab.run_until(|lab| lab.events(lab.laptop).contains(&Event::Joined(Joined::DIRECTLY)));
        lab.command(lab.laptop, Command::Dial);
        lab.run_until(|lab| lab.seen[&lab.laptop].stream.is_some());
        lab.clear();
        lab
    }

    pub(crate) fn credentials(&self) -> GroupCredentials {
        self.seen[&self.hub].credentials.clone().unwrap()
    }

    pub(crate) fn command(&mut self, port: PortId, command: Command) {
        self.air.command(self.now, port, command);
    }

    pub(crate) fn write(&mut self, port: PortId, piece: Bytes) {
        self.patterned &= piece.len() > 8;
        let stream = self.seen[&port].stream.unwrap();
        self.command(port, Command::Write { stream, piece });
    }

    /// Lets the next thing happen. `false`: nothing is due before `until`.
    pub(crate) fn step(&mut self, until: Time) -> bool {
        let due = self.air.next_at().filter(|at| *at <= until);
        self.now = self.now.max(due.unwrap_or(until));
        let mut events = Vec::new();
        self.air.advance(self.now, &mut events);
        for (port, event) in events {
            self.note(port, event);
        }
        due.is_some()
    }

    fn note(&mut self, port: PortId, event: Event) {
        let patterned = self.patterned;
        let seen = self.seen.entry(port).or_default();
        seen.count += 1;
        match &event {
            Event::StreamOpened { stream } => {
                (seen.stream, seen.read, seen.drained, seen.closed) = (Some(*stream), 0, 0, false);
            }
            Event::StreamClosed { stream } if seen.stream == Some(*stream) => seen.closed = true,
            Event::Read { piece, .. } => {
                assert!(
                    !patterned || *piece == pattern(seen.read, piece.len()),
                    "other bytes than were sent"
                );
                seen.read += piece.len();
            }
            Event::Drained { bytes, .. } => seen.drained += bytes,
            Event::GroupStarted { credentials } => seen.credentials = Some(credentials.clone()),
            _ => {}
        }
        // Bulk would fill the memory.
        if seen.events.len() < 10_000 {
            seen.events.push(event);
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    pub(crate) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = self.now + Duration::from_secs(600);
        while !done(self) {
            assert!(
                self.step(deadline),
                "it never happened:\n{}",
                self.air.trace().text()
            );
        }
    }

    /// Keeps both directions full; the bytes that arrived up and down.
    pub(crate) fn carry_for(&mut self, time: Duration) -> (usize, usize) {
        let until = self.now + time;
        self.patterned = false;
        let zeros = Bytes::from(vec![0; 64 * 1024]);
        let before = (self.read(self.hub), self.read(self.laptop));
        let mut written: BTreeMap<PortId, usize> = self
            .seen
            .iter()
            .map(|(port, seen)| (*port, seen.drained))
            .collect();
        loop {
            for port in [self.hub, self.laptop] {
                while written[&port] - self.seen[&port].drained + zeros.len() <= STREAM_WINDOW_BYTES / 4 {
                    self.write(port, zeros.clone());
                    *written.get_mut(&port).unwrap() += zeros.len();
                }
            }
            if !self.step(until) {
                break;
            }
        }
        let bytes = (self.read(self.hub) - before.0, self.read(self.laptop) - before.1);
        // What is still under way must not come into the next measurement.
        let drained_all = |lab: &Self| {
            [lab.hub, lab.laptop]
                .iter()
                .all(|it| lab.seen[it].drained == written[it])
        };
        self.run_until(drained_all);
        self.run_for(Duration::from_millis(100));
        bytes
    }

    pub(crate) fn sight(&mut self) -> Address {
        self.clear();
        if self.air.next_at().is_none() {
            self.command(self.hub, Command::Advertise { beacon: beacon(1) });
        }
        self.command(self.laptop, Command::Scan);
        self.run_until(|lab| !lab.sighted(lab.laptop).is_empty());
        self.sighted(self.laptop)[0].0
    }

    /// Connects, also anew; the laptop's number.
    pub(crate) fn connect(&mut self) -> ConnId {
        self.command(self.laptop, Command::StopScanning);
        self.command(self.hub, Command::StopAdvertising);
        self.run_for(Duration::from_secs(3));
        self.command(self.hub, Command::Advertise { beacon: beacon(1) });
        let peer = self.sight();
        self.command(self.laptop, Command::StopScanning);
        self.clear();
        self.command(self.laptop, Command::Connect { peer });
        self.run_until(|lab| !lab.connected(lab.laptop).is_empty());
        self.connected(self.laptop)[0]
    }

    pub(crate) fn clear(&mut self) {
        self.seen.values_mut().for_each(|seen| seen.events.clear());
    }

    pub(crate) fn events(&self, port: PortId) -> &[Event] {
        self.seen.get(&port).map_or(&[], |seen| &seen.events)
    }

    pub(crate) fn count_events(&self, port: PortId) -> usize {
        self.seen.get(&port).map_or(0, |seen| seen.count)
    }

    pub(crate) fn read(&self, port: PortId) -> usize {
        self.seen[&port].read
    }

    pub(crate) fn closed(&self, port: PortId) -> bool {
        self.seen[&port].closed
    }

    pub(crate) fn sighted(&self, port: PortId) -> Vec<(Address, Bytes)> {
        let sighted = |event: &Event| match event {
            Event::Sighted { peer, beacon, .. } => Some((*peer, beacon.clone())),
            _ => None,
        };
        self.events(port).iter().filter_map(sighted).collect()
    }

    pub(crate) fn connected(&self, port: PortId) -> Vec<ConnId> {
        let connected = |event: &Event| match event {
            Event::Connected { conn, .. } => Some(*conn),
            _ => None,
        };
        self.events(port).iter().filter_map(connected).collect()
    }

    pub(crate) fn frames(&self, port: PortId) -> Vec<Bytes> {
        let received = |event: &Event| match event {
            Event::Received { frame, .. } => Some(frame.clone()),
            _ => None,
        };
        self.events(port).iter().filter_map(received).collect()
    }
}
