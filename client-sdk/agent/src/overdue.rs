//! How old the last complete set is.

use std::time::Duration;

use berth_agent::{HubRecord, Settings};

use crate::clock;
use crate::hands::Hands;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether a backup is overdue: the age of the newest complete set in days, `Some(None)` where there is none. A clock that
/// was set back makes nothing overdue.
pub(crate) fn age_days(records: &[HubRecord], settings: &Settings) -> Option<Option<u64>> {
    let complete = records.iter().filter_map(HubRecord::last_complete);
    let Some(newest_ns) = complete
        .filter_map(|set| set.created_at_ns.or(set.sealed_at_ns()))
        .max()
    else {
        return Some(None);
    };
    let age_ns = clock::wall_ns().saturating_sub(newest_ns);
    let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
    (age >= settings.overdue_after()).then(|| Some(age.as_secs() / DAY.as_secs()))
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
