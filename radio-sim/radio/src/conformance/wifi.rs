//! Groups and streams.

use std::time::Duration;

use super::steps::*;
use super::{Bench, Found, Held, Role};
use crate::{
    Command, Event, GroupCredentials, STREAM_PIECE_SIZE_BYTES_MAX, STREAM_WINDOW_BYTES, STREAM_WINDOW_PIECES,
};

/// What radio and kernels may hold back for a receiver that does not read, beyond its own window.
const BUFFERS_SIZE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Sizes of pieces, as odd as they come.
const SIZES: [usize; 6] = [1, 4096, STREAM_PIECE_SIZE_BYTES_MAX, 65_519, 3, 1400];

fn well_formed(credentials: &GroupCredentials) -> Result<(), Found> {
    let GroupCredentials {
        ssid,
        passphrase,
        frequency_mhz,
        endpoint,
        device,
    } = credentials;
    let fine = (1..=32).contains(&ssid.len())
        && (8..=63).contains(&passphrase.len())
        && passphrase
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && (2_400..=7_200).contains(frequency_mhz)
        && endpoint.contains(':')
        && device.0 < 1 << 48;
    // No passphrase in a message: it may end in a log.
    if fine {
        Ok(())
    } else {
        Err(format!("credentials of {ssid:?} are not as the contract says"))
    }
}

pub(super) fn a_group_tells_credentials_within_the_contract(bench: &mut dyn Bench) -> Result<Held, Found> {
    well_formed(&start_group(bench)?)?;
    Ok(Held::Yes)
}

pub(super) fn every_group_has_fresh_credentials(bench: &mut dyn Bench) -> Result<Held, Found> {
    let first = start_group(bench)?;
    order(bench, Role::Hub, Command::StopGroup);
    await_exactly(bench, Role::Hub, &Event::GroupStopped)?;
    let second = start_group(bench)?;
    if first.passphrase == second.passphrase || first.ssid == second.ssid {
        return Err("two groups share a name or a passphrase".to_owned());
    }
    Ok(Held::Yes)
}

pub(super) fn the_right_credentials_join(bench: &mut dyn Bench) -> Result<Held, Found> {
    let credentials = start_group(bench)?;
    join(bench, &credentials)?;
    Ok(Held::Yes)
}

pub(super) fn a_wrong_passphrase_is_refused(bench: &mut dyn Bench) -> Result<Held, Found> {
    let right = start_group(bench)?;
    let wrong = GroupCredentials {
        passphrase: "not the right one".to_owned(),
        ..right.clone()
    };
    if try_join(bench, &wrong)? {
        return Err("joined with a wrong passphrase".to_owned());
    }
    order(bench, Role::Laptop, Command::Dial);
    await_exactly(bench, Role::Laptop, &Event::StreamFailed)?;
    // The refusal does no harm.
    join(bench, &right)?;
    Ok(Held::Yes)
}

pub(super) fn nobody_dials_without_a_group(bench: &mut dyn Bench) -> Result<Held, Found> {
    order(bench, Role::Laptop, Command::Dial);
    await_exactly(bench, Role::Laptop, &Event::StreamFailed)?;
    Ok(Held::Yes)
}

pub(super) fn a_stream_carries_both_ways_in_order(bench: &mut dyn Bench) -> Result<Held, Found> {
    let pipe = open_stream(bench)?;
    for role in [Role::Laptop, Role::Hub] {
        carry(bench, &pipe, role, 2 * STREAM_WINDOW_BYTES + 17, &SIZES)?;
    }
    Ok(Held::Yes)
}

pub(super) fn drained_adds_up_to_what_was_written(bench: &mut dyn Bench) -> Result<Held, Found> {
    let pipe = open_stream(bench)?;
    // `carry` ends only when all is drained and fails when more is.
    carry(bench, &pipe, Role::Laptop, 300_000, &[1, 7, 100_000])?;
    let stream = pipe.of(Role::Laptop);
    await_silence(
        bench,
        Role::Laptop,
        |event| matches!(event, Event::Drained { stream: of, .. } if *of == stream),
    )?;
    Ok(Held::Yes)
}

pub(super) fn a_whole_window_is_taken_at_once(bench: &mut dyn Bench) -> Result<Held, Found> {
    for size in [
        STREAM_PIECE_SIZE_BYTES_MAX,
        STREAM_WINDOW_BYTES / STREAM_WINDOW_PIECES,
    ] {
        let pipe = open_stream(bench)?;
        let stream = pipe.of(Role::Laptop);
        for at in (0..STREAM_WINDOW_BYTES).step_by(size) {
            order(
                bench,
                Role::Laptop,
                Command::Write {
                    stream,
                    piece: pattern(at, size),
                },
            );
        }
        let mut read = 0;
        while read < STREAM_WINDOW_BYTES {
            let piece = await_event(bench, Role::Hub, "the whole window", |event| match event {
                Event::Read { piece, .. } => Some(Ok(piece)),
                Event::StreamClosed { .. } => Some(Err("the stream ended under a full window")),
                _ => None,
            })??;
            if piece != pattern(read, piece.len()) {
                return Err(format!("other bytes than were sent, after byte {read}"));
            }
            read += piece.len();
        }
    }
    Ok(Held::Yes)
}

pub(super) fn a_receiver_that_stops_reading_stops_its_sender(bench: &mut dyn Bench) -> Result<Held, Found> {
    let pipe = open_stream(bench)?;
    let stream = pipe.of(Role::Laptop);
    let (mut written, mut drained) = (0, 0);
    loop {
        while written + STREAM_PIECE_SIZE_BYTES_MAX - drained <= STREAM_WINDOW_BYTES {
            let piece = pattern(written, STREAM_PIECE_SIZE_BYTES_MAX);
            order(bench, Role::Laptop, Command::Write { stream, piece });
            written += STREAM_PIECE_SIZE_BYTES_MAX;
        }
        let silence = bench.silence();
        match pick_within(bench, Role::Laptop, silence, |event| match event {
            Event::Drained { bytes, .. } => Some(bytes),
            _ => None,
        }) {
            Some(bytes) => drained += bytes,
            None => break,
        }
        if drained > BUFFERS_SIZE_BYTES_MAX + STREAM_WINDOW_BYTES {
            return Err(format!("{drained} bytes drained and nobody read them"));
        }
    }
    // It goes on where it stopped.
    let mut read = 0;
    while read < written {
        let piece = await_event(bench, Role::Hub, "what was held back", |event| match event {
            Event::Read { piece, .. } => Some(piece),
            _ => None,
        })?;
        if piece != pattern(read, piece.len()) {
            return Err(format!("other bytes than were sent, after byte {read}"));
        }
        read += piece.len();
        // Who has no thread of its own moves on when it is asked.
        discard(bench, Role::Laptop);
    }
    Ok(Held::Yes)
}

pub(super) fn a_held_stream_waits_alone_and_loses_nothing(bench: &mut dyn Bench) -> Result<Held, Found> {
    let held = open_stream(bench)?;
    let other = dial(bench)?;
    let (at_hub, at_laptop) = (held.of(Role::Hub), held.of(Role::Laptop));
    order(bench, Role::Hub, Command::Hold { stream: at_hub });
    let total = STREAM_WINDOW_BYTES;
    for at in (0..total).step_by(STREAM_PIECE_SIZE_BYTES_MAX) {
        let piece = pattern(at, STREAM_PIECE_SIZE_BYTES_MAX);
        let write = Command::Write {
            stream: at_laptop,
            piece,
        };
        order(bench, Role::Laptop, write);
    }
    // What had got ahead of the command still comes.
    let (mut read, settle) = (0, bench.silence());
    let mut reads = |event| match event {
        Event::Read { stream, piece } if stream == at_hub => {
            let as_sent = piece == pattern(read, piece.len());
            read += piece.len();
            (!as_sent || read >= total).then_some(read)
        }
        _ => None,
    };
    pick_within(bench, Role::Hub, settle, &mut reads);
    await_silence(
        bench,
        Role::Hub,
        |event| matches!(event, Event::Read { stream, .. } if *stream == at_hub),
    )?;
    carry(bench, &other, Role::Laptop, 300_000, &SIZES)?;
    order(bench, Role::Hub, Command::Resume { stream: at_hub });
    let read = await_event(bench, Role::Hub, "what was held back", &mut reads)?;
    if read != total {
        return Err(format!(
            "{read} bytes, or other ones, of {total} that were held back"
        ));
    }
    Ok(Held::Yes)
}

pub(super) fn a_closed_stream_delivers_what_was_written_first(bench: &mut dyn Bench) -> Result<Held, Found> {
    let pipe = open_stream(bench)?;
    let total = 1_000_000;
    for at in (0..total).step_by(100_000) {
        let write = Command::Write {
            stream: pipe.of(Role::Laptop),
            piece: pattern(at, 100_000),
        };
        order(bench, Role::Laptop, write);
    }
    order(
        bench,
        Role::Laptop,
        Command::CloseStream {
            stream: pipe.of(Role::Laptop),
        },
    );
    let mut read = 0;
    loop {
        let piece = await_event(bench, Role::Hub, "the end of the stream", |event| match event {
            Event::Read { piece, .. } => Some(Some(piece)),
            Event::StreamClosed { .. } => Some(None),
            _ => None,
        })?;
        match piece {
            Some(piece) => read += piece.len(),
            None if read == total => break,
            None => return Err(format!("the stream ended after {read} of {total} bytes")),
        }
    }
    await_exactly(
        bench,
        Role::Laptop,
        &Event::StreamClosed {
            stream: pipe.of(Role::Laptop),
        },
    )?;
    for role in [Role::Hub, Role::Laptop] {
        let stream = pipe.of(role);
        await_silence(bench, role, |event| *event == Event::StreamClosed { stream })?;
    }
    Ok(Held::Yes)
}

pub(super) fn a_piece_over_the_limit_ends_the_stream(bench: &mut dyn Bench) -> Result<Held, Found> {
    let pipe = open_stream(bench)?;
    let piece = pattern(0, STREAM_PIECE_SIZE_BYTES_MAX + 1);
    order(
        bench,
        Role::Laptop,
        Command::Write {
            stream: pipe.of(Role::Laptop),
            piece,
        },
    );
    for role in [Role::Laptop, Role::Hub] {
        await_exactly(
            bench,
            role,
            &Event::StreamClosed {
                stream: pipe.of(role),
            },
        )?;
    }
    Ok(Held::Yes)
}

pub(super) fn stopping_the_group_ends_streams_and_membership(bench: &mut dyn Bench) -> Result<Held, Found> {
    let pipe = open_stream(bench)?;
    carry(bench, &pipe, Role::Laptop, 10_000, &SIZES)?;
    order(bench, Role::Hub, Command::StopGroup);
    await_exactly(
        bench,
        Role::Hub,
        &Event::StreamClosed {
            stream: pipe.of(Role::Hub),
        },
    )?;
    await_exactly(bench, Role::Hub, &Event::GroupStopped)?;
    await_exactly(
        bench,
        Role::Laptop,
        &Event::StreamClosed {
            stream: pipe.of(Role::Laptop),
        },
    )?;
    await_exactly(bench, Role::Laptop, &Event::Left)?;
    order(bench, Role::Laptop, Command::Dial);
    await_exactly(bench, Role::Laptop, &Event::StreamFailed)?;
    Ok(Held::Yes)
}

pub(super) fn leaving_ends_the_streams_and_joining_again_works(bench: &mut dyn Bench) -> Result<Held, Found> {
    let credentials = start_group(bench)?;
    for _ in 0..2 {
        join(bench, &credentials)?;
        let pipe = dial(bench)?;
        carry(bench, &pipe, Role::Hub, 10_000, &SIZES)?;
        order(bench, Role::Laptop, Command::Leave);
        await_exactly(
            bench,
            Role::Laptop,
            &Event::StreamClosed {
                stream: pipe.of(Role::Laptop),
            },
        )?;
        await_exactly(bench, Role::Laptop, &Event::Left)?;
        await_exactly(
            bench,
            Role::Hub,
            &Event::StreamClosed {
                stream: pipe.of(Role::Hub),
            },
        )?;
    }
    pick_within(bench, Role::Hub, Duration::ZERO, |_| None::<()>);
    Ok(Held::Yes)
}
