//! A radio with nothing in the air.

use std::sync::Arc;

use berth_radio::{Command, Event, Radio, Time, Waker};

use crate::inbox::Inbox;
use crate::stream::LIMITS;

/// No radio at all: nothing is ever heard, and whatever needs an answer fails at once. For [`crate::NetRadio`] alone.
pub struct NoRadio {
    inbox: Arc<Inbox>,
    clock: Box<dyn Fn() -> Time + Send + Sync>,
}

impl std::fmt::Debug for NoRadio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoRadio").finish_non_exhaustive()
    }
}

impl NoRadio {
    /// `clock` is the program's monotonic one.
    pub fn new(clock: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self {
            inbox: Inbox::new(LIMITS, None),
            clock: Box::new(clock),
        }
    }
}

impl Radio for NoRadio {
    fn command(&mut self, command: Command) {
        let answer = match command {
            Command::Connect { peer } => Event::ConnectFailed { peer },
            Command::StartGroup => Event::GroupFailed,
            Command::Join { .. } => Event::JoinFailed,
            Command::Dial | Command::Reach { .. } => Event::StreamFailed,
            Command::Advertise { .. }
            | Command::StopAdvertising
            | Command::Scan
            | Command::StopScanning
            | Command::Send { .. }
            | Command::Disconnect { .. }
            | Command::StopGroup
            | Command::Leave
            | Command::Write { .. }
            | Command::CloseStream { .. }
            | Command::Hold { .. }
            | Command::Resume { .. } => return,
        };
        self.inbox.with(|state| state.put(answer));
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        self.inbox.wait(|| deadline.saturating_sub((self.clock)()))
    }

    fn waker(&self) -> Waker {
        let inbox = Arc::clone(&self.inbox);
        Arc::new(move || inbox.wake())
    }

    fn now(&self) -> Time {
        (self.clock)()
    }
}
