//! `berth agent`: waits for the hub and backs up whenever it is near.
//!
//! Invariant: while it waits it does nothing. What wakes it is a beacon, a request at its socket, a signal, and a few
//! times a day the question whether a backup is overdue.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use berth_agent::{Leave, PAUSE_MAX, Presence, Report};
use berth_pairing::{BeaconKey, Sighting};
use berth_radio::{Command, Event, Radio, Time};
use rand_core::OsRng;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Options;
use crate::control::{self, Server};
use crate::hands::Hands;
use crate::notify::{Notice, Notifier};
use crate::orders::Orders;
use crate::visit::{self, End, Job};
use crate::{Outcome, backup, clock, out, overdue, place, priority};

/// How often a waiting agent asks itself whether a backup is overdue: four times a day.
const OVERDUE_EVERY: Duration = Duration::from_secs(6 * 3600);

/// What makes glibc give back what a visit has used: 35 MB stay without it, 15 MB with it.
const FRUGAL: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];

/// Becomes the same program with frugal memory: the system's allocator looks at this only when a process begins.
fn be_frugal() {
    use std::os::unix::process::CommandExt;
    if FRUGAL.iter().any(|(name, _)| std::env::var_os(name).is_none())
        && let Ok(program) = std::env::current_exe()
    {
        let mut same = std::process::Command::new(program);
        // It comes back only where it failed: then the agent works as it is.
        let _ = same.args(std::env::args_os().skip(1)).envs(FRUGAL).exec();
    }
}

/// What the radios tell of their work: which way into a group was taken, why, and how long it took.
fn log(options: &Options) {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    if options.json {
        log.json().flatten_event(true).init();
    } else {
        log.init();
    }
}

pub(crate) fn run(options: &Options) -> Result<Outcome> {
    be_frugal();
    log(options);
    let hands = Hands::take_as_agent(options)?;
    let orders = Arc::new(Orders::default());
    on_signals(&orders)?;
    let server = Server::start(&hands.state.folder, control::AGENT, &orders)?;
    let mut agent = Agent {
        options,
        orders,
        presence: Presence::default(),
        notifier: Notifier::start(),
        report: Report::new(options.json, out()),
        overdue_at: clock::now(),
    };
    agent
        .report
        .tell("ready", json!({}), "The agent waits for the hub.");
    let done = agent.serve(hands);
    drop(server);
    agent.notifier.finish();
    done.map(|()| Outcome::Done)
}

struct Agent<'a> {
    options: &'a Options,
    orders: Arc<Orders>,
    presence: Presence,
    notifier: Notifier,
    report: Report,
    overdue_at: Time,
}

/// Why the radio is no longer waited for.
enum Woken {
    Visit(Option<Event>),
    StepAside,
    Stop,
}

impl Agent<'_> {
    fn serve(&mut self, hands: Hands) -> Result<()> {
        let mut hands = hands;
        loop {
            self.orders.attach(hands.radio.waker());
            if !hands.is_via() {
                hands.radio.command(Command::Scan);
            }
            match self.wait(&mut hands) {
                Woken::Stop => return Ok(()),
                Woken::Visit(sighting) => self.visit(&mut hands, sighting),
                Woken::StepAside => {
                    drop(hands);
                    if !self.orders.step_aside() {
                        return Ok(());
                    }
                    match self.take_back()? {
                        Some(taken) => hands = taken,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    fn wait(&mut self, hands: &mut Hands) -> Woken {
        loop {
            if self.orders.is_stopping() {
                return Woken::Stop;
            }
            if self.orders.is_pausing() {
                return Woken::StepAside;
            }
            let now = hands.radio.now();
            if now >= self.overdue_at {
                self.overdue_at = now + OVERDUE_EVERY;
                if let Some(days) = overdue::days(hands) {
                    self.notifier.tell(Notice::Overdue { days });
                }
            }
            let is_paired = hands.state.trust.peers().next().is_some();
            let due_at = (hands.is_via() && is_paired).then(|| self.presence.due_at());
            if due_at.is_some_and(|at| now >= at) {
                return Woken::Visit(None);
            }
            let deadline = due_at.map_or(self.overdue_at, |at| at.min(self.overdue_at));
            match hands.radio.event(deadline) {
                Some(sighting @ Event::Sighted { .. }) => {
                    if is_of_ours(hands, &sighting) && self.presence.heard(hands.radio.now()) {
                        return Woken::Visit(Some(sighting));
                    }
                }
                Some(Event::AdapterBack) => hands.radio.command(Command::Scan),
                Some(Event::AdapterGone) => {
                    self.report.tell(
                        "no_radio",
                        json!({}),
                        "The radio is gone; waiting for it to come back.",
                    );
                }
                // Late answers to what a visit has given up.
                Some(_) | None => {}
            }
        }
    }

    fn visit(&mut self, hands: &mut Hands, sighting: Option<Event>) {
        let began = hands.radio.now();
        let leave = Leave::new(hands.radio.waker());
        self.orders.begins(&leave, began);
        let visited = self.back_up(hands, sighting, &leave);
        let now = hands.radio.now();
        let mut is_interrupted = false;
        let (is_done, ended, line) = match visited {
            Ok(visited) => {
                for note in &visited.notes {
                    self.report.tell("note", json!({ "note": note }), note);
                }
                self.notifier.ended(&visited);
                let is_done = matches!(visited.end, End::Complete(_) | End::Left);
                is_interrupted = matches!(visited.end, End::Left) && self.orders.is_pausing();
                (is_done, backup::ended(&visited), backup::words(&visited))
            }
            Err(error) => {
                let line = format!("{error:#}");
                (
                    false,
                    json!({ "kind": "failed", "why": line, "words": line }),
                    line,
                )
            }
        };
        if is_interrupted {
            self.presence.interrupted(now);
        } else {
            let interval = hands.settings.interval();
            self.presence.ended(began, now, is_done, interval, &mut OsRng);
        }
        let mut fields = ended.clone();
        if let Some(fields) = fields.as_object_mut() {
            fields.remove("words");
        }
        self.orders.ended(ended, self.presence.failures());
        self.report.tell("visit", fields, &line);
        self.overdue_at = self.overdue_at.min(now);
    }

    fn back_up(
        &mut self,
        hands: &mut Hands,
        sighting: Option<Event>,
        leave: &Leave,
    ) -> Result<visit::Visited> {
        // They may have changed since the last visit.
        hands.settings = place::settings(&hands.state.folder)?;
        let job = Job {
            roots: place::roots(&hands.settings)?,
            priority: priority::idle(),
            sighting,
        };
        let (orders, notifier) = (Arc::clone(&self.orders), &mut self.notifier);
        let report = &mut self.report;
        let mut has_begun = false;
        visit::run(hands, job, leave, &mut |now, progress| {
            if !std::mem::replace(&mut has_begun, true) {
                report.tell("visiting", json!({}), "A hub is here: backing up.");
            }
            orders.progress(now, progress);
            notifier.progress(now, progress);
        })
    }

    /// Takes folder and radio back, however long that takes. `None`: all is to end.
    fn take_back(&mut self) -> Result<Option<Hands>> {
        let mut pause = Duration::from_secs(1);
        loop {
            match Hands::take_as_agent(self.options) {
                Ok(hands) => return Ok(Some(hands)),
                Err(error) => {
                    let line = format!("{error:#}");
                    self.report.tell("waiting", json!({ "why": line }), &line);
                }
            }
            self.orders.wait(pause);
            pause = (pause * 2).min(PAUSE_MAX);
            if self.orders.is_stopping() {
                return Ok(None);
            }
            if self.orders.is_pausing() && !self.orders.step_aside() {
                return Ok(None);
            }
        }
    }
}

/// Whether one of the hubs that this laptop is paired with was heard. It has proved nothing yet.
fn is_of_ours(hands: &Hands, event: &Event) -> bool {
    let Event::Sighted { beacon, .. } = event else {
        return false;
    };
    let keys: Vec<&BeaconKey> = hands
        .state
        .trust
        .peers()
        .filter_map(|hub| hub.beacon.as_ref())
        .collect();
    Sighting::of(beacon).is_some_and(|sighting| sighting.recognise(keys).is_some())
}

fn on_signals(orders: &Arc<Orders>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let orders = Arc::clone(orders);
    std::thread::Builder::new()
        .name("berth-signals".to_owned())
        .spawn(move || signals.forever().for_each(|_| orders.stop()))
        .map_err(|error| anyhow!("no thread for signals: {error}"))?;
    Ok(())
}
