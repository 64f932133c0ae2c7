//! The pairing window as people see it: everybody who asks while it is open sees the same code.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use berth_ctl::PairEvent;
use berth_daemon::{HubEvent, Orders};
use berth_pairing::{Closed, PairingError, WINDOW_MAX};
use berth_radio::Time;
use crossbeam_channel::{Receiver, Sender, unbounded};
use zeroize::Zeroizing;

use crate::clock::monotonic;

/// The window. Clones are the same one. It changes on the hub's thread only.
#[derive(Clone, Default)]
pub(crate) struct Window(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    open: Option<Open>,
    next_watcher: u64,
}

struct Open {
    code: Zeroizing<String>,
    closes_at: Time,
    /// The right code came in; whether the laptop is paired is told next.
    is_used: bool,
    watchers: Vec<(u64, Sender<Seen>)>,
}

/// What a watcher sees.
pub(crate) enum Seen {
    /// Something happened.
    Event(PairEvent),
    /// The watcher itself has gone.
    Gone,
}

/// One who watches. The window closes with the last of them.
pub(crate) struct Watcher {
    pub(crate) code: Zeroizing<String>,
    pub(crate) closes_at: Time,
    pub(crate) seen: Receiver<Seen>,
    /// To say [`Seen::Gone`] with.
    pub(crate) gone: Sender<Seen>,
    number: u64,
    window: Window,
    orders: Orders,
}

impl Window {
    // Every change leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }

    /// Opens the window, or joins those who watch the open one.
    pub(crate) fn watch(&self, orders: &Orders) -> Result<Watcher> {
        // A handful of events.
        let (gone, seen) = unbounded();
        let (window, events) = (self.clone(), gone.clone());
        let (code, closes_at, number) = orders.ask(move |turn| {
            let mut watched = window.lock();
            let number = watched.next_watcher;
            watched.next_watcher += 1;
            watched.open.take_if(|open| open.is_used);
            let open = watched.open.get_or_insert_with(|| Open {
                code: turn.open_window().to_text(),
                closes_at: monotonic() + WINDOW_MAX,
                is_used: false,
                watchers: Vec::new(),
            });
            open.watchers.push((number, events));
            (open.code.clone(), open.closes_at, number)
        })?;
        Ok(Watcher {
            code,
            closes_at,
            seen,
            gone,
            number,
            window: self.clone(),
            orders: orders.clone(),
        })
    }

    /// Tells watchers what concerns them. On the hub's thread.
    pub(crate) fn heard(&self, event: &HubEvent) {
        let mut watched = self.lock();
        let Some(open) = &mut watched.open else { return };
        let told = match event {
            HubEvent::Paired(laptop) => PairEvent::Paired {
                laptop: laptop.name.to_string(),
            },
            HubEvent::WindowClosed(Closed::Paired) => {
                open.is_used = true;
                return;
            }
            HubEvent::WindowClosed(why) => PairEvent::Closed {
                why: why.advice().to_owned(),
            },
            HubEvent::PairingFailed(error) => {
                let why = match error {
                    // The advice is for whoever types it.
                    PairingError::WrongCode { .. } => format!("On a laptop: {error}."),
                    error => format!("{error}. {}", error.advice()),
                };
                if open.is_used {
                    PairEvent::Closed { why }
                } else {
                    PairEvent::Failed { why }
                }
            }
            HubEvent::TrustFailed(error) if open.is_used => PairEvent::Closed {
                why: format!("{error}. {}", error.advice()),
            },
            _ => return,
        };
        let is_last = !matches!(told, PairEvent::Failed { .. });
        for (_, watcher) in &open.watchers {
            // One who has gone says so by itself.
            let _ = watcher.send(Seen::Event(told.clone()));
        }
        if is_last {
            watched.open = None;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let (window, number) = (self.window.clone(), self.number);
        // A hub that has stopped has no window.
        let _ = self.orders.ask(move |turn| {
            let mut watched = window.lock();
            let Some(open) = &mut watched.open else { return };
            let before = open.watchers.len();
            open.watchers.retain(|(other, _)| *other != number);
            if open.watchers.is_empty() && before > 0 {
                watched.open = None;
                turn.close_window();
            }
        });
    }
}
