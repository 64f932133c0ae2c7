//! The kernel's part of a group: its interface's IPv6 link-local address, and the radio's Wi-Fi Direct device address.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};

use berth_radio::Address;
use futures_util::TryStreamExt;
use wl_nl80211::{Nl80211Attr, Nl80211Handle, Nl80211IfMode, Nl80211InterfaceType};

/// Known to be somebody else's (`IFA_F_DADFAILED`). The kernel takes one to two seconds to find that out.
const TWIN: u32 = 0x08;

/// Of the interface `name`, with its scope and port 0; `None` until it has one. It may still be looked for a twin.
pub(crate) fn link_local(name: &str) -> io::Result<Option<SocketAddrV6>> {
    // As this process's network namespace has it.
    Ok(find(&fs::read_to_string("/proc/self/net/if_inet6")?, name))
}

/// A line: address, index of the interface, length of the prefix, scope, flags (all hexadecimal), name.
fn find(table: &str, wanted: &str) -> Option<SocketAddrV6> {
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let address = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
        let index = u32::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u32::from_str_radix(fields.nth(2)?, 16).ok()?;
        let is_it = fields.next()? == wanted && address.is_unicast_link_local() && flags & TWIN == 0;
        is_it.then(|| SocketAddrV6::new(address, 0, 0, index))
    })
}

/// The Wi-Fi Direct device address of the radio that `name` belongs to: that of its P2P device where the driver has one,
/// else its own. Blocks as long as the kernel does.
pub(crate) async fn device_address(name: &str) -> io::Result<Option<Address>> {
    let (connection, handle, _) = wl_nl80211::new_connection()?;
    let answers = tokio::spawn(connection);
    let interfaces = interfaces(&handle).await;
    answers.abort();
    Ok(p2p_device(&interfaces?, name))
}

/// May the radio that `name` belongs to have a P2P device? `None`: there is no such radio.
pub(crate) async fn has_p2p_device(name: &str) -> io::Result<Option<bool>> {
    let (connection, handle, _) = wl_nl80211::new_connection()?;
    let answers = tokio::spawn(connection);
    let interfaces = interfaces(&handle).await;
    let radios = handle.wireless_physic().get().execute().await;
    let radios: Result<Vec<_>, _> = radios.try_collect().await;
    answers.abort();
    let interfaces = interfaces?;
    let radio = interfaces.iter().find(|it| it.name.as_deref() == Some(name));
    let Some(index) = radio.and_then(|it| it.radio) else {
        return Ok(None);
    };
    // The kernel tells of a radio in several messages.
    Ok(radios.map_err(io::Error::other)?.iter().find_map(|message| {
        let attributes = &message.payload.attributes;
        let modes = attributes.iter().find_map(|attribute| match attribute {
            Nl80211Attr::SupportedIftypes(modes) => Some(modes),
            _ => None,
        });
        let is_it = attributes.contains(&Nl80211Attr::Wiphy(index));
        modes
            .filter(|_| is_it)
            .map(|modes| modes.contains(&Nl80211IfMode::P2pDevice))
    }))
}

async fn interfaces(handle: &Nl80211Handle) -> io::Result<Vec<Wireless>> {
    let messages = handle.interface().get(Vec::new()).execute().await;
    let messages: Vec<_> = messages.try_collect().await.map_err(io::Error::other)?;
    Ok(messages
        .iter()
        .map(|message| Wireless::from(message.payload.attributes.as_slice()))
        .collect())
}

/// What the kernel says of a wireless interface.
#[derive(Debug, Default)]
struct Wireless {
    radio: Option<u32>,
    name: Option<String>,
    address: Option<Address>,
    is_p2p_device: bool,
}

impl From<&[Nl80211Attr]> for Wireless {
    fn from(attributes: &[Nl80211Attr]) -> Self {
        let mut it = Self::default();
        for attribute in attributes {
            match attribute {
                Nl80211Attr::Wiphy(radio) => it.radio = Some(*radio),
                Nl80211Attr::IfName(name) => it.name = Some(name.clone()),
                Nl80211Attr::Mac(bytes) => it.address = Some(address(*bytes)),
                Nl80211Attr::IfType(kind) => it.is_p2p_device = *kind == Nl80211InterfaceType::P2pDevice,
                _ => {}
            }
        }
        it
    }
}

fn p2p_device(interfaces: &[Wireless], name: &str) -> Option<Address> {
    let main = interfaces.iter().find(|it| it.name.as_deref() == Some(name))?;
    let device = interfaces
        .iter()
        .find(|it| it.is_p2p_device && it.radio == main.radio);
    device.unwrap_or(main).address
}

/// The first byte is the highest.
pub(crate) fn address(bytes: [u8; 6]) -> Address {
    Address(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_is_that_of_the_interface_and_nobody_elses() {
        let table = "\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000440000fffe000001 0a 40 20 48 p2p-wlan0-1
fd000000000000000000000000000001 05 40 00 80 p2p-wlan0-0
fe80000000000000440000fffe000000 05 40 20 40 p2p-wlan0-0
";
        let found = find(table, "p2p-wlan0-0").unwrap();
        assert_eq!(found.ip().to_string(), "fe80::4400:ff:fe00:0");
        assert_eq!(found.scope_id(), 5);
        assert_eq!(find(table, "p2p-wlan0-1"), None);
        assert_eq!(find(table, "lo"), None);
        assert_eq!(find("fe80 x\n\nodd", "x"), None);
    }

    #[test]
    fn the_device_address_is_that_of_the_p2p_device_of_the_same_radio_else_its_own() {
        let of = |radio, name: Option<&str>, last, is_p2p_device| Wireless {
            radio: Some(radio),
            name: name.map(str::to_owned),
            address: Some(address([2, 0, 0, 0, 0, last])),
            is_p2p_device,
        };
        let interfaces = [
            of(0, Some("wlan0"), 1, false),
            of(1, None, 2, true),
            of(1, Some("wlan1"), 3, false),
        ];
        assert_eq!(p2p_device(&interfaces, "wlan0"), Some(Address(0x0200_0000_0001)));
        assert_eq!(p2p_device(&interfaces, "wlan1"), Some(Address(0x0200_0000_0002)));
        assert_eq!(p2p_device(&interfaces, "wlan2"), None);
    }
}
