//! The loop of a running hub: radio, time, the visits' threads, and orders from other threads.
//!
//! Place: a program opens a radio and a [`Hub`], makes [`orders`] for its other threads, and calls [`drive`] on a thread
//! of its own until somebody stops it.
//! Invariant: only this thread touches the hub and the radio. Nothing wakes it but the radio, an order, a visit's
//! thread, and what the hub itself waits for: an idle hub has no timer but the beacon's.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_pairing::{DeviceId, PairingCode, TrustError};
use berth_radio::{Command, Event, Radio, StreamId, Time, Waker};
use berth_session::HubInput;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{Clock, Hub, HubEvent, HubOutput};

/// Orders that wait for the hub: people give them, one after the other.
const ORDERS_WAITING_MAX: usize = 64;

/// Longest wait for the answer to an order. The hub's thread waits for nobody but a visit's disk, for moments.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Longest time from a stop to its end: open sets are sealed meanwhile, which writes at most their open packs.
pub const STOP_MAX: Duration = Duration::from_secs(20);

/// Longest wait, within [`STOP_MAX`], for the last words to laptops to leave.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// Longest wait for an event where nothing is due: far beyond the beacon's period, and far from where time overflows.
const WAIT_MAX: Duration = Duration::from_secs(3600);

type Order = Box<dyn FnOnce(&mut Turn<'_>) + Send>;

/// Gives orders to a hub, from any thread. Clones give them to the same one.
#[derive(Clone)]
pub struct Orders {
    orders: Sender<Order>,
    stop: Arc<AtomicBool>,
    wake: Waker,
}

/// Where [`drive`] takes orders from.
pub struct Inbox {
    orders: Receiver<Order>,
    stop: Arc<AtomicBool>,
}

/// The hub has stopped, or does not answer: nothing is known of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub has stopped")]
pub struct HubGone;

/// Both ends of a way to give orders. `wake`: that of the radio that [`drive`] is given.
#[must_use]
pub fn orders(wake: Waker) -> (Orders, Inbox) {
    let (orders_in, orders_out) = bounded(ORDERS_WAITING_MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let inbox = Inbox {
        orders: orders_out,
        stop: Arc::clone(&stop),
    };
    let orders = Orders {
        orders: orders_in,
        stop,
        wake,
    };
    (orders, inbox)
}

impl Orders {
    /// Has `order` done on the hub's thread and waits for what it returns. It must be quick: every visit waits for it.
    ///
    /// # Errors
    /// [`HubGone`].
    pub fn ask<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Turn<'_>) -> T + Send + 'static,
    ) -> Result<T, HubGone> {
        let (answer_in, answer_out) = bounded(1);
        let order: Order = Box::new(move |turn| {
            // Whoever asked may have given up.
            let _ = answer_in.send(order(turn));
        });
        self.orders.send_timeout(order, ANSWER_MAX).map_err(|_| HubGone)?;
        (self.wake)();
        answer_out.recv_timeout(ANSWER_MAX).map_err(|_| HubGone)
    }

    /// Ends [`drive`]: open sets are sealed as partial, and laptops are told. Returns at once.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        (self.wake)();
    }
}

/// The hub, for the moment of one order.
pub struct Turn<'a> {
    hub: &'a mut Hub,
    now: Time,
    wall_ns: i64,
    out: &'a mut Vec<HubOutput>,
}

impl Turn<'_> {
    /// What is known.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        self.hub
    }

    /// See [`Hub::open_window`].
    pub fn open_window(&mut self) -> PairingCode {
        self.hub.open_window(self.now, self.wall_ns, self.out)
    }

    /// See [`Hub::close_window`].
    pub fn close_window(&mut self) {
        self.hub.close_window(self.now, self.wall_ns, self.out);
    }

    /// See [`Hub::revoke`].
    ///
    /// # Errors
    /// Those of [`Hub::revoke`].
    pub fn revoke(&mut self, device: &DeviceId) -> Result<(), TrustError> {
        self.hub.revoke(self.now, self.wall_ns, device, self.out)
    }
}

/// A sign of life, for a watchdog.
pub struct Beat<'a> {
    /// How often.
    pub every: Duration,
    /// What is called, on the hub's thread.
    pub call: &'a mut dyn FnMut(),
}

/// What [`drive`] calls on its thread: each must return at once.
pub struct Program<'a> {
    /// With what happens.
    pub tell: &'a mut dyn FnMut(HubEvent),
    /// For each laptop that comes: where the hub takes streams in networks that are there already.
    pub lan: &'a mut dyn FnMut() -> Vec<SocketAddr>,
    /// For a watchdog, if there is one.
    pub beat: Option<Beat<'a>>,
}

/// How [`drive`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Stopped {
    /// Visits whose sets could not be sealed in [`STOP_MAX`]: the next start does it.
    pub unsealed: usize,
}

/// Runs a hub until it is told to stop, and then for [`STOP_MAX`] at the most.
///
/// `begun` is what [`Hub::new`] asked for.
pub fn drive(
    radio: &mut dyn Radio,
    mut hub: Hub,
    begun: Vec<HubOutput>,
    inbox: &Inbox,
    wall_ns: &Clock,
    Program { tell, lan, mut beat }: Program<'_>,
) -> Stopped {
    let mut out = begun;
    let mut beat_at = beat.as_ref().map(|_| radio.now());
    loop {
        perform(radio, &mut out, tell);
        if inbox.stop.load(Ordering::SeqCst) {
            return stop(radio, hub, wall_ns, tell);
        }
        for order in inbox.orders.try_iter() {
            order(&mut Turn {
                hub: &mut hub,
                now: radio.now(),
                wall_ns: wall_ns(),
                out: &mut out,
            });
        }
        if !out.is_empty() {
            continue;
        }
        let now = radio.now();
        if let Some(beat) = &mut beat
            && beat_at.is_some_and(|at| at <= now)
        {
            (beat.call)();
            beat_at = Some(now + beat.every);
        }
        let due = hub.next_at().into_iter().chain(beat_at).min();
        let event = radio.event(due.unwrap_or(now + WAIT_MAX));
        let (now, wall_ns) = (radio.now(), wall_ns());
        if let Some(event) = event {
            if matches!(event, Event::Connected { .. }) {
                hub.handle(now, wall_ns, HubInput::Lan(lan()), &mut out);
            }
            hub.handle(now, wall_ns, HubInput::Radio(event), &mut out);
        }
        hub.stores_done(now, wall_ns, &mut out);
        if hub.next_at().is_some_and(|at| at <= now) {
            hub.handle(now, wall_ns, HubInput::Tick, &mut out);
        }
    }
}

/// Ends every visit, and waits until the sets are sealed and the last words have left. Nobody new is let in meanwhile:
/// what the radio says is not passed on.
fn stop(radio: &mut dyn Radio, mut hub: Hub, wall_ns: &Clock, tell: &mut dyn FnMut(HubEvent)) -> Stopped {
    let began = radio.now();
    let mut out = Vec::new();
    hub.handle(began, wall_ns(), HubInput::Stop, &mut out);
    let closing = |output: &HubOutput| match output {
        HubOutput::Radio(Command::CloseStream { stream }) => Some(*stream),
        HubOutput::Radio(_) | HubOutput::Event(_) => None,
    };
    let mut streams: BTreeSet<StreamId> = out.iter().filter_map(closing).collect();
    loop {
        perform(radio, &mut out, tell);
        let (now, unsealed) = (radio.now(), hub.visits());
        let said = streams.is_empty() || now >= began + LAST_WORDS_MAX;
        if unsealed == 0 && said || now >= began + STOP_MAX {
            return Stopped { unsealed };
        }
        let wait = if said { STOP_MAX } else { LAST_WORDS_MAX };
        match radio.event(began + wait) {
            Some(Event::StreamClosed { stream }) => drop(streams.remove(&stream)),
            Some(Event::AdapterGone) => streams.clear(),
            Some(_) | None => {}
        }
        hub.stores_done(radio.now(), wall_ns(), &mut out);
    }
}

fn perform(radio: &mut dyn Radio, out: &mut Vec<HubOutput>, tell: &mut dyn FnMut(HubEvent)) {
    for output in out.drain(..) {
        match output {
            HubOutput::Radio(command) => radio.command(command),
            HubOutput::Event(event) => tell(event),
        }
    }
}
