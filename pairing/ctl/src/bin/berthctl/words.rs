//! Sizes, ages and tables for people, in 80 columns.

use jiff::Timestamp;
use textwrap::{Options, WordSplitter};

const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];

/// `1.5 GB`; 10^3 a step, as disks are sold.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1_000.0, next);
    }
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// `5 min ago`.
pub(crate) fn age(at: Option<Timestamp>, now: Timestamp) -> String {
    let Some(at) = at else { return "-".to_owned() };
    let seconds = now.as_second() - at.as_second();
    let (count, unit) = match seconds {
        ..-60 => return "in the future".to_owned(),
        -60..60 => return "just now".to_owned(),
        60..3_600 => (seconds / 60, "min"),
        3_600..86_400 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{count} {unit} ago")
}

/// Lines of aligned columns; those named in `right` to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>], right: &[&str]) -> Vec<String> {
    let cells = |place: usize| rows.iter().filter_map(move |row| row.get(place));
    let width = |place: usize, title: &str| {
        let longest = cells(place).map(|cell| cell.chars().count()).max();
        longest.unwrap_or(0).max(title.len())
    };
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(place, title)| width(place, title))
        .collect();
    let line = |row: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((cell, width), title) in row.zip(&widths).zip(head) {
            let cell = if right.contains(title) {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:<width$}  ")
            };
            line.push_str(&cell);
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines
}

/// Text for a person: a terminal gets whole words on each of its lines, anything else one line.
pub(crate) fn wrapped(text: &str, is_terminal: bool) -> String {
    if !is_terminal {
        return text.to_owned();
    }
    // Commands and paths stay whole: they are for copying.
    let width = Options::with_termwidth().break_words(false);
    textwrap::fill(text, width.word_splitter(WordSplitter::NoHyphenation))
}

/// The first digits of a key: enough to tell laptops apart.
pub(crate) fn short(key: &str) -> &str {
    key.get(..8).unwrap_or(key)
}

/// A name for a column: the middle of a long one is left out.
pub(crate) fn narrow(name: &str, width_max: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= width_max {
        return name.to_owned();
    }
    let (front, back) = (width_max / 2, width_max - width_max / 2 - 1);
    let front: String = chars.iter().take(front).collect();
    let back: String = chars.iter().skip(chars.len() - back).collect();
    format!("{front}~{back}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_600, "1.0 MB"),
            (16_777_216, "17 MB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let ago = |seconds: i64| age(Timestamp::from_second(1_000_000_000 - seconds).ok(), now);
        assert_eq!(ago(0), "just now");
        assert_eq!(ago(125), "2 min ago");
        assert_eq!(ago(7_200), "2 h ago");
        assert_eq!(ago(900_000), "10 d ago");
        assert_eq!(ago(-3_600), "in the future");
        assert_eq!(age(None, now), "-");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            table(&["N", "SIZE"], &rows, &["SIZE"]),
            ["N     SIZE", "a        1", "long    22"]
        );
        assert_eq!(narrow("a-very-long-name", 7), "a-v~ame");
    }
}
