//! A world to try Berth in: the air between radios, and a disk that forgets what was not synced.
//!
//! Place: [`Air`] is a pure machine for tests on one thread; [`SharedAir`] and [`SimRadio`] run it for threads of one
//! process, and `berth_net` carries it to others. All of them meet `berth_radio`'s contract and pass its conformance
//! suite. [`SimDisk`] is `berth_disk`'s contract with power cuts.
//! Invariant: the same seed and the same inputs give the same events, the same [`Trace`] to the byte and the same
//! content of the disk.

mod air;
mod chance;
mod clock;
mod disk;
mod faults;
mod profile;
mod radio;
mod trace;

pub use air::*;
pub use clock::{Clock, VirtualClock};
pub use disk::*;
pub use faults::Faults;
pub use profile::{Profile, Stall};
pub use radio::{MAILBOX_EVENTS_MAX, SharedAir, SimRadio};

pub use trace::{STREAM_LINE_BYTES, TRACE_LINES_MAX, Trace, TraceTo};
