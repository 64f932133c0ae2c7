//! What a person sees at the end, and lines outside of a visit.

use std::io::{self, Write};

use serde_json::json;

/// The last line of a program that failed.
pub(crate) fn failed(error: &anyhow::Error, json: bool) {
    if json {
        say(&json!({ "event": "failed", "error": format!("{error:#}") }).to_string());
    }
    // Nothing is left to tell it to if this fails.
    let _ = writeln!(io::stderr(), "desk: {error:#}");
}

/// A line on standard output. A reader that has gone away does not stop a backup.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
