//! `berth backup`: one visit, shown to the person who typed it; or the agent's, if one is under way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use berth_agent::{Leave, Report, bytes};
use berth_radio::{Radio, Time};
use indicatif::HumanCount;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Options;
use crate::control::{self, Server};
use crate::hands::Hands;
use crate::orders::Orders;
use crate::visit::{self, End, Job, Visited};
use crate::{Outcome, clock, out, place, priority};

/// Files that are named to a person; `--json` names all.
const SHOWN_MAX: usize = 20;

/// Whoever follows the visit of another program is told this often.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// While nobody has answered.
pub(crate) const LOOKING: &str = "Looking for the hub ...";

/// Exit code of a process that a second Ctrl-C ended, as a shell has it.
const INTERRUPTED: i32 = 130;

pub(crate) fn run(options: &Options, paths: &[PathBuf]) -> Result<Outcome> {
    let mut report = Report::new(options.json, out());
    if paths.is_empty()
        && let Some(outcome) = follow(options, &mut report)?
    {
        return Ok(outcome);
    }
    let roots = roots(options, paths)?;
    let mut hands = Hands::take(options)?;
    let leave = Leave::new(hands.radio.waker());
    on_signals(&leave)?;
    let orders = Arc::new(Orders::once());
    orders.attach(hands.radio.waker());
    orders.begins(&leave, hands.radio.now());
    let server = Server::start(&hands.state.folder, control::BACKUP, &orders)?;
    if hands.settings.folders.is_empty() && paths.is_empty() {
        report.note(&format!("Backing up {}.", roots[0].display()));
    }
    let job = Job {
        roots,
        priority: priority::normal(),
        sighting: None,
    };
    if !hands.is_via() {
        report.note(LOOKING);
    }
    let (mut has_begun, mut is_leaving) = (false, false);
    let visited = visit::run(&mut hands, job, &leave, &mut |now, progress| {
        if !std::mem::replace(&mut has_begun, true) {
            report.begin(now);
        }
        if !leave.is_asked() {
            report.progress(now, progress);
        } else if !std::mem::replace(&mut is_leaving, true) {
            report.note("Leaving: what has arrived is made restorable first. Ctrl-C again ends at once.");
        }
        orders.progress(now, progress);
    });
    let visited = visited.inspect_err(|_| orders.ended(json!({ "kind": "failed" }), 0))?;
    orders.ended(ended(&visited), 0);
    drop(server);
    tell(&mut report, &visited)
}

/// What followers of the visit are told at its end.
pub(crate) fn ended(visited: &Visited) -> Value {
    let mut ended = visited.summary().unwrap_or_else(|| json!({ "kind": "failed" }));
    // It could be longer than a line of the control socket.
    if let Some(not_read) = ended.get_mut("not_read").and_then(Value::as_array_mut) {
        not_read.truncate(SHOWN_MAX);
    }
    if let End::Full(why) | End::Failed(why) = &visited.end {
        ended["why"] = why.as_str().into();
    }
    ended["words"] = words(visited).into();
    ended["steps"] = visited.steps.json();
    ended["not_read_count"] = match &visited.end {
        End::Complete(summary) => summary.not_read_count.into(),
        End::Left | End::Cut | End::Full(_) | End::Failed(_) => 0.into(),
    };
    ended
}

/// One line for a person.
pub(crate) fn words(visited: &Visited) -> String {
    let progress = &visited.progress;
    let safe = || {
        let restorable = match progress.bytes_restorable {
            all if all == progress.bytes_acknowledged => "all".to_owned(),
            restorable => bytes(restorable),
        };
        format!(
            "{} of {} are safe on the hub, {restorable} of them restorable at once",
            bytes(progress.bytes_acknowledged),
            bytes(progress.bytes_changed)
        )
    };
    match &visited.end {
        End::Complete(summary) => {
            let not_read = match summary.not_read_count {
                0 => String::new(),
                count => format!(" ({} could not be read as they should be)", HumanCount(count)),
            };
            let hub = visited.hub.as_ref().map_or("the hub", |hub| hub.name.as_str());
            format!(
                "Set {} on {hub} is complete: {} files, {}{not_read}; {} sent in {:.1} s. You may go.",
                summary.set,
                HumanCount(summary.files),
                bytes(summary.bytes_scanned),
                bytes(visited.bytes_sent),
                visited.took.as_secs_f64(),
            )
        }
        End::Left if progress.set.is_none() => "Left before a backup had begun. You may go.".to_owned(),
        End::Left => format!("Left: {}. You may go; the next visit goes on from here.", safe()),
        End::Cut => format!("The link was cut: {}. Come back, and the backup goes on.", safe()),
        End::Full(why) | End::Failed(why) => why.clone(),
    }
}

fn tell(report: &mut Report, visited: &Visited) -> Result<Outcome> {
    for note in &visited.notes {
        report.tell("note", json!({ "note": note }), note);
    }
    let not_read = match &visited.end {
        End::Complete(summary) => summary.not_read.as_slice(),
        End::Left | End::Cut | End::Full(_) | End::Failed(_) => &[],
    };
    for entry in not_read.iter().take(SHOWN_MAX) {
        report.note(&format!("  {}: {}", entry.path.display(), entry.why));
    }
    let line = words(visited);
    if let Some(summary) = visited.summary() {
        report.tell("summary", summary, &line);
    }
    match &visited.end {
        End::Complete(summary) if summary.not_read_count > 0 => Ok(Outcome::SomeNotRead),
        End::Complete(_) => Ok(Outcome::Done),
        End::Left | End::Cut if visited.progress.set.is_some() => Ok(Outcome::NotAll),
        End::Left | End::Cut | End::Full(_) | End::Failed(_) => Err(anyhow!(line)),
    }
}

/// Shows the visit that is under way, if there is one.
fn follow(options: &Options, report: &mut Report) -> Result<Option<Outcome>> {
    let folder = place::folder(options)?;
    let Some(mut asked) = control::ask_visitor(&folder, "follow")? else {
        return Ok(None);
    };
    asked.be_patient()?;
    let (mut has_begun, mut told_at) = (false, Time::ZERO);
    while let Some(answer) = asked.next()? {
        if answer.get("idle").is_some() {
            return Ok(None);
        }
        if !std::mem::replace(&mut has_begun, true) {
            report.note("A backup is under way already; this is how it goes. `berth leave` ends it, Ctrl-C only this view.");
        }
        let words = |value: &Value| {
            value
                .get("words")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        if let Some(progress) = answer
            .get("progress")
            .filter(|progress| progress.is_object() && clock::now() >= told_at + TELL_EVERY)
        {
            told_at = clock::now();
            report.tell(
                "progress",
                without_words(progress),
                &format!("  {}", words(progress)),
            );
        }
        if let Some(ended) = answer.get("ended") {
            let is_complete = ended.get("kind").and_then(Value::as_str) == Some("complete");
            let has_not_read = ended.get("not_read_count").and_then(Value::as_u64).unwrap_or(0) > 0;
            if ended.get("set").is_some() {
                report.tell("summary", without_words(ended), &words(ended));
            }
            return match (is_complete, has_not_read) {
                (true, false) => Ok(Some(Outcome::Done)),
                (true, true) => Ok(Some(Outcome::SomeNotRead)),
                (false, _) if ended.get("set").is_some() => Ok(Some(Outcome::NotAll)),
                (false, _) => Err(anyhow!(words(ended))),
            };
        }
    }
    bail!("the program whose visit this is ended; see `berth status`")
}

fn without_words(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("words");
        fields.remove("not_read_count");
    }
    value
}

fn roots(options: &Options, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if paths.is_empty() {
        return place::roots(&place::settings(&place::folder(options)?)?);
    }
    Ok(paths.iter().map(|path| place::whole(path)).collect())
}

/// The first signal ends the visit with a checkpoint and goodbye, the second one the process.
pub(crate) fn on_signals(leave: &Leave) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let leave = leave.clone();
    std::thread::Builder::new()
        .name("berth-signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                if leave.is_asked() {
                    std::process::exit(INTERRUPTED);
                }
                leave.ask();
            }
        })?;
    Ok(())
}
