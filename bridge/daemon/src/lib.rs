//! A hub: its sessions, its visits and its spool put together, and what drives them.
//!
//! Place: radio -> [`drive()`] -> [`Hub`] -> spool and journal -> [`Forwarding`] -> upstream. `berthd` and `desk` give it a
//! radio, clocks and threads; the tests' `World` runs the very same [`Hub`] on one thread and a virtual clock.
//! Invariant: [`Hub`] owns no clock and no thread; what it is told and when decides what it does.

mod behind;
mod drive;
mod forwarding;
mod hub;
mod store;
mod visit;
mod windows;

pub use behind::{UPSTREAM_WAIT_MAX, UpstreamReader};
pub use drive::{Beat, HubGone, Inbox, Orders, Program, STOP_MAX, Stopped, Turn, drive, orders};
pub use forwarding::{
    ByItself, ForwardFailure, ForwardNews, ForwardStatus, Forwarded, Forwarding, ForwardingParts,
    LAPTOPS_AT_ONCE, Monotonic, OpenUpstream, Outage, RETRY_MAX, RETRY_MIN, VISITS_WAIT_MAX,
};
pub use hub::{Hub, HubEvent, HubOutput, HubParts};
pub use store::{Clock, StoreThreads, Stores};
pub use windows::{Opening, WindowError, Windows};
