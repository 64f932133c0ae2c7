//! The command line of `berthctl`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  berthctl pair                       show a code to type on the laptop
  berthctl devices                    who is paired
  berthctl sets anna                  the sets of the laptop `anna`
  berthctl revoke 1a2b3c4d            refuse the laptop with this key
  berthctl upstream set /srv/backup   where sets are forwarded to
  berthctl forward                    forward now, and wait until it is done
  berthctl sets --json | jq '.[] | select(.state != \"forwarded\")'

A LAPTOP is its name, or the first digits of its key (see `devices`).
With --json, lists and what `forward` did are an array of objects; `status`,
`revoke` and `upstream set` print one object; `pair` and `verify` one for each
event, a line each. Times are RFC 3339 in UTC, sizes are bytes.

Exit codes: 0 done; 1 failed, or something was found wrong; 2 wrong usage.";

/// Manages the hub that runs on this computer.
#[derive(Debug, Parser)]
#[command(name = "berthctl", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) hub: Hub,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which hub.
#[derive(Debug, ClapArgs)]
pub(crate) struct Hub {
    /// The hub's state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,
    /// The hub's control socket [default: control.sock in the state folder]
    #[arg(long, value_name = "SOCKET", global = true, conflicts_with = "state")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open the pairing window for two minutes and show its code; Ctrl-C closes it.
    Pair,
    /// List the laptops that are paired, and those that were revoked.
    Devices,
    /// Refuse a laptop from now on, in the middle of a visit too.
    Revoke {
        /// Its name, or the first digits of its key.
        laptop: String,
    },
    /// How the hub is, and what waits.
    Status,
    /// List the sets that laptops made here.
    Sets {
        /// Of this laptop only.
        laptop: Option<String>,
    },
    /// Forward what waits now, until it is upstream or says why not.
    Forward {
        /// Of this laptop only.
        laptop: Option<String>,
    },
    /// The server that sets are forwarded to.
    Upstream {
        #[command(subcommand)]
        command: Upstream,
    },
    /// Read everything that is kept here, and name what is damaged or missing.
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Upstream {
    /// Check that it can be written, and use it from now on.
    Set {
        /// A folder, or a file:// URL.
        url: String,
    },
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
