//! A laptop: its session and its visit put together.
//!
//! Place: radio -> [`Laptop`] -> the user's files and the state folder. `desk`, and later `berth`, give it a radio, a
//! clock and threads; the tests' `World` runs the very same [`Laptop`] on one thread and a virtual clock.
//! Invariant: [`Laptop`] owns no clock and no thread; what it is told and when decides what it does.

mod keys;
mod laptop;

pub use keys::LaptopKeys;
pub use laptop::{Begin, Ended, Errand, Laptop, LaptopOutput, Work};
