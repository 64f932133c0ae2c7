//! A laptop's repository as restic reads it from a REST server (restic.readthedocs.io, "REST Backend"), versions 1 and
//! 2.
//!
//! Place: `/LAPTOP/config`, `/LAPTOP/KIND/` and `/LAPTOP/KIND/ID`, from [`Repositories`]; locks from [`Locks`].
//! Invariant: but for locks every write is refused.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_bridge::LaptopId;
use berth_repository::Id;
use berth_wire::{ObjectEntry, ObjectKind};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use hyper::{Method, Request, StatusCode};
use tokio::time::timeout;

use crate::Program;
use crate::answer::{Answer, Failure, bytes, empty, with_status};
use crate::listen::wait;
use crate::locks::{LOCK_SIZE_BYTES_MAX, Locks, NotTaken};
use crate::protocol::kind_of;
use crate::repository::{Repositories, Repository, read};

const VERSION_1: &str = "application/vnd.x.restic.rest.v1";
const VERSION_2: &str = "application/vnd.x.restic.rest.v2";

/// Lines of a list that are made at once, of about 100 bytes.
const LINES: usize = 1_000;

/// Longest time for a request's body to come.
pub(crate) const BODY_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Rest {
    program: Arc<dyn Program>,
    repositories: Arc<Repositories>,
    locks: Mutex<Locks>,
}

/// What a name in a repository's folder stands for.
enum Kind {
    Objects(ObjectKind),
    Locks,
}

impl Kind {
    fn of(folder: &str) -> Result<Self, Failure> {
        match (folder, kind_of(folder)) {
            ("locks", _) => Ok(Self::Locks),
            (_, Some(ObjectKind::Config) | None) => Err(Failure::NotThere),
            (_, Some(kind)) => Ok(Self::Objects(kind)),
        }
    }
}

impl Rest {
    pub(crate) fn new(program: Arc<dyn Program>) -> Self {
        Self {
            program,
            repositories: Arc::default(),
            locks: Mutex::default(),
        }
    }

    /// Answers a request for `path`, without the slash before it.
    pub(crate) async fn answer(&self, path: &str, request: Request<Incoming>) -> Result<Answer, Failure> {
        let parts: Vec<&str> = path.split('/').collect();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match parts.as_slice() {
            [laptop, "config"] if reads => {
                let repository = self.look(laptop).await?;
                let entry = repository.config().ok_or(Failure::NotThere)?;
                self.object(&repository, entry, &request).await
            }
            [laptop, folder, ""] if request.method() == Method::GET => {
                self.list(laptop, Kind::of(folder)?, &request).await
            }
            [laptop, folder, id] if reads => {
                let id = Id::from_hex(id).ok_or(Failure::NotThere)?;
                match Kind::of(folder)? {
                    Kind::Locks => {
                        let laptop = self.repository(laptop).await?.laptop;
                        let lock = self.locks().read(self.program.now(), laptop, id);
                        Ok(bytes("application/octet-stream", lock.ok_or(Failure::NotThere)?))
                    }
                    Kind::Objects(kind) => {
                        let (repository, entry) = self.find(laptop, kind, id).await?;
                        self.object(&repository, entry, &request).await
                    }
                }
            }
            [laptop, "locks", id] if request.method() == Method::POST => {
                let id = Id::from_hex(id).ok_or(Failure::Malformed("a lock's name is a SHA-256"))?;
                let laptop = self.repository(laptop).await?.laptop;
                let body = body(request, LOCK_SIZE_BYTES_MAX).await?;
                match self.locks().put(self.program.now(), laptop, id, body) {
                    Ok(()) => Ok(empty(StatusCode::OK)),
                    Err(NotTaken::TooMany) => Err(Failure::TooMany),
                    Err(NotTaken::Malformed) => Err(Failure::Malformed("a lock's name is its SHA-256")),
                }
            }
            [laptop, "locks", id] if request.method() == Method::DELETE => {
                let laptop = self.repository(laptop).await?.laptop;
                match Id::from_hex(id) {
                    Some(id) if self.locks().remove(laptop, id) => Ok(empty(StatusCode::OK)),
                    Some(_) | None => Err(Failure::NotThere),
                }
            }
            _ if matches!(*request.method(), Method::POST | Method::DELETE) => Err(Failure::ReadOnly),
            _ if reads => Err(Failure::NotThere),
            _ => Err(Failure::Method),
        }
    }

    /// As it is now.
    async fn look(&self, name: &str) -> Result<Arc<Repository>, Failure> {
        let (program, lists, name) = (self.program.clone(), self.repositories.clone(), name.to_owned());
        wait(move || lists.look(&*program, &name)).await
    }

    /// As it was lately.
    async fn repository(&self, name: &str) -> Result<Arc<Repository>, Failure> {
        match self.repositories.known(name) {
            Some(known) => Ok(known),
            None => self.look(name).await,
        }
    }

    async fn find(
        &self,
        name: &str,
        kind: ObjectKind,
        id: Id,
    ) -> Result<(Arc<Repository>, ObjectEntry), Failure> {
        if let Some(known) = self.repositories.known(name)
            && let Some(entry) = known.find(kind, &id)
        {
            return Ok((known, entry));
        }
        // A set may have been sealed since.
        let repository = self.look(name).await?;
        let entry = repository.find(kind, &id).ok_or(Failure::NotThere)?;
        Ok((repository, entry))
    }

    async fn list(&self, name: &str, kind: Kind, request: &Request<Incoming>) -> Result<Answer, Failure> {
        let repository = self.look(name).await?;
        let accepts = request.headers().get(ACCEPT).map(HeaderValue::as_bytes);
        let is_version_2 = accepts.is_some_and(|accepts| accepts == VERSION_2.as_bytes());
        let body = match kind {
            Kind::Locks => {
                let locks = self.locks().list(self.program.now(), &repository.laptop);
                let mut text = BytesMut::from(&b"["[..]);
                lines(&mut text, locks.into_iter(), 0, is_version_2);
                text.extend_from_slice(b"]");
                return Ok(bytes(version(is_version_2), text.freeze()));
            }
            Kind::Objects(kind) => pages(repository, kind, is_version_2),
        };
        let mut answer = with_status(StatusCode::OK, body);
        let kind = HeaderValue::from_static(version(is_version_2));
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(answer)
    }

    async fn object(
        &self,
        repository: &Repository,
        entry: ObjectEntry,
        request: &Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let length = entry.length;
        let asked = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
        let range = asked.map(|text| range(text, length)).transpose()?.flatten();
        let Range { start, end } = range.clone().unwrap_or(0..length);
        let mut answer = if request.method() == Method::HEAD {
            empty(StatusCode::OK)
        } else {
            with_status(
                StatusCode::OK,
                self.stream(repository.laptop, entry, start..end).await?,
            )
        };
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if range.is_some() {
            let last = end.saturating_sub(1);
            let shown = HeaderValue::from_str(&format!("bytes {start}-{last}/{length}"));
            headers.insert(
                CONTENT_RANGE,
                shown.map_err(|error| Failure::Broken(error.to_string()))?,
            );
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(answer)
    }

    /// In pieces. The first one is read before the answer begins: what is not there is said, not cut.
    async fn stream(
        &self,
        laptop: LaptopId,
        entry: ObjectEntry,
        range: Range<u64>,
    ) -> Result<crate::answer::Body, Failure> {
        let program = Arc::clone(&self.program);
        let piece = move |at: u64, end: u64| {
            let program = Arc::clone(&program);
            wait(move || read(&*program, &laptop, &entry, at, end))
        };
        let Range { start, end } = range;
        let first = if start < end {
            Some(piece(start, end).await?)
        } else {
            None
        };
        let pieces = stream::try_unfold((first, start), move |(first, at)| {
            let next = (first.is_none() && at < end).then(|| piece(at, end));
            async move {
                let bytes = match (first, next) {
                    (Some(first), _) => first,
                    (None, None) => return Ok(None),
                    // The caller sees a body that is too short.
                    (None, Some(next)) => match next.await {
                        Ok(bytes) => bytes,
                        Err(failure) => {
                            drop(failure.answer());
                            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                        }
                    },
                };
                let at = at + bytes.len() as u64;
                Ok(Some((Frame::data(bytes), (None, at))))
            }
        });
        Ok(StreamBody::new(pieces).boxed_unsync())
    }

    // Whole between any two calls.
    fn locks(&self) -> std::sync::MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's body.
pub(crate) async fn body(request: Request<Incoming>, size_bytes_max: usize) -> Result<Bytes, Failure> {
    let body = Limited::new(request.into_body(), size_bytes_max).collect();
    match timeout(BODY_MAX, body).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err(Failure::Malformed("the body is cut off or too long")),
        Err(_) => Err(Failure::Malformed("the body comes too slowly")),
    }
}

const fn version(is_version_2: bool) -> &'static str {
    if is_version_2 { VERSION_2 } else { VERSION_1 }
}

/// A list of objects, made as it is sent: that of a large repository has some MB.
fn pages(repository: Arc<Repository>, kind: ObjectKind, is_version_2: bool) -> crate::answer::Body {
    let pages = stream::unfold(Some(0), move |at| {
        let repository = Arc::clone(&repository);
        async move {
            let at = at?;
            let all = repository.of_kind(kind);
            let page = all.iter().skip(at).take(LINES);
            let mut text = BytesMut::new();
            if at == 0 {
                text.extend_from_slice(b"[");
            }
            lines(
                &mut text,
                page.map(|entry| (entry.id, entry.length)),
                at,
                is_version_2,
            );
            let next = at + LINES;
            let goes_on = next < all.len();
            if !goes_on {
                text.extend_from_slice(b"]");
            }
            Some((Ok(Frame::data(text.freeze())), goes_on.then_some(next)))
        }
    });
    StreamBody::new(pages).boxed_unsync()
}

/// Entries of a list, of which `before` stand there already.
fn lines(text: &mut BytesMut, entries: impl Iterator<Item = (Id, u64)>, before: usize, is_version_2: bool) {
    for (place, (id, length)) in entries.enumerate() {
        if before + place > 0 {
            text.extend_from_slice(b",");
        }
        let line = if is_version_2 {
            format!("{{\"name\":\"{id}\",\"size\":{length}}}")
        } else {
            format!("\"{id}\"")
        };
        text.extend_from_slice(line.as_bytes());
    }
}

/// Reads `Range` (RFC 9110, 14.2) for an object of `length` bytes. `None`: not one range of bytes; all is sent then.
fn range(text: &str, length: u64) -> Result<Option<Range<u64>>, Failure> {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(tail)) if first.is_empty() => length.saturating_sub(tail)..length,
        _ => return Ok(None),
    };
    if range.is_empty() {
        return Err(Failure::Range { length });
    }
    Ok(Some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_rfc_9110_has_it() {
        let read = |text| range(text, 10).ok().map(|range| range.unwrap_or(0..10));
        assert_eq!(read("bytes=0-3"), Some(0..4));
        assert_eq!(read("bytes=7-"), Some(7..10));
        assert_eq!(read("bytes=-4"), Some(6..10));
        assert_eq!(read("bytes=-40"), Some(0..10));
        assert_eq!(read("bytes=3-99"), Some(3..10));
        for whole in ["bytes=0-1,3-4", "bytes=5-3", "bytes=x-3", "lines=1-2", "bytes=-"] {
            assert_eq!(read(whole), Some(0..10), "{whole}");
        }
        for beyond in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(read(beyond), None, "{beyond}");
        }
    }
}
