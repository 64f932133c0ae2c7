//! What the kernel tells in files.

use std::fs;
use std::path::Path;

use crate::seen::Switch;

/// The names of the Bluetooth adapters. Connections stand beside them, as in `hci0:64`.
pub(crate) fn controllers() -> Vec<String> {
    let mut names = entries("/sys/class/bluetooth");
    names.retain(|name| !name.contains(':'));
    names
}

/// The radios that are switched off.
pub(crate) fn switches() -> Vec<Switch> {
    let folder = Path::new("/sys/class/rfkill");
    let read = |entry: &str, file| {
        let text = fs::read_to_string(folder.join(entry).join(file)).unwrap_or_default();
        text.trim_end().to_owned()
    };
    let mut switches = Vec::new();
    for entry in entries("/sys/class/rfkill") {
        let (is_soft, is_hard) = (read(&entry, "soft") == "1", read(&entry, "hard") == "1");
        if is_soft || is_hard {
            let (kind, name) = (read(&entry, "type"), read(&entry, "name"));
            switches.push(Switch { kind, name, is_hard });
        }
    }
    switches
}

/// Sorted. None where there is no such folder: the kernel has no such radios then.
fn entries(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
