//! How a fresh group comes up: on which interface, on which channel, and with what a laptop needs to find it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddrV6;
use std::path::Path;
use std::time::Duration;

use berth_radio::GroupCredentials;
use futures_util::StreamExt;
use rand_core::{OsRng, RngCore};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tracing::debug;
use zbus::{Connection, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use crate::error::HubRadioError;
use crate::given::give;
use crate::kernel::{device_address, link_local};
use crate::network_manager;
use crate::owner::MARK;
use crate::supplicant::{GroupProxy, Netdev, netdevs, object, signals};

/// Longest time from a channel that was accepted to a group that is up on it.
const CHANNEL_WAIT: Duration = Duration::from_secs(6);

/// Connections that may wait to be accepted.
const WAITING_MAX: i32 = 16;

/// How often to look for the address that the kernel gives to the group's interface.
const ADDRESS_LOOK: Duration = Duration::from_millis(50);

/// wpa_supplicant makes 8 characters unless told otherwise: 47 bits, which a neighbour could find after the visit.
const PASSPHRASE_LENGTH: &str = "24";

/// As many random letters of a group's name make two of them equal once in a lifetime.
const NAME_LENGTH: usize = 8;

/// Stand for "any channel of this band" at wpa_supplicant, which takes one that the regulatory domain allows, or refuses.
const BANDS: [u16; 2] = [5, 2];

/// A group that is up.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) path: OwnedObjectPath,
    pub(crate) interface: String,
    pub(crate) ssid: Vec<u8>,
    pub(crate) listener: TcpListener,
}

fn refused(what: &'static str) -> impl Fn(zbus::Error) -> HubRadioError {
    move |error| HubRadioError::of_supplicant(what, error)
}

/// The interface that groups are made on: one that wpa_supplicant has, else it is given one. Those that NetworkManager
/// manages are none. `folder` is ours alone.
///
/// # Errors
/// What is missing.
pub(crate) async fn main_netdev(bus: &Connection, folder: &Path) -> Result<Netdev, HubRadioError> {
    match capable(bus).await {
        // wpa_supplicant may not have every interface yet.
        Err(HubRadioError::NoWifiDirect | HubRadioError::Managed { .. }) => {}
        found => return found,
    }
    let mut names: Vec<String> = fs::read_dir("/sys/class/net")
        .map_err(|source| HubRadioError::System {
            what: "network interfaces can't be listed",
            source,
        })?
        .flatten()
        .filter(|entry| entry.path().join("phy80211").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(HubRadioError::NoWifi);
    }
    for name in names {
        // NetworkManager chooses the addresses of what it manages.
        let folder = (!network_manager::has(bus, &name).await).then_some(folder);
        if let Err(error) = give(bus, folder, &name).await {
            debug!(name, %error, "wpa_supplicant does not take the interface");
        }
    }
    capable(bus).await
}

async fn capable(bus: &Connection) -> Result<Netdev, HubRadioError> {
    let mut netdevs = netdevs(bus).await?;
    netdevs.sort_by(|one, other| one.name.cmp(&other.name));
    let mut why = HubRadioError::NoWifiDirect;
    for netdev in netdevs {
        if netdev.name.starts_with("p2p-") || !netdev.is_p2p_capable().await.unwrap_or(false) {
            continue;
        }
        if network_manager::has(bus, &netdev.name).await {
            why = HubRadioError::Managed {
                interface: netdev.name,
            };
            continue;
        }
        let state = match netdev.interface().await {
            Ok(interface) => interface.state().await,
            Err(error) => Err(error),
        };
        if state.is_ok_and(|state| state == "interface_disabled") {
            return Err(HubRadioError::WifiOff {
                interface: netdev.name,
            });
        }
        return Ok(netdev);
    }
    Err(why)
}

/// A fresh group that listens. `before` becomes the interfaces that were there before: any other one is the group's.
///
/// # Errors
/// Why there is none; something of it may be left.
pub(crate) async fn bring_up(
    bus: &Connection,
    folder: &Path,
    before: &mut Vec<OwnedObjectPath>,
) -> Result<(Up, GroupCredentials), HubRadioError> {
    let main = main_netdev(bus, folder).await?;
    *before = netdevs(bus)
        .await?
        .into_iter()
        .map(|netdev| netdev.path)
        .collect();
    let p2p = main.p2p().await.map_err(refused("a group"))?;
    let interface = main.interface().await.map_err(refused("a group"))?;
    let postfix = format!("{MARK}{}", random_letters());
    let config = BTreeMap::from([
        ("SsidPostfix", Variant::from(postfix.as_str())),
        ("NoGroupIface", Variant::from(false)),
    ]);
    p2p.set_config(config)
        .await
        .map_err(refused("the name of a group"))?;
    if let Err(error) = interface.set_passphrase_length(PASSPHRASE_LENGTH).await {
        debug!(%error, "wpa_supplicant chooses the length of the passphrase");
    }
    let mut started = signals(bus, "GroupStarted")
        .await
        .map_err(refused("its signals"))?;

    let station = main.station_frequency_mhz().await.ok().flatten();
    let mut refusal = HubRadioError::BadGroup("channel");
    for frequency in channels(station) {
        let arguments = BTreeMap::from([
            ("persistent", Variant::from(false)),
            ("frequency", Variant::from(i32::from(frequency))),
        ]);
        if let Err(error) = p2p.group_add(arguments).await {
            debug!(frequency, %error, "no group on this channel");
            refusal = refused("a group")(error);
            continue;
        }
        match timeout(CHANNEL_WAIT, next_group(bus, &mut started, &postfix)).await {
            Ok(Some((path, group, ssid))) => return listen(bus, &main, path, group, ssid).await,
            Ok(None) => return Err(HubRadioError::NoSupplicant),
            // An accepted group may still come: another one beside it would be too many.
            Err(_) => {
                return Err(HubRadioError::Silent {
                    service: crate::error::SUPPLICANT,
                });
            }
        }
    }
    Err(refusal)
}

/// What to try, the best first: the channel that the adapter is on already needs no second one; 5 GHz is faster and less
/// crowded.
fn channels(station_mhz: Option<u16>) -> impl Iterator<Item = u16> {
    station_mhz.into_iter().chain(BANDS)
}

/// The next group that starts under this name: its interface, itself and its whole name.
async fn next_group(
    bus: &Connection,
    started: &mut MessageStream,
    postfix: &str,
) -> Option<(OwnedObjectPath, OwnedObjectPath, Vec<u8>)> {
    while let Some(message) = started.next().await {
        let Ok(message) = message else { continue };
        let body = message.body();
        let Ok(mut group) = body.deserialize::<BTreeMap<String, OwnedVariant>>() else {
            continue;
        };
        let mut path = |name| OwnedObjectPath::try_from(group.remove(name)?).ok();
        let (Some(interface), Some(group)) = (path("interface_object"), path("group_object")) else {
            continue;
        };
        let Ok(proxy) = object::<GroupProxy<'_>>(bus, group.clone()).await else {
            continue;
        };
        match proxy.ssid().await {
            Ok(ssid) if ssid.ends_with(postfix.as_bytes()) => return Some((interface, group, ssid)),
            Ok(_) | Err(_) => {}
        }
    }
    None
}

async fn listen(
    bus: &Connection,
    main: &Netdev,
    path: OwnedObjectPath,
    group: OwnedObjectPath,
    ssid: Vec<u8>,
) -> Result<(Up, GroupCredentials), HubRadioError> {
    let what = "what the group is like";
    let group: GroupProxy<'_> = object(bus, group).await.map_err(refused(what))?;
    let netdev = Netdev::new(bus, path.clone()).await.map_err(refused(what))?;
    let of_system = |what| move |source| HubRadioError::System { what, source };
    let address = loop {
        let found = link_local(&netdev.name).map_err(of_system("addresses can't be listed"))?;
        match found {
            Some(address) => break address,
            None => sleep(ADDRESS_LOOK).await,
        }
    };
    let listener = listener(address).map_err(of_system("can't listen in the group"))?;
    let port = listener
        .local_addr()
        .map_err(of_system("can't listen in the group"))?
        .port();
    let device = device_address(&main.name)
        .await
        .map_err(of_system("the kernel does not tell the Wi-Fi Direct address"))?
        .ok_or(HubRadioError::BadGroup("device address"))?;
    let credentials = GroupCredentials {
        ssid: String::from_utf8(ssid.clone()).map_err(|_| HubRadioError::BadGroup("readable name"))?,
        passphrase: group.passphrase().await.map_err(refused(what))?,
        frequency_mhz: u32::from(group.frequency().await.map_err(refused(what))?),
        endpoint: format!("[{}]:{port}", address.ip()),
        device,
    };
    let interface = netdev.name;
    Ok((
        Up {
            path,
            interface,
            ssid,
            listener,
        },
        credentials,
    ))
}

/// Listens there as soon as the address can be used: while the kernel looks for a twin of it, the laptop joins.
fn listener(address: SocketAddrV6) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_freebind_v6(true)?;
    socket.bind(&address.into())?;
    socket.listen(WAITING_MAX)?;
    TcpListener::from_std(socket.into())
}

fn random_letters() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; NAME_LENGTH];
    OsRng.fill_bytes(&mut bytes);
    bytes
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)))
        .map(|letter| char::from(*letter))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_of_the_station_comes_first_and_5_ghz_before_2_4() {
        assert!(channels(Some(2437)).eq([2437, 5, 2]));
        assert!(channels(None).eq([5, 2]));
    }

    #[test]
    fn names_of_groups_are_fresh_and_fit() {
        let names = [random_letters(), random_letters()];
        assert_ne!(names[0], names[1]);
        // `DIRECT-xy` before it; a name has 32 bytes at the most.
        assert!(
            names
                .iter()
                .all(|name| 9 + MARK.len() + name.len() <= 32 && name.len() == NAME_LENGTH)
        );
    }
}
