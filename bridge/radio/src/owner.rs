//! The group owner: brings up a group at wpa_supplicant, listens in it, and takes it down.
//!
//! Place: orders of [`crate::hub`] -> [`run`] -> reports. One order at a time; the next one ends what is under way.
//! Invariant: whatever ends a group, nothing of it is left; a group of ours that a crash left goes before the next one
//! comes. Only stations of this group can connect: the listener is bound to its interface's link-local address.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_net::ACCEPTED_MAX;
use berth_radio::GroupCredentials;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use zbus::{Connection, OwnedObjectPath};

use crate::bring_up::{Up, bring_up, main_netdev};
use crate::error::HubRadioError;
use crate::given::take_back;
use crate::group::Number;
use crate::supplicant::{SERVICE, netdevs, signals, supplicant};

/// Longest time from an order to a group that listens, or to its failure: less than a laptop waits.
const START_WAIT: Duration = Duration::from_secs(15);

/// Longest time that a group may take to end, and how often to look.
const DOWN_WAIT: Duration = Duration::from_secs(5);
const DOWN_LOOK: Duration = Duration::from_millis(50);

/// How long accepting rests when the system has no room for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// Longest time that the interface may take to be another one.
const RENEW_WAIT: Duration = Duration::from_secs(10);

/// In the name of every group of ours, behind the part that the standard wants: what a crash left is known by it. It
/// says what the beacon says, that there is a Berth hub.
pub(crate) const MARK: &str = "-berth-";

#[derive(Debug)]
pub(crate) enum Order {
    BringUp(Number),
    TakeDown(Number),
}

#[derive(Debug)]
pub(crate) enum Report {
    Up {
        number: Number,
        credentials: GroupCredentials,
    },
    Ended(Number),
    Down(Number),
    /// A station has connected; the ticket counts it.
    Accepted {
        number: Number,
        socket: TcpStream,
        ticket: Arc<()>,
    },
}

/// Until there are no more orders; then nothing of a group is left. What a crash left is cleared before.
/// `folder` is ours alone.
pub(crate) async fn run(
    bus: Connection,
    folder: PathBuf,
    mut orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Report>,
) {
    let mut before = Vec::new();
    // To look takes time, in which a laptop waits.
    let mut is_clear = true;
    let mut next = orders.recv().await;
    while let Some(order) = next.take() {
        if !std::mem::replace(&mut is_clear, true) {
            clear(&bus, &before).await;
        }
        let number = match order {
            Order::TakeDown(number) => {
                let _ = reports.send(Report::Down(number)).await;
                renew(&bus, &folder).await;
                next = orders.recv().await;
                continue;
            }
            Order::BringUp(number) => number,
        };
        is_clear = false;
        let up = tokio::select! {
            order = orders.recv() => { next = order; continue }
            up = timeout(START_WAIT, bring_up(&bus, &folder, &mut before)) => {
                up.unwrap_or(Err(HubRadioError::Silent { service: crate::error::SUPPLICANT }))
            }
        };
        match up {
            Ok((up, credentials)) => {
                info!(
                    interface = up.interface,
                    frequency_mhz = credentials.frequency_mhz,
                    "group is up"
                );
                let _ = reports.send(Report::Up { number, credentials }).await;
                tokio::select! {
                    order = orders.recv() => { next = order; continue }
                    () = accept(&up.listener, number, &reports) => {}
                    () = ended(&bus, &up) => {}
                }
                info!(interface = up.interface, "group has ended by itself");
            }
            Err(error) => warn!(%error, advice = error.advice(), "no group"),
        }
        clear(&bus, &before).await;
        is_clear = true;
        let _ = reports.send(Report::Ended(number)).await;
        renew(&bus, &folder).await;
        next = orders.recv().await;
    }
    clear(&bus, &before).await;
    let _ = timeout(DOWN_WAIT, take_back(&bus, &folder)).await;
}

/// Where the interface is ours, the next group's is another one to a neighbour. A laptop does not wait for that.
async fn renew(bus: &Connection, folder: &Path) {
    let renewed = timeout(RENEW_WAIT, async {
        take_back(bus, folder).await;
        main_netdev(bus, folder).await
    });
    if let Ok(Err(error)) = renewed.await {
        debug!(%error, "no interface for the next group");
    }
}

/// Ends every group of ours, whether it is up or on its way: one that has our mark, or whose interface was not there
/// `before` it was asked for.
pub(crate) async fn clear(bus: &Connection, before: &[OwnedObjectPath]) {
    let mut is_asked = false;
    let cleared = timeout(DOWN_WAIT, async {
        while remains(bus, before, !is_asked, false).await {
            is_asked = true;
            sleep(DOWN_LOOK).await;
        }
    });
    if cleared.await.is_err() {
        warn!("wpa_supplicant does not end a group; removing its interface");
        let _ = timeout(DOWN_WAIT, remains(bus, before, false, true)).await;
    }
}

/// Is there any? `disconnect`: asks for its end. `remove`: takes its interface away.
async fn remains(bus: &Connection, before: &[OwnedObjectPath], disconnect: bool, remove: bool) -> bool {
    // Without wpa_supplicant there are no groups: the kernel ends them with it.
    let Ok(netdevs) = netdevs(bus).await else {
        return false;
    };
    let mut remains = false;
    for netdev in netdevs {
        let is_new = !before.is_empty() && netdev.name.starts_with("p2p-") && !before.contains(&netdev.path);
        let ssid = netdev.owned_ssid().await.ok().flatten();
        if !is_new && !ssid.is_some_and(|ssid| is_ours(&ssid)) {
            continue;
        }
        remains = true;
        if disconnect && let Ok(p2p) = netdev.p2p().await {
            let _ = p2p.disconnect().await;
        }
        if remove
            && netdev.name.starts_with("p2p-")
            && let Ok(supplicant) = supplicant(bus).await
        {
            let _ = supplicant.remove_interface(&netdev.path).await;
        }
    }
    remains
}

/// `DIRECT-xy`, then the mark.
fn is_ours(ssid: &[u8]) -> bool {
    ssid.get(9..)
        .is_some_and(|rest| rest.starts_with(MARK.as_bytes()))
}

/// Takes stations' connections, [`ACCEPTED_MAX`] at once, until it is dropped.
async fn accept(listener: &TcpListener, number: Number, reports: &mpsc::Sender<Report>) {
    let tickets = Arc::new(());
    loop {
        match listener.accept().await {
            Ok((socket, _)) if Arc::strong_count(&tickets) <= ACCEPTED_MAX => {
                let ticket = Arc::clone(&tickets);
                if let Ok(socket) = blocking(socket) {
                    let _ = reports
                        .send(Report::Accepted {
                            number,
                            socket,
                            ticket,
                        })
                        .await;
                }
            }
            Ok(_) => {}
            Err(_) => sleep(ACCEPT_REST).await,
        }
    }
}

fn blocking(socket: tokio::net::TcpStream) -> io::Result<TcpStream> {
    let socket = socket.into_std()?;
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Waits until the group has ended by itself, or wpa_supplicant has.
async fn ended(bus: &Connection, up: &Up) {
    let owner = async {
        let bus = zbus::fdo::DBusProxy::new(bus).await?;
        bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await
    };
    let (Ok(mut finished), Ok(mut owner)) = (signals(bus, "GroupFinished").await, owner.await) else {
        return;
    };
    // What happened before these streams were there.
    while is_up(bus, up).await {
        tokio::select! {
            message = finished.next() => if message.is_none() { return },
            _ = owner.next() => return,
        }
    }
}

async fn is_up(bus: &Connection, up: &Up) -> bool {
    let netdevs = netdevs(bus).await.unwrap_or_default();
    let Some(netdev) = netdevs.into_iter().find(|netdev| netdev.path == up.path) else {
        return false;
    };
    matches!(netdev.owned_ssid().await, Ok(Some(ssid)) if ssid == up.ssid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_ours_is_known_by_its_name() {
        assert!(is_ours(b"DIRECT-xy-berth-abcdefgh"));
        for other in [&b"DIRECT-xy-TV"[..], b"DIRECT-xy", b"-berth-", b""] {
            assert!(!is_ours(other));
        }
    }
}
