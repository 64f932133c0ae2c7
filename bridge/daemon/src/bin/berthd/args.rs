//! The command line of `berthd`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  berthd --upstream /srv/backup             by radio
  berthd --config /etc/berth/berthd.toml    as a service
  berthd doctor                             can this computer be a hub by radio?
  berthd --radio none --listen 192.168.1.5:7700 --upstream /srv/backup
                                            over a network, without radio

Then `berthctl pair`, with the same --state, shows a code to type on the laptop.

Exit codes: 0 stopped as told; 1 failed; 2 wrong usage or configuration.
`doctor`: 0 all that is needed is here; 1 something is missing.";

/// The hub: takes backups of paired laptops, and forwards them to the upstream.
#[derive(Debug, Parser)]
#[command(name = "berthd", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Keeps keys, backups and the control socket; made if it is missing [default: /var/lib/berth for root, else
    /// ~/.local/state/berth/hub]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Settings; the flags here go before them.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What the hub is called [default: the name of this computer]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// bluez (this computer's Bluetooth and Wi-Fi), bluez:ADAPTER (as in hci1), air:SOCKET (simulated, see berth-air) or
    /// none [default: bluez]
    #[arg(long, value_name = "RADIO")]
    pub(crate) radio: Option<String>,
    /// Take visits at this address too, over a network that is there.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where sets are forwarded to: a folder or a file:// URL.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// Log, or answer, as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of being the hub.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what this computer's Bluetooth and Wi-Fi can do for a hub, and what to do about what is missing. Changes
    /// nothing.
    Doctor,
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
