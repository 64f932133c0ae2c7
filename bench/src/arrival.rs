//! How long it takes from coming near to the first byte that is safe.
//!
//! Method: the real programs as processes through `berth-air`. The agent waits, the laptop is out of range; then
//! `berth-air ctl near`. Every round has an air of its own seed: when the next beacon comes and how long group and join
//! take is drawn, and is most of what is measured.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use berth_tests::corpus;
use serde::Serialize;

use crate::SEED;
use crate::programs::{Hub, Process, Programs, output, wait_until};

const PROFILES: [&str; 3] = ["wfd-good", "wfd-typical", "wfd-poor"];

/// Enough for a first mark while more is on its way.
const CORPUS_BYTES: u64 = 20_000_000;

/// By then an agent that has just started listens.
const SETTLE: Duration = Duration::from_secs(2);

/// How often the hub's disk is looked at: far below what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Arrivals in one profile of the air.
#[derive(Debug, Serialize)]
pub(crate) struct ArrivalResult {
    pub(crate) profile: &'static str,
    /// From `near` to the open stream, by the air's own trace: all of it is the radios'.
    pub(crate) link_seconds: Vec<f64>,
    /// From the start of `berth-air ctl near` to the first acknowledged byte.
    pub(crate) acknowledged_seconds: Vec<f64>,
}

/// All profiles, in a folder.
pub(crate) fn arrivals(programs: &Programs, runs: u32, place: &Path) -> Result<Vec<ArrivalResult>> {
    let corpus = place.join("corpus");
    corpus::incompressible(&corpus, SEED, CORPUS_BYTES)?;
    let mut results = Vec::new();
    for profile in PROFILES {
        let mut result = ArrivalResult {
            profile,
            link_seconds: Vec::new(),
            acknowledged_seconds: Vec::new(),
        };
        for round in 0..runs {
            let place = place.join("round");
            let (link, acknowledged) = arrival(programs, profile, round, &corpus, &place)?;
            result.link_seconds.push(link);
            result.acknowledged_seconds.push(acknowledged);
            fs::remove_dir_all(place)?;
        }
        results.push(result);
    }
    Ok(results)
}

/// One arrival: seconds to the link, and to the first acknowledged byte.
///
/// The event that counts as the acknowledgement is the first checkpoint in the hub's spool: the last thing the hub does
/// before it sends the acknowledgement, and the last that can be seen from outside. The sync of its folder entry and half
/// a round trip still follow.
fn arrival(
    programs: &Programs,
    profile: &str,
    round: u32,
    corpus: &Path,
    place: &Path,
) -> Result<(f64, f64)> {
    fs::create_dir_all(place)?;
    let socket = place.join("air");
    let _air = programs.air(&socket, profile, round)?;
    let hub = Hub::start(programs, place, Some(&socket))?;
    hub.pair("laptop")?;
    output(hub.berth("laptop", &["folders", "add"]).arg(corpus))?;
    programs.ctl(&socket, &["away", "laptop"])?;
    let _agent = Process::start(&mut hub.berth("laptop", &["agent"]))?;
    thread::sleep(SETTLE);
    let spool = place.join("hub/laptops");
    let began = Instant::now();
    programs.ctl(&socket, &["near", "laptop"])?;
    wait_until("the first checkpoint", LOOK_EVERY, || Ok(has_checkpoint(&spool)))?;
    let acknowledged = began.elapsed().as_secs_f64();
    let trace = String::from_utf8(programs.ctl(&socket, &["trace"])?)?;
    let link = link(&trace).context("the air's trace tells of no arrival")?;
    Ok((link, acknowledged))
}

/// Whether any set that is being received has one: `LAPTOP/incoming/SET/checkpoint`. What comes and goes meanwhile is
/// looked at the next time.
fn has_checkpoint(spool: &Path) -> bool {
    let folders = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    folders(spool)
        .flat_map(|laptop| folders(&laptop.path().join("incoming")))
        .any(|set| set.path().join("checkpoint").is_file())
}

/// Seconds from the laptop's coming near to the stream.
fn link(trace: &str) -> Option<f64> {
    let at = |what: &str| {
        let line = trace.lines().rfind(|line| line.contains(what))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(at("laptop < stream 1 opened")? - at("laptop ! at place 0")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_counted_from_the_moment_of_coming_near() {
        let trace = "     1.000000000 laptop ! away
     5.500000000 laptop ! at place 0
     6.000000000 laptop < sighted 7bfafa320274 0db2e85f -45 dBm
     8.750000000 laptop < stream 1 opened
";
        assert_eq!(link(trace), Some(3.25));
        assert_eq!(link("     5.500000000 laptop ! at place 0\n"), None);
    }
}
