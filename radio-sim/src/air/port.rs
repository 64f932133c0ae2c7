//! One radio: its name, its place, and what it has open.

use std::collections::BTreeMap;

use berth_radio::{ConnId, GroupCredentials, StreamId, Time};
use bytes::Bytes;

use super::ble::ConnKey;
use super::lane::{Side, StreamKey};
use super::wifi::GroupKey;
use super::{Air, Cut, PORTS_MAX};
use crate::Profile;

/// Longest name of a port: it fits one advertisement.
pub const NAME_SIZE_BYTES_MAX: usize = 64;

/// Things planned for or ready at one port. Beyond it the port's commands are ignored: what a port can make the air
/// remember is bounded. Streams and frames have limits of their own below it.
pub(super) const PENDING_MAX: usize = 65_536;

/// A radio in the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(u32);

impl PortId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a radio is. Radios at the same place hear each other, others don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place(pub u32);

/// Why a radio can't come into the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Empty, over [`NAME_SIZE_BYTES_MAX`], or with other characters than printable ASCII without spaces.
    #[error("a radio's name has 1 to {NAME_SIZE_BYTES_MAX} printable ASCII characters without spaces")]
    BadName,
    /// There is a radio of that name.
    #[error("a radio of that name is in the air")]
    NameTaken,
    /// [`PORTS_MAX`] names are known.
    #[error("the air knows {PORTS_MAX} radios")]
    Full,
}

#[derive(Debug)]
pub(super) struct Advert {
    pub(super) address: u64,
    pub(super) beacon: Bytes,
}

#[derive(Debug, Default)]
pub(super) enum Owning {
    #[default]
    Nothing,
    Starting,
    Group(GroupKey),
}

#[derive(Debug, Default)]
pub(super) enum Station {
    #[default]
    Out,
    Joining(GroupCredentials),
    In {
        group: GroupKey,
        credentials: GroupCredentials,
        /// Out of the owner's range; it will notice.
        apart: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Port {
    pub(super) name: String,
    /// The name in the trace: of several of one name, the second is `NAME#2`.
    pub(super) label: String,
    pub(super) attached: bool,
    /// Its driver says when it has taken stream bytes.
    pub(super) paced: bool,
    pub(super) place: Option<Place>,
    pub(super) adapter_gone: bool,
    pub(super) profile: Option<Profile>,
    pub(super) pending: usize,
    /// Counts what ends plans: adapter changes, group starts, joins, changes of range. Never set back.
    pub(super) adapter_epoch: u64,
    pub(super) group_epoch: u64,
    pub(super) station_epoch: u64,
    pub(super) range_epoch: u64,
    pub(super) advert: Option<Advert>,
    pub(super) former: Option<(u64, Time)>,
    pub(super) scanning: bool,
    pub(super) report_planned: bool,
    pub(super) connecting: bool,
    pub(super) dialling: usize,
    pub(super) next_conn: u32,
    pub(super) conns: BTreeMap<ConnId, (ConnKey, Side)>,
    pub(super) owning: Owning,
    pub(super) station: Station,
    pub(super) next_stream: u32,
    pub(super) streams: BTreeMap<StreamId, (StreamKey, Side)>,
    /// What happens after this port has sent so many bytes more over streams.
    pub(super) cut_after: Option<(u64, Cut)>,
}

impl Port {
    /// It is there and its adapter too.
    pub(super) fn on(&self) -> bool {
        self.attached && !self.adapter_gone
    }

    /// Forgets all that an adapter has open. Names, numbers and counters go on.
    pub(super) fn reset(&mut self) {
        self.adapter_epoch += 1;
        self.group_epoch += 1;
        self.station_epoch += 1;
        self.range_epoch += 1;
        self.advert = None;
        self.former = None;
        self.scanning = false;
        self.connecting = false;
        self.conns.clear();
        self.owning = Owning::Nothing;
        self.station = Station::Out;
        self.streams.clear();
    }
}

impl Air {
    /// A radio comes into the air, near (at place 0) unless the name has been placed before. The same name gets the
    /// same [`PortId`] again after it was detached.
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    pub fn attach(&mut self, name: &str) -> Result<PortId, AttachError> {
        let id = self.named(name)?;
        self.attach_as(id, false)
    }

    /// Like [`Self::attach`], for a driver that queues events: stream bytes count as unread until
    /// [`Self::taken`], and a stream with [`super::RECEIVE_WINDOW_BYTES`] unread stops its sender. Several radios may
    /// have one name: a further one is where the first is, with its profile, and has a port of its own.
    ///
    /// # Errors
    /// [`AttachError`], but not [`AttachError::NameTaken`]; nothing has changed then.
    pub fn attach_paced(&mut self, name: &str) -> Result<PortId, AttachError> {
        let namesakes = self.namesakes(name)?;
        let is_free = |id: &&PortId| self.ports.get(id.index()).is_some_and(|port| !port.attached);
        let id = match namesakes.iter().find(is_free) {
            Some(id) => *id,
            None => self.add_namesake(name, &namesakes)?,
        };
        self.attach_as(id, true)
    }

    fn add_namesake(&mut self, name: &str, namesakes: &[PortId]) -> Result<PortId, AttachError> {
        let first = namesakes.first().and_then(|first| self.ports.get(first.index()));
        let fresh = Port {
            name: name.to_owned(),
            label: format!("{name}#{}", namesakes.len() + 1),
            place: first.map_or(Some(Place::default()), |it| it.place),
            profile: first.and_then(|it| it.profile),
            ..Port::default()
        };
        self.add_port(fresh)
    }

    fn attach_as(&mut self, id: PortId, paced: bool) -> Result<PortId, AttachError> {
        let port = self.port_mut(id).ok_or(AttachError::Full)?;
        if port.attached {
            return Err(AttachError::NameTaken);
        }
        port.attached = true;
        port.paced = paced;
        port.adapter_gone = false;
        self.note(id, format_args!("attached"));
        Ok(id)
    }

    /// The port of that name, attached or not: it can be placed before its radio comes.
    ///
    /// # Errors
    /// [`AttachError::BadName`], [`AttachError::Full`].
    pub fn named(&mut self, name: &str) -> Result<PortId, AttachError> {
        let fits = (1..=NAME_SIZE_BYTES_MAX).contains(&name.len());
        if !fits || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AttachError::BadName);
        }
        if let Some(at) = self.ports.iter().position(|port| port.name == name) {
            return u32::try_from(at).map(PortId).map_err(|_| AttachError::Full);
        }
        let fresh = Port {
            name: name.to_owned(),
            label: name.to_owned(),
            place: Some(Place::default()),
            ..Port::default()
        };
        self.add_port(fresh)
    }

    /// All ports of that name, attached or not; at least the one of [`Self::named`].
    ///
    /// # Errors
    /// Those of [`Self::named`].
    pub fn namesakes(&mut self, name: &str) -> Result<Vec<PortId>, AttachError> {
        self.named(name)?;
        let is_namesake = |id: &PortId| self.name(*id) == Some(name);
        Ok(self.port_ids().filter(is_namesake).collect())
    }

    fn add_port(&mut self, fresh: Port) -> Result<PortId, AttachError> {
        if self.ports.len() >= PORTS_MAX {
            return Err(AttachError::Full);
        }
        let id = u32::try_from(self.ports.len()).map_err(|_| AttachError::Full)?;
        self.ports.push(fresh);
        Ok(PortId(id))
    }

    /// Whether a radio is there.
    #[must_use]
    pub fn is_attached(&self, port: PortId) -> bool {
        self.port(port).is_some()
    }

    /// The names of the radios that are there, each once, in the order in which they first came.
    #[must_use]
    pub fn attached_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for port in self.ports.iter().filter(|port| port.attached) {
            if !names.contains(&port.name) {
                names.push(port.name.clone());
            }
        }
        names
    }

    /// The name of a port.
    #[must_use]
    pub fn name(&self, port: PortId) -> Option<&str> {
        self.ports.get(port.index()).map(|port| port.name.as_str())
    }

    /// A radio's process ends: all that it had open ends, for the others too. It gets no event any more.
    pub fn detach(&mut self, now: Time, port: PortId) {
        self.now = self.now.max(now);
        if self.port(port).is_none() {
            return;
        }
        self.note(port, format_args!("detached"));
        if let Some(port) = self.port_mut(port) {
            port.attached = false;
        }
        self.end_all(port);
        if let Some(port) = self.port_mut(port) {
            port.reset();
            port.cut_after = None;
        }
        let ready_before = self.ready.len();
        self.ready.retain(|(to, _)| *to != port);
        let dropped = ready_before - self.ready.len();
        if let Some(port) = self.port_mut(port) {
            port.pending = port.pending.saturating_sub(dropped);
        }
    }

    /// Better or worse air for one radio; `None`: that of the air.
    pub fn profile(&mut self, now: Time, port: PortId, profile: Option<Profile>) {
        self.now = self.now.max(now);
        let name = profile.as_ref().map_or("as the air", |profile| profile.name);
        self.note(port, format_args!("profile {name}"));
        if let Some(port) = self.port_mut(port) {
            port.profile = profile;
        }
    }

    pub(super) fn profile_of(&self, port: PortId) -> &Profile {
        self.port(port)
            .and_then(|port| port.profile.as_ref())
            .unwrap_or(&self.profile)
    }

    pub(super) fn profile_between(&self, one: PortId, other: PortId) -> Profile {
        self.profile_of(one).worse_of(self.profile_of(other))
    }

    pub(super) fn port_ids(&self) -> impl Iterator<Item = PortId> + use<> {
        (0..u32::try_from(self.ports.len()).unwrap_or(u32::MAX)).map(PortId)
    }
}
