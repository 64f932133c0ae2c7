//! What the air does with two radios in it, on virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod lab;

use std::time::Duration;

use berth_radio::{Address, Command, ConnId, Event, STREAM_WINDOW_BYTES};
use berth_radio_sim::{Air, AttachError, Cut, Faults, Place, Profile};
use bytes::Bytes;
use lab::{Lab, beacon, pattern};

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn each_profile_carries_its_bandwidth_in_each_direction() {
    for (profile, low, high) in [
        (Profile::WFD_GOOD, 73_000_000, 75_100_000),
        (Profile::WFD_TYPICAL, 29_000_000, 30_100_000),
        // 300 ms of 3 to 6 s are a stall.
        (Profile::WFD_POOR, 4_400_000, 4_900_000),
    ] {
        let mut lab = Lab::linked(11, profile, Faults::none());
        let (up, down) = lab.carry_for(20 * SECOND);
        for rate in [up / 20, down / 20] {
            assert!((low..high).contains(&rate), "{}: {rate} bytes/s", profile.name);
        }
    }
}

#[test]
fn a_worse_radio_slows_its_own_link_only() {
    let mut lab = Lab::linked(12, Profile::WFD_GOOD, Faults::none());
    lab.air.profile(lab.now, lab.laptop, Some(Profile::WFD_POOR));
    let (up, _) = lab.carry_for(10 * SECOND);
    assert!((44_000_000..49_000_000).contains(&up), "{up} bytes in 10 s");
    lab.air.profile(lab.now, lab.laptop, None);
    let (up, _) = lab.carry_for(SECOND);
    assert!(up > 70_000_000, "{up} bytes in 1 s");
}

#[test]
fn the_round_trip_is_that_of_the_profile() {
    for (profile, low, high) in [
        (Profile::WFD_GOOD, ms(3), ms(4)),
        (Profile::WFD_TYPICAL, ms(6), ms(13)),
        (Profile::WFD_POOR, ms(25), ms(36)),
    ] {
        let mut lab = Lab::linked(13, profile, Faults::none());
        let sent = lab.now;
        lab.write(lab.laptop, Bytes::from_static(b"ping"));
        lab.run_until(|lab| lab.read(lab.hub) == 4);
        lab.write(lab.hub, Bytes::from_static(b"pong"));
        lab.run_until(|lab| lab.read(lab.laptop) == 4);
        let round = lab.now - sent;
        assert!((low..=high).contains(&round), "{}: {round:?}", profile.name);
    }
}

#[test]
fn a_cut_after_n_bytes_delivers_exactly_n_bytes() {
    const TOTAL: usize = 600;
    for bytes in 0..TOTAL {
        let mut lab = Lab::linked(14, Profile::WFD_GOOD, Faults::none());
        lab.air.cut_stream_after(lab.now, lab.laptop, bytes as u64);
        for at in (0..TOTAL).step_by(100) {
            lab.write(lab.laptop, pattern(at, 100));
        }
        lab.run_for(SECOND);
        assert_eq!(lab.read(lab.hub), bytes);
        assert_eq!(
            (lab.closed(lab.hub), lab.closed(lab.laptop)),
            (true, true),
            "cut after {bytes} bytes"
        );
        assert!(
            !lab.events(lab.laptop).contains(&Event::Left),
            "the group has gone too"
        );
    }
}

#[test]
fn a_cut_of_everything_ends_everything_at_once_and_nothing_else() {
    let mut lab = Lab::linked(15, Profile::WFD_GOOD, Faults::none());
    lab.connect();
    lab.air.cut(lab.now, lab.laptop);
    lab.run_for(Duration::ZERO);
    assert!(lab.closed(lab.hub) && lab.closed(lab.laptop));
    let disconnected = |event: &Event| matches!(event, Event::Disconnected { .. });
    assert!(lab.events(lab.hub).iter().any(disconnected) && lab.events(lab.laptop).iter().any(disconnected));
    assert!(lab.events(lab.laptop).contains(&Event::Left));
    assert!(
        !lab.events(lab.hub).contains(&Event::GroupStopped),
        "the hub's group is not the laptop's"
    );
    lab.connect();
}

#[test]
fn a_short_walk_out_of_range_loses_no_stream_byte() {
    for seed in 0..20 {
        let mut lab = Lab::linked(seed, Profile::WFD_TYPICAL, Faults::none());
        lab.air
            .cut_after(lab.now, lab.laptop, 100_000 + seed * 777, Cut::Range);
        for at in 0..40 {
            lab.write(lab.laptop, pattern(at * 10_000, 10_000));
        }
        lab.run_for(ms(500));
        assert_eq!(
            lab.read(lab.hub) as u64,
            100_000 + seed * 777,
            "bytes crossed the gap"
        );
        lab.air.near(lab.now, lab.laptop);
        lab.run_for(SECOND);
        assert_eq!(lab.read(lab.hub), 400_000);
        assert!(!lab.closed(lab.hub) && !lab.closed(lab.laptop));
    }
}

#[test]
fn a_walk_away_is_noticed_by_the_laptop_soon_and_by_the_hub_late() {
    let mut lab = Lab::linked(16, Profile::WFD_GOOD, Faults::none());
    lab.connect();
    lab.air.away(lab.now, lab.laptop);
    lab.write(lab.laptop, pattern(0, 1000));
    lab.run_for(ms(1_000));
    assert!(!lab.closed(lab.laptop));
    lab.run_for(ms(200));
    assert!(lab.closed(lab.laptop) && lab.events(lab.laptop).contains(&Event::Left));
    lab.run_for(ms(1_000));
    assert!(
        lab.events(lab.hub)
            .iter()
            .any(|event| matches!(event, Event::Disconnected { .. }))
    );
    // Back in range: the station is in no group any more, so the hub still hears nothing until it notices.
    lab.air.near(lab.now, lab.laptop);
    lab.run_for(ms(12_000));
    assert!(!lab.closed(lab.hub));
    lab.run_for(ms(2_000));
    assert!(lab.closed(lab.hub));
    assert_eq!(lab.read(lab.hub), 0, "bytes crossed the gap");
}

#[test]
fn pieces_are_handed_on_and_not_copied() {
    let mut lab = Lab::linked(17, Profile::PERFECT, Faults::none());
    let piece = pattern(0, 100_000);
    let at = piece.as_ptr();
    lab.write(lab.laptop, piece);
    lab.run_for(Duration::ZERO);
    let arrived = lab.events(lab.hub).iter().any(|event| match event {
        Event::Read { piece, .. } => piece.as_ptr() == at,
        _ => false,
    });
    assert!(arrived);
}

#[test]
fn a_sender_over_its_window_loses_its_stream_and_nothing_else() {
    let mut lab = Lab::linked(18, Profile::WFD_POOR, Faults::none());
    for at in 0..=STREAM_WINDOW_BYTES / 100_000 {
        lab.write(lab.laptop, pattern(at * 100_000, 100_000));
    }
    lab.run_for(Duration::ZERO);
    assert!(lab.closed(lab.laptop) && lab.closed(lab.hub));
    lab.command(lab.laptop, Command::Dial);
    lab.run_for(SECOND);
    assert!(!lab.closed(lab.laptop), "another dial failed");
}

#[test]
fn frames_are_lost_repeated_and_swapped_as_often_as_asked() {
    const FRAMES: u32 = 5_000;
    let faults = Faults {
        frame_lost_ppm: 100_000,
        frame_repeated_ppm: 200_000,
        frame_swapped_ppm: 100_000,
        ..Faults::none()
    };
    for (faults, lossy) in [(Faults::none(), false), (faults, true)] {
        let mut lab = Lab::new(19, Profile::WFD_GOOD, faults);
        let conn = lab.connect();
        for number in 0..FRAMES {
            lab.command(
                lab.laptop,
                Command::Send {
                    conn,
                    frame: Bytes::from(number.to_le_bytes().to_vec()),
                },
            );
            lab.run_for(ms(2));
        }
        lab.run_for(SECOND);
        let got: Vec<u32> = lab
            .frames(lab.hub)
            .iter()
            .map(|it| u32::from_le_bytes(it[..].try_into().unwrap()))
            .collect();
        let distinct = got.iter().collect::<std::collections::BTreeSet<_>>().len();
        let swapped = got.windows(2).filter(|pair| pair[0] > pair[1]).count();
        if lossy {
            assert!(
                (4_400..4_600).contains(&distinct),
                "{distinct} of {FRAMES} arrived"
            );
            assert!(
                (800..1_000).contains(&(got.len() - distinct)),
                "{} repeated",
                got.len() - distinct
            );
            assert!(swapped > 300, "{swapped} out of order");
        } else {
            assert_eq!(got, (0..FRAMES).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_late_connection_shows_with_its_first_frame_or_never() {
    let faults = Faults {
        connected_late_ppm: 1_000_000,
        ..Faults::none()
    };
    let mut lab = Lab::new(20, Profile::WFD_GOOD, faults);
    let conn = lab.connect();
    lab.command(lab.laptop, Command::Disconnect { conn });
    lab.run_for(SECOND);
    assert!(lab.events(lab.hub).is_empty(), "{:?}", lab.events(lab.hub));
    let conn = lab.connect();
    lab.command(
        lab.laptop,
        Command::Send {
            conn,
            frame: Bytes::from_static(b"x"),
        },
    );
    lab.run_for(SECOND);
    assert!(matches!(
        lab.events(lab.hub),
        [Event::Connected { .. }, Event::Received { .. }]
    ));
}

#[test]
fn a_changed_address_still_answers_for_some_seconds() {
    let mut lab = Lab::new(21, Profile::WFD_GOOD, Faults::none());
    let old = lab.sight();
    lab.command(lab.hub, Command::Advertise { beacon: beacon(2) });
    assert_ne!(lab.sight(), old);
    lab.command(lab.laptop, Command::Connect { peer: old });
    lab.run_for(SECOND);
    assert_eq!(lab.connected(lab.laptop).len(), 1);
    lab.run_for(ms(10_000));
    lab.command(lab.laptop, Command::Connect { peer: old });
    lab.run_for(SECOND);
    assert!(
        lab.events(lab.laptop)
            .contains(&Event::ConnectFailed { peer: old })
    );
}

#[test]
fn radios_at_different_places_do_not_hear_each_other() {
    let mut lab = Lab::new(22, Profile::WFD_GOOD, Faults::none());
    let home = lab.air.attach("home").unwrap();
    lab.air.place(lab.now, home, Some(Place(1)));
    let seen_from = lab.sight();
    lab.command(home, Command::Advertise { beacon: beacon(9) });
    lab.air.place(lab.now, lab.laptop, Some(Place(1)));
    lab.clear();
    lab.run_for(5 * SECOND);
    let seen: Vec<_> = lab.sighted(lab.laptop);
    assert!(
        !seen.is_empty() && seen.iter().all(|(_, it)| *it == beacon(9)),
        "{seen:?}"
    );
    lab.command(lab.laptop, Command::Connect { peer: seen_from });
    lab.run_for(SECOND);
    assert!(lab.connected(lab.laptop).is_empty());
}

#[test]
fn an_air_where_nobody_hears_anybody_has_nothing_to_do() {
    let mut lab = Lab::new(23, Profile::WFD_GOOD, Faults::none());
    lab.sight();
    lab.air.away(lab.now, lab.laptop);
    lab.run_for(5 * SECOND);
    assert_eq!(lab.air.next_at(), None, "a timer runs for nothing");
    lab.clear();
    lab.air.near(lab.now, lab.laptop);
    lab.run_for(2 * SECOND);
    assert!(!lab.sighted(lab.laptop).is_empty());
}

#[test]
fn a_radio_that_leaves_the_air_ends_what_others_had_with_it_and_may_come_back() {
    let mut lab = Lab::linked(24, Profile::WFD_GOOD, Faults::none());
    lab.connect();
    assert_eq!(lab.air.attach("laptop"), Err(AttachError::NameTaken));
    lab.air.detach(lab.now, lab.laptop);
    lab.run_for(Duration::ZERO);
    assert!(lab.closed(lab.hub));
    assert!(
        lab.events(lab.hub)
            .iter()
            .any(|event| matches!(event, Event::Disconnected { .. }))
    );
    assert_eq!(lab.air.attach("laptop"), Ok(lab.laptop));
    lab.connect();
    let names = ["", "with space", "línea", "\n"];
    assert!(
        names
            .iter()
            .all(|name| lab.air.attach(name) == Err(AttachError::BadName))
    );
}

#[test]
fn a_radio_that_floods_the_air_harms_nobody_else() {
    let mut lab = Lab::linked(25, Profile::WFD_GOOD, Faults::none());
    let pest = lab.air.attach("pest").unwrap();
    for number in 0..200_000_u32 {
        let command = match number % 8 {
            0 => Command::Join {
                credentials: lab.credentials(),
            },
            1 => Command::StartGroup,
            2 => Command::Connect {
                peer: Address(u64::from(number)),
            },
            3 => Command::Dial,
            4 => Command::Scan,
            5 => Command::Advertise {
                beacon: beacon(number as u8),
            },
            6 => Command::Send {
                conn: ConnId(number),
                frame: Bytes::new(),
            },
            _ => Command::Leave,
        };
        lab.air.command(lab.now, pest, command);
    }
    lab.write(lab.laptop, pattern(0, 1000));
    lab.run_for(ms(100));
    assert_eq!(lab.read(lab.hub), 1000);
    assert!(
        lab.count_events(pest) < 70_000,
        "{} events of one radio",
        lab.count_events(pest)
    );
}

#[test]
fn an_unanswered_command_is_not_answered_and_the_next_one_is() {
    let mut lab = Lab::new(
        26,
        Profile::WFD_GOOD,
        Faults {
            unanswered_ppm: 1_000_000,
            ..Faults::none()
        },
    );
    let peer = lab.sight();
    lab.clear();
    lab.command(lab.laptop, Command::StopScanning);
    lab.command(lab.laptop, Command::Connect { peer });
    lab.command(lab.hub, Command::StartGroup);
    lab.run_for(600 * SECOND);
    assert!(lab.events(lab.laptop).is_empty() && lab.events(lab.hub).is_empty());
    lab.air.faults(Faults::none());
    lab.command(lab.laptop, Command::Connect { peer });
    lab.command(lab.hub, Command::StartGroup);
    lab.run_for(5 * SECOND);
    assert_eq!((lab.events(lab.laptop).len(), lab.events(lab.hub).len()), (1, 2));
}

#[test]
fn an_adapter_that_goes_by_itself_comes_back() {
    let mut lab = Lab::new(
        27,
        Profile::WFD_GOOD,
        Faults {
            adapter_gone_ppm: 1_000_000,
            ..Faults::none()
        },
    );
    lab.command(lab.hub, Command::StartGroup);
    lab.run_for(11 * SECOND);
    assert_eq!(lab.events(lab.hub), [Event::AdapterGone, Event::AdapterBack]);
}

#[test]
fn an_air_without_ports_has_nothing_to_do() {
    assert_eq!(Air::new(0, Profile::PERFECT).next_at(), None);
}
