//! `berth`: the laptop's agent and command line.
//!
//! Place: [`args`] -> one command -> the library of this crate, which owns no clock and no socket; here they are.
//! Invariant: whoever visits a hub holds the lock of the state folder; a running agent gives it up when asked.

mod agent;
mod args;
mod backup;
mod choices;
mod clock;
mod control;
mod from;
mod full;
mod hands;
mod leave;
mod notify;
mod orders;
mod overdue;
mod pair;
mod place;
mod priority;
mod radio;
mod reading_commands;
mod reading_names;
mod recovery;
mod set_name;
mod status;
mod visit;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use berth_agent::wrapped;
use clap::Parser;
use serde_json::json;

use crate::args::{Args, Command};

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Done, but some files could not be read.
    SomeNotRead,
    /// Ended before everything was backed up, or something is missing; the person knows why.
    NotAll,
}

/// Exit codes of every Berth program (DESIGN.md, section 6).
const FAILED: u8 = 1;
const SOME_NOT_READ: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    if std::env::var_os("BERTH_DEBUG").is_some() {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .with_writer(io::stderr)
            .init();
    }
    match run(&args) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NotAll) => ExitCode::from(FAILED),
        Ok(Outcome::SomeNotRead) => ExitCode::from(SOME_NOT_READ),
        Err(error) => {
            if args.options.json {
                say(&json!({ "event": "failed", "error": format!("{error:#}") }).to_string());
            }
            let line = wrapped(&format!("berth: {error:#}"), io::stderr().is_terminal());
            // Nothing is left to tell it to if this fails.
            let _ = writeln!(io::stderr(), "{line}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(args: &Args) -> Result<Outcome> {
    let options = &args.options;
    match &args.command {
        Command::Pair { code } => pair::run(options, code),
        Command::Backup { path } => backup::run(options, path),
        Command::Agent => agent::run(options),
        Command::Status => status::status(options),
        Command::Sets => status::sets(options),
        Command::RecoveryKey => recovery::run(options),
        Command::Folders { change } => choices::folders(options, change),
        Command::Exclude { change } => choices::exclude(options, change),
        Command::Ls(args) => reading_commands::ls(options, args),
        Command::Cat(args) => reading_commands::cat(options, args),
        Command::Restore(args) => reading_commands::restore(options, args),
        Command::Leave => leave::run(options),
        Command::Doctor => radio::doctor(options),
    }
}

/// A line on standard output. A reader that has gone away stops nothing.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Words for a person on standard output.
pub(crate) fn tell(text: &str) {
    say(&wrapped(text, io::stdout().is_terminal()));
}

/// Standard output, for a report.
pub(crate) fn out() -> Box<dyn Write + Send> {
    Box::new(io::stdout())
}
