//! The control socket: what `berthctl` asks, and what the hub answers.
//!
//! Place: one thread accepts, one thread for each connection answers its one request (`berth-ctl` has the protocol).
//! Invariant: only owner and group reach the socket; [`PEERS_MAX`] connections at once, each with deadlines; nothing
//! that anybody sends here holds up the hub, other administrators, or memory.

mod answers;
mod listing;
mod window;

use std::fs::{self, Permissions};
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_bridge::Spool;
use berth_ctl::{Answer, LineError, Request, SOCKET, Serve, read_line, write_line};
use berth_daemon::{Forwarding, Orders};
use berth_server::Servers;
use serde::Serialize;
use tracing::{debug, warn};

use crate::clock::monotonic;
use crate::config::Config;
use crate::upstream::Destination;
pub(crate) use window::Window;

/// Connections at once: administrators and their scripts.
const PEERS_MAX: usize = 16;

/// Longest time for a request to come.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Longest time for a line of an answer to be taken.
const TAKE_MAX: Duration = Duration::from_secs(10);

/// Of a socket's path, with its end (`unix(7)`).
const PATH_SIZE_BYTES_MAX: usize = 107;

/// Rest after accepting failed, for want of file handles: it would fail again at once.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// What requests are answered from.
pub(crate) struct Control {
    pub(crate) config: Config,
    pub(crate) listening: Option<String>,
    pub(crate) key: String,
    pub(crate) problems: Vec<String>,
    pub(crate) orders: Orders,
    pub(crate) spool: Arc<Spool>,
    pub(crate) forwarding: Arc<Forwarding>,
    pub(crate) destination: Arc<Destination>,
    pub(crate) window: Window,
    pub(crate) servers: Arc<Servers>,
    pub(crate) serve: Option<Serve>,
}

/// The socket. It is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Makes the socket in the state folder, replacing one that a killed hub left: the folder is locked.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let path = state.join(SOCKET);
        if path.as_os_str().len() > PATH_SIZE_BYTES_MAX {
            bail!(
                "the path of the control socket has more than {PATH_SIZE_BYTES_MAX} bytes: take a shorter --state than {}",
                state.display()
            );
        }
        let opened = (|| {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            // Nobody may connect before the mode is what it should be.
            let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
            let listener = UnixListener::bind(&path);
            rustix::process::umask(before);
            let listener = listener?;
            fs::set_permissions(&path, Permissions::from_mode(0o660))?;
            Ok(listener)
        })();
        let listener = opened.with_context(|| format!("the control socket {}", path.display()))?;
        Ok(Self { path, listener })
    }

    /// Answers until the process ends.
    pub(crate) fn serve(&self, control: Arc<Control>) -> Result<()> {
        let listener = self.listener.try_clone().context("the control socket")?;
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &control))
            .context("a thread for the control socket")?;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next start replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, control: &Arc<Control>) {
    let peers = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%error, "a connection to the control socket could not be taken");
                rest();
                continue;
            }
        };
        let place = Place::take(&peers);
        let Some(place) = place else {
            let error = "too many connections at once: try again in a moment".to_owned();
            // Whoever does not take it finds the connection closed.
            let _ = stream.set_nonblocking(true);
            let _ = write_line(&mut stream, &Answer::<()>::Error { error }, TAKE_MAX);
            continue;
        };
        let control = Arc::clone(control);
        let spawned = thread::Builder::new().spawn(move || {
            let _place = place;
            serve(&control, stream);
        });
        if let Err(error) = spawned {
            warn!(%error, "no thread for a connection to the control socket");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is told when there are file handles again"
)]
fn rest() {
    thread::sleep(ACCEPT_REST);
}

/// One of [`PEERS_MAX`] places; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(peers: &Arc<AtomicUsize>) -> Option<Self> {
        if peers.fetch_add(1, Ordering::SeqCst) < PEERS_MAX {
            return Some(Self(Arc::clone(peers)));
        }
        peers.fetch_sub(1, Ordering::SeqCst);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve(control: &Arc<Control>, stream: UnixStream) {
    let Ok(reading) = stream.try_clone() else {
        return;
    };
    let mut peer = Peer { stream };
    let request: Request = match read_line(&mut BufReader::new(reading), REQUEST_MAX, &monotonic) {
        Ok(request) => request,
        Err(error) => {
            debug!(%error, "no request came");
            return peer.last(Err(anyhow::anyhow!("no request: {error}")));
        }
    };
    let done = control.answer(&request, &mut peer);
    peer.last(done);
    let _ = peer.stream.shutdown(Shutdown::Both);
}

/// Who asked.
pub(crate) struct Peer {
    stream: UnixStream,
}

impl Peer {
    fn say<T: Serialize>(&mut self, item: T) -> Result<(), LineError> {
        write_line(&mut self.stream, &item, TAKE_MAX)
    }

    fn last(&mut self, done: Result<()>) {
        let answer: Answer<()> = match done {
            Ok(()) => Answer::Done { done: true },
            Err(error) => Answer::Error {
                error: format!("{error:#}").replace('\n', " "),
            },
        };
        // Nobody is left to tell.
        let _ = self.say(answer);
    }

    /// Calls `gone` once the peer has hung up, from a thread that ends with the connection.
    fn watch(&self, gone: impl FnOnce() + Send + 'static) -> Result<()> {
        use std::io::Read;
        let mut stream = self.stream.try_clone()?;
        stream.set_read_timeout(None)?;
        thread::Builder::new().spawn(move || {
            // More than one request is not read: whatever comes ends it.
            let _ = stream.read(&mut [0]);
            gone();
        })?;
        Ok(())
    }
}
