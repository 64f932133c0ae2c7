//! `berthd`: the hub. Takes backups of paired laptops and forwards them to the upstream.
//!
//! Place: this puts together what `berth-daemon` has: a radio, a state folder, [`berth_daemon::drive`] on the main thread,
//! forwarding and the control socket on threads of their own.

mod args;
mod behind;
mod clock;
mod config;
mod control;
mod radio;
mod roll;
mod serve;
mod service;
mod since;
mod size;
mod state;
mod upstream;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use berth_bridge::{Forward, SetRecord, Spool};
use berth_daemon::{
    Beat, ByItself, Clock, ForwardNews, Forwarded, Forwarding, ForwardingParts, Hub, HubEvent, HubParts,
    OpenUpstream, Orders, Program, StoreThreads, Stores, drive,
};
use berth_doctor::Side;
use berth_net::{RadioSpec, endpoints};
use berth_pairing::fast_aes;
use berth_radio::Radio;
use berth_server::Servers;
use berth_session::HubSetup;
use berth_upstream::UpstreamUrl;
use clap::Parser;
use rand_core::OsRng;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{debug, error, info, warn};

use crate::args::{Args, Command};
use crate::behind::Behind;
use crate::clock::{lasted, monotonic, wall_ns};
use crate::config::{Config, When};
use crate::control::{Control, Socket, Window};
use crate::serve::Called;
use crate::state::{State, in_one_line};
use crate::upstream::Destination;

/// Exit codes of every Berth program (DESIGN.md, section 6).
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// Longest wait, at the end, for the object that is on its way upstream.
const FORWARDING_STOP_MAX: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match Config::of(&args) {
        Ok(config) => config,
        Err(error) => return failed(&error, WRONG_USAGE),
    };
    if let Some(Command::Doctor) = args.command {
        return doctor(&config.radio, args.json).unwrap_or_else(|error| failed(&error, FAILED));
    }
    log(&args, &config);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, FAILED),
    }
}

fn doctor(radio: &RadioSpec, json: bool) -> Result<ExitCode> {
    let adapter = match radio {
        RadioSpec::Bluez(adapter) => adapter.as_deref(),
        RadioSpec::Air(_) | RadioSpec::None => None,
    };
    let report = berth_doctor::examine(Side::Hub, adapter, None).context("looking at this computer")?;
    let mut out = io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(ExitCode::from(if report.ok { 0 } else { FAILED }))
}

/// The last line of a hub that failed.
fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    let line = format!("{error:#}").replace('\n', " ");
    // Nothing is left to tell it to if this fails.
    let _ = writeln!(io::stderr(), "berthd: {line}");
    ExitCode::from(code)
}

fn log(args: &Args, config: &Config) {
    let log = tracing_subscriber::fmt()
        .with_max_level(config.log)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    if args.json {
        log.json().flatten_event(true).init();
    } else {
        log.init();
    }
}

fn run(mut config: Config) -> Result<()> {
    // From here on a signal waits until it is looked at: nothing is half begun when it comes.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("waiting for signals")?;
    let State {
        disk,
        identity,
        trust,
        spool,
        mut problems,
        lock: _lock,
    } = State::open(&config.state)?;
    spool.set_limits(config.limits);
    let key = identity.device();
    let (servers, is_whole) = Servers::open(Arc::clone(&disk));
    if !is_whole {
        let problem = "the list of servers that may call is damaged, and none may: run `berthctl server add NAME` for each";
        warn!("{problem}");
        problems.push(problem.to_owned());
    }
    let servers = Arc::new(servers);
    let destination = Arc::new(Destination::open(&config, key.0, disk, &mut problems)?);
    tell_upstream(&destination, &spool);
    prepare(&destination, &spool);
    let socket = Socket::open(&config.state)?;
    let mut radio = radio::open(&config.radio, &config.name, config.listen, &config.state)?;
    let address = radio.listening();
    let listening = address.map(|address| address.to_string());
    // This computer's own address means another one to a laptop, unless they share it.
    let is_shared = matches!(config.radio, RadioSpec::Air(_));
    let for_laptops = address.filter(|address| is_shared || !address.ip().is_loopback());
    let wall: Clock = Arc::new(wall_ns);
    config.forward = config.forward.of(config.time_zone.clone(), key.0);
    let (orders, inbox) = berth_daemon::orders(radio.waker());
    let open = open_upstream(&spool, &destination, &orders);
    let stores = StoreThreads::new(Arc::clone(&wall), radio.waker()).reading_upstream(Arc::clone(&open));
    let parts = HubParts {
        setup: HubSetup {
            identity,
            name: config.name.clone(),
            trust,
            fast_aes: fast_aes(),
            rng: Box::new(OsRng),
        },
        spool: Arc::clone(&spool),
        stores: Stores::Threads(stores),
    };
    let mut begun = Vec::new();
    let hub = Hub::new(radio.now(), wall_ns(), parts, &mut begun)
        .map_err(|error| in_one_line(&error, error.advice()))?;
    let forwarding = Arc::new(start_forwarding(&config, &spool, open));
    let called = Called {
        name: config.name.to_string(),
        spool: Arc::clone(&spool),
        orders: orders.clone(),
        forwarding: Arc::clone(&forwarding),
        destination: Arc::clone(&destination),
        behind: Behind::new(Arc::clone(&spool), Arc::clone(&destination), orders.clone()),
    };
    let serve = serve::start(&config, &servers, called)?;
    let window = Window::default();
    let name = config.name.clone();
    let control = Control {
        listening: listening.clone(),
        key: key.hex(),
        problems,
        orders: orders.clone(),
        spool,
        forwarding: Arc::clone(&forwarding),
        destination,
        window: window.clone(),
        servers,
        serve,
        config,
    };
    socket.serve(Arc::new(control))?;
    let stop = orders;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            info!(signal, "stopping");
            stop.stop();
        }
    });
    info!(hub = %name, %key, listening, "ready");
    service::say(&[NotifyState::Ready, NotifyState::Status("waiting for laptops")]);
    let mut visits = Visits {
        count: 0,
        forwarding: &forwarding,
        window: &window,
    };
    let mut sign_of_life = || service::say(&[NotifyState::Watchdog]);
    let beat = service::watchdog().map(|every| Beat {
        every,
        call: &mut sign_of_life,
    });
    let stopped = drive(
        &mut radio,
        hub,
        begun,
        &inbox,
        &wall,
        Program {
            tell: &mut |event| visits.heard(event),
            lan: &mut || for_laptops.map(endpoints).unwrap_or_default(),
            beat,
        },
    );
    service::say(&[NotifyState::Stopping]);
    if stopped.unsealed > 0 {
        warn!(
            visits = stopped.unsealed,
            "not everything was sealed in time: the next start does it"
        );
    }
    if !forwarding.stop(FORWARDING_STOP_MAX) {
        warn!("an object is still on its way upstream: it is sent again after the next start");
    }
    info!("stopped");
    Ok(())
}

/// Tells the spool which sets are at the upstream that is used now.
pub(crate) fn tell_upstream(destination: &Destination, spool: &Spool) {
    let since_ns = destination.url().map(|url| {
        let since_ns = since::upstream_since(destination.disk(), &url.to_string(), wall_ns());
        since_ns.unwrap_or_else(|error| {
            let error = format!("{error:#}");
            warn!(
                error,
                "nothing that was forwarded before now is removed to make room"
            );
            wall_ns()
        })
    });
    spool.set_upstream_since(since_ns);
}

/// Makes the folder of a new upstream. One that was used before and is missing now is not made again: its disk is not
/// mounted.
fn prepare(destination: &Destination, spool: &Spool) {
    let Some(UpstreamUrl::Folder(given)) = destination.given() else {
        return;
    };
    let was_used = |record: &SetRecord| {
        let forward = record.sealed().map(|sealed| &sealed.forward);
        forward.is_some_and(|forward| !matches!(forward, Forward::Waiting))
    };
    let laptops = spool.laptops().unwrap_or_default();
    let mut sets = laptops
        .iter()
        .flat_map(|laptop| spool.sets(laptop).unwrap_or_default());
    if given.is_dir() {
        return;
    }
    let made = if sets.any(|record| was_used(&record)) {
        Err(anyhow::anyhow!("it was used before: is its disk mounted?"))
    } else {
        upstream::make(given)
    };
    if let Err(error) = made {
        warn!(
            error = format!("{error:#}"),
            "the upstream folder is missing; backups go on"
        );
    }
}

/// The way to a laptop's repository upstream, for forwarding and for reading back.
fn open_upstream(spool: &Arc<Spool>, destination: &Arc<Destination>, orders: &Orders) -> OpenUpstream {
    let (destination, orders, spool) = (Arc::clone(destination), orders.clone(), Arc::clone(spool));
    Arc::new(move |laptop| upstream::repository(&destination, &spool, &orders, laptop))
}

fn start_forwarding(config: &Config, spool: &Arc<Spool>, open: OpenUpstream) -> Forwarding {
    let parts = ForwardingParts {
        spool: Arc::clone(spool),
        open,
        now: Arc::new(monotonic),
        rng: Box::new(OsRng),
        wall_ns: Arc::new(wall_ns),
        by_itself: match &config.forward {
            When::Auto => ByItself::AtOnce,
            When::Manual => ByItself::Never,
            When::In(windows) => ByItself::In(windows.clone()),
        },
        bytes_per_second: config.forward_rate.map(|rate| rate.0),
    };
    Forwarding::start(parts, Box::new(log_forwarding))
}

fn log_forwarding(news: &ForwardNews) {
    let laptop = news.laptop;
    match &news.what {
        Forwarded::Begun { set, objects, bytes } => {
            info!(%laptop, set = set.0, objects, bytes, "forwarding");
        }
        Forwarded::Waiting { set } => info!(%laptop, set = set.0, "waiting for a lock at the upstream"),
        Forwarded::Set(set) => info!(%laptop, set = set.seq.0, "forwarded"),
        // Else a week without the upstream would be some hundred lines of the same.
        Forwarded::Failed {
            failure,
            is_news: true,
        } => {
            warn!(%laptop, why = failure.why, "forwarding failed");
        }
        Forwarded::Failed {
            failure,
            is_news: false,
        } => {
            debug!(%laptop, why = failure.why, "forwarding failed again");
        }
        Forwarded::Again { after } => info!(down_for = lasted(*after), "the upstream answers again"),
        _ => {}
    }
}

/// Passes on what happens.
struct Visits<'a> {
    count: usize,
    forwarding: &'a Forwarding,
    window: &'a Window,
}

impl Visits<'_> {
    fn heard(&mut self, event: HubEvent) {
        self.window.heard(&event);
        match event {
            HubEvent::Paired(laptop) => info!(laptop = %laptop.name, key = %laptop.device, "paired"),
            HubEvent::PairingFailed(error) => warn!(%error, "a pairing failed"),
            HubEvent::WindowClosed(why) => info!(why = why.advice(), "the pairing window is closed"),
            HubEvent::NotAdmitted(error) => info!(%error, "somebody was not let in"),
            HubEvent::TrustFailed(error) => error!(%error, "the trust list could not be written"),
            HubEvent::VisitBegan(laptop) => {
                info!(laptop = %laptop.name, key = %laptop.device, "a visit began");
                self.count(self.count + 1);
            }
            HubEvent::VisitEnded { laptop, end } => {
                let sealed = end.sealed.map(|set| set.seq.0);
                let why = in_one_line(&end.why, "");
                info!(laptop = %laptop.name, key = %laptop.device, %why, sealed, "a visit ended");
                self.count(self.count.saturating_sub(1));
                self.forwarding.look(laptop.device.into());
            }
            HubEvent::NotServed { laptop, error } => {
                let why = in_one_line(&error, error.advice());
                error!(laptop = %laptop.name, key = %laptop.device, %why, "a visit could not be served");
            }
            other => info!(?other, "happened"),
        }
    }

    fn count(&mut self, count: usize) {
        self.count = count;
        self.forwarding.visits(count);
        let text = match count {
            0 => "waiting for laptops".to_owned(),
            1 => "1 visit under way".to_owned(),
            several => format!("{several} visits under way"),
        };
        service::say(&[NotifyState::Status(&text)]);
    }
}
