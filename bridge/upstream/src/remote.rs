//! An upstream out of a [`Storage`]: deadlines, retries, and whole objects in memory.

use std::io::{self, Read};
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use berth_bridge::{Lock, SMALL_OBJECT_SIZE_BYTES_MAX, Upstream, UpstreamError, check_range, size_bytes_max};
use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::{BufMut, Bytes, BytesMut};
use rand_core::{OsRng, RngCore};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::storage::{CONFIG, Found, LOCKS, Storage, Wanted, folder_of, path_of, too_large};

/// Longest time that a call may take which moves next to nothing; listings of 100,000s of files too.
const CALL_MAX: Duration = Duration::from_secs(120);

/// The slowest connection with which an object is waited for.
const BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// Times that what may be a whim of the network is tried.
const TRIES: u32 = 4;

/// Wait after the first failure, doubled with each more; up to as much again is added, so that hubs that failed together
/// do not come back together.
const RETRY_WAIT_MS: u64 = 500;

/// A repository on some [`Storage`]. Holds one object in memory while it is written: 32 MiB at most.
pub(crate) struct Remote<S> {
    runtime: Arc<Runtime>,
    storage: S,
    tries: u32,
    /// Longest time of a call that moves so many bytes.
    longest: fn(u64) -> Duration,
    is_prepared: bool,
    /// Where the next object is read to: freed and taken anew it would leave holes that the allocator keeps.
    spare: BytesMut,
}

impl<S: Storage> Remote<S> {
    pub(crate) fn new(runtime: Arc<Runtime>, storage: S) -> Self {
        Self {
            runtime,
            storage,
            tries: TRIES,
            longest,
            is_prepared: false,
            spare: BytesMut::new(),
        }
    }

    fn read_file(&self, path: &str) -> Result<Option<Bytes>, UpstreamError> {
        self.read_wanted("reading a file", path, &whole(SMALL_OBJECT_SIZE_BYTES_MAX))
    }

    fn read_wanted(
        &self,
        doing: &'static str,
        path: &str,
        wanted: &Wanted,
    ) -> Result<Option<Bytes>, UpstreamError> {
        let size_bytes_max = wanted.size_bytes_max();
        let read = self.wait(doing, size_bytes_max, async || {
            self.storage.read(path, wanted).await
        })?;
        match read {
            Some(bytes) if bytes.len() as u64 > size_bytes_max => {
                Err(UpstreamError::doing(doing)(too_large()))
            }
            read => Ok(read),
        }
    }

    /// Writes a file, reads it back and removes it. Somebody waits for it: nothing is tried twice.
    pub(crate) fn probe(mut self, path: &str, text: &'static [u8]) -> Result<(), UpstreamError> {
        self.tries = 1;
        let bytes = Bytes::from_static(text);
        self.wait("writing a file to try it", 0, async || {
            self.storage.write(path, bytes.clone()).await
        })?;
        let read = self.read_file(path);
        self.wait("removing the file that was written to try it", 0, async || {
            self.storage.remove(path).await
        })?;
        if read? == Some(bytes) {
            return Ok(());
        }
        let other = io::Error::new(
            io::ErrorKind::InvalidData,
            "it gives back other bytes than were written",
        );
        Err(UpstreamError::doing(
            "reading back a file that was written to try it",
        )(other))
    }

    fn wait<T>(
        &self,
        doing: &'static str,
        size_bytes: u64,
        act: impl AsyncFn() -> io::Result<T>,
    ) -> Result<T, UpstreamError> {
        let longest = (self.longest)(size_bytes);
        let tried = self.runtime.block_on(async {
            let mut tries = 1;
            loop {
                let done = timeout(longest, act()).await;
                let error = match done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                    Ok(done) => return Ok(done),
                    Err(error) => error,
                };
                if tries == self.tries || !may_be_a_whim(error.kind()) {
                    return Err(error);
                }
                debug!(doing, %error, "trying again");
                let wait_ms = RETRY_WAIT_MS << tries;
                sleep(Duration::from_millis(wait_ms + OsRng.next_u64() % wait_ms)).await;
                tries += 1;
            }
        });
        tried.map_err(UpstreamError::doing(doing))
    }

    fn list_names(&self, folder: &'static str) -> Result<Vec<Found>, UpstreamError> {
        self.wait("listing objects", 0, async || {
            let mut all = Vec::new();
            self.storage.list(folder, &mut |found| all.push(found)).await?;
            Ok(all)
        })
    }
}

const fn longest(size_bytes: u64) -> Duration {
    CALL_MAX.saturating_add(Duration::from_secs(size_bytes / BYTES_PER_SECOND_MIN))
}

const fn whole(size_bytes_max: u64) -> Wanted {
    Wanted::Whole { size_bytes_max }
}

/// Gone by itself, perhaps. What a server refuses it refuses again.
const fn may_be_a_whim(kind: io::ErrorKind) -> bool {
    use io::ErrorKind;
    matches!(
        kind,
        ErrorKind::TimedOut
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::ResourceBusy
    )
}

impl<S: Storage> Upstream for Remote<S> {
    fn prepare(&mut self) -> Result<(), UpstreamError> {
        if !self.is_prepared {
            self.wait("making the folders", 0, async || self.storage.prepare().await)?;
            self.is_prepared = true;
        }
        Ok(())
    }

    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        Ok(self.read_file(CONFIG)?.map(Vec::from))
    }

    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError> {
        let Some(folder) = folder_of(kind) else {
            return Ok(());
        };
        for found in self.list_names(folder)? {
            if let Some(id) = Id::from_hex(&found.name) {
                each(id, found.size_bytes);
            }
        }
        Ok(())
    }

    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError> {
        let locks = self.list_names(LOCKS)?.into_iter().map(|found| Lock {
            name: found.name,
            // Unknown: as old as the time since when it is known, which is what a lock from the future is.
            changed_at_ns: found.changed_at_ns.unwrap_or(i64::MAX),
        });
        Ok(locks.collect())
    }

    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), UpstreamError> {
        let doing = UpstreamError::doing;
        if length > size_bytes_max(kind) {
            return Err(doing("reading an object")(io::ErrorKind::FileTooLarge.into()));
        }
        let mut whole = mem::take(&mut self.spare);
        whole.clear();
        // Grown step by step, it would take twice as much for a moment.
        whole.reserve(usize::try_from(length).unwrap_or_default());
        let mut whole = whole.writer();
        io::copy(&mut bytes.take(length + 1), &mut whole).map_err(doing("reading an object"))?;
        let whole = whole.into_inner().freeze();
        if whole.len() as u64 != length {
            return Err(doing("reading an object")(io::ErrorKind::UnexpectedEof.into()));
        }
        let path = path_of(kind, id);
        let written = self.wait("writing an object", length, async || {
            self.storage.write(&path, whole.clone()).await
        });
        self.spare = whole.try_into_mut().unwrap_or_default();
        written
    }

    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        check_range(kind, range.as_ref())?;
        let wanted = range.map_or_else(|| whole(size_bytes_max(kind)), Wanted::Part);
        self.read_wanted("reading an object", &path_of(kind, id), &wanted)
    }

    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError> {
        if !S::IS_READ_BACK {
            return Ok(None);
        }
        let wanted = whole(size_bytes_max(kind));
        let read = self.read_wanted("reading an object back", &path_of(kind, id), &wanted)?;
        Ok(read.map(|bytes| Id::of(&bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Each;

    /// A server that takes every question and answers none.
    struct Silent;

    impl Storage for Silent {
        const IS_READ_BACK: bool = true;

        async fn prepare(&self) -> io::Result<()> {
            std::future::pending().await
        }

        async fn list(&self, _folder: &'static str, _each: Each<'_>) -> io::Result<()> {
            std::future::pending().await
        }

        async fn read(&self, _path: &str, _wanted: &Wanted) -> io::Result<Option<Bytes>> {
            std::future::pending().await
        }

        async fn write(&self, _path: &str, _bytes: Bytes) -> io::Result<()> {
            std::future::pending().await
        }

        async fn remove(&self, _path: &str) -> io::Result<()> {
            std::future::pending().await
        }
    }

    #[test]
    fn nothing_waits_for_ever_for_a_server_that_does_not_answer() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let mut silent = Remote {
            tries: 1,
            longest: |_| Duration::ZERO,
            ..Remote::new(Arc::new(runtime.unwrap()), Silent)
        };
        let id = Id::of(b"");
        let failed = [
            silent.prepare().err(),
            silent.config().err(),
            silent.list(ObjectKind::Pack, &mut |_, _| {}).err(),
            silent.locks().err(),
            silent.write(ObjectKind::Pack, &id, 0, &mut io::empty()).err(),
            silent.digest(ObjectKind::Pack, &id).err(),
        ];
        for error in failed {
            assert_eq!(error.unwrap().source.kind(), io::ErrorKind::TimedOut);
        }
        let error = silent.probe("probe", b"").unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::TimedOut);
    }
}
