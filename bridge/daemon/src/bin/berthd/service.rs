//! What systemd is told, where it listens (`sd_notify(3)`). Without it all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Tells systemd; a hub that cannot goes on.
pub(crate) fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd could not be told");
    }
}

/// How often it wants a sign of life: in half of the time after which it would act.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|within| within / 2)
}
