//! A laptop: its session and its visit put together, its state folder, and what a person sees of it.
//!
//! Place: radio -> [`drive()`] -> [`Laptop`] -> the user's files and the state folder. `desk` and `berth` give it a radio, a
//! clock and threads; the tests' `World` runs the very same [`Laptop`] on one thread and a virtual clock.
//! Invariant: [`Laptop`] owns no clock and no thread but those it is given; what it is told and when decides what it
//! does.

mod drive;
mod keys;
mod laptop;
mod presence;
mod reading;
mod records;
mod report;
mod settings;
mod state;
mod steps;
mod upstream;
mod visiting;

pub use drive::{Company, Leave, Left, Watched, drive};
pub use keys::LaptopKeys;
pub use laptop::{Begin, Ended, Errand, Laptop, LaptopOutput, Work};
pub use presence::{AWAY_AFTER, PAUSE_MAX, PAUSE_MIN, Presence};
pub use reading::{LinkSource, Seen, read_back};
pub use records::{HubRecord, SETS_MAX, SetRecord, Trouble, VisitEnd, VisitRecord, hub_hex};
pub use report::{Estimate, Report, bytes, in_words, progress_fields, quoted, wrapped};
pub use settings::{SETTINGS_FILE, Settings, SettingsError, write_list, write_text};
pub use state::{State, StateError};
pub use steps::{Steps, VisitStep};
pub use upstream::{CONNECTIONS, UpstreamSource};
pub use visiting::{VisitLine, VisitThread, Visiting};
