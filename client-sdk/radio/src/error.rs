//! What keeps a computer from being a laptop's radio, and what a person can do about it.

use std::io;

use berth_net::OpenError;

use crate::bus::failure;
use crate::way::Failure;

/// Why there is no radio.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaptopRadioError {
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
    /// The bus does not let this user talk to BlueZ.
    #[error("this user may not use Bluetooth")]
    NotAllowed,
    /// BlueZ does not answer in time.
    #[error("no answer from the Bluetooth service (BlueZ)")]
    Silent,
    /// BlueZ refuses.
    #[error("BlueZ refuses a list of its adapters: {0}")]
    Bluez(#[source] zbus::Error),
    /// The library for Bluetooth can't be set up.
    #[error("Bluetooth can't be set up: {0}")]
    Bluetooth(#[source] btleplug::Error),
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

impl LaptopRadioError {
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
            Self::NotAllowed => "Log in at the computer itself, or join the group bluetooth.",
            Self::Silent => {
                "Start that service anew (systemctl restart bluetooth), or look into its log (journalctl)."
            }
            Self::Bluez(_) | Self::Bluetooth(_) => "Look into its log (journalctl -u bluetooth).",
            Self::System { .. } => "Free memory and file handles of this computer, then try again.",
        }
    }

    pub(crate) fn of_bluez(error: zbus::Error) -> Self {
        match failure(&error) {
            Failure::Denied => Self::NotAllowed,
            Failure::Missing => Self::NoBluez,
            Failure::Silent => Self::Silent,
            Failure::Unable | Failure::Refused => Self::Bluez(error),
        }
    }
}

impl From<OpenError> for LaptopRadioError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::System { what, source } => Self::System { what, source },
            OpenError::Silent => Self::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_from_what_refuses() {
        let of = |error: zbus::fdo::Error| LaptopRadioError::of_bluez(error.into());
        let unknown = of(zbus::fdo::Error::ServiceUnknown(String::new()));
        assert!(unknown.advice().contains("Install bluez"), "{unknown}");
        let denied = of(zbus::fdo::Error::AccessDenied(String::new()));
        assert!(matches!(denied, LaptopRadioError::NotAllowed), "{denied}");
        let late = zbus::Error::from(io::Error::from(io::ErrorKind::TimedOut));
        let late = LaptopRadioError::of_bluez(late);
        assert!(matches!(late, LaptopRadioError::Silent), "{late}");
    }
}
