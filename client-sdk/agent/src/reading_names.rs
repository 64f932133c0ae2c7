//! Names and numbers of what is read back, for people and for scripts.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use berth_restore::{Entry, Kind, Time};
use serde_json::{Map, Value, json};

/// A path for people: what a terminal could take for a command, and what is no text, is escaped (`\n`, `\xff`; a backslash
/// is `\\`). One line, always.
pub(crate) fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == '\\' || char.is_control() || is_unseen(char) {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Characters that turn the reading direction or have no width: a name could show as another one.
fn is_unseen(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Puts a path under `key`. One that is no UTF-8 loses bytes there (U+FFFD stands for them); `KEY_base64` has all of them.
pub(crate) fn put_path(object: &mut Map<String, Value>, key: &str, path: &OsStr) {
    object.insert(key.to_owned(), path.to_string_lossy().into());
    if path.to_str().is_none() {
        let whole = data_encoding::BASE64.encode(path.as_bytes());
        object.insert(format!("{key}_base64"), whole.into());
    }
}

/// One entry for scripts: `path`, `type` (as restic names them), `size` (bytes of a file, else 0), `mode` (permission
/// bits, a number), `mtime` (RFC 3339 with nanoseconds, UTC), `uid`, `gid`, and `target` of a symlink.
pub(crate) fn object(path: &Path, entry: &Entry) -> Value {
    let mut object = Map::new();
    put_path(&mut object, "path", path.as_os_str());
    object.insert("type".into(), kind(entry).into());
    object.insert("size".into(), size_bytes(entry).into());
    object.insert("mode".into(), entry.mode.into());
    object.insert("mtime".into(), json!(entry.modified.and_then(rfc3339)));
    object.insert("uid".into(), entry.uid.into());
    object.insert("gid".into(), entry.gid.into());
    if let Kind::Symlink { target } = &entry.kind {
        put_path(&mut object, "target", target.as_os_str());
    }
    Value::Object(object)
}

/// One entry for people, as `ls -l` has it.
pub(crate) fn line(path: &Path, entry: &Entry, zone: &jiff::tz::TimeZone) -> String {
    let time = entry
        .modified
        .and_then(timestamp)
        .map(|time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default();
    let mut line = format!(
        "{} {:>12} {time:16} {}",
        permissions(entry),
        size_bytes(entry),
        shown(path)
    );
    if let Kind::Symlink { target } = &entry.kind {
        line += " -> ";
        line += &shown(target);
    }
    line
}

const fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::File { .. } => "file",
        Kind::Folder { .. } => "dir",
        Kind::Symlink { .. } => "symlink",
        Kind::Fifo => "fifo",
        Kind::CharDevice(_) => "chardev",
        Kind::BlockDevice(_) => "dev",
        Kind::Socket => "socket",
    }
}

const fn size_bytes(entry: &Entry) -> u64 {
    match entry.kind {
        Kind::File { .. } => entry.size_bytes,
        _ => 0,
    }
}

fn timestamp(time: Time) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.seconds, i32::try_from(time.nanoseconds).ok()?).ok()
}

/// A time for people, in UTC: with a place that is far away nobody knows whose zone counts.
pub(crate) fn when(time: Time) -> String {
    timestamp(time).map_or_else(
        || "?".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

/// `None`: a year that the format has no room for.
fn rfc3339(time: Time) -> Option<String> {
    timestamp(time).map(|time| format!("{time:.9}"))
}

fn permissions(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File { .. } => '-',
        Kind::Folder { .. } => 'd',
        Kind::Symlink { .. } => 'l',
        Kind::Fifo => 'p',
        Kind::CharDevice(_) => 'c',
        Kind::BlockDevice(_) => 'b',
        Kind::Socket => 's',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bit = |bit: u32| entry.mode >> shift & bit != 0;
        text.push(if bit(4) { 'r' } else { '-' });
        text.push(if bit(2) { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bit(1)) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind) -> Entry {
        Entry {
            name: "a".into(),
            kind,
            mode: 0o4751,
            uid: 0,
            gid: 7,
            modified: Some(Time {
                seconds: -1,
                nanoseconds: 999_999_999,
            }),
            accessed: None,
            size_bytes: 12,
            links: 1,
            inode: 1,
            device: 1,
            attributes: Vec::new(),
        }
    }

    fn odd() -> &'static Path {
        Path::new(OsStr::from_bytes(b"/a\xff\n\\\xe2\x80\xae\x1b[2J"))
    }

    #[test]
    fn a_name_for_people_is_one_line_and_commands_no_terminal() {
        assert_eq!(shown(odd()), "/a\\xff\\n\\\\\\u{202e}\\u{1b}[2J");
        assert_eq!(shown(Path::new("/Ä ö/é")), "/Ä ö/é");
    }

    #[test]
    fn a_name_for_scripts_keeps_every_byte() {
        let object = object(odd(), &entry(Kind::File { content: Vec::new() }));
        let whole = object["path_base64"].as_str().unwrap();
        let whole = data_encoding::BASE64.decode(whole.as_bytes()).unwrap();
        assert_eq!(whole, odd().as_os_str().as_bytes());
        assert_eq!(object["mtime"], "1969-12-31T23:59:59.999999999Z");
        assert_eq!((&object["size"], &object["mode"]), (&json!(12), &json!(0o4751)));
    }

    #[test]
    fn a_line_says_what_it_is() {
        let target = "../b".into();
        let line = line(
            Path::new("/a"),
            &entry(Kind::Symlink { target }),
            &jiff::tz::TimeZone::UTC,
        );
        assert_eq!(line, "lrwsr-x--x            0 1969-12-31 23:59 /a -> ../b");
    }
}
