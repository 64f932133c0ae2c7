//! Gets into a group and out of it, one way after the other.
//!
//! Place: orders of [`crate::laptop`] -> [`run`] -> reports. One order at a time; the next one ends what is under way.
//! Invariant: whatever ends a membership, nothing of it is left: leaving and cleaning up after a crash are the same.

use std::net::SocketAddrV6;
use std::time::Duration;

use berth_radio::{GroupCredentials, Joined};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};
use zbus::{Connection, OwnedObjectPath};

use crate::membership::Number;
use crate::way::{self, Failure, Way};
use crate::{dial, direct, kernel, network_manager, station};

/// Longest time that a joined interface has neither carrier nor address.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);
const ADDRESS_LOOK: Duration = Duration::from_millis(50);

/// Longest time to undo one way.
const CLEAR_WAIT: Duration = Duration::from_secs(15);

/// How often a member looks whether it still is one: all ways and all ends of them look the same to the kernel.
const MEMBER_LOOK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) enum Order {
    Enter {
        number: Number,
        credentials: GroupCredentials,
    },
    Exit(Number),
}

#[derive(Debug)]
pub(crate) enum Report {
    Up {
        number: Number,
        joined: Joined,
        owner: SocketAddrV6,
    },
    Ended(Number),
    Down(Number),
}

/// What may be left to undo.
#[derive(Debug)]
struct Undo {
    /// Interfaces that were there before a group was asked for; none: no group was.
    before: Vec<OwnedObjectPath>,
    ways: Vec<Way>,
}

/// Where a group is that is joined.
struct Place {
    interface: String,
    owner: SocketAddrV6,
}

/// Until there are no more orders; then nothing of a membership is left.
pub(crate) async fn run(bus: Connection, mut orders: mpsc::Receiver<Order>, reports: mpsc::Sender<Report>) {
    let mut undo = Undo {
        before: Vec::new(),
        ways: vec![Way::WifiDirect, Way::NetworkManager, Way::Supplicant],
    };
    undo.clear(&bus).await;
    let mut next = orders.recv().await;
    while let Some(order) = next.take() {
        undo.clear(&bus).await;
        let (number, credentials) = match order {
            Order::Exit(number) => {
                let _ = reports.send(Report::Down(number)).await;
                next = orders.recv().await;
                continue;
            }
            Order::Enter { number, credentials } => (number, credentials),
        };
        let joined = tokio::select! {
            order = orders.recv() => { next = order; continue }
            joined = enter(&bus, &credentials, &mut undo) => joined,
        };
        if let Some((joined, Place { interface, owner })) = joined {
            let up = Report::Up {
                number,
                joined,
                owner,
            };
            let _ = reports.send(up).await;
            tokio::select! {
                order = orders.recv() => { next = order; continue }
                () = ended(&interface) => info!(interface, "the group has ended by itself"),
            }
        }
        undo.clear(&bus).await;
        let _ = reports.send(Report::Ended(number)).await;
        next = orders.recv().await;
    }
    undo.clear(&bus).await;
}

async fn enter(bus: &Connection, credentials: &GroupCredentials, undo: &mut Undo) -> Option<(Joined, Place)> {
    if !is_sound(credentials) {
        warn!("a group's credentials are not as they must be");
        return None;
    }
    let mut failed = Vec::new();
    let mut next = Some(way::FIRST);
    while let Some(way) = next {
        let began = Instant::now();
        undo.ways.push(way);
        let tried = timeout(way::wait(way), take(way, bus, credentials, undo)).await;
        let seconds = began.elapsed().as_secs_f32();
        match tried.unwrap_or(Err(Failure::Silent)) {
            Ok(place) => {
                info!(?way, seconds, place.interface, "joined the group");
                return Some((Joined { way, failed }, place));
            }
            Err(failure) => {
                info!(?way, seconds, ?failure, "not into the group this way");
                undo.clear(bus).await;
                failed.push((way, failure));
                next = way::after(way, failure);
            }
        }
    }
    None
}

async fn take(
    way: Way,
    bus: &Connection,
    credentials: &GroupCredentials,
    undo: &mut Undo,
) -> Result<Place, Failure> {
    let mut interface = kernel::wifi_interface().ok_or(Failure::Missing)?;
    match way {
        Way::WifiDirect => {
            if network_manager::has(bus, &interface).await {
                return Err(Failure::Unable);
            }
            interface = direct::join(bus, &interface, credentials, &mut undo.before).await?;
        }
        Way::NetworkManager => network_manager::join(bus, &interface, credentials).await?,
        Way::Supplicant => station::join(bus, &interface, credentials).await?,
    }
    let settled = timeout(ADDRESS_WAIT, async {
        while !(kernel::is_up(&interface) && kernel::has_link_local(&interface)) {
            sleep(ADDRESS_LOOK).await;
        }
    });
    settled.await.map_err(|_| Failure::Unable)?;
    let index = kernel::index(&interface).map_err(|_| Failure::Refused)?;
    let owner = dial::owner(&credentials.endpoint, index).ok_or(Failure::Unable)?;
    Ok(Place { interface, owner })
}

/// Until the interface is down, or away, at two looks: a rekey is no end.
async fn ended(interface: &str) {
    let mut is_down_before = false;
    loop {
        sleep(MEMBER_LOOK).await;
        let is_down = !kernel::is_up(interface);
        if is_down && is_down_before {
            return;
        }
        is_down_before = is_down;
    }
}

impl Undo {
    /// Undoes every way that may have left something, whichever it is that has joined.
    async fn clear(&mut self, bus: &Connection) {
        for way in &self.ways {
            let cleared = timeout(CLEAR_WAIT, async {
                match way {
                    Way::WifiDirect => direct::clear(bus, &self.before).await,
                    Way::NetworkManager => {
                        network_manager::clear(bus, kernel::wifi_interface().as_deref()).await;
                    }
                    Way::Supplicant => station::clear(bus).await,
                }
            });
            if cleared.await.is_err() {
                warn!(?way, "could not be undone in time");
            }
            debug!(?way, "undone");
        }
        self.ways.clear();
        self.before.clear();
    }
}

/// As the contract says: what a group's credentials are, whoever has sent them.
fn is_sound(credentials: &GroupCredentials) -> bool {
    let GroupCredentials {
        ssid,
        passphrase,
        frequency_mhz,
        endpoint,
        device,
    } = credentials;
    (1..=32).contains(&ssid.len())
        && (8..=63).contains(&passphrase.len())
        && (ssid.bytes().chain(passphrase.bytes())).all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && (2_400..=7_200).contains(frequency_mhz)
        && dial::owner(endpoint, 1).is_some()
        && device.0 < 1 << 48
}

#[cfg(test)]
mod tests {
    use berth_radio::Address;

    use super::*;

    #[test]
    fn nothing_but_sound_credentials_gets_to_a_service() {
        let sound = GroupCredentials {
            ssid: "DIRECT-xy".to_owned(),
            passphrase: "passphrase".to_owned(),
            frequency_mhz: 5180,
            endpoint: "[fe80::1]:7".to_owned(),
            device: Address(1),
        };
        assert!(is_sound(&sound));
        let with = |change: fn(&mut GroupCredentials)| {
            let mut changed = sound.clone();
            change(&mut changed);
            is_sound(&changed)
        };
        assert!(!with(|it| it.ssid.clear()));
        assert!(!with(|it| it.ssid = "x".repeat(33)));
        assert!(!with(|it| it.ssid = "a\nb".to_owned()));
        assert!(!with(|it| it.passphrase = "short".to_owned()));
        assert!(!with(|it| it.passphrase = "a\"b\nc=d\n".to_owned()));
        assert!(!with(|it| it.frequency_mhz = 0));
        assert!(!with(|it| it.endpoint = "[2001:db8::1]:7".to_owned()));
        assert!(!with(|it| it.device = Address(1 << 48)));
    }
}
