//! Streams over TCP beside the streams of a radio.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_radio::{Command, Event, Radio, StreamId, Time, Waker};

use crate::both::{Both, Turn};
use crate::inbox::Inbox;
use crate::stream::LIMITS;
use crate::wire;

/// Streams over TCP have numbers from here on, those of the radio inside are below.
pub const TCP_STREAMS_FROM: u32 = 0x8000_0000;

/// Accepted connections that may be there at once; more are closed. Far above the laptops that are at one desk, far below
/// what a process may open.
pub const ACCEPTED_MAX: usize = 64;

/// Longest time from [`Command::Dial`] to its answer, name lookup included.
pub const DIAL_WAIT: Duration = Duration::from_secs(10);

/// The same for [`Command::Reach`]: in a LAN whoever is there answers in milliseconds.
const REACH_WAIT: Duration = Duration::from_secs(1);

/// How wpa_supplicant names the interfaces of Wi-Fi Direct groups.
const GROUP_INTERFACES: &str = "p2p-";

/// Dials under way, also those that nobody waits for any more: a name server may answer late. More fail at once.
const DIALS_MAX: usize = 4;

/// How long accepting rests when the system has no room for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// How long a dropped radio waits for last words to leave.
const DROP_WAIT: Duration = Duration::from_secs(3);

/// Why a radio of sockets can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Nobody can listen there.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Not `HOST:PORT`.
    #[error("{0:?} is no address of the form HOST:PORT")]
    NoAddress(String),
}

impl NetError {
    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "Choose an address of this computer and a port that is free.",
            Self::NoAddress(_) => "Give the hub's name or IP address and its port, as in desk.local:7700.",
        }
    }
}

/// A radio that has streams over TCP beside those of the radio inside.
///
/// With [`Self::listen`] each connection that comes is a stream that opens by itself. With [`Self::via`]
/// [`Command::Dial`] connects there, whatever group the radio inside is in. [`Command::Reach`] connects over TCP in any
/// case. Everything else is the inner radio's: its [`Event::AdapterGone`] leaves streams over TCP alone, which need no
/// adapter.
///
/// Dropping it waits for what was written to leave, 3 s at the most.
pub struct NetRadio {
    both: Both<Box<dyn Radio + Send>>,
    ids: Arc<AtomicU32>,
    listening: Option<Listening>,
    via: Option<Arc<str>>,
    dials: Dials,
}

struct Listening {
    address: SocketAddr,
    socket: Arc<TcpListener>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Dials {
    /// Who waits for an answer, and until when.
    waiting: Arc<Mutex<Vec<(u64, Time)>>>,
    dialled: u64,
    /// Held by each dial's thread.
    ticket: Arc<()>,
}

impl std::fmt::Debug for NetRadio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetRadio")
            .field("listening", &self.listening())
            .finish_non_exhaustive()
    }
}

impl NetRadio {
    /// Around `inner`; [`crate::NoRadio`] where there is none.
    #[must_use]
    pub fn new(inner: Box<dyn Radio + Send>) -> Self {
        Self {
            both: Both::new(inner, LIMITS),
            ids: Arc::new(AtomicU32::new(TCP_STREAMS_FROM)),
            listening: None,
            via: None,
            dials: Dials::default(),
        }
    }

    /// Takes connections at `address`, [`ACCEPTED_MAX`] at once, from now on until this radio is dropped. Port 0 takes a
    /// free one. Returns the address it listens at.
    ///
    /// # Errors
    /// [`NetError::Listen`]: nothing has changed then.
    pub fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, NetError> {
        let listening = Listening::start(address, &self.both.inbox, &self.ids)
            .map_err(|source| NetError::Listen { address, source })?;
        Ok(self.listening.insert(listening).address)
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn listening(&self) -> Option<SocketAddr> {
        self.listening.as_ref().map(|it| it.address)
    }

    /// Dials `address` (`HOST:PORT`) from now on. The name is looked up anew each time.
    ///
    /// # Errors
    /// [`NetError::NoAddress`].
    pub fn via(&mut self, address: &str) -> Result<(), NetError> {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err(NetError::NoAddress(address.to_owned()));
        }
        self.via = Some(address.into());
        Ok(())
    }

    /// Answers dials whose time is up; when the next one's is.
    fn dials_due(&mut self) -> Option<Time> {
        let mut waiting = lock(&self.dials.waiting);
        let now = self.both.inner.now();
        let before = waiting.len();
        waiting.retain(|(_, until)| now < *until);
        let due = before - waiting.len();
        if due > 0 {
            self.both
                .inbox
                .with(|state| (0..due).for_each(|_| state.put(Event::StreamFailed)));
        }
        waiting.iter().map(|(_, until)| *until).min()
    }

    fn dial(&mut self, wait: Duration, connect: impl FnOnce() -> Option<TcpStream> + Send + 'static) {
        let until = self.both.inner.now().saturating_add(wait);
        if !self.dials.begin(until, connect, &self.both.inbox, &self.ids) {
            self.both.inbox.with(|state| state.put(Event::StreamFailed));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next number of a stream; `None` when there are no more.
pub(crate) fn fresh_id(ids: &AtomicU32) -> Option<StreamId> {
    let next = |id: u32| (id < u32::MAX).then_some(id + 1);
    ids.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        .ok()
        .map(StreamId)
}

impl Listening {
    fn start(address: SocketAddr, inbox: &Arc<Inbox>, ids: &Arc<AtomicU32>) -> io::Result<Self> {
        let socket = Arc::new(TcpListener::bind(address)?);
        let address = socket.local_addr()?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (listener, stopped) = (Arc::clone(&socket), Arc::clone(&is_stopped));
        let (inbox, ids) = (Arc::clone(inbox), Arc::clone(ids));
        let thread = thread::Builder::new()
            .name("listen".into())
            .spawn(move || accept(&listener, &stopped, &inbox, &ids))?;
        Ok(Self {
            address,
            socket,
            is_stopped,
            thread: Some(thread),
        })
    }
}

fn accept(listener: &TcpListener, is_stopped: &AtomicBool, inbox: &Arc<Inbox>, ids: &AtomicU32) {
    let tickets = Arc::new(());
    loop {
        let accepted = listener.accept();
        if is_stopped.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((socket, _)) if Arc::strong_count(&tickets) <= ACCEPTED_MAX => {
                if let Some(id) = fresh_id(ids) {
                    wire::open(inbox, id, socket, Arc::clone(&tickets));
                }
            }
            Ok(_) => {}
            // A connection that was gone before it was taken, or no room for another one: the next try may work.
            Err(_) => thread::park_timeout(ACCEPT_REST),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        // Ends the wait for the next connection.
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Read);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Dials {
    /// Connects on a thread of its own. `false`: it can't even try.
    fn begin(
        &mut self,
        until: Time,
        connect: impl FnOnce() -> Option<TcpStream> + Send + 'static,
        inbox: &Arc<Inbox>,
        ids: &Arc<AtomicU32>,
    ) -> bool {
        if Arc::strong_count(&self.ticket) > DIALS_MAX {
            return false;
        }
        self.dialled += 1;
        let number = self.dialled;
        let (waiting, ticket) = (Arc::clone(&self.waiting), Arc::clone(&self.ticket));
        let (inbox, ids) = (Arc::clone(inbox), Arc::clone(ids));
        lock(&self.waiting).push((number, until));
        let started = thread::Builder::new().name("dial".into()).spawn(move || {
            let socket = connect();
            let is_wanted = {
                let mut waiting = lock(&waiting);
                let at = waiting.iter().position(|(it, _)| *it == number);
                at.map(|at| waiting.remove(at)).is_some()
            };
            match (
                is_wanted,
                socket.and_then(|socket| Some((socket, fresh_id(&ids)?))),
            ) {
                (true, Some((socket, id))) => wire::open(&inbox, id, socket, Arc::default()),
                (true, None) => inbox.with(|state| state.put(Event::StreamFailed)),
                (false, _) => {}
            }
            drop(ticket);
        });
        if started.is_err() {
            lock(&self.waiting).retain(|(it, _)| *it != number);
        }
        started.is_ok()
    }
}

/// Where others can reach what listens at `listening`: there, or for "any" at the addresses that this computer has now.
/// Not those that need a zone (link-local), and not those of Wi-Fi Direct groups, to which there is a way of its own.
#[must_use]
pub fn endpoints(listening: SocketAddr) -> Vec<SocketAddr> {
    if !listening.ip().is_unspecified() {
        return vec![listening];
    }
    // What can't be listed can't be told.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .into_iter()
        .filter(|it| !it.is_loopback() && !it.is_link_local() && !it.name.starts_with(GROUP_INTERFACES))
        .map(|it| it.ip())
        .filter(|address| listening.is_ipv6() || address.is_ipv4())
        .map(|address| SocketAddr::new(address, listening.port()))
        .collect()
}

/// The first of these addresses that answers.
fn connect(mut addresses: impl Iterator<Item = SocketAddr>, wait: Duration) -> Option<TcpStream> {
    let socket = addresses.find_map(|address| TcpStream::connect_timeout(&address, wait).ok())?;
    // Where nobody listens at a port of this computer, a connection may meet itself.
    (socket.local_addr().ok() != socket.peer_addr().ok()).then_some(socket)
}

impl Radio for NetRadio {
    fn command(&mut self, command: Command) {
        match command {
            Command::Dial if self.via.is_some() => {
                let via = self.via.clone();
                self.dial(DIAL_WAIT, move || {
                    connect(via?.to_socket_addrs().ok()?, DIAL_WAIT)
                });
            }
            Command::Reach { endpoints } => {
                let each = REACH_WAIT / endpoints.len().max(1) as u32;
                self.dial(REACH_WAIT, move || connect(endpoints.into_iter(), each));
            }
            Command::Write { stream, piece } if stream.0 >= TCP_STREAMS_FROM => {
                self.both.inbox.write(stream, piece)
            }
            Command::CloseStream { stream } if stream.0 >= TCP_STREAMS_FROM => self.both.inbox.close(stream),
            Command::Hold { stream } if stream.0 >= TCP_STREAMS_FROM => self.both.inbox.hold(stream, true),
            Command::Resume { stream } if stream.0 >= TCP_STREAMS_FROM => self.both.inbox.hold(stream, false),
            other => self.both.inner.command(other),
        }
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        loop {
            let dial_due = self.dials_due();
            match self
                .both
                .event(dial_due.map_or(deadline, |due| due.min(deadline)))
            {
                Turn::Inner(event) | Turn::Own(event) => return Some(event),
                Turn::Woken => return None,
                Turn::Late if self.now() >= deadline => return None,
                // A dial's time is up.
                Turn::Late => {}
            }
        }
    }

    fn waker(&self) -> Waker {
        self.both.waker()
    }

    fn now(&self) -> Time {
        self.both.inner.now()
    }
}

impl Drop for NetRadio {
    fn drop(&mut self) {
        self.listening = None;
        self.both.inbox.shut(DROP_WAIT);
    }
}
