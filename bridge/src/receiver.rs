//! Hub side of one visit: a laptop's messages in, spool operations and answers out.
//!
//! Place: `berth_wire::Frame<ToHub>` of one authenticated laptop -> [`Receiver::handle`] -> [`Effect`], performed by
//! the hub's session. Specification: `docs/wire-protocol.md`.
//! Invariant: an answer that promises something leaves only as the spool's own [`StoreDone::Answer`], and the spool
//! gives that only after the sync. Whatever a state does not name ends the visit; what a lying laptop can reach is its
//! own set only.

mod uploads;

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use berth_radio::Time;
use berth_repository::Id;
use berth_wire::{
    KEEP_ALIVE_MS, Mark, OBJECT_SIZE_BYTES_MAX, ObjectKind, PACK_BLOBS_MAX, PROTOCOL, Refusal,
    SILENCE_MAX_MS, SetRef, SetSeq, ToHub, ToLaptop, UploadId,
};
use bytes::Bytes;

use crate::ended::{contradiction, limit, unexpected};
use crate::{Checkpoint, End, Ended, ReceiveError, StoreDone, StoreOp};

/// Uploads open at once: two packs and what a checkpoint sends beside them, with room. Each costs a file handle.
pub const UPLOADS_OPEN_MAX: usize = 8;

/// Uploads of one visit: packs of 8 TB. Each is remembered until its set is sealed (about 100 bytes); a larger set is
/// made by more than one visit.
pub const UPLOADS_MAX: u32 = 1 << 19;

/// Questions that wait for the spool at once. A laptop waits for most answers; marks and reads may overlap.
pub const ASKED_MAX: usize = 16;

/// Largest sealed pack header: 41 bytes a blob, nonce and tag (32), length field (4).
pub const PACK_HEADER_SIZE_BYTES_MAX: usize = PACK_BLOBS_MAX * 41 + 36;

/// Largest page, key or config: a full page has about 11 KiB.
pub const SMALL_OBJECT_SIZE_BYTES_MAX: u64 = 64 * 1024;

/// Largest snapshot: it names the backed-up paths and nothing else that grows.
pub const SNAPSHOT_SIZE_BYTES_MAX: u64 = 1024 * 1024;

/// Largest object of a kind, in bytes.
#[must_use]
pub const fn size_bytes_max(kind: ObjectKind) -> u64 {
    match kind {
        ObjectKind::Pack | ObjectKind::Index => OBJECT_SIZE_BYTES_MAX,
        ObjectKind::Snapshot => SNAPSHOT_SIZE_BYTES_MAX,
        ObjectKind::Page | ObjectKind::Key | ObjectKind::Config => SMALL_OBJECT_SIZE_BYTES_MAX,
    }
}

/// What the session tells the receiver.
#[derive(Debug)]
pub enum Input {
    /// A control message.
    Message(ToHub),
    /// Bytes of an upload.
    Data {
        /// Which.
        upload: UploadId,
        /// The bytes.
        bytes: Bytes,
    },
    /// The spool has done something.
    Store(StoreDone),
    /// The link is gone.
    Cut,
    /// The hub ends the visit: revoked, stopping.
    Stop(Refusal),
    /// The link is held until the spool has done some work: that nothing is heard is no silence of the laptop.
    Held,
    /// Nothing but time has passed. Due at [`Receiver::wake_at`].
    Tick,
}

/// What the session is to do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Give this to [`crate::Visit::execute`], after those before it.
    Store(StoreOp),
    /// Send this to the laptop.
    Reply(ToLaptop),
    /// The visit is over: send what is left to send, then close the link. Nothing follows.
    End(End),
}

#[derive(Debug)]
struct Upload {
    kind: ObjectKind,
    provisional: bool,
    received_bytes: u64,
}

/// A set that is being received.
#[derive(Debug)]
struct OpenSet {
    set: SetSeq,
    /// The hub holds no `config` of this laptop yet: it may send one, of this id.
    fresh_config: Option<Id>,
    uploads: BTreeMap<u32, Upload>,
    next_number: u32,
    last_mark: Mark,
    mark_in_flight: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing came yet.
    New,
    /// `Begin` is with the spool.
    Greeting { repository: Id },
    /// `Welcome` went out.
    Welcomed {
        set: SetSeq,
        fresh_config: Option<Id>,
        salvages: usize,
    },
    /// A set is open.
    Open(OpenSet),
    /// `Commit` is with the spool.
    Committing,
    /// The set is sealed; the laptop may still read.
    Committed,
    /// [`StoreOp::Leave`] is with the spool.
    Leaving(Ended),
    /// [`Effect::End`] went out.
    Over,
}

/// The machine of one visit. Calling contract: every effect of a call is performed, in order, before the next call;
/// [`Effect::Store`] operations may be executed later and elsewhere, as long as their order is kept and what they
/// answer comes back as [`Input::Store`] in that order.
#[derive(Debug)]
pub struct Receiver {
    state: State,
    /// Questions with the spool, [`StoreOp::Leave`] not counted.
    asked: usize,
    heard_at: Time,
    said_at: Time,
}

impl Receiver {
    /// A visit that begins `now`.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self {
            state: State::New,
            asked: 0,
            heard_at: now,
            said_at: now,
        }
    }

    /// When to call with [`Input::Tick`] if nothing else comes before; `None` while the visit is ending.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        match self.state {
            State::Leaving(_) | State::Over => None,
            State::New
            | State::Greeting { .. }
            | State::Welcomed { .. }
            | State::Open(_)
            | State::Committing
            | State::Committed => Some(
                (self.heard_at + Duration::from_millis(SILENCE_MAX_MS))
                    .min(self.said_at + Duration::from_millis(KEEP_ALIVE_MS)),
            ),
        }
    }

    /// True once [`Effect::End`] went out.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes one input. Fails closed: whatever is not named below ends the visit.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Over) {
            return;
        }
        let before = out.len();
        match input {
            Input::Message(message) => {
                self.heard_at = now;
                self.checked(out, |receiver, out| receiver.message(message, out));
            }
            Input::Data { upload, bytes } => {
                self.heard_at = now;
                self.checked(out, |receiver, out| receiver.data(upload, bytes, out));
            }
            Input::Store(done) => self.store_done(done, out),
            Input::Cut => self.leave(Ended::Cut, out),
            Input::Stop(why) => self.refuse(why, Ended::Stopped(why), out),
            Input::Held => self.heard_at = now,
            Input::Tick => self.tick(now, out),
        }
        let said = |effect: &Effect| matches!(effect, Effect::Reply(_));
        if out.get(before..).is_some_and(|new| new.iter().any(said)) {
            self.said_at = now;
        }
    }

    fn checked(
        &mut self,
        out: &mut Vec<Effect>,
        step: impl FnOnce(&mut Self, &mut Vec<Effect>) -> Result<(), ReceiveError>,
    ) {
        if matches!(self.state, State::Leaving(_)) {
            return; // what was on its way while the visit ended
        }
        if let Err(error) = step(self, out) {
            self.refuse(error.refusal(), error.into(), out);
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Leaving(_)) {
            return;
        }
        if now >= self.heard_at + Duration::from_millis(SILENCE_MAX_MS) {
            self.leave(Ended::Silent, out);
        } else if now >= self.said_at + Duration::from_millis(KEEP_ALIVE_MS) {
            out.push(Effect::Reply(ToLaptop::KeepAlive));
        }
    }

    fn refuse(&mut self, why: Refusal, ended: Ended, out: &mut Vec<Effect>) {
        if !matches!(self.state, State::Leaving(_)) {
            out.push(Effect::Reply(ToLaptop::Refused { why }));
        }
        self.leave(ended, out);
    }

    fn leave(&mut self, why: Ended, out: &mut Vec<Effect>) {
        self.state = match mem::replace(&mut self.state, State::Over) {
            State::New => {
                out.push(Effect::End(End { why, sealed: None }));
                State::Over
            }
            leaving @ State::Leaving(_) => leaving,
            State::Greeting { .. }
            | State::Welcomed { .. }
            | State::Open(_)
            | State::Committing
            | State::Committed => {
                out.push(Effect::Store(StoreOp::Leave));
                State::Leaving(why)
            }
            State::Over => State::Over,
        };
    }

    fn ask(&mut self, op: StoreOp, out: &mut Vec<Effect>) -> Result<(), ReceiveError> {
        limit("questions at once", self.asked as u64 + 1, ASKED_MAX as u64)?;
        self.asked += 1;
        out.push(Effect::Store(op));
        Ok(())
    }

    fn message(&mut self, message: ToHub, out: &mut Vec<Effect>) -> Result<(), ReceiveError> {
        match message {
            ToHub::Begin {
                protocol,
                repository,
                last,
            } => self.begin(protocol, repository, last, out),
            ToHub::OpenSet { created_at_ns } => self.open_set(created_at_ns, out),
            ToHub::Salvage {
                upload,
                length,
                digest,
                header,
            } => self.salvage(upload, length, digest, header, out),
            ToHub::Open {
                upload,
                kind,
                provisional,
            } => self.open(upload, kind, provisional, out),
            ToHub::Close { upload, id, length } => self.close(upload, id, length, out),
            ToHub::Flush { mark } => self.mark(mark, None, out),
            ToHub::Checkpoint { mark, open, manifest } => {
                self.mark(mark, Some(Checkpoint { open, manifest }), out)
            }
            ToHub::Commit { manifest } => match &self.state {
                State::Open(set) if set.uploads.is_empty() => {
                    self.ask(StoreOp::Commit { manifest }, out)?;
                    self.state = State::Committing;
                    Ok(())
                }
                State::Open(_)
                | State::New
                | State::Greeting { .. }
                | State::Welcomed { .. }
                | State::Committing
                | State::Committed
                | State::Leaving(_)
                | State::Over => Err(unexpected("Commit")),
            },
            ToHub::List { kind, after } => self.read(StoreOp::List { kind, after }, out),
            ToHub::Fetch {
                kind,
                id,
                offset,
                length,
                knows_unavailable,
            } => {
                let max = u64::from(berth_wire::FETCH_SIZE_BYTES_MAX);
                limit("bytes in one Fetch", u64::from(length), max)?;
                let op = StoreOp::Fetch {
                    kind,
                    id,
                    offset,
                    length,
                    knows_unavailable,
                };
                self.read(op, out)
            }
            ToHub::FetchManifest { set } => self.read(StoreOp::FetchManifest { set }, out),
            ToHub::KeepAlive => {
                if matches!(self.state, State::New) {
                    Err(unexpected("KeepAlive"))
                } else {
                    Ok(())
                }
            }
            ToHub::Goodbye => {
                self.leave(Ended::Goodbye, out);
                Ok(())
            }
        }
    }

    fn begin(
        &mut self,
        protocol: u16,
        repository: Id,
        last: Option<SetRef>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReceiveError> {
        let State::New = self.state else {
            return Err(unexpected("Begin"));
        };
        if protocol > PROTOCOL || protocol == 0 {
            return Err(ReceiveError::Protocol { protocol });
        }
        if last.is_some_and(|last| last.seq.0 >= crate::SET_SEQ_MAX) {
            return Err(contradiction("the last set's number"));
        }
        self.ask(StoreOp::Begin { repository, last }, out)?;
        self.state = State::Greeting { repository };
        Ok(())
    }

    fn read(&mut self, op: StoreOp, out: &mut Vec<Effect>) -> Result<(), ReceiveError> {
        match self.state {
            State::Welcomed { .. } | State::Open(_) | State::Committing | State::Committed => {
                self.ask(op, out)
            }
            State::New | State::Greeting { .. } | State::Leaving(_) | State::Over => {
                Err(unexpected("a read"))
            }
        }
    }

    fn store_done(&mut self, done: StoreDone, out: &mut Vec<Effect>) {
        match done {
            StoreDone::Answer(answer) => self.answer(answer, out),
            StoreDone::Failed(error) => self.refuse(error.refusal(), error.into(), out),
            StoreDone::Left { sealed } => {
                let State::Leaving(why) = mem::replace(&mut self.state, State::Over) else {
                    return;
                };
                let (sealed, receipt) = match sealed {
                    Ok(sealed) => {
                        let (set, receipt) = sealed.unzip();
                        (Ok(set), receipt)
                    }
                    Err(error) => (Err(error), None),
                };
                let end = match (why, sealed) {
                    (Ended::Goodbye, Ok(sealed)) => {
                        // Sealing is done: the laptop waits no longer for its word.
                        out.extend(receipt.map(|receipt| Effect::Reply(ToLaptop::Receipt { receipt })));
                        out.push(Effect::Reply(ToLaptop::Goodbye));
                        End {
                            why: Ended::Goodbye,
                            sealed,
                        }
                    }
                    (Ended::Goodbye, Err(error)) => {
                        let why = error.refusal();
                        out.push(Effect::Reply(ToLaptop::Refused { why }));
                        End {
                            why: error.into(),
                            sealed: None,
                        }
                    }
                    (why @ (Ended::Store(_) | Ended::Broken(_)), Err(_)) => End { why, sealed: None },
                    (_, Err(error)) => End {
                        why: error.into(),
                        sealed: None,
                    },
                    (why, Ok(sealed)) => End { why, sealed },
                };
                out.push(Effect::End(end));
            }
        }
    }

    fn answer(&mut self, answer: ToLaptop, out: &mut Vec<Effect>) {
        self.asked = self.asked.saturating_sub(1);
        match (&mut self.state, &answer) {
            (
                State::Greeting { repository },
                ToLaptop::Welcome {
                    set,
                    repository: held,
                    ..
                },
            ) => {
                self.state = State::Welcomed {
                    set: *set,
                    fresh_config: held.is_none().then_some(*repository),
                    salvages: 0,
                };
            }
            (State::Open(set), ToLaptop::Acknowledged { .. }) => set.mark_in_flight = false,
            (State::Committing, ToLaptop::Receipt { .. }) => self.state = State::Committed,
            // The laptop may hear what was still promised before it said goodbye; in any other end nobody listens.
            (State::Leaving(why), _) if !matches!(why, Ended::Goodbye) => return,
            (_, _) => {}
        }
        out.push(Effect::Reply(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcomed() -> Receiver {
        let mut receiver = Receiver::new(Time::ZERO);
        let repository = Id::of(b"config");
        let begin = ToHub::Begin {
            protocol: PROTOCOL,
            repository,
            last: None,
        };
        let welcome = ToLaptop::Welcome {
            protocol: PROTOCOL,
            set: SetSeq(4),
            last: None,
            repository: Some(repository),
            tails: Vec::new(),
            room_bytes: 0,
            receipts: Vec::new(),
            full: None,
            reclaimed: false,
        };
        let mut out = Vec::new();
        receiver.handle(Time::ZERO, Input::Message(begin), &mut out);
        receiver.handle(Time::ZERO, Input::Store(StoreDone::Answer(welcome)), &mut out);
        assert!(matches!(
            out[..],
            [
                Effect::Store(StoreOp::Begin { .. }),
                Effect::Reply(ToLaptop::Welcome { .. })
            ]
        ));
        receiver
    }

    fn effects(receiver: &mut Receiver, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        receiver.handle(Time::ZERO, input, &mut out);
        out
    }

    #[test]
    fn a_mark_is_acknowledged_only_when_the_spool_says_so() {
        let mut receiver = welcomed();
        effects(&mut receiver, Input::Message(ToHub::OpenSet { created_at_ns: 0 }));
        let mark = Mark(1);
        let out = effects(&mut receiver, Input::Message(ToHub::Flush { mark }));
        assert!(matches!(out[..], [Effect::Store(StoreOp::Mark { .. })]));
        let done = StoreDone::Answer(ToLaptop::Acknowledged { mark });
        let out = effects(&mut receiver, Input::Store(done));
        assert!(matches!(out[..], [Effect::Reply(ToLaptop::Acknowledged { .. })]));
    }

    #[test]
    fn endless_questions_end_the_visit() {
        let mut receiver = welcomed();
        let ask = || Input::Message(ToHub::FetchManifest { set: SetSeq(1) });
        for _ in 0..ASKED_MAX {
            assert!(matches!(effects(&mut receiver, ask())[..], [Effect::Store(_)]));
        }
        let out = effects(&mut receiver, ask());
        let refused = ToLaptop::Refused {
            why: Refusal::Disagree,
        };
        assert!(
            matches!(&out[..], [Effect::Reply(reply), Effect::Store(StoreOp::Leave)] if *reply == refused)
        );
    }

    #[test]
    fn after_goodbye_what_was_promised_is_still_told_and_after_a_cut_nothing_is() {
        for goodbye in [true, false] {
            let mut receiver = welcomed();
            effects(&mut receiver, Input::Message(ToHub::OpenSet { created_at_ns: 0 }));
            let mark = Mark(1);
            effects(&mut receiver, Input::Message(ToHub::Flush { mark }));
            let end = if goodbye {
                Input::Message(ToHub::Goodbye)
            } else {
                Input::Cut
            };
            effects(&mut receiver, end);
            let done = StoreDone::Answer(ToLaptop::Acknowledged { mark });
            let told = effects(&mut receiver, Input::Store(done)).len();
            assert_eq!(told, usize::from(goodbye));
            let left = StoreDone::Left { sealed: Ok(None) };
            let out = effects(&mut receiver, Input::Store(left));
            assert!(matches!(out.last(), Some(Effect::End(_))) && receiver.is_over());
        }
    }
}
