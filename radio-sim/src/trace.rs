//! What happened in the air, one line for each thing.
//!
//! A line is `SECONDS NAME MARK WHAT`: `>` a command, `<` an event, `=` stream bytes carried so far, `!` something the
//! world did. Sizes and checksums stand for payloads; passphrases never show. Pieces of streams are summed up: one
//! line every [`STREAM_LINE_BYTES`] and one at the end of each direction.
//!
//! Invariant: two runs with the same seed and the same inputs have the same lines, to the byte.

use std::collections::VecDeque;
use std::fmt;

use berth_radio::Time;

/// A line sums up this many bytes of a stream: a 1 TB backup makes 16,000 lines.
pub const STREAM_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// Lines that [`TraceTo::Memory`] keeps: 8 MiB or so.
pub const TRACE_LINES_MAX: usize = 100_000;

/// Where lines go.
#[derive(Default)]
pub enum TraceTo {
    /// Nowhere; carried bytes are not even summed up.
    #[default]
    Nowhere,
    /// The last [`TRACE_LINES_MAX`] lines are kept; all count for [`Trace::digest`].
    Memory,
    /// To a function, each without its line end. Called with the air locked: it must be quick.
    Sink(Box<dyn FnMut(&str) + Send>),
}

impl fmt::Debug for TraceTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "Nowhere",
            Self::Memory => "Memory",
            Self::Sink(_) => "Sink",
        })
    }
}

/// The lines so far.
#[derive(Debug, Default)]
pub struct Trace {
    to: TraceTo,
    lines: VecDeque<String>,
    count: u64,
    sum: crc32fast::Hasher,
}

impl Trace {
    pub(crate) fn new(to: TraceTo) -> Self {
        Self {
            to,
            ..Self::default()
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        !matches!(self.to, TraceTo::Nowhere)
    }

    pub(crate) fn line(&mut self, at: Time, name: &str, mark: char, what: fmt::Arguments<'_>) {
        if !self.is_on() {
            return;
        }
        let line = format!(
            "{:>6}.{:09} {name} {mark} {what}",
            at.as_secs(),
            at.subsec_nanos()
        );
        self.count += 1;
        self.sum.update(line.as_bytes());
        self.sum.update(b"\n");
        match &mut self.to {
            TraceTo::Nowhere => {}
            TraceTo::Sink(sink) => sink(&line),
            TraceTo::Memory => {
                if self.lines.len() == TRACE_LINES_MAX {
                    self.lines.pop_front();
                }
                self.lines.push_back(line);
            }
        }
    }

    /// The lines kept, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The lines kept as one text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Number of lines there ever were, and the CRC-32 of all of them, kept or not: equal traces have equal digests.
    #[must_use]
    pub fn digest(&self) -> (u64, u32) {
        (self.count, self.sum.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_trace_forgets_its_oldest_line_but_not_its_digest() {
        let mut trace = Trace::new(TraceTo::Memory);
        for number in 0..=TRACE_LINES_MAX {
            trace.line(
                Duration::from_millis(1_500),
                "hub",
                '!',
                format_args!("line {number}"),
            );
        }
        assert_eq!(trace.lines().count(), TRACE_LINES_MAX);
        assert_eq!(trace.lines().next(), Some("     1.500000000 hub ! line 1"));
        let (count, before) = trace.digest();
        assert_eq!(count, TRACE_LINES_MAX as u64 + 1);
        trace.line(Duration::ZERO, "hub", '!', format_args!(""));
        assert_ne!(trace.digest().1, before);
    }
}
