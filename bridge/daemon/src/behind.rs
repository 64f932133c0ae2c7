//! Reads a laptop's repository upstream while the laptop waits.
//!
//! Place: [`berth_bridge::Visit`] -> [`UpstreamReader`] -> a thread of its own -> the laptop's
//! [`Upstream`](berth_bridge::Upstream).
//! Invariant: a visit's thread never waits for longer than [`UPSTREAM_WAIT_MAX`], nor for one moment once the laptop has
//! left or the hub stops. What is slower than that is waited for by the reader's thread alone, which ends after it.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use berth_bridge::{Behind, LaptopId};
use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};

use crate::forwarding::OpenUpstream;

/// Longest wait for one answer of the upstream. A laptop gives a hub up after 30 s.
pub const UPSTREAM_WAIT_MAX: Duration = Duration::from_secs(20);

/// A server that comes for the sets takes no questions.
const PULLED: &str = "the server that came for it has it: restore it there";

const SLOW: &str = "it has not answered for 20 s";

type Answer = Result<Option<Bytes>, String>;

struct Wanted {
    kind: ObjectKind,
    id: Id,
    range: Range<u64>,
    answer: Sender<Answer>,
}

/// The repository of one laptop upstream. It is opened when something is read, and anew after a failure.
pub struct UpstreamReader {
    open: OpenUpstream,
    laptop: LaptopId,
    left: Receiver<Infallible>,
    /// To the thread, once there is one.
    wanted: Option<Sender<Wanted>>,
    /// What was too slow and is still waited for.
    overdue: Option<Receiver<Answer>>,
}

impl UpstreamReader {
    /// Nothing is opened yet. Once the other end of `left` is dropped nobody is waited for any more.
    #[must_use]
    pub const fn new(open: OpenUpstream, laptop: LaptopId, left: Receiver<Infallible>) -> Self {
        Self {
            open,
            laptop,
            left,
            wanted: None,
            overdue: None,
        }
    }
}

impl Behind for UpstreamReader {
    fn read(&mut self, kind: ObjectKind, id: &Id, range: Range<u64>) -> Answer {
        const LEFT: &str = "nobody waits for it any more";
        if self.left.try_recv() == Err(TryRecvError::Disconnected) {
            return Err(LEFT.to_owned());
        }
        if let Some(overdue) = &self.overdue
            && overdue.try_recv() == Err(TryRecvError::Empty)
        {
            return Err(SLOW.to_owned());
        }
        self.overdue = None;
        let (answer, answered) = bounded(1);
        let wanted = Wanted {
            kind,
            id: *id,
            range,
            answer,
        };
        let thread = self
            .wanted
            .get_or_insert_with(|| start(Arc::clone(&self.open), self.laptop));
        // A thread that is gone drops the answer's sender.
        let _ = thread.send(wanted);
        select! {
            recv(answered) -> answer => answer.unwrap_or_else(|_| Err("reading it failed in a way that it never should".to_owned())),
            recv(self.left) -> _ => Err(LEFT.to_owned()),
            default(UPSTREAM_WAIT_MAX) => {
                self.overdue = Some(answered);
                Err(SLOW.to_owned())
            }
        }
    }
}

/// A thread that reads what it is asked for until nobody can ask any more.
fn start(open: OpenUpstream, laptop: LaptopId) -> Sender<Wanted> {
    let (wanted_in, wanted_out) = bounded::<Wanted>(1);
    thread::spawn(move || {
        let mut upstream = None;
        for Wanted {
            kind,
            id,
            range,
            answer,
        } in wanted_out
        {
            let mut read = || -> Answer {
                let opened = match &mut upstream {
                    Some(opened) => opened,
                    none => none.insert(open(&laptop).map_err(|failure| failure.why)?.ok_or(PULLED)?),
                };
                let read = opened.read(kind, &id, Some(range.clone()));
                read.map_err(|error| format!("{error} ({})", error.source))
            };
            let read = read();
            if read.is_err() {
                // Its credentials may be renewed meanwhile.
                upstream = None;
            }
            // Whoever asked may have given up.
            let _ = answer.send(read);
        }
    });
    wanted_in
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use berth_bridge::{FolderUpstream, Upstream};

    use super::*;
    use crate::ForwardFailure;

    fn laptop() -> LaptopId {
        LaptopId::from(berth_pairing::DeviceId([1; 32]))
    }

    /// A folder with one pack, and how it is opened.
    fn folder(bytes: &[u8]) -> (tempfile::TempDir, Id, OpenUpstream) {
        let place = tempfile::tempdir().unwrap();
        let (root, id) = (place.path().to_owned(), Id::of(bytes));
        let mut upstream = FolderUpstream::new(&root, &[7; 32]);
        upstream.prepare().unwrap();
        let length = bytes.len() as u64;
        upstream
            .write(ObjectKind::Pack, &id, length, &mut &*bytes)
            .unwrap();
        let open: OpenUpstream = Arc::new(move |_| Ok(Some(Box::new(FolderUpstream::new(&root, &[7; 32])))));
        (place, id, open)
    }

    #[test]
    fn what_is_upstream_is_read_and_what_is_not_is_not_there() {
        let (_place, id, open) = folder(b"0123456789");
        let (_stay, left) = bounded(0);
        let mut reader = UpstreamReader::new(open, laptop(), left);
        let read = reader.read(ObjectKind::Pack, &id, 3..6).unwrap();
        assert_eq!(read.unwrap(), "345");
        let other = reader.read(ObjectKind::Pack, &Id::of(b"other"), 3..6);
        assert_eq!(other, Ok(None));
    }

    #[test]
    fn an_upstream_that_was_away_is_tried_again_with_the_next_question() {
        let (_place, id, there) = folder(b"0123456789");
        let away = Mutex::new(true);
        let open: OpenUpstream = Arc::new(move |laptop| {
            if std::mem::replace(&mut *away.lock().unwrap(), false) {
                let (why, is_upstream) = ("the disk is not mounted".to_owned(), true);
                return Err(ForwardFailure { why, is_upstream });
            }
            there(laptop)
        });
        let (_stay, left) = bounded(0);
        let mut reader = UpstreamReader::new(open, laptop(), left);
        let read = reader.read(ObjectKind::Pack, &id, 0..1);
        assert_eq!(read, Err("the disk is not mounted".to_owned()));
        assert!(reader.read(ObjectKind::Pack, &id, 0..1).is_ok());
    }

    #[test]
    fn nobody_waits_for_an_upstream_once_the_laptop_has_left() {
        let (_place, id, there) = folder(b"0123456789");
        let (opening_in, opening) = bounded(0);
        let (go_on, held) = bounded::<()>(0);
        let open: OpenUpstream = Arc::new(move |laptop| {
            opening_in.send(()).unwrap();
            // Until the test is over.
            let _ = held.recv();
            there(laptop)
        });
        let (stay, left) = bounded(0);
        let reading = thread::spawn(move || {
            let mut reader = UpstreamReader::new(open, laptop(), left);
            let held = reader.read(ObjectKind::Pack, &id, 0..1);
            (held, reader.read(ObjectKind::Pack, &id, 0..1))
        });
        opening.recv().unwrap();
        drop(stay);
        let (first, second) = reading.join().unwrap();
        assert!(first.is_err() && second.is_err());
        drop(go_on);
    }
}
