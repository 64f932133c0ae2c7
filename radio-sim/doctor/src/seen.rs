//! What was read of a computer, without a judgment.

/// All of it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Can BlueZ be asked?
    pub bluez: Result<(), Absent>,
    /// Bluetooth adapters that the kernel has.
    pub adapters: Vec<Adapter>,
    /// Radios that are switched off (`rfkill`).
    pub switches: Vec<Switch>,
    /// Wi-Fi radios that the kernel has.
    pub radios: Vec<WifiRadio>,
    /// The interfaces that wpa_supplicant has.
    pub supplicant: Result<Vec<Interface>, Absent>,
    /// NetworkManager, and whether this user may steer it without being asked.
    pub network_manager: Result<bool, Absent>,
}

/// Why a service can't be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
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
pub struct Adapter {
    /// As in `hci0`.
    pub name: String,
    /// What BlueZ says of it; `None`: nothing.
    pub controller: Option<Controller>,
}

/// A Bluetooth adapter as BlueZ has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controller {
    /// It is on.
    pub is_powered: bool,
    /// `central`, `peripheral`, `central-peripheral`; empty where BlueZ is too old to tell.
    pub roles: Vec<String>,
    /// Advertisements that it has room for beside those that are there.
    pub advertisements_free: Option<u8>,
    /// Advertisements that are there.
    pub advertisements: Option<u8>,
}

/// A radio that is switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// `bluetooth` or `wlan`.
    pub kind: String,
    /// As in `hci0` or `phy0`.
    pub name: String,
    /// By a switch or key of the computer, else by software.
    pub is_hard: bool,
}

/// A Wi-Fi radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WifiRadio {
    /// As in `phy0`.
    pub name: String,
    /// Its interfaces, without those of groups.
    pub interfaces: Vec<String>,
    /// The bands that it has and may listen on.
    pub bands: Vec<Band>,
    /// A group of its own.
    pub owner: Beside,
    /// Membership of a group.
    pub client: Beside,
}

/// A band of a radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// `2.4`, `5` or `6`.
    pub ghz: &'static str,
    /// A group may be opened there: on some channel the radio may send unasked, without looking for radar.
    pub is_for_groups: bool,
}

/// What a radio can do beside being on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
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
pub struct Interface {
    /// As in `wlan0`.
    pub name: String,
    /// It can do Wi-Fi Direct.
    pub has_p2p: bool,
}
