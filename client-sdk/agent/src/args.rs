//! The command line of `berth`.

use std::path::PathBuf;

use berth_net::RadioSpec;
use clap::{Parser, Subcommand};

use crate::reading_commands::{Cat, Ls, Restore};

const EXAMPLES: &str = "\
Examples:
  berth pair 1234-5678                  with the code that the hub shows
  berth folders add ~/Documents         this instead of the whole home folder
  berth exclude add '*.iso'             but not this
  berth backup                          back up now
  berth backup --via 192.168.1.5:7700   over a network, without radio
  berth agent                           back up whenever the hub is near
  berth status                          what is safe, and where
  berth ls latest ~/Documents           what the newest complete set has there
  berth restore latest ~/Documents --to /tmp/back
                                        bring it back, as /tmp/back/home/...
  berth restore latest --from sftp:me@host:/srv/backup/laptop --to /tmp/back
                                        without a hub: with the recovery key
  berth leave                           \"I must go\": a checkpoint, then goodbye
  berth doctor                          can this laptop meet a hub by radio?
  berth recovery-key                    opens the backups without this laptop

Always left out: the state folder, other file systems mounted inside a folder
that is backed up (add them with `folders add`), and the content of folders
marked as caches (CACHEDIR.TAG).

Exit codes: 0 done; 1 failed, or ended before everything was backed up;
2 wrong usage; 3 done, but some files could not be read.";

/// Backs this laptop up to the hub on the desk.
#[derive(Debug, Parser)]
#[command(name = "berth", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes, before or after its name.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth;
    /// /var/lib/berth-laptop for root].
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,
    /// What this laptop calls itself, reduced to letters, digits, '.', '_' and '-'; `pair` keeps it [default: the
    /// host's name].
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) name: Option<String>,
    /// How hubs are found: `bluez` (this computer's Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET`
    /// (the air of berth-air) or `none` [default: `none` with --via, else `bluez`].
    #[arg(long, value_name = "RADIO", global = true)]
    pub(crate) radio: Option<RadioSpec>,
    /// Reach the hub at this address, over a network that is there, instead of by radio.
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub(crate) via: Option<String>,
    /// For scripts: one JSON object for each event, or one answer.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pair with the hub that shows this code. Once for each hub.
    Pair {
        /// As the hub shows it; spaces and dashes do not matter.
        code: String,
    },
    /// Back up now, and show how it goes. Ctrl-C ends it with a checkpoint; what has arrived stays.
    Backup {
        /// What to back up [default: see `berth folders list`].
        path: Vec<PathBuf>,
    },
    /// Wait for the hub and back up whenever it is near. One for each state folder.
    Agent,
    /// What is safe on the hub, what upstream, what was cut, what is overdue.
    Status,
    /// The sets that this laptop knows of, at every hub.
    Sets,
    /// List what is in a set, on the hub or, with --from, upstream.
    ///
    /// With --json an array: `path` (and `path_base64` where it is no UTF-8), `type`, `size`, `mode`, `mtime`.
    Ls(Ls),
    /// Write a file of a set to standard output.
    Cat(Cat),
    /// Restore files of a set from the hub or, with --from, from the upstream. One that was cut goes on when it is done
    /// again.
    Restore(Restore),
    /// Show the key that opens the backups: write it down and keep it away from this laptop.
    RecoveryKey,
    /// What is backed up.
    Folders {
        #[command(subcommand)]
        change: Folders,
    },
    /// What is left out: lines as in a .gitignore file in `/`; later ones win, `!` takes back.
    Exclude {
        #[command(subcommand)]
        change: Exclude,
    },
    /// End the visit that is under way: a checkpoint, goodbye, and you may go.
    Leave,
    /// Tell what this laptop's Bluetooth and Wi-Fi can do, and what to do about what is missing. Changes nothing.
    Doctor,
}

/// Changes to what is backed up.
#[derive(Debug, Subcommand)]
pub(crate) enum Folders {
    /// Back this folder up too. The first one takes the place of the default.
    Add {
        /// A folder that is there.
        path: PathBuf,
    },
    /// Do not back this folder up any more. What was backed up stays.
    Remove {
        /// As `list` shows it.
        path: PathBuf,
    },
    /// Show them.
    List,
}

/// Changes to what is left out.
#[derive(Debug, Subcommand)]
pub(crate) enum Exclude {
    /// Leave out what this matches.
    Add {
        /// A line of a .gitignore file.
        #[arg(allow_hyphen_values = true)]
        pattern: String,
    },
    /// Take a line away.
    Remove {
        /// As `list` shows it.
        #[arg(allow_hyphen_values = true)]
        pattern: String,
    },
    /// Show them, in their order.
    List,
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
