//! Where the state folder is, what the laptop is called, and what it backs up when nobody has said.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use berth_agent::{Settings, SettingsError, StateError};
use berth_disk::OsDisk;
use berth_pairing::Name;

use crate::args::Options;

/// The state folder of root's laptop: the whole machine.
const OF_ROOT: &str = "/var/lib/berth-laptop";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The state folder; absolute, not necessarily there.
pub(crate) fn folder(options: &Options) -> Result<PathBuf> {
    let from = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = match &options.state {
        Some(folder) => folder.clone(),
        None if is_root() => PathBuf::from(OF_ROOT),
        None => match (from("XDG_STATE_HOME"), from("HOME")) {
            (Some(state), _) => state.join("berth"),
            (None, Some(home)) => home.join(".local/state/berth"),
            (None, None) => {
                return Err(anyhow!(
                    "where is the state folder? Name it with --state, or set HOME"
                ));
            }
        },
    };
    std::path::absolute(&folder).with_context(|| format!("the state folder {}", folder.display()))
}

/// What the laptop calls itself: as the command line says, as it was called when it was paired, or as its host.
pub(crate) fn name(options: &Options, settings: &Settings) -> Name {
    match (&options.name, &settings.name) {
        (Some(name), _) | (None, Some(name)) => Name::reduce(name),
        (None, None) => Name::reduce(&rustix::system::uname().nodename().to_string_lossy()),
    }
}

/// The home folder; `/` for root.
pub(crate) fn default_folder() -> Result<PathBuf> {
    if is_root() {
        return Ok(PathBuf::from("/"));
    }
    std::env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| anyhow!("there is no home folder: say what to back up with `berth folders add PATH`"))
}

/// What is backed up when no path is given, without symlinks where it is there.
pub(crate) fn roots(settings: &Settings) -> Result<Vec<PathBuf>> {
    if settings.folders.is_empty() {
        return Ok(vec![default_folder()?]);
    }
    Ok(settings.folders.iter().map(|folder| whole(folder)).collect())
}

/// Absolute, and without symlinks where it is there: a root that is a symlink would be backed up as one.
pub(crate) fn whole(path: &Path) -> PathBuf {
    let whole = path.canonicalize().or_else(|_| std::path::absolute(path));
    whole.unwrap_or_else(|_| path.to_owned())
}

/// Reads the settings without the folder's lock: they are replaced in one step.
pub(crate) fn settings(folder: &Path) -> Result<Settings> {
    if !folder.is_dir() {
        return Ok(Settings::default());
    }
    let disk = OsDisk::open(folder).map_err(|error| of_folder(folder, error))?;
    Settings::read(&disk).map_err(|error| advised(&error, error.advice()))
}

/// Lets one process at a time change the settings, for as long as the file is held; an agent may work meanwhile.
pub(crate) fn lock_settings(folder: &Path) -> Result<(OsDisk, File)> {
    let fails = |error| of_folder(folder, error);
    let disk = OsDisk::open(folder).map_err(fails)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("settings.lock"))
        .map_err(fails)?;
    file.lock().map_err(fails)?;
    Ok((disk, file))
}

/// Says what to do about settings that could not be read or changed.
pub(crate) fn of_settings(error: &SettingsError) -> anyhow::Error {
    advised(error, error.advice())
}

/// Says what to do about a state folder that could not be opened.
pub(crate) fn of_state(error: &StateError) -> anyhow::Error {
    advised(error, error.advice())
}

/// One line: what happened, and what to do.
pub(crate) fn advised(error: &dyn std::fmt::Display, advice: &str) -> anyhow::Error {
    anyhow!("{error}. {advice}")
}

fn of_folder(folder: &Path, error: std::io::Error) -> anyhow::Error {
    of_state(&StateError::Folder {
        folder: folder.to_owned(),
        error,
    })
}
