//! `berth ls`, `cat` and `restore`: reading back what a hub holds.
//!
//! Place: arguments -> [`Hands`] -> [`read_back`] -> standard output or a folder.
//! Invariant: standard output has what was asked for and nothing else; whoever stops listening is left in peace.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use berth_agent::{Leave, Left, Seen, bytes, read_back, wrapped};
use berth_radio::{Radio, Time};
use berth_restore::{Depth, Existing, LeftOut, Progress, Report, Repository, RestoreError, Trouble};
use berth_session::Goal;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::args::Options;
use crate::backup::{LOOKING, on_signals};
use crate::from::{self, FromUpstream};
use crate::hands::Hands;
use crate::reading_names::{line, object, put_path, shown};
use crate::set_name::{SetName, set_number, snapshot};
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
    /// A set's number, `latest` (the newest complete one), or the first 8 or more digits of a snapshot's id.
    pub(crate) set: SetName,
    /// Only what is at or below this path.
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) from: FromUpstream,
}

/// What `cat` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// A set's number, `latest` (the newest complete one), or the first 8 or more digits of a snapshot's id.
    pub(crate) set: SetName,
    /// A file, by its full path.
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) from: FromUpstream,
}

/// What `restore` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// A set's number, `latest` (the newest complete one), or the first 8 or more digits of a snapshot's id.
    pub(crate) set: SetName,
    /// Files and folders, by their full paths [default: everything].
    pub(crate) path: Vec<PathBuf>,
    /// Put them below this folder by their full paths. It is made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Replace files that are there and differ. Without it they stay, and are named.
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) from: FromUpstream,
}

/// What to do where the hub has removed what was asked for, and has not found it upstream.
const UPSTREAM_ONLY: &str = "The hub does not hold all of this set any more, as it needed room, and has not found the rest \
    upstream. Try the upstream itself: `--from URL`, with the recovery key.";

/// Runs `work` with what the upstream holds that is named, or else a hub that is met.
fn read<T: Send>(
    options: &Options,
    from: &FromUpstream,
    work: impl FnOnce(&Repository, &Seen) -> Result<T> + Send,
) -> Result<T> {
    match &from.from {
        Some(url) => from::read(url, from.credentials.as_deref(), work),
        None => read_hub(options, work),
    }
}

/// Meets a hub, and runs `work` with what it holds of this laptop.
fn read_hub<T: Send>(
    options: &Options,
    work: impl FnOnce(&Repository, &Seen) -> Result<T> + Send,
) -> Result<T> {
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
                Err(error) => return (Err(error.into()), Vec::new(), not_there(&seen)),
            };
            let worked = work(&opened, &seen);
            (worked, opened.left_out(), not_there(&seen))
        },
    );
    let (worked, left_out, not_there) =
        worked.map_err(|_| anyhow!("reading failed in a way that it never should"))?;
    warn_of(&left_out);
    if let Some(advice) = &not_there
        && worked.is_ok()
    {
        let _ = writeln!(io::stderr(), "{advice}");
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
            let advice = match (&error, &not_there) {
                (RestoreError::Unreadable { .. }, Some(advice)) => advice,
                (error, _) => error.advice(),
            };
            anyhow!("{:#}. {advice}", anyhow::Error::new(error))
        }
        Err(error) => error,
    })
}

/// What to do where something was removed on the hub and did not come from the upstream.
fn not_there(seen: &Seen) -> Option<String> {
    let away = seen.unavailable().map(|why| {
        format!(
            "The hub does not hold all of this set any more, and can't read the rest upstream now: {why}. Do the same again \
             when it can: it goes on where it stopped."
        )
    });
    away.or_else(|| seen.reclaimed().then(|| UPSTREAM_ONLY.to_owned()))
}

/// Names what the place holds damaged.
pub(crate) fn warn_of(left_out: &[LeftOut]) {
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
    read(options, &args.from, |repository, seen| {
        let (snapshot, outcome) = snapshot(repository, &args.set, seen)?;
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
        let advice = if repository.left_out().is_empty() && not_there(seen).is_none() {
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
    read(options, &args.from, |repository, seen| {
        let (snapshot, outcome) = snapshot(repository, &args.set, seen)?;
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
    let restored = read(options, &args.from, |repository, seen| {
        let (snapshot, outcome) = snapshot(repository, &args.set, seen)?;
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
        "Restored {} files, {}, to {} in {seconds:.1} s; {} read.",
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
