//! The two that are compared: each backs a folder up into a place of its own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::measure::Sample;

/// Backs up a folder: the first time all of it, then what changed.
pub(crate) trait Contender {
    /// One backup, measured.
    fn back_up(&self, folder: &Path) -> Result<Sample>;
}

/// restic with a local repository and its cache.
pub(crate) struct Restic {
    restic: berth_tests::restic::Restic,
    repository: PathBuf,
}

impl Restic {
    /// Makes an empty repository in `place`, which must not exist.
    pub(crate) fn new(place: &Path) -> Result<Self> {
        fs::create_dir(place)?;
        let password_file = place.join("password");
        fs::write(&password_file, "benchmark")?;
        let repository = place.join("repository");
        let restic =
            berth_tests::restic::Restic::new(&repository, password_file).with_cache(place.join("cache"));
        restic.init()?;
        Ok(Self { restic, repository })
    }
}

impl Contender for Restic {
    fn back_up(&self, folder: &Path) -> Result<Sample> {
        let before = size_of(&self.repository)?;
        let began = Instant::now();
        self.restic.backup(folder)?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Sample {
            seconds,
            bytes: size_of(&self.repository)?.saturating_sub(before),
        })
    }
}

/// Laptop and hub in one process.
#[derive(Clone)]
pub(crate) struct Berth {
    desk: PathBuf,
    work: PathBuf,
}

/// The last line of `desk --json`. Its other fields do not matter here.
#[derive(Deserialize)]
struct Summary {
    event: String,
    /// From the beginning of the scan to the receipt: the laptop's and the hub's work together.
    backup_seconds: Option<f64>,
    /// Bytes that went from laptop to hub over the bulk link in this run's visits.
    bytes_sent: Option<u64>,
}

impl Berth {
    /// Finds `desk`, beside this program unless named.
    pub(crate) fn find(desk: Option<PathBuf>) -> Result<Self> {
        let desk = match desk {
            Some(desk) => desk,
            None => std::env::current_exe()?.with_file_name("desk"),
        };
        if !desk.is_file() {
            bail!(
                "there is no {}: run `cargo build --release --bin desk` first",
                desk.display()
            );
        }
        Ok(Self {
            desk,
            work: PathBuf::new(),
        })
    }

    /// The same program with its state in `work`.
    pub(crate) fn at(&self, work: &Path) -> Self {
        Self {
            work: work.to_path_buf(),
            ..self.clone()
        }
    }
}

impl Contender for Berth {
    fn back_up(&self, folder: &Path) -> Result<Sample> {
        let output = Command::new(&self.desk)
            .arg(folder)
            .arg("--work")
            .arg(&self.work)
            .args(["--profile", "perfect", "--json"])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("can't run {}", self.desk.display()))?;
        if !output.status.success() {
            std::io::stderr().write_all(&output.stderr)?;
            bail!("desk failed ({})", output.status);
        }
        summary(&output.stdout).context("desk --json ended without a summary of seconds and bytes")
    }
}

fn summary(output: &[u8]) -> Option<Sample> {
    output
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Summary>(line).ok())
        .filter(|summary| summary.event == "summary")
        .find_map(|summary| {
            Some(Sample {
                seconds: summary.backup_seconds?,
                bytes: summary.bytes_sent?,
            })
        })
}

/// Bytes of all files below `root`.
fn size_of(root: &Path) -> Result<u64> {
    let mut size = 0;
    for path in berth_tests::compare::files(root)? {
        size += fs::metadata(path)?.len();
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_among_other_events() {
        let output = br#"{"event":"paired","laptop":"a"}
not json
{"event":"visit","seconds":1.5}
{"event":"summary","backup_seconds":2.5,"bytes_sent":7,"files":3}
"#;
        let sample = summary(output).unwrap();
        assert!((sample.seconds - 2.5).abs() < f64::EPSILON);
        assert_eq!(sample.bytes, 7);
        assert!(summary(b"{\"event\":\"visit\"}\n").is_none());
    }
}
