//! One request, answered.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_bridge::{LaptopId, Verified};
use berth_ctl::{
    ForwardEvent, PairEvent, Request, Revoked, ServerAdded, ServerRemoved, ServerRow, UpstreamSet,
    VerifyEvent,
};
use berth_daemon::{ForwardNews, Forwarded};
use berth_pairing::{Closed, DeviceId};
use berth_upstream::UpstreamUrl;
use crossbeam_channel::RecvTimeoutError;
use rand_core::OsRng;
use tracing::info;

use super::listing::timestamp;
use super::window::Seen;
use super::{Control, Peer};
use crate::clock::{monotonic, wall_ns};
use crate::roll::{self, meant};
use crate::state::in_one_line;

/// A sign of life at least this often, while something takes long.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Progress is told no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

impl Control {
    pub(super) fn answer(self: &Arc<Self>, request: &Request, peer: &mut Peer) -> Result<()> {
        match request {
            Request::Pair => self.pair(peer),
            Request::Devices => {
                for known in self
                    .known()?
                    .iter()
                    .filter(|one| one.is_revoked || one.paired_at_ns.is_some())
                {
                    peer.say(self.device(known)?)?;
                }
                Ok(())
            }
            Request::Revoke { laptop } => Ok(peer.say(self.revoke(laptop)?)?),
            Request::Status => Ok(peer.say(self.status()?)?),
            Request::Sets { laptop } => {
                let mut known = self.known()?;
                if let Some(laptop) = laptop {
                    known = vec![meant(&known, laptop)?];
                }
                for one in &known {
                    for item in self.sets_of(one)? {
                        peer.say(item)?;
                    }
                }
                Ok(())
            }
            Request::Forward { laptop } => self.forward(laptop.as_deref(), peer),
            Request::Verify => self.verify(peer),
            Request::Servers => {
                for server in self.servers.list() {
                    peer.say(ServerRow {
                        server: server.name,
                        added_at: timestamp(server.added_at_ns),
                    })?;
                }
                Ok(())
            }
            Request::AddServer { server } => {
                let added = self.servers.add(server, wall_ns(), &mut OsRng);
                let token = added.map_err(|error| in_one_line(&error, ""))?;
                info!(server, "may call");
                Ok(peer.say(ServerAdded {
                    server: server.clone(),
                    token: token.to_string(),
                    serve: self.serve.clone(),
                })?)
            }
            Request::RemoveServer { server } => {
                let removed = self.servers.remove(server);
                removed.map_err(|error| in_one_line(&error, ""))?;
                info!(server, "may call no more");
                let removed = server.clone();
                Ok(peer.say(ServerRemoved { removed })?)
            }
            Request::SetUpstream { url } => {
                let upstream = self.destination.set(url)?.to_string();
                info!("the upstream was set");
                crate::tell_upstream(&self.destination, &self.spool);
                self.forwarding.anew();
                let given = self.destination.given();
                Ok(peer.say(UpstreamSet {
                    upstream,
                    overridden_by: given.map(ToString::to_string),
                })?)
            }
        }
    }

    fn pair(&self, peer: &mut Peer) -> Result<()> {
        let watcher = self.window.watch(&self.orders)?;
        let gone = watcher.gone.clone();
        peer.watch(move || drop(gone.send(Seen::Gone)))?;
        peer.say(PairEvent::Code {
            code: watcher.code.to_string(),
            closes_in_s: watcher.closes_at.saturating_sub(monotonic()).as_secs(),
        })?;
        loop {
            match watcher.seen.recv_timeout(ALIVE_EVERY) {
                Ok(Seen::Event(event)) => {
                    let is_last = !matches!(event, PairEvent::Failed { .. });
                    peer.say(event)?;
                    if is_last {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let left = watcher.closes_at.saturating_sub(monotonic());
                    if left.is_zero() {
                        // A laptop that had the right code did not finish.
                        let why = Closed::Expired.advice().to_owned();
                        return Ok(peer.say(PairEvent::Closed { why })?);
                    }
                    peer.say(PairEvent::Open {
                        closes_in_s: left.as_secs(),
                    })?;
                }
                Ok(Seen::Gone) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn revoke(&self, laptop: &str) -> Result<Revoked> {
        let known = meant(&self.known()?, laptop)?;
        if known.is_revoked {
            bail!("{} ({}) is revoked already", known.name, known.id);
        }
        let device = DeviceId(known.id.0);
        self.orders
            .ask(move |turn| turn.revoke(&device))?
            .map_err(|error| in_one_line(&error, error.advice()))?;
        info!(laptop = %known.name, key = %known.id, "revoked");
        Ok(Revoked {
            revoked: known.name.to_string(),
            key: known.id.hex(),
            was_visiting: known.is_visiting,
        })
    }

    fn forward(&self, laptop: Option<&str>, peer: &mut Peer) -> Result<()> {
        let known = self.known()?;
        let laptop = laptop.map(|laptop| meant(&known, laptop)).transpose()?;
        match self.destination.url() {
            None => bail!("no upstream is set: run `berthctl upstream set URL`"),
            Some(UpstreamUrl::Pull(server)) => {
                bail!("the upstream is the server {server}, which pulls: run `berthctl pull` there")
            }
            Some(_) => {}
        }
        let news = self.forwarding.now(laptop.map(|one| one.id));
        let mut shown = ForwardEvent::Progress {
            laptop: String::new(),
            set: 0,
            bytes_sent: 0,
        };
        // Of the set of each laptop that is on its way: several may be.
        let mut sent = BTreeMap::new();
        let mut told_at = monotonic();
        loop {
            let event = match news.recv_timeout(ALIVE_EVERY) {
                Ok(news) => self.forward_event(news, &mut shown, &mut sent),
                Err(RecvTimeoutError::Timeout) => Some(shown.clone()),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let Some(event) = event else { continue };
            let is_progress = matches!(event, ForwardEvent::Progress { .. });
            if is_progress && monotonic() < told_at + PROGRESS_EVERY {
                continue;
            }
            told_at = monotonic();
            peer.say(event)?;
        }
    }

    fn forward_event(
        &self,
        news: ForwardNews,
        shown: &mut ForwardEvent,
        sent: &mut BTreeMap<LaptopId, u64>,
    ) -> Option<ForwardEvent> {
        let laptop = match roll::name_of(&self.orders, &news.laptop) {
            Ok(name) => name.to_string(),
            Err(_) => return None,
        };
        let event = match news.what {
            Forwarded::Begun { set, objects, bytes } => {
                sent.insert(news.laptop, 0);
                *shown = ForwardEvent::Progress {
                    laptop: laptop.clone(),
                    set: set.0,
                    bytes_sent: 0,
                };
                ForwardEvent::Begun {
                    laptop,
                    set: set.0,
                    objects,
                    bytes,
                }
            }
            Forwarded::Sent { set, bytes } => {
                let sent_bytes = sent.entry(news.laptop).or_default();
                *sent_bytes += bytes;
                *shown = ForwardEvent::Progress {
                    laptop,
                    set: set.0,
                    bytes_sent: *sent_bytes,
                };
                shown.clone()
            }
            Forwarded::Waiting { set } => {
                *shown = ForwardEvent::Waiting { laptop, set: set.0 };
                shown.clone()
            }
            Forwarded::Set(set) => ForwardEvent::Forwarded {
                laptop,
                set: set.seq.0,
            },
            Forwarded::Failed { failure, .. } => ForwardEvent::Failed {
                laptop,
                why: failure.why,
            },
            _ => return None,
        };
        Some(event)
    }

    fn verify(&self, peer: &mut Peer) -> Result<()> {
        let (mut objects, mut bytes, mut reclaimed, mut faults) = (0, 0, 0, 0);
        let mut told_at = monotonic();
        for known in self.known()? {
            let mut lost = None;
            let flow = self.spool.verify(&known.id, &mut |verified| {
                objects += u64::from(verified != Verified::Reclaimed);
                let fault = |set: berth_wire::SetSeq, path, what: &str| VerifyEvent::Fault {
                    laptop: known.name.to_string(),
                    set: set.0,
                    path,
                    what: what.to_owned(),
                };
                let event = match verified {
                    Verified::Whole { bytes: size } => {
                        bytes += size;
                        if monotonic() < told_at + PROGRESS_EVERY {
                            return ControlFlow::Continue(());
                        }
                        told_at = monotonic();
                        VerifyEvent::Progress { objects, bytes }
                    }
                    Verified::Reclaimed => {
                        reclaimed += 1;
                        return ControlFlow::Continue(());
                    }
                    Verified::Missing { set, path } => fault(set, path, "missing"),
                    Verified::Damaged { set, path } => fault(set, path, "damaged"),
                };
                faults += u64::from(matches!(event, VerifyEvent::Fault { .. }));
                match peer.say(event) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        lost = Some(error);
                        ControlFlow::Break(())
                    }
                }
            });
            if let Some(lost) = lost {
                return Err(lost).context("verifying");
            }
            // Only a lost peer breaks it off.
            let _ = flow.map_err(|error| in_one_line(&error, error.advice()))?;
        }
        Ok(peer.say(VerifyEvent::Verified {
            objects,
            bytes,
            reclaimed,
            faults,
        })?)
    }
}
