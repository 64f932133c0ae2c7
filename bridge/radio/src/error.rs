//! What keeps a computer from being a hub's radio, and what a person can do about it.

use std::io;

use berth_net::OpenError;

/// Why there is no radio, or none for now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubRadioError {
    /// No D-Bus.
    #[error("can't reach the system bus: {0}")]
    NoBus(#[source] zbus::Error),
    /// Nobody is `org.bluez` on the bus.
    #[error("the Bluetooth service (BlueZ) is not running")]
    NoBluez,
    /// BlueZ has no adapter.
    #[error("this computer has no Bluetooth adapter")]
    NoAdapter,
    /// BlueZ has adapters, but not this one.
    #[error("this computer has no Bluetooth adapter {name}")]
    NotThisAdapter {
        /// As in `hci0`.
        name: String,
    },
    /// There is an adapter; it can't be switched on, or somebody has switched it off.
    #[error("the Bluetooth adapter {name} is off")]
    AdapterOff {
        /// As in `hci0`.
        name: String,
    },
    /// BlueZ refuses.
    #[error("BlueZ refuses {what}: {source}")]
    Bluez {
        /// What it was asked for.
        what: &'static str,
        /// What it says.
        #[source]
        source: bluer::Error,
    },
    /// Nobody is `fi.w1.wpa_supplicant1` on the bus.
    #[error("the Wi-Fi service (wpa_supplicant) is not on the system bus")]
    NoSupplicant,
    /// There is no wireless network interface.
    #[error("this computer has no Wi-Fi adapter")]
    NoWifi,
    /// There is one, but it can't be a group owner.
    #[error("no Wi-Fi adapter here is capable of Wi-Fi Direct")]
    NoWifiDirect,
    /// The Wi-Fi adapter is switched off.
    #[error("the Wi-Fi adapter {interface} is switched off")]
    WifiOff {
        /// As in `wlan0`.
        interface: String,
    },
    /// Of the Wi-Fi adapters that could have groups NetworkManager manages every one.
    #[error("NetworkManager manages the Wi-Fi adapter {interface}, and ends every Wi-Fi Direct group on it")]
    Managed {
        /// As in `wlan0`.
        interface: String,
    },
    /// wpa_supplicant refuses.
    #[error("wpa_supplicant refuses {what}: {source}")]
    Supplicant {
        /// What it was asked for.
        what: &'static str,
        /// What it says.
        #[source]
        source: zbus::Error,
    },
    /// The bus does not let this user talk to it.
    #[error("this user may not use {service}")]
    NotAllowed {
        /// Whose answer it was.
        service: &'static str,
    },
    /// No answer in time.
    #[error("no answer from {service}")]
    Silent {
        /// Who was asked.
        service: &'static str,
    },
    /// The group was announced, but not as it must be.
    #[error("the Wi-Fi Direct group has no {0}")]
    BadGroup(&'static str),
    /// The system refuses.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// As errors name it.
pub(crate) const BLUEZ: &str = "BlueZ";

/// As errors name it.
pub(crate) const SUPPLICANT: &str = "wpa_supplicant";

impl HubRadioError {
    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoBus(_) => "Start D-Bus (systemctl start dbus).",
            Self::NoBluez => "Install bluez, then: systemctl enable --now bluetooth",
            Self::NoAdapter => {
                "Plug in a Bluetooth adapter, or look whether the system sees it: rfkill list, dmesg."
            }
            Self::NotThisAdapter { .. } => "Choose one that bluetoothctl list names.",
            Self::AdapterOff { .. } => "Switch it on: rfkill unblock bluetooth, then bluetoothctl power on",
            Self::NoSupplicant => {
                "Install wpasupplicant and start it with its D-Bus interface: systemctl enable --now wpa_supplicant"
            }
            Self::NoWifi => {
                "Plug in a Wi-Fi adapter, or look whether the system sees it: rfkill list, iw dev."
            }
            Self::NoWifiDirect => {
                "Use an adapter that can be a group owner (iw list names P2P-GO), or a network that is there (--listen)."
            }
            Self::WifiOff { .. } => "Switch it on: rfkill unblock wifi",
            Self::Managed { .. } => {
                "Have it leave that adapter alone: nmcli device set INTERFACE managed no (for good: docs/operating.md)."
            }
            Self::NotAllowed { .. } => {
                "Run the hub as root, or as a user of the groups bluetooth and netdev."
            }
            Self::Silent { .. } => "Start that service anew, or look into its log (journalctl).",
            Self::Bluez { .. } => "Look into its log (journalctl -u bluetooth).",
            Self::Supplicant { .. } | Self::BadGroup(_) => {
                "Look into its log (journalctl -u wpa_supplicant)."
            }
            Self::System { .. } => "Free memory and file handles of this computer, then start the hub anew.",
        }
    }

    pub(crate) fn of_bluez(what: &'static str, source: bluer::Error) -> Self {
        use bluer::{ErrorKind, InternalErrorKind};
        match &source.kind {
            ErrorKind::NotAuthorized => Self::NotAllowed { service: BLUEZ },
            ErrorKind::Internal(InternalErrorKind::DBus(name)) if name.ends_with(".AccessDenied") => {
                Self::NotAllowed { service: BLUEZ }
            }
            ErrorKind::Internal(InternalErrorKind::DBus(name)) if name.ends_with(".ServiceUnknown") => {
                Self::NoBluez
            }
            _ => Self::Bluez { what, source },
        }
    }

    pub(crate) fn of_supplicant(what: &'static str, source: zbus::Error) -> Self {
        use zbus::fdo;
        match source {
            zbus::Error::FDO(error) => match *error {
                fdo::Error::AccessDenied(_) => Self::NotAllowed { service: SUPPLICANT },
                fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::SpawnServiceNotFound(_) => Self::NoSupplicant,
                other => Self::Supplicant {
                    what,
                    source: other.into(),
                },
            },
            zbus::Error::InputOutput(error) if error.kind() == io::ErrorKind::TimedOut => {
                Self::Silent { service: SUPPLICANT }
            }
            source => Self::Supplicant { what, source },
        }
    }
}

impl From<OpenError> for HubRadioError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::System { what, source } => Self::System { what, source },
            OpenError::Silent => Self::Silent {
                service: "the radio's services",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_from_what_refuses() {
        let fdo = |error: zbus::fdo::Error| HubRadioError::of_supplicant("a group", error.into());
        let unknown = fdo(zbus::fdo::Error::ServiceUnknown(String::new()));
        assert!(unknown.advice().contains("wpasupplicant"), "{unknown}");
        let denied = fdo(zbus::fdo::Error::AccessDenied(String::new()));
        assert!(denied.advice().contains("netdev"), "{denied}");
        let late = zbus::Error::from(io::Error::from(io::ErrorKind::TimedOut));
        let late = HubRadioError::of_supplicant("a group", late);
        assert!(matches!(late, HubRadioError::Silent { .. }), "{late}");
    }
}
