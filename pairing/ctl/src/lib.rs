//! How people and scripts talk to a running hub: requests and answers, a line of JSON each, over a Unix socket.
//!
//! Place: `berthctl` is the [`Client`], `berthd` answers. One request a connection; an answer is any number of items
//! and a last line, `{"done":true}` or `{"error":"..."}`.
//! Invariant: both sides read at most [`LINE_SIZE_BYTES_MAX`] a line and wait for nobody for ever.

mod client;
mod line;
mod place;
mod protocol;

pub use client::{Answers, Client, ClientError, SILENCE_MAX};
pub use line::{LINE_SIZE_BYTES_MAX, LineError, Monotonic, read_line, write_line};
pub use place::{SOCKET, default_state};
pub use protocol::{
    Answer, Device, ForwardEvent, HubStatus, Outage, PairEvent, Request, Revoked, Serve, ServerAdded,
    ServerRemoved, ServerRow, SetItem, SetRow, Standing, UpstreamSet, VerifyEvent, Visiting,
};
