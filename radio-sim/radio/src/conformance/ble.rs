//! Beacons, connections and frames.

use bytes::Bytes;

use super::steps::*;
use super::{Bench, Found, Held, Role};
use crate::{Address, Command, Event, GATT_FRAME_SIZE_BYTES_MAX};

const ONE: Bytes = Bytes::from_static(b"one beacon, 20 bytes");
const TWO: Bytes = Bytes::from_static(b"another one as large");

pub(super) fn a_beacon_is_heard_as_it_was_sent(bench: &mut dyn Bench) -> Result<Held, Found> {
    sight(bench, &ONE)?;
    // A later report comes too: a scanner is not told once and for all.
    hear(bench, &ONE)?;
    Ok(Held::Yes)
}

pub(super) fn a_new_beacon_replaces_the_old_one(bench: &mut dyn Bench) -> Result<Held, Found> {
    sight(bench, &ONE)?;
    order(bench, Role::Hub, Command::Advertise { beacon: TWO });
    hear(bench, &TWO)?;
    await_silence(
        bench,
        Role::Laptop,
        |event| matches!(event, Event::Sighted { beacon, .. } if *beacon == ONE),
    )?;
    Ok(Held::Yes)
}

pub(super) fn nothing_is_heard_after_advertising_stopped(bench: &mut dyn Bench) -> Result<Held, Found> {
    sight(bench, &ONE)?;
    order(bench, Role::Hub, Command::StopAdvertising);
    // What was in the air may still come.
    let settle = bench.silence();
    pick_within(bench, Role::Laptop, settle, |_| None::<()>);
    await_silence(bench, Role::Laptop, |event| {
        matches!(event, Event::Sighted { .. })
    })?;
    Ok(Held::Yes)
}

pub(super) fn nothing_is_reported_after_scanning_stopped(bench: &mut dyn Bench) -> Result<Held, Found> {
    sight(bench, &ONE)?;
    order(bench, Role::Laptop, Command::StopScanning);
    discard(bench, Role::Laptop);
    await_silence(bench, Role::Laptop, |event| {
        matches!(event, Event::Sighted { .. })
    })?;
    Ok(Held::Yes)
}

pub(super) fn nobody_answers_at_an_unknown_address(bench: &mut dyn Bench) -> Result<Held, Found> {
    let known = sight(bench, &ONE)?;
    order(bench, Role::Laptop, Command::StopScanning);
    let peer = Address(known.0 ^ 0xff);
    order(bench, Role::Laptop, Command::Connect { peer });
    await_exactly(bench, Role::Laptop, &Event::ConnectFailed { peer })?;
    await_silence(bench, Role::Hub, |event| matches!(event, Event::Connected { .. }))?;
    Ok(Held::Yes)
}

pub(super) fn a_connection_tells_a_frame_limit_within_the_contract(
    bench: &mut dyn Bench,
) -> Result<Held, Found> {
    let link = connect(bench)?;
    for limit in [link.hub_mtu_bytes, link.laptop_mtu_bytes] {
        if !(20..=GATT_FRAME_SIZE_BYTES_MAX).contains(&limit) {
            return Err(format!("a frame limit of {limit} bytes"));
        }
    }
    Ok(Held::Yes)
}

pub(super) fn frames_of_every_size_go_both_ways_whole(bench: &mut dyn Bench) -> Result<Held, Found> {
    let link = connect(bench)?;
    for role in [Role::Laptop, Role::Hub] {
        let limit = link.of(role).1;
        for size in [1, 2, 19, 20, limit / 2, limit - 1, limit] {
            // Marked, so that a late repetition of another frame is not taken for this one.
            send(
                bench,
                &link,
                role,
                &pattern(size * 7 + usize::from(role == Role::Hub), size),
            )?;
        }
    }
    Ok(Held::Yes)
}

pub(super) fn a_frame_over_the_limit_is_never_delivered(bench: &mut dyn Bench) -> Result<Held, Found> {
    let link = connect(bench)?;
    let (conn, limit) = link.of(Role::Laptop);
    order(
        bench,
        Role::Laptop,
        Command::Send {
            conn,
            frame: pattern(0, limit + 1),
        },
    );
    let hub = link.hub;
    await_silence(
        bench,
        Role::Hub,
        |event| matches!(event, Event::Received { conn, frame } if *conn == hub && frame.len() > 5),
    )?;
    Ok(Held::Yes)
}

fn disconnect(bench: &mut dyn Bench, by: Role) -> Result<Held, Found> {
    let link = connect(bench)?;
    order(bench, by, Command::Disconnect { conn: link.of(by).0 });
    for role in [by, by.other()] {
        let conn = link.of(role).0;
        await_exactly(bench, role, &Event::Disconnected { conn })?;
        await_silence(bench, role, |event| *event == Event::Disconnected { conn })?;
    }
    Ok(Held::Yes)
}

pub(super) fn a_disconnect_is_seen_by_both_sides(bench: &mut dyn Bench) -> Result<Held, Found> {
    disconnect(bench, Role::Laptop)
}

pub(super) fn the_hub_can_disconnect_too(bench: &mut dyn Bench) -> Result<Held, Found> {
    disconnect(bench, Role::Hub)
}

pub(super) fn a_closed_connection_ignores_commands(bench: &mut dyn Bench) -> Result<Held, Found> {
    let link = connect(bench)?;
    let (conn, _) = link.of(Role::Laptop);
    order(bench, Role::Laptop, Command::Disconnect { conn });
    await_exactly(bench, Role::Hub, &Event::Disconnected { conn: link.hub })?;
    order(bench, Role::Laptop, Command::Send { conn, frame: ONE });
    order(bench, Role::Laptop, Command::Disconnect { conn });
    await_silence(bench, Role::Hub, |event| {
        matches!(event, Event::Received { .. } | Event::Disconnected { .. })
    })?;
    Ok(Held::Yes)
}
