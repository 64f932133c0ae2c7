//! The simulated air: commands of radios in, their events out, at their time.
//!
//! Place: a driver ([`crate::SharedAir`], a test's world) owns the clock and calls, for each step,
//! [`Air::advance`] up to `now`, hands the events to the machines, and gives their commands to [`Air::command`].
//! [`Air::next_at`] says when to come back.
//! Invariants: everything random is drawn from the seed, in the order of the calls; nothing is delivered to a port
//! out of range; every collection has a named maximum; whatever a port commands, the air goes on.

mod agenda;
mod ble;
mod lane;
mod port;
mod range;
mod stream;
mod tell;
mod wifi;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use berth_radio::{Command, Event, Time};

use crate::chance::Chance;
use crate::{Faults, Profile, Trace, TraceTo};
use agenda::{Action, Agenda};
use ble::{Conn, ConnKey};
pub use lane::{RECEIVE_WINDOW_BYTES, RECEIVE_WINDOW_PIECES};
use lane::{Stream, StreamKey};
pub use port::{AttachError, NAME_SIZE_BYTES_MAX, Place, PortId};
use port::{PENDING_MAX, Port};
pub use range::Cut;
use wifi::{Group, GroupKey};

/// Radios that can ever be attached: each keeps its name and place after it has left.
pub const PORTS_MAX: usize = 1024;

/// The air and the radios in it. See the module for how to drive it.
#[derive(Debug)]
pub struct Air {
    now: Time,
    profile: Profile,
    faults: Faults,
    ports: Vec<Port>,
    conns: BTreeMap<ConnKey, Conn>,
    groups: BTreeMap<GroupKey, Group>,
    streams: BTreeMap<StreamKey, Stream>,
    /// Next key of a connection, group or stream; never reused.
    next_key: u64,
    agenda: Agenda,
    ready: VecDeque<(PortId, Event)>,
    trace: Trace,
    ble_chance: Chance,
    wifi_chance: Chance,
    stream_chance: Chance,
    name_chance: Chance,
}

impl Air {
    /// An empty air without faults and without a trace.
    #[must_use]
    pub fn new(seed: u64, profile: Profile) -> Self {
        Self {
            now: Duration::ZERO,
            profile,
            faults: Faults::none(),
            ports: Vec::new(),
            conns: BTreeMap::new(),
            groups: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_key: 0,
            agenda: Agenda::default(),
            ready: VecDeque::new(),
            trace: Trace::default(),
            ble_chance: Chance::new(seed, 1),
            wifi_chance: Chance::new(seed, 2),
            stream_chance: Chance::new(seed, 3),
            name_chance: Chance::new(seed, 4),
        }
    }

    /// What may go wrong from now on.
    pub fn faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Starts a new trace. Switch it on before the first port for a complete one.
    pub fn trace_to(&mut self, to: TraceTo) {
        self.trace = Trace::new(to);
    }

    /// The trace so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What a radio asks for. Its answers come out of [`Self::advance`], some at the same time `now`. Call `advance`
    /// up to `now` first. A port that is gone or has too much pending is ignored.
    pub fn command(&mut self, now: Time, port: PortId, command: Command) {
        self.now = self.now.max(now);
        let Some(able) = self.port(port).map(|it| it.on() && it.pending < PENDING_MAX) else {
            return;
        };
        self.tell_command(port, &command, able);
        if !able {
            return;
        }
        match command {
            Command::Advertise { beacon } => self.advertise(port, beacon),
            Command::StopAdvertising => self.stop_advertising(port),
            Command::Scan => self.scan(port),
            Command::StopScanning => self.stop_scanning(port),
            Command::Connect { peer } => self.connect(port, peer),
            Command::Send { conn, frame } => self.send(port, conn, frame),
            Command::Disconnect { conn } => self.disconnect(port, conn),
            Command::StartGroup => self.start_group(port),
            Command::StopGroup => self.stop_group(port),
            Command::Join { credentials } => self.join(port, credentials),
            Command::Leave => self.leave(port),
            Command::Dial => self.dial(port),
            // There is no other network.
            Command::Reach { .. } => self.emit(port, Event::StreamFailed),
            Command::Write { stream, piece } => self.write(port, stream, piece),
            Command::Hold { stream } => self.hold(port, stream, true),
            Command::Resume { stream } => self.hold(port, stream, false),
            Command::CloseStream { stream } => self.close_stream(port, stream),
        }
    }

    /// When the next event is due; call [`Self::advance`] then. `None`: nothing happens without a new command.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        if self.ready.is_empty() {
            self.agenda.next_at()
        } else {
            Some(self.now)
        }
    }

    /// Lets the time pass up to `now` and appends what the radios report, in the order in which it happened.
    pub fn advance(&mut self, now: Time, events: &mut Vec<(PortId, Event)>) {
        while let Some((at, owner, action)) = self.agenda.take_due(now) {
            self.now = self.now.max(at);
            self.drop_pending(owner);
            self.perform(owner, action);
        }
        self.now = self.now.max(now);
        while let Some((port, event)) = self.ready.pop_front() {
            self.drop_pending(port);
            events.push((port, event));
        }
    }

    fn perform(&mut self, owner: PortId, action: Action) {
        match action {
            Action::Report => self.report(owner),
            Action::Connect { peer, epoch, fate } => self.connect_due(owner, epoch, peer, fate),
            Action::Frame { conn, to, frame } => self.frame_due(conn, to, frame),
            Action::ConnEnd { conn, side } => self.end_conn_side(conn, side),
            Action::ConnLost { conn, epoch } => self.conn_lost(conn, epoch),
            Action::Group { epoch, fate } => self.group_due(owner, epoch, fate),
            Action::Join { epoch, fate } => self.join_due(owner, epoch, fate),
            Action::Dial { epoch, fate } => self.dial_due(owner, epoch, fate),
            Action::Leaves { stream, from } => self.piece_leaves(stream, from),
            Action::Arrives { stream, from } => self.pieces_arrive(stream, from),
            Action::StationLost { epoch } => self.station_lost(owner, epoch),
            Action::OwnerLost { stream, epoch } => self.owner_lost(stream, epoch),
            Action::AdapterBack { epoch } => self.adapter_back_due(owner, epoch),
        }
    }

    fn schedule(&mut self, after: Duration, owner: PortId, action: Action) {
        self.schedule_at(self.now.saturating_add(after), owner, action);
    }

    fn schedule_at(&mut self, at: Time, owner: PortId, action: Action) {
        if let Some(port) = self.port_mut(owner) {
            port.pending += 1;
        }
        self.agenda.add(at, owner, action);
    }

    fn drop_pending(&mut self, owner: PortId) {
        if let Some(port) = self.port_mut(owner) {
            port.pending = port.pending.saturating_sub(1);
        }
    }

    fn emit(&mut self, to: PortId, event: Event) {
        let Some(port) = self.ports.get_mut(to.index()).filter(|port| port.attached) else {
            return;
        };
        port.pending += 1;
        tell::tell_event(&mut self.trace, self.now, &port.label, &event);
        self.ready.push_back((to, event));
    }

    fn fresh_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(id.index()).filter(|port| port.attached)
    }

    fn port_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.ports.get_mut(id.index())
    }

    /// A line about `port` that is no command and no event.
    fn note(&mut self, port: PortId, what: std::fmt::Arguments<'_>) {
        if let Some(port) = self.ports.get(port.index()) {
            self.trace.line(self.now, &port.label, '!', what);
        }
    }
}
