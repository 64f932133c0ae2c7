//! wpa_supplicant's D-Bus interface, as far as a client of a group needs it.
//!
//! Place: [`crate::direct`] and [`crate::station`] say what to do, this says how it is called. Specification:
//! `dbus.doxygen` of wpa_supplicant. Every call ends within the deadline of its connection.

use std::collections::BTreeMap;

use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant};

use crate::bus::{object, service};

pub(crate) const SERVICE: &str = "fi.w1.wpa_supplicant1";

/// Signals of groups are sent from this interface of every network interface's object.
pub(crate) const P2P: &str = "fi.w1.wpa_supplicant1.Interface.P2PDevice";

/// In the field for scripts (`id_str`) of every network of ours: what a crash left is known by it.
pub(crate) const MARK: &str = "berth-visit";

pub(crate) type Dict<'a> = BTreeMap<&'a str, Variant<'a>>;
pub(crate) type OwnedDict = BTreeMap<String, OwnedVariant>;

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1",
    default_service = "fi.w1.wpa_supplicant1",
    default_path = "/fi/w1/wpa_supplicant1"
)]
pub(crate) trait Supplicant {
    fn create_interface(&self, arguments: Dict<'_>) -> zbus::Result<OwnedObjectPath>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn interfaces(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.Interface",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait Interface {
    fn add_network(&self, arguments: Dict<'_>) -> zbus::Result<OwnedObjectPath>;
    fn remove_network(&self, network: &OwnedObjectPath) -> zbus::Result<()>;
    fn select_network(&self, network: &OwnedObjectPath) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn capabilities(&self) -> zbus::Result<OwnedDict>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn current_network(&self) -> zbus::Result<OwnedObjectPath>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn ifname(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn networks(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.Network",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait Network {
    #[zbus(property(emits_changed_signal = "false"))]
    fn enabled(&self) -> zbus::Result<bool>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn set_enabled(&self, is_enabled: bool) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn properties(&self) -> zbus::Result<OwnedDict>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.PersistentGroup",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait PersistentGroup {
    #[zbus(property(emits_changed_signal = "false"))]
    fn properties(&self) -> zbus::Result<OwnedDict>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.Interface.P2PDevice",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait P2p {
    fn add_persistent_group(&self, arguments: Dict<'_>) -> zbus::Result<OwnedObjectPath>;
    fn disconnect(&self) -> zbus::Result<()>;
    fn find(&self, arguments: Dict<'_>) -> zbus::Result<()>;
    fn flush(&self) -> zbus::Result<()>;
    fn group_add(&self, arguments: Dict<'_>) -> zbus::Result<()>;
    fn remove_persistent_group(&self, group: &OwnedObjectPath) -> zbus::Result<()>;
    fn stop_find(&self) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn group(&self) -> zbus::Result<OwnedObjectPath>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn persistent_groups(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn role(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.Group",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait Group {
    #[zbus(property(emits_changed_signal = "false"), name = "SSID")]
    fn ssid(&self) -> zbus::Result<Vec<u8>>;
}

/// A network interface that wpa_supplicant has.
pub(crate) struct Netdev {
    pub(crate) path: OwnedObjectPath,
    pub(crate) name: String,
    bus: Connection,
}

impl Netdev {
    pub(crate) async fn new(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<Self> {
        let name = object::<InterfaceProxy>(bus, path.clone())
            .await?
            .ifname()
            .await?;
        let bus = bus.clone();
        Ok(Self { path, name, bus })
    }

    /// The interface of this name; one that wpa_supplicant does not have yet is given to it.
    pub(crate) async fn named(bus: &Connection, name: &str) -> zbus::Result<Self> {
        if let Some(netdev) = netdevs(bus).await?.into_iter().find(|it| it.name == name) {
            return Ok(netdev);
        }
        let arguments = BTreeMap::from([
            ("Ifname", Variant::from(name)),
            ("Driver", Variant::from("nl80211")),
        ]);
        let supplicant = service::<SupplicantProxy>(bus).await?;
        Self::new(bus, supplicant.create_interface(arguments).await?).await
    }

    pub(crate) async fn interface(&self) -> zbus::Result<InterfaceProxy<'static>> {
        object::<InterfaceProxy>(&self.bus, self.path.clone()).await
    }

    pub(crate) async fn p2p(&self) -> zbus::Result<P2pProxy<'static>> {
        object::<P2pProxy>(&self.bus, self.path.clone()).await
    }

    /// May it be in groups?
    pub(crate) async fn is_p2p_capable(&self) -> zbus::Result<bool> {
        let capabilities = self.interface().await?.capabilities().await?;
        let modes: Vec<String> = match capabilities.get("Modes") {
            Some(modes) => modes.try_clone()?.try_into()?,
            None => Vec::new(),
        };
        Ok(modes.iter().any(|mode| mode == "p2p"))
    }
}

/// Every interface that wpa_supplicant has; one that goes meanwhile is left out.
pub(crate) async fn netdevs(bus: &Connection) -> zbus::Result<Vec<Netdev>> {
    let mut netdevs = Vec::new();
    for path in service::<SupplicantProxy>(bus).await?.interfaces().await? {
        netdevs.extend(Netdev::new(bus, path).await.ok());
    }
    Ok(netdevs)
}

/// What follows our mark in this network's field for scripts; `None`: it is not ours.
pub(crate) fn mark_of(properties: &OwnedDict) -> Option<String> {
    let text = field(properties, "id_str")?;
    let rest = text.strip_prefix(MARK)?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.to_owned())
}

/// A field of a network, as wpa_supplicant's configuration writes it: text stands in quotes.
pub(crate) fn field(properties: &OwnedDict, name: &str) -> Option<String> {
    let value: String = properties.get(name)?.try_clone().ok()?.try_into().ok()?;
    Some(value.trim_matches('"').to_owned())
}
