//! What was read of a computer, without a judgment.

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Can BlueZ be asked?
    pub(crate) bluez: Result<(), Absent>,
    /// Bluetooth adapters that the kernel has.
    pub(crate) adapters: Vec<Adapter>,
    /// Radios that are switched off (`rfkill`).
    pub(crate) switches: Vec<Switch>,
    /// Wi-Fi radios that the kernel has.
    pub(crate) radios: Vec<WifiRadio>,
    /// The interfaces that wpa_supplicant has.
    pub(crate) supplicant: Result<Vec<Interface>, Absent>,
    /// NetworkManager.
    pub(crate) network_manager: Result<NetworkManager, Absent>,
}

impl Seen {
    /// Leaves out every Bluetooth adapter but this one, if one is named: no other one is used.
    pub(crate) fn narrow(&mut self, bluetooth_adapter: Option<&str>) {
        let is_other = |name: &str| bluetooth_adapter.is_some_and(|wanted| wanted != name);
        let others = self.adapters.extract_if(.., |adapter| is_other(&adapter.name));
        let others: Vec<String> = others.map(|adapter| adapter.name).collect();
        self.switches.retain(|switch| !others.contains(&switch.name));
    }
}

/// Why a service can't be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The bus to ask on can't be reached.
    NoBus,
    /// Nobody has its name on the bus.
    NotRunning,
    /// This user may not.
    Denied,
    /// No answer in time.
    Silent,
    /// An answer that says something else.
    Odd(String),
}

/// A Bluetooth adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adapter {
    /// As in `hci0`.
    pub(crate) name: String,
    /// What BlueZ says of it; `None`: nothing.
    pub(crate) controller: Option<Controller>,
}

/// A Bluetooth adapter as BlueZ has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Controller {
    /// It is on.
    pub(crate) is_powered: bool,
    /// `central`, `peripheral`, `central-peripheral`; empty where BlueZ is too old to tell.
    pub(crate) roles: Vec<String>,
    /// Advertisements that it has room for beside those that are there.
    pub(crate) advertisements_free: Option<u8>,
    /// Advertisements that are there.
    pub(crate) advertisements: Option<u8>,
}

/// A radio that is switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Switch {
    /// `bluetooth` or `wlan`.
    pub(crate) kind: String,
    /// As in `hci0` or `phy0`.
    pub(crate) name: String,
    /// By a switch or key of the computer, else by software.
    pub(crate) is_hard: bool,
}

/// A Wi-Fi radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WifiRadio {
    /// As in `phy0`.
    pub(crate) name: String,
    /// Its interfaces, without those of groups.
    pub(crate) interfaces: Vec<String>,
    /// The bands that it has and may listen on.
    pub(crate) bands: Vec<Band>,
    /// A group of its own.
    pub(crate) owner: Beside,
    /// Membership of a group.
    pub(crate) client: Beside,
}

/// A band of a radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Band {
    /// `2.4`, `5` or `6`.
    pub(crate) ghz: &'static str,
    /// A group may be opened there: on some channel the radio may send unasked, without looking for radar.
    pub(crate) is_for_groups: bool,
}

/// What a radio can do beside being on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Not at all.
    No,
    /// Only without a network.
    Alone,
    /// Beside it, on its channel.
    SameChannel,
    /// Beside it, on any channel.
    AnyChannel,
}

/// A network interface that wpa_supplicant has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    /// As in `wlan0`.
    pub(crate) name: String,
    /// It can do Wi-Fi Direct.
    pub(crate) has_p2p: bool,
}

/// NetworkManager as it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkManager {
    /// This user may join networks through it without being asked.
    pub(crate) may_join: bool,
    /// The Wi-Fi interfaces that it manages. It ends every Wi-Fi Direct group on these that it has not asked for.
    pub(crate) managed: Vec<String>,
}
