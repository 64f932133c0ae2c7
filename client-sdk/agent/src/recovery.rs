//! `berth recovery-key`: the key that opens the backups without this laptop.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use berth_client_sdk::LaptopRepository;
use berth_disk::{Disk, OsDisk, replace};
use serde_json::json;

use crate::args::Options;
use crate::hands::open_state;
use crate::{Outcome, place, say, tell};

/// Is there once the person has typed part of the key back.
const WRITTEN_DOWN: &str = "recovery-key-written-down";

/// Tries that a person has; after them the key is shown again the next time.
const TRIES_MAX: u32 = 3;

/// Groups of the key that are asked for.
const ASKED_FOR: usize = 2;

pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let folder = place::folder(options)?;
    let key = key(&folder)?;
    if options.json {
        say(&json!({ "recovery_key": key }).to_string());
        return Ok(Outcome::Done);
    }
    let disk = OsDisk::open(&folder)?;
    let is_person = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !is_person {
        say(&key);
        return Ok(Outcome::Done);
    }
    say(&format!("\n    {key}\n"));
    tell(
        "This key opens the backups of this laptop, with Berth or with restic. Write it down and keep it away from the \
         laptop. Whoever has it can read the backups; nobody can make it anew.",
    );
    if disk.len(WRITTEN_DOWN)?.is_none() {
        ask_back(&key)?;
        replace(&disk, WRITTEN_DOWN, b"")?;
        say("That is right. It will not be asked for again.");
    }
    Ok(Outcome::Done)
}

/// Reads the key, which a running agent does not mind; makes the folder and the key where there is none yet.
fn key(folder: &Path) -> Result<String> {
    if folder.is_dir() {
        let disk = OsDisk::open(folder)?;
        let there = LaptopRepository::open(&disk).map_err(|error| place::advised(&error, error.advice()))?;
        if let Some(repository) = there {
            return Ok(repository.recovery_key().to_owned());
        }
    }
    Ok(open_state(folder)?.repository.recovery_key().to_owned())
}

/// Asks for the end of the key, which only who has written it down (or looks up) can type.
fn ask_back(key: &str) -> Result<()> {
    let groups: Vec<&str> = key.split('-').collect();
    let from = groups.len().saturating_sub(ASKED_FOR);
    let wanted = groups.get(from..).unwrap_or_default().concat();
    for _ in 0..TRIES_MAX {
        let _ = write!(
            io::stdout(),
            "\nWritten down? Type its last {ASKED_FOR} groups, from the paper: "
        )
        .and_then(|()| io::stdout().flush());
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            bail!("the key was not typed back: run `berth recovery-key` again once it is written down");
        }
        let typed: String = line.chars().filter(char::is_ascii_alphanumeric).collect();
        if typed.eq_ignore_ascii_case(&wanted) {
            return Ok(());
        }
        say("That is not what the key ends with.");
    }
    Err(anyhow!(
        "look at what is written down, then run `berth recovery-key` again"
    ))
}
