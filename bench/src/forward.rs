//! Forwarding against `rclone copy` of the same files to the same place.
//!
//! Method: a laptop's sets wait at a real hub. Each round begins with a copy of that hub's state; then either its
//! `berthd` forwards all of them (from the order to its end), or rclone copies the repository's folder out of the spool.
//! The two take turns, what they read is in memory, and the time ends when the disk has all of it. rclone has no
//! client for restic's REST server: there it writes to the same program serving WebDAV.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use berth_tests::corpus;
use berth_tests::programs::servers::{S3_KEYS, Server, moto, rclone};
use clap::Args;
use serde::Serialize;

use crate::SEED;
use crate::programs::{Hub, Programs, output};

/// What is forwarded.
#[derive(Args)]
pub(crate) struct ForwardOptions {
    /// Size of what is forwarded, in 10^6 bytes
    #[arg(long, default_value_t = 1000)]
    forward_megabytes: u64,
    /// In how many sets it waits
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    forward_sets: Vec<u64>,
}

/// All rounds with one place and number of sets.
#[derive(Debug, Serialize)]
pub(crate) struct ForwardResult {
    pub(crate) to: &'static str,
    pub(crate) sets: u64,
    pub(crate) megabytes: u64,
    pub(crate) rclone_seconds: Vec<f64>,
    pub(crate) berth_seconds: Vec<f64>,
    /// Of the hub, each round.
    pub(crate) cpu_seconds: Vec<f64>,
    /// Of the hub, the most of any round.
    pub(crate) rss_peak_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
enum To {
    Folder,
    Rest,
    S3,
}

/// Forwards to each kind of place.
pub(crate) fn measure(
    programs: &Programs,
    options: &ForwardOptions,
    runs: u32,
    work: &Path,
) -> Result<Vec<ForwardResult>> {
    let mut results = Vec::new();
    for sets in options.forward_sets.iter().copied() {
        let waiting = Waiting::new(programs, options.forward_megabytes, sets, work)?;
        for to in [To::Folder, To::Rest, To::S3] {
            results.push(waiting.race(to, runs)?);
        }
        fs::remove_dir_all(&waiting.place)?;
    }
    Ok(results)
}

/// A hub's state with sets that wait.
struct Waiting<'a> {
    programs: &'a Programs,
    place: PathBuf,
    sets: u64,
    megabytes: u64,
}

impl<'a> Waiting<'a> {
    fn new(programs: &'a Programs, megabytes: u64, sets: u64, work: &Path) -> Result<Self> {
        let place = work.join("forward");
        let folder = place.join("corpus");
        let hub = Hub::start(programs, &place, None)?;
        hub.pair("laptop")?;
        for set in 0..sets {
            let bytes = megabytes * 1_000_000 / sets.max(1);
            corpus::incompressible(&folder.join(set.to_string()), SEED + set, bytes)?;
            hub.back_up("laptop", &folder)?;
        }
        drop(hub);
        fs::remove_dir_all(&folder)?;
        Ok(Self {
            programs,
            place,
            sets,
            megabytes,
        })
    }

    fn race(&self, to: To, runs: u32) -> Result<ForwardResult> {
        let mut result = ForwardResult {
            to: match to {
                To::Folder => "folder",
                To::Rest => "REST",
                To::S3 => "S3",
            },
            sets: self.sets,
            megabytes: self.megabytes,
            rclone_seconds: Vec::new(),
            berth_seconds: Vec::new(),
            cpu_seconds: Vec::new(),
            rss_peak_bytes: 0,
        };
        for round in 0..runs {
            for is_berth in [round % 2 == 1, round % 2 == 0] {
                let turn = self.place.join("turn");
                let state = turn.join("hub");
                fs::create_dir_all(&turn)?;
                output(
                    Command::new("cp")
                        .arg("-a")
                        .arg(self.place.join("hub"))
                        .arg(&state),
                )?;
                rustix::fs::sync();
                if is_berth {
                    self.berth(to, &turn, &mut result)?;
                } else {
                    result.rclone_seconds.push(copy(to, &turn)?);
                }
                fs::remove_dir_all(&turn)?;
            }
        }
        Ok(result)
    }

    fn berth(&self, to: To, turn: &Path, result: &mut ForwardResult) -> Result<()> {
        let up = turn.join("up");
        let (_server, upstream): (Option<Server>, String) = match to {
            To::Folder => (None, up.to_str().context("a folder with an odd name")?.to_owned()),
            To::Rest => {
                let (server, url) = rclone("restic", &["--append-only"], &up);
                (Some(server), format!("rest:{url}"))
            }
            To::S3 => {
                let (server, url) = moto();
                (Some(server), format!("s3:{url}/berth/up"))
            }
        };
        let settings = turn.join("berthd.toml");
        fs::write(&settings, "forward = \"manual\"\n")?;
        let hub = Hub::start_with(self.programs, turn, None, |berthd| {
            berthd.args(["--upstream", &upstream, "--config"]).arg(&settings);
            berthd.envs(S3_KEYS);
        })?;
        let before = hub.process.cost()?.cpu_seconds;
        let began = Instant::now();
        let done = hub.berthctl(&["forward"])?;
        rustix::fs::sync();
        result.berth_seconds.push(began.elapsed().as_secs_f64());
        let events = done.as_array().into_iter().flatten();
        let forwarded = events.filter(|said| said["event"] == "forwarded").count() as u64;
        if forwarded != self.sets {
            bail!("{forwarded} of {} sets were forwarded: {done}", self.sets);
        }
        let cost = hub.process.cost()?;
        result.cpu_seconds.push(cost.cpu_seconds - before);
        result.rss_peak_bytes = result.rss_peak_bytes.max(cost.rss_peak_bytes);
        Ok(())
    }
}

/// rclone copies the only laptop's repository: seconds.
fn copy(to: To, turn: &Path) -> Result<f64> {
    let laptops = fs::read_dir(turn.join("hub/laptops"))?;
    let laptop = laptops.last().context("the spool has no laptop")??.path();
    let up = turn.join("up");
    let mut command = Command::new("rclone");
    command
        .args(["copy", "--config", "/dev/null"])
        .arg(laptop.join("repository"));
    let _server = match to {
        To::Folder => {
            command.arg(&up);
            None
        }
        To::Rest => {
            let (server, url) = rclone("webdav", &[], &up);
            command.arg(format!(":webdav,url='{url}':laptop"));
            Some(server)
        }
        To::S3 => {
            let (server, url) = moto();
            // It takes no bundle of certificates where there is no TLS.
            command.envs(S3_KEYS).env_remove("AWS_CA_BUNDLE");
            command.arg(format!(
                ":s3,provider=Other,env_auth=true,endpoint='{url}':berth/up/laptop"
            ));
            Some(server)
        }
    };
    let began = Instant::now();
    output(command.stdout(Stdio::piped()))?;
    rustix::fs::sync();
    Ok(began.elapsed().as_secs_f64())
}
