//! Into a group as a station, through a wpa_supplicant that nobody else steers.
//!
//! It is on one network at a time and forgets which ones it may be on while it is told to be on another. What to go
//! back to stands in our network's field for scripts, so that a crash can be undone too.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_radio::GroupCredentials;
use tokio::time::{sleep, timeout};
use tracing::debug;
use zbus::{Connection, OwnedObjectPath, Variant};

use crate::bus::{failure, object};
use crate::supplicant::{InterfaceProxy, MARK, Netdev, NetworkProxy, mark_of, netdevs};
use crate::way::Failure;

/// Longest time to be let in, and how often to look.
const JOIN_WAIT: Duration = Duration::from_secs(15);
const JOIN_LOOK: Duration = Duration::from_millis(50);

/// What an interface's networks were like: the number of the one it was on, and of those it might be on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Before {
    current: Option<String>,
    enabled: Vec<String>,
}

impl Before {
    fn to_mark(&self) -> String {
        let mut words = vec![MARK.to_owned()];
        words.extend(self.current.iter().map(|number| format!("on:{number}")));
        words.extend(self.enabled.iter().cloned());
        words.join(" ")
    }

    /// From what follows the mark.
    fn from_mark(rest: &str) -> Self {
        let mut before = Self::default();
        for word in rest.split_whitespace() {
            match word.strip_prefix("on:") {
                Some(number) => before.current = Some(number.to_owned()),
                None => before.enabled.push(word.to_owned()),
            }
        }
        before
    }
}

/// Joins on this interface.
pub(crate) async fn join(
    bus: &Connection,
    interface: &str,
    credentials: &GroupCredentials,
) -> Result<(), Failure> {
    let failed = |error: zbus::Error| {
        debug!(%error, "wpa_supplicant");
        failure(&error)
    };
    let netdev = Netdev::named(bus, interface).await.map_err(failed)?;
    let proxy = netdev.interface().await.map_err(failed)?;
    let mark = before(bus, &proxy).await.map_err(failed)?.to_mark();
    let frequency = credentials.frequency_mhz.to_string();
    let arguments = BTreeMap::from([
        ("ssid", Variant::from(credentials.ssid.as_str())),
        ("psk", Variant::from(credentials.passphrase.as_str())),
        ("key_mgmt", Variant::from("WPA-PSK")),
        ("scan_freq", Variant::from(frequency.as_str())),
        ("id_str", Variant::from(mark.as_str())),
    ]);
    let network = proxy.add_network(arguments).await.map_err(failed)?;
    proxy.select_network(&network).await.map_err(failed)?;
    let joined = timeout(JOIN_WAIT, async {
        while !is_on(&proxy, &network).await? {
            sleep(JOIN_LOOK).await;
        }
        zbus::Result::Ok(())
    });
    joined.await.map_err(|_| Failure::Refused)?.map_err(failed)
}

async fn is_on(interface: &InterfaceProxy<'_>, network: &OwnedObjectPath) -> zbus::Result<bool> {
    Ok(interface.state().await? == "completed" && interface.current_network().await? == *network)
}

async fn before(bus: &Connection, interface: &InterfaceProxy<'_>) -> zbus::Result<Before> {
    let mut before = Before::default();
    let current = interface.current_network().await?;
    for network in interface.networks().await? {
        let Some(number) = number(&network) else { continue };
        if network == current {
            before.current = Some(number.clone());
        }
        if object::<NetworkProxy>(bus, network).await?.enabled().await? {
            before.enabled.push(number);
        }
    }
    Ok(before)
}

/// A network's path ends with its number.
fn number(network: &OwnedObjectPath) -> Option<String> {
    network.as_str().rsplit('/').next().map(str::to_owned)
}

/// Removes every network of ours, and goes back to what was there before.
pub(crate) async fn clear(bus: &Connection) {
    for netdev in netdevs(bus).await.unwrap_or_default() {
        if let Err(error) = clear_on(bus, &netdev).await {
            debug!(%error, interface = netdev.name, "its networks can't be looked at");
        }
    }
}

async fn clear_on(bus: &Connection, netdev: &Netdev) -> zbus::Result<()> {
    let interface = netdev.interface().await?;
    for network in interface.networks().await? {
        let properties = object::<NetworkProxy>(bus, network.clone()).await?;
        let Some(rest) = mark_of(&properties.properties().await?) else {
            continue;
        };
        interface.remove_network(&network).await?;
        let before = Before::from_mark(&rest);
        let others = interface.networks().await?;
        let find = |wanted: &String| others.iter().find(|it| number(it).as_ref() == Some(wanted));
        if let Some(current) = before.current.as_ref().and_then(find) {
            interface.select_network(current).await?;
        }
        for enabled in before.enabled.iter().filter_map(find) {
            object::<NetworkProxy>(bus, enabled.clone())
                .await?
                .set_enabled(true)
                .await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_go_back_to_survives_in_the_mark() {
        let numbers = |numbers: &[&str]| numbers.iter().map(ToString::to_string).collect();
        for before in [
            Before::default(),
            Before {
                current: Some("3".to_owned()),
                enabled: numbers(&["0", "3", "12"]),
            },
            Before {
                current: None,
                enabled: numbers(&["0"]),
            },
        ] {
            let mark = before.to_mark();
            let rest = mark.strip_prefix(MARK).unwrap();
            assert_eq!(Before::from_mark(rest), before, "{mark}");
        }
    }
}
