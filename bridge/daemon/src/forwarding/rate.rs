//! How fast sets go up: so many bytes a second, those of all laptops together.
//!
//! Place: [`Forwarding`](super::Forwarding)'s threads wrap each upstream in a [`Paced`] one, which gives it a reader that
//! waits as [`Rate`] says.
//! Invariant: in any time t at most rate * (t + [`SAVED_MAX`]) bytes are read, and one piece for each thread.

use std::convert::Infallible;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_bridge::{Lock, Upstream, UpstreamError};
use berth_radio::Time;
use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Monotonic;

/// What was not used for longer than this is lost: nothing is saved up for a rush.
const SAVED_MAX: Duration = Duration::from_secs(1);

/// Bytes between two waits: a tenth of a second at 640 kB/s.
const PIECE_SIZE_BYTES: usize = 64 * 1024;

/// A token bucket. It is told the time.
pub(super) struct Rate {
    bytes_per_second: NonZeroU64,
    /// When all that was taken has been earned.
    earned_at: Time,
}

impl Rate {
    pub(super) const fn new(bytes_per_second: NonZeroU64) -> Self {
        let earned_at = Time::ZERO;
        Self {
            bytes_per_second,
            earned_at,
        }
    }

    /// Takes so many bytes: how long to wait before they go on.
    pub(super) fn take(&mut self, now: Time, bytes: usize) -> Duration {
        let ns = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let earned = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
        let from = self.earned_at.max(now.saturating_sub(SAVED_MAX));
        self.earned_at = from.saturating_add(earned);
        self.earned_at.saturating_sub(now)
    }
}

/// A rate that threads share, with a clock.
pub(super) struct Pace {
    pub(super) rate: Mutex<Rate>,
    pub(super) now: Monotonic,
    /// Its other end is dropped when forwarding is to stop: nobody waits any longer then.
    pub(super) stopped: Receiver<Infallible>,
}

impl Pace {
    fn wait_for(&self, bytes: usize) -> io::Result<()> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = rate.take((self.now)(), bytes);
        drop(rate);
        match self.stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(never) => match never {},
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the hub stops")),
        }
    }
}

/// An upstream to which nothing is written faster than a [`Pace`].
pub(super) struct Paced {
    pub(super) upstream: Box<dyn Upstream>,
    pub(super) pace: Arc<Pace>,
}

struct PacedRead<'a> {
    bytes: &'a mut dyn Read,
    pace: &'a Pace,
}

impl Read for PacedRead<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = into.len().min(PIECE_SIZE_BYTES);
        let size = self.bytes.read(into.get_mut(..size).unwrap_or_default())?;
        self.pace.wait_for(size)?;
        Ok(size)
    }
}

impl Upstream for Paced {
    fn prepare(&mut self) -> Result<(), UpstreamError> {
        self.upstream.prepare()
    }

    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.upstream.config()
    }

    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError> {
        self.upstream.list(kind, each)
    }

    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError> {
        self.upstream.locks()
    }

    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), UpstreamError> {
        let pace = &*self.pace;
        self.upstream
            .write(kind, id, length, &mut PacedRead { bytes, pace })
    }

    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        self.upstream.read(kind, id, range)
    }

    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError> {
        self.upstream.digest(kind, id)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(bytes_per_second: u64) -> Rate {
        Rate::new(NonZeroU64::new(bytes_per_second).unwrap())
    }

    #[test]
    fn two_that_send_all_the_time_have_the_rate_together_and_no_more() {
        let mut rate = rate(2_000_000);
        // When each of them sends its next piece.
        let mut at = [Time::ZERO; 2];
        let mut sent_bytes = [0; 2];
        while let Some(next) = (0..2)
            .min_by_key(|who| at[*who])
            .filter(|who| at[*who] < 100 * SECOND)
        {
            let size = [PIECE_SIZE_BYTES, 1_000 + sent_bytes[1] % 7_000][next];
            at[next] += rate.take(at[next], size);
            sent_bytes[next] += size;
        }
        let all_bytes: usize = sent_bytes.iter().sum();
        assert!((199_000_000..202_200_000).contains(&all_bytes), "{sent_bytes:?}");
        assert!(
            sent_bytes.iter().all(|bytes| *bytes > 1_000_000),
            "{sent_bytes:?}"
        );
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let mut rate = rate(1_000);
        assert_eq!(rate.take(Time::ZERO, 1_000), SECOND);
        let later = Duration::from_secs(3600);
        assert_eq!(rate.take(later, 1_000), Duration::ZERO);
        assert_eq!(rate.take(later, 1_000), SECOND);
    }

    #[test]
    fn no_rate_and_no_clock_is_too_large() {
        assert!(rate(1).take(Time::MAX, usize::MAX) < Time::MAX);
        assert_eq!(rate(u64::MAX).take(Time::ZERO, 1_000_000), Duration::ZERO);
        let mut slow = rate(1);
        slow.take(Time::ZERO, usize::MAX);
        slow.take(Time::ZERO, usize::MAX);
    }

    #[test]
    fn a_paced_reader_gives_every_byte_and_none_once_forwarding_stops() {
        let (stop, stopped) = bounded(0);
        let pace = Arc::new(Pace {
            rate: Mutex::new(rate(u64::MAX)),
            now: Arc::new(|| Time::ZERO),
            stopped,
        });
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * PIECE_SIZE_BYTES + 7).collect();
        let read = || {
            let mut read = Vec::new();
            let mut bytes = bytes.as_slice();
            let mut paced = PacedRead {
                bytes: &mut bytes,
                pace: &pace,
            };
            paced.read_to_end(&mut read).map(|_| read)
        };
        assert_eq!(read().unwrap(), bytes);
        drop(stop);
        assert!(read().is_err());
    }
}
