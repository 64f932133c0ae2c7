//! The locks of restic that readers make: kept in memory, for whoever reads at the same time.
//!
//! Place: `POST`, `GET`, `LIST` and `DELETE` of `locks/` end here. They hold nothing up: what readers are given never
//! changes.
//! Invariant: few, small, and gone with the hub or when they are as old as restic believes in.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_bridge::LaptopId;
use berth_repository::Id;
use bytes::Bytes;

/// restic refreshes its locks every 5 minutes, and passes over those that are older than this.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// restic's locks have about 300 bytes.
pub(crate) const LOCK_SIZE_BYTES_MAX: usize = 4 * 1024;

/// Of one laptop. A reader has one, and two for a moment while it refreshes it.
const LOCKS_MAX: usize = 32;

/// Of all laptops: 4 MiB.
const LOCKS_OF_ALL_MAX: usize = 1_024;

/// A lock that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Its name is not the SHA-256 of its bytes, or it is too large.
    Malformed,
    /// There are as many as there may be.
    TooMany,
}

#[derive(Default)]
pub(crate) struct Locks {
    locks: BTreeMap<(LaptopId, Id), (Duration, Bytes)>,
}

impl Locks {
    /// Takes one. `now`: monotonic.
    pub(crate) fn put(
        &mut self,
        now: Duration,
        laptop: LaptopId,
        id: Id,
        bytes: Bytes,
    ) -> Result<(), NotTaken> {
        if bytes.len() > LOCK_SIZE_BYTES_MAX || Id::of(&bytes) != id {
            return Err(NotTaken::Malformed);
        }
        self.drop_old(now);
        let of_laptop = self.of(&laptop).count();
        if of_laptop >= LOCKS_MAX || self.locks.len() >= LOCKS_OF_ALL_MAX {
            return Err(NotTaken::TooMany);
        }
        self.locks.insert((laptop, id), (now, bytes));
        Ok(())
    }

    /// Names and sizes.
    pub(crate) fn list(&mut self, now: Duration, laptop: &LaptopId) -> Vec<(Id, u64)> {
        self.drop_old(now);
        self.of(laptop)
            .map(|(id, bytes)| (*id, bytes.len() as u64))
            .collect()
    }

    pub(crate) fn read(&mut self, now: Duration, laptop: LaptopId, id: Id) -> Option<Bytes> {
        self.drop_old(now);
        self.locks.get(&(laptop, id)).map(|(_, bytes)| bytes.clone())
    }

    /// False: there was none.
    pub(crate) fn remove(&mut self, laptop: LaptopId, id: Id) -> bool {
        self.locks.remove(&(laptop, id)).is_some()
    }

    fn of(&self, laptop: &LaptopId) -> impl Iterator<Item = (&Id, &Bytes)> {
        let all = (*laptop, Id::new([0; 32]))..=(*laptop, Id::new([u8::MAX; 32]));
        self.locks.range(all).map(|((_, id), (_, bytes))| (id, bytes))
    }

    fn drop_old(&mut self, now: Duration) {
        self.locks
            .retain(|_, (since, _)| now.saturating_sub(*since) < AGE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: LaptopId = LaptopId([1; 32]);

    fn lock(number: usize) -> (Id, Bytes) {
        let bytes = Bytes::from(number.to_string());
        (Id::of(&bytes), bytes)
    }

    #[test]
    fn a_lock_is_there_until_it_is_removed_or_old() {
        let (mut locks, now) = (Locks::default(), Duration::from_secs(7));
        let (id, bytes) = lock(1);
        locks.put(now, ANNA, id, bytes.clone()).unwrap();
        assert_eq!(locks.read(now, ANNA, id), Some(bytes.clone()));
        assert_eq!(locks.list(now, &ANNA), [(id, 1)]);
        assert_eq!(locks.list(now, &LaptopId([2; 32])), []);
        assert!(!locks.remove(LaptopId([2; 32]), id));
        assert!(locks.remove(ANNA, id) && !locks.remove(ANNA, id));
        locks.put(now, ANNA, id, bytes).unwrap();
        assert_eq!(locks.list(now + AGE_MAX, &ANNA), []);
    }

    #[test]
    fn locks_are_few_small_and_what_their_names_say() {
        let (mut locks, now) = (Locks::default(), Duration::ZERO);
        let large = Bytes::from(vec![0; LOCK_SIZE_BYTES_MAX + 1]);
        for (id, bytes) in [(lock(1).0, lock(2).1), (Id::of(&large), large)] {
            assert_eq!(locks.put(now, ANNA, id, bytes), Err(NotTaken::Malformed));
        }
        for number in 0..LOCKS_MAX {
            let (id, bytes) = lock(number);
            locks.put(now, ANNA, id, bytes).unwrap();
        }
        let (id, bytes) = lock(LOCKS_MAX);
        assert_eq!(locks.put(now, ANNA, id, bytes.clone()), Err(NotTaken::TooMany));
        locks.put(now, LaptopId([2; 32]), id, bytes.clone()).unwrap();
        locks.put(now + AGE_MAX, ANNA, id, bytes).unwrap();
    }
}
