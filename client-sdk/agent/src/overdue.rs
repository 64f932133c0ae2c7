//! How old the last complete set is.

use std::time::Duration;

use berth_agent::{HubRecord, SetRecord, Settings};

use crate::clock;
use crate::hands::Hands;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether a backup is overdue: the age of the newest complete set in days, `Some(None)` where there is none since the
/// first visit. A clock that was set back makes nothing overdue.
pub(crate) fn age_days(records: &[HubRecord], settings: &Settings) -> Option<Option<u64>> {
    let now_ns = clock::wall_ns();
    let complete = records.iter().filter_map(HubRecord::last_complete);
    let newest_ns = complete.filter_map(|set| made_at_ns(set, now_ns)).max();
    let sets = records
        .iter()
        .filter_map(|record| record.sets.first()?.created_at_ns);
    let visits = records
        .iter()
        .filter_map(|record| Some(record.visit.as_ref()?.began_at_ns));
    let since_ns = newest_ns.or_else(|| sets.chain(visits).min())?;
    let age_ns = now_ns.saturating_sub(since_ns);
    let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
    (age >= settings.overdue_after()).then(|| newest_ns.map(|_| age.as_secs() / DAY.as_secs()))
}

/// By this laptop's clock, or, where that was ahead, by the hub's.
fn made_at_ns(set: &SetRecord, now_ns: i64) -> Option<i64> {
    let by_laptop_ns = set.created_at_ns.filter(|at_ns| *at_ns <= now_ns);
    by_laptop_ns.or(set.sealed_at_ns())
}

/// The same for the agent, once it is paired; what cannot be read is not overdue.
pub(crate) fn days(hands: &Hands) -> Option<Option<u64>> {
    hands.state.trust.peers().next()?;
    let (records, damaged) = HubRecord::read_all(&*hands.state.disk).ok()?;
    // There has been no visit yet: whoever has just paired knows that.
    if records.is_empty() || !damaged.is_empty() {
        return None;
    }
    age_days(&records, &hands.settings)
}
