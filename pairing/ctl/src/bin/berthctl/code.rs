//! The pairing code for a person at the other side of the desk: digits of blocks, and a QR code.

use qrcode::{EcLevel, QrCode};

/// Rows of a digit.
const DIGIT_ROWS: usize = 5;

/// Light modules around the QR code: half of what its standard (ISO/IEC 18004) asks for is enough for cameras.
const QUIET_MODULES: usize = 2;

/// Each digit is 5 rows of 3 cells; a cell is two columns.
const DIGITS: [[u8; DIGIT_ROWS]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];
const DASH: [u8; DIGIT_ROWS] = [0, 0, 0b111, 0, 0];

/// The code in digits of blocks: 5 lines of 72 columns for eight digits and a dash.
pub(crate) fn large(code: &str) -> Vec<String> {
    let glyphs: Vec<[u8; DIGIT_ROWS]> = code
        .chars()
        .map(|char| {
            let digit = char.to_digit(10).and_then(|digit| DIGITS.get(digit as usize));
            digit.copied().unwrap_or(DASH)
        })
        .collect();
    let row = |row: usize| {
        let cells = |glyph: &[u8; DIGIT_ROWS]| {
            let bits = glyph.get(row).copied().unwrap_or(0);
            let cell = |bit: u8| if bits & (1 << bit) == 0 { "  " } else { "██" };
            [cell(2), cell(1), cell(0), "  "].concat()
        };
        let line: String = glyphs.iter().map(cells).collect();
        format!("  {}", line.trim_end())
    };
    (0..DIGIT_ROWS).map(row).collect()
}

/// The code as a QR code in half blocks, black on white whatever the terminal's colours; `None`: it has no such form.
pub(crate) fn qr(code: &str) -> Option<Vec<String>> {
    let qr = QrCode::with_error_correction_level(code.as_bytes(), EcLevel::M).ok()?;
    let (width, colors) = (qr.width(), qr.to_colors());
    let dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET_MODULES).filter(|at| *at < width);
        let (Some(x), Some(y)) = (inside(x), inside(y)) else {
            return false;
        };
        colors
            .get(y * width + x)
            .is_some_and(|color| *color == qrcode::Color::Dark)
    };
    let side = width + 2 * QUIET_MODULES;
    let lines = (0..side).step_by(2).map(|y| {
        let halves = (0..side).map(|x| match (dark(x, y), dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        format!("  \u{1b}[30;107m{}\u{1b}[0m", halves.collect::<String>())
    });
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_fits_80_columns_and_no_two_digits_look_alike() {
        let lines = large("1234-5678");
        assert_eq!(lines.len(), DIGIT_ROWS);
        assert!(lines.iter().all(|line| line.chars().count() <= 79), "{lines:#?}");
        for (place, digit) in DIGITS.iter().enumerate() {
            assert!(DIGITS.iter().skip(place + 1).all(|other| other != digit));
        }
    }

    #[test]
    fn the_qr_code_has_square_lines() {
        let lines = qr("1234-5678").unwrap();
        let widths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(lines.len(), (21 + 2 * QUIET_MODULES).div_ceil(2));
    }
}
