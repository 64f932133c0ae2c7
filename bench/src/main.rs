//! `berth-bench`: Berth and restic side by side on the same folders, the same disk and the same machine; and Berth's links
//! against plain ones.
//!
//! Method: corpora are made from fixed seeds and read once, so that both find them in memory. The two take turns, the
//! one that begins changes with every round, and all that is dirty is written out before each run, so that neither
//! pays for the other. What counts is the median. restic writes a local repository with its cache in place; Berth's
//! laptop and hub run together in `desk` with an unlimited link, from the scan to the receipt.
#![expect(clippy::print_stdout, reason = "a program")]

mod arrival;
mod contender;
mod forward;
mod links;
mod measure;
mod programs;
mod report;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use berth_tests::corpus;
use clap::{Parser, ValueEnum};

use contender::{Berth, Contender, Restic};
use forward::ForwardOptions;
use links::LinkOptions;
use measure::Sample;
use programs::Programs;
use report::{ChangeResult, Report, SpeedResult};

/// All corpora come from this seed.
const SEED: u64 = 20_260_801;

/// Writes between the two visits of the change benchmark: what a database or a virtual machine does in a day.
const SCATTERED_WRITES: u64 = 200;
const SCATTERED_WRITE_BYTES: usize = 4096;
const INSERTION_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Wall time of first and unchanged visits
    Speed,
    /// Bytes sent after scattered writes and an insertion in a disk image
    Change,
    /// A backup over the loopback network against a plain connection into a synced file
    Via,
    /// A backup through the air against the link's own limit
    Air,
    /// Time from coming near to the first acknowledged byte
    Near,
    /// What hub and agent cost while they do nothing
    Idle,
    /// Memory of a hub to which several laptops send at once
    Hub,
    /// Forwarding to a folder, to REST and to S3 against `rclone copy`
    Forward,
}

/// Compares Berth with restic, and its links with plain ones, side by side.
#[derive(Parser)]
#[command(after_help = "Examples:
  cargo build --release && cargo run --release -p berth-bench
  cargo run --release -p berth-bench -- --runs 1 --megabytes 50 --files 2000 --image-megabytes 100
  cargo run --release -p berth-bench -- --only change --json result.json
  cargo run --release -p berth-bench -- --only via --runs 1 --via-megabytes 50
  cargo run --release -p berth-bench -- --only forward --runs 1 --forward-megabytes 100 --forward-sets 1,10")]
struct Options {
    /// Run only this benchmark
    #[arg(long, value_enum)]
    only: Option<Which>,
    /// Rounds for every corpus; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Size of the text-and-office and of the incompressible corpus, in 10^6 bytes
    #[arg(long, default_value_t = 500)]
    megabytes: u64,
    /// Files in the small-files corpus
    #[arg(long, default_value_t = 50_000)]
    files: u64,
    /// Size of the disk image, in 10^6 bytes
    #[arg(long, default_value_t = 500)]
    image_megabytes: u64,
    /// Where corpora and repositories go; they are removed at the end. Default: a temporary folder
    #[arg(long)]
    work: Option<PathBuf>,
    /// The `desk` program. Default: the one beside this program
    #[arg(long)]
    desk: Option<PathBuf>,
    #[command(flatten)]
    links: LinkOptions,
    #[command(flatten)]
    forward: ForwardOptions,
    /// Write the result as JSON to this file too
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let is_wanted = |which| options.only.is_none_or(|only| only == which);
    let parent = options.work.clone().unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&parent)?;
    let work = tempfile::tempdir_in(&parent).context("can't make a folder to work in")?;
    let mut report = Report::of_this_machine(options.runs)?;
    if is_wanted(Which::Speed) {
        let berth = Berth::find(options.desk.clone())?;
        speed(&options, &berth, work.path(), &mut report)?;
    }
    if is_wanted(Which::Change) {
        let berth = Berth::find(options.desk.clone())?;
        report.change = Some(change(&options, &berth, work.path())?);
    }
    if [Which::Via, Which::Air, Which::Near, Which::Idle, Which::Hub]
        .into_iter()
        .any(is_wanted)
    {
        report.links = Some(links::measure(
            &options.links,
            options.runs,
            is_wanted,
            work.path(),
        )?);
    }
    if is_wanted(Which::Forward) {
        let programs = Programs::find(options.links.programs.clone())?;
        report.forward = forward::measure(&programs, &options.forward, options.runs, work.path())?;
    }
    println!("{report}");
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// Makes a corpus in a folder.
type Make<'a> = &'a dyn Fn(&Path) -> io::Result<()>;

fn speed(options: &Options, berth: &Berth, work: &Path, report: &mut Report) -> Result<()> {
    let bytes = options.megabytes * 1_000_000;
    let corpora: [(String, Make<'_>); 3] = [
        (format!("text and office, {} MB", options.megabytes), &|root| {
            corpus::text_and_office(root, SEED, bytes)
        }),
        (format!("incompressible, {} MB", options.megabytes), &|root| {
            corpus::incompressible(root, SEED, bytes)
        }),
        (format!("{} small files", options.files), &|root| {
            corpus::small_files(root, SEED, options.files)
        }),
    ];
    for (name, make) in corpora {
        let root = work.join("corpus");
        make(&root).with_context(|| format!("can't make the corpus {name:?}"))?;
        let mut result = SpeedResult::new(name);
        for round in 0..options.runs {
            let restic = Restic::new(&work.join("restic"))?;
            let berth = berth.at(&work.join("berth"));
            let mut pair: [(&dyn Contender, bool); 2] = [(&restic, false), (&berth, true)];
            if round % 2 == 1 {
                pair.reverse();
            }
            for visit in [Visit::First, Visit::Unchanged] {
                for (contender, is_berth) in pair {
                    rustix::fs::sync();
                    let sample = contender.back_up(&root)?;
                    result.add(visit, is_berth, sample);
                }
            }
            for folder in ["restic", "berth"] {
                fs::remove_dir_all(work.join(folder))?;
            }
        }
        fs::remove_dir_all(&root)?;
        report.speed.push(result);
    }
    Ok(())
}

/// Which backup of a folder is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    First,
    Unchanged,
}

fn change(options: &Options, berth: &Berth, work: &Path) -> Result<ChangeResult> {
    let root = work.join("corpus");
    let image = root.join("disk.img");
    let size = options.image_megabytes * 1_000_000;
    corpus::disk_image(&image, SEED, size)?;
    let restic = Restic::new(&work.join("restic"))?;
    let berth = berth.at(&work.join("berth"));
    restic.back_up(&root)?;
    berth.back_up(&root)?;
    corpus::scattered_writes(&image, SEED + 1, SCATTERED_WRITES, SCATTERED_WRITE_BYTES)?;
    corpus::insert(&image, size / 3, &vec![0xa5; INSERTION_BYTES])?;
    let [restic, berth]: [Sample; 2] = [restic.back_up(&root)?, berth.back_up(&root)?];
    for folder in ["restic", "berth", "corpus"] {
        fs::remove_dir_all(work.join(folder))?;
    }
    Ok(ChangeResult {
        image_bytes: size,
        restic_bytes: restic.bytes,
        berth_bytes: berth.bytes,
    })
}
