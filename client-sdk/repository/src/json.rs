//! JSON as Go's `encoding/json` writes it, read with bounded nesting.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::OpenError;
use crate::limits::NESTING_MAX;

/// Serialises one of this crate's own types, in Go's compact form, to the end of `out`.
pub(crate) fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    value
        .serialize(&mut Serializer::with_formatter(out, GoFormatter))
        .expect("maps of this crate have text keys, and a Vec takes every byte");
}

/// [`write()`] into a new buffer.
pub(crate) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// Reads one value and nothing after it but white space.
pub(crate) fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, OpenError> {
    check_nesting(json)?;
    serde_json::from_slice(json).map_err(OpenError::Json)
}

/// Like serde_json's compact form, but `<`, `>`, `&` and the two Unicode line ends are escaped as Go does.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, found)) = rest.char_indices().find(|(_, c)| go_escapes(*c)) {
            let (before, from) = rest.split_at(at);
            write!(to, "{before}\\u{:04x}", u32::from(found))?;
            rest = from.get(found.len_utf8()..).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(to, rest)
    }
}

fn go_escapes(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// Counts brackets outside of strings. Cheap, and the parser's own limit (128) is beyond ours.
fn check_nesting(json: &[u8]) -> Result<(), OpenError> {
    let mut depth = 0_usize;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'{' | b'[' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(OpenError::Nesting);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return,
            _ => {}
        }
    }
}

/// Bytes as Go writes a `[]byte`: standard base64 with padding; `null` reads as none.
pub(crate) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(STANDARD.encode(bytes)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = Zeroizing::new(Option::<String>::deserialize(from)?.unwrap_or_default());
        STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

/// Bytes as Go writes a string that need not be UTF-8: each wrong byte is `\ufffd`, escaped, where a U+FFFD that was
/// there is not.
pub(crate) mod lossy_text {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => to.serialize_str(text),
            Err(_) => lossy_json(bytes).serialize(to),
        }
    }

    fn lossy_json(bytes: &[u8]) -> Box<RawValue> {
        let mut json = String::from("\"");
        for chunk in bytes.utf8_chunks() {
            let valid =
                String::from_utf8(super::to_vec(&chunk.valid())).expect("JSON of this crate is UTF-8");
            json.push_str(valid.get(1..valid.len() - 1).unwrap_or_default());
            json.extend(chunk.invalid().iter().map(|_| "\\ufffd"));
        }
        json.push('"');
        RawValue::from_string(json).expect("one quoted text")
    }

    pub(crate) fn deserialize<'a, 'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'a, [u8]>, D::Error> {
        let text = Option::<String>::deserialize(from)?.unwrap_or_default();
        Ok(Cow::Owned(text.into_bytes()))
    }
}

/// What Go writes as `null` for a nil slice, a nil map or an absent value.
pub(crate) fn null_is_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(from)?.unwrap_or_default())
}

/// For Go's `omitempty`.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_go_does() {
        let text = "a<b>&\"\\\n\t\r\u{1}\u{7f}é\u{2028}\u{2029}\u{fffd}";
        assert_eq!(
            String::from_utf8(to_vec(&text)).unwrap(),
            "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\t\\r\\u0001\u{7f}é\\u2028\\u2029\u{fffd}\""
        );
        assert_eq!(from_slice::<String>(&to_vec(&text)).unwrap(), text);
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(from_slice::<serde_json::Value>(nested(NESTING_MAX).as_bytes()).is_ok());
        let error = from_slice::<serde_json::Value>(nested(NESTING_MAX + 1).as_bytes()).unwrap_err();
        assert!(matches!(error, OpenError::Nesting));
        assert!(from_slice::<String>(br#""[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[""#).is_ok());
    }
}
