//! A laptop's repository upstream as a place to restore from, without a hub.
//!
//! Place: `berth_restore::Repository` -> [`UpstreamSource`] -> threads, each with a connection of its own ->
//! [`berth_bridge::Upstream`].
//! Invariant: nothing that the upstream gives is taken at its word. Whole objects are checked against their ids here; ranges
//! of packs by their MAC and the id of what they hold, by whoever opens them.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use berth_bridge::{Upstream, UpstreamError};
use berth_repository::Id;
use berth_restore::{CONFIG_ID, ObjectKind, ObjectSource, Pending};
use berth_wire::ObjectKind as WireKind;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};

use crate::Seen;

/// Connections to the upstream: as many reads are on their way at once.
pub const CONNECTIONS: usize = 4;

/// Something to do with a connection.
type Job = Box<dyn FnOnce(&mut dyn Upstream) + Send>;

/// A repository upstream. Dropping it ends its threads, each after what it does then.
pub struct UpstreamSource {
    location: String,
    jobs: Sender<Job>,
    stopped: Receiver<Infallible>,
    seen: Arc<Seen>,
}

impl UpstreamSource {
    /// `upstreams` are connections to one repository, `location` what a person calls it. Once the other end of `stopped` is
    /// dropped everything that is asked for is [`io::ErrorKind::ConnectionAborted`].
    #[must_use]
    pub fn new(location: String, upstreams: Vec<Box<dyn Upstream>>, stopped: Receiver<Infallible>) -> Self {
        let (jobs_in, jobs_out) = unbounded::<Job>();
        for mut upstream in upstreams {
            let jobs = jobs_out.clone();
            thread::spawn(move || jobs.iter().for_each(|job| job(&mut *upstream)));
        }
        Self {
            location,
            jobs: jobs_in,
            stopped,
            seen: Arc::default(),
        }
    }

    /// What it cost so far, and why nothing more comes.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// Has something done, and gives a way to wait for it.
    fn submit<T: Send + 'static, A>(&self, act: A) -> impl FnOnce() -> io::Result<T> + Send + use<T, A>
    where
        A: FnOnce(&mut dyn Upstream) -> Result<T, UpstreamError> + Send + 'static,
    {
        let (answer, answered) = bounded(1);
        // Its threads end after it.
        let _ = self.jobs.send(Box::new(move |upstream| {
            // Whoever asked may have given up.
            let _ = answer.send(act(upstream));
        }));
        let (stopped, seen) = (self.stopped.clone(), Arc::clone(&self.seen));
        move || {
            let answer = select! {
                recv(answered) -> answer => answer.map_err(|_| gone())?,
                recv(stopped) -> _ => return Err(gone()),
            };
            answer.map_err(|error| failed(error, &seen))
        }
    }

    fn part(
        &self,
        kind: ObjectKind,
        id: Id,
        range: Range<u64>,
    ) -> impl FnOnce() -> io::Result<Bytes> + Send + use<> {
        let size = range.end.saturating_sub(range.start);
        let kind = on_wire(kind);
        let read = self.submit(move |upstream| upstream.read(kind, &id, Some(range)));
        let seen = Arc::clone(&self.seen);
        move || {
            let bytes = read()?.ok_or(io::ErrorKind::NotFound)?;
            seen.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if bytes.len() as u64 == size {
                Ok(bytes)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    fn whole(&self, kind: ObjectKind, id: Id) -> io::Result<Bytes> {
        let bytes = match kind {
            ObjectKind::Config => self.submit(|upstream| upstream.config())()?.map(Bytes::from),
            kind => self.submit(move |upstream| upstream.read(on_wire(kind), &id, None))()?,
        };
        let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
        self.seen.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if kind != ObjectKind::Config && Id::of(&bytes) != id {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it holds other bytes than its name says",
            ));
        }
        Ok(bytes)
    }
}

impl ObjectSource for UpstreamSource {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn list(&self, kind: ObjectKind) -> io::Result<Vec<(Id, Option<u64>)>> {
        if kind == ObjectKind::Config {
            let config = self.submit(|upstream| upstream.config())()?;
            let size = config.map(|config| (CONFIG_ID, Some(config.len() as u64)));
            return Ok(size.into_iter().collect());
        }
        self.submit(move |upstream| {
            let mut found = Vec::new();
            upstream.list(on_wire(kind), &mut |id, size| found.push((id, Some(size))))?;
            Ok(found)
        })()
    }

    fn read(&self, kind: ObjectKind, id: Id, range: Option<Range<u64>>) -> io::Result<Bytes> {
        match range {
            None => self.whole(kind, id),
            Some(range) if range.is_empty() => Ok(Bytes::new()),
            Some(range) => self.part(kind, id, range)(),
        }
    }

    fn ask(&self, kind: ObjectKind, id: Id, range: Range<u64>) -> Option<Pending> {
        Some(Box::new(self.part(kind, id, range)))
    }
}

const fn on_wire(kind: ObjectKind) -> WireKind {
    match kind {
        ObjectKind::Config => WireKind::Config,
        ObjectKind::Key => WireKind::Key,
        ObjectKind::Snapshot => WireKind::Snapshot,
        ObjectKind::Index => WireKind::Index,
        ObjectKind::Pack => WireKind::Pack,
    }
}

/// An upstream that was tried several times and gives nothing, or that does not let us in, gives nothing later either: it
/// would be asked for every file.
fn failed(error: UpstreamError, seen: &Seen) -> io::Error {
    use io::ErrorKind;
    let is_lost = matches!(
        error.source.kind(),
        ErrorKind::TimedOut
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::ResourceBusy
            | ErrorKind::PermissionDenied
    );
    let why = format!("{error}: {}", error.source);
    if !is_lost {
        return io::Error::new(error.source.kind(), why);
    }
    // The first one says it.
    let _ = seen.lost.set(why.clone());
    io::Error::new(ErrorKind::ConnectionAborted, why)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "stopped")
}

#[cfg(test)]
mod tests {
    use berth_bridge::FolderUpstream;

    use super::*;

    fn source(place: &std::path::Path) -> (UpstreamSource, Sender<Infallible>) {
        let (stop, stopped) = bounded(0);
        let open = || Box::new(FolderUpstream::new(place, &[0; 32])) as Box<dyn Upstream>;
        let source = UpstreamSource::new("here".to_owned(), vec![open(), open()], stopped);
        (source, stop)
    }

    fn put(place: &std::path::Path, kind: WireKind, id: Id, bytes: &[u8]) {
        let mut upstream = FolderUpstream::new(place, &[7; 32]);
        upstream.prepare().unwrap();
        upstream
            .write(kind, &id, bytes.len() as u64, &mut &*bytes)
            .unwrap();
    }

    #[test]
    fn a_part_is_whole_or_an_error() {
        let place = tempfile::tempdir().unwrap();
        let id = Id::of(b"0123456789");
        put(place.path(), WireKind::Pack, id, b"0123456789");
        let (source, _stop) = source(place.path());
        let read = |range| source.read(ObjectKind::Pack, id, Some(range));
        assert_eq!(read(2..5).unwrap(), "234");
        assert_eq!(source.ask(ObjectKind::Pack, id, 9..10).unwrap()().unwrap(), "9");
        assert_eq!(read(8..12).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(source.list(ObjectKind::Pack).unwrap(), [(id, Some(10))]);
        assert_eq!(source.list(ObjectKind::Config).unwrap(), []);
        let none = source.read(ObjectKind::Pack, Id::of(b"other"), Some(0..1));
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(source.seen().bytes(), 3 + 1 + 2);
    }

    #[test]
    fn one_object_under_the_name_of_another_is_not_taken() {
        let place = tempfile::tempdir().unwrap();
        let id = Id::of(b"a snapshot");
        put(place.path(), WireKind::Snapshot, id, b"another one");
        let (source, _stop) = source(place.path());
        let error = source.read(ObjectKind::Snapshot, id, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn whoever_stops_waits_for_nothing_more() {
        let (stop, stopped) = bounded(0);
        // Nobody answers.
        let source = UpstreamSource::new("nowhere".to_owned(), Vec::new(), stopped);
        let asked = source.ask(ObjectKind::Pack, Id::of(b"a"), 0..1).unwrap();
        drop(stop);
        assert_eq!(asked().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
