//! Into a group by whatever the platform has: `wifi-rs`, which runs the platform's program and believes its words.
//!
//! Its answer counts for nothing: whether the right owner is there is for the handshake to say. The passphrase is in
//! that program's arguments, where other users of this computer see it: it is of one visit, and opens nothing alone.

use std::process::{Command, Stdio};
use std::thread;

use berth_radio::GroupCredentials;
use tokio::sync::oneshot;
use tracing::debug;
use wifi_rs::WiFi;
use wifi_rs::prelude::{Config, Connectivity};

use crate::way::Failure;

/// What the profile that stays behind is renamed to: what a crash left is known by it.
const MARK: &str = "berth-visit";

/// Joins on this interface.
pub(crate) async fn join(interface: &str, credentials: &GroupCredentials) -> Result<(), Failure> {
    if !is_safe(&credentials.ssid) || !is_safe(&credentials.passphrase) {
        return Err(Failure::Unable);
    }
    let interface = interface.to_owned();
    let (ssid, passphrase) = (credentials.ssid.clone(), credentials.passphrase.clone());
    let (answer, answered) = oneshot::channel();
    // A thread of its own: it has no deadline, and must not hold up the end of the program.
    let started = thread::Builder::new().name("wifi-rs".into()).spawn(move || {
        let config = Config {
            interface: Some(&interface),
        };
        let tried = WiFi::new(Some(config)).connect(&ssid, &passphrase);
        debug!(answer = ?tried.as_ref().ok(), "wifi-rs");
        let renames = ["connection.id", MARK, "connection.autoconnect", "no"];
        nmcli(&[&["connection", "modify", "id", &ssid][..], &renames].concat());
        let _ = answer.send(tried.is_ok());
    });
    started.map_err(|_| Failure::Unable)?;
    match answered.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Missing),
        Err(_) => Err(Failure::Silent),
    }
}

/// Removes the profile. What was there before comes back by itself: NetworkManager connects to what it knows.
pub(crate) async fn clear() {
    let (done, is_done) = oneshot::channel::<()>();
    let started = thread::Builder::new().name("nmcli".into()).spawn(move || {
        nmcli(&["connection", "delete", "id", MARK]);
        drop(done);
    });
    if started.is_ok() {
        let _ = is_done.await;
    }
}

/// Its words are nobody's, but in one language.
fn nmcli(arguments: &[&str]) {
    let ended = Command::new("nmcli")
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    debug!(?ended, "nmcli");
}

/// Nothing that a program's arguments, or the languages they are pasted into, could take for something else.
fn is_safe(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.starts_with('-') && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_letters_get_into_a_programs_arguments() {
        assert!(is_safe("DIRECT-xy-berth-abc_09"));
        for other in ["-x", "a b", "a\"b", "a<b", "a'b", "ä", "a\0b", "$x"] {
            assert!(!is_safe(other), "{other:?}");
        }
    }
}
