//! When a lock at the upstream must be waited for.

use std::collections::BTreeMap;

use crate::Lock;

/// A lock that has not changed for so long is nobody's (restic's own rule; it refreshes its locks every 5 minutes).
pub const LOCK_AGE_MAX_NS: i64 = 30 * 60 * 1_000_000_000;

/// How soon to look again while a lock is there.
pub const LOCK_RETRY_NS: i64 = 30 * 1_000_000_000;

/// Locks that are remembered; more than that are not one person's work.
const LOCKS_MAX: usize = 1_000;

/// Tells young locks from old ones, without believing that the upstream's clock is right.
#[derive(Default)]
pub(crate) struct LockWatch {
    /// When a lock was first seen as it is now.
    seen: BTreeMap<(String, i64), i64>,
}

impl LockWatch {
    /// When to look again, if a young lock is there. A lock is old once it has not changed for [`LOCK_AGE_MAX_NS`], by
    /// the upstream's clock or by our own: a lock from the future does not stop the hub for ever.
    pub(crate) fn young(&mut self, locks: Vec<Lock>, now_ns: i64) -> Option<i64> {
        let mut seen = BTreeMap::new();
        for lock in locks.into_iter().take(LOCKS_MAX) {
            let key = (lock.name, lock.changed_at_ns);
            let first = self.seen.get(&key).copied().unwrap_or(now_ns);
            seen.insert(key, first);
        }
        self.seen = seen;
        let expires = |((_, changed_at_ns), first): (&(String, i64), &i64)| {
            (*changed_at_ns).min(*first).saturating_add(LOCK_AGE_MAX_NS)
        };
        let last = self.seen.iter().map(expires).max()?;
        (last > now_ns).then(|| last.min(now_ns.saturating_add(LOCK_RETRY_NS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: i64 = 60 * 1_000_000_000;

    fn lock(changed_at_ns: i64) -> Vec<Lock> {
        vec![Lock {
            name: "a".to_owned(),
            changed_at_ns,
        }]
    }

    #[test]
    fn a_young_lock_is_waited_for_and_an_old_one_is_not() {
        let mut watch = LockWatch::default();
        let now_ns = 1_000 * MINUTE_NS;
        assert_eq!(watch.young(Vec::new(), now_ns), None);
        assert_eq!(
            watch.young(lock(now_ns - 5 * MINUTE_NS), now_ns),
            Some(now_ns + LOCK_RETRY_NS)
        );
        let nearly_old = now_ns - LOCK_AGE_MAX_NS + 7;
        assert_eq!(watch.young(lock(nearly_old), now_ns), Some(now_ns + 7));
        assert_eq!(watch.young(lock(now_ns - LOCK_AGE_MAX_NS), now_ns), None);
    }

    #[test]
    fn a_lock_from_the_future_does_not_stop_the_hub_for_ever() {
        let mut watch = LockWatch::default();
        let future_ns = i64::MAX - 5;
        assert!(watch.young(lock(future_ns), 0).is_some());
        assert!(watch.young(lock(future_ns), 29 * MINUTE_NS).is_some());
        assert_eq!(watch.young(lock(future_ns), 30 * MINUTE_NS), None);
        // One that is refreshed is a living one.
        assert!(watch.young(lock(future_ns - 1), 30 * MINUTE_NS).is_some());
    }
}
