//! What the kernel says of network interfaces: the same for every way into a group.

use std::{fs, io, str};

const INTERFACES: &str = "/sys/class/net";

/// The laptop's Wi-Fi interface: the first one that is no group's.
pub(crate) fn wifi_interface() -> Option<String> {
    let entries = fs::read_dir(INTERFACES).ok()?;
    entries
        .flatten()
        .filter(|entry| entry.path().join("phy80211").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with("p2p-"))
        .min()
}

/// Can it send and receive, so is it let in where it is?
pub(crate) fn is_up(interface: &str) -> bool {
    read(interface, "operstate").is_ok_and(|state| state == "up")
}

/// Its number, which a link-local address needs beside it.
pub(crate) fn index(interface: &str) -> io::Result<u32> {
    read(interface, "ifindex")?
        .parse()
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Does it have a link-local IPv6 address, be it one that is still checked for a twin?
pub(crate) fn has_link_local(interface: &str) -> bool {
    fs::read_to_string("/proc/net/if_inet6").is_ok_and(|table| is_link_local_in(&table, interface))
}

fn read(interface: &str, attribute: &str) -> io::Result<String> {
    let text = fs::read_to_string(format!("{INTERFACES}/{interface}/{attribute}"))?;
    Ok(text.trim_end().to_owned())
}

/// A line has an address, the interface's number, the prefix's length, scope, flags and the interface's name.
fn is_link_local_in(table: &str, interface: &str) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let is_link_local = fields.next().is_some_and(|address| address.starts_with("fe80"));
        is_link_local && fields.next_back() == Some(interface)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_counts_for_its_own_interface() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe80000000000000000000fffe000100 05 40 20 40    wlan1\n\
                     20010db8000000000000000000000001 06 40 00 80    wlan2\n";
        assert!(is_link_local_in(table, "wlan1"));
        for other in ["wlan2", "lo", "wlan", ""] {
            assert!(!is_link_local_in(table, other), "{other:?}");
        }
    }
}
