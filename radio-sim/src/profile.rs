//! How good the air is between two radios.

use std::time::Duration;

/// A pause of the Wi-Fi link that comes back again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// How long nothing leaves.
    pub length: Duration,
    /// Shortest time between two stalls.
    pub gap_min: Duration,
    /// Longest time between two stalls.
    pub gap_max: Duration,
}

/// Bandwidth and delays. Where two radios have different ones, each figure is the worse of both.
///
/// The figures are for one direction; the stations of a group share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Its name on the command line.
    pub name: &'static str,
    /// Wi-Fi, one direction. `None`: unlimited.
    pub bandwidth_bytes_per_second: Option<u64>,
    /// Wi-Fi, one way (half a round trip).
    pub latency: Duration,
    /// Wi-Fi, up to this much more, for each piece.
    pub jitter: Duration,
    /// Wi-Fi pauses.
    pub stall: Option<Stall>,
    /// BLE: time between two reports of one beacon; each is late by up to a tenth of it. As often as the hub advertises,
    /// or less often where most beacons get lost.
    pub report_interval: Duration,
    /// BLE: connecting and finding the services, up to twice that.
    pub connect: Duration,
    /// BLE: one way, up to twice that.
    pub frame_latency: Duration,
    /// BLE: time in the air of one byte.
    pub frame_byte: Duration,
    /// BLE: a connection out of range ends after this.
    pub supervision: Duration,
    /// Starting a group, up to twice that.
    pub group_start: Duration,
    /// Joining a group, up to twice that.
    pub join: Duration,
    /// A station out of range notices after this: it sees its streams end and the group left.
    pub station_notice: Duration,
    /// The group's owner notices a lost station after this (wpa_supplicant is slow here).
    pub owner_notice: Duration,
}

impl Profile {
    /// Unlimited bandwidth and next to no delay.
    pub const PERFECT: Self = Self {
        name: "perfect",
        bandwidth_bytes_per_second: None,
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        stall: None,
        report_interval: Duration::from_millis(50),
        connect: Duration::from_millis(1),
        frame_latency: Duration::from_micros(100),
        frame_byte: Duration::ZERO,
        supervision: Duration::from_millis(200),
        group_start: Duration::from_millis(1),
        join: Duration::from_millis(1),
        station_notice: Duration::from_millis(100),
        owner_notice: Duration::from_millis(500),
    };
    /// 75 MB/s, 3 ms round trip.
    pub const WFD_GOOD: Self = Self {
        name: "wfd-good",
        bandwidth_bytes_per_second: Some(75_000_000),
        latency: Duration::from_micros(1_500),
        jitter: Duration::from_micros(200),
        stall: None,
        report_interval: Duration::from_millis(200),
        connect: Duration::from_millis(300),
        frame_latency: Duration::from_millis(15),
        frame_byte: Duration::from_micros(10),
        supervision: Duration::from_millis(2_000),
        group_start: Duration::from_millis(500),
        join: Duration::from_millis(700),
        station_notice: Duration::from_millis(1_100),
        owner_notice: Duration::from_secs(15),
    };
    /// 30 MB/s, 6 ms round trip with jitter.
    pub const WFD_TYPICAL: Self = Self {
        name: "wfd-typical",
        bandwidth_bytes_per_second: Some(30_000_000),
        latency: Duration::from_millis(3),
        jitter: Duration::from_millis(3),
        frame_latency: Duration::from_millis(25),
        join: Duration::from_millis(1_000),
        ..Self::WFD_GOOD
    };
    /// 5 MB/s, 25 ms round trip, a stall of 300 ms every few seconds.
    pub const WFD_POOR: Self = Self {
        name: "wfd-poor",
        bandwidth_bytes_per_second: Some(5_000_000),
        latency: Duration::from_micros(12_500),
        jitter: Duration::from_millis(5),
        stall: Some(Stall {
            length: Duration::from_millis(300),
            gap_min: Duration::from_secs(3),
            gap_max: Duration::from_secs(6),
        }),
        report_interval: Duration::from_millis(1_000),
        connect: Duration::from_millis(600),
        frame_latency: Duration::from_millis(35),
        supervision: Duration::from_millis(4_000),
        group_start: Duration::from_millis(1_000),
        join: Duration::from_millis(1_500),
        ..Self::WFD_GOOD
    };
    /// All of them, best first.
    pub const ALL: [Self; 4] = [Self::PERFECT, Self::WFD_GOOD, Self::WFD_TYPICAL, Self::WFD_POOR];

    /// The profile of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }

    /// Time in the air of `size_bytes` over Wi-Fi.
    #[must_use]
    pub fn airtime(&self, size_bytes: usize) -> Duration {
        match self.bandwidth_bytes_per_second {
            None => Duration::ZERO,
            Some(rate) => {
                let nanos = size_bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        }
    }

    /// Between two radios: each figure the worse of both.
    #[must_use]
    pub fn worse_of(&self, other: &Self) -> Self {
        let bandwidth = match (self.bandwidth_bytes_per_second, other.bandwidth_bytes_per_second) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            name: if bandwidth == self.bandwidth_bytes_per_second {
                self.name
            } else {
                other.name
            },
            bandwidth_bytes_per_second: bandwidth,
            latency: self.latency.max(other.latency),
            jitter: self.jitter.max(other.jitter),
            stall: self.stall.or(other.stall),
            report_interval: self.report_interval.max(other.report_interval),
            connect: self.connect.max(other.connect),
            frame_latency: self.frame_latency.max(other.frame_latency),
            frame_byte: self.frame_byte.max(other.frame_byte),
            supervision: self.supervision.max(other.supervision),
            group_start: self.group_start.max(other.group_start),
            join: self.join.max(other.join),
            station_notice: self.station_notice.max(other.station_notice),
            owner_notice: self.owner_notice.max(other.owner_notice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_found_by_its_name_and_no_other() {
        for profile in Profile::ALL {
            assert_eq!(Profile::by_name(profile.name), Some(profile));
        }
        assert_eq!(Profile::by_name("WFD-GOOD"), None);
    }

    #[test]
    fn a_second_of_bandwidth_takes_a_second_in_the_air() {
        assert_eq!(Profile::WFD_GOOD.airtime(75_000_000), Duration::from_secs(1));
        assert_eq!(Profile::WFD_POOR.airtime(5_000_000), Duration::from_secs(1));
        assert_eq!(Profile::PERFECT.airtime(usize::MAX), Duration::ZERO);
    }

    #[test]
    fn a_link_is_as_bad_as_its_worse_end() {
        let link = Profile::PERFECT.worse_of(&Profile::WFD_POOR);
        assert_eq!(link, Profile::WFD_POOR);
        assert_eq!(link, Profile::WFD_POOR.worse_of(&Profile::WFD_GOOD));
    }
}
