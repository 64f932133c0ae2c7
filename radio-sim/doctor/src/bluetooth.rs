//! What the Bluetooth adapters mean for a hub or a laptop.

use crate::finding::{BLUETOOTH, Finding, Side, State, best_of};
use crate::seen::{Adapter, Controller, Seen};

/// What this side can do with the adapters that there are, or with the one that is `wanted`.
pub(crate) fn adapters(side: Side, seen: &Seen, wanted: Option<&str>) -> Vec<Finding> {
    if let (true, Some(name)) = (seen.adapters.is_empty(), wanted) {
        return vec![Finding::not(
            State::Missing,
            BLUETOOTH,
            format!("this computer has no adapter {name}"),
            "Choose one that bluetoothctl list names, or leave the choice to Berth: --radio bluez",
        )];
    }
    if seen.adapters.is_empty() {
        let advice = "Plug in a Bluetooth adapter (4.0 or newer), or look whether the system sees it: dmesg";
        return vec![Finding::not(
            State::Missing,
            BLUETOOTH,
            "this computer has no adapter",
            advice,
        )];
    }
    best_of(seen.adapters.iter().map(|it| adapter(side, it, seen)).collect())
}

fn adapter(side: Side, Adapter { name, controller }: &Adapter, seen: &Seen) -> Finding {
    let Some(it) = controller else {
        let advice = "Have BlueZ running first; then look into its log: journalctl -u bluetooth";
        let text = format!("{name} is there, but BlueZ says nothing of it");
        return Finding::not(State::Missing, BLUETOOTH, text, advice);
    };
    if !has_role(side, it) {
        let (text, advice) = match side {
            Side::Hub => (
                "can't advertise as a peripheral",
                "Use an adapter for Bluetooth 4.1 or newer.",
            ),
            Side::Laptop => (
                "can't scan as a central",
                "Use an adapter for Bluetooth 4.0 or newer.",
            ),
        };
        return Finding::not(State::Missing, BLUETOOTH, format!("{name} {text}"), advice);
    }
    let roles = match it.roles.as_slice() {
        [] => "roles unknown".to_owned(),
        roles => roles.join(", "),
    };
    let is_off_for_good = seen.switches.iter().any(|switch| switch.name == *name);
    match (it.is_powered, side) {
        (true, _) => Finding::ok(BLUETOOTH, format!("{name} is on: {roles}")),
        (false, Side::Hub) if !is_off_for_good => Finding::ok(
            BLUETOOTH,
            format!("{name} is off, and the hub switches it on: {roles}"),
        ),
        (false, _) => Finding::not(
            State::Missing,
            BLUETOOTH,
            format!("{name} is off"),
            "Switch it on: bluetoothctl power on",
        ),
    }
}

fn has_role(side: Side, it: &Controller) -> bool {
    let role = match side {
        Side::Hub => "peripheral",
        Side::Laptop => "central",
    };
    let has_room = it.advertisements_free.unwrap_or(0) > 0 || it.advertisements.unwrap_or(0) > 0;
    let is_told = it.roles.is_empty() || it.roles.iter().any(|it| it == role);
    is_told && (side == Side::Laptop || has_room)
}
