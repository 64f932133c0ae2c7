//! The simulated air between processes.
//!
//! Place: a program's [`AirRadio`] talks to an [`AirServer`] over a Unix socket: commands up, events down ([`mod@codec`]).
//! The bytes of a stream go over a TCP connection of their own on the loopback, which the radio opens when it is told
//! where, and which the air shapes, holds back, cuts and closes as the simulated air decides. [`give_order`] steers it.
//! Invariant: a peer that sends nonsense, too much, or nothing loses its own radio and harms no other.

mod bridge;
mod client;
mod codec;
mod gate;
mod order;
mod server;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use client::AirRadio;
pub use codec::{CodecError, PROTOCOL_VERSION};
pub use order::{Done, Order, give_order};
pub use server::AirServer;

/// Longest wait for each part of the first message, and for a peer to take what was sent to it.
pub const LINK_WAIT: Duration = Duration::from_secs(30);

/// Why a radio in an air can't be had or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AirError {
    /// Nobody serves an air there.
    #[error("no air at {}: {source}", socket.display())]
    Nobody {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection failed or did not move in time.
    #[error("the connection to the air failed: {0}")]
    Link(#[from] io::Error),
    /// The peer does not speak this protocol.
    #[error("the other end is not of this air")]
    Codec(#[from] CodecError),
    /// The air does not do it, and why.
    #[error("{0}")]
    Refused(String),
}

impl AirError {
    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Nobody { .. } | Self::Link(_) => {
                "Start berth-air there, or name the socket that it was given."
            }
            Self::Codec(_) => "Use the same version of every program.",
            Self::Refused(_) => "Look with `berth-air ctl trace` who is in the air.",
        }
    }
}
