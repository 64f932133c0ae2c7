//! The laptop's machine of machines: one [`LaptopSession`], and a [`Visit`] once the link is up.

use std::collections::VecDeque;
use std::time::Duration;

use berth_client_sdk::{
    LookBack, Outgoing, Progress, Reading, ReadingStep, Step, Summary, Visit, VisitError,
};
use berth_pairing::{BeaconKey, DeviceId, Peer, verify};
use berth_radio::{Command, Time};
use berth_session::{LaptopEffect, LaptopEnd, LaptopInput, LaptopSession, LaptopStep};
use berth_wire::{
    Decoder, Frame, KEEP_ALIVE_MS, RECEIPT_CONTEXT, Refusal, SILENCE_MAX_MS, Signed, ToHub, ToLaptop,
    control_frames, data_frame,
};
use bytes::Bytes;

use crate::steps::VisitStep;
use crate::visiting::{Stopping, Visiting};

/// Time that the hub has to answer a goodbye; what is acknowledged does not depend on it.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

const KEEP_ALIVE: Duration = Duration::from_millis(KEEP_ALIVE_MS);
const SILENCE_MAX: Duration = Duration::from_millis(SILENCE_MAX_MS);

/// Makes the visit to a hub, once a link to it is up. Called at most once.
pub type Begin = Box<dyn FnOnce(&Peer) -> Result<Errand, VisitError> + Send>;

/// What a laptop comes for.
pub enum Errand {
    /// To back up, and to look once that is done at what the hub has confirmed.
    BackUp(Visiting, Option<Box<LookBack>>),
    /// To read back.
    Read(Box<Reading>),
}

impl From<Visit> for Errand {
    fn from(visit: Visit) -> Self {
        Self::BackUp(Visiting::Inline(Box::new(visit)), None)
    }
}

impl From<Visiting> for Errand {
    fn from(visiting: Visiting) -> Self {
        Self::BackUp(visiting, None)
    }
}

impl From<Reading> for Errand {
    fn from(reading: Reading) -> Self {
        Self::Read(Box::new(reading))
    }
}

impl Errand {
    /// Looks back when the set is complete; a visit that reads has nothing to look back at.
    #[must_use]
    pub fn looking_back(self, look_back: LookBack) -> Self {
        match self {
            Self::BackUp(visiting, _) => Self::BackUp(visiting, Some(Box::new(look_back))),
            Self::Read(reading) => Self::Read(reading),
        }
    }
}

/// What the driver does next, and what happened.
#[derive(Debug)]
pub enum LaptopOutput {
    /// For the radio.
    Radio(Command),
    /// Put this hub into the trust list, then say [`LaptopInput::Stored`].
    Store(Peer),
    /// The hub has a new beacon key; remember it.
    BeaconKey {
        /// Which hub.
        hub: DeviceId,
        /// The key.
        key: BeaconKey,
    },
    /// The link is up: the visit begins.
    Up(Peer),
    /// It is over; nothing comes after this.
    Over(Ended),
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The session.
    pub session: LaptopEnd,
    /// The visit: a complete set, or why there is none. `None`: the link was cut, or there never was one, or the visit
    /// only read.
    pub visit: Option<Result<Box<Summary>, VisitError>>,
    /// How far the visit came; `None` where there was none.
    pub progress: Option<Box<Progress>>,
}

/// Whether there is more to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Call [`Laptop::work`] again.
    More,
    /// Only an event or the time brings it on.
    Wait,
}

/// One session of a laptop. Tell it what happens with [`Laptop::handle`], call [`Laptop::work`] as long as there is work.
pub struct Laptop {
    session: LaptopSession,
    begin: Option<Begin>,
    look_back: Option<Box<LookBack>>,
    stage: Stage,
    decoder: Decoder,
    /// Whom the link leads to.
    hub: Option<DeviceId>,
    /// Frames of control messages; data frames are made when there is room.
    outbox: VecDeque<Bytes>,
    said_at: Time,
    heard_at: Time,
    /// How far the visit came that has ended.
    progress: Option<Box<Progress>>,
    stopping: Option<Stopping>,
}

enum Stage {
    /// No link yet.
    Before,
    Visiting(Visiting),
    Reading(Box<Reading>),
    /// The set is complete, whatever comes of the look.
    Looking(Box<LookBack>, Box<Summary>),
    /// The last words.
    Parting {
        visit: Option<Result<Box<Summary>, VisitError>>,
        until: Time,
    },
    /// The session is told to leave, or over.
    Left {
        visit: Option<Result<Box<Summary>, VisitError>>,
        cut: bool,
    },
}

type Out<'a> = &'a mut Vec<LaptopOutput>;

impl Laptop {
    /// `session` and what it asked for when it began. `begin` makes the visit; `None` for a pairing.
    pub fn new(
        session: LaptopSession,
        begun: Vec<LaptopEffect>,
        begin: Option<Begin>,
        now: Time,
        out: &mut Vec<LaptopOutput>,
    ) -> Self {
        let mut laptop = Self {
            session,
            begin,
            look_back: None,
            stage: Stage::Before,
            decoder: Decoder::default(),
            hub: None,
            outbox: VecDeque::new(),
            said_at: now,
            heard_at: now,
            progress: None,
            stopping: None,
        };
        laptop.session_did(now, begun, out);
        laptop
    }

    /// Where the visit is, while there is one.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        match &self.stage {
            Stage::Visiting(visit) => Some(visit.progress()),
            Stage::Before
            | Stage::Reading(_)
            | Stage::Looking(..)
            | Stage::Parting { .. }
            | Stage::Left { .. } => None,
        }
    }

    /// How far it has come on its way to the first byte.
    #[must_use]
    pub fn step(&self) -> Option<VisitStep> {
        Some(match self.session.step()? {
            LaptopStep::Found => VisitStep::Found,
            LaptopStep::Connected => VisitStep::Connected,
            LaptopStep::Proved => VisitStep::Handshake,
            LaptopStep::Offered => VisitStep::Group,
            LaptopStep::Joined => VisitStep::Joined,
            LaptopStep::Up => match self.progress() {
                Some(progress) if progress.bytes_acknowledged > 0 => VisitStep::FirstByte,
                Some(_) | None => VisitStep::Link,
            },
        })
    }

    /// Asks for a checkpoint now.
    pub fn request_mark(&mut self) {
        if let Stage::Visiting(visit) = &mut self.stage {
            visit.request_mark();
        }
    }

    /// The user leaves when this share of the changed bytes is read: a checkpoint then, and nothing is sent beyond it
    /// ([`Visit::leave_at`]).
    pub fn leave_at(&mut self, percent: u8) {
        if let Stage::Visiting(visit) = &mut self.stage {
            visit.leave_at(percent);
        }
    }

    /// When a [`LaptopInput::Tick`] is due, if nothing else happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let own = match &self.stage {
            Stage::Parting { until, .. } => Some(*until),
            Stage::Visiting(_) | Stage::Reading(_) | Stage::Looking(..) => {
                Some((self.said_at + KEEP_ALIVE).min(self.heard_at + SILENCE_MAX))
            }
            Stage::Before | Stage::Left { .. } => None,
        };
        self.session.next_at().into_iter().chain(own).min()
    }

    /// Takes one input; appends what is to be done. [`LaptopInput::Leave`] says goodbye to the hub first: an open set is
    /// sealed as partial.
    pub fn handle(&mut self, now: Time, input: LaptopInput, out: &mut Vec<LaptopOutput>) {
        match (input, &self.stage) {
            (LaptopInput::Leave, Stage::Visiting(_) | Stage::Reading(_)) => self.part(now, None),
            (LaptopInput::Leave, Stage::Looking(..)) => self.looked(now),
            (LaptopInput::Leave, Stage::Parting { .. } | Stage::Left { .. }) => {}
            (LaptopInput::Tick, _) => {
                self.tell_session(now, LaptopInput::Tick, out);
                self.tick(now, out);
            }
            (input, _) => self.tell_session(now, input, out),
        }
    }

    /// Does the next piece of work, if the link has room for what may come of it.
    pub fn work(&mut self, now: Time, out: &mut Vec<LaptopOutput>) -> Work {
        if self.session.room_bytes() == 0 {
            return Work::Wait;
        }
        if let Some(frame) = self.outbox.pop_front() {
            self.tell_session(now, LaptopInput::Frame(frame), out);
            return Work::More;
        }
        let visit = match &mut self.stage {
            Stage::Visiting(visit) => visit,
            Stage::Reading(reading) => {
                match reading.next(now) {
                    Ok(ReadingStep::Send(message)) => self.say(&message),
                    Ok(ReadingStep::Wait) => return Work::Wait,
                    Ok(ReadingStep::Done) => self.part(now, None),
                    Err(error) => self.part(now, Some(Err(error))),
                }
                return Work::More;
            }
            Stage::Looking(look_back, _) => {
                match look_back.next(now) {
                    ReadingStep::Send(message) => self.say(&message),
                    ReadingStep::Wait => return Work::Wait,
                    ReadingStep::Done => self.looked(now),
                }
                return Work::More;
            }
            Stage::Before | Stage::Parting { .. } | Stage::Left { .. } => return Work::Wait,
        };
        match visit.next(now) {
            Ok(Step::Send(Outgoing::Control(message))) => self.say(&message),
            Ok(Step::Send(Outgoing::Data { upload, bytes })) => {
                let frame = data_frame(upload, &bytes);
                self.tell_session(now, LaptopInput::Frame(frame), out);
            }
            Ok(Step::Working) => {}
            Ok(Step::Wait) => return Work::Wait,
            Ok(Step::Done(summary)) => self.look_back(now, summary),
            Err(error) => self.part(now, Some(Err(error))),
        }
        Work::More
    }

    fn tick(&mut self, now: Time, out: Out<'_>) {
        match &self.stage {
            Stage::Parting { until, .. } if now >= *until => self.leave(now, out),
            Stage::Looking(..) if now >= self.heard_at + SILENCE_MAX => {
                self.looked(now);
                self.leave(now, out);
            }
            Stage::Visiting(_) | Stage::Reading(_) if now >= self.heard_at + SILENCE_MAX => {
                self.enter(Stage::Left {
                    visit: None,
                    cut: true,
                });
                self.tell_session(now, LaptopInput::Leave, out);
            }
            // A full link says by itself that we are here.
            Stage::Visiting(_) | Stage::Reading(_) | Stage::Looking(..)
                if now >= self.said_at + KEEP_ALIVE && self.session.room_bytes() > 0 =>
            {
                self.said_at = now;
                self.say(&ToHub::KeepAlive);
            }
            Stage::Before
            | Stage::Visiting(_)
            | Stage::Reading(_)
            | Stage::Looking(..)
            | Stage::Parting { .. }
            | Stage::Left { .. } => {}
        }
    }

    fn say(&mut self, message: &ToHub) {
        // The archiver keeps its messages within the limit; one that is not would be missed by the hub and end the visit.
        self.outbox.extend(control_frames(message).into_iter().flatten());
    }

    /// The hub has sealed what the visit left: its word for that, if it is genuine.
    fn sealed(&mut self, receipt: Signed) {
        let is_of = |hub: DeviceId| verify(&hub, RECEIPT_CONTEXT, &receipt.body, &receipt.signature).is_ok();
        if self.hub.is_some_and(is_of)
            && let Some(progress) = &mut self.progress
        {
            progress.receipts.push(receipt);
        }
    }

    /// The set is complete.
    fn look_back(&mut self, now: Time, summary: Box<Summary>) {
        self.enter(Stage::Before);
        let began = self.look_back.take().and_then(|mut look_back| {
            let progress = self.progress.as_ref()?;
            look_back.begin(now, progress).ok()?;
            Some(look_back)
        });
        match began {
            Some(look_back) => self.stage = Stage::Looking(look_back, summary),
            None => self.part(now, Some(Ok(summary))),
        }
    }

    /// The look is over; the visit has ended well whatever was found.
    fn looked(&mut self, now: Time) {
        if let Some(summary) = self.found() {
            self.part(now, Some(Ok(summary)));
        }
    }

    /// Takes in what was found, if this is a look.
    fn found(&mut self) -> Option<Box<Summary>> {
        match std::mem::replace(&mut self.stage, Stage::Before) {
            Stage::Looking(look_back, summary) => {
                let found = look_back.end();
                if let Some(progress) = &mut self.progress {
                    progress.findings.extend(found);
                }
                Some(summary)
            }
            stage => {
                self.stage = stage;
                None
            }
        }
    }

    fn part(&mut self, now: Time, visit: Option<Result<Box<Summary>, VisitError>>) {
        self.say(&ToHub::Goodbye);
        self.enter(Stage::Parting {
            visit,
            until: now + GOODBYE_MAX,
        });
    }

    /// Goes to a stage without a visit. One that runs on a thread of its own ends while the last words are said.
    fn enter(&mut self, stage: Stage) {
        if let Stage::Visiting(visiting) = std::mem::replace(&mut self.stage, stage) {
            let (progress, stopping) = visiting.stop();
            (self.progress, self.stopping) = (Some(Box::new(progress)), Some(stopping));
        }
    }

    fn leave(&mut self, now: Time, out: Out<'_>) {
        if let Stage::Parting { visit, .. } = &mut self.stage {
            self.stage = Stage::Left {
                visit: visit.take(),
                cut: false,
            };
            self.tell_session(now, LaptopInput::Leave, out);
        }
    }

    fn tell_session(&mut self, now: Time, input: LaptopInput, out: Out<'_>) {
        if matches!(input, LaptopInput::Frame(_)) {
            self.said_at = now;
        }
        let mut effects = Vec::new();
        self.session.handle(now, input, &mut effects);
        self.session_did(now, effects, out);
    }

    fn session_did(&mut self, now: Time, effects: Vec<LaptopEffect>, out: Out<'_>) {
        for effect in effects {
            match effect {
                LaptopEffect::Radio(command) => out.push(LaptopOutput::Radio(command)),
                LaptopEffect::Store(hub) => out.push(LaptopOutput::Store(hub)),
                LaptopEffect::BeaconKey { hub, key } => out.push(LaptopOutput::BeaconKey { hub, key }),
                LaptopEffect::Up { hub } => self.up(now, hub, out),
                LaptopEffect::Frame(frame) => self.frame(now, frame, out),
                LaptopEffect::Room => {}
                LaptopEffect::Over(session) => {
                    if let Some(summary) = self.found() {
                        let visit = Some(Ok(summary));
                        self.stage = Stage::Left { visit, cut: false };
                    }
                    let over = Stage::Left {
                        visit: None,
                        cut: false,
                    };
                    // The hub closes the link once it has heard the goodbye; its own may be lost on the way.
                    let has_said_goodbye = self.outbox.is_empty();
                    let (visit, session) = match (std::mem::replace(&mut self.stage, over), session) {
                        (Stage::Visiting(visiting), session) => {
                            let (progress, visit) = visiting.finish();
                            self.progress = Some(Box::new(progress));
                            (visit, session)
                        }
                        (Stage::Parting { visit, .. }, LaptopEnd::Cut) if has_said_goodbye => {
                            (visit, LaptopEnd::Left)
                        }
                        (Stage::Parting { visit, .. } | Stage::Left { visit, cut: false }, session) => {
                            (visit, session)
                        }
                        (Stage::Left { visit, cut: true }, _) => (visit, LaptopEnd::Cut),
                        (Stage::Before | Stage::Reading(_) | Stage::Looking(..), session) => (None, session),
                    };
                    if let Some(stopping) = self.stopping.take() {
                        stopping.wait();
                    }
                    out.push(LaptopOutput::Over(Ended {
                        session,
                        visit,
                        progress: self.progress.take(),
                    }));
                }
            }
        }
    }

    fn up(&mut self, now: Time, hub: Peer, out: Out<'_>) {
        // Nothing but `Begin` may be the first word: a keep-alive counts from here.
        (self.heard_at, self.said_at, self.hub) = (now, now, Some(hub.device));
        if let Some(begin) = self.begin.take() {
            match begin(&hub) {
                Ok(Errand::BackUp(visit, look_back)) => {
                    (self.stage, self.look_back) = (Stage::Visiting(visit), look_back);
                }
                Ok(Errand::Read(reading)) => self.stage = Stage::Reading(reading),
                Err(error) => self.part(now, Some(Err(error))),
            }
        }
        out.push(LaptopOutput::Up(hub));
    }

    fn frame(&mut self, now: Time, frame: Bytes, out: Out<'_>) {
        self.heard_at = now;
        let protocol = || VisitError::Refused(Refusal::Disagree);
        let received = match (self.decoder.frame::<ToLaptop>(frame), &mut self.stage) {
            (Ok(None), _) => Ok(()),
            (Ok(Some(Frame::Control(ToLaptop::Goodbye))), Stage::Parting { .. }) => {
                return self.leave(now, out);
            }
            (Ok(Some(Frame::Control(ToLaptop::Receipt { receipt }))), Stage::Parting { .. }) => {
                return self.sealed(receipt);
            }
            // Said here: the link may be gone before a visit on a thread of its own comes to it.
            (Ok(Some(Frame::Control(ToLaptop::Refused { why }))), Stage::Visiting(_)) => {
                Err(VisitError::Refused(why))
            }
            (Ok(Some(Frame::Control(message))), Stage::Visiting(visit)) => visit.receive(now, message),
            (Ok(Some(Frame::Control(message))), Stage::Reading(reading)) => reading.receive(now, message),
            (Ok(Some(Frame::Control(message))), Stage::Looking(look_back, _)) => look_back.receive(message),
            // After the last words, nothing matters.
            (_, Stage::Before | Stage::Parting { .. } | Stage::Left { .. }) => Ok(()),
            (
                Ok(Some(Frame::Data { .. })) | Err(_),
                Stage::Visiting(_) | Stage::Reading(_) | Stage::Looking(..),
            ) => Err(protocol()),
        };
        if let Err(error) = received {
            if matches!(self.stage, Stage::Looking(..)) {
                return self.looked(now);
            }
            self.part(now, Some(Err(error)));
        }
    }
}
