//! The command line of `berth-air`.

use std::path::{Path, PathBuf};

use berth_net::Order;
use berth_radio_sim::Profile;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  berth-air --socket /tmp/air --profile wfd-good   an air: berthd and berth come
                                                   with --radio air:/tmp/air
  berth-air ctl --socket /tmp/air away anna        anna is carried away
  berth-air ctl --socket /tmp/air cut anna         its link breaks off
  berth-air ctl --socket /tmp/air trace            what happened so far

Exit codes: 0 done (an air ends with SIGTERM or Ctrl-C); 1 failed;
2 wrong usage.";

/// The air between real programs, for tests and demos: simulated Bluetooth LE and Wi-Fi Direct for every berthd and berth
/// that is started with --radio air:SOCKET. Everybody is near at the start.
#[derive(Debug, Parser)]
#[command(name = "berth-air", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Where the air is: a socket that only its owner can use.
    #[arg(long, global = true, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// How good links are: perfect, wfd-good, wfd-typical or wfd-poor [default: wfd-typical]
    #[arg(long, value_name = "NAME", value_parser = profile)]
    profile: Option<Profile>,
    /// What the air draws from: delays, addresses, names of groups [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// One JSON object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Steers an air that runs.
    #[command(after_help = "\
NAME is that of a laptop or hub, as given to it with --name. An order concerns
every radio of that name; all but `cut` are kept for those that come later.")]
    Ctl {
        #[command(subcommand)]
        order: OrderArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrderArgs {
    /// Brings NAME near, where everybody is at the start.
    Near { name: String },
    /// Takes NAME out of everyone's range: nothing arrives any more, and each side notices when a real one would.
    Away { name: String },
    /// Breaks off everything that NAME has open, now and for both sides; it stays near and may connect again at once.
    Cut { name: String },
    /// Gives NAME another profile, from now on and on links that are open; a link is as bad as its worse end.
    Profile { name: String, profile: String },
    /// Tells what happened so far, one line for each thing.
    Trace,
}

impl OrderArgs {
    pub(crate) fn order(&self) -> Order {
        match self {
            Self::Near { name } => Order::Near(name.clone()),
            Self::Away { name } => Order::Away(name.clone()),
            Self::Cut { name } => Order::Cut(name.clone()),
            Self::Profile { name, profile } => Order::Profile {
                name: name.clone(),
                profile: profile.clone(),
            },
            Self::Trace => Order::Trace,
        }
    }
}

impl Args {
    /// What goes with what; the socket.
    pub(crate) fn checked(&self) -> Result<&Path, clap::Error> {
        if self.part.is_some() && (self.profile.is_some() || self.seed.is_some()) {
            let why = "--profile and --seed are for an air that starts; `ctl profile NAME PROFILE` changes one that runs";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, why));
        }
        let missing =
            || Self::command().error(ErrorKind::MissingRequiredArgument, "--socket SOCKET is missing");
        self.socket.as_deref().ok_or_else(missing)
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile.unwrap_or(Profile::WFD_TYPICAL)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }
}

fn profile(name: &str) -> Result<Profile, String> {
    let known = || Profile::ALL.map(|profile| profile.name).join(", ");
    Profile::by_name(name).ok_or_else(|| format!("there are {}", known()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn pages_are_up_to_date() {
        berth_pages::check(&Args::command());
    }
}
