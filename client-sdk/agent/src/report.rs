//! What a person sees of a visit: lines, a progress bar on a terminal, or one JSON object for each event.
//!
//! Place: `desk` and `berth` give it their standard output and what happens.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use berth_client_sdk::Progress;
use berth_radio::Time;
use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use textwrap::{Options, WordSplitter};

/// Plain lines and JSON tell of progress this often.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Columns of a terminal's line that the bar before the words takes.
#[cfg(test)]
const BAR_COLUMNS: usize = 20;

/// Weight of the newest second in the rate.
const SMOOTHING: f64 = 0.3;

/// The rate is taken over this time.
const RATE_EVERY: Duration = Duration::from_secs(1);

/// Where to everything goes.
pub struct Report {
    out: Box<dyn Write + Send>,
    json: bool,
    bar: Option<ProgressBar>,
    told_at: Time,
    estimate: Estimate,
}

/// How fast a visit goes, and how long it will take.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    bytes_per_second: f64,
    bytes: u64,
    at: Time,
}

impl Estimate {
    /// Begins now.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            at: now,
            ..Self::default()
        }
    }

    /// Where the visit is now. Gives bytes a second, smoothed, and the seconds that are left, once that can be told.
    #[expect(clippy::cast_precision_loss, reason = "a guess for people")]
    pub fn at(&mut self, now: Time, progress: &Progress) -> (f64, Option<f64>) {
        // What was read waits for the link, and acknowledgements come in leaps: what was sent tells the pace best. Of
        // what compresses well, more is acknowledged than was sent.
        let sent = progress.bytes_done.min(progress.bytes_sent);
        let bytes = progress.bytes_acknowledged.max(sent);
        let passed = now.saturating_sub(self.at);
        if passed >= RATE_EVERY {
            let newest = bytes.saturating_sub(self.bytes) as f64 / passed.as_secs_f64();
            let weight = if self.bytes_per_second == 0.0 {
                1.0
            } else {
                SMOOTHING
            };
            self.bytes_per_second += weight * (newest - self.bytes_per_second);
            (self.bytes, self.at) = (bytes, now);
        }
        let rate = self.bytes_per_second;
        let left = progress.bytes_changed.saturating_sub(progress.bytes_acknowledged);
        let can_tell = progress.scanned && rate > 0.0;
        (rate, can_tell.then(|| (left as f64 / rate).ceil()))
    }
}

impl Report {
    /// `out` is the program's standard output. With `json`, one object a line.
    #[must_use]
    pub fn new(json: bool, out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            json,
            bar: None,
            told_at: Time::ZERO,
            estimate: Estimate::default(),
        }
    }

    /// One event: `fields` for programs, `line` for people.
    pub fn tell(&mut self, event: &str, mut fields: Value, line: &str) {
        self.end_bar();
        if self.json {
            if let Value::Object(fields) = &mut fields {
                fields.insert("event".into(), event.into());
            }
            self.say(&fields.to_string());
        } else {
            self.say(&wrapped(line, io::stdout().is_terminal()));
        }
    }

    /// A line for people only.
    pub fn note(&mut self, line: &str) {
        self.end_bar();
        if !self.json {
            self.say(&wrapped(line, io::stdout().is_terminal()));
        }
    }

    /// A visit has begun.
    pub fn begin(&mut self, now: Time) {
        self.told_at = now;
        self.estimate = Estimate::new(now);
        if !self.json && io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("[{bar:10}] {percent:>3} %  {wide_msg}");
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            self.bar = Some(bar);
        }
    }

    /// Where a visit is.
    pub fn progress(&mut self, now: Time, progress: &Progress) {
        let (rate, seconds_left) = self.estimate.at(now, progress);
        if let Some(bar) = &self.bar {
            bar.set_length(progress.bytes_changed.max(1));
            bar.set_position(progress.bytes_acknowledged);
            // A terminal of 80 columns has no room for more.
            bar.set_message(stay_in_words(progress, rate, seconds_left));
            return;
        }
        if now < self.told_at + TELL_EVERY {
            return;
        }
        self.told_at = now;
        if self.json {
            let mut fields = progress_fields(progress, rate, seconds_left);
            fields["event"] = "progress".into();
            self.say(&fields.to_string());
        } else {
            self.say(&format!("  {}", in_words(progress, rate, seconds_left)));
        }
    }

    fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn say(&mut self, line: &str) {
        // A reader that has gone away does not stop a backup.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}

/// Where a visit is, for programs.
#[must_use]
pub fn progress_fields(progress: &Progress, rate: f64, seconds_left: Option<f64>) -> Value {
    json!({
        "files": progress.files_done, "files_changed": progress.files_changed,
        "bytes_acknowledged": progress.bytes_acknowledged, "bytes_changed": progress.bytes_changed,
        "bytes_sent": progress.bytes_sent, "bytes_per_second": rate.round(), "seconds_left": seconds_left,
    })
}

/// Where a visit is, for people: what matters most first, since a narrow terminal cuts the end off.
#[must_use]
pub fn in_words(progress: &Progress, rate: f64, seconds_left: Option<f64>) -> String {
    let stay = stay_in_words(progress, rate, seconds_left);
    if !progress.scanned {
        return stay;
    }
    format!(
        "{stay}, {} of {} files",
        HumanCount(progress.files_done),
        HumanCount(progress.files_changed),
    )
}

fn stay_in_words(progress: &Progress, rate: f64, seconds_left: Option<f64>) -> String {
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
            format!("you may leave in {}", duration(seconds))
        }
        None if progress.bytes_acknowledged < progress.bytes_changed => "please stay".into(),
        Some(_) | None => "almost done".into(),
    };
    format!(
        "{stay}: {} of {}, {}/s",
        bytes(progress.bytes_acknowledged),
        bytes(progress.bytes_changed),
        bytes(rate),
    )
}

/// `45 s`, `12 min` or `3 h`, rounded up.
fn duration(seconds: f64) -> String {
    match seconds {
        ..100.0 => format!("{seconds:.0} s"),
        ..6_000.0 => format!("{:.0} min", (seconds / 60.0).ceil()),
        _ => format!("{:.0} h", (seconds / 3_600.0).ceil()),
    }
}

/// Text for a person: a terminal gets whole words on each of its lines, anything else one line.
#[must_use]
pub fn wrapped(text: &str, is_terminal: bool) -> String {
    if !is_terminal {
        return text.to_owned();
    }
    // Commands and paths stay whole: they are for copying.
    let width = Options::with_termwidth().break_words(false);
    textwrap::fill(text, width.word_splitter(WordSplitter::NoHyphenation))
}

/// A size for people; 10^3 a step, as disks are sold.
#[must_use]
pub fn bytes(size: u64) -> String {
    DecimalBytes(size).to_string()
}

/// A path in a command that can be pasted into a shell.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_link_not_what_was_read_ahead() {
        let mut estimate = Estimate::new(Time::ZERO);
        let mut progress = Progress {
            scanned: true,
            bytes_changed: 100_000_000,
            ..Progress::default()
        };
        assert!(in_words(&progress, 0.0, None).starts_with("please stay: "));
        (progress.bytes_done, progress.bytes_sent) = (32_000_000, 5_000_000);
        let (rate, left) = estimate.at(Time::from_secs(1), &progress);
        assert_eq!((rate, left), (5_000_000.0, Some(20.0)));
        assert!(
            in_words(&progress, rate, left).starts_with("you may leave in 20 s: 0 B of 100.00 MB, 5.00 MB/s")
        );
        (progress.bytes_changed, progress.bytes_acknowledged) = (999_990_000_000, 888_880_000_000);
        let longest = stay_in_words(&progress, 99_990_000.0, Some(5_999.0));
        assert!(
            longest.len() + BAR_COLUMNS <= 80,
            "a terminal of 80 columns cuts it off: {longest}"
        );
        assert_eq!([99.0, 100.0, 6_000.0].map(duration), ["99 s", "2 min", "2 h"]);
    }
}
