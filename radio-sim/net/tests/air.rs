//! Radios in an air of another process hold what every radio promises, and what the air decides happens to their real
//! connections.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use std::thread;
use std::time::Duration;

use berth_net::{AirRadio, Order, give_order};
use berth_radio::conformance::{Bench, Role, check_all};
use berth_radio::{Command, Event, Radio, STREAM_PIECE_SIZE_BYTES_MAX};
use berth_radio_sim::{Air, Profile, TraceTo};
use bytes::Bytes;
use lab::air::{Served, stream};
use lab::{SILENCE, WAIT, expect, pick, pull, push, quiet};

struct OverSockets {
    served: Served,
    hub: AirRadio,
    laptop: AirRadio,
}

impl OverSockets {
    fn new(seed: u64, profile: Profile) -> Self {
        let served = Served::new(Air::new(seed, profile));
        Self {
            hub: served.radio("hub"),
            laptop: served.radio("laptop"),
            served,
        }
    }
}

impl Bench for OverSockets {
    fn radio(&mut self, role: Role) -> &mut dyn Radio {
        match role {
            Role::Hub => &mut self.hub,
            Role::Laptop => &mut self.laptop,
        }
    }

    fn silence(&self) -> Duration {
        SILENCE
    }

    fn laptop_near(&mut self, near: bool) -> bool {
        self.served.air.with(|air, now| {
            let laptop = air.named("laptop").unwrap();
            if near {
                air.near(now, laptop)
            } else {
                air.away(now, laptop)
            }
        });
        true
    }

    fn adapter(&mut self, role: Role, there: bool) -> bool {
        self.served.air.with(|air, now| {
            let name = if role == Role::Hub { "hub" } else { "laptop" };
            let port = air.named(name).unwrap();
            if there {
                air.adapter_back(now, port)
            } else {
                air.adapter_gone(now, port)
            }
        });
        true
    }
}

#[test]
fn radios_of_other_processes_hold_every_promise() {
    let held = check_all(|| OverSockets::new(2, Profile::PERFECT));
    assert_eq!(held, Ok(Vec::new()));
}

/// Gives an order; the radios it concerned, or why it was refused.
fn order(served: &Served, order: Order) -> Result<usize, String> {
    let (link, serving) = served.link();
    let done = give_order(&link, &order, |_| {});
    serving.join().unwrap().unwrap();
    done.map(|done| done.radios).map_err(|error| error.to_string())
}

#[test]
fn two_radios_of_one_name_are_in_the_air_at_once_and_an_order_concerns_both() {
    let served = Served::new(Air::new(1, Profile::PERFECT));
    let mut hub = served.radio("hub");
    let mut laptops = [served.radio("laptop"), served.radio("laptop")];
    assert_eq!(order(&served, Order::Away("laptop".into())), Ok(2));
    hub.command(Command::Advertise {
        beacon: Bytes::from_static(b"beacon"),
    });
    for laptop in &mut laptops {
        laptop.command(Command::Scan);
        quiet(laptop);
    }
    assert_eq!(order(&served, Order::Near("laptop".into())), Ok(2));
    for laptop in &mut laptops {
        pick(laptop, |event| {
            matches!(event, Event::Sighted { .. }).then_some(())
        });
    }
}

#[test]
fn an_order_for_who_is_not_there_yet_is_kept_until_it_comes() {
    let served = Served::new(Air::new(1, Profile::PERFECT));
    let mut hub = served.radio("hub");
    assert_eq!(order(&served, Order::Away("laptop".into())), Ok(0));
    hub.command(Command::Advertise {
        beacon: Bytes::from_static(b"beacon"),
    });
    for _ in 0..2 {
        // Also a second one of that name.
        let mut laptop = served.radio("laptop");
        laptop.command(Command::Scan);
        quiet(&mut laptop);
    }
}

#[test]
fn a_cut_ends_the_link_in_the_middle_of_a_transfer_and_the_laptop_can_return_at_once() {
    let served = Served::new(Air::new(1, Profile::WFD_TYPICAL));
    let (mut hub, mut laptop) = (served.radio("hub"), served.radio("laptop"));
    let (at_hub, at_laptop) = stream(&mut hub, &mut laptop);
    for _ in 0..32 {
        laptop.command(Command::Write {
            stream: at_laptop,
            piece: Bytes::from(vec![7; STREAM_PIECE_SIZE_BYTES_MAX]),
        });
    }
    pull(&mut hub, at_hub, 1);
    assert_eq!(order(&served, Order::Cut("laptop".into())), Ok(1));
    expect(&mut laptop, &Event::StreamClosed { stream: at_laptop });
    expect(&mut laptop, &Event::Left);
    expect(&mut hub, &Event::StreamClosed { stream: at_hub });
    let (at_hub, at_laptop) = stream(&mut hub, &mut laptop);
    let sender = thread::spawn(move || push(&mut laptop, at_laptop, 1_000_000, 65_537));
    pull(&mut hub, at_hub, 1_000_000);
    sender.join().unwrap();
}

#[test]
fn orders_that_make_no_sense_are_refused_with_what_there_is() {
    let served = Served::new(Air::new(1, Profile::PERFECT));
    let _hub = served.radio("hub");
    let error = order(&served, Order::Cut("laptop".into())).unwrap_err();
    assert!(error.contains("laptop") && error.contains("hub is"), "{error}");
    let profile = "wfd-great".to_owned();
    let name = "hub".to_owned();
    let error = order(&served, Order::Profile { name, profile }).unwrap_err();
    assert!(
        error.contains("wfd-great") && error.contains("wfd-typical"),
        "{error}"
    );
    let error = order(&served, Order::Near("a b".into())).unwrap_err();
    assert!(error.contains("printable"), "{error}");
}

#[test]
fn the_trace_tells_what_happened_so_far() {
    let mut air = Air::new(1, Profile::PERFECT);
    air.trace_to(TraceTo::Memory);
    let served = Served::new(air);
    let (mut hub, mut laptop) = (served.radio("hub"), served.radio("laptop"));
    // More than one message of lines.
    for _ in 0..1_000 {
        laptop.command(Command::Dial);
        expect(&mut laptop, &Event::StreamFailed);
    }
    stream(&mut hub, &mut laptop);
    let (link, _) = served.link();
    let mut lines = Vec::new();
    let done = give_order(&link, &Order::Trace, |line| lines.push(line.to_owned())).unwrap();
    assert_eq!(done.lines_dropped, 0);
    assert!(lines.len() > 2_000, "{}", lines.len());
    let at = |wanted: &str| lines.iter().position(|line| line.ends_with(wanted));
    assert!(at("hub ! attached") < at("laptop < StreamFailed"));
    assert!(at("laptop < StreamFailed") < at("laptop < stream 1 opened"));
}

#[test]
fn what_was_written_before_a_close_arrives_although_the_process_leaves_at_once() {
    let served = Served::new(Air::new(1, Profile::WFD_POOR));
    let (mut hub, mut laptop) = (served.radio("hub"), served.radio("laptop"));
    let (at_hub, at_laptop) = stream(&mut hub, &mut laptop);
    laptop.command(Command::Write {
        stream: at_laptop,
        piece: Bytes::from_static(b"goodbye"),
    });
    laptop.command(Command::CloseStream { stream: at_laptop });
    drop(laptop);
    let piece = Bytes::from_static(b"goodbye");
    expect(
        &mut hub,
        &Event::Read {
            stream: at_hub,
            piece,
        },
    );
    expect(&mut hub, &Event::StreamClosed { stream: at_hub });
}

#[test]
fn a_stream_is_closed_only_when_the_air_has_carried_what_was_written() {
    let served = Served::new(Air::new(1, Profile::WFD_POOR));
    let (mut hub, mut laptop) = (served.radio("hub"), served.radio("laptop"));
    let (at_hub, at_laptop) = stream(&mut hub, &mut laptop);
    let total = 8 * STREAM_PIECE_SIZE_BYTES_MAX;
    for _ in 0..8 {
        laptop.command(Command::Write {
            stream: at_laptop,
            piece: Bytes::from(vec![7; STREAM_PIECE_SIZE_BYTES_MAX]),
        });
    }
    laptop.command(Command::CloseStream { stream: at_laptop });
    expect(&mut laptop, &Event::StreamClosed { stream: at_laptop });
    // Leaving the group takes away what is still to leave, and what is in the air right now.
    laptop.command(Command::Leave);
    pull(&mut hub, at_hub, total - 2 * STREAM_PIECE_SIZE_BYTES_MAX);
}

#[test]
fn a_transfer_takes_next_to_no_longer_than_its_link_and_how_much_is_told() {
    for profile in [Profile::WFD_TYPICAL, Profile::WFD_GOOD] {
        let served = Served::new(Air::new(1, profile));
        let (mut hub, mut laptop) = (served.radio("hub"), served.radio("laptop"));
        let (at_hub, at_laptop) = stream(&mut hub, &mut laptop);
        let total = 100_000_000;
        let started = hub.now();
        let sender = thread::spawn(move || push(&mut laptop, at_laptop, total, 65_537));
        pull(&mut hub, at_hub, total);
        let took = (hub.now() - started).as_secs_f64();
        sender.join().unwrap();
        let (name, link) = (profile.name, profile.airtime(total).as_secs_f64());
        println!(
            "{name}: 100 MB in {took:.3} s, the link alone {link:.3} s, ratio {:.4}",
            took / link
        );
        assert!(took < WAIT.as_secs_f64());
    }
}
