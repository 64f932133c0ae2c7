//! What a person asks of the air.

use std::io::Write;
use std::os::unix::net::UnixStream;

use berth_radio_sim::{Air, PortId, Profile, SharedAir};
use serde::{Deserialize, Serialize};

use super::codec::{Down, MESSAGE_SIZE_BYTES_MAX, PROTOCOL_VERSION, Up, read_message, write_message};
use super::{AirError, CodecError, LINK_WAIT};

/// Lines of the trace that go in one message, in bytes. One line is far shorter.
const LINES_SIZE_BYTES: usize = MESSAGE_SIZE_BYTES_MAX / 2;

/// An order to the air. A name stands for every radio that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Comes near, or will be when it comes. Everybody is near at the start.
    Near(String),
    /// Goes out of everyone's range, or will be when it comes.
    Away(String),
    /// Everything that it has open breaks off now, for both sides: BLE connections, groups, streams with all that is
    /// under way. It stays near and can connect again at once.
    Cut(String),
    /// Has this profile from now on, also on links that are open, or will have it when it comes.
    Profile {
        /// Whose.
        name: String,
        /// Its name on the command line.
        profile: String,
    },
    /// Tells what happened so far.
    Trace,
}

/// An order was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Radios in the air that it concerned; 0: it is remembered until one of that name comes.
    pub radios: usize,
    /// [`Order::Trace`]: lines that the air no longer has; they were the oldest.
    pub lines_dropped: u64,
}

/// Gives an order to the air at the other end of `link`; lines of the trace go to `line`.
///
/// # Errors
/// [`AirError`]; [`AirError::Refused`] says what to do instead.
pub fn give_order(link: &UnixStream, order: &Order, mut line: impl FnMut(&str)) -> Result<Done, AirError> {
    link.set_read_timeout(Some(LINK_WAIT))?;
    link.set_write_timeout(Some(LINK_WAIT))?;
    let (mut reader, mut writer) = (link, link);
    let version = PROTOCOL_VERSION;
    let order = order.clone();
    write_message(&mut writer, &Up::Order { version, order })?;
    loop {
        match read_message(&mut reader)? {
            Some(Down::Lines(lines)) => lines.lines().for_each(&mut line),
            Some(Down::Done(done)) => return Ok(done),
            Some(Down::Refused(why)) => return Err(AirError::Refused(why)),
            Some(Down::Welcome | Down::Event(_) | Down::Stream { .. }) | None => {
                return Err(CodecError::Message.into());
            }
        }
    }
}

/// Carries an order out and answers.
pub(super) fn carry_out(air: &SharedAir, order: &Order, writer: &mut impl Write) -> Result<(), AirError> {
    let done = match order {
        Order::Near(name) => for_each(air, name, |air, now, port| air.near(now, port)),
        Order::Away(name) => for_each(air, name, |air, now, port| air.away(now, port)),
        Order::Cut(name) => cut(air, name),
        Order::Profile { name, profile } => known_profile(profile)
            .and_then(|profile| for_each(air, name, |air, now, port| air.profile(now, port, Some(profile)))),
        Order::Trace => trace(air, writer),
    };
    match done {
        Ok(done) => write_message(writer, &Down::Done(done))?,
        Err(AirError::Refused(why)) => write_message(writer, &Down::Refused(why))?,
        Err(error) => return Err(error),
    }
    Ok(writer.flush()?)
}

fn for_each(
    air: &SharedAir,
    name: &str,
    act: impl Fn(&mut Air, berth_radio::Time, PortId),
) -> Result<Done, AirError> {
    air.with(|air, now| {
        let ports = air
            .namesakes(name)
            .map_err(|error| AirError::Refused(error.to_string()))?;
        let radios = ports.iter().filter(|port| air.is_attached(**port)).count();
        ports.into_iter().for_each(|port| act(air, now, port));
        Ok(Done {
            radios,
            lines_dropped: 0,
        })
    })
}

fn cut(air: &SharedAir, name: &str) -> Result<Done, AirError> {
    let there = air.with(|air, _| air.attached_names());
    if there.iter().any(|it| it == name) {
        return for_each(air, name, Air::cut);
    }
    let there = if there.is_empty() {
        "nobody".to_owned()
    } else {
        there.join(", ")
    };
    let name = name.escape_debug();
    Err(AirError::Refused(format!(
        "no radio of the name {name} is in the air; {there} is"
    )))
}

fn known_profile(name: &str) -> Result<Profile, AirError> {
    Profile::by_name(name).ok_or_else(|| {
        let known = Profile::ALL.map(|profile| profile.name).join(", ");
        let name = name.escape_debug();
        AirError::Refused(format!("there is no profile {name}; there are {known}"))
    })
}

fn trace(air: &SharedAir, writer: &mut impl Write) -> Result<Done, AirError> {
    // A copy: the air goes on while it is sent.
    let (text, lines_dropped) = air.with(|air, _| {
        let trace = air.trace();
        let kept = trace.lines().count() as u64;
        (trace.text(), trace.digest().0.saturating_sub(kept))
    });
    let mut part = String::new();
    for line in text.split_inclusive('\n') {
        if part.len() + line.len() > LINES_SIZE_BYTES {
            write_message(writer, &Down::Lines(std::mem::take(&mut part)))?;
        }
        part.push_str(line);
    }
    write_message(writer, &Down::Lines(part))?;
    Ok(Done {
        radios: 0,
        lines_dropped,
    })
}
