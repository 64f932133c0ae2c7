//! What the person has chosen: `settings.toml` in the state folder.
//!
//! Place: read by every visit when it begins; changed by `berth folders`, `berth exclude` and `berth pair`, or by hand.
//! Invariant: replaced in one step and synced; comments and order stay as the person wrote them; a file that cannot be
//! understood is never replaced.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use berth_disk::{Disk, replace};
use serde::Deserialize;
use toml_edit::{Array, DocumentMut, Item, Value};

/// Name of the file in the state folder.
pub const SETTINGS_FILE: &str = "settings.toml";

/// Room for tens of thousands of patterns.
const SIZE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What a new file begins with.
const HEADER: &str = "\
# What Berth backs up, and when. Changed by `berth folders` and `berth exclude`, or by hand.
# interval_minutes = 60   # the agent backs up at most once in this time while the hub is near
# overdue_days = 7        # after so many days without a complete set the agent says that a backup is overdue
";

/// The person's choices. What is not in the file is at its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What the laptop calls itself; the host's name where there is none.
    pub name: Option<String>,
    /// Absolute paths of what is backed up; empty: the home folder, `/` for root.
    pub folders: Vec<PathBuf>,
    /// Gitignore lines, as if in a `.gitignore` file in `/`.
    pub exclude: Vec<String>,
    /// While the hub is near, the agent backs up at most once in this time.
    pub interval_minutes: u32,
    /// Days without a complete set after which a backup is overdue.
    pub overdue_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            folders: Vec::new(),
            exclude: Vec::new(),
            interval_minutes: 60,
            overdue_days: 7,
        }
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Reading or writing failed.
    #[error("the file `{SETTINGS_FILE}` in the state folder: {0}")]
    Disk(#[from] io::Error),
    /// It is not what it should be. One line, with the place.
    #[error("the file `{SETTINGS_FILE}` in the state folder: {0}")]
    Damaged(String),
}

impl SettingsError {
    /// What the person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Disk(_) => "Look at the disk: is it full or read-only?",
            Self::Damaged(_) => {
                "Correct that line, or move the file away and choose folders and patterns anew. Backups are not touched."
            }
        }
    }
}

impl Settings {
    /// Reads them; the defaults where no file is.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(disk: &dyn Disk) -> Result<Self, SettingsError> {
        let text = read_text(disk)?.unwrap_or_default();
        toml_edit::de::from_str(&text).map_err(|error| damaged(&text, error.span(), error.message()))
    }

    /// While the hub is near, at most one visit begins in this time.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.interval_minutes) * 60)
    }

    /// Age of the last complete set at which a backup is overdue.
    #[must_use]
    pub fn overdue_after(&self) -> Duration {
        Duration::from_secs(u64::from(self.overdue_days) * 24 * 3600)
    }
}

/// Replaces a list of the file, leaving all else as it is; durable when this returns. Hold the folder's
/// `settings` lock: another change meanwhile would be lost.
///
/// # Errors
/// [`SettingsError`]; the file is unchanged then.
pub fn write_list(disk: &dyn Disk, key: &str, list: &[String]) -> Result<(), SettingsError> {
    let mut array: Array = list.iter().map(String::as_str).collect();
    for value in array.iter_mut() {
        value.decor_mut().set_prefix("\n    ");
    }
    array.set_trailing("\n");
    array.set_trailing_comma(true);
    change(disk, key, (!list.is_empty()).then_some(array.into()))
}

/// Sets a text of the file, as [`write_list`] does.
///
/// # Errors
/// [`SettingsError`]; the file is unchanged then.
pub fn write_text(disk: &dyn Disk, key: &str, text: &str) -> Result<(), SettingsError> {
    change(disk, key, Some(text.into()))
}

fn change(disk: &dyn Disk, key: &str, value: Option<Value>) -> Result<(), SettingsError> {
    let text = read_text(disk)?.unwrap_or_else(|| HEADER.to_owned());
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| damaged(&text, error.span(), error.message()))?;
    match value {
        // In the place of the old value: what stands around it stays.
        Some(value) => match document.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => *old = value,
            None => drop(document.insert(key, Item::Value(value))),
        },
        None => drop(document.remove(key)),
    }
    Ok(replace(disk, SETTINGS_FILE, document.to_string().as_bytes())?)
}

fn read_text(disk: &dyn Disk) -> Result<Option<String>, SettingsError> {
    if disk.len(SETTINGS_FILE)?.is_none() {
        return Ok(None);
    }
    let bytes = disk.read(SETTINGS_FILE, SIZE_BYTES_MAX)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| SettingsError::Damaged("it is not text in UTF-8".to_owned()))
}

/// One line for the person: where, and what.
fn damaged(text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> SettingsError {
    let what = message.lines().next().unwrap_or("it cannot be understood");
    SettingsError::Damaged(match span.and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {what}", before.matches('\n').count() + 1),
        None => what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use berth_disk::OsDisk;

    use super::*;

    fn disk() -> (tempfile::TempDir, OsDisk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        (folder, disk)
    }

    #[test]
    fn without_a_file_everything_is_at_its_default() {
        let (_folder, disk) = disk();
        assert_eq!(Settings::read(&disk).unwrap(), Settings::default());
    }

    #[test]
    fn a_change_keeps_what_the_person_wrote_around_it() {
        let (_folder, disk) = disk();
        replace(
            &disk,
            SETTINGS_FILE,
            b"# mine\noverdue_days = 3 # short\nexclude = [\"a\"]\n",
        )
        .unwrap();
        write_list(&disk, "exclude", &["a".into(), "!b \"c\"".into()]).unwrap();
        write_list(&disk, "folders", &["/home/x".into()]).unwrap();
        let text = String::from_utf8(disk.read(SETTINGS_FILE, 1000).unwrap()).unwrap();
        assert!(text.contains("# mine\noverdue_days = 3 # short\n"), "{text}");
        let settings = Settings::read(&disk).unwrap();
        assert_eq!(settings.exclude, ["a", "!b \"c\""]);
        assert_eq!(settings.folders, [PathBuf::from("/home/x")]);
        write_list(&disk, "folders", &[]).unwrap();
        assert_eq!(Settings::read(&disk).unwrap().folders, Vec::<PathBuf>::new());
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_line_and_never_replaced() {
        let (_folder, disk) = disk();
        for (text, line) in [
            (&b"overdue_days = 3\nfoldrs = []\n"[..], "line 2: unknown field"),
            (b"\n\nexclude = [\"a\n", "line 3: "),
            (b"overdue_days = \"x\"\n", "line 1: "),
            (b"\xff\xff", "not text"),
        ] {
            replace(&disk, SETTINGS_FILE, text).unwrap();
            let error = Settings::read(&disk).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
            assert!(!error.contains('\n'), "{error}");
            assert_eq!(disk.read(SETTINGS_FILE, 1000).unwrap(), text);
        }
        replace(&disk, SETTINGS_FILE, b"folders = [").unwrap();
        write_list(&disk, "folders", &["/x".into()]).unwrap_err();
        assert_eq!(disk.read(SETTINGS_FILE, 1000).unwrap(), b"folders = [");
    }
}
