//! The messages between laptop and hub, their encoding and their limits.
//!
//! Place: archiver and receiver <-> [`ToHub`] / [`ToLaptop`] <-> [`Frame`] <-> a Noise channel of `berth-pairing`.
//! The protocol as a whole, with its states, stands in `docs/wire-protocol.md`.
//! Invariant: decoding never panics, never allocates more than a constant times the input, and refuses trailing bytes.

mod codec;
mod manifest;
mod message;

pub use codec::*;
pub use manifest::*;
pub use message::*;
