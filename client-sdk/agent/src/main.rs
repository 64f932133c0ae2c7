//! `berth`: the laptop's agent and command line.
//!
//! Place: [`args`] -> one command -> the library of this crate, which owns no clock and no socket; here they are.
//! Invariant: whoever works with a state folder holds its lock; a running agent gives it up when asked.

mod args;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use crate::args::{Args, Command};

/// How a command that did not fail ended (DESIGN.md, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    SomeNotRead,
}

const FAILED: u8 = 1;
const SOME_NOT_READ: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeNotRead) => ExitCode::from(SOME_NOT_READ),
        Err(error) => {
            // Nothing is left to tell it to if this fails.
            let _ = writeln!(io::stderr(), "berth: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(args: &Args) -> Result<Outcome> {
    match &args.command {
        Command::Pair { .. }
        | Command::Backup { .. }
        | Command::Agent
        | Command::Status
        | Command::Sets
        | Command::RecoveryKey
        | Command::Folders { .. }
        | Command::Exclude { .. }
        | Command::Leave => bail!("not built yet"),
    }
}
