//! `desk`: the whole story of Berth on a folder of the user's, in one process, with simulated radios.
//!
//! Place: [`story`] is the person; [`laptop_half`] and [`hub_half`] are the two machines. They share nothing but bytes
//! through the air, and what a person carries: the code that the hub shows.

mod args;
mod clock;
mod halves;
mod hub_half;
mod judge;
mod laptop_half;
mod report;
mod story;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use berth_disk::{FolderLock, OsDisk, SharedDisk};
use clap::Parser;

use crate::args::{Args, Part};

/// Exit codes of every Berth program (DESIGN.md, section 6).
const FAILED: u8 = 1;
const SOME_NOT_READ: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.part {
        None => story::tell(&args),
        Some(Part::Air { socket }) => halves::air(&args, socket).map(|()| story::Outcome::Same),
        Some(Part::Hub { socket }) => halves::hub(&args, socket).map(|()| story::Outcome::Same),
        Some(Part::Laptop { socket, folder, code }) => halves::laptop(&args, socket, folder, code.as_deref()),
    };
    match done {
        Ok(story::Outcome::Same) => ExitCode::SUCCESS,
        Ok(story::Outcome::SomeNotRead) => ExitCode::from(SOME_NOT_READ),
        Ok(story::Outcome::Different) => ExitCode::from(FAILED),
        Err(error) => {
            report::failed(&error, args.json);
            ExitCode::from(FAILED)
        }
    }
}

/// Opens the state folder of one half, for this process alone.
fn open_state(folder: &Path) -> anyhow::Result<(SharedDisk, FolderLock)> {
    let at = || format!("the state folder {}", folder.display());
    let disk = OsDisk::open(folder).with_context(at)?;
    let Some(lock) = disk.try_lock().with_context(at)? else {
        anyhow::bail!(
            "another program uses {}: wait for it to end, or take another --work",
            folder.display()
        );
    };
    Ok((Arc::new(disk), lock))
}
