//! Which way into a group comes next after which failure.
//!
//! Place: [`crate::wifi`] tries a way, and asks here. Order and reasons: the laptop keeps its network where it can
//! (Wi-Fi Direct); where NetworkManager has the adapter, only NetworkManager can lend it.
//! Invariant: no way comes twice.

use std::time::Duration;

pub(crate) use berth_radio::{Way, WayFailure as Failure};

pub(crate) const FIRST: Way = Way::WifiDirect;

/// Longest time for one. With those that can come after it, less than what a join may take.
pub(crate) fn wait(way: Way) -> Duration {
    Duration::from_secs(match way {
        Way::WifiDirect => 16,
        Way::NetworkManager | Way::Supplicant => 18,
    })
}

/// The one after it; `None`: there is no other way.
pub(crate) fn after(way: Way, failure: Failure) -> Option<Way> {
    match (way, failure) {
        // A station is let in where a P2P client is not: pitfalls of old versions, of drivers, of rights.
        (Way::WifiDirect, _) => Some(Way::NetworkManager),
        // It is not there, or leaves the adapter alone.
        (Way::NetworkManager, Failure::Missing | Failure::Unable) => Some(Way::Supplicant),
        // It has the adapter, and another station finds no more. Its programs (`nmcli`) can't do what it does not.
        (Way::NetworkManager, Failure::Denied | Failure::Refused | Failure::Silent)
        | (Way::Supplicant, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES: [Failure; 5] = [
        Failure::Missing,
        Failure::Denied,
        Failure::Unable,
        Failure::Refused,
        Failure::Silent,
    ];

    /// The ways taken when each fails as `fails` says.
    fn taken(fails: impl Fn(Way) -> Failure) -> Vec<Way> {
        std::iter::successors(Some(FIRST), |way| after(*way, fails(*way)))
            .take(10)
            .collect()
    }

    #[test]
    fn wifi_direct_comes_first_and_a_station_after_whatever_keeps_it_back() {
        for failure in FAILURES {
            assert_eq!(taken(|_| failure)[..2], [Way::WifiDirect, Way::NetworkManager]);
        }
    }

    #[test]
    fn wpa_supplicant_is_asked_for_a_station_only_where_networkmanager_leaves_the_adapter_alone() {
        for failure in FAILURES {
            let ways = taken(|way| match way {
                Way::NetworkManager => failure,
                Way::WifiDirect | Way::Supplicant => Failure::Unable,
            });
            let is_alone = matches!(failure, Failure::Missing | Failure::Unable);
            assert_eq!(ways.contains(&Way::Supplicant), is_alone, "{failure:?}");
        }
    }

    #[test]
    fn ways_end_in_time_for_whoever_waits_for_an_answer() {
        for first in FAILURES {
            for second in FAILURES {
                let fails = |way| match way {
                    Way::WifiDirect => first,
                    Way::NetworkManager => second,
                    Way::Supplicant => Failure::Silent,
                };
                let ways = taken(fails);
                // Who is not there says so at once.
                let is_slow = |way: &&Way| matches!(fails(**way), Failure::Refused | Failure::Silent);
                let wait: Duration = ways.iter().filter(is_slow).map(|way| wait(*way)).sum();
                assert!(wait < berth_radio::conformance::ANSWER_WAIT, "{ways:?}");
            }
        }
    }
}
