//! One visit: what the archiver does from `Begin` to the hub's receipt.
//!
//! Place: driver -> [`Visit::next`] / [`Visit::receive`] -> wire messages.

mod options;
mod stage;

use std::sync::Arc;

use berth_disk::SharedDisk;
use berth_radio::Time;
use berth_wire::ToLaptop;

use crate::{LaptopRepository, Source};
pub use options::*;
pub use stage::SealStage;

/// The machine of one visit. Dropping it at any moment is a cut: nothing else is to be done.
pub struct Visit {
    progress: Progress,
}

impl Visit {
    /// Prepares a visit; reads only small files of the state folder. Call once the bulk link stands: the first
    /// [`Visit::next`] gives `Begin`.
    ///
    /// `disk` is the laptop's state folder. The archiver keeps `hubs/<hub id>/` in it.
    ///
    /// # Errors
    /// [`VisitError::Disk`].
    pub fn new(
        _disk: SharedDisk,
        _source: Box<dyn Source>,
        _repository: Arc<LaptopRepository>,
        _keys: Box<dyn Keys>,
        _stage: SealStage,
        _options: VisitOptions,
    ) -> Result<Self, VisitError> {
        Ok(Self {
            progress: Progress::default(),
        })
    }

    /// Takes a message of the hub. Keep-alives may be given or not.
    ///
    /// # Errors
    /// The visit is over: [`VisitError::Refused`] and [`VisitError::Protocol`] are the hub's; drop the machine.
    pub fn receive(&mut self, _now: Time, _message: ToLaptop) -> Result<(), VisitError> {
        Ok(())
    }

    /// Does the next piece of work (some milliseconds at most) and says what came of it. Call again at once after
    /// `Send` and `Working`, as soon as the link takes more.
    ///
    /// # Errors
    /// The visit is over; drop the machine.
    pub fn next(&mut self, _now: Time) -> Result<Step, VisitError> {
        Ok(Step::Wait)
    }

    /// Asks for a checkpoint now (the user leaves). [`Progress::requested_mark_done`] turns true when it is
    /// acknowledged, or there is nothing to acknowledge.
    pub fn request_mark(&mut self) {}

    /// Where the visit is.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}
