//! The command line of `desk`.

use std::path::PathBuf;

use berth_radio_sim::Profile;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  desk ~/Documents                      pair, back up, forward, restore and compare
  desk ~/Documents --work /tmp/berth    keep the state: run it again, and only what changed travels
  desk ~/Documents --leave-at 50        walk away half-way and come back
  desk ~/Documents --profile wfd-poor   over a bad link

Exit codes: 0 the restored files equal FOLDER; 1 it failed, or they do not; 2 wrong usage; 3 they do, but for files that
could not be read or changed meanwhile.";

/// The whole story of Berth on FOLDER, with simulated radios: a laptop and a hub pair, the laptop is backed up, the hub
/// forwards the set to a restic repository, and the files are restored from it and compared.
#[derive(Debug, Parser)]
#[command(name = "desk", version, after_help = EXAMPLES, subcommand_negates_reqs = true, args_conflicts_with_subcommands = false)]
pub(crate) struct Args {
    /// What is backed up; it is only read.
    #[arg(required = true)]
    pub(crate) folder: Option<PathBuf>,
    /// Keeps the state of laptop and hub, `upstream` and `recovery-key`; made if it is missing [default: a new folder
    /// in the system's folder for temporary files, named at the end]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) work: Option<PathBuf>,
    /// Walk away when this share of the bytes has been acknowledged, and come back.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) leave_at: Option<u8>,
    /// How good the link is: perfect, wfd-good, wfd-typical or wfd-poor.
    #[arg(long, value_name = "NAME", default_value = "wfd-typical", value_parser = profile, global = true)]
    pub(crate) profile: Profile,
    /// Moves the air only: keys always come from the system.
    #[arg(long, value_name = "N", default_value_t = 1, global = true)]
    pub(crate) seed: u64,
    /// One JSON object for each event, and a summary.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Only one part of it, in a process of its own.
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

/// The parts, for whoever wants to see that they share nothing but the air.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Part {
    /// The air between processes, until it is killed.
    #[command(hide = true)]
    Air {
        /// Where it listens.
        socket: PathBuf,
    },
    /// The hub in WORK; reads `pair`, `forward` and `stop` from standard input, a word a line.
    #[command(hide = true)]
    Hub {
        /// Where the air listens.
        socket: PathBuf,
    },
    /// One visit of the laptop in WORK with FOLDER; pairs first where a code is given.
    #[command(hide = true)]
    Laptop {
        /// Where the air listens.
        socket: PathBuf,
        /// What is backed up; it is only read.
        folder: PathBuf,
        /// What the hub shows.
        #[arg(long)]
        code: Option<String>,
    },
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::by_name(name).ok_or_else(|| {
        let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        format!("there is no such profile; there are {}", names.join(", "))
    })
}
