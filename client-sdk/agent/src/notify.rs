//! What the desktop shows while the agent works. Where there is no desktop, nothing.
//!
//! Invariant: a visit never waits for a desktop: notices go to a thread of their own, and one that finds no room is
//! dropped.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_agent::{Estimate, bytes};
use berth_client_sdk::Progress;
use berth_radio::Time;
use crossbeam_channel::{Receiver, Sender, bounded};
use notify_rust::{Notification, Timeout};

use crate::visit::{End, Visited};

/// Notices that wait for a slow desktop.
const WAITING_MAX: usize = 8;

/// A visit that takes less than this is over before anybody has read a notice.
const WORTH_TELLING: Duration = Duration::from_secs(3);

/// The end of the agent waits at most this long for the last notice.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// What is worth a person's attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A backup runs; the person had better stay.
    Stay { seconds_left: Option<u64> },
    /// All is safe.
    Safe { set: u64 },
    /// The link was cut in the middle.
    Cut { acknowledged: u64, changed: u64 },
    /// The hub takes no backup now, in words.
    Full { why: String },
    /// The hub has lost or changed what it had confirmed, in words.
    Trouble { why: String },
    /// No complete set for so many days; `None`: never.
    Overdue { days: Option<u64> },
}

impl Notice {
    fn words(&self) -> (&'static str, String) {
        match self {
            Self::Stay {
                seconds_left: Some(seconds),
            } => (
                "Backup runs, please stay",
                format!("You may leave in about {seconds} s."),
            ),
            Self::Stay { seconds_left: None } => ("Backup runs, please stay", String::new()),
            Self::Safe { set } => ("Safe: you may go", format!("Set {set} is complete on the hub.")),
            Self::Cut {
                acknowledged,
                changed,
            } => (
                "Backup was cut",
                format!(
                    "{} of {} are safe on the hub. Come back, and it goes on.",
                    bytes(*acknowledged),
                    bytes(*changed)
                ),
            ),
            Self::Full { why } => ("No backup: the hub takes none now", why.clone()),
            Self::Trouble { why } => ("Backups on the hub are damaged", why.clone()),
            Self::Overdue { days: Some(days) } => (
                "Backup is overdue",
                format!("The last complete one is {days} days old. Take the laptop to the hub."),
            ),
            Self::Overdue { days: None } => (
                "Backup is overdue",
                "There is no complete one yet. Take the laptop to the hub.".to_owned(),
            ),
        }
    }
}

/// Shows notices, each once.
pub(crate) struct Notifier {
    line: Option<Line>,
    overdue_days: Option<Option<u64>>,
    visit: Option<(Time, Estimate)>,
    has_said_stay: bool,
    has_said_full: bool,
}

struct Line {
    notices: Sender<Notice>,
    shown: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Notifier {
    /// Without a session bus there is no desktop.
    pub(crate) fn start() -> Self {
        let has_desktop =
            std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty());
        Self {
            line: has_desktop.then(Line::start).flatten(),
            overdue_days: None,
            visit: None,
            has_said_stay: false,
            has_said_full: false,
        }
    }

    /// Shows one. The same number of overdue days is shown once.
    pub(crate) fn tell(&mut self, notice: Notice) {
        if let Notice::Overdue { days } = notice
            && self.overdue_days.replace(days) == Some(days)
        {
            return;
        }
        if let Some(line) = &self.line {
            // A desktop that is so slow shows nothing in time.
            let _ = line.notices.try_send(notice);
        }
    }

    /// Where a visit is: says once that the person had better stay.
    pub(crate) fn progress(&mut self, now: Time, progress: &Progress) {
        if self.line.is_none() || self.has_said_stay {
            return;
        }
        let (began, estimate) = self.visit.get_or_insert_with(|| (now, Estimate::new(now)));
        let (_, seconds_left) = estimate.at(now, progress);
        if now < *began + WORTH_TELLING || !progress.scanned || progress.bytes_changed == 0 {
            return;
        }
        self.has_said_stay = true;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a guess for people"
        )]
        let seconds_left = seconds_left.map(|seconds| seconds as u64);
        self.tell(Notice::Stay { seconds_left });
    }

    /// A visit has ended. A short one that found nothing new is not worth a notice.
    pub(crate) fn ended(&mut self, visited: &Visited) {
        let (said_stay, progress) = (std::mem::take(&mut self.has_said_stay), &visited.progress);
        self.visit = None;
        // Said once, not at every try until there is room.
        let is_full = matches!(visited.end, End::Full(_));
        let has_said_full = std::mem::replace(&mut self.has_said_full, is_full);
        if let Some(why) = visited.trouble.clone() {
            self.tell(Notice::Trouble { why });
        }
        match &visited.end {
            End::Complete(summary) => {
                self.overdue_days = None;
                if said_stay || summary.bytes_new > 0 {
                    self.tell(Notice::Safe { set: summary.set.0 });
                }
            }
            End::Cut if progress.bytes_changed > 0 => self.tell(Notice::Cut {
                acknowledged: progress.bytes_acknowledged,
                changed: progress.bytes_changed,
            }),
            End::Full(why) if !has_said_full => self.tell(Notice::Full { why: why.clone() }),
            End::Cut | End::Left | End::Full(_) | End::Failed(_) => {}
        }
    }

    /// The last ones are shown, if the desktop is quick.
    pub(crate) fn finish(self) {
        if let Some(Line {
            notices,
            shown,
            thread,
        }) = self.line
        {
            drop(notices);
            // It ends with the channel; what it waits for may never come.
            if shown.recv_timeout(FINISH_MAX) != Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                let _ = thread.join();
            }
        }
    }
}

impl Line {
    fn start() -> Option<Self> {
        let (notices, waiting) = bounded::<Notice>(WAITING_MAX);
        let (over, shown) = bounded(0);
        let thread = thread::Builder::new()
            .name("berth-notify".to_owned())
            .spawn(move || {
                for notice in waiting {
                    let (title, text) = notice.words();
                    let mut shown = Notification::new();
                    // Whoever shows notices may not be there now: they are for the moment.
                    let _ = shown
                        .appname("Berth")
                        .summary(title)
                        .body(&text)
                        .timeout(Timeout::Default)
                        .show();
                }
                drop(over);
            });
        Some(Self {
            notices,
            shown,
            thread: thread.ok()?,
        })
    }
}
