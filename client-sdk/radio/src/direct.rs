//! Into a group as P2P client, beside whatever network the laptop is on.
//!
//! wpa_supplicant 2.10 joins by a known key only a group that it has just seen: on an adapter that knows 6 GHz its own
//! scan fails for ever (`SCAN-FAILED ret=-22`). So it is told to look first.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_radio::{Address, GroupCredentials};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, Variant};

use crate::bus::{failure, object};
use crate::supplicant::{
    GroupProxy, MARK, Netdev, OwnedDict, P2P, P2pProxy, PersistentGroupProxy, SERVICE, field, mark_of,
    netdevs,
};
use crate::way::Failure;

/// Longest time until the owner is seen, and from then on until the group is joined.
const FIND_WAIT: Duration = Duration::from_secs(8);
const JOIN_WAIT: Duration = Duration::from_secs(8);

/// Longest time that a group may take to end, and how often to look.
const DOWN_WAIT: Duration = Duration::from_secs(5);
const DOWN_LOOK: Duration = Duration::from_millis(50);

/// wpa_supplicant's numbers for "a client" and for "a persistent group, which is not connected to by itself".
const MODE_CLIENT: u32 = 0;
const DISABLED_PERSISTENT: u32 = 2;

/// Joins; the name of the group's interface.
pub(crate) async fn join(
    bus: &Connection,
    interface: &str,
    credentials: &GroupCredentials,
    before: &mut Vec<OwnedObjectPath>,
) -> Result<String, Failure> {
    let failed = |error: zbus::Error| {
        debug!(%error, "wpa_supplicant");
        failure(&error)
    };
    let netdev = Netdev::named(bus, interface).await.map_err(failed)?;
    if !netdev.is_p2p_capable().await.map_err(failed)? {
        return Err(Failure::Unable);
    }
    *before = netdevs(bus)
        .await
        .map_err(failed)?
        .into_iter()
        .map(|it| it.path)
        .collect();
    let p2p = netdev.p2p().await.map_err(failed)?;
    let mut signals = signals(bus).await.map_err(failed)?;
    find(&p2p, &mut signals, credentials)
        .await
        .map_err(failed)?
        .ok_or(Failure::Refused)?;

    let bssid = text(credentials.device);
    let arguments = BTreeMap::from([
        ("ssid", Variant::from(credentials.ssid.as_str())),
        ("psk", Variant::from(credentials.passphrase.as_str())),
        ("bssid", Variant::from(bssid.as_str())),
        ("mode", Variant::from(MODE_CLIENT)),
        ("disabled", Variant::from(DISABLED_PERSISTENT)),
        ("id_str", Variant::from(MARK)),
    ]);
    let group = p2p.add_persistent_group(arguments).await.map_err(failed)?;
    let arguments = BTreeMap::from([("persistent_group_object", Variant::from(&*group))]);
    p2p.group_add(arguments).await.map_err(failed)?;
    let joined = timeout(JOIN_WAIT, started(&mut signals)).await;
    let path = joined.map_err(|_| Failure::Refused)?.ok_or(Failure::Refused)?;
    Ok(Netdev::new(bus, path).await.map_err(failed)?.name)
}

async fn signals(bus: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(SERVICE)
        .interface(P2P)
        .build();
    MessageStream::for_match_rule(rule?, bus, None).await
}

/// Looks for the owner on the group's channel; `None`: not there.
async fn find(
    p2p: &P2pProxy<'_>,
    signals: &mut MessageStream,
    credentials: &GroupCredentials,
) -> zbus::Result<Option<()>> {
    // Who was seen before is not told again.
    p2p.flush().await?;
    let frequency = i32::try_from(credentials.frequency_mhz).unwrap_or_default();
    let arguments = BTreeMap::from([
        ("Timeout", Variant::from(FIND_WAIT.as_secs() as i32)),
        ("freq", Variant::from(frequency)),
    ]);
    p2p.find(arguments).await?;
    // A peer's path ends with its device address.
    let end = format!("/{:012x}", credentials.device.0);
    let found = timeout(FIND_WAIT, async {
        while let Some(Ok(signal)) = signals.next().await {
            if member(&signal) == "DeviceFound"
                && let Ok(peer) = signal.body().deserialize::<OwnedObjectPath>()
                && peer.as_str().ends_with(&end)
            {
                return Some(());
            }
        }
        None
    });
    let found = found.await.ok().flatten();
    p2p.stop_find().await?;
    Ok(found)
}

/// The interface of the group that is joined; `None`: it will not be.
async fn started(signals: &mut MessageStream) -> Option<OwnedObjectPath> {
    while let Some(Ok(signal)) = signals.next().await {
        match member(&signal).as_str() {
            "GroupStarted" => {
                let body = signal.body();
                let group: OwnedDict = body.deserialize().ok()?;
                if field(&group, "role")? != "client" {
                    continue;
                }
                return group.get("interface_object")?.try_clone().ok()?.try_into().ok();
            }
            "GroupFormationFailure" => return None,
            _ => {}
        }
    }
    None
}

fn member(signal: &zbus::Message) -> String {
    let header = signal.header();
    header.member().map(ToString::to_string).unwrap_or_default()
}

/// Ends every group of ours, joined or on its way, and removes its persistent profile: one of our mark, or whose
/// interface was not there `before` it was asked for.
pub(crate) async fn clear(bus: &Connection, before: &[OwnedObjectPath]) {
    let Ok(ours) = ours(bus).await else { return };
    let names: Vec<String> = ours.iter().map(|(_, _, ssid)| ssid.clone()).collect();
    if !names.is_empty() || !before.is_empty() {
        let cleared = timeout(DOWN_WAIT, async {
            while remains(bus, before, &names).await {
                sleep(DOWN_LOOK).await;
            }
        });
        if cleared.await.is_err() {
            warn!("wpa_supplicant does not end the membership of a group");
        }
    }
    for (p2p, group, _) in ours {
        if let Err(error) = p2p.remove_persistent_group(&group).await {
            debug!(%error, "a persistent group stays");
        }
    }
}

/// Persistent groups with our mark, and their names.
async fn ours(bus: &Connection) -> zbus::Result<Vec<(P2pProxy<'static>, OwnedObjectPath, String)>> {
    let mut ours = Vec::new();
    for netdev in netdevs(bus).await? {
        let p2p = netdev.p2p().await?;
        // A radio without P2P has none.
        for group in p2p.persistent_groups().await.unwrap_or_default() {
            let properties = object::<PersistentGroupProxy>(bus, group.clone()).await?;
            let properties = properties.properties().await?;
            // A group's interface names those of the one below it too.
            let is_its_own = group.as_str().starts_with(&format!("{}/", netdev.path));
            if is_its_own && mark_of(&properties).is_some() {
                let ssid = field(&properties, "ssid").unwrap_or_default();
                ours.push((p2p.clone(), group, ssid));
            }
        }
    }
    Ok(ours)
}

/// Asks groups to end; is there any?
async fn remains(bus: &Connection, before: &[OwnedObjectPath], names: &[String]) -> bool {
    // Without wpa_supplicant there are no groups: the kernel ends them with it.
    let netdevs = netdevs(bus).await.unwrap_or_default();
    let mut remains = false;
    for netdev in netdevs {
        let is_new = !before.is_empty() && netdev.name.starts_with("p2p-") && !before.contains(&netdev.path);
        let joined = joined_ssid(bus, &netdev).await.ok().flatten();
        if (is_new || joined.is_some_and(|ssid| names.contains(&ssid)))
            && let Ok(p2p) = netdev.p2p().await
        {
            remains = true;
            let _ = p2p.disconnect().await;
        }
    }
    remains
}

/// The name of the group that it is a client of.
async fn joined_ssid(bus: &Connection, netdev: &Netdev) -> zbus::Result<Option<String>> {
    let p2p = netdev.p2p().await?;
    if p2p.role().await? != "client" {
        return Ok(None);
    }
    let group = p2p.group().await?;
    if group.as_str() == "/" {
        return Ok(None);
    }
    let ssid = object::<GroupProxy>(bus, group).await?.ssid().await?;
    Ok(Some(String::from_utf8_lossy(&ssid).into_owned()))
}

/// As people and wpa_supplicant write it.
fn text(address: Address) -> String {
    let [_, _, bytes @ ..] = address.0.to_be_bytes();
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_with_its_highest_byte_first() {
        assert_eq!(text(Address(0x0200_0000_0a1f)), "02:00:00:00:0a:1f");
    }
}
