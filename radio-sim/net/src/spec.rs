//! The radio that a command line asks for.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;

use berth_radio::{Radio, Time};

use crate::{AirError, AirRadio, NoRadio};

/// What `--radio` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RadioSpec {
    /// The computer's own Bluetooth and Wi-Fi.
    Bluez,
    /// A simulated air, at this socket.
    Air(PathBuf),
    /// None: streams over a network that is there are all.
    None,
}

/// Not a radio that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such radio; there are bluez, air:SOCKET and none")]
pub struct NoSuchRadio;

impl FromStr for RadioSpec {
    type Err = NoSuchRadio;

    fn from_str(text: &str) -> Result<Self, NoSuchRadio> {
        match text {
            "bluez" => Ok(Self::Bluez),
            "none" => Ok(Self::None),
            other => match other.strip_prefix("air:") {
                Some(socket) if !socket.is_empty() => Ok(Self::Air(socket.into())),
                Some(_) | None => Err(NoSuchRadio),
            },
        }
    }
}

impl fmt::Display for RadioSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bluez => f.write_str("bluez"),
            Self::Air(socket) => write!(f, "air:{}", socket.display()),
            Self::None => f.write_str("none"),
        }
    }
}

/// Why there is no radio.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RadioError {
    /// This version has no radios of hardware.
    #[error("this version has no Bluetooth and Wi-Fi Direct yet")]
    NotBuilt,
    /// Nobody serves an air there.
    #[error("no air at {}: {source}", socket.display())]
    NoAir {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The air does not take it.
    #[error(transparent)]
    Air(#[from] AirError),
}

impl RadioError {
    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NotBuilt => {
                "Use a network that is there (--radio none, --listen on the hub, --via on the laptop), or the simulated \
                 air of berth-air."
            }
            Self::NoAir { .. } => "Start berth-air there, or name the socket that it was given.",
            Self::Air(error) => error.advice(),
        }
    }
}

/// Brings the radio into being, under `name` where it is in an air. `clock` is the program's monotonic one.
///
/// # Errors
/// [`RadioError`].
pub fn radio_from(
    spec: &RadioSpec,
    name: &str,
    clock: impl Fn() -> Time + Send + Sync + 'static,
) -> Result<Box<dyn Radio + Send>, RadioError> {
    match spec {
        RadioSpec::Bluez => Err(RadioError::NotBuilt),
        RadioSpec::None => Ok(Box::new(NoRadio::new(clock))),
        RadioSpec::Air(socket) => {
            let link = UnixStream::connect(socket).map_err(|source| RadioError::NoAir {
                socket: socket.clone(),
                source,
            })?;
            Ok(Box::new(AirRadio::connect(link, name, clock)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_radio_is_bluez_an_air_or_none_and_is_told_as_it_was_asked_for() {
        for text in ["bluez", "none", "air:/run/berth air", "air:air:"] {
            assert_eq!(text.parse::<RadioSpec>().unwrap().to_string(), text);
        }
        for text in ["", "air", "air:", "Bluez", "none "] {
            assert_eq!(text.parse::<RadioSpec>(), Err(NoSuchRadio), "{text:?}");
        }
    }

    #[test]
    fn a_radio_that_can_not_be_had_says_what_to_do() {
        let clock = || Time::ZERO;
        let error = radio_from(&RadioSpec::Bluez, "hub", clock).err().unwrap();
        assert!(error.advice().contains("--via"), "{error}");
        let nowhere = RadioSpec::Air("/nowhere/air".into());
        let error = radio_from(&nowhere, "hub", clock).err().unwrap();
        assert!(error.to_string().contains("/nowhere/air"), "{error}");
        assert!(radio_from(&RadioSpec::None, "hub", clock).is_ok());
    }
}
