//! The hub half of the desk: a radio, a state folder, an upstream folder. It shares nothing with the laptop half.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use berth_bridge::{FolderUpstream, Journal, Opened, SetRecord, Spool, Upstream};
use berth_daemon::{
    ByItself, ForwardNews, Forwarded, Forwarding, ForwardingParts, Hub, HubEvent, HubParts, Orders, Program,
    StoreThreads, Stores, drive,
};
use berth_pairing::{Identity, Name, TrustList, fast_aes};
use berth_radio::Radio;
use berth_session::HubSetup;
use berth_wire::SetKind;
use crossbeam_channel::{Receiver, Sender};
use rand_core::OsRng;

use crate::clock::{RealClock, wall_ns};
use crate::open_state;

/// What a person asks of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Show a pairing code.
    Pair,
    /// Forward what waits.
    Forward,
    /// Stop.
    Stop,
}

/// What the hub tells people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum News {
    /// It can be seen.
    Ready { hub: String },
    /// To be typed on the laptop.
    Code { code: String },
    /// A laptop was paired.
    Paired { laptop: String },
    /// The pairing window is closed again.
    Closed { why: String },
    /// Somebody was not let in.
    NotAdmitted { why: String },
    /// A visit is over.
    VisitEnded { laptop: String, why: String },
    /// A set is upstream, checked.
    Forwarded {
        set: u64,
        kind: &'static str,
        objects: u64,
        bytes: u64,
    },
    /// All that was to be forwarded is upstream.
    AllForwarded { sets: u64 },
    /// It could not go on.
    Failed { why: String },
}

/// Where the hub keeps what.
pub(crate) struct Places<'a> {
    pub(crate) state: &'a Path,
    pub(crate) upstream: &'a Path,
}

/// What the hub's thread and those beside it share.
struct Desk {
    hub: Orders,
    spool: Arc<Spool>,
    forwarding: Forwarding,
    news: Sender<News>,
    errands: Mutex<Errands>,
}

#[derive(Default)]
struct Errands {
    visits: usize,
    /// To be forwarded when the last visit is over.
    forward: bool,
    failed: Option<anyhow::Error>,
}

/// Runs until told to stop.
pub(crate) fn run(
    radio: &mut impl Radio,
    places: &Places<'_>,
    orders: &Receiver<Order>,
    news: &Sender<News>,
) -> Result<()> {
    // Whoever listens may have gone: the hub goes on.
    let tell = |told: News| drop(news.send(told));
    let (disk, _lock) = open_state(places.state).context("the hub's state folder")?;
    let identity = Arc::new(Identity::open_or_generate(&*disk, &mut OsRng)?);
    let (journal, opened) = Journal::open(places.state.join("journal"), None)?;
    if let Opened::Damaged { .. } = opened {
        tell(News::Failed {
            why: "The journal was damaged; it is rebuilt from the spool.".into(),
        });
    }
    let (spool, _repairs) = Spool::open(Arc::clone(&disk), journal, identity.clone(), wall_ns())?;
    let name = Name::reduce("hub");
    let setup = HubSetup {
        identity: Arc::clone(&identity),
        name: name.clone(),
        trust: TrustList::open(disk, "trust")?,
        fast_aes: fast_aes(),
        rng: Box::new(OsRng),
    };
    let parts = HubParts {
        setup,
        spool: Arc::clone(&spool),
        stores: Stores::Threads(StoreThreads::new(Arc::new(wall_ns), radio.waker())),
    };
    let mut begun = Vec::new();
    let hub = Hub::new(radio.now(), wall_ns(), parts, &mut begun)?;
    let (hub_orders, inbox) = berth_daemon::orders(radio.waker());
    let desk = Arc::new(Desk {
        hub: hub_orders,
        spool: Arc::clone(&spool),
        forwarding: start_forwarding(spool, &identity, places.upstream),
        news: news.clone(),
        errands: Mutex::default(),
    });
    tell(News::Ready {
        hub: name.to_string(),
    });
    let (obeying, orders) = (Arc::clone(&desk), orders.clone());
    // It ends with whoever gives orders, or at the first that the hub does not take any more.
    thread::spawn(move || obeying.obey(&orders));
    let _ = drive(
        radio,
        hub,
        begun,
        &inbox,
        &(Arc::new(wall_ns) as berth_daemon::Clock),
        Program {
            tell: &mut |event| desk.heard(event),
            lan: &mut Vec::new,
            beat: None,
        },
    );
    desk.forwarding.stop(FORWARDING_STOP_MAX);
    desk.errands().failed.take().map_or(Ok(()), Err)
}

/// Longest wait for the object that is on its way upstream.
const FORWARDING_STOP_MAX: Duration = Duration::from_secs(20);

/// The one laptop's repository is the upstream folder itself.
fn start_forwarding(spool: Arc<Spool>, identity: &Identity, upstream: &Path) -> Forwarding {
    let (upstream, hub) = (upstream.to_owned(), identity.device().0);
    let clock = RealClock::start();
    let parts = ForwardingParts {
        spool,
        open: Arc::new(move |_| {
            Ok(Some(
                Box::new(FolderUpstream::new(&upstream, &hub)) as Box<dyn Upstream>
            ))
        }),
        now: Arc::new(move || clock.now()),
        rng: Box::new(OsRng),
        wall_ns: Arc::new(wall_ns),
        by_itself: ByItself::Never,
        bytes_per_second: None,
    };
    Forwarding::start(parts, Box::new(|_| {}))
}

impl Desk {
    fn tell(&self, told: News) {
        // Whoever listens may have gone: the hub goes on.
        let _ = self.news.send(told);
    }

    // Every change of it is one assignment.
    fn errands(&self) -> MutexGuard<'_, Errands> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obey(self: &Arc<Self>, orders: &Receiver<Order>) {
        for order in orders {
            match order {
                Order::Pair => match self.hub.ask(|turn| turn.open_window().to_text().to_string()) {
                    Ok(code) => self.tell(News::Code { code }),
                    Err(_) => return,
                },
                Order::Forward => {
                    let mut errands = self.errands();
                    errands.forward = errands.visits > 0;
                    if !errands.forward {
                        self.forward();
                    }
                }
                Order::Stop => self.hub.stop(),
            }
        }
    }

    fn heard(self: &Arc<Self>, event: HubEvent) {
        let mut errands = self.errands();
        match &event {
            HubEvent::VisitBegan(_) => errands.visits += 1,
            HubEvent::VisitEnded { .. } => {
                errands.visits = errands.visits.saturating_sub(1);
                if errands.visits == 0 && std::mem::take(&mut errands.forward) {
                    self.forward();
                }
            }
            _ => {}
        }
        drop(errands);
        if let Some(told) = news_of(event) {
            self.tell(told);
        }
    }

    /// Forwards all that waits, and tells of it from a thread of its own.
    fn forward(self: &Arc<Self>) {
        let forwarding = self.forwarding.now(None);
        let desk = Arc::clone(self);
        thread::spawn(move || {
            if let Err(error) = desk.tell_forwarding(&forwarding) {
                desk.errands().failed = Some(error);
                desk.hub.stop();
            }
        });
    }

    fn tell_forwarding(&self, forwarding: &Receiver<ForwardNews>) -> Result<()> {
        let (mut sets, mut objects, mut bytes) = (0, 0, 0);
        for ForwardNews { laptop, what } in forwarding {
            match what {
                Forwarded::Sent { bytes: sent, .. } => {
                    objects += 1;
                    bytes += sent;
                }
                Forwarded::Set(set) => {
                    let records = self.spool.sets(&laptop)?;
                    let record = records.iter().find(|record| record.seq == set.seq);
                    let kind = match record.and_then(SetRecord::sealed).map(|sealed| sealed.kind) {
                        Some(SetKind::Partial) => "partial",
                        Some(SetKind::Complete) | None => "complete",
                    };
                    let set = set.seq.0;
                    self.tell(News::Forwarded {
                        set,
                        kind,
                        objects,
                        bytes,
                    });
                    sets += 1;
                    (objects, bytes) = (0, 0);
                }
                Forwarded::Waiting { .. } => {
                    return Err(anyhow!(
                        "somebody works on the upstream (there is a fresh lock): try again when it is done"
                    ));
                }
                Forwarded::Failed { failure, .. } => {
                    return Err(anyhow!(failure)).context("forwarding to the upstream");
                }
                _ => {}
            }
        }
        self.tell(News::AllForwarded { sets });
        Ok(())
    }
}

fn news_of(event: HubEvent) -> Option<News> {
    Some(match event {
        HubEvent::Paired(laptop) => News::Paired {
            laptop: laptop.name.to_string(),
        },
        HubEvent::PairingFailed(error) => News::NotAdmitted {
            why: format!("{error}. {}", error.advice()),
        },
        HubEvent::WindowClosed(why) => News::Closed {
            why: why.advice().into(),
        },
        HubEvent::NotAdmitted(error) => News::NotAdmitted {
            why: format!("{error}. {}", error.advice()),
        },
        HubEvent::TrustFailed(error) => News::Failed {
            why: format!("{error}. {}", error.advice()),
        },
        HubEvent::VisitEnded { laptop, end } => News::VisitEnded {
            laptop: laptop.name.to_string(),
            why: end.why.to_string(),
        },
        HubEvent::NotServed { error, .. } => News::Failed {
            why: format!("{error}. {}", error.advice()),
        },
        _ => return None,
    })
}
