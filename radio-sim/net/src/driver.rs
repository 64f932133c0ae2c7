//! What every radio of hardware shares: its streams are sockets here, the rest is done elsewhere.
//!
//! Place: a machine's commands -> [`DriverRadio`] -> the tasks that talk to Bluetooth and Wi-Fi -> [`Teller`] -> events.
//! Invariant: numbers of streams are below [`crate::TCP_STREAMS_FROM`], which leaves the rest to a [`crate::NetRadio`]
//! around it; what waits for the tasks is bounded.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use berth_radio::{Command, Event, Radio, Time, Waker};

use crate::inbox::Inbox;
use crate::radio::fresh_id;
use crate::stream::LIMITS;
use crate::wire;

/// How long a dropped radio waits for last words to leave.
const DROP_WAIT: Duration = Duration::from_secs(3);

/// A radio whose commands, but for those of open streams, are carried out by tasks.
///
/// Dropping it waits for what was written to leave, 3 s at the most.
pub struct DriverRadio {
    teller: Teller,
    carry_out: Box<dyn FnMut(Command) + Send>,
    clock: Box<dyn Fn() -> Time + Send + Sync>,
}

/// Where the tasks tell what happens.
#[derive(Clone)]
pub struct Teller {
    inbox: Arc<Inbox>,
    ids: Arc<AtomicU32>,
}

impl DriverRadio {
    /// `begin` gets where to tell, and gives what takes commands; that must not block. `clock`: the program's monotonic
    /// one.
    ///
    /// # Errors
    /// Those of `begin`.
    pub fn new<E>(
        clock: impl Fn() -> Time + Send + Sync + 'static,
        begin: impl FnOnce(Teller) -> Result<Box<dyn FnMut(Command) + Send>, E>,
    ) -> Result<Self, E> {
        let teller = Teller {
            inbox: Inbox::new(LIMITS, None),
            ids: Arc::new(AtomicU32::new(1)),
        };
        Ok(Self {
            carry_out: begin(teller.clone())?,
            teller,
            clock: Box::new(clock),
        })
    }
}

impl Teller {
    /// Tells an event. Waits while the machine is far behind: whoever brings more events than it takes is held up.
    pub fn tell(&self, event: Event) {
        self.inbox.put_waiting(event);
    }

    /// A stream over this socket, which the machine is told of. `ticket` counts it until its socket is closed. `false`:
    /// there are no more numbers.
    pub fn open(&self, socket: TcpStream, ticket: Arc<()>) -> bool {
        let id = fresh_id(&self.ids);
        id.map(|id| wire::open(&self.inbox, id, socket, ticket)).is_some()
    }

    /// Ends every stream; each is told as closed, before whatever is told next.
    pub fn end_streams(&self) {
        self.inbox.end_streams();
    }

    /// The adapter is gone, and every stream with it, without a word of their own.
    pub fn adapter_gone(&self) {
        self.inbox.cut_all();
        self.tell(Event::AdapterGone);
    }
}

impl std::fmt::Debug for DriverRadio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DriverRadio")
    }
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Teller")
    }
}

impl Radio for DriverRadio {
    fn command(&mut self, command: Command) {
        match command {
            Command::Write { stream, piece } => self.teller.inbox.write(stream, piece),
            Command::CloseStream { stream } => self.teller.inbox.close(stream),
            Command::Hold { stream } => self.teller.inbox.hold(stream, true),
            Command::Resume { stream } => self.teller.inbox.hold(stream, false),
            other => (self.carry_out)(other),
        }
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        self.teller.inbox.wait(|| deadline.saturating_sub((self.clock)()))
    }

    fn waker(&self) -> Waker {
        let inbox = Arc::clone(&self.teller.inbox);
        Arc::new(move || inbox.wake())
    }

    fn now(&self) -> Time {
        (self.clock)()
    }
}

impl Drop for DriverRadio {
    fn drop(&mut self) {
        self.teller.inbox.shut(DROP_WAIT);
    }
}
