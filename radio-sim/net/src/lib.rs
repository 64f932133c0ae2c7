//! Radios of sockets: streams over TCP beside a radio or without one, and the simulated air between processes.
//!
//! Place: a program makes the radio it is told to use, wraps it in a [`NetRadio`], and gives that to its driver;
//! `berth-air` is an [`AirServer`], a radio of hardware a [`DriverRadio`].
//! Invariant: a peer that is slow, floods or sends nothing costs a bounded amount of memory and loses only its own
//! stream; a radio that nobody uses does nothing, not even wake up.

mod air;
mod both;
mod driver;
mod inbox;
mod none;
mod radio;
mod spec;
mod stream;
mod thread;
mod wire;
mod words;

pub use air::*;
pub use driver::{DriverRadio, Teller};
pub use none::NoRadio;
pub use radio::{ACCEPTED_MAX, DIAL_WAIT, NetError, NetRadio, TCP_STREAMS_FROM, endpoints};
pub use spec::{NoSuchRadio, RadioSpec};
pub use stream::{CLOSE_WAIT, READ_AHEAD_BYTES};
pub use thread::OpenError;
pub use words::{Word, Words};
