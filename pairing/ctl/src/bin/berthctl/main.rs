//! `berthctl`: manages the hub that runs on this computer, over its control socket.

mod args;
mod code;
mod pair;
mod pull;
mod words;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use berth_ctl::{
    Client, Device, ForwardEvent, HubStatus, Request, Revoked, SOCKET, Serve, ServerAdded, ServerRemoved,
    ServerRow, SetItem, Standing, UpstreamSet, VerifyEvent, default_state,
};
use clap::Parser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{Args, Command, Hub, Server, Upstream};
use crate::words::{age, narrow, short, size, table};

/// Exit code of what failed (DESIGN.md, section 6).
const FAILED: u8 = 1;

/// A laptop's name in a table.
const NAME_WIDTH_MAX: usize = 20;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            let line = words::wrapped(&format!("berthctl: {error:#}"), io::stderr().is_terminal());
            // Nothing is left to tell it to if this fails.
            let _ = writeln!(io::stderr(), "{line}");
            ExitCode::from(FAILED)
        }
    }
}

/// Monotonic time since it was first asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "a program has the clock that libraries are given"
)]
pub(crate) fn monotonic() -> Duration {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    STARTED.get_or_init(Instant::now).elapsed()
}

/// A line on standard output. A reader that has gone away is no error.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Words for a person on standard output.
fn tell(text: &str) {
    say(&words::wrapped(text, io::stdout().is_terminal()));
}

/// True: done, and nothing is wrong.
fn run(args: &Args) -> Result<bool> {
    let json = args.json;
    if let Command::Pull(args) = &args.command {
        return pull::pull(args, json);
    }
    let client = connect(&args.hub)?;
    match &args.command {
        Command::Pair => return pair::pair(client, json),
        // Done above: it asks another hub.
        Command::Pull(_) => Ok(()),
        Command::Devices => list(ask::<Device>(client, &Request::Devices)?, json, devices),
        Command::Revoke { laptop } => {
            let laptop = laptop.clone();
            one(
                ask::<Revoked>(client, &Request::Revoke { laptop })?,
                json,
                |done| {
                    let cut = if done.was_visiting {
                        "; its visit was cut"
                    } else {
                        ""
                    };
                    say(&format!(
                        "{} ({}) is refused from now on{cut}.",
                        done.revoked,
                        short(&done.key)
                    ));
                },
            )
        }
        Command::Status => one(ask::<HubStatus>(client, &Request::Status)?, json, status),
        Command::Sets { laptop } => {
            let laptop = laptop.clone();
            let items = ask::<SetItem>(client, &Request::Sets { laptop })?;
            if json {
                let sets: Vec<_> = items.into_iter().map(|item| item.set).collect();
                list(sets, json, |_| {})
            } else {
                sets(&items);
                Ok(())
            }
        }
        Command::Forward { laptop } => {
            return forward(
                client,
                &Request::Forward {
                    laptop: laptop.clone(),
                },
                json,
            );
        }
        Command::Verify => return verify(client, json),
        Command::Server {
            command: Server::List,
        } => list(ask::<ServerRow>(client, &Request::Servers)?, json, servers),
        Command::Server {
            command: Server::Add { name },
        } => {
            let server = name.clone();
            one(
                ask::<ServerAdded>(client, &Request::AddServer { server })?,
                json,
                server_added,
            )
        }
        Command::Server {
            command: Server::Remove { name },
        } => {
            let server = name.clone();
            one(
                ask::<ServerRemoved>(client, &Request::RemoveServer { server })?,
                json,
                |done| say(&format!("{} is refused from now on.", done.removed)),
            )
        }
        Command::Upstream {
            command: Upstream::Set { url },
        } => {
            let url = absolute(url)?;
            one(
                ask::<UpstreamSet>(client, &Request::SetUpstream { url })?,
                json,
                |set| {
                    match set.upstream.strip_prefix("pull:") {
                        Some(server) => tell(&format!(
                            "Sets are upstream, from now on, when the server {server} has pulled and confirmed them."
                        )),
                        None => tell(&format!(
                            "Sets are forwarded to {} from now on: it was written to and read back.",
                            set.upstream
                        )),
                    }
                    if let Some(given) = &set.overridden_by {
                        tell(&format!(
                            "But this hub was started with {given}, which goes before it."
                        ));
                    }
                },
            )
        }
    }?;
    Ok(true)
}

fn connect(hub: &Hub) -> Result<Client> {
    let path = match (&hub.control, &hub.state) {
        (Some(control), _) => control.clone(),
        (None, Some(state)) => state.join(SOCKET),
        (None, None) => default_state()
            .context("there is no home folder with a hub's state in it: give --state or --control")?
            .join(SOCKET),
    };
    Ok(Client::connect(&path)?)
}

/// The hub has another working folder.
fn absolute(url: &str) -> Result<String> {
    if url.is_empty()
        || url.starts_with('/')
        || url
            .split_once(':')
            .is_some_and(|(scheme, _)| !scheme.contains('/'))
    {
        return Ok(url.to_owned());
    }
    let path = std::env::current_dir().context("this folder")?.join(url);
    path.into_os_string()
        .into_string()
        .ok()
        .context("an upstream's path must be UTF-8")
}

fn ask<T: DeserializeOwned>(client: Client, request: &Request) -> Result<Vec<T>> {
    let answers = client.ask(request, &monotonic)?;
    Ok(answers.collect::<Result<_, _>>()?)
}

fn list<T: Serialize>(items: Vec<T>, json: bool, show: impl FnOnce(&[T])) -> Result<()> {
    if json {
        say(&serde_json::to_string(&items)?);
    } else {
        show(&items);
    }
    Ok(())
}

fn one<T: Serialize>(items: Vec<T>, json: bool, show: impl FnOnce(&T)) -> Result<()> {
    let item = items.first().context("the hub did not say what it did")?;
    if json {
        say(&serde_json::to_string(item)?);
    } else {
        show(item);
    }
    Ok(())
}

fn devices(devices: &[Device]) {
    if devices.is_empty() {
        return say("No laptop is paired. Run `berthctl pair`.");
    }
    let now = Timestamp::now();
    let row = |device: &Device| {
        let standing = match (device.standing, device.visiting) {
            (Standing::Revoked, _) => "revoked",
            (Standing::Paired, true) => "visiting",
            (Standing::Paired, false) => "paired",
        };
        vec![
            narrow(&device.laptop, NAME_WIDTH_MAX),
            short(&device.key).to_owned(),
            standing.to_owned(),
            age(device.paired_at, now),
            age(device.complete_at, now),
        ]
    };
    let rows: Vec<_> = devices.iter().map(row).collect();
    let head = ["LAPTOP", "KEY", "STATE", "PAIRED", "COMPLETE BACKUP"];
    table(&head, &rows, &[]).iter().for_each(|line| say(line));
}

fn servers(servers: &[ServerRow]) {
    if servers.is_empty() {
        return say("No server may call. Run `berthctl server add NAME`.");
    }
    let now = Timestamp::now();
    let row = |server: &ServerRow| vec![server.server.clone(), age(server.added_at, now)];
    let rows: Vec<_> = servers.iter().map(row).collect();
    table(&["SERVER", "ADDED"], &rows, &[])
        .iter()
        .for_each(|line| say(line));
}

fn server_added(added: &ServerAdded) {
    let ServerAdded { server, token, serve } = added;
    say(&format!(
        "{server} may call from now on. Its token, shown this once:\n\n  {token}\n"
    ));
    match serve {
        Some(Serve {
            address, certificate, ..
        }) => tell(&format!(
            "It calls at {address}, and needs a copy of the certificate {certificate}."
        )),
        None => tell(
            "But this hub does not listen: put `serve = \"ADDR:PORT\"` into its settings, and restart it.",
        ),
    }
}

fn sets(items: &[SetItem]) {
    if items.is_empty() {
        return say("There are no sets yet.");
    }
    let now = Timestamp::now();
    let same_name =
        |one: &SetItem, other: &SetItem| one.set.laptop == other.set.laptop && one.key != other.key;
    let row = |item: &SetItem| {
        let set = &item.set;
        let name = narrow(&set.laptop, NAME_WIDTH_MAX);
        let laptop = if items.iter().any(|other| same_name(item, other)) {
            format!("{} {name}", short(&item.key))
        } else {
            name
        };
        vec![
            laptop,
            set.seq.to_string(),
            set.kind.clone().unwrap_or_else(|| "-".to_owned()),
            set.state.clone(),
            age(set.sealed_at.or(set.created_at), now),
            set.bytes.map_or_else(|| "-".to_owned(), size),
            age(set.forwarded_at, now),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    let head = ["LAPTOP", "SET", "KIND", "STATE", "MADE", "SIZE", "FORWARDED"];
    table(&head, &rows, &["SET", "SIZE"])
        .iter()
        .for_each(|line| say(line));
}

fn status(status: &HubStatus) {
    let HubStatus {
        hub,
        key,
        version,
        radio,
        ..
    } = status;
    say(&format!("Hub {hub} ({}), berthd {version}", short(key)));
    let listen = status
        .listen
        .as_ref()
        .map(|address| format!(", listening at {address}"));
    say(&format!("Radio      {radio}{}", listen.unwrap_or_default()));
    if let Some(serve) = &status.serve {
        say(&format!(
            "Servers    call at {}, certificate {}",
            serve.address, serve.certificate
        ));
        say(&format!("           SHA-256 {}", serve.fingerprint));
    }
    let visits = match status.visits.as_slice() {
        [] => "nobody visits".to_owned(),
        visits => {
            let names = visits.iter().map(|visit| narrow(&visit.laptop, NAME_WIDTH_MAX));
            format!("visiting: {}", names.collect::<Vec<_>>().join(", "))
        }
    };
    let pairing = if status.pairing {
        "; the pairing window is open"
    } else {
        ""
    };
    say(&format!(
        "Laptops    {} paired, {visits}{pairing}",
        status.laptops
    ));
    let waiting = match status.sets_waiting {
        0 => "nothing waits to be forwarded".to_owned(),
        1 => format!("1 set waits to be forwarded, {}", size(status.bytes_waiting)),
        sets => format!("{sets} sets wait to be forwarded, {}", size(status.bytes_waiting)),
    };
    say(&format!("Sets       {waiting}"));
    let most = status
        .bytes_used_max
        .map(|max| format!(" of at most {}", size(max)));
    say(&format!(
        "Spool      {}{} used, {} free on the disk",
        size(status.bytes_used),
        most.unwrap_or_default(),
        size(status.bytes_free)
    ));
    let upstream = status.upstream.as_deref().unwrap_or("none");
    let rate = status
        .forward_bytes_per_second
        .map(|bytes| format!(", at most {}/s", size(bytes)));
    let names = status
        .forwarding
        .iter()
        .map(|laptop| narrow(laptop, NAME_WIDTH_MAX));
    let names: Vec<_> = names.collect();
    let current = (!names.is_empty()).then(|| format!(", forwarding for {}", names.join(", ")));
    let next = status
        .forwards_at
        .map(|at| format!(", next {}", at.to_zoned(TimeZone::system()).strftime("%a %H:%M")));
    say(&format!(
        "Upstream   {upstream} ({}{}){}",
        status.forward,
        rate.unwrap_or_default(),
        current.or(next).unwrap_or_default()
    ));
    if let Some(outage) = &status.outage {
        let when = |at: Timestamp| {
            at.to_zoned(TimeZone::system())
                .strftime("%a %d %b %H:%M")
                .to_string()
        };
        let since = outage
            .since
            .map_or_else(|| "the hub was started".to_owned(), when);
        let next = match outage.next_try_at {
            Some(at) => format!("next try {}", when(at)),
            None => "it is tried when somebody asks".to_owned(),
        };
        say(&format!("           has taken nothing since {since}; {next}"));
    }
    status
        .problems
        .iter()
        .for_each(|problem| tell(&format!("Attention: {problem}")));
}

fn forward(client: Client, request: &Request, json: bool) -> Result<bool> {
    let (mut sets, mut failed) = (0_u64, false);
    // Several laptops' sets come at once.
    let mut total_bytes = BTreeMap::new();
    let mut told = Vec::new();
    for event in client.ask::<ForwardEvent>(request, &monotonic)? {
        let event = event?;
        sets += u64::from(matches!(event, ForwardEvent::Forwarded { .. }));
        failed |= matches!(event, ForwardEvent::Failed { .. });
        if json {
            told.extend((!matches!(event, ForwardEvent::Progress { .. })).then_some(event));
            continue;
        }
        match event {
            ForwardEvent::Begun {
                laptop,
                set,
                objects,
                bytes,
            } => {
                total_bytes.insert(laptop.clone(), bytes);
                tell(&format!(
                    "Set {set} of {laptop}: {objects} objects to send, {}",
                    size(bytes)
                ));
            }
            ForwardEvent::Progress {
                laptop,
                set,
                bytes_sent,
            } if !laptop.is_empty() => {
                tell(&format!(
                    "Set {set} of {laptop}: {} of {} sent",
                    size(bytes_sent),
                    size(bytes_sent.max(total_bytes.get(&laptop).copied().unwrap_or(0)))
                ));
            }
            ForwardEvent::Progress { .. } => {}
            ForwardEvent::Waiting { laptop, set } => {
                tell(&format!(
                    "Set {set} of {laptop}: somebody works on the upstream, waiting until they are done"
                ));
            }
            ForwardEvent::Forwarded { laptop, set } => {
                tell(&format!("Set {set} of {laptop} is upstream, checked."));
            }
            ForwardEvent::Failed { laptop, why } => tell(&format!("The sets of {laptop} wait: {why}")),
        }
    }
    if json {
        list(told, json, |_| {})?;
    } else if !failed {
        match sets {
            0 => say("Nothing was waiting."),
            1 => say("1 set was forwarded."),
            sets => tell(&format!("{sets} sets were forwarded.")),
        }
    }
    Ok(!failed)
}

fn verify(client: Client, json: bool) -> Result<bool> {
    let mut whole = false;
    for event in client.ask::<VerifyEvent>(&Request::Verify, &monotonic)? {
        let event = event?;
        if let VerifyEvent::Verified { faults, .. } = event {
            whole = faults == 0;
        }
        if json {
            say(&serde_json::to_string(&event)?);
            continue;
        }
        match event {
            VerifyEvent::Progress { objects, bytes } => {
                if io::stderr().is_terminal() {
                    let _ = write!(io::stderr(), "\r\u{1b}[K{objects} objects read, {}", size(bytes));
                }
            }
            VerifyEvent::Fault {
                laptop,
                set,
                path,
                what,
            } => {
                clear();
                tell(&format!("{what}: {path} (set {set} of {laptop})"));
            }
            VerifyEvent::Verified {
                objects,
                bytes,
                reclaimed,
                faults,
            } => {
                clear();
                tell(&format!(
                    "{objects} objects read, {}: {faults} missing or damaged.",
                    size(bytes)
                ));
                if reclaimed > 0 {
                    tell(&format!(
                        "{reclaimed} more are upstream only: they were removed here when room was needed."
                    ));
                }
                if faults > 0 {
                    tell("Check the hub's disk, and put the files back from a copy of its state folder.");
                }
            }
        }
    }
    Ok(whole)
}

fn clear() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\u{1b}[K");
    }
}
