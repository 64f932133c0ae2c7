//! The command line of `berthd`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  berthd --upstream /srv/backup                      the hub of this computer, by radio
  berthd --config /etc/berth/berthd.toml             as a service; see berthd.example.toml
  berthd --state hub --radio none --listen 127.0.0.1:7700 --upstream up
                                                     over a network that is there, without radios

Then `berthctl pair` shows a code to type on the laptop (with the same --state).

Exit codes: 0 stopped as told; 1 it failed; 2 wrong usage or configuration.";

/// The hub: takes backups of paired laptops, and forwards them to the upstream.
#[derive(Debug, Parser)]
#[command(name = "berthd", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Keeps keys, backups and the control socket; made if it is missing [default: /var/lib/berth for root, else
    /// ~/.local/state/berth/hub]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Settings; the flags here go before them.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What the hub is called [default: the name of this computer]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// bluez, air:SOCKET (simulated, see berth-air) or none [default: bluez]
    #[arg(long, value_name = "RADIO")]
    pub(crate) radio: Option<String>,
    /// Take visits at this address too, over a network that is there.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where sets are forwarded to: a folder or a file:// URL.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// Log as JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}
