//! The hub half of the desk: a radio, a state folder, an upstream folder. It shares nothing with the laptop half.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_bridge::{
    FolderUpstream, ForwardError, Forwarder, Journal, LaptopId, Opened, Progress, SetRecord, Spool,
};
use berth_daemon::{Hub, HubEvent, HubOutput, HubParts, StoreThreads, Stores};
use berth_pairing::{Identity, Name, TrustList};
use berth_radio::Radio;
use berth_session::{HubInput, HubSetup};
use crossbeam_channel::{Receiver, Sender};
use rand_core::OsRng;

use crate::clock::wall_ns;
use crate::{fast_aes, open_state};

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
    let stores = Stores::Threads(StoreThreads::new(Arc::new(wall_ns), radio.waker()));
    let name = Name::reduce("hub");
    let setup = HubSetup {
        identity: Arc::clone(&identity),
        name: name.clone(),
        trust: TrustList::open(disk, "trust")?,
        fast_aes: fast_aes(),
        rng: Box::new(OsRng),
    };
    let mut out = Vec::new();
    let parts = HubParts { setup, spool, stores };
    let mut hub = Hub::new(radio.now(), wall_ns(), parts, &mut out)?;
    tell(News::Ready {
        hub: name.to_string(),
    });
    let mut stopping = false;
    let mut forwarding: Option<Forwarding> = None;
    loop {
        perform(radio, &mut out, &tell);
        if stopping && hub.visits() == 0 {
            return Ok(());
        }
        for order in orders.try_iter() {
            match order {
                Order::Pair => {
                    let code = hub.open_window(radio.now(), wall_ns(), &mut out);
                    tell(News::Code {
                        code: code.to_text().to_string(),
                    });
                }
                Order::Forward => forwarding = Some(Forwarding::begin(&hub, &identity, places.upstream)?),
                Order::Stop => {
                    hub.handle(radio.now(), wall_ns(), HubInput::Stop, &mut out);
                    stopping = true;
                }
            }
        }
        if let Some(current) = &mut forwarding
            && hub.visits() == 0
            && current.step(&hub, &tell)?
        {
            forwarding = None;
        }
        let busy = forwarding.is_some() || !out.is_empty() || stopping;
        let now = radio.now();
        // Orders come from people: a twentieth of a second is at once.
        let look = now + Duration::from_millis(50);
        let deadline = if busy {
            now
        } else {
            hub.next_at().map_or(look, |at| at.min(look))
        };
        if let Some(event) = radio.event(deadline) {
            hub.handle(radio.now(), wall_ns(), HubInput::Radio(event), &mut out);
        }
        let now = radio.now();
        hub.stores_done(now, wall_ns(), &mut out);
        if hub.next_at().is_some_and(|at| at <= now) {
            hub.handle(now, wall_ns(), HubInput::Tick, &mut out);
        }
    }
}

fn perform(radio: &mut impl Radio, out: &mut Vec<HubOutput>, tell: &impl Fn(News)) {
    for output in out.drain(..) {
        match output {
            HubOutput::Radio(command) => radio.command(command),
            HubOutput::Event(event) => {
                if let Some(told) = news_of(event) {
                    tell(told);
                }
            }
        }
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

/// Forwarding for the one laptop of the desk.
struct Forwarding {
    work: Option<(LaptopId, Forwarder, FolderUpstream)>,
    objects: u64,
    bytes: u64,
    sets: u64,
}

impl Forwarding {
    fn begin(hub: &Hub, identity: &Identity, upstream: &Path) -> Result<Self> {
        let work = hub.spool().laptops()?.into_iter().next().map(|laptop| {
            let forwarder = Forwarder::new(Arc::clone(hub.spool()), laptop);
            (
                laptop,
                forwarder,
                FolderUpstream::new(upstream, &identity.device().0),
            )
        });
        Ok(Self {
            work,
            objects: 0,
            bytes: 0,
            sets: 0,
        })
    }

    /// One step; true when all is done.
    fn step(&mut self, hub: &Hub, tell: &impl Fn(News)) -> Result<bool> {
        let Some((laptop, forwarder, upstream)) = &mut self.work else {
            tell(News::AllForwarded { sets: 0 });
            return Ok(true);
        };
        match forwarder.step(upstream, wall_ns()) {
            Ok(Progress::Idle) => {
                tell(News::AllForwarded { sets: self.sets });
                return Ok(true);
            }
            Ok(Progress::Sent { bytes, .. }) => {
                self.objects += 1;
                self.bytes += bytes;
            }
            Ok(Progress::Waiting { .. }) => {
                bail!("somebody works on the upstream (there is a fresh lock): try again when it is done")
            }
            Ok(Progress::Forwarded { set, .. }) => {
                self.sets += 1;
                let sets = hub.spool().sets(laptop)?;
                let record = sets.iter().find(|record| record.seq == set.seq);
                let kind = match record.and_then(SetRecord::sealed).map(|sealed| sealed.kind) {
                    Some(berth_wire::SetKind::Partial) => "partial",
                    Some(berth_wire::SetKind::Complete) | None => "complete",
                };
                tell(News::Forwarded {
                    set: set.seq.0,
                    kind,
                    objects: self.objects,
                    bytes: self.bytes,
                });
                (self.objects, self.bytes) = (0, 0);
            }
            Ok(_) => {}
            Err(error @ ForwardError::Upstream(_)) => {
                return Err(error).context("forwarding to the upstream");
            }
            Err(error) => bail!("{error}. {}", error.advice()),
        }
        Ok(false)
    }
}
