//! One wait for two sources: a radio, and streams beside it.

use std::sync::Arc;

use berth_radio::{Event, Radio, Time, Waker};

use crate::inbox::{Inbox, Look};
use crate::stream::Limits;

/// A radio and an inbox; what is put into the inbox ends a wait in the radio.
pub(crate) struct Both<R> {
    pub(crate) inner: R,
    pub(crate) inbox: Arc<Inbox>,
    /// The radio is asked first, so that neither starves the other.
    is_inner_next: bool,
}

/// What a wait gave.
pub(crate) enum Turn {
    /// From the radio.
    Inner(Event),
    /// From the inbox.
    Own(Event),
    /// Somebody rang.
    Woken,
    /// The deadline.
    Late,
}

impl<R: Radio> Both<R> {
    pub(crate) fn new(inner: R, limits: Limits) -> Self {
        Self {
            inbox: Inbox::new(limits, Some(inner.waker())),
            inner,
            is_inner_next: true,
        }
    }

    pub(crate) fn event(&mut self, deadline: Time) -> Turn {
        if std::mem::take(&mut self.is_inner_next)
            && let Some(event) = self.inner.event(Time::ZERO)
        {
            return Turn::Inner(event);
        }
        loop {
            match self.inbox.look() {
                Look::Event(event) => {
                    self.is_inner_next = true;
                    return Turn::Own(event);
                }
                Look::Woken => return Turn::Woken,
                Look::Empty => {}
            }
            if let Some(event) = self.inner.event(deadline) {
                return Turn::Inner(event);
            }
            if self.inner.now() >= deadline {
                return Turn::Late;
            }
        }
    }

    pub(crate) fn waker(&self) -> Waker {
        let inbox = Arc::clone(&self.inbox);
        Arc::new(move || inbox.wake())
    }
}
