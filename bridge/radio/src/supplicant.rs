//! wpa_supplicant's D-Bus interface, as far as a group owner needs it.
//!
//! Place: [`crate::owner`] says what to do, this says how it is called. Specification: `dbus.doxygen` of wpa_supplicant.
//! Every call ends within the deadline of its connection.

use std::collections::BTreeMap;

use zbus::message::Type;
use zbus::proxy::{Builder, CacheProperties, Defaults};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Proxy, Variant};

use crate::error::HubRadioError;

pub(crate) const SERVICE: &str = "fi.w1.wpa_supplicant1";

type Dict<'a> = BTreeMap<&'a str, Variant<'a>>;

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1",
    default_service = "fi.w1.wpa_supplicant1",
    default_path = "/fi/w1/wpa_supplicant1"
)]
pub(crate) trait Supplicant {
    fn create_interface(&self, arguments: Dict<'_>) -> zbus::Result<OwnedObjectPath>;
    fn remove_interface(&self, interface: &OwnedObjectPath) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn interfaces(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.Interface",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait Interface {
    #[zbus(property(emits_changed_signal = "false"))]
    fn capabilities(&self) -> zbus::Result<BTreeMap<String, OwnedVariant>>;
    /// Empty, where it has none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn config_file(&self) -> zbus::Result<String>;
    /// That it knows as a station.
    #[zbus(property(emits_changed_signal = "false"))]
    fn networks(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn ifname(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"), name = "CurrentBSS")]
    fn current_bss(&self) -> zbus::Result<OwnedObjectPath>;
    /// A field of its configuration, as text.
    #[zbus(property(emits_changed_signal = "false"), name = "P2pPassphraseLen")]
    fn set_passphrase_length(&self, length: &str) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.Interface.P2PDevice",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait P2p {
    fn group_add(&self, arguments: Dict<'_>) -> zbus::Result<()>;
    fn disconnect(&self) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"), name = "P2PDeviceConfig")]
    fn set_config(&self, config: Dict<'_>) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn role(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn group(&self) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.Group",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait Group {
    #[zbus(property(emits_changed_signal = "false"), name = "SSID")]
    fn ssid(&self) -> zbus::Result<Vec<u8>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn passphrase(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn frequency(&self) -> zbus::Result<u16>;
}

#[zbus::proxy(
    interface = "fi.w1.wpa_supplicant1.BSS",
    default_service = "fi.w1.wpa_supplicant1"
)]
pub(crate) trait Bss {
    #[zbus(property(emits_changed_signal = "false"))]
    fn frequency(&self) -> zbus::Result<u16>;
}

/// The service itself.
pub(crate) async fn supplicant(bus: &Connection) -> zbus::Result<SupplicantProxy<'static>> {
    let proxy = Builder::new(bus).cache_properties(CacheProperties::No);
    proxy.build().await
}

/// An object of the service. All of its properties would be read before the first one is, if they were kept.
pub(crate) async fn object<T>(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<T>
where
    T: From<Proxy<'static>> + Defaults,
{
    let proxy = Builder::new(bus).path(path);
    proxy.cache_properties(CacheProperties::No).build().await
}

/// A network interface that wpa_supplicant has.
pub(crate) struct Netdev {
    pub(crate) path: OwnedObjectPath,
    pub(crate) name: String,
    bus: Connection,
}

impl Netdev {
    pub(crate) async fn new(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<Self> {
        let interface: InterfaceProxy<'_> = object(bus, path.clone()).await?;
        let name = interface.ifname().await?;
        Ok(Self {
            path,
            name,
            bus: bus.clone(),
        })
    }

    pub(crate) async fn interface(&self) -> zbus::Result<InterfaceProxy<'static>> {
        object(&self.bus, self.path.clone()).await
    }

    pub(crate) async fn p2p(&self) -> zbus::Result<P2pProxy<'static>> {
        object(&self.bus, self.path.clone()).await
    }

    /// May it have groups?
    pub(crate) async fn is_p2p_capable(&self) -> zbus::Result<bool> {
        let capabilities = self.interface().await?.capabilities().await?;
        let modes: Vec<String> = match capabilities.get("Modes") {
            Some(modes) => modes.try_clone()?.try_into()?,
            None => Vec::new(),
        };
        Ok(modes.iter().any(|mode| mode == "p2p"))
    }

    /// The centre of the channel that it uses as a station, in MHz.
    pub(crate) async fn station_frequency_mhz(&self) -> zbus::Result<Option<u16>> {
        let interface = self.interface().await?;
        if interface.state().await? != "completed" {
            return Ok(None);
        }
        let bss = interface.current_bss().await?;
        if bss.as_str() == "/" {
            return Ok(None);
        }
        let bss: BssProxy<'_> = object(&self.bus, bss).await?;
        Ok(Some(bss.frequency().await?))
    }

    /// The name of the group that it owns.
    pub(crate) async fn owned_ssid(&self) -> zbus::Result<Option<Vec<u8>>> {
        let p2p = self.p2p().await?;
        if p2p.role().await? != "GO" {
            return Ok(None);
        }
        let group = p2p.group().await?;
        if group.as_str() == "/" {
            return Ok(None);
        }
        let group: GroupProxy<'_> = object(&self.bus, group).await?;
        Ok(Some(group.ssid().await?))
    }
}

/// Every interface that wpa_supplicant has; one that goes meanwhile is left out.
pub(crate) async fn netdevs(bus: &Connection) -> Result<Vec<Netdev>, HubRadioError> {
    let paths = match supplicant(bus).await {
        Ok(supplicant) => supplicant.interfaces().await,
        Err(error) => Err(error),
    }
    .map_err(|error| HubRadioError::of_supplicant("a list of its interfaces", error))?;
    let mut netdevs = Vec::new();
    for path in paths {
        netdevs.extend(Netdev::new(bus, path).await.ok());
    }
    Ok(netdevs)
}

/// These signals of groups, from every interface.
pub(crate) async fn signals(bus: &Connection, member: &'static str) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SERVICE)
        .interface("fi.w1.wpa_supplicant1.Interface.P2PDevice")
        .member(member)
        .build()?;
    MessageStream::for_match_rule(rule, bus, None).await
}
