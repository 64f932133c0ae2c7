//! A hub in the process of the test, reached over TCP on this host.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test stops where it fails"
)]

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use berth_bridge::{Journal, Spool};
use berth_daemon::{Hub, HubOutput, HubParts, StoreThreads, Stores};
use berth_disk::{OsDisk, SharedDisk};
use berth_net::{NetRadio, NoRadio};
use berth_pairing::{Identity, Name, TrustList};
use berth_radio::{Radio, Time};
use berth_session::{HubInput, HubSetup};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rand_core::OsRng;

enum Order {
    Pair(Sender<String>),
    Stop,
}

/// A hub that serves until it is dropped.
pub struct TestHub {
    /// Where it listens.
    pub address: String,
    orders: Sender<Order>,
    wake: berth_radio::Waker,
    thread: Option<JoinHandle<()>>,
}

#[expect(clippy::disallowed_methods, reason = "a real clock for real processes")]
fn now() -> Time {
    use std::sync::LazyLock;
    use std::time::Instant;
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    STARTED.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "a real clock for real processes")]
fn wall_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_nanos()).unwrap()
}

impl TestHub {
    pub fn start(state: &Path) -> Self {
        let disk: SharedDisk = Arc::new(OsDisk::open(state).unwrap());
        let identity = Arc::new(Identity::open_or_generate(&*disk, &mut OsRng).unwrap());
        let (journal, _) = Journal::open(state.join("journal"), None).unwrap();
        let (spool, _) = Spool::open(Arc::clone(&disk), journal, identity.clone(), wall_ns()).unwrap();
        let mut radio = NetRadio::new(Box::new(NoRadio::new(now)));
        let address = radio.listen("127.0.0.1:0".parse().unwrap()).unwrap().to_string();
        let setup = HubSetup {
            identity,
            name: Name::reduce("desk"),
            trust: TrustList::open(disk, "trust").unwrap(),
            fast_aes: true,
            rng: Box::new(OsRng),
        };
        let stores = Stores::Threads(StoreThreads::new(Arc::new(wall_ns), radio.waker()));
        let mut out = Vec::new();
        let parts = HubParts { setup, spool, stores };
        let hub = Hub::new(now(), wall_ns(), parts, &mut out).unwrap();
        let (orders, todo) = unbounded();
        let wake = radio.waker();
        let thread = std::thread::spawn(move || serve(hub, radio, out, &todo));
        Self {
            address,
            orders,
            wake,
            thread: Some(thread),
        }
    }

    /// Opens the pairing window.
    pub fn code(&self) -> String {
        let (code, shown) = bounded(1);
        self.orders.send(Order::Pair(code)).unwrap();
        (self.wake)();
        shown.recv().unwrap()
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        (self.wake)();
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(mut hub: Hub, mut radio: NetRadio, mut out: Vec<HubOutput>, orders: &Receiver<Order>) {
    let mut stopping = false;
    loop {
        for output in std::mem::take(&mut out) {
            if let HubOutput::Radio(command) = output {
                radio.command(command);
            }
        }
        if stopping && hub.visits() == 0 {
            return;
        }
        for order in orders.try_iter() {
            match order {
                Order::Pair(code) => {
                    let shown = hub.open_window(now(), wall_ns(), &mut out);
                    code.send(shown.to_text().to_string()).unwrap();
                }
                Order::Stop => {
                    hub.handle(now(), wall_ns(), HubInput::Stop, &mut out);
                    stopping = true;
                }
            }
        }
        let deadline = match out.is_empty() && !stopping {
            true => hub.next_at().unwrap_or(Time::MAX),
            false => now(),
        };
        if let Some(event) = radio.event(deadline) {
            hub.handle(now(), wall_ns(), HubInput::Radio(event), &mut out);
        }
        hub.stores_done(now(), wall_ns(), &mut out);
        if hub.next_at().is_some_and(|at| at <= now()) {
            hub.handle(now(), wall_ns(), HubInput::Tick, &mut out);
        }
    }
}
