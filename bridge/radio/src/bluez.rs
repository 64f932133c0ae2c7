//! BlueZ's part of the hub's radio: an adapter that advertises and serves the GATT service.
//!
//! Place: orders of [`crate::hub`] -> [`Life`] -> reports; connections are [`crate::peers`]'.
//! Invariant: a life is one adapter from when it can be used to when it can't any more. It has a thread, a runtime and a
//! bus connection of its own, and all that it has registered ends with these, also what BlueZ never answered.

use std::pin::pin;
use std::thread;
use std::time::Duration;

use berth_radio::{Address, BEACON_COMPANY};
use bluer::adv::{Advertisement, AdvertisementHandle};
use bluer::{Adapter, AdapterEvent, AdapterProperty, Session, SessionEvent};
use bytes::Bytes;
use futures_util::stream::{SelectAll, StreamExt};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::advertising;
use crate::error::{BLUEZ, HubRadioError};
use crate::peers::Peers;

/// Longest wait for an answer of BlueZ; then the life ends.
const CALL_WAIT: Duration = Duration::from_secs(10);

/// Between two beacons; the kernel's own choice, 1.28 s, would be what a laptop waits for. A hub has power to spare.
/// BlueZ before 5.77 takes no notice unless it runs with `--experimental` (docs/hardware.md).
const ADVERTISING_INTERVAL_MIN: Duration = Duration::from_millis(150);
const ADVERTISING_INTERVAL_MAX: Duration = Duration::from_millis(200);

/// Reports that may wait; frames beyond them are lost.
const REPORTS_MAX: usize = 256;

/// Orders that may wait; frames beyond them are lost.
const ORDERS_MAX: usize = 256;

#[derive(Debug)]
pub(crate) enum Order {
    Register(Bytes),
    Unregister,
    /// Bring this back after this time.
    Later(Duration, advertising::Input),
    Notify {
        peer: Address,
        frame: Bytes,
    },
    HangUp {
        peer: Address,
    },
}

#[derive(Debug)]
pub(crate) enum Report {
    /// No adapter can be used for this reason; one may come.
    Waiting(HubRadioError),
    /// This adapter can be used.
    There {
        name: String,
        address: bluer::Address,
    },
    Registered(bool),
    /// The time of [`Order::Later`] is over.
    Due(advertising::Input),
    Subscribed {
        peer: Address,
        limit_bytes: usize,
    },
    Frame {
        peer: Address,
        frame: Bytes,
    },
    Gone {
        peer: Address,
    },
    /// Nothing follows.
    Over(HubRadioError),
}

/// An adapter among others.
#[derive(Debug, Clone)]
pub(crate) enum Which {
    /// The first that is on, else the first.
    Any,
    /// As in `hci0`. The system may give it another name when it comes back.
    Named(String),
    Address(bluer::Address),
}

impl Which {
    fn is(&self, name: &str, address: bluer::Address) -> bool {
        match self {
            Self::Any => true,
            Self::Named(wanted) => wanted == name,
            Self::Address(wanted) => *wanted == address,
        }
    }
}

/// The adapter that a life is to use.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) adapter: Which,
    /// Switch it on if it is off.
    pub(crate) may_power: bool,
}

/// Dropping it ends it.
pub(crate) struct Life {
    orders: mpsc::Sender<Order>,
    pub(crate) reports: mpsc::Receiver<Report>,
}

impl Life {
    /// Begins after `rest`.
    pub(crate) fn begin(rest: Duration, wanted: Wanted) -> Result<Self, HubRadioError> {
        let (orders, take) = mpsc::channel(ORDERS_MAX);
        let (tell, reports) = mpsc::channel(REPORTS_MAX);
        thread::Builder::new()
            .name("bluetooth".into())
            .spawn(move || live(rest, wanted, take, &tell))
            .map_err(|source| HubRadioError::System {
                what: "no thread for Bluetooth",
                source,
            })?;
        Ok(Self { orders, reports })
    }

    /// Hands over an order. Frames are lost before they take the room of other orders, which are few.
    pub(crate) fn order(&self, order: Order) {
        if !matches!(order, Order::Notify { .. }) || self.orders.capacity() > ORDERS_MAX / 2 {
            let _ = self.orders.try_send(order);
        }
    }
}

fn live(rest: Duration, wanted: Wanted, orders: mpsc::Receiver<Order>, reports: &mpsc::Sender<Report>) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let why = HubRadioError::System {
                what: "no runtime for Bluetooth",
                source,
            };
            let _ = reports.blocking_send(Report::Over(why));
            return;
        }
    };
    let ended = runtime.block_on(async {
        sleep(rest).await;
        let session = within("a session", Session::new()).await?;
        let adapter = usable(&session, wanted, reports).await?;
        serve(&adapter, orders, reports).await
    });
    // Before anybody hears of it: what was registered must be gone when the next life registers.
    runtime.shutdown_background();
    let over = match ended {
        Ok(()) => return,
        Err(why) => Report::Over(why),
    };
    let _ = reports.blocking_send(over);
}

async fn within<T>(
    what: &'static str,
    call: impl Future<Output = bluer::Result<T>>,
) -> Result<T, HubRadioError> {
    match timeout(CALL_WAIT, call).await {
        Ok(answer) => answer.map_err(|error| HubRadioError::of_bluez(what, error)),
        Err(_) => Err(HubRadioError::Silent { service: BLUEZ }),
    }
}

/// The adapter that is wanted, once it is on; waits for it as long as it takes.
async fn usable(
    session: &Session,
    wanted: Wanted,
    reports: &mpsc::Sender<Report>,
) -> Result<Adapter, HubRadioError> {
    loop {
        let mut added = pin!(within("news of adapters", session.events()).await?);
        let mut names = within("a list of adapters", session.adapter_names()).await?;
        names.sort_by_key(|name| (name.len(), name.clone()));
        let mut changes = SelectAll::new();
        let mut off = Vec::new();
        for name in names {
            let adapter = session
                .adapter(&name)
                .map_err(|error| HubRadioError::of_bluez("an adapter", error))?;
            changes.push(Box::pin(within("news of an adapter", adapter.events()).await?));
            let address = within("an adapter's address", adapter.address()).await?;
            if !wanted.adapter.is(&name, address) {
                continue;
            }
            if within("an adapter's state", adapter.is_powered()).await? {
                return Ok(adapter);
            }
            off.push(adapter);
        }
        if wanted.may_power {
            for adapter in &off {
                if within("power", adapter.set_powered(true)).await.is_ok() {
                    return Ok(adapter.clone());
                }
            }
        }
        let why = match (off.first(), &wanted.adapter) {
            (Some(adapter), _) => HubRadioError::AdapterOff {
                name: adapter.name().to_owned(),
            },
            (None, Which::Named(name)) => HubRadioError::NotThisAdapter { name: name.clone() },
            (None, Which::Any | Which::Address(_)) => HubRadioError::NoAdapter,
        };
        let _ = reports.send(Report::Waiting(why)).await;
        loop {
            tokio::select! {
                event = added.next() => match event {
                    Some(SessionEvent::AdapterAdded(_)) => break,
                    Some(SessionEvent::AdapterRemoved(_)) => {}
                    None => return Err(HubRadioError::NoBluez),
                },
                Some(event) = changes.next() => {
                    if matches!(event, AdapterEvent::PropertyChanged(AdapterProperty::Powered(true))) {
                        break;
                    }
                }
                () = reports.closed() => return Err(HubRadioError::NoAdapter),
            }
        }
    }
}

async fn serve(
    adapter: &Adapter,
    mut orders: mpsc::Receiver<Order>,
    reports: &mpsc::Sender<Report>,
) -> Result<(), HubRadioError> {
    let off = || HubRadioError::AdapterOff {
        name: adapter.name().to_owned(),
    };
    let mut changes = pin!(within("news of the adapter", adapter.events()).await?);
    let (mut peers, application) = Peers::new(adapter.clone(), reports.clone());
    let _application = within("the GATT service", adapter.serve_gatt_application(application)).await?;
    if !within("the adapter's state", adapter.is_powered()).await? {
        return Err(off());
    }
    let address = within("the adapter's address", adapter.address()).await?;
    let name = adapter.name().to_owned();
    let _ = reports.send(Report::There { name, address }).await;

    let (registered, mut answers) = mpsc::channel(1);
    let mut advertisement = None;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return Ok(()),
                Some(Order::Register(beacon)) => {
                    let (adapter, registered) = (adapter.clone(), registered.clone());
                    tokio::spawn(async move {
                        let _ = registered.send(register(&adapter, &beacon).await).await;
                    });
                }
                // BlueZ is told of the end before it is told of the next one: both calls leave in order.
                Some(Order::Unregister) => advertisement = None,
                Some(Order::Later(time, input)) => {
                    let reports = reports.clone();
                    tokio::spawn(async move {
                        sleep(time).await;
                        let _ = reports.send(Report::Due(input)).await;
                    });
                }
                Some(Order::Notify { peer, frame }) => peers.notify(peer, frame),
                Some(Order::HangUp { peer }) => peers.hang_up(peer),
            },
            Some(answer) = answers.recv() => {
                let is_registered = match answer {
                    Ok(handle) => {
                        advertisement = Some(handle);
                        true
                    }
                    Err(why @ HubRadioError::Silent { .. }) => return Err(why),
                    Err(error) => {
                        tracing::warn!(%error, "not advertising");
                        false
                    }
                };
                let _ = reports.send(Report::Registered(is_registered)).await;
            }
            change = changes.next() => match change {
                None => return Err(HubRadioError::NoAdapter),
                Some(AdapterEvent::PropertyChanged(AdapterProperty::Powered(false))) => return Err(off()),
                Some(_) => {}
            },
            () = peers.next() => {}
        }
        // It is the handle that keeps it in the air.
        let _ = &advertisement;
    }
}

async fn register(adapter: &Adapter, beacon: &Bytes) -> Result<AdvertisementHandle, HubRadioError> {
    let advertisement = Advertisement {
        manufacturer_data: [(BEACON_COMPANY, beacon.to_vec())].into(),
        discoverable: Some(true),
        min_interval: Some(ADVERTISING_INTERVAL_MIN),
        max_interval: Some(ADVERTISING_INTERVAL_MAX),
        ..Advertisement::default()
    };
    within("an advertisement", adapter.advertise(advertisement)).await
}
