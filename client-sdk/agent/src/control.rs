//! The control sockets of those who visit: the agent, and a `berth backup`.
//!
//! Place: `STATE/control.sock` and `STATE/backup.sock`, for the owner alone. One request a connection, one JSON object a line; the last answer
//! has `"done":true` or `"error"`. Requests: `{"do":"status"}`, `{"do":"leave"}`, `{"do":"follow"}` (the visit that is
//! under way), `{"do":"pause"}` (step aside until this connection closes).
//! Invariant: whoever connects and says nothing, or takes nothing, is dropped and holds nobody up.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};

use crate::orders::{Change, Orders};

/// The agent's.
pub(crate) const AGENT: &str = "control.sock";

/// That of a `berth backup`, beside the agent's which has stepped aside for it.
pub(crate) const BACKUP: &str = "backup.sock";

/// Longest line, in both directions.
const LINE_SIZE_BYTES_MAX: u64 = 64 * 1024;

/// A request, and what is written to somebody who asked, take no longer.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Connections at once; more are closed. Followers stay for a visit, whoever pauses the agent for a command.
const CONNECTIONS_MAX: usize = 16;

/// A visit that is asked to end has said its last words by then: a checkpoint, a goodbye, and the disk.
pub(crate) const LEAVE_MAX: Duration = Duration::from_secs(60);

/// The last answers are written within this time, or not at all.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// Takes connections until it is dropped.
pub(crate) struct Server {
    path: PathBuf,
    orders: Arc<Orders>,
    /// Disconnected once every answer is written and no connection is taken any more.
    answered: Receiver<()>,
}

impl Server {
    /// Only for who holds the folder's lock: a socket that is there is one that was left behind.
    pub(crate) fn start(folder: &Path, socket: &str, orders: &Arc<Orders>) -> Result<Self> {
        let path = folder.join(socket);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("the control socket {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let (_held, short) = reachable(folder, socket).context("the state folder")?;
        let listener = UnixListener::bind(&short)
            .and_then(|listener| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map(|()| listener)
            })
            .with_context(|| format!("the control socket {}", path.display()))?;
        let (for_thread, (answering, answered)) = (Arc::clone(orders), bounded(0));
        thread::Builder::new()
            .name("berth-control".to_owned())
            .spawn(move || accept(&listener, &for_thread, answering))?;
        Ok(Self {
            path,
            orders: Arc::clone(orders),
            answered,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Those who wait are told that it is over.
        self.orders.stop();
        // Wakes the thread that accepts, which then ends.
        if let Some(folder) = self.path.parent()
            && let Some(socket) = self.path.file_name().and_then(|name| name.to_str())
            && let Ok((_held, short)) = reachable(folder, socket)
        {
            drop(UnixStream::connect(short));
        }
        let _ = fs::remove_file(&self.path);
        let _ = self.answered.recv_timeout(FINISH_MAX);
    }
}

/// A way to the socket that fits the 107 bytes which such a path may have, as long as the file is held.
fn reachable(folder: &Path, socket: &str) -> io::Result<(File, PathBuf)> {
    let held = File::open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())).join(socket);
    Ok((held, short))
}

/// Ends with the first connection after all is to end.
fn accept(listener: &UnixListener, orders: &Arc<Orders>, answering: Sender<()>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if orders.is_stopping() {
            return;
        }
        let Ok(stream) = stream else {
            // Out of file handles: the next one waits until there are some.
            continue;
        };
        if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (orders, count, answering) = (Arc::clone(orders), Arc::clone(&open), answering.clone());
        let served = thread::Builder::new().spawn(move || {
            let _answering = answering;
            // Whoever asked has gone: nothing is left to say.
            let _ = serve(&stream, &orders);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if served.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn serve(stream: &UnixStream, orders: &Orders) -> io::Result<()> {
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    let mut reader = BufReader::new(stream);
    let request = read_line(&mut reader)?;
    let what = request
        .as_ref()
        .and_then(|request| request.get("do"))
        .and_then(Value::as_str);
    match what {
        Some("status") => {
            let mut answer = orders.status();
            answer["done"] = true.into();
            say(stream, &answer)
        }
        Some("leave") => say(stream, &left(orders)),
        Some("follow") => follow(stream, orders),
        Some("pause") => {
            let Some(pause) = orders.pause(LEAVE_MAX) else {
                return say(
                    stream,
                    &json!({ "error": "a backup is under way, or the agent does not step aside" }),
                );
            };
            say(stream, &json!({ "paused": true }))?;
            // Until the other end closes, however long its work takes.
            stream.set_read_timeout(None)?;
            let ended = reader.read(&mut [0]).map(drop);
            drop(pause);
            ended
        }
        Some(_) | None => say(stream, &json!({ "error": "this is no request of berth's" })),
    }
}

fn left(orders: &Orders) -> Value {
    match orders.leave(LEAVE_MAX) {
        Change::Ended(mut ended) => {
            ended["left"] = true.into();
            ended["done"] = true.into();
            ended
        }
        Change::Idle => json!({ "left": false, "done": true }),
        Change::Progress(_) => json!({ "error": "the visit does not end; try again" }),
    }
}

fn follow(stream: &UnixStream, orders: &Orders) -> io::Result<()> {
    let mut seen = 0;
    loop {
        match orders.follow(&mut seen) {
            Change::Progress(progress) => say(stream, &json!({ "progress": progress }))?,
            Change::Ended(ended) => return say(stream, &json!({ "ended": ended, "done": true })),
            Change::Idle => return say(stream, &json!({ "idle": true, "done": true })),
        }
    }
}

fn say(mut stream: &UnixStream, answer: &Value) -> io::Result<()> {
    let mut line = answer.to_string();
    line.push('\n');
    stream.write_all(line.as_bytes())
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Value>> {
    let mut line = Vec::new();
    reader.take(LINE_SIZE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&line).map(Some).map_err(io::Error::from)
}

/// A request that is being answered. Dropping it closes the connection.
pub(crate) struct Asked {
    reader: BufReader<UnixStream>,
}

/// Asks whoever visits, a `berth backup` before the agent. `None`: nobody is there.
pub(crate) fn ask_visitor(folder: &Path, what: &str) -> Result<Option<Asked>> {
    match ask(folder, BACKUP, what)? {
        Some(asked) => Ok(Some(asked)),
        None => ask(folder, AGENT, what),
    }
}

/// Asks at one socket. `None`: nobody is there.
pub(crate) fn ask(folder: &Path, socket: &str, what: &str) -> Result<Option<Asked>> {
    let Ok((_held, short)) = reachable(folder, socket) else {
        return Ok(None);
    };
    let stream = match UnixStream::connect(short) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error).context("the control socket in the state folder"),
    };
    stream.set_write_timeout(Some(WAIT_MAX))?;
    stream.set_read_timeout(Some(LEAVE_MAX + WAIT_MAX))?;
    say(&stream, &json!({ "do": what }))?;
    Ok(Some(Asked {
        reader: BufReader::new(stream),
    }))
}

impl Asked {
    /// The next answer; `None` after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Value>> {
        let answer =
            read_line(&mut self.reader).context("the agent does not answer: stop it, then try again")?;
        if let Some(error) = answer.as_ref().and_then(|answer| answer.get("error")) {
            bail!("the agent says: {}", error.as_str().unwrap_or("no"));
        }
        Ok(answer)
    }

    /// What is said may come at any time from now on.
    pub(crate) fn be_patient(&self) -> Result<()> {
        Ok(self.reader.get_ref().set_read_timeout(None)?)
    }
}
