//! Whether there is a Bluetooth adapter that can be used, and which: what btleplug does not tell.
//!
//! Place: BlueZ's signals -> [`watch`] -> [`crate::laptop`]. A restart of bluetoothd is an end and a new beginning.

use std::collections::BTreeMap;

use berth_radio::Address;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use zbus::fdo::{DBusProxy, ObjectManagerProxy};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant};

use crate::error::LaptopRadioError;

pub(crate) const BLUEZ: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";

/// What an object has, by interface and property.
type Interfaces = BTreeMap<String, BTreeMap<String, OwnedVariant>>;

/// An adapter that is powered, and which life of bluetoothd it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adapter {
    pub(crate) address: Address,
    path: OwnedObjectPath,
    owner: String,
}

/// The adapter of this name (`hci0`), or the first powered one; `None`: none is powered.
///
/// # Errors
/// There is none at all, or nobody to ask.
pub(crate) async fn find(bus: &Connection, name: Option<&str>) -> Result<Option<Adapter>, LaptopRadioError> {
    let of_bluez = LaptopRadioError::of_bluez;
    let names = DBusProxy::new(bus).await.map_err(of_bluez)?;
    let service = BLUEZ.try_into().map_err(of_bluez)?;
    let owner = names.get_name_owner(service).await;
    let owner = owner.map_err(|error| of_bluez(error.into()))?.to_string();
    let objects = ObjectManagerProxy::builder(bus)
        .destination(BLUEZ)
        .path("/")
        .build()
        .await
        .map_err(of_bluez)?;
    let objects = objects.get_managed_objects().await;
    let mut adapters = Vec::new();
    for (path, interfaces) in objects.map_err(|error| of_bluez(error.into()))? {
        let Some(properties) = interfaces.iter().find(|(name, _)| name.as_str() == ADAPTER) else {
            continue;
        };
        if name.is_some_and(|name| !path.as_str().ends_with(&format!("/{name}"))) {
            continue;
        }
        let get = |name: &str| properties.1.get(name)?.try_clone().ok();
        let address: Option<String> = get("Address").and_then(|it| it.try_into().ok());
        let is_powered: Option<bool> = get("Powered").and_then(|it| it.try_into().ok());
        if let Some(address) = address.as_deref().and_then(parse) {
            let owner = owner.clone();
            adapters.push((is_powered == Some(true), Adapter { address, path, owner }));
        }
    }
    if adapters.is_empty() {
        return Err(match name {
            Some(name) => LaptopRadioError::NotThisAdapter {
                name: name.to_owned(),
            },
            None => LaptopRadioError::NoAdapter,
        });
    }
    adapters.retain(|(is_powered, _)| *is_powered);
    adapters.sort_by(|(_, one), (_, other)| one.path.as_str().cmp(other.path.as_str()));
    Ok(adapters.into_iter().map(|(_, adapter)| adapter).next())
}

/// Reports the adapter after every change, until the bus is gone.
///
/// # Errors
/// The bus refuses to tell of changes.
pub(crate) async fn watch(
    bus: &Connection,
    name: Option<String>,
    changes: mpsc::Sender<Option<Adapter>>,
) -> zbus::Result<()> {
    let names = DBusProxy::new(bus).await?;
    let owners = names.receive_name_owner_changed_with_args(&[(0, BLUEZ)]).await?;
    let signal = |interface: &'static str| {
        let rule = MatchRule::builder().msg_type(zbus::message::Type::Signal);
        rule.sender(BLUEZ).interface(interface)
    };
    let objects = signal("org.freedesktop.DBus.ObjectManager").build();
    let objects = MessageStream::for_match_rule(objects?, bus, None).await?;
    let powered = signal("org.freedesktop.DBus.Properties").arg(0, ADAPTER).build();
    let powered = MessageStream::for_match_rule(powered?, bus, None).await?;

    // `true`: whatever there was is gone.
    let owners = owners.filter_map(async |change| Some(change.args().ok()?.new_owner().is_none()));
    let objects = objects.filter_map(async |signal| is_of_adapter(&signal.ok()?).then_some(false));
    let powered = powered.map(|_| false);
    let mut signs = stream::select(
        Box::pin(owners),
        stream::select(Box::pin(objects), Box::pin(powered)),
    );
    // What changed before these streams were there.
    let mut told = find(bus, name.as_deref()).await.ok().flatten();
    let _ = changes.send(told.clone()).await;
    while let Some(is_gone) = signs.next().await {
        let now = if is_gone {
            None
        } else {
            find(bus, name.as_deref()).await.ok().flatten()
        };
        if now != told {
            told.clone_from(&now);
            let _ = changes.send(now).await;
        }
    }
    Ok(())
}

/// Objects of devices come and go all the time.
fn is_of_adapter(signal: &zbus::Message) -> bool {
    let body = signal.body();
    let added = body.deserialize::<(OwnedObjectPath, Interfaces)>();
    let removed = || body.deserialize::<(OwnedObjectPath, Vec<String>)>();
    let path = added
        .map(|(path, _)| path)
        .or_else(|_| removed().map(|(path, _)| path));
    path.is_ok_and(|path| path.as_str().split('/').count() == 4)
}

/// An address from its text form.
fn parse(text: &str) -> Option<Address> {
    let mut parts = text.split(':').map(|part| u64::from_str_radix(part, 16));
    let mut address = 0;
    for _ in 0..6 {
        address = address << 8 | parts.next()?.ok().filter(|byte| *byte <= 0xff)?;
    }
    parts.next().is_none().then_some(Address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_first_byte_highest() {
        assert_eq!(parse("02:00:00:00:0a:1F"), Some(Address(0x0200_0000_0a1f)));
        for other in [
            "",
            "02:00:00:00:0a",
            "02:00:00:00:0a:1f:00",
            "02:00:00:00:0a:100",
            "x",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
