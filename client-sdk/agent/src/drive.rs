//! The driver of one session: radio on one side, [`Laptop`] on the other.
//!
//! Place: `desk`, `berth` and the tests of both call [`drive`] with a session that has begun; it returns when that is
//! over. Invariant: it waits for the radio, for a visit's thread or for somebody who wants to leave, and for nothing
//! else; only while a visit is under way it looks up ten times a second, for whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_client_sdk::Progress;
use berth_pairing::{TrustError, TrustList};
use berth_radio::{Event, Joined, Radio, Time, Waker};
use berth_session::{LaptopEffect, LaptopInput, LaptopSession};

use crate::{Begin, Ended, Laptop, LaptopOutput, VisitStep, Work};

/// How often somebody who watches a visit is told.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Somebody who leaves waits at most this long for the hub's word on the last checkpoint: 64 MiB on the slowest link
/// there is take longer to send, but nobody who reaches for the lid stands there longer.
const LEAVE_MARK_MAX: Duration = Duration::from_secs(10);

/// A wish to leave, from any thread: the visit ends with a checkpoint and goodbye.
#[derive(Clone)]
pub struct Leave {
    asked: Arc<AtomicBool>,
    wake: Waker,
}

impl Leave {
    /// `wake` is [`Radio::waker`] of the radio that is driven.
    #[must_use]
    pub fn new(wake: Waker) -> Self {
        Self {
            asked: Arc::default(),
            wake,
        }
    }

    /// Says it. There is no way back.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        (self.wake)();
    }

    /// Whether somebody has.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// What goes with a session.
pub struct Company<'a> {
    /// Takes what the session learns: hubs, beacon keys. Durable before the session goes on.
    pub trust: &'a mut TrustList,
    /// The wall clock, nanoseconds since 1970.
    pub wall_ns: &'a dyn Fn() -> i64,
    /// Who may want to leave.
    pub leave: &'a Leave,
    /// Told where the visit is: after everything that happens, and several times a second.
    pub watch: &'a mut dyn FnMut(Time, &mut Watched<'_>),
}

/// How a session ended, and what it took.
#[derive(Debug)]
pub struct Left {
    /// How.
    pub ended: Ended,
    /// Bytes that left through the radio, handshake and encryption included. What still waited for the link when it was
    /// cut is not among them.
    pub bytes_sent: u64,
    /// How it got into the hub's group; `None` where it did not, or needed none.
    pub joined: Option<Joined>,
}

/// What somebody who watches a visit sees and may ask for.
pub struct Watched<'a>(&'a mut Laptop);

impl Watched<'_> {
    /// Where the visit is, while there is one.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        self.0.progress()
    }

    /// How far it has come on its way to the first byte.
    #[must_use]
    pub fn step(&self) -> Option<VisitStep> {
        self.0.step()
    }

    /// The person reaches for the lid when this share of the bytes is read ([`Laptop::leave_at`]).
    pub fn leave_at(&mut self, percent: u8) {
        self.0.leave_at(percent);
    }
}

/// Drives `session`, and what it asked for when it began, to its end. `begin` makes the visit; `None` for a pairing.
///
/// # Errors
/// [`TrustError`]: a new beacon key could not be stored. The session is dropped, which is a cut.
pub fn drive(
    radio: &mut dyn Radio,
    session: LaptopSession,
    begun: Vec<LaptopEffect>,
    begin: Option<Begin>,
    company: Company<'_>,
) -> Result<Left, TrustError> {
    let mut out = Vec::new();
    let mut driver = Driver {
        laptop: Laptop::new(session, begun, begin, radio.now(), &mut out),
        company,
        leaving: Leaving::No,
        bytes_sent: 0,
        joined: None,
    };
    loop {
        if let Some(ended) = driver.perform(radio, &mut out)? {
            return Ok(Left {
                ended,
                bytes_sent: driver.bytes_sent,
                joined: driver.joined,
            });
        }
        let work = driver.laptop.work(radio.now(), &mut out);
        let now = radio.now();
        (driver.company.watch)(now, &mut Watched(&mut driver.laptop));
        driver.leave(now, &mut out);
        let deadline = match work {
            _ if !out.is_empty() => now,
            Work::More => now,
            Work::Wait => driver.wait_until(now),
        };
        if let Some(event) = radio.event(deadline) {
            match &event {
                Event::Drained { bytes, .. } => driver.bytes_sent += *bytes as u64,
                Event::Joined(joined) => driver.joined = Some(joined.clone()),
                _ => {}
            }
            driver
                .laptop
                .handle(radio.now(), LaptopInput::Radio(event), &mut out);
        }
        let now = radio.now();
        if driver.laptop.next_at().is_some_and(|at| at <= now) {
            driver.laptop.handle(now, LaptopInput::Tick, &mut out);
        }
    }
}

struct Driver<'a> {
    laptop: Laptop,
    company: Company<'a>,
    leaving: Leaving,
    bytes_sent: u64,
    joined: Option<Joined>,
}

enum Leaving {
    No,
    /// A checkpoint is under way.
    Marking {
        until: Time,
    },
    Gone,
}

impl Driver<'_> {
    fn perform(
        &mut self,
        radio: &mut dyn Radio,
        out: &mut Vec<LaptopOutput>,
    ) -> Result<Option<Ended>, TrustError> {
        while !out.is_empty() {
            for output in std::mem::take(out) {
                match output {
                    LaptopOutput::Radio(command) => radio.command(command),
                    LaptopOutput::Store(hub) => {
                        let wall_ns = (self.company.wall_ns)();
                        let is_stored = self.company.trust.pair(&hub, wall_ns).is_ok();
                        self.laptop
                            .handle(radio.now(), LaptopInput::Stored(is_stored), out);
                    }
                    LaptopOutput::BeaconKey { hub, key } => {
                        let wall_ns = (self.company.wall_ns)();
                        self.company.trust.set_beacon(&hub, &key, wall_ns)?;
                    }
                    LaptopOutput::Up(_) => {}
                    LaptopOutput::Over(ended) => return Ok(Some(ended)),
                }
            }
        }
        Ok(None)
    }

    /// Before anything changed was sent there is nothing to hold on to; else a checkpoint first.
    fn leave(&mut self, now: Time, out: &mut Vec<LaptopOutput>) {
        let progress = self.laptop.progress();
        let is_marked = progress.is_none_or(|progress| progress.requested_mark_done);
        match self.leaving {
            Leaving::No if !self.company.leave.is_asked() => return,
            Leaving::No if progress.is_some_and(|progress| progress.scanned) => {
                self.laptop.leave_at(0);
                self.leaving = Leaving::Marking {
                    until: now + LEAVE_MARK_MAX,
                };
                return;
            }
            Leaving::Marking { until } if !is_marked && now < until => return,
            Leaving::No | Leaving::Marking { .. } => {}
            Leaving::Gone => return,
        }
        self.leaving = Leaving::Gone;
        self.laptop.handle(now, LaptopInput::Leave, out);
    }

    /// The next thing that only the time brings. A radio without anything to wait for waits until it is woken.
    fn wait_until(&self, now: Time) -> Time {
        let look = self.laptop.progress().map(|_| now + LOOK_EVERY);
        let leave = match self.leaving {
            Leaving::Marking { until } => Some(until),
            Leaving::No | Leaving::Gone => None,
        };
        let at = self.laptop.next_at().into_iter().chain(look).chain(leave).min();
        at.unwrap_or(Time::MAX)
    }
}

#[cfg(test)]
mod tests {
    use berth_disk::OsDisk;
    use berth_pairing::Identity;
    use berth_radio::Command;
    use berth_session::{Goal, LaptopEnd};
    use rand_core::OsRng;

    use super::*;

    /// Nobody is near; the first wait ends with somebody's wish to leave.
    struct Silence {
        leave: Leave,
        waits: Vec<Time>,
        commands: Vec<Command>,
    }

    impl Radio for Silence {
        fn command(&mut self, command: Command) {
            self.commands.push(command);
        }

        fn event(&mut self, deadline: Time) -> Option<Event> {
            // What is at hand is asked for without a wait.
            if deadline > Time::ZERO {
                self.waits.push(deadline);
                assert!(self.waits.len() < 3, "nobody leaves: {:?}", self.waits);
                self.leave.ask();
            }
            None
        }

        fn waker(&self) -> Waker {
            Arc::new(|| {})
        }

        fn now(&self) -> Time {
            Time::ZERO
        }
    }

    #[test]
    fn an_agent_that_waits_for_a_hub_sets_no_timer_and_leaves_when_it_is_woken() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let identity = Arc::new(Identity::generate(&mut OsRng));
        let goal = Goal::Visit { hubs: Vec::new() };
        let (mut begun, leave) = (Vec::new(), Leave::new(Arc::new(|| {})));
        let session = LaptopSession::new(
            Time::ZERO,
            identity,
            goal,
            true,
            None,
            Box::new(OsRng),
            &mut begun,
        );
        let mut radio = Silence {
            leave: leave.clone(),
            waits: Vec::new(),
            commands: Vec::new(),
        };
        let company = Company {
            trust: &mut TrustList::open(disk, "trust").unwrap(),
            wall_ns: &|| 0,
            leave: &leave,
            watch: &mut |_, _| {},
        };
        let left = drive(&mut radio, session, begun, None, company).unwrap();
        assert!(matches!(left.ended.session, LaptopEnd::Left), "{left:?}");
        assert_eq!(radio.waits, [Time::MAX]);
        assert!(matches!(
            radio.commands[..],
            [Command::Scan, Command::StopScanning]
        ));
    }
}
