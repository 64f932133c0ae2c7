//! The contract that real and simulated radios meet: [`Command`]s in, [`Event`]s out.
//!
//! Place: session machines <-> `Command`/`Event` <-> a [`Radio`] (the simulated air, later BlueZ and wpa_supplicant).
//! Both are plain data, so a machine can be run against any radio, recorded, and carried to another process.
//! Invariant: a radio never delivers more than was sent, and never in another order within one stream; GATT frames
//! may be lost, repeated and swapped, so whoever uses them numbers them.

pub mod conformance;
mod contract;
mod gatt;

pub use contract::*;
pub use gatt::*;
