//! Where a hub keeps its state if nobody says.

use std::path::PathBuf;

/// Name of the control socket in the state folder.
pub const SOCKET: &str = "control.sock";

/// The hub's state folder: `/var/lib/berth` for root, else `berth/hub` in the user's state folder (XDG base directory
/// specification: `$XDG_STATE_HOME`, or `~/.local/state`). `None`: no home folder is known.
#[must_use]
pub fn default_state() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/berth".into());
    }
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let states = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(states.join("berth/hub"))
}
