//! Whether NetworkManager leaves an interface to us.

use zbus::{Connection, OwnedObjectPath};

use crate::supplicant::object;

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager",
    default_service = "org.freedesktop.NetworkManager",
    default_path = "/org/freedesktop/NetworkManager"
)]
trait NetworkManager {
    fn get_device_by_ip_iface(&self, interface: &str) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.Device",
    default_service = "org.freedesktop.NetworkManager"
)]
trait Device {
    #[zbus(property(emits_changed_signal = "false"))]
    fn managed(&self) -> zbus::Result<bool>;
}

/// Is this interface NetworkManager's? Then it ends every group on it that it has not asked for, as soon as that is up
/// (`RemoveInterface`; 1.42, and other versions read the same).
pub(crate) async fn has(bus: &Connection, interface: &str) -> bool {
    let is_managed = async {
        let manager = NetworkManagerProxy::new(bus).await?;
        let device = manager.get_device_by_ip_iface(interface).await?;
        object::<DeviceProxy<'_>>(bus, device).await?.managed().await
    };
    // Where it can't be asked it has nothing.
    is_managed.await.unwrap_or(false)
}
