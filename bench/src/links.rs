//! The product over its links: against a plain connection, against the link's own limit, and what it costs to wait.
//!
//! Method: the real programs as processes, as a user starts them, on the loopback network or through `berth-air`. Against
//! what is said of them stands the plainest thing that could be done with the same bytes on the same disk, in the same
//! run: the two take turns, all that is dirty is written out before each, and the median counts.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use berth_tests::corpus;
use clap::Args;
use serde::Serialize;

use crate::arrival::{ArrivalResult, arrivals};
use crate::programs::{Cost, Hub, LOOK_EVERY, Process, Programs, output, wait_until};
use crate::{SEED, Which};

/// What a plain program reads and writes at a time.
const PLAIN_PIECE_SIZE_BYTES: usize = 256 * 1024;

/// The profile of the air, and its limit in one direction (DESIGN.md, section 6).
const PROFILE: &str = "wfd-typical";
const PROFILE_BYTES_PER_SECOND: f64 = 30e6;

/// What has just begun or ended may still have something to do.
const SETTLE: Duration = Duration::from_secs(3);

/// How much is sent, and how long is waited.
#[derive(Args)]
pub(crate) struct LinkOptions {
    /// Size of what is backed up over the loopback network, in 10^6 bytes
    #[arg(long, default_value_t = 500)]
    via_megabytes: u64,
    /// Size of what is backed up through the air, in 10^6 bytes
    #[arg(long, default_value_t = 500)]
    air_megabytes: u64,
    /// How long hub and agent are watched while they do nothing
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// Laptops that send at once
    #[arg(long, default_value_t = 8)]
    laptops: u32,
    /// What each of them sends, in 10^6 bytes
    #[arg(long, default_value_t = 100)]
    laptop_megabytes: u64,
    /// Where `berthd`, `berth`, `berthctl` and `berth-air` are. Default: beside this program
    #[arg(long)]
    pub(crate) programs: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct LinksResult {
    pub(crate) via: Option<RaceResult>,
    pub(crate) air: Option<RaceResult>,
    pub(crate) near: Vec<ArrivalResult>,
    pub(crate) idle: Vec<IdleResult>,
    pub(crate) hub: Option<HubResult>,
}

/// A backup against something plainer, all rounds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RaceResult {
    pub(crate) megabytes: u64,
    pub(crate) plain_seconds: Vec<f64>,
    pub(crate) berth_seconds: Vec<f64>,
}

/// A process that did nothing.
#[derive(Debug, Serialize)]
pub(crate) struct IdleResult {
    pub(crate) process: &'static str,
    pub(crate) when: &'static str,
    /// Of one core.
    pub(crate) cpu_percent: f64,
    pub(crate) rss_bytes: u64,
}

/// A hub to which several laptops sent at once.
#[derive(Debug, Serialize)]
pub(crate) struct HubResult {
    pub(crate) laptops: u32,
    pub(crate) megabytes_each: u64,
    pub(crate) seconds: f64,
    pub(crate) rss_peak_bytes: u64,
}

/// Measures what is wanted, in a folder.
pub(crate) fn measure(
    options: &LinkOptions,
    runs: u32,
    is_wanted: impl Fn(Which) -> bool,
    work: &Path,
) -> Result<LinksResult> {
    let programs = Programs::find(options.programs.clone())?;
    let mut result = LinksResult::default();
    if is_wanted(Which::Via) {
        result.via = Some(via(&programs, options.via_megabytes, runs, work)?);
    }
    if is_wanted(Which::Air) {
        result.air = Some(air(&programs, options.air_megabytes, runs, work)?);
    }
    if is_wanted(Which::Near) {
        result.near = in_place(work, |place| arrivals(&programs, runs, place))?;
    }
    if is_wanted(Which::Idle) {
        let watched = Duration::from_secs(options.idle_seconds);
        result.idle = in_place(work, |place| idle(&programs, watched, place))?;
    }
    if is_wanted(Which::Hub) {
        result.hub = Some(in_place(work, |place| hub(&programs, options, place))?);
    }
    Ok(result)
}

/// Does something in a folder that is gone afterwards. `corpus` in it is for files.
fn in_place<T>(work: &Path, act: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let place = work.join("link");
    fs::create_dir_all(&place)?;
    let done = act(&place)?;
    fs::remove_dir_all(&place)?;
    Ok(done)
}

/// A first backup of a paired laptop over loopback, from the start of `berth` to its end, against [`push`].
fn via(programs: &Programs, megabytes: u64, runs: u32, work: &Path) -> Result<RaceResult> {
    let corpus = work.join("corpus");
    corpus::incompressible(&corpus, SEED, megabytes * 1_000_000)?;
    let mut result = RaceResult {
        megabytes,
        ..RaceResult::default()
    };
    for round in 0..runs {
        for is_berth in [round % 2 == 1, round % 2 == 0] {
            let seconds = in_place(work, |place| {
                if !is_berth {
                    rustix::fs::sync();
                    return push(&corpus, &place.join("plain"));
                }
                let hub = Hub::start(programs, place, None)?;
                hub.pair("laptop")?;
                rustix::fs::sync();
                let began = Instant::now();
                hub.back_up("laptop", &corpus)?;
                Ok(began.elapsed().as_secs_f64())
            })?;
            let samples = if is_berth {
                &mut result.berth_seconds
            } else {
                &mut result.plain_seconds
            };
            samples.push(seconds);
        }
    }
    fs::remove_dir_all(&corpus)?;
    Ok(result)
}

/// Pushes all files of a folder through one TCP connection into one file, as `cat` and `nc` would, until it is synced:
/// seconds.
fn push(folder: &Path, to: &Path) -> Result<f64> {
    let paths = berth_tests::compare::files(folder)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut file = File::create_new(to)?;
    let began = Instant::now();
    let receiver = thread::spawn(move || -> Result<()> {
        copy(&mut listener.accept()?.0, &mut file)?;
        Ok(file.sync_all()?)
    });
    let mut stream = TcpStream::connect(address)?;
    for path in paths {
        copy(&mut File::open(path)?, &mut stream)?;
    }
    stream.shutdown(Shutdown::Write)?;
    receiver.join().map_err(|_| anyhow!("the receiver failed"))??;
    Ok(began.elapsed().as_secs_f64())
}

/// Not [`std::io::copy`], which has the kernel do it.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<()> {
    let mut piece = vec![0; PLAIN_PIECE_SIZE_BYTES];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            size => to.write_all(piece.get(..size).context("a read beyond its buffer")?)?,
        }
    }
}

/// The life of the link of a first backup through the air, against the time that its bytes take at the link's own limit.
///
/// The link lives from the moment it is open to the moment it is closed: its handshake, the scan, every byte from laptop
/// to hub, the hub's last sync, the receipt and the goodbye are in it; discovery, the group and the session's handshake
/// over BLE are not. The bytes are what the link carried, encryption and protocol included.
fn air(programs: &Programs, megabytes: u64, runs: u32, work: &Path) -> Result<RaceResult> {
    let corpus = work.join("corpus");
    corpus::incompressible(&corpus, SEED, megabytes * 1_000_000)?;
    let mut result = RaceResult {
        megabytes,
        ..RaceResult::default()
    };
    for _ in 0..runs {
        let trace = in_place(work, |place| {
            let socket = place.join("air");
            let _air = programs.air(&socket, PROFILE, 0)?;
            let hub = Hub::start(programs, place, Some(&socket))?;
            hub.pair("laptop")?;
            rustix::fs::sync();
            hub.back_up("laptop", &corpus)?;
            programs.ctl(&socket, &["trace"])
        })?;
        let (seconds, bytes) =
            link(&String::from_utf8(trace)?).context("the air's trace tells of no link")?;
        result.plain_seconds.push(bytes / PROFILE_BYTES_PER_SECOND);
        result.berth_seconds.push(seconds);
    }
    fs::remove_dir_all(&corpus)?;
    Ok(result)
}

/// How long the only stream of a trace was open, and how many bytes it carried from the laptop: the air says so now and
/// then, and at the end.
fn link(trace: &str) -> Option<(f64, f64)> {
    let at = |line: &str| line.split_whitespace().next()?.parse::<f64>().ok();
    let find = |what: &str| trace.lines().rfind(|line| line.contains(what));
    let (opened, closed) = (
        find("laptop < stream 1 opened")?,
        find("laptop = stream 1 carried ")?,
    );
    let bytes = closed.split_once("carried ")?.1.split_whitespace().next()?;
    Some((at(closed)? - at(opened)?, bytes.parse().ok()?))
}

/// Hub and agent while nobody is near, and while they are near each other after a visit.
fn idle(programs: &Programs, watched: Duration, place: &Path) -> Result<Vec<IdleResult>> {
    let (corpus, socket) = (place.join("corpus"), place.join("air"));
    corpus::text_and_office(&corpus, SEED, 20_000_000)?;
    let _air = programs.air(&socket, PROFILE, 0)?;
    let hub = Hub::start(programs, place, Some(&socket))?;
    hub.pair("laptop")?;
    output(hub.berth("laptop", &["folders", "add"]).arg(&corpus))?;
    programs.ctl(&socket, &["away", "laptop"])?;
    let agent = Process::start(&mut hub.berth("laptop", &["agent"]))?;
    let mut results = Vec::from(watch(&hub.process, &agent, "nobody near", watched)?);
    programs.ctl(&socket, &["near", "laptop"])?;
    wait_until("the agent's visit", LOOK_EVERY, || {
        let sets = hub.berthctl(&["sets"])?;
        Ok(sets
            .as_array()
            .is_some_and(|sets| sets.iter().any(|set| set["kind"] == "complete")))
    })?;
    results.extend(watch(&hub.process, &agent, "after a visit", watched)?);
    Ok(results)
}

fn watch(hub: &Process, agent: &Process, when: &'static str, watched: Duration) -> Result<[IdleResult; 2]> {
    thread::sleep(SETTLE);
    let before = [hub.cost()?, agent.cost()?];
    thread::sleep(watched);
    let after = [hub.cost()?, agent.cost()?];
    let result = |process, before: Cost, after: Cost| IdleResult {
        process,
        when,
        cpu_percent: (after.cpu_seconds - before.cpu_seconds) / watched.as_secs_f64() * 100.0,
        rss_bytes: after.rss_bytes,
    };
    Ok([
        result("hub", before[0], after[0]),
        result("agent", before[1], after[1]),
    ])
}

/// The most memory that a hub ever had while laptops made their first backups at once. They have the same files; what
/// each sends is sealed with its own key.
fn hub(programs: &Programs, options: &LinkOptions, place: &Path) -> Result<HubResult> {
    let corpus = place.join("corpus");
    corpus::incompressible(&corpus, SEED, options.laptop_megabytes * 1_000_000)?;
    let hub = Hub::start(programs, place, None)?;
    let names: Vec<String> = (1..=options.laptops)
        .map(|number| format!("laptop{number}"))
        .collect();
    names.iter().try_for_each(|name| hub.pair(name))?;
    let began = Instant::now();
    thread::scope(|scope| {
        let visits: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(|| hub.back_up(name, &corpus)))
            .collect();
        visits
            .into_iter()
            .try_for_each(|visit| visit.join().map_err(|_| anyhow!("a laptop failed"))?.map(drop))
    })?;
    Ok(HubResult {
        laptops: options.laptops,
        megabytes_each: options.laptop_megabytes,
        seconds: began.elapsed().as_secs_f64(),
        rss_peak_bytes: hub.process.cost()?.rss_peak_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lives_from_its_opening_to_its_end_and_carries_what_the_laptop_sent() {
        let trace = "     8.500000000 hub < stream 1 opened
     8.500000000 laptop < stream 1 opened
     9.750000000 laptop = stream 1 carried 1011855 bytes 0e666e96
    10.750000000 laptop = stream 1 carried 5011855 bytes b6f5d709
    10.750000000 hub = stream 1 carried 310 bytes 740289ea
";
        assert_eq!(link(trace), Some((2.25, 5_011_855.0)));
        assert_eq!(link("     8.500000000 laptop < stream 1 opened\n"), None);
    }
}
