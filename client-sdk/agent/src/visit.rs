//! One visit of the agent or of a typed `berth backup`: what goes into it, and what is kept of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use berth_agent::{
    Begin, Errand, HubRecord, LaptopKeys, Leave, Left, Steps, VisitEnd, VisitThread, Visiting, Watched,
};
use berth_client_sdk::{
    LookBack, OsSource, Progress, Rules, SealStage, Summary, Visit, VisitError, VisitOptions,
};
use berth_disk::SharedDisk;
use berth_pairing::Peer;
use berth_radio::{Event, Radio, Time};
use berth_session::{Goal, LaptopEnd};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};
use tracing::info;

use crate::hands::Hands;
use crate::priority::Prepare;
use crate::{clock, full};

/// Clocks of a laptop and a hub may be so far apart without a word: they are set by hand, or drift while off.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(600);

/// What a visit backs up, and how.
pub(crate) struct Job {
    /// Absolute.
    pub(crate) roots: Vec<PathBuf>,
    /// Of the threads that scan and chunk.
    pub(crate) priority: Prepare,
    /// Where a hub was just heard.
    pub(crate) sighting: Option<Event>,
}

/// How a visit ended.
pub(crate) struct Visited {
    /// With whom, if there was one.
    pub(crate) hub: Option<Peer>,
    pub(crate) end: End,
    pub(crate) progress: Progress,
    pub(crate) bytes_sent: u64,
    pub(crate) took: Duration,
    /// How long it took to begin.
    pub(crate) steps: Steps,
    /// What the person should know besides.
    pub(crate) notes: Vec<String>,
    /// What the hub was found to have lost, in words.
    pub(crate) trouble: Option<String>,
}

pub(crate) enum End {
    Complete(Box<Summary>),
    /// The person left.
    Left,
    /// The link went.
    Cut,
    /// The hub takes no backup now: why, and what to do.
    Full(String),
    /// Why, and what to do.
    Failed(String),
}

/// What is backed up is left out of nothing but these.
fn rules(hands: &Hands) -> Rules {
    Rules {
        patterns: hands.settings.exclude.clone(),
        paths: vec![hands.state.folder.clone()],
        skip_caches: true,
        one_file_system: true,
    }
}

/// Visits a hub and keeps what came of it. `watch` is told where it is.
pub(crate) fn run(
    hands: &mut Hands,
    job: Job,
    leave: &Leave,
    watch: &mut dyn FnMut(Time, &Progress),
) -> Result<Visited> {
    let hubs = hands.hubs()?;
    if !job.roots.iter().any(|root| root.exists()) {
        let roots: Vec<String> = job.roots.iter().map(|root| root.display().to_string()).collect();
        bail!(
            "nothing to back up, these are not there: {}; see `berth folders list`",
            roots.join(", ")
        );
    }
    let met: Arc<Mutex<Option<Peer>>> = Arc::default();
    let begin = begin(hands, &job, &met);
    let missing = job.roots.iter().filter(|root| !root.exists());
    let notes = missing.map(|root| format!("{} is not there: it is not in this set.", root.display()));
    let mut keeper = Keeper {
        disk: Arc::clone(&hands.state.disk),
        met,
        record: None,
        steps: Steps::default(),
        notes: notes.collect(),
    };
    let began = hands.radio.now();
    info!("visit begins");
    let mut linked = None;
    let left = hands.session(
        Goal::Visit { hubs },
        job.sighting,
        Some(begin),
        leave,
        &mut |now, watched: &mut Watched<'_>| {
            if let Some(step) = watched.step() {
                keeper.steps.reached(step, now.saturating_sub(began));
            }
            if let Some(progress) = watched.progress() {
                linked.get_or_insert(now);
                keeper.look(progress);
                watch(now, progress);
            }
        },
    )?;
    let took = hands.radio.now().saturating_sub(linked.unwrap_or(began));
    Ok(keeper.close(left, took, leave))
}

fn begin(hands: &Hands, job: &Job, met: &Arc<Mutex<Option<Peer>>>) -> Begin {
    let (disk, repository) = (Arc::clone(&hands.state.disk), Arc::clone(&hands.state.repository));
    let (identity, laptop_name) = (Arc::clone(&hands.state.identity), hands.name.to_string());
    let (roots, rules, met) = (job.roots.clone(), rules(hands), Arc::clone(met));
    let thread = VisitThread {
        clock: Arc::new(clock::now),
        wake: hands.radio.waker(),
        prepare: Arc::clone(&job.priority),
    };
    Box::new(move |hub| {
        *met.lock().unwrap_or_else(PoisonError::into_inner) = Some(hub.clone());
        let (mut seed, mut look_seed) = ([0; 32], [0; 32]);
        OsRng.fill_bytes(&mut seed);
        OsRng.fill_bytes(&mut look_seed);
        let options = VisitOptions {
            laptop: identity.device().0,
            hub: hub.device.0,
            laptop_name,
            hub_name: hub.name.to_string(),
            user_name: std::env::var("USER").unwrap_or_default(),
            roots,
            rules,
            wall_clock_ns: clock::wall_ns(),
            seed,
        };
        let keys = LaptopKeys {
            laptop: identity,
            hub: hub.device,
        };
        let look_back = LookBack::new(
            Arc::clone(&disk),
            hub.device.0,
            Arc::clone(&repository),
            Box::new(keys.clone()),
            look_seed,
        );
        let visiting = Visiting::start(&thread, move || {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let source = Box::new(OsSource::new());
            Visit::new(
                disk,
                source,
                repository,
                Box::new(keys),
                SealStage::pool(threads),
                options,
            )
        })?;
        Ok(Errand::from(visiting).looking_back(look_back))
    })
}

/// Keeps what the hub says, as soon as it says it: a process that is killed later loses nothing of it.
struct Keeper {
    disk: SharedDisk,
    met: Arc<Mutex<Option<Peer>>>,
    record: Option<HubRecord>,
    steps: Steps,
    notes: Vec<String>,
}

impl Keeper {
    fn hub(&self) -> Option<Peer> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&mut self, progress: &Progress) {
        if progress.set.is_some() && self.record.is_none() {
            self.welcomed(progress);
        }
    }

    fn welcomed(&mut self, progress: &Progress) {
        let Some(hub) = self.hub() else { return };
        let mut record = match HubRecord::read(&*self.disk, &hub.device.0) {
            Ok((record, false)) => record,
            Ok((record, true)) => {
                self.notes.push(
                    "What was kept of this hub's sets was damaged; it is set aside in `visits`, and the hub tells again."
                        .to_owned(),
                );
                record
            }
            Err(error) => return self.not_kept(&error),
        };
        if progress.rebuilt {
            self.notes.push(format!(
                "What this laptop remembered of {} did not fit what the hub holds (was the state folder restored from a \
                 backup?): it was dropped and rebuilt from the hub's index.",
                hub.name
            ));
        }
        record.welcomed(hub.name.as_str(), progress, clock::wall_ns());
        self.write(&record);
        self.record = Some(record);
    }

    fn write(&mut self, record: &HubRecord) {
        if let Err(error) = record.write(&*self.disk) {
            self.not_kept(&error);
        }
    }

    /// The backup goes on: what is on the hub does not depend on it.
    fn not_kept(&mut self, error: &std::io::Error) {
        let note = format!(
            "`berth status` will not know of this visit: its record could not be written ({error}). Look at the disk."
        );
        // The welcome and the end meet the same disk.
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn close(mut self, left: Left, took: Duration, leave: &Leave) -> Visited {
        let progress = left.ended.progress.map(|progress| *progress).unwrap_or_default();
        self.look(&progress);
        let end = match (left.ended.visit, left.ended.session) {
            (Some(Ok(summary)), _) => End::Complete(summary),
            (Some(Err(VisitError::Full(full))), _) => End::Full(full::words(&full)),
            (Some(Err(error)), _) => End::Failed(format!("{error}. {}", error.advice())),
            (None, LaptopEnd::Cut) => End::Cut,
            (None, LaptopEnd::Left) if progress.set.is_some() || leave.is_asked() => End::Left,
            (None, session) => End::Failed(format!("{session}. {}", session.advice())),
        };
        let mut trouble = None;
        if let Some(mut record) = self.record.take() {
            let (kept, summary) = match &end {
                End::Complete(summary) => (VisitEnd::Complete, Some(&**summary)),
                End::Left => (VisitEnd::Left, None),
                End::Cut => (VisitEnd::Cut, None),
                End::Full(why) | End::Failed(why) => (VisitEnd::Failed(why.clone()), None),
            };
            record.ended(&progress, kept, summary, clock::wall_ns());
            if let Some(visit) = &mut record.visit {
                visit.steps = self.steps.clone();
                visit.joined = left.joined;
            }
            if !progress.findings.is_empty() {
                trouble = record.trouble.as_ref().map(|trouble| trouble.line(&record.name));
                self.notes.extend(trouble.clone());
            }
            self.write(&record);
            let sealed_at_ns = progress.set.and_then(|set| record.sealed_at_ns(set.0));
            let apart = sealed_at_ns.and_then(|at_ns| clocks_apart(clock::wall_ns(), at_ns));
            self.notes.extend(apart);
        }
        Visited {
            hub: self.hub(),
            end,
            progress,
            bytes_sent: left.bytes_sent,
            took,
            steps: self.steps,
            notes: self.notes,
            trouble,
        }
    }
}

impl Visited {
    /// The summary of DESIGN.md, section 6. Without a set, `None`.
    pub(crate) fn summary(&self) -> Option<Value> {
        let seconds = self.took.as_secs_f64();
        let (progress, sent) = (&self.progress, self.bytes_sent);
        match &self.end {
            End::Complete(summary) => Some(json!({
                "set": summary.set.0, "kind": summary.kind, "files": summary.files,
                "bytes_scanned": summary.bytes_scanned, "bytes_sent": sent, "bytes_new": summary.bytes_new,
                "seconds": seconds,
                "not_read": summary.not_read.iter().map(|entry| json!({
                    "path": entry.path.display().to_string(), "why": entry.why.to_string(),
                })).collect::<Vec<_>>(),
            })),
            End::Left | End::Cut => progress.set.map(|set| json!({
                "set": set.0, "kind": berth_wire::SetKind::Partial, "files": progress.files_done,
                "bytes_scanned": progress.bytes_scanned, "bytes_sent": sent, "bytes_new": progress.bytes_acknowledged,
                "seconds": seconds, "not_read": [],
            })),
            End::Full(_) | End::Failed(_) => None,
        }
    }
}

/// What a person is told of two clocks that disagree; nanoseconds since 1970. Nothing depends on them but what people
/// read, and what `restic forget` keeps.
fn clocks_apart(laptop_ns: i64, hub_ns: i64) -> Option<String> {
    let apart = Duration::from_nanos(laptop_ns.abs_diff(hub_ns));
    let which = if laptop_ns > hub_ns { "ahead of" } else { "behind" };
    (apart > CLOCKS_APART_MAX).then(|| {
        format!(
            "This laptop's clock is {:.1} h {which} the hub's: set the wrong one right. Backups bear the laptop's times.",
            apart.as_secs_f64() / 3_600.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_an_hour_or_a_year_apart_are_told() {
        let hour_ns = 3_600_000_000_000;
        let told = |laptop_ns, hub_ns| clocks_apart(laptop_ns, hub_ns).unwrap_or_default();
        assert_eq!(told(0, hour_ns / 10), "");
        assert!(told(hour_ns, 0).contains("1.0 h ahead of the hub's"));
        assert!(told(0, 8_760 * hour_ns).contains("8760.0 h behind the hub's"));
        assert!(!told(i64::MIN, i64::MAX).is_empty());
    }
}
