//! What the hub promises a laptop, held against a made-up laptop, a disk that forgets and an upstream that fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

mod damage;
mod forwarding;
mod full;
mod hostile;
mod hub;
mod journal;
mod laptop;
mod power;
mod room;
mod visits;
