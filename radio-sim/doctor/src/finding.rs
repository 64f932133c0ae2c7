//! From what was read to what it means for a hub or a laptop.

use serde::Serialize;

use crate::seen::{Absent, Seen};
use crate::{bluetooth, wifi};

/// Who is to use the radios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Advertises, and opens a Wi-Fi Direct group.
    Hub,
    /// Scans, and joins.
    Laptop,
}

/// How good what was found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Berth works, but not as well as it could.
    Limited,
    /// Berth does not work so.
    Missing,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How good it is.
    pub state: State,
    /// Whose it is: a service, an adapter.
    pub about: String,
    /// What was found.
    pub text: String,
    /// What a person can do about it.
    pub advice: Option<String>,
}

impl Finding {
    pub(crate) fn ok(about: &str, text: impl Into<String>) -> Self {
        Self {
            state: State::Ok,
            about: about.to_owned(),
            text: text.into(),
            advice: None,
        }
    }

    pub(crate) fn not(state: State, about: &str, text: impl Into<String>, advice: &str) -> Self {
        Self {
            state,
            advice: Some(advice.to_owned()),
            ..Self::ok(about, text)
        }
    }
}

pub(crate) const BLUETOOTH: &str = "Bluetooth";
pub(crate) const WIFI: &str = "Wi-Fi";
const BLUEZ: &str = "BlueZ";
pub(crate) const SUPPLICANT: &str = "wpa_supplicant";
pub(crate) const NETWORK_MANAGER: &str = "NetworkManager";

/// What it means for this side, in the order in which a person would put it right. `wanted`: the Bluetooth adapter that is
/// to be used.
pub(crate) fn findings(side: Side, seen: &Seen, wanted: Option<&str>) -> Vec<Finding> {
    let mut findings = switches(seen);
    findings.push(match &seen.bluez {
        Ok(()) => Finding::ok(BLUEZ, "runs"),
        Err(absent) => {
            let advice = match absent {
                Absent::NotRunning => "Install bluez, then: systemctl enable --now bluetooth",
                Absent::Denied => "Log in at the computer itself, or join the group bluetooth.",
                other => remedy(other, "Look into its log: journalctl -u bluetooth"),
            };
            Finding::not(State::Missing, BLUEZ, words(absent), advice)
        }
    });
    findings.extend(bluetooth::adapters(side, seen, wanted));
    match side {
        Side::Hub => {
            findings.extend(wifi::owners(&seen.radios));
            findings.push(wifi::hub_supplicant(&seen.supplicant));
            findings.extend(wifi::hub_network_manager(seen));
        }
        Side::Laptop => {
            findings.extend(wifi::clients(seen));
            findings.extend(wifi::ways(seen));
        }
    }
    findings
}

pub(crate) fn words(absent: &Absent) -> String {
    match absent {
        Absent::NoBus => "can't be asked: the system bus can't be reached".to_owned(),
        Absent::NotRunning => "does not run".to_owned(),
        Absent::Denied => "may not be used by this user".to_owned(),
        Absent::Silent => "does not answer".to_owned(),
        Absent::Odd(why) => format!("answers: {why}"),
    }
}

pub(crate) fn remedy(absent: &Absent, otherwise: &'static str) -> &'static str {
    match absent {
        Absent::NoBus => "Start D-Bus: systemctl start dbus",
        _ => otherwise,
    }
}

/// Switched off is missing only where nothing of the kind is left on.
fn switches(seen: &Seen) -> Vec<Finding> {
    let off = |kind: &str| seen.switches.iter().filter(|switch| switch.kind == kind).count();
    let kinds = [
        ("bluetooth", seen.adapters.len(), BLUETOOTH),
        ("wlan", seen.radios.len(), WIFI),
    ];
    let mut findings = Vec::new();
    for (kind, all, about) in kinds {
        let state = if off(kind) < all {
            State::Limited
        } else {
            State::Missing
        };
        for switch in seen.switches.iter().filter(|switch| switch.kind == kind) {
            let text = format!("{} is switched off", switch.name);
            let advice = match (switch.is_hard, kind) {
                (true, _) => "Use the computer's own switch or key for it.",
                (false, "wlan") => "Switch it on: rfkill unblock wifi",
                (false, _) => "Switch it on: rfkill unblock bluetooth",
            };
            findings.push(Finding::not(state, about, text, advice));
        }
    }
    findings
}

/// One that is as it should be is enough: what the others miss only limits.
pub(crate) fn best_of(mut findings: Vec<Finding>) -> Vec<Finding> {
    if findings.iter().any(|finding| finding.state != State::Missing) {
        for finding in &mut findings {
            if finding.state == State::Missing {
                finding.state = State::Limited;
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::{Adapter, Band, Beside, Controller, Interface, NetworkManager, Switch, WifiRadio};

    fn adapter(name: &str, is_powered: bool, roles: &[&str]) -> Adapter {
        Adapter {
            name: name.to_owned(),
            controller: Some(Controller {
                is_powered,
                roles: roles.iter().map(ToString::to_string).collect(),
                advertisements_free: Some(5),
                advertisements: Some(0),
            }),
        }
    }

    /// As read in the radio lab: BlueZ 5.66, wpa_supplicant 2.10, two channels at once.
    fn lab() -> Seen {
        let band = |ghz, is_for_groups| Band { ghz, is_for_groups };
        Seen {
            bluez: Ok(()),
            adapters: vec![adapter("hci0", true, &["central", "peripheral"])],
            switches: Vec::new(),
            radios: vec![WifiRadio {
                name: "phy0".to_owned(),
                interfaces: vec!["wlan0".to_owned()],
                bands: vec![band("2.4", true), band("5", true), band("6", false)],
                owner: Beside::AnyChannel,
                client: Beside::AnyChannel,
            }],
            supplicant: Ok(vec![Interface {
                name: "wlan0".to_owned(),
                has_p2p: true,
            }]),
            network_manager: Err(Absent::NotRunning),
        }
    }

    fn none() -> Seen {
        Seen {
            bluez: Err(Absent::NoBus),
            adapters: Vec::new(),
            switches: Vec::new(),
            radios: Vec::new(),
            supplicant: Err(Absent::NoBus),
            network_manager: Err(Absent::NoBus),
        }
    }

    /// What is found of `about` after this change of the lab.
    fn found(side: Side, about: &str, change: impl FnOnce(&mut Seen)) -> Vec<(State, String)> {
        let mut seen = lab();
        change(&mut seen);
        let all = findings(side, &seen, None).into_iter();
        let them = all.filter(|finding| finding.about == about);
        them.map(|finding| (finding.state, finding.text)).collect()
    }

    fn worst(side: Side, seen: &Seen) -> State {
        let states = findings(side, seen, None)
            .into_iter()
            .map(|finding| finding.state);
        states.max_by_key(|state| *state as u8).unwrap()
    }

    #[test]
    fn a_computer_with_everything_is_enough_for_both_and_one_with_nothing_for_none() {
        for side in [Side::Hub, Side::Laptop] {
            assert_eq!(worst(side, &lab()), State::Ok);
            let nothing = findings(side, &none(), None);
            assert!(nothing.iter().all(|it| it.state == State::Missing), "{nothing:?}");
        }
    }

    #[test]
    fn whatever_is_not_as_it_should_be_comes_with_advice() {
        let mut seens = vec![lab(), none()];
        for absent in [
            Absent::NotRunning,
            Absent::Denied,
            Absent::Silent,
            Absent::Odd("?".to_owned()),
        ] {
            let mut seen = lab();
            seen.bluez = Err(absent.clone());
            seen.supplicant = Err(absent.clone());
            seen.network_manager = Err(absent);
            seens.push(seen);
        }
        for finding in seens.iter().flat_map(|seen| findings(Side::Hub, seen, None)) {
            assert_eq!(
                finding.advice.is_some(),
                finding.state != State::Ok,
                "{finding:?}"
            );
        }
        for finding in seens.iter().flat_map(|seen| findings(Side::Laptop, seen, None)) {
            assert_eq!(
                finding.advice.is_some(),
                finding.state != State::Ok,
                "{finding:?}"
            );
        }
    }

    #[test]
    fn a_hub_needs_a_peripheral_and_a_laptop_a_central() {
        let central_only = |seen: &mut Seen| seen.adapters = vec![adapter("hci0", true, &["central"])];
        assert_eq!(found(Side::Hub, BLUETOOTH, central_only)[0].0, State::Missing);
        assert_eq!(found(Side::Laptop, BLUETOOTH, central_only)[0].0, State::Ok);
        let no_room = |seen: &mut Seen| {
            let controller = seen.adapters[0].controller.as_mut().unwrap();
            controller.advertisements_free = None;
            controller.advertisements = None;
        };
        assert_eq!(found(Side::Hub, BLUETOOTH, no_room)[0].0, State::Missing);
        assert_eq!(found(Side::Laptop, BLUETOOTH, no_room)[0].0, State::Ok);
    }

    #[test]
    fn one_adapter_that_can_is_enough() {
        let two = |seen: &mut Seen| seen.adapters.push(adapter("hci1", true, &["central"]));
        let states: Vec<State> = found(Side::Hub, BLUETOOTH, two)
            .into_iter()
            .map(|it| it.0)
            .collect();
        assert_eq!(states, [State::Ok, State::Limited]);
    }

    #[test]
    fn the_hub_switches_its_adapter_on_unless_rfkill_holds_it() {
        let off = |seen: &mut Seen| seen.adapters = vec![adapter("hci0", false, &["peripheral", "central"])];
        assert_eq!(found(Side::Hub, BLUETOOTH, off)[0].0, State::Ok);
        assert_eq!(found(Side::Laptop, BLUETOOTH, off)[0].0, State::Missing);
        let held = |seen: &mut Seen| {
            off(seen);
            let switch = |is_hard| Switch {
                kind: "bluetooth".to_owned(),
                name: "hci0".to_owned(),
                is_hard,
            };
            seen.switches = vec![switch(false)];
        };
        let held = found(Side::Hub, BLUETOOTH, held);
        assert!(held.iter().all(|it| it.0 == State::Missing), "{held:?}");
        assert_eq!(held[0].1, "hci0 is switched off");
    }

    #[test]
    fn a_hub_needs_a_group_and_likes_it_fast_and_beside_its_network() {
        let state =
            |change: fn(&mut WifiRadio)| found(Side::Hub, WIFI, |seen| change(&mut seen.radios[0]))[0].0;
        assert_eq!(state(|radio| radio.owner = Beside::SameChannel), State::Ok);
        assert_eq!(state(|radio| radio.owner = Beside::Alone), State::Limited);
        assert_eq!(state(|radio| radio.owner = Beside::No), State::Missing);
        // What the world domain allows: to listen on 5 GHz, not to send unasked.
        assert_eq!(
            state(|radio| radio.bands[1].is_for_groups = false),
            State::Limited
        );
        assert_eq!(state(|radio| radio.bands.clear()), State::Missing);
    }

    fn network_manager(may_join: bool, managed: &[&str]) -> NetworkManager {
        NetworkManager {
            may_join,
            managed: managed.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn one_way_into_a_group_is_enough_for_a_laptop_and_none_is_not() {
        let mut seen = lab();
        seen.supplicant = Err(Absent::Denied);
        assert_eq!(worst(Side::Laptop, &seen), State::Missing);
        seen.network_manager = Ok(network_manager(true, &["wlan0"]));
        assert_eq!(worst(Side::Laptop, &seen), State::Limited);
        seen.network_manager = Ok(network_manager(false, &["wlan0"]));
        assert_eq!(worst(Side::Laptop, &seen), State::Missing);
        seen.network_manager = Ok(network_manager(true, &[]));
        assert_eq!(worst(Side::Laptop, &seen), State::Missing);
        seen.supplicant = Ok(Vec::new());
        assert_eq!(worst(Side::Laptop, &seen), State::Ok);
        seen.radios[0].client = Beside::No;
        assert_eq!(worst(Side::Laptop, &seen), State::Limited);
    }

    #[test]
    fn a_laptop_whose_wifi_is_networkmanagers_leaves_its_network_and_nobody_else_can_lend_it() {
        let managed = |may_join| {
            move |seen: &mut Seen| seen.network_manager = Ok(network_manager(may_join, &["wlan0"]))
        };
        let wifi = found(Side::Laptop, WIFI, managed(true));
        assert_eq!(wifi[0].0, State::Limited);
        assert!(wifi[0].1.contains("NetworkManager manages it"), "{wifi:?}");
        assert_eq!(
            found(Side::Laptop, NETWORK_MANAGER, managed(true))[0].0,
            State::Ok
        );
        assert_eq!(
            found(Side::Laptop, NETWORK_MANAGER, managed(false))[0].0,
            State::Missing
        );
    }

    #[test]
    fn a_hub_needs_an_adapter_for_groups_that_networkmanager_leaves_alone() {
        let state = |managed: &[&str], change: fn(&mut Seen)| {
            let mut seen = lab();
            seen.radios.push(WifiRadio {
                interfaces: vec!["wlan1".to_owned()],
                ..seen.radios[0].clone()
            });
            seen.network_manager = Ok(network_manager(true, managed));
            change(&mut seen);
            worst(Side::Hub, &seen)
        };
        assert_eq!(state(&[], |_| {}), State::Ok);
        assert_eq!(state(&["wlan0"], |_| {}), State::Ok);
        assert_eq!(state(&["wlan0", "wlan1"], |_| {}), State::Missing);
        // What is left alone must be good for groups.
        assert_eq!(
            state(&["wlan0"], |seen| seen.radios[1].owner = Beside::No),
            State::Missing
        );
        assert_eq!(
            state(&[], |seen| seen.network_manager = Err(Absent::NotRunning)),
            State::Ok
        );
    }

    #[test]
    fn of_several_bluetooth_adapters_only_the_one_that_is_named_counts() {
        let mut seen = lab();
        seen.adapters.push(adapter("hci1", true, &["central"]));
        seen.switches = vec![Switch {
            kind: "bluetooth".to_owned(),
            name: "hci0".to_owned(),
            is_hard: false,
        }];
        seen.narrow(None);
        assert_eq!(seen.adapters.len(), 2);
        seen.narrow(Some("hci1"));
        assert_eq!(worst(Side::Laptop, &seen), State::Ok);
        assert_eq!(worst(Side::Hub, &seen), State::Missing);
        seen.narrow(Some("hci7"));
        let all = findings(Side::Laptop, &seen, Some("hci7"));
        let it = all.iter().find(|finding| finding.about == BLUETOOTH).unwrap();
        assert_eq!(it.text, "this computer has no adapter hci7");
    }
}
