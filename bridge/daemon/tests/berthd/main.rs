//! `berthd` as a process: what it refuses, what it puts right, how it ends, and what its control socket stands.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

mod control;
mod forwarding;
mod spool;
mod start;
mod support;
