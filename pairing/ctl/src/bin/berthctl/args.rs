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
  berthctl server add nas             let the backup server `nas` call this hub
  berthctl pull https://nas@desk.example.org:7701/ /srv/copies --ca-file hub.pem \\
      --token-file token              on the server `nas`: copy what it lacks
  berthctl sets --json | jq '.[] | select(.state != \"forwarded\")'

A LAPTOP is its name, or the first digits of its key (see `devices`).
With --json, lists and what `forward` did are an array of objects; `status`,
`revoke`, `upstream set` and `server add` print one object; `pair`, `verify` and
`pull` one for each event, a line each. Times are RFC 3339 in UTC, sizes are
bytes.

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
    /// The backup servers that may call this hub.
    Server {
        #[command(subcommand)]
        command: Server,
    },
    /// On a backup server: copy every laptop's sets from a hub, without any key, into a folder of restic repositories.
    ///
    /// Where the hub's upstream is this server (`berthctl upstream set pull:SERVER` there) they are confirmed to the
    /// hub. Run it as often as you like: what is there is not copied again, what was cut goes on.
    Pull(Pull),
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

#[derive(Debug, ClapArgs)]
pub(crate) struct Pull {
    /// The hub: https://SERVER@HOST:PORT/, with what the hub calls this server.
    pub(crate) url: String,
    /// Holds a repository for each laptop, FOLDER/LAPTOP; it must be there.
    pub(crate) folder: PathBuf,
    /// Only this laptop, by its name or its whole key; may be given again.
    #[arg(long, value_name = "LAPTOP")]
    pub(crate) laptop: Vec<String>,
    /// The token, in a file that nobody else can read, or `-` for standard input [default: BERTH_TOKEN in the
    /// environment]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The hub's certificate, PEM [default: certificates that the system believes]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Server {
    /// Let a server call, and show its token, this once.
    Add {
        /// What to call it.
        name: String,
    },
    /// Refuse a server from now on.
    Remove {
        /// What it is called.
        name: String,
    },
    /// List the servers that may call.
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
