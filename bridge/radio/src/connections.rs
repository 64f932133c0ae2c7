//! Which Bluetooth connections end, whoever's they are: a laptop's, a stranger's who never said a word, or one that an
//! earlier process has left.
//!
//! Place: BlueZ's signals -> [`ended`] -> [`crate::hub`].

use std::collections::BTreeMap;
use std::future::ready;

use futures_util::{Stream, StreamExt};
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedVariant};

/// BlueZ on the bus.
pub(crate) const BLUEZ_NAME: &str = "org.bluez";

/// The name of the adapter (`hci0`) of each connection that ends from now on, until the bus is gone.
pub(crate) async fn ended(bus: &Connection) -> zbus::Result<impl Stream<Item = String> + Unpin + use<>> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BLUEZ_NAME)
        .interface("org.freedesktop.DBus.Properties")
        .arg(0, "org.bluez.Device1")
        .build()?;
    let signals = MessageStream::for_match_rule(rule, bus, None).await?;
    Ok(signals.filter_map(|signal| ready(signal.ok().as_ref().and_then(adapter_left))))
}

/// `None`: it tells of something else.
fn adapter_left(signal: &Message) -> Option<String> {
    type Changed = (String, BTreeMap<String, OwnedVariant>, Vec<String>);
    let (_, changed, _) = signal.body().deserialize::<Changed>().ok()?;
    let is_connected: bool = changed.get("Connected")?.try_clone().ok()?.try_into().ok()?;
    // As in `/org/bluez/hci0/dev_02_00_00_00_00_01`.
    let header = signal.header();
    let adapter = header.path()?.as_str().split('/').nth(3)?;
    (!is_connected).then(|| adapter.to_owned())
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    fn signal(path: &str, property: &str, value: Variant<'_>) -> Message {
        let changed = BTreeMap::from([(property, value)]);
        let signal = Message::signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged");
        signal
            .build(&("org.bluez.Device1", changed, Vec::<&str>::new()))
            .unwrap()
    }

    #[test]
    fn the_end_of_a_connection_is_told_from_its_beginning_and_from_whatever_else_changes() {
        let device = "/org/bluez/hci1/dev_02_00_00_00_00_01";
        let ended = signal(device, "Connected", Variant::from(false));
        assert_eq!(adapter_left(&ended).as_deref(), Some("hci1"));
        for other in [
            signal(device, "Connected", Variant::from(true)),
            signal(device, "Connected", Variant::from("odd")),
            signal(device, "Trusted", Variant::from(false)),
            signal("/odd", "Connected", Variant::from(false)),
        ] {
            assert_eq!(adapter_left(&other), None, "{other:?}");
        }
    }
}
