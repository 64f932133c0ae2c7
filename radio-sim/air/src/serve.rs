//! The air, until it is told to end.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use berth_net::AirServer;
use berth_radio_sim::{Air, SharedAir, TraceTo};
use rand_core::OsRng;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Args;
use crate::{complain, print, say, socket};

/// Programs that may be connected at once, `ctl` among them; more are told so and not let in. Each takes a few threads and
/// one file, and one more for each of its streams: together far below the 1,024 files that a process commonly may open.
const CONNECTIONS_MAX: usize = 256;

/// How long accepting rests when the system has no room for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &Args, path: &Path) -> Result<()> {
    let (listener, file) = socket::listen(path)?;
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("waiting for signals")?;
    let mut air = Air::new(args.seed(), args.profile());
    air.trace_to(TraceTo::Memory);
    let started = Instant::now();
    let air = SharedAir::new(air, move || started.elapsed());
    let server = AirServer::open(air, Box::new(OsRng)).context("a port for streams")?;
    if args.json {
        let streams = server.streams_at().to_string();
        say(&json!({ "event": "ready", "socket": path.display().to_string(), "streams": streams }));
    } else {
        print(format_args!(
            "The air is open at {} ({}).",
            path.display(),
            args.profile().name
        ));
    }
    let json = args.json;
    thread::Builder::new()
        .name("accept".into())
        .spawn(move || accept(&listener, &server, json))?;
    signals.forever().next();
    drop(file);
    Ok(())
}

fn accept(listener: &UnixListener, server: &AirServer, json: bool) {
    let tickets = Arc::new(());
    loop {
        let Ok((link, _)) = listener.accept() else {
            thread::sleep(ACCEPT_REST);
            continue;
        };
        if Arc::strong_count(&tickets) > CONNECTIONS_MAX {
            AirServer::refuse(
                &link,
                &format!("the air has its {CONNECTIONS_MAX} connections: end some"),
            );
            continue;
        }
        let (server, ticket) = (server.clone(), Arc::clone(&tickets));
        let serving = thread::Builder::new().name("radio".into()).spawn(move || {
            serve(&server, &link, json);
            drop(ticket);
        });
        if let Err(error) = serving {
            complain(format_args!("berth-air: no thread for a radio: {error}"));
        }
    }
}

fn serve(server: &AirServer, link: &UnixStream, json: bool) {
    match server.serve(link) {
        Ok(()) => {}
        Err(error) if json => say(&json!({ "event": "radio", "error": error.to_string() })),
        Err(error) => complain(format_args!("berth-air: a radio ended: {error}")),
    }
}
