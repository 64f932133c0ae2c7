//! `berth ls`, `cat` and `restore`: reading back what a hub holds.
//!
//! Place: arguments -> [`Hands`] -> [`read_back`] -> standard output or a folder.
//! Invariant: standard output has what was asked for and nothing else; whoever stops listening is left in peace.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use berth_agent::{Leave, Left, Seen, bytes, read_back, wrapped};
use berth_radio::{Radio, Time};
use berth_restore::{
    Depth, Existing, LeftOut, ObjectKind, Progress, Report, Repository, RestoreError, Snapshot, Trouble,
};
use berth_session::Goal;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::args::Options;
use crate::backup::{LOOKING, on_signals};
use crate::hands::Hands;
use crate::reading_names::{line, object, put_path, shown};
use crate::{Outcome, clock};

/// Problems that a person is shown; all that are known are in the summary for scripts.
const SHOWN_MAX: usize = 20;

/// How often a terminal, a script and a log are told.
const TELL_TERMINAL_EVERY: Duration = Duration::from_millis(100);
const TELL_SCRIPT_EVERY: Duration = Duration::from_secs(1);
const TELL_LOG_EVERY: Duration = Duration::from_secs(10);

/// What `ls` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// A set's number, or `latest`: the newest complete one.
    pub(crate) set: SetName,
    /// Only what is at or below this path.
    pub(crate) path: Option<PathBuf>,
}

/// What `cat` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// A set's number, or `latest`: the newest complete one.
    pub(crate) set: SetName,
    /// A file, by its full path.
    pub(crate) path: PathBuf,
}

/// What `restore` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// A set's number, or `latest`: the newest complete one.
    pub(crate) set: SetName,
    /// Files and folders, by their full paths [default: everything].
    pub(crate) path: Vec<PathBuf>,
    /// Put them below this folder by their full paths. It is made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Replace files that are there and differ. Without it they stay, and are named.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// What to do where the hub has made room by removing what is upstream.
const UPSTREAM_ONLY: &str = "The hub does not hold all of this set any more: it needed room. The upstream has it: restore it \
    from there with restic and the recovery key.";

/// Which set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetName {
    /// The newest complete one.
    Latest,
    /// This one.
    Number(u64),
}

impl FromStr for SetName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "latest" => Ok(Self::Latest),
            number => number
                .parse()
                .map(Self::Number)
                .map_err(|_| "a set is a number or `latest`; `berth sets` shows all"),
        }
    }
}

/// Meets a hub, and runs `work` with what it holds of this laptop.
fn read<T: Send>(options: &Options, work: impl FnOnce(&Repository, &Seen) -> Result<T> + Send) -> Result<T> {
    let mut hands = Hands::take(options)?;
    let hubs = hands.hubs()?;
    let leave = Leave::new(hands.radio.waker());
    on_signals(&leave)?;
    if !options.json && !hands.is_via() && io::stderr().is_terminal() {
        let _ = writeln!(io::stderr(), "{LOOKING}");
    }
    let repository = Arc::clone(&hands.state.repository);
    let (worked, left) = read_back(
        repository.id(),
        hands.radio.waker(),
        |begin| hands.session(Goal::Visit { hubs }, None, Some(begin), &leave, &mut |_, _| {}),
        |source| {
            let seen = source.seen();
            let opened = match Repository::open_by_master_key(source, repository.key()) {
                Ok(opened) => opened,
                Err(error) => return (Err(error.into()), Vec::new(), seen.reclaimed()),
            };
            let worked = work(&opened, &seen);
            (worked, opened.left_out(), seen.reclaimed())
        },
    );
    let (worked, left_out, is_upstream_only) =
        worked.map_err(|_| anyhow!("reading failed in a way that it never should"))?;
    warn_of(&left_out);
    if is_upstream_only && worked.is_ok() {
        let _ = writeln!(io::stderr(), "{UPSTREAM_ONLY}");
    }
    worked.map_err(|error| match error.downcast::<RestoreError>() {
        Ok(RestoreError::Lost { .. }) if leave.is_asked() => {
            anyhow!("stopped. Do the same again: it goes on where it stopped.")
        }
        Ok(RestoreError::Lost { location }) => {
            left.map_or_else(|error| error, |left| why_lost(&location, left))
        }
        Ok(RestoreError::NoRepository { .. }) => {
            anyhow!("the hub holds nothing of this laptop yet: run `berth backup` first")
        }
        Ok(error) => {
            let advice = match &error {
                RestoreError::Unreadable { .. } if is_upstream_only => UPSTREAM_ONLY,
                error => error.advice(),
            };
            anyhow!("{:#}. {advice}", anyhow::Error::new(error))
        }
        Err(error) => error,
    })
}

/// Names what the hub holds damaged.
fn warn_of(left_out: &[LeftOut]) {
    let mut problems = io::stderr().lock();
    // Whoever does not listen any more is left in peace.
    for object in left_out.iter().take(SHOWN_MAX) {
        let _ = writeln!(problems, "{object}");
    }
    if left_out.len() > SHOWN_MAX {
        let _ = writeln!(problems, "and {} more", left_out.len() - SHOWN_MAX);
    }
    if !left_out.is_empty() {
        let _ = writeln!(problems, "{}", LeftOut::ADVICE);
    }
}

/// What the person is told when the session ended before its time.
fn why_lost(location: &str, left: Left) -> anyhow::Error {
    match left.ended.visit {
        Some(Err(error)) => anyhow!("{location}: {error}. {}", error.advice()),
        Some(Ok(_)) | None => anyhow!("{}. {}", left.ended.session, left.ended.session.advice()),
    }
}

/// `berth ls`.
pub(crate) fn ls(options: &Options, args: &Ls) -> Result<Outcome> {
    let json = options.json;
    let top = args.path.clone().unwrap_or_else(|| PathBuf::from("/"));
    let zone = jiff::tz::TimeZone::system();
    read(options, |repository, seen| {
        let (snapshot, outcome) = snapshot(repository, args.set, seen)?;
        let mut output = BufWriter::new(io::stdout().lock());
        let mut written = Ok(());
        let (mut is_first, mut unread) = (true, 0);
        if json {
            written = output.write_all(b"[");
        }
        repository.list(&snapshot, &top, Depth::Everything, &mut |path, entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(trouble) => {
                    unread += 1;
                    if unread <= SHOWN_MAX {
                        let _ = writeln!(io::stderr(), "{}", problem_line(path, &trouble));
                    }
                    return ControlFlow::Continue(());
                }
            };
            if written.is_ok() {
                written = if json {
                    let comma = if is_first { "\n" } else { ",\n" };
                    write!(output, "{comma}{}", object(path, entry))
                } else {
                    writeln!(output, "{}", line(path, entry, &zone))
                };
            }
            is_first = false;
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        if json {
            written = written.and_then(|()| output.write_all(b"\n]\n"));
        }
        unless_closed(written.and_then(|()| output.flush()))?;
        if unread == 0 {
            return Ok(outcome);
        }
        // Said once, at the end, where more is damaged.
        let advice = if repository.left_out().is_empty() && !seen.reclaimed() {
            LeftOut::ADVICE
        } else {
            ""
        };
        let count = HumanCount(unread as u64);
        let _ = writeln!(
            io::stderr(),
            "{count} of the folders could not be read: what is in them is not listed. {advice}"
        );
        Ok(Outcome::SomeNotRead)
    })
}

/// `berth cat`.
pub(crate) fn cat(options: &Options, args: &Cat) -> Result<Outcome> {
    read(options, |repository, seen| {
        let (snapshot, outcome) = snapshot(repository, args.set, seen)?;
        match repository.cat(&snapshot, &args.path, &mut io::stdout().lock()) {
            Err(RestoreError::Output(error)) => unless_closed(Err(error))?,
            read => drop(read?),
        }
        Ok(outcome)
    })
}

/// Whoever closes the pipe has enough.
fn unless_closed(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

/// `berth restore`.
pub(crate) fn restore(options: &Options, args: &Restore) -> Result<Outcome> {
    let began = clock::now();
    let existing = if args.overwrite {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let teller = Teller::new(began, options.json);
    let restored = read(options, |repository, seen| {
        let (snapshot, outcome) = snapshot(repository, args.set, seen)?;
        teller.say("Reading what is in the set.");
        let told = |progress| teller.tell(progress, seen);
        let report = repository.restore(&snapshot, &args.path, &args.to, existing, &told);
        teller.end();
        Ok((report?, set_number(&snapshot), seen.bytes(), outcome))
    });
    let (report, set, bytes_read, outcome) = restored?;
    let seconds = clock::now().saturating_sub(began).as_secs_f64();
    let mut output = io::stdout().lock();
    let written = if options.json {
        writeln!(output, "{}", summary(&report, set, bytes_read, seconds))
    } else {
        tell_person(&mut output, &report, args, bytes_read, seconds)
    };
    unless_closed(written)?;
    Ok(if report.is_whole() {
        outcome
    } else {
        Outcome::SomeNotRead
    })
}

fn summary(report: &Report, set: Option<u64>, bytes_read: u64, seconds: f64) -> Value {
    let problem = |problem: &berth_restore::Problem| {
        let mut object = Map::new();
        put_path(&mut object, "path", problem.path.as_os_str());
        object.insert("what".into(), problem.trouble.to_string().into());
        if let Some(why) = std::error::Error::source(&problem.trouble) {
            object.insert("why".into(), why.to_string().into());
        }
        Value::Object(object)
    };
    json!({
        "event": "summary",
        "set": set,
        "files": report.files + report.files_there,
        "bytes": report.bytes + report.bytes_there,
        "files_there": report.files_there,
        "bytes_there": report.bytes_there,
        "folders": report.folders,
        "symlinks": report.symlinks,
        "hard_links": report.hard_links,
        "special_files": report.special_files,
        "sockets_left_out": report.sockets_left_out,
        "owners_not_set": report.owners_not_set,
        "bytes_read": bytes_read,
        "seconds": seconds,
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
        "problems_not_named": report.problems_not_named,
    })
}

fn problem_line(path: &Path, trouble: &Trouble) -> String {
    let why = std::error::Error::source(trouble).map_or_else(String::new, |why| format!(" ({why})"));
    format!("{}: {trouble}{why}", shown(path))
}

fn tell_person(
    output: &mut dyn Write,
    report: &Report,
    args: &Restore,
    bytes_read: u64,
    seconds: f64,
) -> io::Result<()> {
    let mut problems = io::stderr().lock();
    for problem in report.problems.iter().take(SHOWN_MAX) {
        writeln!(problems, "{}", problem_line(&problem.path, &problem.trouble))?;
    }
    let count = report.problems.len() as u64 + report.problems_not_named;
    if count > SHOWN_MAX as u64 {
        writeln!(
            problems,
            "and {} more; --json names them",
            count - SHOWN_MAX as u64
        )?;
    }
    let restored = format!(
        "Restored {} files, {}, to {} in {seconds:.1} s; {} read from the hub.",
        HumanCount(report.files),
        bytes(report.bytes),
        shown(&args.to),
        bytes(bytes_read),
    );
    writeln!(output, "{}", wrapped(&restored, io::stdout().is_terminal()))?;
    if report.files_there > 0 {
        writeln!(
            output,
            "{} files, {}, were there already.",
            HumanCount(report.files_there),
            bytes(report.bytes_there)
        )?;
    }
    if report.owners_not_set > 0 {
        writeln!(
            output,
            "{} entries belong to you now: giving files to their owners needs root.",
            HumanCount(report.owners_not_set)
        )?;
    }
    if count > 0 {
        let advice = if args.overwrite {
            "The rest is whole."
        } else {
            "The rest is whole. Files that were there and differ are replaced with --overwrite."
        };
        writeln!(output, "{} could not be restored. {advice}", HumanCount(count))?;
    }
    Ok(())
}

/// The snapshot of a set: that of the hub that is read from, where other hubs' sets of this number are there too. And
/// [`Outcome::SomeNotRead`] where one that can't be read may be what was asked for.
fn snapshot(repository: &Repository, set: SetName, seen: &Seen) -> Result<(Snapshot, Outcome)> {
    let mut sets: Vec<(u64, Snapshot)> = repository
        .snapshots()?
        .into_iter()
        .filter_map(|snapshot| Some((set_number(&snapshot)?, snapshot)))
        .collect();
    let left_out = repository.left_out();
    let is_all = !left_out.iter().any(|object| object.kind == ObjectKind::Snapshot);
    let hub = seen.hub().unwrap_or_default();
    let of_hub = format!("hub:{hub}");
    let has_own = sets.iter().any(|(_, snapshot)| snapshot.tags.contains(&of_hub));
    if has_own {
        sets.retain(|(_, snapshot)| snapshot.tags.contains(&of_hub));
    }
    sets.sort_by_key(|(number, snapshot)| (*number, snapshot.time));
    let (found, is_certain) = match set {
        SetName::Number(wanted) => {
            let found = sets.iter().rfind(|(number, _)| *number == wanted);
            (found, is_all || has_own)
        }
        SetName::Latest => {
            let is_complete = |snapshot: &Snapshot| snapshot.tags.iter().any(|tag| tag == "complete");
            let found = sets.iter().rfind(|(_, snapshot)| is_complete(snapshot));
            (found, is_all)
        }
    };
    if let Some((number, snapshot)) = found {
        if is_certain {
            return Ok((snapshot.clone(), Outcome::Done));
        }
        let _ = writeln!(
            io::stderr(),
            "took set {number}; the one asked for may be among those that can't be read"
        );
        return Ok((snapshot.clone(), Outcome::SomeNotRead));
    }
    let readable = if is_all { "" } else { " that can be read" };
    let Some((newest, _)) = sets.last() else {
        if is_all {
            bail!("the hub {hub} holds no set of this laptop. Run `berth backup` first.");
        }
        bail!(
            "the hub {hub} holds no set of this laptop that can be read. Run `berth backup` for a new one."
        );
    };
    match set {
        SetName::Number(wanted) => bail!(
            "the hub {hub} holds no set {wanted}{readable}; the newest is {newest}. `berth sets` shows all."
        ),
        SetName::Latest => bail!(
            "the hub {hub} holds no complete set{readable}. The newest partial one is {newest}: name it by its number."
        ),
    }
}

fn set_number(snapshot: &Snapshot) -> Option<u64> {
    snapshot
        .tags
        .iter()
        .find_map(|tag| tag.strip_prefix("set:")?.parse().ok())
}

/// Tells how a restore goes: a terminal on one line, a script in events, a log now and then.
struct Teller {
    began: Time,
    json: bool,
    bar: ProgressBar,
    told: Mutex<Duration>,
}

impl Teller {
    fn new(began: Time, json: bool) -> Self {
        let bar = if json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner() // on standard error, if that is a terminal
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            began,
            json,
            bar,
            told: Mutex::default(),
        }
    }

    fn say(&self, what: &'static str) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    fn tell(&self, progress: Progress, seen: &Seen) {
        let every = match (self.json, self.bar.is_hidden()) {
            (true, _) => TELL_SCRIPT_EVERY,
            (false, false) => TELL_TERMINAL_EVERY,
            (false, true) => TELL_LOG_EVERY,
        };
        let now = clock::now().saturating_sub(self.began);
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if now < *told + every {
                return;
            }
            *told = now;
        }
        let read = seen.bytes();
        // Whoever does not listen any more is left in peace.
        if self.json {
            let event = json!({
                "event": "progress", "files": progress.files, "bytes": progress.bytes, "bytes_read": read,
                "seconds": now.as_secs_f64(),
            });
            let _ = writeln!(io::stdout(), "{event}");
            return;
        }
        let rate = (read as f64 / now.as_secs_f64().max(0.001)) as u64;
        let text = format!(
            "Restored {} files, {}; {} read, {}/s",
            HumanCount(progress.files),
            bytes(progress.bytes),
            bytes(read),
            bytes(rate)
        );
        if self.bar.is_hidden() {
            let _ = writeln!(io::stderr(), "{text}");
        } else {
            self.bar.set_message(text);
            self.bar.tick();
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
