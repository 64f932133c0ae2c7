//! The loop of a hub, on a radio where nothing happens but the time.

use std::cell::Cell;
use std::sync::Arc;

use berth_daemon::{Orders, Program, STOP_MAX, Stopped, drive, orders};
use berth_pairing::BEACON_PERIOD;
use berth_radio::{Command, Event, Radio, Time, Waker};
use berth_wire::ObjectKind;

use super::{Desk, WALL_NS};

/// Every wait is over at once, at its deadline.
struct Silence<'a> {
    now: &'a Cell<Time>,
    waits: u32,
    /// When somebody stops the hub.
    stop: (Time, Orders),
}

impl Radio for Silence<'_> {
    fn command(&mut self, _command: Command) {}

    fn event(&mut self, deadline: Time) -> Option<Event> {
        self.waits += 1;
        assert!(self.waits < 1_000, "the hub goes on and on");
        let (stop_at, orders) = &self.stop;
        if deadline >= *stop_at {
            orders.stop();
        }
        self.now.set(deadline.max(self.now.get()));
        None
    }

    fn waker(&self) -> Waker {
        Arc::new(|| {})
    }

    fn now(&self) -> Time {
        self.now.get()
    }
}

/// Drives the desk's hub until it has stopped; how often it was woken, too.
fn run(desk: Desk, now: &Cell<Time>, stop_at: Time) -> (Stopped, u32) {
    let (orders, inbox) = orders(Arc::new(|| {}));
    now.set(desk.now);
    if stop_at <= desk.now {
        orders.stop();
    }
    let mut radio = Silence {
        now,
        waits: 0,
        stop: (stop_at, orders),
    };
    let clock: berth_daemon::Clock = Arc::new(|| WALL_NS);
    let program = Program {
        tell: &mut |_| {},
        lan: &mut Vec::new,
        beat: None,
    };
    let stopped = drive(&mut radio, desk.hub, desk.out, &inbox, &clock, program);
    (stopped, radio.waits)
}

#[test]
fn an_idle_hub_is_woken_for_its_beacon_and_for_nothing_else() {
    let now = Cell::default();
    let (_, waits) = run(Desk::new(), &now, 20 * BEACON_PERIOD);
    assert_eq!(waits, 20);
}

#[test]
fn a_hub_stops_in_time_though_a_disk_hangs_and_says_what_is_unsealed() {
    let mut desk = Desk::new();
    let laptop = desk.arrive("slow");
    let gate = desk.gate.clone();
    gate.close("");
    let upload = desk.open(laptop, 0, ObjectKind::Pack);
    desk.send_until_held(laptop, upload);
    let (began, now) = (desk.now, Cell::default());
    let (stopped, _) = run(desk, &now, began);
    gate.open();
    assert_eq!(stopped.unsealed, 1);
    assert_eq!(now.get(), began + STOP_MAX);
}
