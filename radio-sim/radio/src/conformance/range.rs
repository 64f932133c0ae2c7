//! What ends when a radio is gone.

use super::steps::*;
use super::{Bench, Found, Held, Role};
use crate::{Command, Event};

pub(super) fn out_of_range_ends_connection_stream_and_membership(
    bench: &mut dyn Bench,
) -> Result<Held, Found> {
    let link = connect(bench)?;
    let pipe = open_stream(bench)?;
    if !bench.laptop_near(false) {
        return Ok(Held::Skipped);
    }
    // In no order: each is noticed by another part of the radio.
    let mut missing = vec![
        Event::Disconnected { conn: link.laptop },
        Event::StreamClosed {
            stream: pipe.of(Role::Laptop),
        },
        Event::Left,
    ];
    await_event(bench, Role::Laptop, "the end of everything", |event| {
        missing.retain(|expected| *expected != event);
        missing.is_empty().then_some(())
    })?;
    await_exactly(bench, Role::Hub, &Event::Disconnected { conn: link.hub })?;
    order(bench, Role::Hub, Command::StopGroup);
    await_exactly(bench, Role::Hub, &Event::GroupStopped)?;
    bench.laptop_near(true);
    discard(bench, Role::Hub);
    let again = open_stream(bench)?;
    carry(bench, &again, Role::Laptop, 10_000, &[1_000])?;
    Ok(Held::Yes)
}

pub(super) fn a_lost_adapter_is_told_and_works_again_when_back(bench: &mut dyn Bench) -> Result<Held, Found> {
    connect(bench)?;
    if !bench.adapter(Role::Laptop, false) {
        return Ok(Held::Skipped);
    }
    await_exactly(bench, Role::Laptop, &Event::AdapterGone)?;
    order(bench, Role::Laptop, Command::Scan);
    await_silence(bench, Role::Laptop, |_| true)?;
    bench.adapter(Role::Laptop, true);
    await_exactly(bench, Role::Laptop, &Event::AdapterBack)?;
    // The hub learns of the old connection's end in its own time.
    await_event(
        bench,
        Role::Hub,
        "the old connection's end",
        |event| match event {
            Event::Disconnected { .. } => Some(()),
            _ => None,
        },
    )?;
    let link = connect(bench)?;
    send(bench, &link, Role::Laptop, &pattern(9, 20))?;
    Ok(Held::Yes)
}

pub(super) fn the_laptop_notices_that_the_hub_adapter_is_gone(bench: &mut dyn Bench) -> Result<Held, Found> {
    let pipe = open_stream(bench)?;
    if !bench.adapter(Role::Hub, false) {
        return Ok(Held::Skipped);
    }
    await_exactly(bench, Role::Hub, &Event::AdapterGone)?;
    await_exactly(
        bench,
        Role::Laptop,
        &Event::StreamClosed {
            stream: pipe.of(Role::Laptop),
        },
    )?;
    await_exactly(bench, Role::Laptop, &Event::Left)?;
    bench.adapter(Role::Hub, true);
    await_exactly(bench, Role::Hub, &Event::AdapterBack)?;
    let again = open_stream(bench)?;
    carry(bench, &again, Role::Hub, 10_000, &[1_000])?;
    Ok(Held::Yes)
}
