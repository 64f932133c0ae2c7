//! What the Wi-Fi radios, and the services that steer them, mean for a hub or a laptop.

use crate::finding::{Finding, NETWORK_MANAGER, SUPPLICANT, State, WIFI, best_of, remedy, words};
use crate::seen::{Absent, Beside, Interface, NetworkManager, Seen, WifiRadio};

fn no_wifi() -> Vec<Finding> {
    let advice = "Plug in a Wi-Fi adapter, or look whether the system sees it: dmesg";
    vec![Finding::not(
        State::Missing,
        WIFI,
        "this computer has no adapter",
        advice,
    )]
}

fn label(radio: &WifiRadio) -> String {
    match radio.interfaces.as_slice() {
        [] => radio.name.clone(),
        interfaces => interfaces.join(", "),
    }
}

fn ghz<'a>(bands: impl Iterator<Item = &'a str>) -> String {
    let bands: Vec<&str> = bands.collect();
    format!("{} GHz", bands.join("/"))
}

/// For a hub.
pub(crate) fn owners(radios: &[WifiRadio]) -> Vec<Finding> {
    if radios.is_empty() {
        return no_wifi();
    }
    best_of(radios.iter().map(owner).collect())
}

fn is_for_groups(radio: &WifiRadio, ghz: &str) -> bool {
    let mut bands = radio.bands.iter();
    bands.any(|band| band.ghz == ghz && band.is_for_groups)
}

fn can_own(radio: &WifiRadio) -> bool {
    radio.owner != Beside::No && (is_for_groups(radio, "2.4") || is_for_groups(radio, "5"))
}

fn is_managed(radio: &WifiRadio, by: &NetworkManager) -> bool {
    radio.interfaces.iter().any(|name| by.managed.contains(name))
}

fn owner(radio: &WifiRadio) -> Finding {
    let name = label(radio);
    if !can_own(radio) {
        return Finding::not(
            State::Missing,
            WIFI,
            format!("{name} can't open a Wi-Fi Direct group"),
            "Use an adapter that can (iw list names P2P-GO), or a network that is there (--listen).",
        );
    }
    let bands = radio
        .bands
        .iter()
        .filter(|band| band.is_for_groups && band.ghz != "6");
    let text = format!(
        "{name} can open a Wi-Fi Direct group, {}",
        ghz(bands.map(|band| band.ghz))
    );
    if radio.owner == Beside::Alone {
        return Finding::not(
            State::Limited,
            WIFI,
            format!("{text}, but only while it is on no network itself"),
            "Connect the hub by cable, or give it a second Wi-Fi adapter.",
        );
    }
    if !is_for_groups(radio, "5") {
        return Finding::not(
            State::Limited,
            WIFI,
            format!("{text}: 5 GHz would be faster"),
            "If the adapter has 5 GHz, say in which country it is: iw reg set COUNTRY",
        );
    }
    Finding::ok(WIFI, format!("{text}, {}", beside_words(radio.owner)))
}

fn beside_words(beside: Beside) -> &'static str {
    match beside {
        Beside::SameChannel => "beside its network and on its channel",
        Beside::AnyChannel => "beside its network and on any channel",
        Beside::No | Beside::Alone => "not beside its network",
    }
}

/// For a laptop.
pub(crate) fn clients(seen: &Seen) -> Vec<Finding> {
    if seen.radios.is_empty() {
        return no_wifi();
    }
    let of = |radio: &WifiRadio| {
        let text = format!(
            "{}, {}",
            label(radio),
            ghz(radio.bands.iter().map(|band| band.ghz))
        );
        let leaves = "it leaves its network to join a hub, and comes back to it";
        if seen
            .network_manager
            .as_ref()
            .is_ok_and(|it| is_managed(radio, it))
        {
            return Finding::not(
                State::Limited,
                WIFI,
                format!("{text}: NetworkManager manages it, so it joins as a station: {leaves}"),
                "It stays on its network only where wpa_supplicant alone has the Wi-Fi (docs/hardware.md).",
            );
        }
        match radio.client {
            Beside::SameChannel | Beside::AnyChannel => Finding::ok(
                WIFI,
                format!("{text}: joins a hub {}", beside_words(radio.client)),
            ),
            Beside::No | Beside::Alone => Finding::not(
                State::Limited,
                WIFI,
                format!("{text}: {leaves}"),
                "An adapter for Wi-Fi Direct (iw list names P2P-client) stays on its network.",
            ),
        }
    };
    seen.radios.iter().map(of).collect()
}

/// One that runs.
fn supplicant(interfaces: &[Interface]) -> Finding {
    match (interfaces.iter().find(|it| it.has_p2p), interfaces.first()) {
        (Some(it), _) => Finding::ok(SUPPLICANT, format!("runs, with Wi-Fi Direct on {}", it.name)),
        (None, None) => Finding::ok(SUPPLICANT, "runs, and is given an interface when it is needed"),
        (None, Some(it)) => Finding::not(
            State::Missing,
            SUPPLICANT,
            format!("runs, but has no Wi-Fi Direct on {}", it.name),
            "Take p2p_disabled out of its configuration, or use another adapter.",
        ),
    }
}

/// For a hub.
pub(crate) fn hub_supplicant(answer: &Result<Vec<Interface>, Absent>) -> Finding {
    match answer {
        Ok(interfaces) => supplicant(interfaces),
        Err(absent) => {
            let advice = match absent {
                Absent::NotRunning => {
                    "Install wpasupplicant and start it with its D-Bus interface: systemctl enable --now wpa_supplicant"
                }
                Absent::Denied => "Run the hub as root, or allow its user to use it (docs/operating.md).",
                other => remedy(other, "Look into its log: journalctl -u wpa_supplicant"),
            };
            Finding::not(State::Missing, SUPPLICANT, words(absent), advice)
        }
    }
}

/// For a hub, which needs an adapter that NetworkManager leaves alone.
pub(crate) fn hub_network_manager(seen: &Seen) -> Vec<Finding> {
    let it = match &seen.network_manager {
        Ok(it) => it,
        Err(Absent::NotRunning) => return vec![Finding::ok(NETWORK_MANAGER, "does not run")],
        // Told of BlueZ already.
        Err(Absent::NoBus) => return Vec::new(),
        Err(absent) => {
            let advice = "If no group stays up, look into its log: journalctl -u NetworkManager";
            let finding = Finding::not(State::Limited, NETWORK_MANAGER, words(absent), advice);
            return vec![finding];
        }
    };
    let managed = it.managed.join(", ");
    let free = |radio: &&WifiRadio| can_own(radio) && !is_managed(radio, it);
    let finding = match seen.radios.iter().find(free) {
        _ if managed.is_empty() => Finding::ok(NETWORK_MANAGER, "runs, and manages no Wi-Fi adapter"),
        Some(radio) => {
            let text = format!("manages {managed}, and leaves {} alone", label(radio));
            Finding::ok(NETWORK_MANAGER, text)
        }
        None => Finding::not(
            State::Missing,
            NETWORK_MANAGER,
            format!("manages {managed}, and ends every Wi-Fi Direct group there"),
            "Have it leave the hub's adapter alone: nmcli device set INTERFACE managed no (for good: docs/operating.md)",
        ),
    };
    vec![finding]
}

/// For a laptop. Of the ways into a group one is enough; where NetworkManager has the Wi-Fi there is no other.
pub(crate) fn ways(seen: &Seen) -> Vec<Finding> {
    let direct = match &seen.supplicant {
        Ok(interfaces) => supplicant(interfaces),
        Err(absent) => {
            let advice = match absent {
                Absent::NotRunning => {
                    "Install wpasupplicant and start it: systemctl enable --now wpa_supplicant"
                }
                Absent::Denied => "Join its group and log in again: sudo adduser $USER netdev",
                other => remedy(other, "Look into its log: journalctl -u wpa_supplicant"),
            };
            Finding::not(State::Missing, SUPPLICANT, words(absent), advice)
        }
    };
    // wpa_supplicant alone can join as a station too.
    let is_alone = seen.supplicant.is_ok();
    let station = match &seen.network_manager {
        Ok(it) if it.managed.is_empty() => match is_alone {
            true => Finding::ok(NETWORK_MANAGER, "runs, and leaves the Wi-Fi to wpa_supplicant"),
            false => Finding::not(
                State::Missing,
                NETWORK_MANAGER,
                "runs, but manages no Wi-Fi adapter",
                "Give it the adapter: nmcli device set INTERFACE managed yes",
            ),
        },
        Ok(it) => {
            let lends = match it.may_join {
                true => Finding::ok(NETWORK_MANAGER, "runs, and lets this user join networks"),
                false => Finding::not(
                    State::Missing,
                    NETWORK_MANAGER,
                    "runs, but does not let this user join networks unasked",
                    "Log in at the computer itself, or see `nmcli general permissions`.",
                ),
            };
            return vec![lends];
        }
        Err(Absent::NotRunning) if is_alone => {
            Finding::ok(NETWORK_MANAGER, "does not run, and wpa_supplicant does without")
        }
        Err(absent) => {
            let advice = remedy(absent, "Start it: systemctl enable --now NetworkManager");
            Finding::not(State::Missing, NETWORK_MANAGER, words(absent), advice)
        }
    };
    best_of(vec![direct, station])
}
