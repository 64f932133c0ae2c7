//! Reading ahead: what is needed soon is asked for before it is needed, in few large ranges.
//!
//! Place: [`Engine`](crate::engine::Engine) says which ranges of packs it will read -> [`ReadAhead`] merges neighbours and
//! asks a far [`ObjectSource`] for them in that order, within [`ReadAhead::new`]'s bound -> the same ranges are read.
//! Invariant: it only makes things faster. Whatever was not planned, or planned and not asked for yet, is read when it is
//! needed; whatever was planned is given up once it was used as often as planned, so that the bound holds.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_repository::Id;
use bytes::Bytes;

use crate::{ObjectKind, ObjectSource, Pending};

/// Ranges that lie so close together are read as one: a question of its own costs the link about as much.
const GAP_BYTES_MAX: u64 = 4 * 1024;

/// No range grows beyond this by merging: it is the largest answer of a hub, and all of it stays in memory until its
/// last byte is used.
const SPAN_BYTES_MAX: u64 = 512 * 1024;

/// Where some bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: Id,
    pub(crate) range: Range<u64>,
}

impl Place {
    /// Sorts places so that neighbours come one after the other.
    pub(crate) fn key(&self) -> (Id, u64) {
        (self.pack, self.range.start)
    }
}

pub(crate) struct ReadAhead {
    source: Arc<dyn ObjectSource>,
    bytes_max: u64,
    state: Mutex<State>,
}

/// Spans never overlap.
#[derive(Default)]
struct State {
    spans: BTreeMap<(Id, u64), Span>,
    /// Spans that are not asked for yet, in the order in which they are needed.
    planned: BTreeMap<u64, (Id, u64)>,
    next_number: u64,
    /// Bytes asked for and not given up.
    held_bytes: u64,
    /// The source sees nothing in early questions.
    is_near: bool,
}

struct Span {
    end: u64,
    /// How often it will still be read.
    uses: u32,
    content: Content,
}

enum Content {
    /// Its place in the order.
    Planned(u64),
    Asked(Arc<Mutex<Block>>),
}

enum Block {
    Pending(Option<Pending>),
    Here(Bytes),
    Failed(io::ErrorKind, String),
}

impl ReadAhead {
    /// Reads ahead in packs of `source`, up to `bytes_max` (and one range more).
    pub(crate) fn new(source: Arc<dyn ObjectSource>, bytes_max: u64) -> Self {
        Self {
            source,
            bytes_max,
            state: Mutex::default(),
        }
    }

    /// These places will be read, in this order. Each must be given to [`ReadAhead::release`] once, whether it was read
    /// or not.
    pub(crate) fn expect(&self, places: impl IntoIterator<Item = Place>) {
        let mut state = self.state();
        for place in places {
            if state.is_near {
                return;
            }
            state.plan(&place);
        }
        self.fill(&mut state);
    }

    /// The bytes at `place`, if they are planned and there. May wait for them.
    pub(crate) fn read(&self, place: &Place) -> Option<io::Result<Bytes>> {
        let (start, block) = {
            let mut state = self.state();
            let (start, span) = state.covering(place)?;
            let block = match &span.content {
                Content::Asked(block) => Arc::clone(block),
                // Needed before its turn.
                Content::Planned(_) => self.ask(&mut state, (place.pack, start))?,
            };
            (start, block)
        };
        // Others who need this span wait here too; those who need another one do not.
        let mut block = block.lock().unwrap_or_else(PoisonError::into_inner);
        if let Block::Pending(pending) = &mut *block {
            let read = pending
                .take()
                .map_or_else(|| Err(io::ErrorKind::Other.into()), |pending| pending());
            *block = match read {
                Ok(bytes) => Block::Here(bytes),
                Err(error) => Block::Failed(error.kind(), error.to_string()),
            };
        }
        Some(match &*block {
            Block::Here(bytes) => part(bytes, start, &place.range),
            // A pack that was cut short: its last span is not there, but this place may be.
            Block::Failed(io::ErrorKind::UnexpectedEof, _) => return None,
            Block::Failed(kind, why) => Err(io::Error::new(*kind, why.clone())),
            Block::Pending(_) => Err(io::ErrorKind::Other.into()),
        })
    }

    /// One expected use of `place` is over.
    pub(crate) fn release(&self, place: &Place) {
        let mut state = self.state();
        if let Some((start, span)) = state.covering(place) {
            span.uses = span.uses.saturating_sub(1);
            if span.uses == 0 {
                state.give_up((place.pack, start));
                self.fill(&mut state);
            }
        }
    }

    /// Nothing of what was planned is needed any more.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        let is_near = state.is_near;
        *state = State {
            is_near,
            ..State::default()
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, state: &mut State) {
        while state.held_bytes < self.bytes_max
            && let Some((_, key)) = state.planned.first_key_value()
        {
            let key = *key;
            self.ask(state, key);
        }
    }

    /// Asks for a planned span. `None`: the source is near.
    fn ask(&self, state: &mut State, key: (Id, u64)) -> Option<Arc<Mutex<Block>>> {
        let span = state.spans.get_mut(&key)?;
        let Some(pending) = self.source.ask(ObjectKind::Pack, key.0, key.1..span.end) else {
            *state = State {
                is_near: true,
                ..State::default()
            };
            return None;
        };
        let block = Arc::new(Mutex::new(Block::Pending(Some(pending))));
        if let Content::Planned(number) =
            std::mem::replace(&mut span.content, Content::Asked(Arc::clone(&block)))
        {
            state.planned.remove(&number);
        }
        state.held_bytes += span.end - key.1;
        Some(block)
    }
}

impl State {
    fn plan(&mut self, place: &Place) {
        if place.range.is_empty() {
            return;
        }
        let (pack, start) = place.key();
        if let Some((_, span)) = self.covering(place) {
            span.uses += 1;
            return;
        }
        let after = self.spans.range((pack, start)..).next();
        let ends_before_next =
            after.is_none_or(|((next, next_start), _)| *next != pack || place.range.end <= *next_start);
        if !ends_before_next {
            return; // no honest index has blobs that overlap: read when needed
        }
        let before = self.spans.range_mut(..(pack, start)).next_back();
        if let Some(((before, before_start), span)) = before
            && *before == pack
        {
            if start < span.end {
                return;
            }
            let is_close =
                start - span.end <= GAP_BYTES_MAX && place.range.end - *before_start <= SPAN_BYTES_MAX;
            if is_close && matches!(span.content, Content::Planned(_)) {
                span.end = place.range.end;
                span.uses += 1;
                return;
            }
        }
        let number = self.next_number;
        self.next_number += 1;
        self.planned.insert(number, (pack, start));
        let span = Span {
            end: place.range.end,
            uses: 1,
            content: Content::Planned(number),
        };
        self.spans.insert((pack, start), span);
    }

    /// The span that holds all of `place`, and where it starts.
    fn covering(&mut self, place: &Place) -> Option<(u64, &mut Span)> {
        let ((pack, start), span) = self.spans.range_mut(..=place.key()).next_back()?;
        (*pack == place.pack && place.range.end <= span.end).then_some((*start, span))
    }

    fn give_up(&mut self, key: (Id, u64)) {
        let Some(span) = self.spans.remove(&key) else {
            return;
        };
        match span.content {
            Content::Planned(number) => {
                self.planned.remove(&number);
            }
            Content::Asked(_) => self.held_bytes -= span.end - key.1,
        }
    }
}

/// `range` of an object of which `bytes` begin at `start`.
fn part(bytes: &Bytes, start: u64, range: &Range<u64>) -> io::Result<Bytes> {
    let index = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
    let (from, to) = (index(range.start), index(range.end));
    if from <= to && to <= bytes.len() {
        Ok(bytes.slice(from..to))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size of every pack in bytes.
    const PACK_BYTES: u64 = 1_000_000;

    /// A far source that takes down what it is asked for.
    #[derive(Default)]
    struct Far {
        asked: Mutex<Vec<(Id, Range<u64>)>>,
    }

    impl ObjectSource for Far {
        fn location(&self) -> String {
            "far".into()
        }
        fn list(&self, _kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>> {
            Ok(Vec::new())
        }
        fn read(&self, _kind: ObjectKind, _id: Id, range: Option<Range<u64>>) -> io::Result<Bytes> {
            Ok(bytes(&range.unwrap()))
        }
        fn ask(&self, _kind: ObjectKind, id: Id, range: Range<u64>) -> Option<Pending> {
            self.asked.lock().unwrap().push((id, range.clone()));
            Some(Box::new(move || {
                if range.end > PACK_BYTES {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(bytes(&range))
            }))
        }
    }

    fn bytes(range: &Range<u64>) -> Bytes {
        range.clone().map(|at| at as u8).collect()
    }

    fn pack(number: u8) -> Id {
        Id::new([number; 32])
    }

    fn place(number: u8, range: Range<u64>) -> Place {
        Place {
            pack: pack(number),
            range,
        }
    }

    fn reader(bytes_max: u64) -> (Arc<Far>, ReadAhead) {
        let far = Arc::new(Far::default());
        (Arc::clone(&far), ReadAhead::new(far, bytes_max))
    }

    #[test]
    fn neighbours_are_asked_for_at_once_and_each_range_once() {
        let (far, ahead) = reader(1 << 20);
        let places = [
            place(1, 0..100),
            place(1, 100..200),
            place(1, 250..300), // a small gap
            place(2, 0..10),
            place(1, 100..200), // of another file
            place(1, 300_000..300_010),
        ];
        ahead.expect(places.clone());
        let asked = [(pack(1), 0..300), (pack(2), 0..10), (pack(1), 300_000..300_010)];
        assert_eq!(*far.asked.lock().unwrap(), asked);
        for place in places {
            assert_eq!(ahead.read(&place).unwrap().unwrap(), bytes(&place.range));
            ahead.release(&place);
        }
        assert_eq!(far.asked.lock().unwrap().len(), 3);
        assert_eq!(ahead.state().held_bytes, 0);
        assert!(ahead.read(&place(1, 0..100)).is_none());
    }

    #[test]
    fn no_more_is_asked_for_than_the_bound_until_something_was_used() {
        let (far, ahead) = reader(1000);
        ahead.expect((0..100).map(|n| place(1, n * 10_000..n * 10_000 + 500)));
        assert_eq!(far.asked.lock().unwrap().len(), 2);
        // Never read, because its file could not be written.
        ahead.release(&place(1, 0..500));
        assert_eq!(far.asked.lock().unwrap().len(), 3);
    }

    #[test]
    fn what_is_needed_before_its_turn_is_asked_for_at_once() {
        let (far, ahead) = reader(500);
        ahead.expect((0..100).map(|n| place(1, n * 10_000..n * 10_000 + 500)));
        let late = place(1, 990_000..990_500);
        assert_eq!(ahead.read(&late).unwrap().unwrap(), bytes(&late.range));
        assert_eq!(far.asked.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_pack_that_was_cut_short_costs_only_what_lies_beyond() {
        let (_, ahead) = reader(1 << 20);
        let whole = place(1, PACK_BYTES - 100..PACK_BYTES);
        ahead.expect([whole.clone(), place(1, PACK_BYTES..PACK_BYTES + 100)]);
        assert!(ahead.read(&whole).is_none(), "not left to be read alone");
    }

    #[test]
    fn places_that_overlap_are_not_planned() {
        let (far, ahead) = reader(1 << 20);
        ahead.expect([
            place(1, 100..200),
            place(1, 150..250),
            place(1, 50..120),
            place(1, 7..7),
        ]);
        assert_eq!(*far.asked.lock().unwrap(), [(pack(1), 100..200)]);
        assert!(ahead.read(&place(1, 150..250)).is_none());
    }
}
