//! The hub's machine of machines: one [`HubSession`], and a [`berth_bridge::Receiver`] for each link.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use berth_bridge::{Effect, End, Input, LaptopId, Spool, StoreDone, StoreError};
use berth_pairing::{
    Closed, DeviceId, HandshakeError, PairingCode, PairingError, Peer, TrustError, TrustList,
};
use berth_radio::{Command, Time};
use berth_session::{HubEffect, HubInput, HubSession, HubSetup, SessionId};
use berth_wire::{Frame, Refusal, ToHub, ToLaptop};
use bytes::Bytes;

use crate::store::{Pace, Store, Stores, ThreadDone};
use crate::visit::Visit;

/// Answers that wait for the link. A laptop asks for 1 MiB at a time; one that goes on asking and does not listen would
/// fill the hub's memory.
const OUTBOX_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a hub is made of.
pub struct HubParts {
    /// For the sessions.
    pub setup: HubSetup,
    /// Opened, and so repaired.
    pub spool: Arc<Spool>,
    /// Where the spool's work is done.
    pub stores: Stores,
}

/// What the driver does next.
#[derive(Debug)]
pub enum HubOutput {
    /// For the radio.
    Radio(Command),
    /// For people and logs.
    Event(HubEvent),
}

/// What happened, for people and logs.
#[derive(Debug)]
#[non_exhaustive]
pub enum HubEvent {
    /// A laptop was paired.
    Paired(Peer),
    /// A pairing failed.
    PairingFailed(PairingError),
    /// The pairing window has closed.
    WindowClosed(Closed),
    /// Somebody was not let in.
    NotAdmitted(HandshakeError),
    /// The trust list could not be written.
    TrustFailed(TrustError),
    /// A visit has begun.
    VisitBegan(Peer),
    /// A visit is over.
    VisitEnded {
        /// Whose.
        laptop: Peer,
        /// How, and what was sealed as partial.
        end: End,
    },
    /// A visit could not begin.
    NotServed {
        /// Whose.
        laptop: Peer,
        /// Why.
        error: StoreError,
    },
}

/// A hub. Tell it what happens with [`Hub::handle`], and let time pass at [`Hub::next_at`].
pub struct Hub {
    session: HubSession,
    spool: Arc<Spool>,
    stores: Stores,
    visits: BTreeMap<SessionId, Visit>,
}

type Out<'a> = &'a mut Vec<HubOutput>;

impl Hub {
    /// Starts a hub: from here on it can be seen. `wall_ns`: nanoseconds since 1970.
    ///
    /// # Errors
    /// [`TrustError`]: the trust list cannot be written.
    pub fn new(
        now: Time,
        wall_ns: i64,
        parts: HubParts,
        out: &mut Vec<HubOutput>,
    ) -> Result<Self, TrustError> {
        let mut effects = Vec::new();
        let session = HubSession::new(now, wall_ns, parts.setup, &mut effects)?;
        let mut hub = Self {
            session,
            spool: parts.spool,
            stores: parts.stores,
            visits: BTreeMap::new(),
        };
        hub.session_did(now, wall_ns, effects, out);
        Ok(hub)
    }

    /// Opens the pairing window and gives the code to show.
    pub fn open_window(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubOutput>) -> PairingCode {
        let mut effects = Vec::new();
        let code = self.session.open_window(now, wall_ns, &mut effects);
        self.session_did(now, wall_ns, effects, out);
        code
    }

    /// Closes the pairing window; an open one is told as [`HubEvent::WindowClosed`].
    pub fn close_window(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubOutput>) {
        let mut effects = Vec::new();
        self.session.close_window(now, wall_ns, &mut effects);
        self.session_did(now, wall_ns, effects, out);
    }

    /// Revokes a laptop, in the middle of a visit too; what it has sent until then is sealed.
    ///
    /// # Errors
    /// [`TrustError`]: see [`TrustList::revoke`].
    pub fn revoke(
        &mut self,
        now: Time,
        wall_ns: i64,
        device: &DeviceId,
        out: &mut Vec<HubOutput>,
    ) -> Result<(), TrustError> {
        let theirs =
            |(session, visit): (&SessionId, &Visit)| (visit.laptop.device == *device).then_some(*session);
        for session in self.visits.iter().filter_map(theirs).collect::<Vec<_>>() {
            self.tell(now, wall_ns, session, Input::Stop(Refusal::Revoked), out);
        }
        let mut effects = Vec::new();
        let revoked = self.session.revoke(now, wall_ns, device, &mut effects);
        self.session_did(now, wall_ns, effects, out);
        revoked
    }

    /// Who is trusted.
    #[must_use]
    pub const fn trust(&self) -> &TrustList {
        self.session.trust()
    }

    /// The spool, for lists and forwarding.
    #[must_use]
    pub const fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Visits that are under way or being sealed.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.visits.len()
    }

    /// Whose visits are under way or being sealed.
    pub fn visitors(&self) -> impl Iterator<Item = &Peer> {
        self.visits.values().map(|visit| &visit.laptop)
    }

    /// When a [`HubInput::Tick`] is due, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let visits = self.visits.values().filter_map(|visit| visit.receiver.wake_at());
        self.session.next_at().into_iter().chain(visits).min()
    }

    /// Takes one input; appends what is to be done.
    pub fn handle(&mut self, now: Time, wall_ns: i64, input: HubInput, out: &mut Vec<HubOutput>) {
        match input {
            HubInput::Tick => {
                for session in self.visits.keys().copied().collect::<Vec<_>>() {
                    if self.visits.get(&session).is_some_and(Visit::is_held) {
                        self.tell(now, wall_ns, session, Input::Held, out);
                    }
                    self.tell(now, wall_ns, session, Input::Tick, out);
                }
            }
            HubInput::Stop => {
                for session in self.visits.keys().copied().collect::<Vec<_>>() {
                    self.tell(now, wall_ns, session, Input::Stop(Refusal::Stopping), out);
                }
            }
            HubInput::Radio(_)
            | HubInput::Lan(_)
            | HubInput::Frame { .. }
            | HubInput::Hold { .. }
            | HubInput::Resume { .. }
            | HubInput::End { .. } => {}
        }
        let mut effects = Vec::new();
        self.session.handle(now, wall_ns, input, &mut effects);
        self.session_did(now, wall_ns, effects, out);
    }

    /// Takes what the visits' threads have done since the last call.
    pub fn stores_done(&mut self, now: Time, wall_ns: i64, out: &mut Vec<HubOutput>) {
        while let Stores::Threads(threads) = &self.stores
            && let Some((session, done)) = threads.done()
        {
            match done {
                ThreadDone::Store(done) => self.tell(now, wall_ns, session, Input::Store(done), out),
                ThreadDone::Some => self.pace(now, wall_ns, session, out),
            }
        }
    }

    fn session_did(&mut self, now: Time, wall_ns: i64, effects: Vec<HubEffect>, out: Out<'_>) {
        for effect in effects {
            match effect {
                HubEffect::Radio(command) => out.push(HubOutput::Radio(command)),
                HubEffect::Up { session, laptop } => self.up(now, session, laptop, out),
                HubEffect::Frame { session, frame } => self.frame(now, wall_ns, session, frame, out),
                HubEffect::Room { session } => self.flush(now, wall_ns, session, out),
                HubEffect::Down { session, .. } => {
                    if let Some(visit) = self.visits.get_mut(&session) {
                        visit.link_is_up = false;
                        visit.forget_outbox();
                        self.tell(now, wall_ns, session, Input::Cut, out);
                        self.forget_if_over(now, wall_ns, session, out);
                    }
                }
                HubEffect::Paired(laptop) => out.push(HubOutput::Event(HubEvent::Paired(laptop))),
                HubEffect::PairingFailed(error) => out.push(HubOutput::Event(HubEvent::PairingFailed(error))),
                HubEffect::WindowClosed(why) => out.push(HubOutput::Event(HubEvent::WindowClosed(why))),
                HubEffect::NotAdmitted(error) => out.push(HubOutput::Event(HubEvent::NotAdmitted(error))),
                HubEffect::TrustFailed(error) => out.push(HubOutput::Event(HubEvent::TrustFailed(error))),
            }
        }
    }

    fn up(&mut self, now: Time, session: SessionId, laptop: Peer, out: Out<'_>) {
        out.push(HubOutput::Event(HubEvent::VisitBegan(laptop.clone())));
        self.visits.insert(session, Visit::new(now, laptop));
    }

    fn frame(&mut self, now: Time, wall_ns: i64, session: SessionId, frame: Bytes, out: Out<'_>) {
        let Some(visit) = self.visits.get_mut(&session) else {
            return;
        };
        let input = match visit.decoder.frame::<ToHub>(frame) {
            Ok(None) => return,
            Ok(Some(Frame::Control(message))) => Input::Message(message),
            Ok(Some(Frame::Data { upload, bytes })) => Input::Data { upload, bytes },
            // Not of this protocol, from a laptop that proved who it is: a bug of either side.
            Err(_) => Input::Stop(Refusal::Disagree),
        };
        self.tell(now, wall_ns, session, input, out);
    }

    /// Tells a receiver, and does what it asks for, until nothing more comes of it.
    fn tell(&mut self, now: Time, wall_ns: i64, session: SessionId, input: Input, out: Out<'_>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(visit) = self.visits.get_mut(&session) else {
                return;
            };
            let mut effects = Vec::new();
            visit.receiver.handle(now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Store(op) => visit.waiting.push_back(op),
                    Effect::Reply(message) => visit.reply(&message),
                    Effect::End(end) => visit.end = Some(end),
                }
            }
            if visit.outbox_size_bytes > OUTBOX_SIZE_BYTES_MAX {
                visit.forget_outbox();
                inputs.push_back(Input::Stop(Refusal::Disagree));
            }
            self.store(wall_ns, session, &mut inputs, out);
        }
        self.pace(now, wall_ns, session, out);
        self.flush(now, wall_ns, session, out);
    }

    /// Hands waiting operations to the spool.
    fn store(&mut self, wall_ns: i64, session: SessionId, inputs: &mut VecDeque<Input>, out: Out<'_>) {
        let Some(visit) = self.visits.get_mut(&session) else {
            return;
        };
        if visit.store.is_none() && !visit.waiting.is_empty() {
            match self.spool.visit(LaptopId::from(visit.laptop.device)) {
                Ok(begun) => visit.store = Some(self.stores.start(session, begun)),
                // The visit before is still being sealed: `forget_if_over` comes back to this one.
                Err(StoreError::Busy) => return,
                Err(error) => {
                    let laptop = visit.laptop.clone();
                    let refusal = error.refusal();
                    out.push(HubOutput::Event(HubEvent::NotServed { laptop, error }));
                    visit.reply(&ToLaptop::Refused { why: refusal });
                    visit.waiting.clear();
                    inputs.push_back(Input::Store(StoreDone::Left { sealed: Ok(None) }));
                    return;
                }
            }
        }
        while let Some(store) = &mut visit.store
            && let Some(op) = visit.waiting.pop_front()
        {
            match store {
                Store::Inline(begun) => {
                    let done = begun.execute(op, wall_ns);
                    if matches!(done, Some(StoreDone::Left { .. })) {
                        visit.store = None;
                        visit.waiting.clear();
                    }
                    inputs.extend(done.map(Input::Store));
                }
                Store::Thread { ops, stays, .. } => Store::send(ops, stays, op),
            }
        }
    }

    /// Stops a laptop that is faster than the spool, and lets it go on.
    fn pace(&mut self, now: Time, wall_ns: i64, session: SessionId, out: Out<'_>) {
        let store = self
            .visits
            .get_mut(&session)
            .and_then(|visit| visit.store.as_mut());
        let input = match store.and_then(Store::pace) {
            Some(Pace::Hold) => HubInput::Hold { session },
            Some(Pace::Resume) => HubInput::Resume { session },
            None => return,
        };
        let mut effects = Vec::new();
        self.session.handle(now, wall_ns, input, &mut effects);
        self.session_did(now, wall_ns, effects, out);
    }

    /// Sends what the link has room for; ends the session once its visit is over and all is said.
    fn flush(&mut self, now: Time, wall_ns: i64, session: SessionId, out: Out<'_>) {
        let mut effects = Vec::new();
        if let Some(visit) = self.visits.get_mut(&session) {
            while visit.link_is_up
                && self.session.room_bytes(session) > 0
                && let Some(frame) = visit.outbox.pop_front()
            {
                visit.outbox_size_bytes -= frame.len();
                self.session
                    .handle(now, wall_ns, HubInput::Frame { session, frame }, &mut effects);
            }
            if visit.end.is_some() && visit.outbox.is_empty() && visit.link_is_up {
                self.session
                    .handle(now, wall_ns, HubInput::End { session }, &mut effects);
            }
        }
        self.session_did(now, wall_ns, effects, out);
        self.forget_if_over(now, wall_ns, session, out);
    }

    /// Drops a visit that has ended and whose link is gone, and lets the laptop's next one begin.
    fn forget_if_over(&mut self, now: Time, wall_ns: i64, session: SessionId, out: Out<'_>) {
        let is_over = |visit: &Visit| visit.end.is_some() && !visit.link_is_up;
        if !self.visits.get(&session).is_some_and(is_over) {
            return;
        }
        let Some(Visit {
            laptop,
            end: Some(end),
            store,
            ..
        }) = self.visits.remove(&session)
        else {
            return;
        };
        drop(store);
        let next = self
            .visits
            .iter()
            .find(|(_, visit)| visit.laptop.device == laptop.device && visit.store.is_none());
        let next = next.map(|(session, _)| *session);
        out.push(HubOutput::Event(HubEvent::VisitEnded { laptop, end }));
        if let Some(next) = next {
            let mut inputs = VecDeque::new();
            self.store(wall_ns, next, &mut inputs, out);
            for input in inputs {
                self.tell(now, wall_ns, next, input, out);
            }
        }
    }
}
