//! Names of files, which are bytes, as text: Go's `strconv.Quote` without the quotes, as restic writes them.
//!
//! What is printable (and so not escaped) depends on the Unicode version, which differs between builds of restic too;
//! reading back is the same for all.

use std::fmt::Write as _;

/// Bytes to text. Every byte string has exactly one such text.
pub(crate) fn quote(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            quote_char(c, &mut out);
        }
        for byte in chunk.invalid() {
            push(&mut out, format_args!("\\x{byte:02x}"));
        }
    }
    out
}

fn quote_char(c: char, out: &mut String) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        ' '..='~' => out.push(c),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        '\0'..='\x1f' | '\x7f' => push(out, format_args!("\\x{:02x}", u32::from(c))),
        c if is_printable(c) => out.push(c),
        '\u{80}'..='\u{ffff}' => push(out, format_args!("\\u{:04x}", u32::from(c))),
        c => push(out, format_args!("\\U{:08x}", u32::from(c))),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every text");
}

/// Whether `c`, not an ASCII character, is a letter, mark, number, punctuation or symbol: Go's `unicode.IsPrint`. The
/// standard library knows it in `str::escape_debug`, which escapes a mark only where it is the first character.
fn is_printable(c: char) -> bool {
    let mut text = [b'a'; 5];
    let length = 1 + text
        .split_first_mut()
        .map_or(0, |(_, rest)| c.encode_utf8(rest).len());
    text.get(..length)
        .and_then(|text| std::str::from_utf8(text).ok())
        .is_some_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// Text to bytes: Go's `strconv.Unquote`. `None` for what that refuses.
pub(crate) fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        rest = unquote_escape(escape.strip_prefix('\\')?, &mut out)?;
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// `text` begins after the backslash; gives what follows the escape.
fn unquote_escape<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = text.chars();
    let simple = match chars.next()? {
        '\\' => b'\\',
        '"' => b'"',
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        'x' => {
            let (byte, rest) = digits(chars.as_str(), 2, 16)?;
            out.push(u8::try_from(byte).ok()?);
            return Some(rest);
        }
        '0'..='7' => {
            let (byte, rest) = digits(text, 3, 8)?;
            out.push(u8::try_from(byte).ok()?);
            return Some(rest);
        }
        kind @ ('u' | 'U') => {
            let (code, rest) = digits(chars.as_str(), if kind == 'u' { 4 } else { 8 }, 16)?;
            let mut utf8 = [0; 4];
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    out.push(simple);
    Some(chars.as_str())
}

fn digits(text: &str, count: usize, radix: u32) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let are_digits = digits.chars().all(|c| c.is_digit(radix)); // from_str_radix alone takes a sign too
    Some((
        u32::from_str_radix(digits, radix).ok().filter(|_| are_digits)?,
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_comes_back(name: Vec<u8>) {
            prop_assert_eq!(unquote(&quote(&name)), Some(name));
        }

        #[test]
        fn every_text_comes_back(name: String) {
            prop_assert_eq!(unquote(&quote(name.as_bytes())), Some(name.into_bytes()));
        }

        #[test]
        fn unquote_never_panics(text: String) {
            let _ = unquote(&text);
        }
    }

    /// From the tests of Go's strconv and from restic 0.14's output.
    #[test]
    fn names_are_quoted_as_go_does() {
        for (name, text) in [
            (&b"\x07\x08\x0c\r\n\t\x0b"[..], r"\a\b\f\r\n\t\v"),
            (b"\\", r"\\"),
            (b"\"'`", r#"\"'`"#),
            (b"abc\xffdef", r"abc\xffdef"),
            ("\u{263a}".as_bytes(), "\u{263a}"),
            ("\u{10ffff}".as_bytes(), r"\U0010ffff"),
            ("!\u{a0}!\u{2000}!\u{3000}!".as_bytes(), r"!\u00a0!\u2000!\u3000!"),
            (b"\x04\x7f\0", r"\x04\x7f\x00"),
            (b"\xc2", r"\xc2"),
            (b"\xed\xa0\x80", r"\xed\xa0\x80"),
            ("\u{301}e\u{301}".as_bytes(), "\u{301}e\u{301}"),
            ("\u{fffd}\u{feff}\u{ad}".as_bytes(), "\u{fffd}\\ufeff\\u00ad"),
            ("\u{e000}\u{80}".as_bytes(), r"\ue000\u0080"),
        ] {
            assert_eq!(quote(name), text);
            assert_eq!(unquote(text).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_go_refuses_to_unquote_is_refused() {
        for text in [
            r"\",
            r"\x",
            r"\x1",
            r"\xg1",
            r"\x+1",
            r"\'",
            r"\q",
            r"\400",
            r"\08",
            r"\ud800",
            r"\U00110000",
            "\"",
            "\n",
            r"\u12",
            "\\xé",
        ] {
            assert_eq!(unquote(text), None, "{text}");
        }
        assert_eq!(unquote(r"\101\u00e9\xC3\xa9"), Some("Aéé".into()));
    }
}
