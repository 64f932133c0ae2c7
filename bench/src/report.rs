//! The result, for people and as JSON.

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::Visit;
use crate::forward::ForwardResult;
use crate::links::{LinksResult, RaceResult};
use crate::measure::{Sample, median};

/// Everything measured, and on what.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    restic: String,
    cores: usize,
    processor: String,
    runs: u32,
    pub(crate) speed: Vec<SpeedResult>,
    pub(crate) change: Option<ChangeResult>,
    pub(crate) links: Option<LinksResult>,
    pub(crate) forward: Vec<ForwardResult>,
}

/// One corpus, all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct SpeedResult {
    corpus: String,
    restic_first: Vec<Sample>,
    berth_first: Vec<Sample>,
    restic_unchanged: Vec<Sample>,
    berth_unchanged: Vec<Sample>,
}

/// What a changed disk image cost.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeResult {
    pub(crate) image_bytes: u64,
    pub(crate) restic_bytes: u64,
    pub(crate) berth_bytes: u64,
}

impl Report {
    /// An empty report that says where it was made.
    pub(crate) fn of_this_machine(runs: u32) -> Result<Self> {
        let version = Command::new("restic").arg("version").output();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            restic: version
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
                .map_err(|_| berth_tests::restic::ResticError::Missing)?,
            cores: std::thread::available_parallelism()?.get(),
            processor: cpuinfo
                .lines()
                .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
                .map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned()),
            runs,
            speed: Vec::new(),
            change: None,
            links: None,
            forward: Vec::new(),
        })
    }
}

impl SpeedResult {
    /// No rounds yet.
    pub(crate) fn new(corpus: String) -> Self {
        Self {
            corpus,
            restic_first: Vec::new(),
            berth_first: Vec::new(),
            restic_unchanged: Vec::new(),
            berth_unchanged: Vec::new(),
        }
    }

    /// Takes one measurement down.
    pub(crate) fn add(&mut self, visit: Visit, is_berth: bool, sample: Sample) {
        match (visit, is_berth) {
            (Visit::First, false) => self.restic_first.push(sample),
            (Visit::First, true) => self.berth_first.push(sample),
            (Visit::Unchanged, false) => self.restic_unchanged.push(sample),
            (Visit::Unchanged, true) => self.berth_unchanged.push(sample),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}; {}, {} cores; medians of {}",
            self.restic, self.processor, self.cores, self.runs
        )?;
        if !self.speed.is_empty() {
            writeln!(
                f,
                "\n{:<28} {:<10} {:>9} {:>9} {:>7}",
                "corpus", "visit", "restic s", "berth s", "ratio"
            )?;
        }
        for result in &self.speed {
            for (visit, restic, berth) in [
                ("first", &result.restic_first, &result.berth_first),
                ("unchanged", &result.restic_unchanged, &result.berth_unchanged),
            ] {
                let [restic, berth] =
                    [restic, berth].map(|samples| median(samples.iter().map(|sample| sample.seconds)));
                writeln!(
                    f,
                    "{:<28} {visit:<10} {restic:>9.2} {berth:>9.2} {:>7.2}",
                    result.corpus,
                    berth / restic
                )?;
            }
        }
        if let Some(change) = &self.change {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            writeln!(
                f,
                "\n200 scattered 4 KiB writes and a 1 MiB insertion in an image of {:.0} MB:\n  \
                 restic adds {:.1} MB, Berth sends {:.1} MB, ratio {:.2}",
                megabytes(change.image_bytes),
                megabytes(change.restic_bytes),
                megabytes(change.berth_bytes),
                megabytes(change.berth_bytes) / megabytes(change.restic_bytes)
            )?;
        }
        self.links.as_ref().map_or(Ok(()), |links| links.fmt(f))?;
        if let Some(first) = self.forward.first() {
            writeln!(
                f,
                "\n{:<24} {:>6} {:>9} {:>9} {:>7} {:>10} {:>9}",
                format!("forwarding {} MB to", first.megabytes),
                "sets",
                "rclone s",
                "berth s",
                "ratio",
                "CPU s/GB",
                "peak MiB"
            )?;
        }
        for result in &self.forward {
            result.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ForwardResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rclone, berth, cpu] = [&self.rclone_seconds, &self.berth_seconds, &self.cpu_seconds]
            .map(|seconds| median(seconds.iter().copied()));
        writeln!(
            f,
            "{:<24} {:>6} {rclone:>9.2} {berth:>9.2} {:>7.2} {:>10.2} {:>9.1}",
            self.to,
            self.sets,
            berth / rclone,
            cpu * 1000.0 / self.megabytes as f64,
            mebibytes(self.rss_peak_bytes)
        )
    }
}

impl fmt::Display for LinksResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut race = |what: &str, against: &str, race: &RaceResult, goal: f64| {
            let [plain, berth] =
                [&race.plain_seconds, &race.berth_seconds].map(|seconds| median(seconds.iter().copied()));
            let (megabytes, ratio) = (race.megabytes, berth / plain);
            let line = format!("{what}, {megabytes} MB: {against} {plain:.2} s, Berth {berth:.2} s");
            writeln!(f, "\n{line}, ratio {ratio:.3} (goal {goal})")
        };
        if let Some(via) = &self.via {
            race("loopback", "plain connection into a synced file", via, 2.0)?;
        }
        if let Some(air) = &self.air {
            race("wfd-typical, the link's life", "at the link's limit", air, 1.03)?;
        }
        if !self.near.is_empty() {
            writeln!(f, "\n{:<12} {:>8} {:>20}", "near", "link s", "first byte safe s")?;
        }
        for near in &self.near {
            let [link, acknowledged] = [&near.link_seconds, &near.acknowledged_seconds]
                .map(|seconds| median(seconds.iter().copied()));
            writeln!(f, "{:<12} {link:>8.2} {acknowledged:>20.2}", near.profile)?;
        }
        if !self.near.is_empty() {
            writeln!(f, "(goal: 3 s)")?;
        }
        if !self.idle.is_empty() {
            writeln!(
                f,
                "\n{:<8} {:<16} {:>12} {:>8}",
                "idle", "when", "% of a core", "MiB"
            )?;
        }
        for idle in &self.idle {
            let (cpu, rss) = (idle.cpu_percent, mebibytes(idle.rss_bytes));
            writeln!(f, "{:<8} {:<16} {cpu:>12.3} {rss:>8.1}", idle.process, idle.when)?;
        }
        if !self.idle.is_empty() {
            writeln!(f, "(goals: 0.2 % of a core; hub 40 MiB, agent 20 MiB)")?;
        }
        if let Some(hub) = &self.hub {
            let (laptops, each, seconds) = (hub.laptops, hub.megabytes_each, hub.seconds);
            let peak = mebibytes(hub.rss_peak_bytes);
            let line = format!("{laptops} laptops sending {each} MB each in {seconds:.1} s");
            writeln!(f, "\n{line}: the hub's peak {peak:.1} MiB (goal 64)")?;
        }
        Ok(())
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
