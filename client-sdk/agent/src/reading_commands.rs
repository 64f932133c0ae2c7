//! `berth ls`, `cat` and `restore`: reading back what a hub holds.
//!
//! Place: arguments -> [`Hands`] -> [`read_back`] -> standard output or a folder.
//! Invariant: standard output has what was asked for and nothing else; whoever stops listening is left in peace.

use std::collections::BTreeSet;
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
use crate::from::{self, FromUpstream};
use crate::hands::Hands;
use crate::reading_names::{line, object, put_path, shown, when};
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

/// Which set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetName {
    /// The newest complete one.
    Latest,
    /// This one.
    Number(u64),
    /// That of the snapshot whose id begins so: as restic names them, and as no number of a set is written.
    Snapshot(String),
}

/// Digits of an id that restic shows.
const SNAPSHOT_DIGITS_MIN: usize = 8;

impl FromStr for SetName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = (SNAPSHOT_DIGITS_MIN..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text {
            "latest" => Ok(Self::Latest),
            id if is_id => Ok(Self::Snapshot(id.to_ascii_lowercase())),
            number => number
                .parse()
                .map(Self::Number)
                .map_err(|_| "a set is a number, `latest`, or a snapshot's id; `berth sets` shows all"),
        }
    }
}

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

/// The snapshot of a set: that of the hub that is read from, where other hubs' sets of this number are there too. And
/// [`Outcome::SomeNotRead`] where one that can't be read may be what was asked for.
fn snapshot(repository: &Repository, set: &SetName, seen: &Seen) -> Result<(Snapshot, Outcome)> {
    let snapshots = repository.snapshots()?;
    let left_out = repository.left_out();
    let is_all = !left_out.iter().any(|object| object.kind == ObjectKind::Snapshot);
    let (found, is_certain) = match seen.hub() {
        Some(hub) => of_hub(&snapshots, set, hub, is_all)?,
        None => of_upstream(&snapshots, set, is_all)?,
    };
    if is_certain {
        return Ok((found.clone(), Outcome::Done));
    }
    let _ = writeln!(
        io::stderr(),
        "took {}; the one asked for may be among those that can't be read",
        set_number(found).map_or_else(
            || format!("snapshot {:?}", found.id),
            |number| format!("set {number}")
        )
    );
    Ok((found.clone(), Outcome::SomeNotRead))
}

/// The snapshots that Berth made, with the numbers of their sets.
fn numbered(snapshots: &[Snapshot]) -> Vec<(u64, &Snapshot)> {
    let numbered = snapshots.iter();
    numbered
        .filter_map(|snapshot| Some((set_number(snapshot)?, snapshot)))
        .collect()
}

fn is_complete(snapshot: &Snapshot) -> bool {
    snapshot.tags.iter().any(|tag| tag == "complete")
}

/// The one snapshot whose id begins so.
fn by_id<'a>(snapshots: &'a [Snapshot], digits: &str) -> Result<&'a Snapshot> {
    let mut found = snapshots
        .iter()
        .filter(|snapshot| snapshot.id.to_string().starts_with(digits));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => bail!("more than one snapshot's id begins with {digits}: give more of it"),
        (None, _) => bail!("there is no snapshot {digits} that can be read"),
    }
}

/// On a hub; and whether it is certain that it is the one.
fn of_hub<'a>(
    snapshots: &'a [Snapshot],
    set: &SetName,
    hub: &str,
    is_all: bool,
) -> Result<(&'a Snapshot, bool)> {
    let mut sets = numbered(snapshots);
    let of_hub = format!("hub:{hub}");
    let has_own = sets.iter().any(|(_, snapshot)| snapshot.tags.contains(&of_hub));
    if has_own {
        sets.retain(|(_, snapshot)| snapshot.tags.contains(&of_hub));
    }
    sets.sort_by_key(|(number, snapshot)| (*number, snapshot.time));
    let (found, is_certain) = match set {
        SetName::Snapshot(digits) => return Ok((by_id(snapshots, digits)?, true)),
        SetName::Number(wanted) => {
            let found = sets.iter().rfind(|(number, _)| number == wanted);
            (found, is_all || has_own)
        }
        SetName::Latest => (sets.iter().rfind(|(_, snapshot)| is_complete(snapshot)), is_all),
    };
    if let Some((_, snapshot)) = found {
        return Ok((snapshot, is_certain));
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
        SetName::Latest | SetName::Snapshot(_) => bail!(
            "the hub {hub} holds no complete set{readable}. The newest partial one is {newest}: name it by its number."
        ),
    }
}

/// Upstream, where the sets of several hubs may have one number; and whether it is certain that it is the one.
fn of_upstream<'a>(snapshots: &'a [Snapshot], set: &SetName, is_all: bool) -> Result<(&'a Snapshot, bool)> {
    // The newest is the last.
    let sets = numbered(snapshots);
    let readable = if is_all { "" } else { " that can be read" };
    let found: Vec<&Snapshot> = match set {
        SetName::Snapshot(digits) => return Ok((by_id(snapshots, digits)?, true)),
        SetName::Latest => {
            let complete = sets.iter().rfind(|(_, snapshot)| is_complete(snapshot));
            complete.map(|(_, snapshot)| *snapshot).into_iter().collect()
        }
        SetName::Number(wanted) => {
            let same = sets.iter().filter(|(number, _)| number == wanted);
            same.map(|(_, snapshot)| *snapshot).collect()
        }
    };
    let Some(newest) = found.last() else {
        let there = match (set, sets.last()) {
            (_, None) => "nor any other set that Berth made".to_owned(),
            (SetName::Latest, Some((newest, _))) => {
                format!("the newest partial one is {newest}: name it by its number")
            }
            (_, Some((newest, _))) => format!("the newest is {newest}"),
        };
        match set {
            SetName::Number(wanted) => bail!("there is no set {wanted}{readable}; {there}"),
            SetName::Latest | SetName::Snapshot(_) => bail!("there is no complete set{readable}; {there}"),
        }
    };
    let hubs: BTreeSet<&str> = found.iter().map(|snapshot| hub_of(snapshot)).collect();
    if hubs.len() > 1 {
        let all: Vec<String> = found
            .iter()
            .map(|one| format!("{:?} of the hub {} of {}", one.id, hub_of(one), when(one.time)))
            .collect();
        bail!(
            "several hubs have a set of this number; name one by its id: {}",
            all.join(", ")
        );
    }
    Ok((newest, is_all))
}

fn hub_of(snapshot: &Snapshot) -> &str {
    let mut hubs = snapshot.tags.iter().filter_map(|tag| tag.strip_prefix("hub:"));
    hubs.next().unwrap_or("?")
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

#[cfg(test)]
mod tests {
    use berth_repository::Id;
    use berth_restore::Time;

    use super::*;

    fn made(at: i64, tags: &[&str]) -> Snapshot {
        Snapshot {
            id: Id::of(&at.to_le_bytes()),
            time: Time {
                seconds: at,
                nanoseconds: 0,
            },
            tree: Id::of(b""),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            hostname: "laptop".to_owned(),
            username: String::new(),
            paths: Vec::new(),
        }
    }

    #[test]
    fn upstream_the_latest_is_the_newest_complete_set_of_any_hub() {
        let all = [
            made(1, &["complete", "hub:desk", "set:9"]),
            made(2, &["complete", "hub:office", "set:2"]),
            made(3, &["partial", "hub:office", "set:3"]),
            made(4, &["complete"]),
        ];
        let (found, is_certain) = of_upstream(&all, &SetName::Latest, true).unwrap();
        assert!(is_certain && found.id == all[1].id);
        let (found, _) = of_upstream(&all, &SetName::Number(3), true).unwrap();
        assert_eq!(found.id, all[2].id);
        let none = of_upstream(&all, &SetName::Number(7), true).unwrap_err();
        assert_eq!(none.to_string(), "there is no set 7; the newest is 3");
    }

    #[test]
    fn a_number_that_several_hubs_gave_is_not_guessed() {
        let all = [
            made(1, &["complete", "hub:desk", "set:2"]),
            made(2, &["complete", "hub:office", "set:2"]),
        ];
        let said = of_upstream(&all, &SetName::Number(2), true)
            .unwrap_err()
            .to_string();
        assert_eq!(said.lines().count(), 1);
        for one in &all {
            let digits = format!("{:?}", one.id);
            assert!(said.contains(&digits), "{said}");
            let (found, _) = of_upstream(&all, &digits.parse().unwrap(), true).unwrap();
            assert_eq!(found.id, one.id);
        }
    }

    #[test]
    fn a_set_is_named_by_a_number_a_word_or_an_id() {
        assert_eq!("latest".parse(), Ok(SetName::Latest));
        assert_eq!("1234567".parse(), Ok(SetName::Number(1_234_567)));
        assert_eq!("12345678".parse(), Ok(SetName::Snapshot("12345678".to_owned())));
        assert_eq!("ABCDEF01".parse(), Ok(SetName::Snapshot("abcdef01".to_owned())));
        for text in ["", "abc", "newest", "-1"] {
            assert!(text.parse::<SetName>().is_err(), "{text}");
        }
    }
}
