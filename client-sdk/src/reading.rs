//! Laptop side of a visit that reads back: questions in, wire messages out, answers to whoever asked.
//!
//! Place: [`Question`]s of other threads -> [`Reading::next`] / [`Reading::receive`] -> wire messages. The same calling
//! contract as [`crate::Visit`]: call [`Reading::next`] whenever the link takes more; on [`ReadingStep::Wait`] call it
//! again after the next [`Reading::receive`], after a new question, or after a second.
//! Invariant: a hub answers in the order in which it was asked, so every answer is matched with the oldest question and
//! held to what that question allows. What the bytes are worth (hash, MAC) is checked by whoever asked.

use std::collections::VecDeque;
use std::time::Duration;

use berth_radio::Time;
use berth_repository::Id;
use berth_wire::{LISTING_IDS_MAX, ObjectKind, PROTOCOL, ToHub, ToLaptop};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TryRecvError};

use crate::VisitError;

/// Questions that a hub has not answered yet. A hub takes 16 at once; a link of 25 ms needs a handful.
pub const QUESTIONS_IN_FLIGHT_MAX: usize = 12;

/// Bytes asked for and not there yet: what the fastest link carries in several round trips, little for the hub to hold.
pub const BYTES_IN_FLIGHT_MAX: u64 = 1024 * 1024;

/// A hub that says it is here but gives no answer for so long has a fault: it reads 512 KiB from a disk, or waits for its
/// upstream for 20 s.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What can be asked of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Which objects of a kind it holds, above an id. Answers: [`Answer::Ids`].
    List {
        /// Which kind.
        kind: ObjectKind,
        /// Only ids above this one.
        after: Option<Id>,
    },
    /// A range of an object. Answers: [`Answer::Bytes`], [`Answer::Missing`], [`Answer::Reclaimed`],
    /// [`Answer::Unavailable`].
    Fetch {
        /// Which kind.
        kind: ObjectKind,
        /// Which object.
        id: Id,
        /// First byte.
        offset: u64,
        /// At most [`berth_wire::FETCH_SIZE_BYTES_MAX`].
        length: u32,
    },
}

/// What a hub answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ids in ascending order, all above the one that was named.
    Ids {
        /// At most [`LISTING_IDS_MAX`].
        ids: Vec<Id>,
        /// There are more above the last one.
        more: bool,
    },
    /// As many bytes as were asked for, or fewer where the object ends.
    Bytes {
        /// The bytes, as the hub gave them.
        bytes: Bytes,
        /// Size of the whole object, as the hub says.
        object_length: u64,
    },
    /// No such object.
    Missing,
    /// The hub does not hold this pack any more: it was removed when room was needed, and the hub did not find it
    /// upstream either, or is too old to look there.
    Reclaimed,
    /// The same, and the upstream can't be read now: why, in the hub's own words.
    Unavailable(String),
}

/// Something to ask the hub, and where the answer goes. A sender that is dropped without an answer: the visit ended.
#[derive(Debug)]
pub struct Question {
    /// What to ask.
    pub ask: Ask,
    /// Takes one answer. Nobody there: the answer is dropped.
    pub answer: Sender<Answer>,
}

/// What a reading visit does next.
#[derive(Debug)]
pub enum ReadingStep {
    /// Send this.
    Send(ToHub),
    /// Nothing to send now.
    Wait,
    /// Nobody asks any more, everything is answered.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Greeted,
    Welcomed,
}

/// The machine of a visit that only reads: it opens no set. Dropping it at any moment is a cut; those who wait for
/// answers learn of it.
#[derive(Debug)]
pub struct Reading {
    repository: Id,
    questions: Receiver<Question>,
    state: State,
    /// The hub has removed packs that are upstream.
    reclaimed: bool,
    /// Taken from `questions` and held back by the window.
    next: Option<Question>,
    in_flight: VecDeque<Question>,
    bytes_in_flight: u64,
    /// Since when the oldest question waits.
    waiting_since: Time,
    no_more: bool,
}

impl Reading {
    /// A visit that asks the hub what comes through `questions` until all senders of it are gone. `repository` is
    /// [`crate::LaptopRepository::id`].
    #[must_use]
    pub const fn new(repository: Id, questions: Receiver<Question>) -> Self {
        Self {
            repository,
            questions,
            state: State::New,
            reclaimed: false,
            next: None,
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            waiting_since: Time::ZERO,
            no_more: false,
        }
    }

    /// Says what is to be done next.
    ///
    /// # Errors
    /// [`VisitError::Overdue`]; drop the machine.
    pub fn next(&mut self, now: Time) -> Result<ReadingStep, VisitError> {
        if self.is_waiting() && now >= self.waiting_since + ANSWER_MAX {
            return Err(VisitError::Overdue);
        }
        match self.state {
            State::New => {
                self.state = State::Greeted;
                self.waiting_since = now;
                return Ok(ReadingStep::Send(ToHub::Begin {
                    protocol: PROTOCOL,
                    repository: self.repository,
                    last: None,
                }));
            }
            State::Greeted => return Ok(ReadingStep::Wait),
            State::Welcomed => {}
        }
        if self.next.is_none() && !self.no_more {
            match self.questions.try_recv() {
                Ok(question) => self.next = Some(question),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.no_more = true,
            }
        }
        let has_room = |asked: &Question| {
            self.in_flight.is_empty()
                || (self.in_flight.len() < QUESTIONS_IN_FLIGHT_MAX
                    && self.bytes_in_flight + asked.ask.bytes() <= BYTES_IN_FLIGHT_MAX)
        };
        if let Some(question) = self.next.take_if(|question| has_room(question)) {
            if self.in_flight.is_empty() {
                self.waiting_since = now;
            }
            let message = question.ask.message();
            self.bytes_in_flight += question.ask.bytes();
            self.in_flight.push_back(question);
            return Ok(ReadingStep::Send(message));
        }
        if self.no_more && self.next.is_none() && self.in_flight.is_empty() {
            return Ok(ReadingStep::Done);
        }
        Ok(ReadingStep::Wait)
    }

    /// Takes a message of the hub. Keep-alives may be given or not.
    ///
    /// # Errors
    /// [`VisitError::Refused`], [`VisitError::Protocol`]: the visit is over; drop the machine.
    pub fn receive(&mut self, now: Time, message: ToLaptop) -> Result<(), VisitError> {
        match (self.state, message) {
            (_, ToLaptop::KeepAlive | ToLaptop::Goodbye) => Ok(()),
            (_, ToLaptop::Refused { why }) => Err(VisitError::Refused(why)),
            // One that is full may be read from.
            (State::Greeted, ToLaptop::Welcome { reclaimed, .. }) => {
                self.reclaimed = reclaimed;
                self.state = State::Welcomed;
                Ok(())
            }
            (
                State::Welcomed,
                message @ (ToLaptop::Listing { .. }
                | ToLaptop::Fetched { .. }
                | ToLaptop::Missing
                | ToLaptop::Unavailable { .. }),
            ) => self.answered(now, message),
            (State::New | State::Greeted | State::Welcomed, _) => {
                Err(wrong("a message that does not belong here"))
            }
        }
    }

    fn is_waiting(&self) -> bool {
        self.state == State::Greeted || !self.in_flight.is_empty()
    }

    fn answered(&mut self, now: Time, message: ToLaptop) -> Result<(), VisitError> {
        let Some(question) = self.in_flight.pop_front() else {
            return Err(wrong("an answer without a question"));
        };
        self.bytes_in_flight -= question.ask.bytes();
        self.waiting_since = now;
        let answer = match question.ask.answer(message)? {
            Answer::Missing if self.reclaimed && question.ask.is_for_a_pack() => Answer::Reclaimed,
            answer => answer,
        };
        // Whoever asked may have given up.
        let _ = question.answer.send(answer);
        Ok(())
    }
}

impl Ask {
    const fn is_for_a_pack(&self) -> bool {
        matches!(
            self,
            Self::Fetch {
                kind: ObjectKind::Pack,
                ..
            }
        )
    }

    /// Bytes that an answer may have.
    const fn bytes(&self) -> u64 {
        match self {
            Self::List { .. } => (LISTING_IDS_MAX * size_of::<Id>()) as u64,
            Self::Fetch { length, .. } => *length as u64,
        }
    }

    const fn message(&self) -> ToHub {
        match *self {
            Self::List { kind, after } => ToHub::List { kind, after },
            Self::Fetch {
                kind,
                id,
                offset,
                length,
            } => ToHub::Fetch {
                kind,
                id,
                offset,
                length,
                knows_unavailable: true,
            },
        }
    }

    /// The answer in `message`, if it can be one to this question.
    fn answer(&self, message: ToLaptop) -> Result<Answer, VisitError> {
        match (*self, message) {
            (Self::List { after, .. }, ToLaptop::Listing { ids, more }) => {
                let ascends =
                    ids.is_sorted_by(|a, b| a < b) && ids.first().is_none_or(|id| Some(*id) > after);
                if !ascends || ids.len() > LISTING_IDS_MAX || (more && ids.is_empty()) {
                    return Err(wrong("a listing out of order"));
                }
                Ok(Answer::Ids { ids, more })
            }
            (Self::Fetch { offset, length, .. }, ToLaptop::Fetched { bytes, object_length }) => {
                if bytes.len() as u64 != object_length.saturating_sub(offset).min(u64::from(length)) {
                    return Err(wrong("another number of bytes than was asked for"));
                }
                Ok(Answer::Bytes { bytes, object_length })
            }
            (Self::Fetch { .. }, ToLaptop::Missing) => Ok(Answer::Missing),
            (Self::Fetch { .. }, ToLaptop::Unavailable { why }) => Ok(Answer::Unavailable(why)),
            (Self::List { .. } | Self::Fetch { .. }, _) => Err(wrong("an answer to another question")),
        }
    }
}

const fn wrong(what: &'static str) -> VisitError {
    VisitError::Protocol { what }
}

#[cfg(test)]
mod tests {
    use berth_wire::{FETCH_SIZE_BYTES_MAX, Refusal, SetSeq};
    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

    use super::*;

    const NOW: Time = Time::ZERO;

    /// A visit that the hub has welcomed.
    fn welcomed() -> (Reading, Sender<Question>) {
        let (questions, asked) = unbounded();
        let mut reading = Reading::new(Id::of(b"config"), asked);
        let begin = reading.next(NOW).unwrap();
        assert!(matches!(
            begin,
            ReadingStep::Send(ToHub::Begin { last: None, .. })
        ));
        assert!(matches!(reading.next(NOW), Ok(ReadingStep::Wait)));
        let welcome = ToLaptop::Welcome {
            protocol: PROTOCOL,
            set: SetSeq(4),
            last: None,
            repository: None,
            tails: Vec::new(),
            room_bytes: 0,
            receipts: Vec::new(),
            full: None,
            reclaimed: false,
        };
        reading.receive(NOW, welcome).unwrap();
        (reading, questions)
    }

    fn ask(questions: &Sender<Question>, offset: u64, length: u32) -> Receiver<Answer> {
        let (answer, answered) = bounded(1);
        let ask = Ask::Fetch {
            kind: ObjectKind::Pack,
            id: Id::of(b"pack"),
            offset,
            length,
        };
        questions.send(Question { ask, answer }).unwrap();
        answered
    }

    fn fetched(length: usize, object_length: u64) -> ToLaptop {
        ToLaptop::Fetched {
            bytes: vec![7; length].into(),
            object_length,
        }
    }

    fn sends(reading: &mut Reading) -> usize {
        (0..100)
            .take_while(|_| matches!(reading.next(NOW), Ok(ReadingStep::Send(_))))
            .count()
    }

    #[test]
    fn questions_go_out_within_the_window_and_answers_go_back_in_order() {
        let (mut reading, questions) = welcomed();
        let answers: Vec<_> = (0..30).map(|n| ask(&questions, n, 10)).collect();
        assert_eq!(sends(&mut reading), QUESTIONS_IN_FLIGHT_MAX);
        reading.receive(NOW, fetched(10, 1000)).unwrap();
        reading.receive(NOW, ToLaptop::Missing).unwrap();
        assert_eq!(sends(&mut reading), 2);
        assert!(matches!(
            answers[0].try_recv(),
            Ok(Answer::Bytes {
                object_length: 1000,
                ..
            })
        ));
        assert_eq!(answers[1].try_recv(), Ok(Answer::Missing));
        assert!(answers[2].try_recv().is_err());
    }

    #[test]
    fn large_answers_are_asked_for_a_mebibyte_at_a_time() {
        let (mut reading, questions) = welcomed();
        for _ in 0..5 {
            ask(&questions, 0, FETCH_SIZE_BYTES_MAX);
        }
        assert_eq!(sends(&mut reading), 2);
    }

    #[test]
    fn an_answer_that_can_be_none_to_the_question_ends_the_visit() {
        for wrong in [
            fetched(9, 1000),
            fetched(11, 1000),
            fetched(10, 9),
            ToLaptop::Listing {
                ids: Vec::new(),
                more: false,
            },
            ToLaptop::Acknowledged {
                mark: berth_wire::Mark(1),
            },
        ] {
            let (mut reading, questions) = welcomed();
            let answered = ask(&questions, 0, 10);
            sends(&mut reading);
            assert!(reading.receive(NOW, wrong).is_err());
            drop(reading);
            assert!(answered.recv().is_err(), "whoever asked waits for ever");
        }
        let (mut reading, _questions) = welcomed();
        assert!(
            reading.receive(NOW, ToLaptop::Missing).is_err(),
            "an answer without a question"
        );
    }

    #[test]
    fn a_short_answer_is_taken_where_the_object_ends() {
        let (mut reading, questions) = welcomed();
        let answered = ask(&questions, 995, 10);
        sends(&mut reading);
        reading.receive(NOW, fetched(5, 1000)).unwrap();
        assert!(matches!(answered.recv(), Ok(Answer::Bytes { bytes, .. }) if bytes.len() == 5));
    }

    #[test]
    fn a_listing_must_ascend_and_get_on() {
        let (low, high) = (Id::new([1; 32]), Id::new([2; 32]));
        for (ids, more, is_right) in [
            (vec![high], false, true),
            (vec![], false, true),
            (vec![], true, false),
            (vec![low], false, false),
            (vec![high, high], false, false),
        ] {
            let (mut reading, questions) = welcomed();
            let (answer, _answered) = bounded(1);
            let ask = Ask::List {
                kind: ObjectKind::Index,
                after: Some(low),
            };
            questions.send(Question { ask, answer }).unwrap();
            sends(&mut reading);
            let received = reading.receive(NOW, ToLaptop::Listing { ids, more });
            assert_eq!(received.is_ok(), is_right);
        }
    }

    #[test]
    fn a_hub_that_only_says_that_it_is_here_is_given_up() {
        let (mut reading, questions) = welcomed();
        let answered = ask(&questions, 0, 10);
        sends(&mut reading);
        reading
            .receive(NOW + ANSWER_MAX / 2, ToLaptop::KeepAlive)
            .unwrap();
        assert!(matches!(
            reading.next(NOW + ANSWER_MAX / 2),
            Ok(ReadingStep::Wait)
        ));
        assert!(matches!(reading.next(NOW + ANSWER_MAX), Err(VisitError::Overdue)));
        drop(reading);
        assert!(answered.recv().is_err());
    }

    #[test]
    fn silence_is_fine_while_nobody_asks_and_the_visit_ends_with_the_last_who_could() {
        let (mut reading, questions) = welcomed();
        let later = NOW + 10 * ANSWER_MAX;
        assert!(matches!(reading.next(later), Ok(ReadingStep::Wait)));
        let answered = ask(&questions, 0, 10);
        drop(questions);
        assert!(matches!(reading.next(later), Ok(ReadingStep::Send(_))));
        assert!(matches!(reading.next(later), Ok(ReadingStep::Wait)));
        reading.receive(later, fetched(10, 10)).unwrap();
        assert!(matches!(reading.next(later), Ok(ReadingStep::Done)));
        assert!(answered.recv().is_ok());
    }

    #[test]
    fn why_the_upstream_gives_nothing_is_passed_on_and_the_visit_goes_on() {
        let (mut reading, questions) = welcomed();
        let answered = ask(&questions, 0, 10);
        let next = ask(&questions, 0, 10);
        assert_eq!(sends(&mut reading), 2);
        let why = "it is away".to_owned();
        reading
            .receive(NOW, ToLaptop::Unavailable { why: why.clone() })
            .unwrap();
        assert_eq!(answered.recv(), Ok(Answer::Unavailable(why)));
        reading.receive(NOW, fetched(10, 10)).unwrap();
        assert!(matches!(next.recv(), Ok(Answer::Bytes { .. })));
    }

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let (mut reading, _questions) = welcomed();
        let why = Refusal::Revoked;
        let refused = reading.receive(NOW, ToLaptop::Refused { why });
        assert!(matches!(refused, Err(VisitError::Refused(Refusal::Revoked))));
    }
}
