//! What may go wrong in the air, and how often.

use std::time::Duration;

use crate::chance::{Chance, PPM};

/// Probabilities in parts per million; 0 switches a fault off. Plain data, so that a failing run can be narrowed down
/// by switching off one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A beacon is not reported, each time.
    pub report_missed_ppm: u32,
    /// Connecting fails.
    pub connect_failed_ppm: u32,
    /// `Connect`, `StartGroup`, `Join` or `Dial` is done by nobody and never answered.
    pub unanswered_ppm: u32,
    /// A GATT frame is lost.
    pub frame_lost_ppm: u32,
    /// A GATT frame comes twice.
    pub frame_repeated_ppm: u32,
    /// A GATT frame is overtaken by those after it.
    pub frame_swapped_ppm: u32,
    /// A GATT connection ends with this frame.
    pub connection_lost_ppm: u32,
    /// A connection gets an MTU between the smallest (20-byte frames) and the largest, different on both sides.
    pub mtu_drawn_ppm: u32,
    /// The hub hears of a connection only with its first frame.
    pub connected_late_ppm: u32,
    /// Starting a group fails.
    pub group_failed_ppm: u32,
    /// Joining fails.
    pub join_failed_ppm: u32,
    /// Dialling fails.
    pub dial_failed_ppm: u32,
    /// The whole group ends by itself, for each MiB carried.
    pub group_lost_ppm_per_mib: u32,
    /// A stream ends in the middle of a piece, for each MiB carried.
    pub stream_cut_ppm_per_mib: u32,
    /// A piece leaves late.
    pub stall_ppm: u32,
    /// By up to this much.
    pub stall_max: Duration,
    /// The adapter of the one that connects or starts a group goes away, and comes back within 10 s.
    pub adapter_gone_ppm: u32,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A desk in an office: reports are missed, sometimes something must be tried again.
    #[must_use]
    pub fn everyday() -> Self {
        Self {
            report_missed_ppm: 300_000,
            connect_failed_ppm: 30_000,
            frame_lost_ppm: 1_000,
            frame_repeated_ppm: 1_000,
            frame_swapped_ppm: 5_000,
            mtu_drawn_ppm: 200_000,
            connected_late_ppm: PPM,
            join_failed_ppm: 30_000,
            dial_failed_ppm: 30_000,
            stall_ppm: 2_000,
            stall_max: Duration::from_millis(200),
            ..Self::none()
        }
    }

    /// Swarm testing: each fault is off in half of the seeds, and in the others as bad as that seed draws it.
    /// (Groce et al., "Swarm Testing", ISSTA 2012: leaving faults out finds what all of them together hide.)
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 100);
        let mut up_to = |worst_ppm: u32| {
            let on = chance.happens(PPM / 2);
            let ppm = chance.below(u64::from(worst_ppm) + 1);
            if on { u32::try_from(ppm).unwrap_or(0) } else { 0 }
        };
        Self {
            report_missed_ppm: up_to(800_000),
            connect_failed_ppm: up_to(400_000),
            unanswered_ppm: up_to(150_000),
            frame_lost_ppm: up_to(50_000),
            frame_repeated_ppm: up_to(200_000),
            frame_swapped_ppm: up_to(300_000),
            connection_lost_ppm: up_to(10_000),
            mtu_drawn_ppm: up_to(PPM),
            connected_late_ppm: up_to(PPM),
            group_failed_ppm: up_to(300_000),
            join_failed_ppm: up_to(300_000),
            dial_failed_ppm: up_to(300_000),
            group_lost_ppm_per_mib: up_to(30_000),
            stream_cut_ppm_per_mib: up_to(100_000),
            stall_ppm: up_to(20_000),
            stall_max: Duration::from_millis(u64::from(up_to(2_000))),
            adapter_gone_ppm: up_to(100_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_switches_each_fault_off_in_some_seeds_and_on_in_others() {
        let swarm: Vec<_> = (0..64).map(Faults::swarm).collect();
        let each: [fn(&Faults) -> u32; 5] = [
            |faults| faults.report_missed_ppm,
            |faults| faults.frame_lost_ppm,
            |faults| faults.unanswered_ppm,
            |faults| faults.stream_cut_ppm_per_mib,
            |faults| faults.adapter_gone_ppm,
        ];
        for fault in each {
            let on = swarm.iter().filter(|faults| fault(faults) > 0).count();
            assert!((16..=48).contains(&on), "on in {on} of 64 seeds");
        }
        assert_eq!(Faults::swarm(5), Faults::swarm(5));
    }
}
