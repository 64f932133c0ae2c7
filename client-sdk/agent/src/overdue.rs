//! How old the last complete set is, and how long a set has waited for the upstream.

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

/// Whether a set has waited on a hub for its upstream for too long, as of the last visit there: which one, and how many
/// days.
pub(crate) fn upstream_days(hub: &HubRecord, settings: &Settings) -> Option<(u64, u64)> {
    let waiting = hub.oldest_waiting()?;
    let visited_at_ns = hub.visit.as_ref()?.began_at_ns;
    let age_ns = visited_at_ns.saturating_sub(waiting.sealed_at_ns()?);
    let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
    (age >= settings.overdue_after()).then(|| (waiting.set, age.as_secs() / DAY.as_secs()))
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

#[cfg(test)]
mod tests {
    use berth_agent::VisitEnd;
    use berth_client_sdk::Progress;
    use berth_repository::Id;
    use berth_wire::{Receipt, ReceiptLevel, SetRef, SetSeq, Signed, encode};

    use super::*;

    const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

    fn receipt(set: u64, level: ReceiptLevel, at_ns: i64) -> Signed {
        let (seq, manifest) = (SetSeq(set), Id::new([3; 32]));
        let body = encode(&Receipt {
            hub: [1; 32],
            laptop: [2; 32],
            set: SetRef { seq, manifest },
            level,
            at_ns,
        });
        Signed {
            body: body.unwrap(),
            signature: Vec::new(),
        }
    }

    #[test]
    fn a_set_that_waits_for_the_upstream_for_days_is_overdue_as_of_the_last_visit() {
        let settings = Settings::default();
        let (mut hub, on_hub) = (HubRecord::default(), ReceiptLevel::OnHub);
        let mut visit = |day: i64, receipts| {
            let progress = Progress {
                set: Some(SetSeq(9)),
                receipts,
                ..Progress::default()
            };
            hub.welcomed("desk", &progress, day * DAY_NS);
            hub.ended(&progress, VisitEnd::Cut, None, day * DAY_NS);
            upstream_days(&hub, &settings)
        };
        let sealed = |set: u64, day: i64| receipt(set, on_hub, day * DAY_NS);
        assert_eq!(visit(10, vec![sealed(1, 9), sealed(2, 10)]), None);
        assert_eq!(visit(15, vec![]), None);
        assert_eq!(visit(17, vec![]), Some((1, 8)));
        let upstream = |set| receipt(set, ReceiptLevel::Upstream, 17 * DAY_NS);
        assert_eq!(visit(18, vec![upstream(1)]), Some((2, 8)));
        assert_eq!(visit(19, vec![upstream(2)]), None);
    }
}
