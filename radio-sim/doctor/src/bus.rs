//! What BlueZ, wpa_supplicant and NetworkManager tell over D-Bus.
//!
//! A service is asked only if it is there: a call to an absent one could start it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;
use zbus::fdo::{self, DBusProxy, PropertiesProxy};
use zbus::{Connection, DynamicType, Message, OwnedObjectPath, OwnedVariant, connection};

use crate::seen::{Absent, Adapter, Controller, Interface, NetworkManager, WifiRadio};

/// Longest wait for an answer.
const CALL_WAIT: Duration = Duration::from_secs(3);

/// Longest wait for a bus.
const BUS_WAIT: Duration = Duration::from_secs(3);

/// Interfaces of wpa_supplicant that are looked at: a computer has few.
const INTERFACES_MAX: usize = 16;

const BLUEZ: &str = "org.bluez";
const SUPPLICANT: &str = "fi.w1.wpa_supplicant1";
const NETWORK_MANAGER: &str = "org.freedesktop.NetworkManager";

type Properties = BTreeMap<String, OwnedVariant>;

pub(crate) type Bus = Result<Connection, Absent>;

/// The system bus, or the one at `address`.
pub(crate) async fn connect(address: Option<&str>) -> Bus {
    let builder = match address {
        Some(address) => connection::Builder::address(address),
        None => connection::Builder::system(),
    };
    let connected = tokio::time::timeout(BUS_WAIT, builder.method_timeout(CALL_WAIT).build()).await;
    connected.ok().and_then(Result::ok).ok_or(Absent::NoBus)
}

/// BlueZ, and what it says of these adapters.
pub(crate) async fn bluetooth(bus: &Bus, names: Vec<String>) -> (Result<(), Absent>, Vec<Adapter>) {
    let mut bluez = running(bus, BLUEZ).await;
    let mut adapters = Vec::new();
    for name in names {
        let mut controller = None;
        if let Ok(bus) = &bluez {
            match adapter(bus, &format!("/org/bluez/{name}")).await {
                Ok(it) => controller = it,
                Err(absent) => bluez = Err(absent),
            }
        }
        adapters.push(Adapter { name, controller });
    }
    (bluez.map(drop), adapters)
}

/// `None`: BlueZ does not have it.
async fn adapter(bus: &Connection, path: &str) -> Result<Option<Controller>, Absent> {
    let properties = match properties(bus, BLUEZ, path, "org.bluez.Adapter1").await {
        Err(Absent::Odd(_)) => return Ok(None),
        properties => properties?,
    };
    // An adapter that can't advertise has no such interface.
    let advertising = properties_or_none(bus, path, "org.bluez.LEAdvertisingManager1").await;
    let count = |name| get::<u8>(advertising.as_ref()?, name);
    Ok(Some(Controller {
        is_powered: get(&properties, "Powered").unwrap_or(false),
        roles: get(&properties, "Roles").unwrap_or_default(),
        advertisements_free: count("SupportedInstances"),
        advertisements: count("ActiveInstances"),
    }))
}

async fn properties_or_none(bus: &Connection, path: &str, interface: &str) -> Option<Properties> {
    properties(bus, BLUEZ, path, interface).await.ok()
}

/// The interfaces that wpa_supplicant has.
pub(crate) async fn supplicant(bus: &Bus) -> Result<Vec<Interface>, Absent> {
    let bus = running(bus, SUPPLICANT).await?;
    let all = properties(&bus, SUPPLICANT, "/fi/w1/wpa_supplicant1", SUPPLICANT).await?;
    let paths: Vec<OwnedObjectPath> = get(&all, "Interfaces").unwrap_or_default();
    let mut interfaces = Vec::new();
    for path in paths.iter().take(INTERFACES_MAX) {
        let it = properties(&bus, SUPPLICANT, path.as_str(), "fi.w1.wpa_supplicant1.Interface").await;
        // One that is gone meanwhile.
        let Ok(it) = it else { continue };
        let capabilities: Properties = get(&it, "Capabilities").unwrap_or_default();
        let modes: Vec<String> = get(&capabilities, "Modes").unwrap_or_default();
        interfaces.push(Interface {
            name: get(&it, "Ifname").unwrap_or_default(),
            has_p2p: modes.iter().any(|mode| mode == "p2p"),
        });
    }
    Ok(interfaces)
}

/// NetworkManager, and which of these radios' interfaces it manages.
pub(crate) async fn network_manager(bus: &Bus, radios: &[WifiRadio]) -> Result<NetworkManager, Absent> {
    let bus = running(bus, NETWORK_MANAGER).await?;
    let permissions = ask(&bus, "GetPermissions", &()).await?;
    let permissions: BTreeMap<String, String> = permissions.body().deserialize().map_err(absent)?;
    let control = permissions.get(&format!("{NETWORK_MANAGER}.network-control"));
    let mut managed = Vec::new();
    for name in radios.iter().flat_map(|radio| &radio.interfaces) {
        match is_managed(&bus, name).await {
            Ok(true) => managed.push(name.clone()),
            Ok(false) | Err(Absent::Odd(_)) => {}
            Err(absent) => return Err(absent),
        }
    }
    Ok(NetworkManager {
        may_join: control.is_some_and(|answer| answer == "yes"),
        managed,
    })
}

/// Odd: it does not have the interface.
async fn is_managed(bus: &Connection, interface: &str) -> Result<bool, Absent> {
    let device = ask(bus, "GetDeviceByIpIface", &interface).await?;
    let device: OwnedObjectPath = device.body().deserialize().map_err(absent)?;
    let kind = format!("{NETWORK_MANAGER}.Device");
    let device = properties(bus, NETWORK_MANAGER, device.as_str(), &kind).await?;
    Ok(get(&device, "Managed").unwrap_or(false))
}

/// What NetworkManager itself answers.
async fn ask(
    bus: &Connection,
    method: &str,
    arguments: &(impl Serialize + DynamicType),
) -> Result<Message, Absent> {
    let path = "/org/freedesktop/NetworkManager";
    let call = bus.call_method(
        Some(NETWORK_MANAGER),
        path,
        Some(NETWORK_MANAGER),
        method,
        arguments,
    );
    call.await.map_err(absent)
}

/// The bus, if this service is there.
async fn running(bus: &Bus, service: &str) -> Result<Connection, Absent> {
    let bus = bus.clone()?;
    let names = DBusProxy::new(&bus).await.map_err(absent)?;
    let name = service.try_into().map_err(absent)?;
    match names.name_has_owner(name).await {
        Ok(true) => Ok(bus),
        Ok(false) => Err(Absent::NotRunning),
        Err(error) => Err(absent(error)),
    }
}

async fn properties(
    bus: &Connection,
    service: &str,
    path: &str,
    interface: &str,
) -> Result<Properties, Absent> {
    let proxy = PropertiesProxy::builder(bus)
        .destination(service.to_owned())
        .path(path.to_owned())
        .build()
        .await
        .map_err(absent)?;
    let interface = interface.try_into().map_err(absent)?;
    let properties = proxy.get_all(interface).await.map_err(absent)?;
    Ok(properties.into_iter().collect())
}

fn get<T: TryFrom<OwnedVariant>>(properties: &Properties, name: &str) -> Option<T> {
    properties.get(name)?.try_clone().ok()?.try_into().ok()
}

fn absent(error: impl Into<zbus::Error>) -> Absent {
    match error.into() {
        zbus::Error::FDO(error) => match *error {
            fdo::Error::AccessDenied(_) | fdo::Error::AuthFailed(_) => Absent::Denied,
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Absent::NotRunning,
            fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) => Absent::Silent,
            other => Absent::Odd(other.to_string()),
        },
        zbus::Error::InputOutput(error) if error.kind() == io::ErrorKind::TimedOut => Absent::Silent,
        other => Absent::Odd(other.to_string()),
    }
}
