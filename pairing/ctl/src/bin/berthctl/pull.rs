//! `berthctl pull`: copies sets from a hub to the server that it runs on.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use berth_server::{HubClient, PullEvent, pull as pull_from};
use jiff::Timestamp;
use serde_json::json;
use zeroize::{Zeroize, Zeroizing};

use crate::args::Pull;
use crate::words::size;
use crate::{clear, say, tell};

/// Holds the token where no file is named.
const VARIABLE: &str = "BERTH_TOKEN";

/// A token has 40 digits.
const TOKEN_SIZE_BYTES_MAX: u64 = 1_000;

/// True: all that the hub has is here.
pub(crate) fn pull(args: &Pull, json: bool) -> Result<bool> {
    let hub = HubClient::new(
        &args.url,
        token(args.token_file.as_deref())?,
        args.ca_file.as_deref(),
    )?;
    let shows = !json && io::stderr().is_terminal();
    let now_ns = || i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let mut begun_bytes = 0;
    let mut told = |event: &PullEvent<'_>| {
        if json {
            return say(&as_json(event));
        }
        match event {
            PullEvent::Begun {
                laptop,
                set,
                objects,
                bytes,
            } => {
                begun_bytes = *bytes;
                tell(&format!(
                    "Set {set} of {laptop}: {objects} objects to copy, {}",
                    size(*bytes)
                ));
            }
            PullEvent::Copied { laptop, set, bytes } if shows => {
                let (bytes, all) = (size(*bytes), size(begun_bytes));
                let _ = write!(
                    io::stderr(),
                    "\r\u{1b}[KSet {set} of {laptop}: {bytes} of {all} copied"
                );
            }
            PullEvent::Set {
                laptop,
                set,
                is_confirmed,
            } => {
                clear();
                let confirmed = if *is_confirmed {
                    ", and confirmed to the hub"
                } else {
                    ""
                };
                tell(&format!("Set {set} of {laptop} is here{confirmed}."));
            }
            PullEvent::Failed { laptop, why } => {
                clear();
                tell(&format!("The sets of {laptop} could not all be pulled: {why}"));
            }
            _ => {}
        }
    };
    let done = pull_from(&hub, &args.folder, &args.laptop, &now_ns, &mut told)?;
    if json {
        say(&json!({
            "event": "pulled", "sets": done.sets, "objects": done.objects, "bytes": done.bytes,
            "confirmed": done.confirmed, "failed": done.failed,
        })
        .to_string());
    } else if done.objects == 0 && done.failed == 0 && done.confirmed == 0 {
        say("Nothing was missing here.");
    }
    Ok(done.failed == 0)
}

fn as_json(event: &PullEvent<'_>) -> String {
    match event {
        PullEvent::Begun {
            laptop,
            set,
            objects,
            bytes,
        } => json!({ "event": "begun", "laptop": laptop, "set": set, "objects": objects, "bytes": bytes }),
        PullEvent::Copied { laptop, set, bytes } => {
            json!({ "event": "copied", "laptop": laptop, "set": set, "bytes_copied": bytes })
        }
        PullEvent::Set {
            laptop,
            set,
            is_confirmed,
        } => json!({ "event": "set", "laptop": laptop, "set": set, "confirmed": is_confirmed }),
        PullEvent::Failed { laptop, why } => json!({ "event": "failed", "laptop": laptop, "why": why }),
        _ => json!({ "event": "other" }),
    }
    .to_string()
}

fn token(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) if path == Path::new("-") => {
            let mut stdin = BufReader::new(io::stdin().take(TOKEN_SIZE_BYTES_MAX));
            stdin.read_line(&mut text).context("reading the token")?;
        }
        Some(path) => {
            let named = || format!("the token file {}", path.display());
            if fs::metadata(path).with_context(named)?.mode() & 0o077 != 0 {
                bail!("{} can be read by others: chmod 600 {}", named(), path.display());
            }
            let file = File::open(path).with_context(named)?;
            file.take(TOKEN_SIZE_BYTES_MAX)
                .read_to_string(&mut text)
                .with_context(named)?;
        }
        None => {
            let mut given = std::env::var(VARIABLE).unwrap_or_default();
            text.push_str(&given);
            given.zeroize();
        }
    }
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() {
        bail!("there is no token: give --token-file FILE, or set {VARIABLE}");
    }
    Ok(token)
}
