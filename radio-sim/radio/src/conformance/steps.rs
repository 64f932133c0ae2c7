//! Steps that several checks take.

use std::time::Duration;

use bytes::Bytes;

use super::{ANSWER_WAIT, Bench, Found, Role};
use crate::{Address, Command, ConnId, Event, GroupCredentials, STREAM_WINDOW_BYTES, StreamId};

/// How often a lossy step is tried.
const TRIES: usize = 20;

/// How long a frame may take before it counts as lost.
const FRAME_WAIT: Duration = Duration::from_secs(3);

/// A connection, as both sides know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connection {
    pub(super) hub: ConnId,
    pub(super) laptop: ConnId,
    pub(super) hub_mtu_bytes: usize,
    pub(super) laptop_mtu_bytes: usize,
}

impl Connection {
    pub(super) fn of(&self, role: Role) -> (ConnId, usize) {
        match role {
            Role::Hub => (self.hub, self.hub_mtu_bytes),
            Role::Laptop => (self.laptop, self.laptop_mtu_bytes),
        }
    }
}

/// A stream, as both sides know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pipe {
    hub: StreamId,
    laptop: StreamId,
}

impl Pipe {
    pub(super) fn of(&self, role: Role) -> StreamId {
        match role {
            Role::Hub => self.hub,
            Role::Laptop => self.laptop,
        }
    }
}

pub(super) fn order(bench: &mut dyn Bench, role: Role, command: Command) {
    bench.radio(role).command(command);
}

/// The first event within `wait` that `pick` takes; others are passed over.
pub(super) fn pick_within<T>(
    bench: &mut dyn Bench,
    role: Role,
    wait: Duration,
    mut pick: impl FnMut(Event) -> Option<T>,
) -> Option<T> {
    let radio = bench.radio(role);
    let deadline = radio.now() + wait;
    while let Some(event) = radio.event(deadline) {
        if let Some(picked) = pick(event) {
            return Some(picked);
        }
    }
    None
}

/// Waits for what must come.
pub(super) fn await_event<T>(
    bench: &mut dyn Bench,
    role: Role,
    what: &str,
    pick: impl FnMut(Event) -> Option<T>,
) -> Result<T, Found> {
    pick_within(bench, role, ANSWER_WAIT, pick).ok_or_else(|| format!("{role:?} never saw {what}"))
}

/// Waits for exactly this event.
pub(super) fn await_exactly(bench: &mut dyn Bench, role: Role, expected: &Event) -> Result<(), Found> {
    await_event(bench, role, &format!("{expected:?}"), |event| {
        (event == *expected).then_some(())
    })
}

/// Nothing that `pick` takes may come for the bench's time of silence.
pub(super) fn await_silence(
    bench: &mut dyn Bench,
    role: Role,
    pick: impl Fn(&Event) -> bool,
) -> Result<(), Found> {
    let wait = bench.silence();
    match pick_within(bench, role, wait, |event| pick(&event).then_some(event)) {
        Some(event) => Err(format!("{role:?} still saw {event:?}")),
        None => Ok(()),
    }
}

/// Takes what is there without waiting.
pub(super) fn discard(bench: &mut dyn Bench, role: Role) {
    pick_within(bench, role, Duration::ZERO, |_| None::<()>);
}

pub(super) fn hear(bench: &mut dyn Bench, expected: &Bytes) -> Result<Address, Found> {
    await_event(bench, Role::Laptop, "the beacon", |event| match event {
        Event::Sighted { peer, beacon, .. } if beacon == *expected => Some(peer),
        _ => None,
    })
}

pub(super) fn sight(bench: &mut dyn Bench, beacon: &Bytes) -> Result<Address, Found> {
    order(
        bench,
        Role::Hub,
        Command::Advertise {
            beacon: beacon.clone(),
        },
    );
    order(bench, Role::Laptop, Command::Scan);
    hear(bench, beacon)
}

/// Sights and connects; the hub may hear of it only with the first frame, so one is sent.
pub(super) fn connect(bench: &mut dyn Bench) -> Result<Connection, Found> {
    let peer = sight(bench, &Bytes::from_static(b"twenty bytes beacon!"))?;
    order(bench, Role::Laptop, Command::StopScanning);
    for _ in 0..TRIES {
        order(bench, Role::Laptop, Command::Connect { peer });
        let answer = await_event(bench, Role::Laptop, "an answer to Connect", |event| match event {
            Event::Connected { conn, mtu_bytes } => Some(Some((conn, mtu_bytes))),
            Event::ConnectFailed { .. } => Some(None),
            _ => None,
        })?;
        let Some((laptop, laptop_mtu_bytes)) = answer else {
            continue;
        };
        for _ in 0..TRIES {
            order(
                bench,
                Role::Laptop,
                Command::Send {
                    conn: laptop,
                    frame: Bytes::from_static(b"hello"),
                },
            );
            let seen = pick_within(bench, Role::Hub, FRAME_WAIT, |event| match event {
                Event::Connected { conn, mtu_bytes } => Some((conn, mtu_bytes)),
                _ => None,
            });
            if let Some((hub, hub_mtu_bytes)) = seen {
                return Ok(Connection {
                    hub,
                    laptop,
                    hub_mtu_bytes,
                    laptop_mtu_bytes,
                });
            }
        }
        return Err("the hub never saw the connection".to_owned());
    }
    Err("connecting failed again and again".to_owned())
}

/// Sends a frame until it has arrived: frames may get lost.
pub(super) fn send(bench: &mut dyn Bench, link: &Connection, from: Role, frame: &Bytes) -> Result<(), Found> {
    let (to, expected) = (from.other(), link.of(from.other()).0);
    for _ in 0..TRIES {
        order(
            bench,
            from,
            Command::Send {
                conn: link.of(from).0,
                frame: frame.clone(),
            },
        );
        let came = pick_within(bench, to, FRAME_WAIT, |event| match event {
            Event::Received { conn, frame: got } if conn == expected && got == *frame => Some(()),
            _ => None,
        });
        if came.is_some() {
            return Ok(());
        }
    }
    Err(format!(
        "a frame of {} bytes from {from:?} never arrived",
        frame.len()
    ))
}

pub(super) fn start_group(bench: &mut dyn Bench) -> Result<GroupCredentials, Found> {
    for _ in 0..TRIES {
        order(bench, Role::Hub, Command::StartGroup);
        let answer = await_event(bench, Role::Hub, "an answer to StartGroup", |event| match event {
            Event::GroupStarted { credentials } => Some(Some(credentials)),
            Event::GroupFailed => Some(None),
            _ => None,
        })?;
        if let Some(credentials) = answer {
            return Ok(credentials);
        }
    }
    Err("starting a group failed again and again".to_owned())
}

/// One attempt to join.
pub(super) fn try_join(bench: &mut dyn Bench, credentials: &GroupCredentials) -> Result<bool, Found> {
    order(
        bench,
        Role::Laptop,
        Command::Join {
            credentials: credentials.clone(),
        },
    );
    await_event(bench, Role::Laptop, "an answer to Join", |event| match event {
        Event::Joined(_) => Some(true),
        Event::JoinFailed => Some(false),
        _ => None,
    })
}

pub(super) fn join(bench: &mut dyn Bench, credentials: &GroupCredentials) -> Result<(), Found> {
    for _ in 0..TRIES {
        if try_join(bench, credentials)? {
            return Ok(());
        }
    }
    Err("joining failed again and again".to_owned())
}

pub(super) fn dial(bench: &mut dyn Bench) -> Result<Pipe, Found> {
    for _ in 0..TRIES {
        order(bench, Role::Laptop, Command::Dial);
        let answer = await_event(bench, Role::Laptop, "an answer to Dial", |event| match event {
            Event::StreamOpened { stream } => Some(Some(stream)),
            Event::StreamFailed => Some(None),
            _ => None,
        })?;
        if let Some(laptop) = answer {
            let hub = await_event(bench, Role::Hub, "the dialled stream", |event| match event {
                Event::StreamOpened { stream } => Some(stream),
                _ => None,
            })?;
            return Ok(Pipe { hub, laptop });
        }
    }
    Err("dialling failed again and again".to_owned())
}

/// A group, joined, and a stream in it.
pub(super) fn open_stream(bench: &mut dyn Bench) -> Result<Pipe, Found> {
    let credentials = start_group(bench)?;
    join(bench, &credentials)?;
    dial(bench)
}

/// Bytes that show where they belong.
pub(super) fn pattern(offset: usize, length: usize) -> Bytes {
    (offset..offset + length)
        .map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8)
        .collect()
}

/// Writes `total` bytes within the window and reads them at the other end; the pieces' sizes go round.
pub(super) fn carry(
    bench: &mut dyn Bench,
    pipe: &Pipe,
    from: Role,
    total: usize,
    sizes: &[usize],
) -> Result<(), Found> {
    let (mut written, mut drained, mut read) = (0, 0, 0);
    let mut sizes = sizes.iter().copied().cycle();
    let mut last_news = bench.radio(from).now();
    while read < total || drained < total {
        while written < total {
            let size = sizes.next().unwrap_or(1).min(total - written);
            if written + size - drained > STREAM_WINDOW_BYTES / 2 {
                break;
            }
            let piece = pattern(written, size);
            order(
                bench,
                from,
                Command::Write {
                    stream: pipe.of(from),
                    piece,
                },
            );
            written += size;
        }
        let before = (drained, read);
        while let Some(bytes) = pick_within(bench, from, Duration::ZERO, |event| match event {
            Event::Drained { stream, bytes } if stream == pipe.of(from) => Some(bytes),
            _ => None,
        }) {
            drained += bytes;
        }
        let piece = pick_within(
            bench,
            from.other(),
            Duration::from_millis(10),
            |event| match event {
                Event::Read { stream, piece } if stream == pipe.of(from.other()) => Some(piece),
                _ => None,
            },
        );
        if let Some(piece) = piece {
            if piece != pattern(read, piece.len()) {
                return Err(format!("other bytes than were sent, after byte {read}"));
            }
            read += piece.len();
        }
        if drained > written || read > written {
            return Err(format!("{drained} drained and {read} read of {written} written"));
        }
        let now = bench.radio(from).now();
        if before != (drained, read) {
            last_news = now;
        } else if now > last_news + ANSWER_WAIT {
            return Err(format!(
                "stuck with {drained} drained and {read} read of {written} written"
            ));
        }
    }
    Ok(())
}
