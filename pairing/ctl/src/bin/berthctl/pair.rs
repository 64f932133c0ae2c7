//! The pairing window on a screen.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use berth_ctl::{Client, PairEvent, Request};
use serde_json::json;
use std::sync::mpsc::{self, RecvTimeoutError};

use crate::code;
use crate::words::wrapped;
use crate::{monotonic, say};

/// A terminal with fewer rows shows no QR code: the digits matter more. All together takes one row less.
const QR_ROWS_MIN: u16 = 24;
const QR_COLUMNS_MIN: u16 = 60;

/// Opens the window and tells how it ended; true if a laptop was paired.
pub(crate) fn pair(client: Client, json: bool) -> Result<bool> {
    let (events_in, events) = mpsc::channel();
    let reader = move || {
        let answers = match client.ask::<PairEvent>(&Request::Pair, &monotonic) {
            Ok(answers) => answers,
            Err(error) => return drop(events_in.send(Err(error))),
        };
        for event in answers {
            if events_in.send(event).is_err() {
                return;
            }
        }
    };
    thread::spawn(reader);
    let counts_down = !json && io::stdout().is_terminal();
    let mut closes_at = None;
    loop {
        let event = match (counts_down, closes_at) {
            (true, Some(closes_at)) => {
                count_down(closes_at);
                match events.recv_timeout(Duration::from_secs(1)) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    Ok(event) => Ok(event),
                    Err(RecvTimeoutError::Disconnected) => Err(mpsc::RecvError),
                }
            }
            (_, _) => events.recv(),
        };
        let Ok(event) = event else {
            bail!("the hub has stopped: the window is closed");
        };
        match event? {
            PairEvent::Code { code, closes_in_s } => {
                closes_at = Some(monotonic() + Duration::from_secs(closes_in_s));
                if json {
                    say(&json!({ "event": "code", "code": code }).to_string());
                } else {
                    show(&code, closes_in_s);
                }
            }
            PairEvent::Open { .. } => {}
            PairEvent::Failed { why } => {
                if !json {
                    line(counts_down, &why);
                }
            }
            PairEvent::Paired { laptop } => {
                if json {
                    say(&json!({ "event": "paired", "laptop": laptop }).to_string());
                } else {
                    line(
                        counts_down,
                        &format!("Paired with {laptop}. It is backed up at its next visit."),
                    );
                }
                return Ok(true);
            }
            PairEvent::Closed { why } => {
                if json {
                    say(&json!({ "event": "closed", "why": why }).to_string());
                } else {
                    line(counts_down, &why);
                }
                return Ok(false);
            }
        }
    }
}

fn show(code: &str, closes_in_s: u64) {
    say(&format!("Type on the laptop: berth pair {code}\n"));
    code::large(code).iter().for_each(|line| say(line));
    say("");
    if has_room_for_qr() {
        code::qr(code)
            .unwrap_or_default()
            .iter()
            .for_each(|line| say(line));
    }
    if !io::stdout().is_terminal() {
        say(&format!("The window closes in {closes_in_s} s."));
    }
}

fn has_room_for_qr() -> bool {
    let stdout = io::stdout();
    stdout.is_terminal()
        && rustix::termios::tcgetwinsize(&stdout)
            .is_ok_and(|size| size.ws_row >= QR_ROWS_MIN && size.ws_col >= QR_COLUMNS_MIN)
}

fn count_down(closes_at: Duration) {
    let left = closes_at.saturating_sub(monotonic()).as_secs();
    let mut stdout = io::stdout();
    // A terminal that has gone ends the program at the next event.
    let _ = write!(
        stdout,
        "\r\u{1b}[KThe window closes in {left} s. Ctrl-C closes it now."
    );
    let _ = stdout.flush();
}

/// A line in place of the countdown.
fn line(counts_down: bool, text: &str) {
    let clear = if counts_down { "\r\u{1b}[K" } else { "" };
    say(&format!("{clear}{}", wrapped(text, counts_down)));
}
