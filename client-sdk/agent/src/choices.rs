//! `berth folders` and `berth exclude`: what is backed up, and what is left out.
//!
//! The running agent reads the settings anew before each visit, so these need no word with it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use berth_agent::write_list;
use berth_client_sdk::Rules;
use serde_json::json;

use crate::args::{Exclude, Folders, Options};
use crate::{Outcome, place, say, tell};

pub(crate) fn folders(options: &Options, change: &Folders) -> Result<Outcome> {
    let state = place::folder(options)?;
    match change {
        Folders::List => {
            let settings = place::settings(&state)?;
            let roots = place::roots(&settings)?;
            if options.json {
                let folders: Vec<_> = roots
                    .iter()
                    .map(|root| json!({ "path": root, "is_there": root.exists() }))
                    .collect();
                say(&json!(folders).to_string());
                return Ok(Outcome::Done);
            }
            for root in &roots {
                let gone = if root.exists() { "" } else { "   (not there now)" };
                let chosen = if settings.folders.is_empty() {
                    "   (the default)"
                } else {
                    ""
                };
                say(&format!("{}{chosen}{gone}", root.display()));
            }
        }
        Folders::Add { path } => add_folder(options, &state, path)?,
        Folders::Remove { path } => remove_folder(options, &state, path)?,
    }
    Ok(Outcome::Done)
}

fn add_folder(options: &Options, state: &Path, path: &Path) -> Result<()> {
    let folder = path
        .canonicalize()
        .with_context(|| format!("cannot back up {}: name a folder that is there", path.display()))?;
    let (disk, _lock) = place::lock_settings(state)?;
    let settings = place::settings(state)?;
    let mut folders = settings.folders.clone();
    if folders.contains(&folder) {
        return told(options, &format!("{} is backed up already.", folder.display()));
    }
    folders.push(folder.clone());
    write_list(&disk, "folders", &texts(&folders)?).map_err(|error| place::of_settings(&error))?;
    let instead = match settings.folders.is_empty() {
        true => format!(", instead of the default {}", place::default_folder()?.display()),
        false => String::new(),
    };
    told(
        options,
        &format!(
            "From the next visit on {} is backed up{instead}.",
            folder.display()
        ),
    )
}

fn remove_folder(options: &Options, state: &Path, path: &Path) -> Result<()> {
    let (disk, _lock) = place::lock_settings(state)?;
    let mut folders = place::settings(state)?.folders;
    let whole = place::whole(path);
    let before = folders.len();
    folders.retain(|folder| folder != path && *folder != whole);
    if folders.len() == before {
        bail!(
            "{} is not among the folders: see `berth folders list`",
            path.display()
        );
    }
    write_list(&disk, "folders", &texts(&folders)?).map_err(|error| place::of_settings(&error))?;
    let instead = match folders.is_empty() {
        true => format!(" The default is: {}.", place::default_folder()?.display()),
        false => String::new(),
    };
    told(
        options,
        &format!(
            "{} is not backed up any more; what was backed up stays.{instead}",
            path.display()
        ),
    )
}

fn texts(folders: &[PathBuf]) -> Result<Vec<String>> {
    folders
        .iter()
        .map(|folder| {
            let text = folder.to_str().map(str::to_owned);
            text.ok_or_else(|| {
                anyhow!(
                    "the name {} is not UTF-8: add the folder that it lies in",
                    folder.display()
                )
            })
        })
        .collect()
}

pub(crate) fn exclude(options: &Options, change: &Exclude) -> Result<Outcome> {
    let state = place::folder(options)?;
    match change {
        Exclude::List => {
            let patterns = place::settings(&state)?.exclude;
            if options.json {
                say(&json!(patterns).to_string());
            } else {
                patterns.iter().for_each(|pattern| say(pattern));
            }
        }
        Exclude::Add { pattern } => {
            check(pattern)?;
            let (disk, _lock) = place::lock_settings(&state)?;
            let mut patterns = place::settings(&state)?.exclude;
            // Later ones win: a line that is there already moves to the end.
            patterns.retain(|line| line != pattern);
            patterns.push(pattern.clone());
            write_list(&disk, "exclude", &patterns).map_err(|error| place::of_settings(&error))?;
            told(
                options,
                &format!("From the next visit on this is left out: {pattern}"),
            )?;
        }
        Exclude::Remove { pattern } => {
            let (disk, _lock) = place::lock_settings(&state)?;
            let mut patterns = place::settings(&state)?.exclude;
            let before = patterns.len();
            patterns.retain(|line| line != pattern);
            if patterns.len() == before {
                bail!("`{pattern}` is not among the lines: see `berth exclude list`");
            }
            write_list(&disk, "exclude", &patterns).map_err(|error| place::of_settings(&error))?;
            told(options, &format!("This is not left out any more: {pattern}"))?;
        }
    }
    Ok(Outcome::Done)
}

fn check(pattern: &str) -> Result<()> {
    if pattern.trim().is_empty() || pattern.contains(['\n', '\r', '\0']) {
        bail!("a pattern is one line that is not empty");
    }
    let rules = Rules {
        patterns: vec![pattern.to_owned()],
        ..Rules::default()
    };
    rules
        .check()
        .map_err(|error| anyhow!("{error}. Write it as a line of a .gitignore file."))
}

fn told(options: &Options, line: &str) -> Result<()> {
    if options.json {
        say(&json!({ "event": "done", "note": line }).to_string());
    } else {
        tell(line);
    }
    Ok(())
}
