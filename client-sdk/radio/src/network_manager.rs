//! Into a group as a station, through NetworkManager's D-Bus interface.
//!
//! The profile is in memory only and never a default route. It is active no longer than our bus connection is there, and
//! is removed when the laptop is back where it was: its name says where that is, so that a crash can be undone too.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_radio::GroupCredentials;
use tokio::time::{sleep, timeout};
use tracing::debug;
use zbus::{Connection, ObjectPath, OwnedObjectPath, OwnedVariant, Variant};

use crate::bus::{failure, object, service};
use crate::way::Failure;

/// The first word of every profile's name of ours; the second one is the profile to go back to.
const MARK: &str = "berth-visit";

/// Longest time to be let in, and how often to look.
const JOIN_WAIT: Duration = Duration::from_secs(17);
const JOIN_LOOK: Duration = Duration::from_millis(100);

/// NetworkManager's numbers for the states of what is active (`NMActiveConnectionState`).
const ACTIVATED: u32 = 2;
const DEACTIVATING: u32 = 3;

/// It has no object, or may choose.
const NONE: ObjectPath<'static> = ObjectPath::from_static_str_unchecked("/");

type Settings<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Variant<'a>>>;

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager",
    default_service = "org.freedesktop.NetworkManager",
    default_path = "/org/freedesktop/NetworkManager"
)]
trait NetworkManager {
    fn activate_connection(
        &self,
        profile: &OwnedObjectPath,
        device: &OwnedObjectPath,
        object: &ObjectPath<'_>,
    ) -> zbus::Result<OwnedObjectPath>;
    #[zbus(name = "AddAndActivateConnection2")]
    fn add_and_activate(
        &self,
        profile: Settings<'_>,
        device: &OwnedObjectPath,
        object: &ObjectPath<'_>,
        options: BTreeMap<&str, Variant<'_>>,
    ) -> zbus::Result<(OwnedObjectPath, OwnedObjectPath, BTreeMap<String, OwnedVariant>)>;
    fn deactivate_connection(&self, active: &OwnedObjectPath) -> zbus::Result<()>;
    fn get_device_by_ip_iface(&self, interface: &str) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.Device",
    default_service = "org.freedesktop.NetworkManager"
)]
trait Device {
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_connection(&self) -> zbus::Result<OwnedObjectPath>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn managed(&self) -> zbus::Result<bool>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.Connection.Active",
    default_service = "org.freedesktop.NetworkManager"
)]
trait Active {
    #[zbus(property(emits_changed_signal = "false"))]
    fn connection(&self) -> zbus::Result<OwnedObjectPath>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<u32>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn uuid(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.Settings",
    default_service = "org.freedesktop.NetworkManager",
    default_path = "/org/freedesktop/NetworkManager/Settings"
)]
trait Profiles {
    fn get_connection_by_uuid(&self, uuid: &str) -> zbus::Result<OwnedObjectPath>;
    fn list_connections(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.Settings.Connection",
    default_service = "org.freedesktop.NetworkManager"
)]
trait Profile {
    fn delete(&self) -> zbus::Result<()>;
    fn get_settings(&self) -> zbus::Result<BTreeMap<String, BTreeMap<String, OwnedVariant>>>;
}

/// Is this interface NetworkManager's? Then only NetworkManager can lend it: it ends every Wi-Fi Direct group on it that
/// it has not asked for, as soon as that is up (`RemoveInterface`; 1.42, and other versions read the same).
pub(crate) async fn has(bus: &Connection, interface: &str) -> bool {
    let is_managed = async {
        let manager = service::<NetworkManagerProxy>(bus).await?;
        let device = manager.get_device_by_ip_iface(interface).await?;
        object::<DeviceProxy>(bus, device).await?.managed().await
    };
    // Where it can't be asked it has nothing.
    is_managed.await.unwrap_or(false)
}

/// Joins on this interface.
pub(crate) async fn join(
    bus: &Connection,
    interface: &str,
    credentials: &GroupCredentials,
) -> Result<(), Failure> {
    let failed = |error: zbus::Error| {
        debug!(%error, "NetworkManager");
        failure(&error)
    };
    let manager = service::<NetworkManagerProxy>(bus).await.map_err(failed)?;
    let device = manager.get_device_by_ip_iface(interface).await.map_err(failed)?;
    let proxy = object::<DeviceProxy>(bus, device.clone()).await.map_err(failed)?;
    if !proxy.managed().await.map_err(failed)? {
        return Err(Failure::Unable);
    }
    let mut name = MARK.to_owned();
    let previous = proxy.active_connection().await.map_err(failed)?;
    if previous.as_str() != "/" {
        let previous = object::<ActiveProxy>(bus, previous).await.map_err(failed)?;
        name = format!("{MARK} {}", previous.uuid().await.map_err(failed)?);
    }
    let options = BTreeMap::from([
        ("persist", Variant::from("memory")),
        ("bind-activation", Variant::from("dbus-client")),
    ]);
    let (_, active, _) = manager
        .add_and_activate(profile(&name, credentials), &device, &NONE, options)
        .await
        .map_err(failed)?;
    let active = object::<ActiveProxy>(bus, active).await.map_err(failed)?;
    let joined = timeout(JOIN_WAIT, async {
        loop {
            // What has failed is there no more.
            match active.state().await {
                Ok(ACTIVATED) => return Ok(()),
                Ok(DEACTIVATING..) | Err(_) => return Err(Failure::Refused),
                Ok(_) => sleep(JOIN_LOOK).await,
            }
        }
    });
    joined.await.map_err(|_| Failure::Refused)?
}

fn profile<'a>(name: &'a str, credentials: &'a GroupCredentials) -> Settings<'a> {
    let section = BTreeMap::from;
    BTreeMap::from([
        (
            "connection",
            section([
                ("id", Variant::from(name)),
                ("type", Variant::from("802-11-wireless")),
                ("autoconnect", Variant::from(false)),
            ]),
        ),
        (
            "802-11-wireless",
            BTreeMap::from([
                ("ssid", Variant::from(credentials.ssid.as_bytes())),
                ("mode", Variant::from("infrastructure")),
                // The group's neighbours see it; the network to go back to has the adapter's own again, or whatever
                // its profile says.
                ("assigned-mac-address", Variant::from("random")),
                ("hidden", Variant::from(true)),
            ]),
        ),
        (
            "802-11-wireless-security",
            BTreeMap::from([
                ("key-mgmt", Variant::from("wpa-psk")),
                ("psk", Variant::from(credentials.passphrase.as_str())),
            ]),
        ),
        (
            "ipv4",
            BTreeMap::from([
                ("method", Variant::from("disabled")),
                ("never-default", Variant::from(true)),
            ]),
        ),
        (
            "ipv6",
            BTreeMap::from([
                ("method", Variant::from("link-local")),
                ("never-default", Variant::from(true)),
            ]),
        ),
    ])
}

/// Removes every profile of ours, and goes back to what was there before, unless the interface is on another network by
/// now.
pub(crate) async fn clear(bus: &Connection, interface: Option<&str>) {
    if let Err(error) = try_clear(bus, interface).await {
        debug!(%error, "NetworkManager");
    }
}

async fn try_clear(bus: &Connection, interface: Option<&str>) -> zbus::Result<()> {
    let profiles = service::<ProfilesProxy>(bus).await?;
    for path in profiles.list_connections().await? {
        let profile = object::<ProfileProxy>(bus, path.clone()).await?;
        // One that goes meanwhile, or is another user's, has no name.
        let settings = profile.get_settings().await.unwrap_or_default();
        let id = settings.get("connection").and_then(|section| section.get("id"));
        let name: Option<String> = id.and_then(|id| id.try_clone().ok()?.try_into().ok());
        let Some(previous) = name.as_deref().and_then(previous_of) else {
            continue;
        };
        if let (Some(uuid), Some(interface)) = (previous, interface)
            && let Err(error) = go_back(bus, interface, &path, uuid).await
        {
            debug!(%error, "not back to the network of before");
        }
        profile.delete().await?;
    }
    Ok(())
}

/// From our profile to the one of before.
async fn go_back(
    bus: &Connection,
    interface: &str,
    ours: &OwnedObjectPath,
    previous: &str,
) -> zbus::Result<()> {
    let manager = service::<NetworkManagerProxy>(bus).await?;
    let device = manager.get_device_by_ip_iface(interface).await?;
    let active = object::<DeviceProxy>(bus, device.clone())
        .await?
        .active_connection()
        .await?;
    if active.as_str() != "/" {
        if object::<ActiveProxy>(bus, active.clone())
            .await?
            .connection()
            .await?
            != *ours
        {
            return Ok(());
        }
        // It may be about to end by itself.
        let _ = manager.deactivate_connection(&active).await;
    }
    let profiles = service::<ProfilesProxy>(bus).await?;
    let previous = profiles.get_connection_by_uuid(previous).await?;
    manager.activate_connection(&previous, &device, &NONE).await?;
    Ok(())
}

/// The profile to go back to, if this name is of one of ours.
fn previous_of(name: &str) -> Option<Option<&str>> {
    let mut words = name.split(' ');
    (words.next() == Some(MARK)).then(|| words.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_ours_is_known_by_its_name_and_says_where_to_go_back_to() {
        assert_eq!(previous_of("berth-visit 1234-5678"), Some(Some("1234-5678")));
        assert_eq!(previous_of("berth-visit"), Some(None));
        for other in ["berth-visitors", "Home", ""] {
            assert_eq!(previous_of(other), None, "{other}");
        }
    }
}
