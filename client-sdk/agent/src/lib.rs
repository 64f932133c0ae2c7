//! A laptop: its session and its visit put together.
//!
//! Place: radio -> [`drive`] -> [`Laptop`] -> the user's files and the state folder. `desk` and `berth` give it a radio, a
//! clock and threads; the tests' `World` runs the very same [`Laptop`] on one thread and a virtual clock.
//! Invariant: [`Laptop`] owns no clock and no thread; what it is told and when decides what it does.

mod drive;
mod keys;
mod laptop;
mod settings;
mod state;
mod visiting;

pub use drive::{Company, Leave, Left, Watched, drive};
pub use keys::LaptopKeys;
pub use laptop::{Begin, Ended, Errand, Laptop, LaptopOutput, Work};
pub use settings::{SETTINGS_FILE, Settings, SettingsError, write_list, write_text};
pub use state::{State, StateError};
pub use visiting::{VisitLine, VisitThread, Visiting};
