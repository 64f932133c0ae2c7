//! The radio that a command line asks for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What `--radio` says. Whoever has a radio of each kind makes it: this crate knows none of hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RadioSpec {
    /// The computer's own Bluetooth and Wi-Fi, with this Bluetooth adapter (as in `hci0`) or any.
    Bluez(Option<String>),
    /// A simulated air, at this socket.
    Air(PathBuf),
    /// None: streams over a network that is there are all.
    None,
}

/// Not a radio that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such radio; there are bluez, bluez:ADAPTER, air:SOCKET and none")]
pub struct NoSuchRadio;

impl FromStr for RadioSpec {
    type Err = NoSuchRadio;

    fn from_str(text: &str) -> Result<Self, NoSuchRadio> {
        match text.split_once(':') {
            None if text == "bluez" => Ok(Self::Bluez(None)),
            None if text == "none" => Ok(Self::None),
            Some(("bluez", adapter)) if !adapter.is_empty() => Ok(Self::Bluez(Some(adapter.to_owned()))),
            Some(("air", socket)) if !socket.is_empty() => Ok(Self::Air(socket.into())),
            Some(_) | None => Err(NoSuchRadio),
        }
    }
}

impl fmt::Display for RadioSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bluez(None) => f.write_str("bluez"),
            Self::Bluez(Some(adapter)) => write!(f, "bluez:{adapter}"),
            Self::Air(socket) => write!(f, "air:{}", socket.display()),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_radio_is_bluez_an_air_or_none_and_is_told_as_it_was_asked_for() {
        for text in ["bluez", "bluez:hci1", "none", "air:/run/berth air", "air:air:"] {
            assert_eq!(text.parse::<RadioSpec>().unwrap().to_string(), text);
        }
        for text in ["", "air", "air:", "Bluez", "bluez:", "none ", "none:"] {
            assert_eq!(text.parse::<RadioSpec>(), Err(NoSuchRadio), "{text:?}");
        }
    }
}
