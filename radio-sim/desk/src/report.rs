//! What a person sees: lines, a progress bar on a terminal, or one JSON object for each event.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use berth_client_sdk::Progress;
use berth_radio::Time;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// Plain lines and JSON tell of progress this often.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Weight of the newest second in the rate.
const SMOOTHING: f64 = 0.3;

/// Where to everything goes.
pub(crate) struct Report {
    json: bool,
    bar: Option<ProgressBar>,
    told_at: Time,
    rate: Rate,
}

/// Bytes a second, smoothed.
#[derive(Default)]
struct Rate {
    bytes_per_second: f64,
    bytes: u64,
    at: Time,
}

impl Rate {
    fn at(&mut self, now: Time, bytes: u64) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        if passed >= 0.25 || self.bytes_per_second == 0.0 && passed > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let newest = bytes.saturating_sub(self.bytes) as f64 / passed;
            let weight = if self.bytes_per_second == 0.0 {
                1.0
            } else {
                SMOOTHING
            };
            self.bytes_per_second += weight * (newest - self.bytes_per_second);
            (self.bytes, self.at) = (bytes, now);
        }
        self.bytes_per_second
    }
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            bar: None,
            told_at: Time::ZERO,
            rate: Rate::default(),
        }
    }

    /// One event: `fields` for programs, `line` for people.
    pub(crate) fn tell(&mut self, event: &str, mut fields: Value, line: &str) {
        self.end_bar();
        if self.json {
            if let Value::Object(fields) = &mut fields {
                fields.insert("event".into(), event.into());
            }
            say(&fields.to_string());
        } else {
            say(line);
        }
    }

    /// A line for people only.
    pub(crate) fn note(&mut self, line: &str) {
        self.end_bar();
        if !self.json {
            say(line);
        }
    }

    /// A visit has begun.
    pub(crate) fn begin(&mut self, now: Time) {
        self.told_at = now;
        self.rate = Rate {
            at: now,
            ..Rate::default()
        };
        if !self.json && io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("  {bar:16} {percent:>3} %  {wide_msg}");
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            self.bar = Some(bar);
        }
    }

    /// Where a visit is.
    pub(crate) fn progress(&mut self, now: Time, progress: &Progress) {
        let rate = self
            .rate
            .at(now, progress.bytes_acknowledged.max(progress.bytes_done));
        let left = progress.bytes_changed.saturating_sub(progress.bytes_acknowledged);
        #[expect(clippy::cast_precision_loss, reason = "a guess for people")]
        let seconds_left = (progress.scanned && rate > 0.0).then(|| (left as f64 / rate).ceil());
        if let Some(bar) = &self.bar {
            bar.set_length(progress.bytes_changed.max(1));
            bar.set_position(progress.bytes_acknowledged);
            bar.set_message(in_words(progress, rate, seconds_left));
            return;
        }
        if now < self.told_at + TELL_EVERY {
            return;
        }
        self.told_at = now;
        if self.json {
            say(&json!({
                "event": "progress", "files": progress.files_done, "files_changed": progress.files_changed,
                "bytes_acknowledged": progress.bytes_acknowledged, "bytes_changed": progress.bytes_changed,
                "bytes_sent": progress.bytes_sent, "bytes_per_second": rate.round(), "seconds_left": seconds_left,
            })
            .to_string());
        } else {
            say(&format!("  {}", in_words(progress, rate, seconds_left)));
        }
    }

    pub(crate) fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn in_words(progress: &Progress, rate: f64, seconds_left: Option<f64>) -> String {
    if !progress.scanned {
        return format!(
            "looking: {} files, {}",
            HumanCount(progress.files_scanned),
            bytes(progress.bytes_scanned)
        );
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive and small"
    )]
    let rate = rate as u64;
    let stay = match seconds_left {
        Some(seconds) if progress.bytes_acknowledged < progress.bytes_changed => {
            format!("you may leave in {seconds:.0} s")
        }
        Some(_) | None => "almost done".into(),
    };
    // What matters most first: a narrow terminal cuts the end off.
    format!(
        "{stay}: {} of {}, {} of {} files, {}/s",
        bytes(progress.bytes_acknowledged),
        bytes(progress.bytes_changed),
        HumanCount(progress.files_done),
        HumanCount(progress.files_changed),
        bytes(rate),
    )
}

/// A size for people.
pub(crate) fn bytes(size: u64) -> String {
    HumanBytes(size).to_string()
}

/// A path in a command that can be pasted into a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The last line of a program that failed.
pub(crate) fn failed(error: &anyhow::Error, json: bool) {
    if json {
        say(&json!({ "event": "failed", "error": format!("{error:#}") }).to_string());
    }
    // Nothing is left to tell it to if this fails.
    let _ = writeln!(io::stderr(), "desk: {error:#}");
}

/// A line on standard output. A reader that has gone away does not stop a backup.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
