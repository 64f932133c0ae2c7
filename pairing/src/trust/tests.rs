//! The trust file: what survives which cut, and what damage does.

use std::sync::Arc;

use berth_radio_sim::{CutPolicy, SimDisk};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::beacon::Sighting;
use crate::{Beacons, Name, Role};

const PATH: &str = "state/trust";
const DAY_NS: i64 = 24 * 60 * 60 * 1_000_000_000;

fn laptop(number: u16) -> Peer {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Peer {
        device: DeviceId(bytes),
        noise: NoiseKey(bytes.map(|byte| byte ^ 0xff)),
        role: Role::Laptop,
        name: Name::reduce(&format!("laptop-{number}")),
        beacon: None,
    }
}

fn disk() -> (Arc<SimDisk>, SharedDisk) {
    let disk = Arc::new(SimDisk::new());
    (disk.clone(), disk)
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn read(disk: &SharedDisk) -> Vec<u8> {
    disk.read(PATH, 1 << 24).unwrap()
}

fn write(disk: &SharedDisk, bytes: &[u8]) {
    berth_disk::replace(&**disk, PATH, bytes).unwrap();
}

fn trusted(list: &TrustList) -> Vec<DeviceId> {
    list.peers().map(|peer| peer.device).collect()
}

#[test]
fn a_list_says_the_same_after_a_restart() {
    let (_, disk) = disk();
    let mut list = TrustList::open(disk.clone(), PATH).unwrap();
    let own = list.ensure_beacon(1, &mut rng()).unwrap();
    for number in 0..3 {
        list.pair(&laptop(number), i64::from(number)).unwrap();
    }
    list.set_beacon(&laptop(0).device, &own, 5).unwrap();
    list.revoke(&laptop(1).device, 6, &mut rng()).unwrap();
    let list = TrustList::open(disk, PATH).unwrap();
    assert_eq!(trusted(&list), [laptop(0).device, laptop(2).device]);
    assert_eq!(list.peer(&laptop(0).device).unwrap().beacon, Some(own));
    assert_eq!(
        list.standing_of(&laptop(1).noise),
        Standing::Revoked(laptop(1).device)
    );
    assert_eq!(list.standing_of(&laptop(2).noise), Standing::Trusted(laptop(2)));
    assert_eq!(list.standing_of(&laptop(9).noise), Standing::Unknown);
    assert_eq!(list.paired_at_ns(&laptop(2).device), Some(2));
    assert_eq!(
        list.revoked().map(|peer| peer.device).collect::<Vec<_>>(),
        [laptop(1).device]
    );
}

#[test]
fn a_revoked_laptop_stays_revoked_until_it_is_paired_again() {
    let (_, disk) = disk();
    let mut list = TrustList::open(disk.clone(), PATH).unwrap();
    list.pair(&laptop(1), 1).unwrap();
    list.revoke(&laptop(1).device, 2, &mut rng()).unwrap();
    list.revoke(&laptop(1).device, 3, &mut rng()).unwrap();
    let mut list = TrustList::open(disk.clone(), PATH).unwrap();
    assert_eq!(list.peer(&laptop(1).device), None);
    assert!(matches!(
        list.set_beacon(&laptop(1).device, &BeaconKey::from_bytes([1; 32]), 4),
        Err(TrustError::UnknownDevice)
    ));
    let mut anew = laptop(1);
    anew.noise = NoiseKey([3; 32]);
    list.pair(&anew, 5).unwrap();
    let list = TrustList::open(disk, PATH).unwrap();
    assert_eq!(list.standing_of(&anew.noise), Standing::Trusted(anew));
    assert_eq!(
        list.standing_of(&laptop(1).noise),
        Standing::Unknown,
        "the former key still counts"
    );
}

#[test]
fn only_a_known_device_can_be_revoked() {
    let (_, disk) = disk();
    let mut list = TrustList::open(disk, PATH).unwrap();
    let error = list.revoke(&laptop(1).device, 1, &mut rng()).unwrap_err();
    assert!(matches!(error, TrustError::UnknownDevice));
    assert!(error.advice().contains("berthctl devices"));
}

/// A file with laptops 0 and 1 paired, 0 revoked; and the length after each change.
fn file() -> (SharedDisk, Vec<u8>, Vec<usize>) {
    let (_, disk) = disk();
    let mut list = TrustList::open(disk.clone(), PATH).unwrap();
    let mut lengths = vec![read(&disk).len()];
    for number in 0..2 {
        list.pair(&laptop(number), 1).unwrap();
        lengths.push(read(&disk).len());
    }
    list.revoke(&laptop(0).device, 2, &mut rng()).unwrap();
    let bytes = read(&disk);
    lengths.push(bytes.len());
    (disk, bytes, lengths)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_what_was_before_holds() {
    let (disk, bytes, lengths) = file();
    for length in 0..=bytes.len() {
        write(&disk, &bytes[..length]);
        let mut list =
            TrustList::open(disk.clone(), PATH).unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        // A change whose record is whole may hold; one whose following record is whole must.
        let must = lengths
            .iter()
            .filter(|end| **end <= length)
            .count()
            .saturating_sub(1);
        let may = lengths
            .iter()
            .filter(|end| **end - RECORD_SIZE_BYTES <= length)
            .count()
            .saturating_sub(1);
        let states = [vec![], vec![0], vec![0, 1], vec![1]]
            .map(|numbers| -> Vec<_> { numbers.into_iter().map(|number| laptop(number).device).collect() });
        let found = trusted(&list);
        assert!(
            found == states[must] || found == states[may],
            "cut at {length}: {found:?}"
        );
        // It goes on from there.
        list.pair(&laptop(7), 3).unwrap();
        let after = trusted(&list);
        assert_eq!(trusted(&TrustList::open(disk.clone(), PATH).unwrap()), after);
        assert!(after.contains(&laptop(7).device));
    }
}

#[test]
fn a_damaged_byte_anywhere_never_revives_a_revoked_laptop() {
    let (disk, bytes, _) = file();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x20;
        write(&disk, &damaged);
        let last_record = bytes.len() - RECORD_SIZE_BYTES;
        match TrustList::open(disk.clone(), PATH) {
            // The last record only says that the one before it was synced.
            Ok(list) => {
                assert!(place >= last_record, "damage at {place} went unseen");
                assert_eq!(
                    list.standing_of(&laptop(0).noise),
                    Standing::Revoked(laptop(0).device)
                );
            }
            Err(error) => {
                assert!(place < last_record);
                assert!(
                    matches!(error, TrustError::Damaged { record } if record == (place / RECORD_SIZE_BYTES) as u64)
                );
                assert!(error.advice().contains("Nobody is let in"));
            }
        }
    }
}

#[test]
fn more_than_one_bad_record_at_the_end_is_damage_not_a_torn_write() {
    let (disk, mut bytes, lengths) = file();
    // The record of the revocation itself is damaged, and the one that says it was synced is cut short.
    bytes[lengths[2] + 5] ^= 1;
    for length in lengths[2] + RECORD_SIZE_BYTES..=bytes.len() {
        write(&disk, &bytes[..length]);
        let is_torn = length == lengths[2] + RECORD_SIZE_BYTES;
        assert_eq!(
            TrustList::open(disk.clone(), PATH).is_ok(),
            is_torn,
            "cut at {length}"
        );
    }
}

#[test]
fn a_record_left_out_moved_or_repeated_is_damage() {
    let (disk, bytes, _) = file();
    let records: Vec<&[u8]> = bytes.chunks(RECORD_SIZE_BYTES).collect();
    for place in 0..records.len() - 2 {
        let mut without = records.clone();
        without.remove(place);
        let mut swapped = records.clone();
        swapped.swap(place, place + 1);
        let mut repeated = records.clone();
        repeated.insert(place, records[place]);
        for changed in [without, swapped, repeated] {
            write(&disk, &changed.concat());
            assert!(TrustList::open(disk.clone(), PATH).is_err(), "at record {place}");
        }
    }
}

#[test]
fn a_power_cut_at_every_sync_keeps_what_was_reported_as_done() {
    let cuts = {
        let (sim, disk) = disk();
        let mut list = TrustList::open(disk, PATH).unwrap();
        for number in 0..4 {
            list.pair(&laptop(number), 1).unwrap();
        }
        for number in [1, 3] {
            list.revoke(&laptop(number).device, 2, &mut rng()).unwrap();
        }
        sim.syncs()
    };
    assert!(cuts > 14, "{cuts} syncs");
    for seed in 0..40 {
        for cut_at in 0..cuts {
            let (sim, disk) = disk();
            sim.cut_power_at_sync(
                cut_at,
                if seed == 0 {
                    CutPolicy::LoseAll
                } else {
                    CutPolicy::Random(seed)
                },
            );
            let mut paired = Vec::new();
            let mut revoked = Vec::new();
            if let Ok(mut list) = TrustList::open(disk.clone(), PATH) {
                for number in 0..4 {
                    if list.pair(&laptop(number), 1).is_ok() {
                        paired.push(number);
                    }
                    if number % 2 == 1 && list.revoke(&laptop(number).device, 2, &mut rng()).is_ok() {
                        revoked.push(number);
                    }
                }
            }
            sim.restart();
            let mut list = TrustList::open(disk.clone(), PATH)
                .unwrap_or_else(|error| panic!("seed {seed}, cut at sync {cut_at}: {error}"));
            for number in &revoked {
                assert_eq!(
                    list.peer(&laptop(*number).device),
                    None,
                    "seed {seed}, cut at {cut_at}: {number} revived"
                );
            }
            // A laptop that was paired, and not about to be revoked when the power went, is still trusted.
            for number in paired.iter().filter(|number| **number % 2 == 0) {
                assert!(
                    list.peer(&laptop(*number).device).is_some(),
                    "seed {seed}, cut at {cut_at}: {number} lost"
                );
            }
            list.pair(&laptop(9), 3).unwrap();
            assert!(
                TrustList::open(disk, PATH)
                    .unwrap()
                    .peer(&laptop(9).device)
                    .is_some()
            );
        }
    }
}

#[test]
fn a_revocation_that_cannot_be_written_holds_and_is_written_with_the_next_change() {
    let (sim, disk) = disk();
    let mut list = TrustList::open(disk.clone(), PATH).unwrap();
    list.pair(&laptop(1), 1).unwrap();
    list.pair(&laptop(2), 1).unwrap();
    let fail = |ppm| {
        sim.faults(
            1,
            berth_radio_sim::DiskFaults {
                sync_failed_ppm: ppm,
                ..Default::default()
            },
        );
    };
    fail(1_000_000);
    assert!(matches!(
        list.revoke(&laptop(1).device, 2, &mut rng()),
        Err(TrustError::Disk(_))
    ));
    assert_eq!(
        list.standing_of(&laptop(1).noise),
        Standing::Revoked(laptop(1).device)
    );
    assert!(list.pair(&laptop(3), 3).is_err());
    assert_eq!(list.peer(&laptop(3).device), None);
    fail(0);
    list.pair(&laptop(4), 4).unwrap();
    sim.cut_power(CutPolicy::LoseAll);
    sim.restart();
    let list = TrustList::open(disk, PATH).unwrap();
    assert_eq!(
        list.standing_of(&laptop(1).noise),
        Standing::Revoked(laptop(1).device)
    );
    assert_eq!(trusted(&list), [laptop(2).device, laptop(4).device]);
}

#[test]
fn a_list_whose_maker_was_killed_at_any_change_survives_a_later_power_cut() {
    for killed_at in 0..8 {
        let (sim, disk) = disk();
        sim.fail_at_change(killed_at);
        // Killed, not cut: what it wrote is there, but not all of it is durable.
        let was_killed = TrustList::open(disk.clone(), PATH).is_err();
        let mut list = TrustList::open(disk.clone(), PATH).unwrap();
        list.pair(&laptop(1), 1).unwrap();
        sim.cut_power(CutPolicy::LoseAll);
        sim.restart();
        let list = TrustList::open(disk, PATH).unwrap();
        assert_eq!(
            trusted(&list),
            [laptop(1).device],
            "killed at change {killed_at} ({was_killed})"
        );
    }
}

#[test]
fn one_laptop_more_than_the_limit_is_refused_but_may_replace_a_revoked_one() {
    let (_, disk) = disk();
    let mut list = TrustList::open(disk, PATH).unwrap();
    for number in 0..u16::try_from(PEERS_MAX).unwrap() {
        list.pair(&laptop(number), 1).unwrap();
    }
    assert!(matches!(list.pair(&laptop(5000), 2), Err(TrustError::TooMany)));
    list.pair(&laptop(3), 2).unwrap();
    list.revoke(&laptop(3).device, 3, &mut rng()).unwrap();
    list.pair(&laptop(5000), 4).unwrap();
}

#[test]
fn a_revocation_is_possible_when_the_file_is_full() {
    let (_, disk) = disk();
    let mut list = TrustList::open(disk, PATH).unwrap();
    list.pair(&laptop(1), 1).unwrap();
    list.records = RECORDS_MAX - 2 * PEERS_MAX as u64;
    assert!(matches!(list.pair(&laptop(2), 1), Err(TrustError::Full)));
    list.revoke(&laptop(1).device, 2, &mut rng()).unwrap();
}

#[test]
fn after_a_revocation_old_and_new_beacon_take_turns_until_every_laptop_knows_the_new_one() {
    let (_, disk) = disk();
    let mut rng = rng();
    let mut list = TrustList::open(disk, PATH).unwrap();
    assert_eq!(list.beacon_keys(0), None);
    let first = list.ensure_beacon(0, &mut rng).unwrap();
    for number in 0..3 {
        let told = Some(first.clone());
        list.pair(
            &Peer {
                beacon: told,
                ..laptop(number)
            },
            1,
        )
        .unwrap();
    }
    list.revoke(&laptop(0).device, DAY_NS, &mut rng).unwrap();
    let keys = list.beacon_keys(DAY_NS).unwrap();
    assert_ne!(keys.current, first);
    assert_eq!(keys.previous, std::slice::from_ref(&first));

    let (mut beacons, mut now, mut seen) = (Beacons::default(), berth_radio::Time::ZERO, Vec::new());
    for _ in 0..4 {
        let sighting = Sighting::of(&beacons.at(now, &keys, false, &mut rng)).unwrap();
        seen.push(sighting.recognise([&keys.current, &first]));
        now = beacons.next_at().unwrap();
    }
    assert_eq!(seen, [Some(0), Some(1), Some(0), Some(1)]);

    list.set_beacon(&laptop(1).device, &keys.current, 2 * DAY_NS)
        .unwrap();
    let known = |number| list.peer(&laptop(number).device).unwrap().beacon.clone();
    assert_eq!(
        (known(1), known(2)),
        (Some(keys.current.clone()), Some(first.clone()))
    );
    assert_eq!(
        list.beacon_keys(2 * DAY_NS).unwrap().previous,
        std::slice::from_ref(&first)
    );
    assert_eq!(
        list.beacon_keys(31 * DAY_NS).unwrap().previous,
        [],
        "an old key is used for more than 30 days"
    );
    list.set_beacon(&laptop(2).device, &keys.current, 3 * DAY_NS)
        .unwrap();
    assert_eq!(list.beacon_keys(3 * DAY_NS).unwrap().previous, []);
}

#[test]
fn two_revocations_in_a_row_keep_both_old_keys_in_use() {
    let (_, disk) = disk();
    let mut rng = rng();
    let mut list = TrustList::open(disk.clone(), PATH).unwrap();
    let first = list.ensure_beacon(0, &mut rng).unwrap();
    for number in 0..4 {
        list.pair(
            &Peer {
                beacon: Some(first.clone()),
                ..laptop(number)
            },
            1,
        )
        .unwrap();
    }
    list.revoke(&laptop(0).device, 1, &mut rng).unwrap();
    let second = list.beacon_keys(1).unwrap().current;
    list.set_beacon(&laptop(2).device, &second, 1).unwrap();
    list.revoke(&laptop(1).device, 1, &mut rng).unwrap();
    let list = TrustList::open(disk, PATH).unwrap();
    let keys = list.beacon_keys(2).unwrap();
    assert_eq!(keys.previous, [second, first]);
}

#[test]
fn neither_the_file_nor_debug_goes_to_the_wrong_place() {
    let (_, disk) = disk();
    let mut list = TrustList::open(disk.clone(), PATH).unwrap();
    list.ensure_beacon(1, &mut rng()).unwrap();
    assert_eq!(disk.list("state").unwrap(), ["trust"]);
    let shown = format!("{list:?}");
    assert!(
        shown.contains("records: 4") && !shown.contains("BeaconKey"),
        "{shown}"
    );
}
