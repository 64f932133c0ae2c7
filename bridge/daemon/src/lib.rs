//! A hub: its sessions, its visits and its spool put together.
//!
//! Place: radio -> [`Hub`] -> spool and journal. `desk`, and later `berthd`, give it a radio, a clock and threads; the
//! tests' `World` runs the very same [`Hub`] on one thread and a virtual clock.
//! Invariant: [`Hub`] owns no clock and no thread; what it is told and when decides what it does.

mod hub;
mod store;

pub use hub::{Hub, HubEvent, HubOutput, HubParts};
pub use store::{Clock, StoreThreads, Stores};
