//! Compressing and sealing: at once, or by worker threads.
//!
//! Place: chunk -> [`Sealers::submit`] -> [`Sealers::take`] -> pack. Sealed chunks come back in the order in which they
//! were given, so that packs do not depend on the speed of threads.
//! Invariant: at most [`IN_FLIGHT_BYTES_MAX`] of raw chunks are between the two; whoever gives more waits.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::thread;

use berth_repository::{BlobKind, COMPRESSION_LEVEL, Id, MasterKey, Nonce, SealError, SealedBlob, Sealer};
use crossbeam_channel::{Receiver, Sender};

use super::VisitError;

/// Raw bytes of chunks given and not taken: with what has been sealed of them, about 16 MiB of memory.
pub(super) const IN_FLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Small chunks are given to a thread together: waking it costs as much as sealing some KiB.
const BATCH_SIZE_BYTES: usize = 128 * 1024;

/// Chunks of one batch, however small they are.
const BATCH_JOBS_MAX: usize = 64;

/// Where chunks are compressed and sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealStage {
    threads: usize,
}

impl SealStage {
    /// On the caller's thread: the same input gives the same output in the same order of steps.
    #[must_use]
    pub const fn inline() -> Self {
        Self { threads: 0 }
    }

    /// On `threads` worker threads that end with the visit. 0 is [`SealStage::inline`].
    #[must_use]
    pub const fn pool(threads: usize) -> Self {
        Self { threads }
    }
}

pub(super) struct Job {
    pub(super) kind: BlobKind,
    pub(super) id: Id,
    pub(super) plain: Vec<u8>,
    pub(super) nonce: Nonce,
}

impl Job {
    fn seal(self, sealer: &mut Sealer) -> Result<SealedBlob, SealError> {
        sealer.seal(self.kind, self.id, &self.plain, self.nonce)
    }
}

type Sealed = Result<Vec<SealedBlob>, SealError>;

/// A running stage.
pub(super) struct Sealers {
    workers: Workers,
    ready: VecDeque<SealedBlob>,
    /// Raw bytes given and not taken back from the workers.
    in_flight_bytes: usize,
}

enum Workers {
    Inline(Box<Sealer>),
    Pool(Pool),
}

struct Pool {
    jobs: Sender<(u64, Vec<Job>)>,
    sealed: Receiver<(u64, Sealed)>,
    batch: Vec<Job>,
    batch_bytes: usize,
    given: u64,
    taken: u64,
    /// Raw bytes of the batches under way, oldest first.
    sizes: VecDeque<usize>,
    /// Came back before those that were given earlier.
    early: BTreeMap<u64, Sealed>,
}

impl Sealers {
    pub(super) fn start(stage: SealStage, key: &MasterKey) -> Result<Self, VisitError> {
        let sealer = || Sealer::new(key.clone(), COMPRESSION_LEVEL).map_err(failed);
        let workers = if stage.threads == 0 {
            Workers::Inline(Box::new(sealer()?))
        } else {
            let sealers = (0..stage.threads).map(|_| sealer()).collect::<Result<_, _>>()?;
            Workers::Pool(Pool::start(sealers)?)
        };
        Ok(Self {
            workers,
            ready: VecDeque::new(),
            in_flight_bytes: 0,
        })
    }

    pub(super) fn submit(&mut self, job: Job) -> Result<(), VisitError> {
        match &mut self.workers {
            Workers::Inline(sealer) => self.ready.push_back(job.seal(sealer).map_err(failed)?),
            Workers::Pool(pool) => {
                self.in_flight_bytes += job.plain.len();
                pool.submit(job)?;
            }
        }
        Ok(())
    }

    /// The next sealed chunk. Waits for it if too much is in flight, or if `all` is wanted back; else `None` says that it
    /// is not ready. With `all`, `None` says that nothing is in flight.
    pub(super) fn take(&mut self, all: bool) -> Result<Option<SealedBlob>, VisitError> {
        loop {
            if let Some(blob) = self.ready.pop_front() {
                return Ok(Some(blob));
            }
            let Workers::Pool(pool) = &mut self.workers else {
                return Ok(None);
            };
            if all {
                pool.give()?;
            }
            let wait = all || self.in_flight_bytes > IN_FLIGHT_BYTES_MAX;
            let Some((size_bytes, batch)) = pool.take(wait)? else {
                return Ok(None);
            };
            self.in_flight_bytes -= size_bytes;
            self.ready.extend(batch);
        }
    }
}

impl Pool {
    fn start(sealers: Vec<Sealer>) -> Result<Self, VisitError> {
        // Bounded by IN_FLIGHT_BYTES_MAX, not by the channels.
        let (jobs, work) = crossbeam_channel::unbounded::<(u64, Vec<Job>)>();
        let (done, sealed) = crossbeam_channel::unbounded();
        for mut sealer in sealers {
            let (work, done) = (work.clone(), done.clone());
            thread::Builder::new()
                .name("berth-seal".to_owned())
                .spawn(move || {
                    for (number, batch) in work {
                        let sealed = batch.into_iter().map(|job| job.seal(&mut sealer)).collect();
                        if done.send((number, sealed)).is_err() {
                            break;
                        }
                    }
                })?;
        }
        Ok(Self {
            jobs,
            sealed,
            batch: Vec::new(),
            batch_bytes: 0,
            given: 0,
            taken: 0,
            sizes: VecDeque::new(),
            early: BTreeMap::new(),
        })
    }

    fn submit(&mut self, job: Job) -> Result<(), VisitError> {
        self.batch_bytes += job.plain.len();
        self.batch.push(job);
        if self.batch_bytes >= BATCH_SIZE_BYTES || self.batch.len() >= BATCH_JOBS_MAX {
            self.give()?;
        }
        Ok(())
    }

    fn give(&mut self) -> Result<(), VisitError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.sizes.push_back(std::mem::take(&mut self.batch_bytes));
        let batch = std::mem::take(&mut self.batch);
        self.jobs.send((self.given, batch)).map_err(|_| gone())?;
        self.given += 1;
        Ok(())
    }

    fn take(&mut self, wait: bool) -> Result<Option<(usize, Vec<SealedBlob>)>, VisitError> {
        while !self.early.contains_key(&self.taken) {
            let came = match self.sealed.try_recv() {
                Ok(came) => came,
                Err(_) if wait && self.taken < self.given => self.sealed.recv().map_err(|_| gone())?,
                Err(_) => return Ok(None),
            };
            self.early.insert(came.0, came.1);
        }
        let Some(batch) = self.early.remove(&self.taken) else {
            return Ok(None);
        };
        self.taken += 1;
        let size_bytes = self.sizes.pop_front().unwrap_or(0);
        Ok(Some((size_bytes, batch.map_err(failed)?)))
    }
}

fn gone() -> VisitError {
    VisitError::Disk(io::Error::other("a sealing thread ended"))
}

fn failed(error: SealError) -> VisitError {
    VisitError::Seal(error)
}
