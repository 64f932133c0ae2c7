//! `berth-air`: the simulated air between real programs, and the hand that steers it.
//!
//! Place: `berthd --radio air:SOCKET` and `berth --radio air:SOCKET` are its radios. BLE and Wi-Fi Direct are simulated
//! here; the bytes of a link are those of real TCP connections through this process.

mod args;
mod ctl;
mod serve;
mod socket;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use crate::args::{Args, Part};

fn main() -> ExitCode {
    let args = Args::parse();
    let socket = match args.checked() {
        Ok(socket) => socket,
        // Prints, and exits with 2.
        Err(error) => error.exit(),
    };
    let done = match &args.part {
        None => serve::run(&args, socket),
        Some(Part::Ctl { order }) => ctl::run(order, socket, args.json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if args.json {
                say(&json!({ "event": "failed", "error": format!("{error:#}") }));
            }
            complain(format_args!("berth-air: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One JSON object on standard output. That nobody reads it any more stops nothing.
fn say(event: &Value) {
    print(event);
}

/// A line on standard output.
fn print(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on standard error.
fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
